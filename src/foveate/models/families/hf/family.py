"""The family of transformers: ``config.json`` says which file here builds the model.

A name is ``hf:ORG/NAME[@REVISION][?options]`` for the hub. With a local folder in the layout of
``save_pretrained`` it may be ``hf`` alone; an id and a revision are then no more than a label.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from foveate.models.families.hf.checkpoint import Checkpoint, fetch, look_at
from foveate.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.models.base import ModelHandle, Scale
    from foveate.models.capabilities import Embeds


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
