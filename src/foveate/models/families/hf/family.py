"""The family of transformers: ``config.json`` says which file here builds the model.

A name is ``hf:ORG/NAME[@REVISION][?options]`` for the hub. With a local folder in the layout of
``save_pretrained`` it may be ``hf`` alone; an id and a revision are then no more than a label.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from foveate.errors import DataError, ParameterError
from foveate.models import hub
from foveate.models.weights import first_line, source_of
from foveate.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.models.base import ModelHandle, Scale
    from foveate.models.capabilities import Embeds


_CONFIG = "config.json"
# What save_pretrained writes of a model with a tokenizer; no pickles, no code.
_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
# Folders, and the same weights in the layouts of other libraries.
_NOT = ("*/*", "open_clip_*", "consolidated*")


@dataclass(frozen=True)
class Checkpoint:
    """A folder in the layout of ``save_pretrained``.

    Attributes:
        folder: Where the files are.
        config: What ``config.json`` says.
        source: Where the files come from, as the spec says it: the folder's name, or the hub's
            id with the commit.
    """

    folder: Path
    config: dict[str, Any]
    source: str

    @property
    def model_type(self) -> str:
        """What transformers calls the architecture ("clip")."""
        return str(self.config["model_type"])

    def read_json(self, name: str) -> dict[str, Any]:
        """Return what a file of the folder holds; nothing where there is no such file.

        Raises:
            DataError: It is no JSON object.
        """
        path = self.folder / name
        return _read_object(path) if path.is_file() else {}


def look_at(handle: ModelHandle) -> Checkpoint:
    """Return a checkpoint of which only ``config.json`` need be there.

    Raises:
        DataError: The folder has no readable config, the config asks for code of its own, or the
            hub cannot be reached.
        ParameterError: There is neither a folder nor a name of the hub.
    """
    return _checkpoint(handle, (_CONFIG,))


def fetch(handle: ModelHandle) -> Checkpoint:
    """Return a checkpoint with all its files; those of the hub are downloaded once.

    Raises:
        DataError: As `look_at`.
        ParameterError: As `look_at`.
    """
    return _checkpoint(handle, _FILES)


def _checkpoint(handle: ModelHandle, files: tuple[str, ...]) -> Checkpoint:
    if handle.weights:
        folder, source = Path(handle.weights), source_of(handle.weights)
        if not folder.is_dir():
            raise DataError(
                f"the weights {handle.weights!r} are a file",
                "Models of transformers are folders: config.json, safetensors, tokenizer files.",
                "Give the folder that save_pretrained wrote: --weights FOLDER.",
            )
    else:
        folder = _snapshot(handle, files)
        # The hub's cache names the folder after the commit that the revision stands for.
        source = f"hub: {handle.name}@{folder.name}"
    path = folder / _CONFIG
    if not path.is_file():
        raise DataError(
            f"there is no config.json in {str(folder)!r}",
            "It says which architecture the weights belong to.",
            "Give a folder that save_pretrained wrote.",
        )
    config = _read_object(path)
    if config.get("auto_map"):
        raise DataError(
            f"{str(path)!r} asks for Python code of its own (auto_map)",
            "Code that comes with weights is never run.",
            "Save the model with an architecture of transformers, or wrap your own code with "
            "foveate.models.from_callable.",
        )
    if not isinstance(config.get("model_type"), str):
        raise DataError(
            f"{str(path)!r} has no model_type",
            "It says which architecture the weights belong to.",
            "Give a folder that save_pretrained wrote.",
        )
    return Checkpoint(folder, config, source)


def _snapshot(handle: ModelHandle, files: tuple[str, ...]) -> Path:
    if not handle.name:
        raise ParameterError(
            "a model of transformers without a name",
            "It is an id of the Hugging Face hub, or a folder given with --weights.",
            "Type e.g. hf:google/siglip-base-patch16-224, or hf --weights FOLDER.",
        )
    return hub.fetch(
        handle.name,
        files,
        name=str(handle),
        revision=handle.commit or handle.tag,
        ignore=_NOT,
        hint="Check the name and the revision, or give a local folder with --weights DIR.",
    )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {str(path)!r}: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise DataError(f"{str(path)!r} holds no JSON object")
    return found


class Builder(Protocol):
    """Builds the models of one ``model_type``."""

    def __call__(
        self, handle: ModelHandle, checkpoint: Checkpoint, bands: Sequence[int], scale: Scale
    ) -> Embeds:
        """Build a model.

        Args:
            handle: As the user typed it: options and device.
            checkpoint: With all its files.
            bands: 1-based bands, one per input channel.
            scale: ``(low, high)`` per band.

        Raises:
            DataError: The files do not make a model.
            ParameterError: An option cannot be used.
        """
        ...


BUILDERS: Registry[Builder] = Registry(
    "model_type of transformers",
    {
        "clip": "foveate.models.families.hf.clip:build",
        "siglip": "foveate.models.families.hf.siglip:build",
        "siglip2": "foveate.models.families.hf.siglip:build",
        "sam": "foveate.models.families.hf.sam:build",
        "llava": "foveate.models.families.hf.llava:build",
        "llava_next": "foveate.models.families.hf.llava:build",
        "qwen2_vl": "foveate.models.families.hf.qwen:build",
        "qwen2_5_vl": "foveate.models.families.hf.qwen:build",
        "blip-2": "foveate.models.families.hf.blip2:build",
    },
)


class _Transformers:
    """The family; see `foveate.models.base.Family`."""

    def check(self, handle: ModelHandle) -> ModelHandle:
        """Read the config and see that its architecture is known.

        Raises:
            DataError: There is no usable config, or the hub cannot be reached.
            ParameterError: There is neither a folder nor a name of the hub.
            UnknownNameError: The architecture is not among `BUILDERS`.
        """
        checkpoint = look_at(handle)
        BUILDERS.get(checkpoint.model_type)
        commit = "" if handle.weights else checkpoint.folder.name
        return replace(handle, channels=_channels(checkpoint), commit=commit)

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> Embeds:
        """Build the model with all that its architecture can do.

        Options: ``size`` (side in pixels that tiles are resampled to; that of the weights by
        default), ``mean`` and ``std`` (override the normalisation of the weights),
        ``precision``, and those of the architecture.

        Raises:
            DataError: The weights cannot be read or belong to another architecture, or the hub
                cannot be reached.
            ParameterError: An option cannot be used.
        """
        checkpoint = fetch(handle)
        return BUILDERS.get(checkpoint.model_type)(handle, checkpoint, bands, scale)


FAMILY = _Transformers()


def _channels(checkpoint: Checkpoint) -> int:
    vision = checkpoint.config.get("vision_config")
    return int(vision.get("num_channels", 3)) if isinstance(vision, dict) else 3
