"""Thumbnails of tiles and scenes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.raster import resize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.grid import Window
    from foveate.raster import Raster, Source

_EMPTY = 236  # light grey for nodata
_BRIGHT = 99.5  # percentile displayed as white
_DARKEST = 80.0  # minimum value displayed as white, so that dark scenes such as water stay dark


def display_bands(requested: Sequence[int], available: int) -> tuple[int, ...]:
    """Return three bands displayed as red, green and blue, or one displayed as grey."""
    chosen = tuple(requested) or tuple(range(1, available + 1))
    return chosen[:3] if len(chosen) >= 3 else chosen[:1]


def display_range(source: Source, bands: Sequence[int]) -> NDArray[np.float64]:
    """Return (c, 2) values displayed as black and white: 2nd and 98th percentile of each band.

    uint8 images are assumed to be pictures: black is 0, and all bands share one white value, which
    preserves colours; it is below 255 for dark pictures. Computed from a preview of at most 512 px.
    """
    raster = read_small(source, None, bands, 512)
    values = raster.data[:, raster.valid].astype(np.float64)
    if source.info.dtype == "uint8":
        white = np.percentile(values, _BRIGHT) if values.size else 255.0
        return np.array([[0.0, max(white, _DARKEST)]] * len(bands))
    if not values.shape[1]:
        return np.array([[0.0, 1.0]] * len(bands))
    return np.percentile(values, [2, 98], axis=1).T


def read_small(source: Source, window: Window | None, bands: Sequence[int], side: int) -> Raster:
    """Read a window so that its longer side is at most `side` pixels."""
    height, width = (window.h, window.w) if window else source.info.shape
    factor = min(1.0, side / max(height, width))
    shape = (max(1, round(height * factor)), max(1, round(width * factor)))
    return source.read(window, bands=bands, out_shape=None if factor == 1.0 else shape)


def to_rgb(raster: Raster, value_range: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Convert one or three bands to an (h, w, 3) uint8 picture; invalid pixels are light grey."""
    low, high = value_range[:, 0], value_range[:, 1]
    span = np.where(high > low, high - low, 1.0)
    scaled = (raster.data.astype(np.float64) - low[:, None, None]) / span[:, None, None]
    picture = np.nan_to_num(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    if len(picture) == 1:
        picture = np.repeat(picture, 3, axis=0)
    picture[:, ~raster.valid] = _EMPTY
    return np.moveaxis(picture, 0, -1)


def jpeg(picture: NDArray[Any], side: int | None = None, quality: int = 82) -> bytes:
    """Encode an (h, w, 3) uint8 picture as JPEG, resized to `side` pixels if given."""
    from PIL import Image

    if side is not None and max(picture.shape[:2]) != side:
        factor = side / max(picture.shape[:2])
        shape = (max(1, round(picture.shape[0] * factor)), max(1, round(picture.shape[1] * factor)))
        bands = [resize(picture[..., i], shape) for i in range(3)]
        picture = np.clip(np.rint(np.stack(bands, axis=-1)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()
