"""Preprocessing of images, boxes and texts for networks, and grids of their tokens."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import digest, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from foveate.models.base import Scale


logger = logging.getLogger("foveate")

OPTIONS = ("size", "mean", "std", "precision")  # options of all model names; others are per family

CHECKPOINT_KEY = "checkpoint_key"  # additional option for local weights

Resample = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Preprocess:
    """Preprocessing of raw pixels for a network.

    Whole tiles are resampled to `size` without cropping, because the margin of a tile is as
    relevant as its centre.

    Attributes:
        scale: ``(low, high)`` per band, mapped to 0 and 1.
        mean: Per band, subtracted after scaling.
        std: Per band, divided by after `mean`.
        size: ``(height, width)`` to resample to (antialiased), or None for the native size.
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
    ) -> Preprocess:
        """Combine the defaults of the weights with the options of a model name.

        Args:
            options: ``size`` (side in pixels, or "native"), ``mean`` and ``std`` (a number, or
                one per band) override the defaults; other entries are ignored.
            scale: ``(low, high)`` per band.
            mean: Default per channel; for another number of bands, its mean is used for all bands.
            std: Default standard deviation, treated like `mean`.
            size: Default ``(height, width)``.
            resample: Default of the weights; anything but "bicubic" means "bilinear".

        Raises:
            ParameterError: An option is invalid.
        """
        _check_scaled(options, scale)
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
    """Validate an input size of a model and return ``(height, width)``.

    Args:
        side: Side of a square, or ``(height, width)``, in pixels.
        step: Both sides must be multiples of it.
        name: Name of the model, for the message.
        also: Further supported sizes, as ``(height, width)``.

    Raises:
        ParameterError: The size is not supported.
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
        f"invalid input size {side!r} for {name}",
        f"Input sides must be multiples of {step} pixels.",
        f"Use at_size({nearest}).",
    )


def check_options(options: Mapping[str, Any]) -> None:
    """Check the options of all model names that need no imagery to be checked.

    Raises:
        ParameterError: An option is invalid.
    """
    _size(options.get("size"), (8, 8))
    for name in ("mean", "std"):
        _values(options, name, (1.0,), 1, any_number=True)


_RAW = 10.0  # a mean above this is of raw values; of values from 0 to 1 it is at most 1


def _check_scaled(options: Mapping[str, Any], scale: Scale) -> None:
    """Refuse a normalisation of raw values, which applies after the scaling to 0 and 1.

    Raises:
        ParameterError: A given mean or standard deviation is far above 1, and values are scaled.
    """
    if all(tuple(pair) == (0, 1) for pair in scale):
        return
    for name in ("mean", "std"):
        values = _values(options, name, (0.0 if name == "mean" else 1.0,), 1, any_number=True)
        if name in options and max(values) > _RAW:
            low, high = scale[0]
            raise ParameterError(
                f"{name}={options[name]!r} for values scaled from {low:g} to {high:g}",
                "Values are first scaled to 0 to 1, then normalised by mean and std.",
                f"Give {name} in these units (for 8 bits, divide by 255), or use raw values: "
                "--scale 0,1.",
            )


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the family, without those common to all models."""
    return {
        name: value for name, value in options.items() if name not in (*OPTIONS, CHECKPOINT_KEY)
    }


def stated_channels(options: Mapping[str, Any]) -> int | None:
    """Return the option ``in_chans`` of a model name; None without it.

    Raises:
        ParameterError: It is not a positive integer.
    """
    if "in_chans" not in options:
        return None
    stated = options["in_chans"]
    if not isinstance(stated, int) or isinstance(stated, bool) or stated < 1:
        raise ParameterError(
            f"in_chans={stated!r}", "Expected a positive number of bands.", "Use ?in_chans=3."
        )
    return stated


def _size(option: Any, default: tuple[int, int]) -> tuple[int, int] | None:
    if option == "native":
        return None
    if option is None:
        return (int(default[0]), int(default[1]))
    if not isinstance(option, int) or option < 8:
        raise ParameterError(
            f"size={option!r}",
            "Expected a number of pixels of at least 8, or 'native'.",
            "Use ?size=224.",
        )
    return (option, option)


def _values(
    options: Mapping[str, Any],
    name: str,
    default: Sequence[float],
    channels: int,
    *,
    any_number: bool = False,
) -> tuple[float, ...]:
    """Return the mean or standard deviation per band, from the options or the weights.

    With `any_number`, the number of values is not compared with that of the bands.
    """
    stated = name in options
    value = options.get(name, default)
    parts = value.split(",") if isinstance(value, str) else value
    try:
        values = [float(v) for v in (parts if isinstance(parts, list | tuple) else [parts])]
    except (TypeError, ValueError):
        values = []
    if not values or not np.isfinite(values).all():
        raise ParameterError(
            f"{name}={value!r}", "Expected a number, or one per band.", f"Use ?{name}=0.5."
        )
    if name == "std" and min(values) <= 0:
        raise ParameterError(f"std={value!r}", "std must be positive.", "Use ?std=0.5.")
    if len(values) == channels or any_number:
        return tuple(values)
    if len(values) > 1 and stated:
        raise ParameterError(
            f"{name}={value!r}: {len(values)} values for {channels} bands",
            "Expected a number, or one per band.",
            f"Use ?{name}={values[0]:g}.",
        )
    # The normalisation for RGB does not apply to other bands: use its mean for all.
    return (float(np.mean(values)),) * channels


