"""Backbones of torchgeo: timm networks with weights for particular sensors.

Tags are the members of torchgeo's enumerations of weights. They say how many bands the network
needs, and how raw values are normalised: a chain of shifts and scalings becomes
one value range per band, mean and standard deviation, so that imagery in the sensor's units is
normalised as in training. Tiles are resampled as a whole where torchgeo would crop them.

Other networks (torchvision's Swin, DOFA, CROMA and others) are not supported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import ParameterError, UnknownNameError
from foveate.models.checkpoint_file import first_line
from foveate.models.families.timm import check_options, finish, network_options
from foveate.models.hub import fetch_file
from foveate.models.preprocess import own_options, stated_channels
from foveate.models.weights import (
    RANDOM,
    RANDOM_SOURCE,
    check_weights,
    put_state,
    random_weights,
    read_weights,
    source_of,
    weights_hash,
)
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families.timm import TimmModel

_CLASSIFIERS = ("fc.", "head.")
_NORM = ("norm.weight", "norm.bias")  # missing in some files; torchgeo accepts that


@dataclass(frozen=True)
class _Range:
    """Normalisation of raw values: scaled from `scale` to [0, 1], then mean and std."""

    scale: Scale
    mean: tuple[float, ...]
    std: tuple[float, ...]


class _TorchGeo:
    """The family; see `foveate.models.base.Family`."""

    def check(self, handle: ModelHandle) -> ModelHandle:
        """Check the name, the tag and that the weights file can be read."""
        _check_name(handle)
        check_options(handle)
        check_weights(handle)
        weights = _weights(handle)
        if weights is None:
            return replace(handle, channels=stated_channels(handle.options) or 3)
        channels = int(weights.meta["in_chans"])
        if stated_channels(handle.options) not in {None, channels}:
            raise ParameterError(
                f"in_chans={handle.options['in_chans']} for {handle}",
                f"These weights require {channels} bands: "
                f"{', '.join(weights.meta.get('bands', ())) or 'not documented'}.",
                "Remove 'in_chans'.",
            )
        known = _range(weights, channels)
        return replace(
            handle, channels=channels, native_scale=None if known is None else known.scale
        )

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> TimmModel:
        """Build the model.

        Options for foveate: ``size``, ``mean``, ``std``, ``precision``, ``checkpoint_key`` as for
        timm. All others are passed to ``torchgeo.models.get_model``, which passes them to
        ``timm.create_model``.

        Raises:
            DataError: The weights cannot be read or are from another architecture, or the hub
                cannot be reached.
            ParameterError: An option cannot be used.
        """
        weights = _weights(handle)
        meta: Mapping[str, Any] = {} if weights is None else weights.meta
        net = _create(handle, meta, len(bands))
        if weights is not None or handle.weights:
            _load(net, handle, weights)
        known = None if weights is None else _range(weights, len(bands))
        side = _side(weights, net)
        return finish(
            replace(handle, options={"size": side, **handle.options}),
            net,
            bands,
            scale,
            weights_hash(net, "torchgeo", sorted(own_options(handle.options).items())),
            name=str(handle),
            source=_source(handle, weights),
            licence=str(meta.get("license", "")),
            mean=None if known is None else known.mean,
            std=None if known is None else known.std,
        )


FAMILY = _TorchGeo()


# --- names -----------------------------------------------------------------------------------


def _check_name(handle: ModelHandle) -> None:
    """Check the architecture and the tag.

    Raises:
        ParameterError: No model or no weights are selected.
        UnknownNameError: There is no such model or tag.
    """
    import timm
    from torchgeo.models import list_models

    known = [name for name in list_models() if timm.is_model(name)]
    if not handle.name:
        raise ParameterError(
            "the name of the torchgeo model is missing", f"Allowed: {', '.join(known)}.",
            "For example torchgeo:resnet18@SENTINEL2_RGB_MOCO.",
        )  # fmt: skip
    if handle.name not in known:
        raise UnknownNameError(
            f"torchgeo has no timm network {handle.name!r}",
            f"Allowed: {', '.join(known)}.",
            suggest(handle.name, known),
        )
    tags = list(_enumeration(handle.name))
    allowed = f"Tags of {handle.name}: {', '.join(tags)}; or random."
    if not handle.tag:
        raise ParameterError(
            f"{handle} does not select weights", allowed,
            f"Use torchgeo:{handle.name}@{tags[-1]}.",
        )  # fmt: skip
    if handle.tag != RANDOM and handle.tag not in tags:
        raise UnknownNameError(
            f"{handle.name} has no weights {handle.tag!r}", allowed, suggest(handle.tag, tags)
        )


def _enumeration(name: str) -> dict[str, Any]:
    from torchgeo.models import get_model_weights

    return dict(get_model_weights(name).__members__)


def _weights(handle: ModelHandle) -> Any:
    """Return the enumeration member of the tag, or None for random weights."""
    return None if handle.tag == RANDOM else _enumeration(handle.name)[handle.tag]


def _source(handle: ModelHandle, weights: Any) -> str:
    if handle.weights:
        return source_of(handle.weights)
    if weights is None:
        return RANDOM_SOURCE
    facts = (weights.meta.get("publication", ""), weights.meta.get("repo", ""))
    return " ".join(filter(None, (f"torchgeo hub: {weights.url.rpartition('/')[2]}", *facts)))


# --- the network -----------------------------------------------------------------------------


def _create(handle: ModelHandle, meta: Mapping[str, Any], channels: int) -> Any:
    """Create the network with random weights, without its classifier."""
    from torchgeo.models import get_model

    fixed = {"img_size": meta["img_size"]} if "img_size" in meta else {}
    options = {**fixed, **network_options(handle), "in_chans": channels, "num_classes": 0}
    try:
        return random_weights(lambda: get_model(handle.name, **options))
    except Exception as error:
        raise ParameterError(
            f"torchgeo cannot create {handle}: {first_line(error)}",
            f"Given: {own_options(handle.options)}.",
            "Remove the option after '?'.",
        ) from error


def _on_hub(url: str) -> tuple[str, str, str]:
    """Return repository, commit and file of a hub URL."""
    host, _, rest = url.partition("/resolve/")
    commit, _, file = rest.partition("/")
    return "/".join(host.rsplit("/", 2)[-2:]), commit, file


def _load(net: Any, handle: ModelHandle, weights: Any) -> None:
    path = handle.weights
    if not path:
        repository, commit, file = _on_hub(weights.url)
        path = str(fetch_file(repository, [file], name=str(handle), revision=commit))
    put_state(
        net,
        read_weights(handle, path),
        path,
        handle.name,
        spare=lambda name: name.startswith(_CLASSIFIERS),
        optional=lambda name: name in _NORM,
    )


# --- transforms ------------------------------------------------------------------------------


def _steps(transforms: Any) -> Iterator[Any]:
    """Yield the single steps of nested transforms."""
    from torch import nn

    if isinstance(transforms, nn.Sequential):
        for step in transforms:
            yield from _steps(step)
    else:
        yield transforms


def _range(weights: Any, channels: int) -> _Range | None:
    """Return the normalisation of raw values from the transforms of weights.

    Only shifts and scalings are supported, next to resizing and identity; for
    other transforms None is returned.
    """
    import torchvision.transforms.v2 as tv
    from torch import nn

    shifts: list[tuple[Any, Any]] = []
    for step in _steps(weights.transforms):
        if isinstance(step, tv.Normalize):
            mean, std = (np.array(values, float) for values in (step.mean, step.std))
            shifts.append((np.broadcast_to(mean, channels), np.broadcast_to(std, channels)))
        elif not isinstance(step, tv.Resize | tv.CenterCrop | nn.Identity):
            return None
    gain, offset = np.ones(channels), np.zeros(channels)
    for mean, std in shifts:
        gain, offset = gain / std, (offset - mean) / std
    low, high = np.zeros(channels), np.ones(channels)  # raw values are not scaled
    if shifts:
        mean, std = shifts[0]
        # A shift alone standardises: two deviations about the mean are the range. Else the first
        # step maps a range to 0 and 1.
        standard = len(shifts) == 1 and mean.any()
        low, high = (mean - 2 * std, mean + 2 * std) if standard else (mean, mean + std)
    span = high - low
    return _Range(
        scale=tuple(zip(low.tolist(), high.tolist(), strict=True)),
        mean=tuple((0.0 - (offset + gain * low) / (gain * span)).tolist()),
        std=tuple((1 / (gain * span)).tolist()),
    )


def _side(weights: Any, net: Any) -> int:
    """Return the input side of the network: the last size of the transforms."""
    import torchvision.transforms.v2 as tv

    side = int(net.pretrained_cfg["input_size"][1])
    for step in _steps(None if weights is None else weights.transforms):
        if isinstance(step, tv.Resize | tv.CenterCrop):
            side = int(step.size[0])
    return side
