"""From the name of a model to what describes its network, and which of its weights exist."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models.hub import fetch_file
from foveate.models.weights import RANDOM
from foveate.registry import suggest

if TYPE_CHECKING:
    from foveate.models.base import ModelHandle

HUB = "hf-hub:"  # before the name of a repository
_CONFIG = "open_clip_config.json"  # of a repository
_TOWERS = ("embed_dim", "vision_cfg", "text_cfg")


@dataclass(frozen=True)
class Architecture:
    """What describes a network.

    Attributes:
        config: Arguments of the network as open_clip's configuration files have them.
        preprocess: How its images are prepared: "mean", "std", "interpolation".
        folder: Where the configuration lies, if it is a local file.
    """

    config: dict[str, Any]
    preprocess: dict[str, Any]
    folder: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that it was trained with, in pixels."""
        size = self.config["vision_cfg"].get("image_size", 224)
        height, width = size if isinstance(size, list | tuple) else (size, size)
        return int(height), int(width)

    @property
    def tokenizer(self) -> Path | None:
        """The folder of its tokenizer, where that lies beside the configuration."""
        wanted = self.folder is not None and self.config["text_cfg"].get("hf_tokenizer_name")
        there = wanted and (self.folder / "tokenizer_config.json").exists()
        return self.folder if there else None


def describe(handle: ModelHandle) -> Architecture:
    """Describe the architecture that a handle names.

    Raises:
        UnknownNameError: open_clip has no such architecture.
        DataError: A file does not describe one, or the hub cannot be reached.
    """
    return _from_hub(handle) if handle.name.startswith(HUB) else _local(handle)


def check_name(handle: ModelHandle) -> None:
    """Check all of a name that can be checked without the hub.

    Raises:
        UnknownNameError: There is no such architecture or tag.
        ParameterError: It is not said which weights.
        DataError: A file does not describe an architecture.
    """
    if not handle.name.startswith(HUB):
        _local(handle)
        _check_tag(handle)
    elif handle.tag not in {"", RANDOM}:
        raise ParameterError(
            f"{handle} with a tag", "A repository on the hub has one set of weights.",
            f"open_clip:{handle.name}",
        )  # fmt: skip


def _local(handle: ModelHandle) -> Architecture:
    """Describe an architecture that needs no network: one of open_clip's, or a local file.

    Raises:
        UnknownNameError: open_clip has no such architecture.
        DataError: The file does not describe one.
    """
    import open_clip

    if handle.name.endswith(".json"):
        shape = _read_config(Path(handle.name))
    else:
        config = open_clip.get_model_config(listed_name(handle))
        if config is None:
            known = open_clip.list_models()
            raise UnknownNameError(
                f"open_clip has no model {handle.name!r}",
                f"It knows {len(known)}; list them with: "
                "python -c 'import open_clip; print(open_clip.list_models())'.",
                suggest(handle.name, known),
            )
        shape = _described(config, {})
    tag = open_clip.get_pretrained_cfg(listed_name(handle), handle.tag) if handle.tag else {}
    config, preprocess = shape.config, {**shape.preprocess, **tag}
    # Computing with the other activation spoils the vectors and fails nowhere: the tag decides.
    gelu = tag.get("quick_gelu", config.get("quick_gelu", False))
    config["quick_gelu"] = _gelu(handle, default=gelu)
    return Architecture(config, preprocess, shape.folder)


def _gelu(handle: ModelHandle, *, default: bool) -> bool:
    """Return which activation to compute with.

    Raises:
        ParameterError: The option is neither true nor false.
    """
    value = handle.options.get("quick_gelu", bool(default))
    if not isinstance(value, bool):
        raise ParameterError(f"quick_gelu={value!r}", "Allowed: true, false.", "?quick_gelu=true")
    return value


def listed_name(handle: ModelHandle) -> str:
    """Return the name as open_clip lists it; OpenAI writes ViT-B/32."""
    return handle.name.replace("/", "-")


def _described(
    config: dict[str, Any], preprocess: dict[str, Any], folder: Path | None = None
) -> Architecture:
    import open_clip

    usual = {
        "mean": open_clip.OPENAI_DATASET_MEAN,
        "std": open_clip.OPENAI_DATASET_STD,
        "interpolation": "bicubic",
    }
    return Architecture(deepcopy(config), {**usual, **preprocess}, folder)


def _read_config(path: Path) -> Architecture:
    """Read a configuration: the towers at the top, or under "model_cfg" as on the hub."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read the configuration {str(path)!r}: {error}", "Expected a JSON file."
        ) from error
    found = values if isinstance(values, dict) else {}
    config, preprocess = found.get("model_cfg", found), found.get("preprocess_cfg", {})
    if lacking := [key for key in _TOWERS if key not in config]:
        raise DataError(
            f"the configuration {str(path)!r} has no {', '.join(lacking)}",
            "Expected a configuration of open_clip: embed_dim, vision_cfg and text_cfg.",
        )
    return _described(config, preprocess, path.parent)


def _check_tag(handle: ModelHandle) -> None:
    """Check that the tag is one of the architecture's, or that weights come otherwise.

    Raises:
        ParameterError: It is not said which weights.
        UnknownNameError: The architecture has no such tag.
    """
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(listed_name(handle))
    allowed = f"Tags of {handle.name}: {', '.join(tags) or 'none'}; or random."
    if not handle.tag and not handle.weights:
        usual = [tag for tag in tags if tag.startswith("laion2b")]
        example = [RANDOM, *tags, *usual][-1]
        raise ParameterError(
            f"{handle} does not say which weights", allowed,
            f"Type open_clip:{handle.name}@{example}, or give a file with --weights PATH.",
        )  # fmt: skip
    known = open_clip.get_pretrained_cfg(listed_name(handle), handle.tag)
    if handle.tag not in ("", RANDOM) and not known:
        raise UnknownNameError(
            f"{handle.name} has no weights {handle.tag!r}", allowed, suggest(handle.tag, tags)
        )


def _from_hub(handle: ModelHandle) -> Architecture:
    """Describe the architecture of a repository on the hub.

    Raises:
        DataError: It cannot be reached, or holds no model of open_clip.
    """
    path = fetch_file(handle.name.removeprefix(HUB), [_CONFIG], name=str(handle))
    shape = _read_config(path)
    if "quick_gelu" in handle.options:
        shape.config["quick_gelu"] = _gelu(handle, default=False)
    return shape
