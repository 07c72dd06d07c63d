"""Undeclared frames: pixels of 0 or of a fill value, from the border inwards.

Warped or cropped scenes often have such a frame; without a nodata value its pixels count as valid.
Fill values are the extremes of the type (255, -32768, -3.4e38), and negative or very large values
beyond all other values of the scene (-9999, 1e20).
Frames are detected in small windows along the border, so that large scenes need not be read; the
whole scene is read, at reduced size, only if these windows contain a frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from foveate.grid import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.raster.base import Raster, Source

LEAST = 0.02  # minimum share of pixels of a frame that is reported
_SIDE = 16  # side of the windows along the border, pixels
_SIZE = 512  # longer side of the reduced scene, pixels
_NOISE = 10  # maximum change of 0 and 255 by lossy compression
_LARGE = 1e15  # positive fill values of floats are larger; no measurement is


class Frame(NamedTuple):
    """A frame of pixels that are valid by all rules.

    Attributes:
        value: Value of all bands in the frame.
        share: Share of the pixels, 0 to 1.
    """

    value: float | int
    share: float

    @property
    def text(self) -> str:
        """The value as it is typed: "0", "-9999", "-3.4028234663852886e+38"."""
        whole = isinstance(self.value, int) or (self.value.is_integer() and abs(self.value) < 1e15)
        return str(int(self.value)) if whole else repr(self.value)


def find_frame(source: Source, bands: Sequence[int] | None = None) -> Frame | None:
    """Return the undeclared frame of a raster, or None.

    Args:
        source: The raster.
        bands: 1-based bands that must all have the value; all if None.

    Raises:
        DataError: The raster cannot be read.
    """
    info = source.info
    if not np.issubdtype(info.dtype, np.integer) and not np.issubdtype(info.dtype, np.floating):
        return None
    height, width = info.shape
    noise = _NOISE if info.lossy and info.dtype == "uint8" else 0
    border = [source.read(window, bands=bands) for window in _along_border(height, width)]
    values = _extremes(info.dtype) | {value for raster in border for value in _constant(raster)}
    values = {v for v in values if v != info.nodata}
    values = {v for v in values if any(_equal(r, v, noise).mean() > 0.5 for r in border)}
    if not values:
        return None
    factor = min(1.0, _SIZE / max(height, width))
    shape = (max(1, round(height * factor)), max(1, round(width * factor)))
    small = source.read(bands=bands, out_shape=None if factor == 1 else shape)
    usual = {0, *_extremes(info.dtype)}
    frames = [
        Frame(v, float(_from_border(_equal(small, v, noise)).mean()))
        for v in sorted(values)
        if v in usual or _beyond(small, v)
    ]
    largest = max(frames, key=lambda frame: frame.share, default=None)
    return largest if largest is not None and largest.share >= LEAST else None


def _extremes(dtype: str) -> set[float | int]:
    """Return 0 and the extreme values of a type."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return {0, int(limits.min), int(limits.max)}
    return {0, float(np.finfo(dtype).min), float(np.finfo(dtype).max)}


def _constant(raster: Raster) -> set[float | int]:
    """Return the most frequent value of the first band, if it may be a fill value."""
    values, times = np.unique(raster.data[0][raster.valid], return_counts=True)
    if not values.size:
        return set()
    value = values[times.argmax()].item()
    return {value} if value < 0 or value > _LARGE else set()


def _beyond(raster: Raster, value: float) -> bool:
    """Return whether all other valid pixels lie on one side of a value, in all bands."""
    others = raster.data[:, raster.valid & ~_equal(raster, value, 0)]
    return bool((others > value).all() if value < 0 else (others < value).all())


def _along_border(height: int, width: int) -> list[Window]:
    """Return windows at the corners and in the middle of the sides."""
    h, w = min(_SIDE, height), min(_SIDE, width)
    rows, cols = ((0, (n - s) // 2, n - s) for n, s in ((height, h), (width, w)))
    inner = (rows[1], cols[1])
    return [Window(y, x, h, w) for y in rows for x in cols if (y, x) != inner]


def _equal(raster: Raster, value: float, noise: int) -> NDArray[np.bool_]:
    """Return (h, w) whether valid pixels equal a value in all bands, within the noise."""
    if np.issubdtype(raster.data.dtype, np.floating):
        with np.errstate(over="ignore"):  # differences of the extremes of float64
            # The mean of equal floats, at reduced size, is rounded.
            same = np.isclose(raster.data, np.float64(value), rtol=1e-6, atol=0)
    else:
        same = (raster.data >= value - noise) & (raster.data <= value + noise)
    return same.all(axis=0) & raster.valid


def _from_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the parts of a mask that are connected with the border."""
    from scipy.ndimage import label

    parts, _ = label(mask)
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return np.isin(parts, border[border > 0])
