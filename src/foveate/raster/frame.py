"""Frames that nobody has declared: pixels of 0, or of the greatest value, from the border inwards.

Scenes that were warped or cut lie in a frame of such pixels; without a nodata value they pass for
ground. A frame is looked for where it must begin, in small windows along the border, so that a
large scene is not read for it; only where there is one the whole scene is, at reduced size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from foveate.grid import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.raster.base import Raster, Source

LEAST = 0.02  # share of the pixels from which a frame is worth a word
_SIDE = 16  # of the windows along the border
_SIZE = 512  # longer side of the reduced scene
_NOISE = 10  # grey values by which lossy compression moves 0 and 255


class Frame(NamedTuple):
    """A frame that no rule of validity covers.

    Attributes:
        value: What all bands hold there.
        share: Share of the pixels, 0 to 1.
    """

    value: int
    share: float


def find_frame(source: Source, bands: Sequence[int] | None = None) -> Frame | None:
    """Return the undeclared frame of a raster, or None.

    Args:
        source: The raster. Floating-point values have NaN for what is missing, and no frame.
        bands: 1-based bands that must all hold the value; all when None.

    Raises:
        DataError: The raster cannot be read.
    """
    info = source.info
    if not np.issubdtype(info.dtype, np.integer):
        return None
    height, width = info.shape
    values = [v for v in (0, int(np.iinfo(info.dtype).max)) if v != info.nodata]
    noise = _NOISE if info.lossy and info.dtype == "uint8" else 0
    seen = [source.read(window, bands=bands) for window in _along_border(height, width)]
    values = [v for v in values if any(_holds(r, v, noise).mean() > 0.5 for r in seen)]
    if not values:
        return None
    factor = min(1.0, _SIZE / max(height, width))
    shape = (max(1, round(height * factor)), max(1, round(width * factor)))
    small = source.read(bands=bands, out_shape=None if factor == 1 else shape)
    frames = [Frame(v, float(_from_border(_holds(small, v, noise)).mean())) for v in values]
    largest = max(frames, key=lambda frame: frame.share)
    return largest if largest.share >= LEAST else None


def _along_border(height: int, width: int) -> list[Window]:
    """Windows at the corners and in the middle of the sides."""
    h, w = min(_SIDE, height), min(_SIDE, width)
    rows, cols = ((0, (n - s) // 2, n - s) for n, s in ((height, h), (width, w)))
    inner = (rows[1], cols[1])
    return [Window(y, x, h, w) for y in rows for x in cols if (y, x) != inner]


def _holds(raster: Raster, value: int, noise: int) -> NDArray[np.bool_]:
    """Return (h, w) where valid pixels hold a value in all bands, to within the noise."""
    low, high = value - noise, value + noise
    return ((raster.data >= low) & (raster.data <= high)).all(axis=0) & raster.valid


def _from_border(there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep what is connected with the border."""
    from scipy.ndimage import label

    parts, _ = label(there)
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return np.isin(parts, border[border > 0])
