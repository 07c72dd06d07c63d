"""Windows that extend beyond a raster, and resampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import ParameterError
from foveate.grid import Window
from foveate.raster.base import Raster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Taps = tuple[NDArray[np.int64], NDArray[np.float64]]

HALF = 0.5 - 1e-9  # minimum valid share of the weight of a pixel: 0.5, with a rounding tolerance
_OVERSAMPLE = 4


def check_bands(bands: Sequence[int] | None, count: int, name: str) -> tuple[int, ...]:
    """Return the 1-based bands to read, all if None.

    Raises:
        ParameterError: A band number is out of range.
    """
    wanted = tuple(range(1, count + 1)) if bands is None else tuple(int(b) for b in bands)
    if not wanted or min(wanted) < 1 or max(wanted) > count:
        raise ParameterError(
            f"bands {','.join(map(str, wanted))} are out of range for {name!r}",
            f"It has {count} band{'s' if count > 1 else ''}, numbered from 1.",
        )
    return wanted


def clip(window: Window, shape: tuple[int, int]) -> Window:
    """Return the part of a window inside a raster; a side below 1 if they do not overlap."""
    y, x = max(0, window.y), max(0, window.x)
    return Window(
        y, x, min(shape[0], window.y + window.h) - y, min(shape[1], window.x + window.w) - x
    )


def nothing(bands: int, dtype: str, shape: tuple[int, int]) -> Raster:
    """Return invalid pixels, for a window outside a raster."""
    return Raster(np.zeros((bands, *shape), dtype), np.zeros(shape, bool))


def paste(
    data: NDArray[Any], valid: NDArray[np.bool_], inside: Window, window: Window
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pad pixels read inside a raster to a window that extends beyond it."""
    cut = np.s_[
        inside.y - window.y : inside.y - window.y + inside.h,
        inside.x - window.x : inside.x - window.x + inside.w,
    ]
    whole = np.zeros((data.shape[0], window.h, window.w), data.dtype)
    mask = np.zeros((window.h, window.w), bool)
    whole[:, *cut] = data
    mask[cut] = valid
    return whole, mask


def resize(image: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resample one (h, w) band to `shape` with an antialiased bilinear filter, float32."""
    from PIL import Image

    band = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(band.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def sampled_shape(window: Window, shape: tuple[int, int]) -> tuple[int, int]:
    """Return the size at which to read pixels that will be resampled to `shape`.

    It is the native size, limited to 4 x 4 samples per pixel of the result, so that large scenes
    need not fit into memory.
    """
    return (min(window.h, _OVERSAMPLE * shape[0]), min(window.w, _OVERSAMPLE * shape[1]))


def resample(raster: Raster, shape: tuple[int, int], *, nearest: bool = False) -> Raster:
    """Resample to `shape`: average if it is smaller, bilinear if it is larger.

    Only valid pixels contribute; a pixel is valid if at least half of its weight is valid.

    Args:
        raster: (c, h, w) pixels.
        shape: ``(height, width)`` of the result.
        nearest: Whether to use the nearest pixel instead, for categorical values.
    """
    own = raster.valid.shape
    if shape == own:
        return raster
    edges = [np.arange(new + 1) * old / new for new, old in zip(shape, own, strict=True)]
    rows, cols = (
        taps(e, old / new, (0, old), nearest=nearest)
        for e, old, new in zip(edges, own, shape, strict=True)
    )
    return blend(raster, rows, cols)


def taps(
    edges: NDArray[np.float64], step: float, limits: tuple[int, int], *, nearest: bool = False
) -> Taps:
    """Return the pixels along one axis that contribute to the result, and their weights.

    Weights depend only on positions, not on the number of requested pixels: a window of the result
    equals the same crop of the whole.

    Args:
        edges: (m + 1,) edges of the m pixels of the result, in pixels of the raster.
        step: Distance of the edges.
        limits: First available pixel, and the pixel after the last; beyond them the first and the
            last pixel are repeated.
        nearest: Whether to use only the pixel at the centre.

    Returns:
        Pixels counted from ``limits[0]`` and their weights, each (k, m).
    """
    left, right = edges[:-1], edges[1:]
    centre = (left + right) / 2
    if nearest:
        place, weight = np.floor(centre)[None], np.ones((1, centre.size))
    elif step <= 1:
        low = np.floor(centre - 0.5)
        part = centre - 0.5 - low
        place, weight = np.stack([low, low + 1]), np.stack([1 - part, part])
    else:
        place = np.floor(left) + np.arange(int(np.ceil(step)) + 1)[:, None]
        shared = np.minimum(right, place + 1) - np.maximum(left, place)
        weight = np.maximum(shared, 0) / step
    index = np.clip(place, limits[0], limits[1] - 1).astype(np.int64) - limits[0]
    return index, weight


def blend(raster: Raster, rows: Taps, cols: Taps) -> Raster:
    """Resample a raster by the `taps` of its rows and columns."""
    found, weight = weigh(raster, rows, cols)
    if not np.issubdtype(raster.data.dtype, np.floating):
        found = np.rint(found)
    return Raster(found.astype(raster.data.dtype), weight >= HALF)


def weigh(
    raster: Raster, rows: Taps, cols: Taps
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of the valid pixels by weights along rows and columns.

    Args:
        raster: (c, h, w) pixels.
        rows: Pixels and weights of the m rows of the result; see `taps`.
        cols: The same for its k columns.

    Returns:
        (c, m, k) means, 0 without valid pixels, and (m, k) the weights of valid pixels.
    """
    data, valid = raster.data, raster.valid
    if not valid.all():
        data = np.where(valid, data, np.zeros((), data.dtype))
    weight = _blend(valid[None], rows, cols)
    return _blend(data, rows, cols) / np.where(weight > 0, weight, 1), weight[0]


def _blend(cube: NDArray[Any], rows: Taps, cols: Taps) -> NDArray[np.float64]:
    tall = _along_rows(cube, rows).swapaxes(1, 2)
    return _along_rows(np.ascontiguousarray(tall), cols).swapaxes(1, 2)


def _along_rows(cube: NDArray[Any], along: Taps) -> NDArray[np.float64]:
    # Terms are added in a fixed order: rounding of a matrix product depends on the window size.
    index, weight = along
    found = np.zeros((cube.shape[0], index.shape[1], cube.shape[2]))
    for i in range(len(index)):
        found += weight[i][:, None] * cube[:, index[i]]
    return found
