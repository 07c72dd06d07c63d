"""Downloads from the Hugging Face hub, each repository at one commit.

All families use this module. A snapshot fails immediately if the hub cannot be reached, while the
download of a single file retries for a minute. Cached files are found without a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import DataError
from foveate.models.checkpoint_file import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

HINT = "Give a local file with --weights PATH."


def fetch(
    repository: str,
    patterns: Sequence[str],
    *,
    name: str,
    revision: str = "",
    ignore: Sequence[str] = (),
    hint: str = HINT,
) -> Path:
    """Return a folder with files of a repository; they are downloaded once.

    Args:
        repository: Id of the repository ("openai/clip-vit-base-patch32").
        patterns: File names, with wildcards.
        name: Model name given by the user, for the message.
        revision: Branch, tag or commit; empty for the newest.
        ignore: Patterns of matching files to exclude.
        hint: Hint of the error if the hub cannot be reached.

    Returns:
        A folder of the hub cache, named after the commit.

    Raises:
        DataError: The hub cannot be reached, or has no such repository or revision.
    """
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=list(patterns),
            ignore_patterns=list(ignore) or None,
        )
    except Exception as error:  # network, response, id and disk errors have no common class
        raise hub_error(name, error, hint=hint) from error
    return Path(found)


def fetch_file(
    repository: str, names: Sequence[str], *, name: str, revision: str = "", hint: str = HINT
) -> Path:
    """Return the first of several files that exists in a repository.

    Args:
        repository: Id of the repository.
        names: File names, by preference.
        name: Model name given by the user, for the message.
        revision: See `fetch`.
        hint: See `fetch`.

    Raises:
        DataError: See `fetch`; or the repository has none of the files.
    """
    # One file at a time: repositories contain the same weights in several formats.
    for file_name in names:
        path = fetch(repository, [file_name], name=name, revision=revision, hint=hint) / file_name
        if path.is_file():
            return path
    raise DataError(
        f"the repository {repository!r} has no {' or '.join(names)}",
        f"The weights of {name!r} are expected there.",
        hint,
    )


def described(path: Path) -> str:
    """Return the repository and commit of a fetched file or folder, for `EncoderSpec.source`."""
    parts = path.parts
    index = len(parts) - 1 - parts[::-1].index("snapshots")
    repository = parts[index - 1].removeprefix("models--").replace("--", "/")
    return f"hub: {repository}@{parts[index + 1]}"


def hub_error(name: str, error: Exception, *, hint: str = HINT) -> DataError:
    """Return the error for files that could not be fetched."""
    return DataError(
        f"the pretrained weights of {name!r} could not be loaded: "
        f"{type(error).__name__}: {first_line(error)}",
        "They are downloaded from the Hugging Face hub once.",
        hint,
    )
