"""From the pixels of a tile to what a network expects: one affine map per band, one resampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.models.base import Scale

OPTIONS = ("size", "mean", "std", "precision")  # of a model's name; the rest is its family's
CHECKPOINT_KEY = "checkpoint_key"  # and this one where weights are a local file
Resample = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Inputs:
    """How raw pixels become the input of a network.

    Tiles are resampled whole to `size`: nothing is cropped off, because what lies at the edge of
    a tile is as much on the ground as what lies in its middle.

    Attributes:
        scale: ``(low, high)`` per band, mapped to 0 and 1.
        mean: Per band, subtracted after scaling.
        std: Per band, divided by after `mean`.
        size: ``(height, width)`` to resample to (antialiased), or None for the tile's own.
        resample: "bilinear" or "bicubic".
    """

    scale: Scale
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None
    resample: Resample = "bilinear"

    @classmethod
    def read(
        cls,
        options: Mapping[str, Any],
        scale: Scale,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        size: tuple[int, int],
        resample: str = "bilinear",
    ) -> Inputs:
        """Combine the defaults of the weights with the options of a model's name.

        Args:
            options: ``size`` (side in pixels, or "native"), ``mean`` and ``std`` (a number, or
                one for each band) win over the defaults; other entries are not looked at.
            scale: ``(low, high)`` per band.
            mean: Default per channel; of another number of channels, its mean serves all bands.
            std: The same for the standard deviation.
            size: Default ``(height, width)``.
            resample: Default of the weights; anything but "bicubic" means "bilinear".

        Raises:
            ParameterError: An option cannot be used.
        """
        return cls(
            scale=tuple(scale),
            mean=_values(options, "mean", mean, len(scale)),
            std=_values(options, "std", std, len(scale)),
            size=_size(options.get("size"), size),
            resample="bicubic" if resample == "bicubic" else "bilinear",
        )

    def __call__(self, batch: NDArray[Any], device: torch.device) -> torch.Tensor:
        """Return (b, c, height, width) float32 on the device."""
        import torch

        x = torch.from_numpy(np.array(batch, dtype=np.float32, order="C")).to(device)
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            x = torch.nn.functional.interpolate(
                x, self.size, mode=self.resample, align_corners=False, antialias=True
            )
        # One affine map for both steps: (x - low) / (high - low), then (. - mean) / std.
        low, high = np.array(self.scale, np.float64).T
        gain = 1 / ((high - low) * self.std)
        shift = -(low / (high - low) + self.mean) / self.std
        shape = (1, -1, 1, 1)
        gain_t, shift_t = (
            torch.from_numpy(v.astype(np.float32)).view(shape).to(device) for v in (gain, shift)
        )
        return x.mul_(gain_t).add_(shift_t).contiguous(memory_format=torch.channels_last)


def read_size(
    side: int | tuple[int, int], step: int, name: str, *, also: Sequence[object] = ()
) -> tuple[int, int]:
    """Read the size that inputs of a model shall have.

    Args:
        side: Side of a square, or ``(height, width)``, in pixels.
        step: What both are multiples of.
        name: Of the model, for the message.
        also: Further sizes that it takes, as ``(height, width)``.

    Raises:
        ParameterError: It is no such size.
    """
    given = tuple(side) if isinstance(side, tuple | list) else (side, side)
    nearest = 8 * step
    numbers = (isinstance(s, int | np.integer) and not isinstance(s, bool) for s in given)
    if len(given) == 2 and all(numbers):
        size = (int(given[0]), int(given[1]))
        if size in also or all(s >= step and s % step == 0 for s in size):
            return size
        nearest = step * max(1, round(max(size) / step))
    raise ParameterError(
        f"inputs of {side!r} pixels for {name}",
        f"Its input sides are multiples of {step} pixels.",
        f"Type at_size({nearest}).",
    )


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not foveate's, for the family."""
    return {
        name: value for name, value in options.items() if name not in (*OPTIONS, CHECKPOINT_KEY)
    }


def stated_channels(options: Mapping[str, Any]) -> int | None:
    """Return the option ``in_chans`` of a model's name; None where it is not there.

    Raises:
        ParameterError: It is no number of bands.
    """
    if "in_chans" not in options:
        return None
    stated = options["in_chans"]
    if not isinstance(stated, int) or isinstance(stated, bool) or stated < 1:
        raise ParameterError(f"in_chans={stated!r}", "It is a number of bands.", "?in_chans=3")
    return stated


def _size(option: Any, default: tuple[int, int]) -> tuple[int, int] | None:
    if option == "native":
        return None
    if option is None:
        return (int(default[0]), int(default[1]))
    if not isinstance(option, int) or option < 8:
        raise ParameterError(
            f"size={option!r}", "The size is a number of pixels from 8, or 'native'.", "?size=224"
        )
    return (option, option)


def _values(
    options: Mapping[str, Any], name: str, default: Sequence[float], channels: int
) -> tuple[float, ...]:
    """Return the mean or the standard deviation of each band: the user's, or the weights'."""
    stated = name in options
    value = options.get(name, default)
    parts = value.split(",") if isinstance(value, str) else value
    try:
        values = [float(v) for v in (parts if isinstance(parts, list | tuple) else [parts])]
    except (TypeError, ValueError):
        values = []
    if not values or not np.isfinite(values).all():
        raise ParameterError(
            f"{name}={value!r}", "Expected a number, or one for each band.", f"?{name}=0.5"
        )
    if name == "std" and min(values) <= 0:
        raise ParameterError(f"std={value!r}", "It is more than 0.", "?std=0.5")
    if len(values) == channels:
        return tuple(values)
    if len(values) > 1 and stated:
        raise ParameterError(
            f"{name}={value!r}: {len(values)} values for {channels} bands",
            "Expected a number, or one for each band.",
            f"?{name}={values[0]:g}",
        )
    # Normalisation for RGB says nothing of other bands: their mean is the neutral choice.
    return (float(np.mean(values)),) * channels
