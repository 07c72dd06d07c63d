"""The family of transformers: the ``model_type`` of ``config.json`` selects the builder.

A name is ``hf:ORG/NAME[@REVISION][?options]`` for the hub. With a local folder in the layout of
``save_pretrained`` it may be just ``hf``; an id and a revision are then only a label.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from foveate.errors import DataError, ParameterError
from foveate.models import hub
from foveate.models.checkpoint_file import first_line
from foveate.models.weights import source_of
from foveate.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.models.base import ModelHandle, Scale
    from foveate.models.capabilities import Embeds


_CONFIG = "config.json"
# Files of save_pretrained for a model with tokenizer; no pickles, no code.
_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
# Folders, and the same weights in the layouts of other libraries.
_NOT = ("*/*", "open_clip_*", "consolidated*")


@dataclass(frozen=True)
class Checkpoint:
    """A folder in the layout of ``save_pretrained``.

    Attributes:
        folder: Where the files are.
        config: Content of ``config.json``.
        source: Source of the files for the spec: the folder name, or the hub
            id with the commit.
    """

    folder: Path
    config: dict[str, Any]
    source: str

    @property
    def model_type(self) -> str:
        """The ``model_type`` of transformers ("clip")."""
        return str(self.config["model_type"])

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the content of a JSON file of the folder; empty if the file is missing.

        Raises:
            DataError: It is not a JSON object.
        """
        path = self.folder / name
        return _read_object(path) if path.is_file() else {}


def look_at(handle: ModelHandle) -> Checkpoint:
    """Return a checkpoint with at least its ``config.json``.

    Raises:
        DataError: The folder has no readable config, the config requires custom code, or the
            hub cannot be reached.
        ParameterError: Neither a folder nor a hub name is given.
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
                "Use the folder written by save_pretrained: --weights FOLDER.",
            )
    else:
        folder = _snapshot(handle, files)
        # The hub cache names the folder by the commit of the revision.
        source = f"hub: {handle.name}@{folder.name}"
    path = folder / _CONFIG
    if not path.is_file():
        raise DataError(
            f"there is no config.json in {str(folder)!r}",
            "It states the architecture of the weights.",
            "Use a folder written by save_pretrained.",
        )
    config = _read_object(path)
    if config.get("auto_map"):
        raise DataError(
            f"{str(path)!r} requires custom Python code (auto_map)",
            "foveate does not run code from model repositories.",
            "Save the model with an architecture of transformers, or wrap your own code with "
            "foveate.models.from_callable.",
        )
    if not isinstance(config.get("model_type"), str):
        raise DataError(
            f"{str(path)!r} has no model_type",
            "It states the architecture of the weights.",
            "Use a folder written by save_pretrained.",
        )
    return Checkpoint(folder, config, source)


def _snapshot(handle: ModelHandle, files: tuple[str, ...]) -> Path:
    if not handle.name:
        raise ParameterError(
            "the name of the transformers model is missing",
            "Use an id of the Hugging Face hub, or a folder with --weights.",
            "For example hf:google/siglip-base-patch16-224, or hf --weights FOLDER.",
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
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {str(path)!r}: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise DataError(f"{str(path)!r} does not contain a JSON object")
    return content


class Builder(Protocol):
    """Builds the models of one ``model_type``."""

    def __call__(
        self, handle: ModelHandle, checkpoint: Checkpoint, bands: Sequence[int], scale: Scale
    ) -> Embeds:
        """Build a model.

        Args:
            handle: As given by the user: options and device.
            checkpoint: With all its files.
            bands: 1-based bands, one per input channel.
            scale: ``(low, high)`` per band.

        Raises:
            DataError: The files are not a supported model.
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
        """Check that the config is readable and its architecture supported.

        Raises:
            DataError: There is no valid config, or the hub cannot be reached.
            ParameterError: Neither a folder nor a hub name is given.
            UnknownNameError: The architecture is not among `BUILDERS`.
        """
        checkpoint = look_at(handle)
        BUILDERS.get(checkpoint.model_type)
        commit = "" if handle.weights else checkpoint.folder.name
        return replace(handle, channels=_channels(checkpoint), commit=commit)

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> Embeds:
        """Build the model with all capabilities of its architecture.

        Options: ``size`` (side in pixels that tiles are resampled to; that of the weights by
        default), ``mean`` and ``std`` (override the normalisation of the weights),
        ``precision``, and those of the architecture.

        Raises:
            DataError: The weights cannot be read or are from another architecture, or the hub
                cannot be reached.
            ParameterError: An option cannot be used.
        """
        checkpoint = fetch(handle)
        return BUILDERS.get(checkpoint.model_type)(handle, checkpoint, bands, scale)


FAMILY = _Transformers()


def _channels(checkpoint: Checkpoint) -> int:
    vision = checkpoint.config.get("vision_config")
    return int(vision.get("num_channels", 3)) if isinstance(vision, dict) else 3
