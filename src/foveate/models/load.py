"""`load_model`: create a model handle from a name."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models.base import Family, ModelHandle, Scale, parse_name
from foveate.models.extras import EXTRAS, need_extra
from foveate.models.pooling import DensePooling, check_pooling
from foveate.models.preprocess import check_options
from foveate.models.runtime import check_device
from foveate.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.models.capabilities import Embeds


class _Builtin:
    """The family of the builtin model, which has no weights."""

    def check(self, handle: ModelHandle) -> ModelHandle:
        """Refuse variants, options and weights."""
        if handle.name or handle.tag or handle.options or handle.weights:
            raise ParameterError(
                f"{handle}" + (f" with weights {handle.weights!r}" if handle.weights else ""),
                "The builtin model has no variants, options or weights.",
                "Use --model builtin, or --model timm:NAME --weights PATH.",
            )
        return handle

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> Embeds:  # noqa: ARG002
        """Build the model for the given bands."""
        from foveate.models.families.builtin import Builtin

        return Builtin(bands, scale)


BUILTIN = _Builtin()

FAMILIES: Registry[Family] = Registry(
    "model family",
    {
        "builtin": "foveate.models.load:BUILTIN",
        "timm": "foveate.models.families.timm:FAMILY",
        "open_clip": "foveate.models.families.open_clip:FAMILY",
        "hf": "foveate.models.families.hf:FAMILY",
        "torchgeo": "foveate.models.families.torchgeo:FAMILY",
        "tuned": "foveate.models.families.tuned:FAMILY",
        "features": "foveate.models.families.features:FAMILY",
    },
)


def _family(handle: ModelHandle) -> Family:
    """Return the family of a name; suggests "timm:" for a bare timm name, a common mistake.

    Raises:
        UnknownNameError: There is no such family.
    """
    try:
        return FAMILIES.get(handle.family)
    except UnknownNameError as error:
        if importlib.util.find_spec("timm") is None:
            raise
        import timm

        if handle.name or not timm.is_model(handle.family):
            raise
        raise UnknownNameError(
            error.given, error.allowed, f"Did you mean 'timm:{handle}'?"
        ) from error


def build_model(handle: ModelHandle, bands: Sequence[int], scale: Scale) -> Embeds:
    """Build the model of a handle for given bands and range; see `Family.build`."""
    model = FAMILIES.get(handle.family).build(handle, bands, scale)
    return DensePooling(model) if handle.pooling else model


def load_model(
    name: str,
    *,
    weights: str | Path | None = None,
    bands: Sequence[int] = (),
    scale: Scale | None = None,
    device: str = "auto",
) -> ModelHandle:
    """Return a handle on a frozen model.

    The model itself is built by `embed` or `bind`, because the number of bands and their value
    range depend on the pool; everything else is checked here.

    Args:
        name: ``"builtin"``, ``"timm:NAME[@TAG]"``, ``"open_clip:ARCH[@TAG]"``,
            ``"hf:ORG/NAME[@REVISION]"``, ``"torchgeo:NAME@WEIGHTS"``, ``"tuned:FOLDER"``,
            ``"features"`` for rasters of features; most with ``?key=value`` options, and
            ``@random`` for seeded random weights.
        weights: Local weights: safetensors, or a file that ``torch.load(weights_only=True)``
            accepts; for "hf" a folder written by ``save_pretrained``. Nothing is unpickled.
        bands: 1-based bands to embed, in the order of the model.
        scale: ``(low, high)`` per band, mapped to 0 and 1.
        device: "auto" selects CUDA, then MPS, then the CPU.

    Raises:
        UnknownNameError: No such family or model, with a suggestion.
        ParameterError: An option, the device or the name is invalid.
        DataError: The weights cannot be read.
        MissingExtraError: The family requires a package that is not installed.
    """
    handle = replace(
        parse_name(name),
        weights="" if weights is None else str(weights),
        bands=tuple(int(b) for b in bands),
        scale=scale,
        device=device,
    )
    check_device(device)
    check_pooling(handle.pooling)
    family = _family(handle)
    if handle.family in EXTRAS:
        need_extra(EXTRAS[handle.family])
    if handle.weights and not Path(handle.weights).exists():
        raise DataError(
            f"the weights file {handle.weights!r} does not exist", "", "Check --weights."
        )
    handle = family.check(handle)
    check_options(handle.options)
    return handle
