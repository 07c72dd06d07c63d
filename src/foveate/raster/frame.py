"""Undeclared frames: pixels of 0, or of the maximum value, from the border inwards.

Warped or cropped scenes often have such a frame; without a nodata value its pixels count as valid.
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


class Frame(NamedTuple):
    """A frame of pixels that are valid by all rules.

    Attributes:
        value: Value of all bands in the frame.
        share: Share of the pixels, 0 to 1.
    """

    value: int
    share: float


def find_frame(source: Source, bands: Sequence[int] | None = None) -> Frame | None:
    """Return the undeclared frame of a raster, or None.

    Args:
        source: The raster. Floating-point rasters have no frame, because they can store NaN.
        bands: 1-based bands that must all have the value; all if None.

    Raises:
        DataError: The raster cannot be read.
    """
    info = source.info
    if not np.issubdtype(info.dtype, np.integer):
        return None
    height, width = info.shape
    values = [v for v in (0, int(np.iinfo(info.dtype).max)) if v != info.nodata]
    noise = _NOISE if info.lossy and info.dtype == "uint8" else 0
    border = [source.read(window, bands=bands) for window in _along_border(height, width)]
    values = [v for v in values if any(_equal(r, v, noise).mean() > 0.5 for r in border)]
    if not values:
        return None
    factor = min(1.0, _SIZE / max(height, width))
    shape = (max(1, round(height * factor)), max(1, round(width * factor)))
    small = source.read(bands=bands, out_shape=None if factor == 1 else shape)
    frames = [Frame(v, float(_from_border(_equal(small, v, noise)).mean())) for v in values]
    largest = max(frames, key=lambda frame: frame.share)
    return largest if largest.share >= LEAST else None


def _along_border(height: int, width: int) -> list[Window]:
    """Return windows at the corners and in the middle of the sides."""
    h, w = min(_SIDE, height), min(_SIDE, width)
    rows, cols = ((0, (n - s) // 2, n - s) for n, s in ((height, h), (width, w)))
    inner = (rows[1], cols[1])
    return [Window(y, x, h, w) for y in rows for x in cols if (y, x) != inner]


def _equal(raster: Raster, value: int, noise: int) -> NDArray[np.bool_]:
    """Return (h, w) whether valid pixels equal a value in all bands, within the noise."""
    low, high = value - noise, value + noise
    return ((raster.data >= low) & (raster.data <= high)).all(axis=0) & raster.valid


def _from_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the parts of a mask that are connected with the border."""
    from scipy.ndimage import label

    parts, _ = label(mask)
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return np.isin(parts, border[border > 0])
