"""Files of the Hugging Face hub, each repository at one commit.

All families fetch here. A snapshot fails at once where the hub cannot be reached, while the
download of a single file tries for a minute; and what was fetched before is found without a
network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import DataError
from foveate.models.weights import first_line

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
        repository: Its id ("openai/clip-vit-base-patch32").
        patterns: Names of the files, with wildcards.
        name: What the user asked for, for the message.
        revision: Branch, tag or commit; empty for the newest.
        ignore: Names that match and are not wanted.
        hint: What to do where the hub cannot be reached.

    Returns:
        A folder of the hub's cache, which is called after the commit.

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
    except Exception as error:  # the network, the hub's answer, the id, the disk: each its own
        raise hub_error(name, error, hint=hint) from error
    return Path(found)


def fetch_file(
    repository: str, names: Sequence[str], *, name: str, revision: str = "", hint: str = HINT
) -> Path:
    """Return the first of some files that a repository has.

    Args:
        repository: Its id.
        names: Names of files, the best first.
        name: What the user asked for, for the message.
        revision: See `fetch`.
        hint: See `fetch`.

    Raises:
        DataError: See `fetch`; or the repository has none of the files.
    """
    # The best alone first: repositories hold the same weights in several formats.
    for wanted in names:
        path = fetch(repository, [wanted], name=name, revision=revision, hint=hint) / wanted
        if path.is_file():
            return path
    raise DataError(
        f"the repository {repository!r} has no {' or '.join(names)}",
        f"That is where the weights of {name!r} are looked for.",
        hint,
    )


def described(path: Path) -> str:
    """Return the repository and the commit of a fetched file or folder, as specs say it."""
    parts = path.parts
    place = len(parts) - 1 - parts[::-1].index("snapshots")
    repository = parts[place - 1].removeprefix("models--").replace("--", "/")
    return f"hub: {repository}@{parts[place + 1]}"


def hub_error(name: str, error: Exception, *, hint: str = HINT) -> DataError:
    """Return the error for files that could not be fetched."""
    return DataError(
        f"the pretrained weights of {name!r} could not be loaded: "
        f"{type(error).__name__}: {first_line(error)}",
        "They come from the Hugging Face hub, which must be reached once.",
        hint,
    )