_SHOWN = 60  # maximum number of characters of a text in a message
_SLACK = 1e-3  # tolerance of boxes at the image border, pixels


def check_boxes(boxes: Any, batch: NDArray[Any]) -> NDArray[np.float32]:
    """Check that boxes are inside their images.

    Args:
        boxes: (b, k, 4) numbers ``x0, y0, x1, y1`` in pixels, k >= 1, with x0 < x1 and y0 < y1.
        batch: (b, c, h, w).

    Returns:
        (b, k, 4) float32 inside the image.

    Raises:
        DataError: The shape is invalid, or a box is not finite, empty, reversed or extends beyond
            its image.
    """
    form = "Boxes are x0, y0, x1, y1 in pixels, with x0 < x1 and y0 < y1, inside the image."
    try:
        found = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"boxes are not an array of numbers: {error}", form) from error
    if found.ndim != 3 or found.shape[0] != len(batch) or found.shape[2] != 4 or not found.size:
        raise DataError(
            f"boxes of shape {found.shape} for a batch of shape {batch.shape}",
            f"Expected ({len(batch)}, k, 4) with k >= 1: the same number of boxes per image.",
            form,
        )
    x0, y0, x1, y1 = np.moveaxis(found, 2, 0)
    height, width = batch.shape[2:]
    ordered = (x0 < x1) & (y0 < y1)  # False for NaN
    inside = (np.minimum(x0, y0) >= -_SLACK) & (x1 <= width + _SLACK) & (y1 <= height + _SLACK)
    wrong = np.argwhere(~(ordered & inside))
    if len(wrong):
        image, number = wrong[0]
        box = ", ".join(f"{value:g}" for value in found[image, number])
        raise DataError(
            f"box {number} of image {image} is ({box}) in an image of {width} x {height} pixels "
            f"(width x height); {len(wrong)} of {x0.size} boxes are empty or outside their image",
            form,
        )
    return np.clip(found, 0, [width, height, width, height]).astype(np.float32)


# Tokenizer files written by save_pretrained and earlier versions of transformers.
_TOKENIZER = ("tokenizer*", "vocab*", "merges*", "special_tokens*", "added_tokens*", "*.model")


def clean_texts(texts: Sequence[str]) -> list[str]:
    """Return texts as a list, with normalised whitespace.

    Args:
        texts: At least one text, see `foveate.models.capabilities.EmbedsText`.

    Raises:
        DataError: `texts` is not a list of texts, or is empty.
    """
    listed = [] if isinstance(texts, str) else list(texts)
    if not listed or not all(isinstance(text, str) for text in listed):
        raise DataError(
            f"invalid texts: {texts!r:.80}",
            "Expected a list of at least one text.",
            "For example ['a dense forest', 'a river'].",
        )
    return [" ".join(text.split()) for text in listed]


def note_truncated(texts: Sequence[str], lengths: Sequence[int], context: int) -> None:
    """Warn about texts of which a model reads the beginning only.

    Args:
        texts: The texts.
        lengths: Number of tokens of each text.
        context: Maximum number of tokens that the model reads.
    """
    cut = [text for text, length in zip(texts, lengths, strict=True) if length > context]
    if cut:
        logger.warning(
            "%d of %d texts are longer than the %d tokens that the model reads; the rest is "
            "ignored. The first is '%s'.",
            len(cut), len(texts), context, cut[0][:_SHOWN] + "..." * (len(cut[0]) > _SHOWN),
        )  # fmt: skip


def tokenizer_hash(folder: Path) -> str:
    """Return a hash of the files of a tokenizer, for `TextSpec.fingerprint`.

    Args:
        folder: Folder of the files; other files are ignored.
    """
    files = sorted({file for pattern in _TOKENIZER for file in folder.glob(pattern)})
    return digest([[file.name, fingerprint(file)] for file in files])


def on_grid(tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Reshape row-major tokens to a grid with the aspect ratio of the image.

    Args:
        tokens: (b, n, d) without class tokens.
        size: ``(height, width)`` of the image in pixels.

    Returns:
        (b, gh, gw, d) with gh * gw = n and gh / gw = height / width.

    Raises:
        ValueError: There is no such grid, for example because of special tokens.
    """
    b, n, d = tokens.shape
    gh, gw = grid_of(n, size)
    return tokens.reshape(b, gh, gw, d)


def grid_of(n: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the grid of n square patches over an image.

    Raises:
        ValueError: No grid of n patches has the aspect ratio of the image.
    """
    height, width = size
    gh = round(math.sqrt(n * height / width))
    # Patches are square: both sides are divided by the same step, except for a cropped remainder.
    if gh < 1 or n % gh or abs(gh * width - n // gh * height) >= max(height, width):
        raise ValueError(f"{n} tokens do not tile an image of {height} x {width}")
    return gh, n // gh


def is_mean(tokens: torch.Tensor, vectors: torch.Tensor) -> bool:
    """Return whether the mean over the grid equals the pooled vector, up to rounding.

    Args:
        tokens: (b, gh, gw, d).
        vectors: (b, e).
    """
    if tokens.shape[-1] != vectors.shape[-1]:
        return False
    gap = (tokens.float().mean(dim=(1, 2)) - vectors.float()).abs().max()
    return bool(gap <= 1e-4 * vectors.float().abs().max())
