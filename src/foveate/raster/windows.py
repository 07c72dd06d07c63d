"""Windows that reach beyond a raster, and pixels at another size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import ParameterError
from foveate.grid import Window
from foveate.raster.base import Raster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def check_bands(bands: Sequence[int] | None, count: int, name: str) -> tuple[int, ...]:
    """Return the 1-based bands to read, all when None.

    Raises:
        ParameterError: A band that the raster does not have.
    """
    wanted = tuple(range(1, count + 1)) if bands is None else tuple(int(b) for b in bands)
    if not wanted or min(wanted) < 1 or max(wanted) > count:
        raise ParameterError(
            f"bands {','.join(map(str, wanted))} of {name!r}",
            f"It has {count} band{'s' if count > 1 else ''}, counted from 1.",
        )
    return wanted


def clip(window: Window, shape: tuple[int, int]) -> Window:
    """Return the part of a window inside a raster; a side below 1 when there is none."""
    y, x = max(0, window.y), max(0, window.x)
    return Window(
        y, x, min(shape[0], window.y + window.h) - y, min(shape[1], window.x + window.w) - x
    )


def nothing(bands: int, dtype: str, shape: tuple[int, int]) -> Raster:
    """What lies wholly outside a raster."""
    return Raster(np.zeros((bands, *shape), dtype), np.zeros(shape, bool))


def paste(
    data: NDArray[Any], valid: NDArray[np.bool_], inside: Window, window: Window
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Put what was read inside the raster into a window that reaches beyond it."""
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


def resample(raster: Raster, shape: tuple[int, int]) -> Raster:
    """Resample pixels, and the mask by majority, to `shape`."""
    dtype = raster.data.dtype
    data = np.stack([resize(band, shape) for band in raster.data])
    if np.issubdtype(dtype, np.integer):
        data = np.rint(data)
    return Raster(data.astype(dtype), resize(raster.valid, shape) >= 0.5)


def scale_window(window: Window, grid: tuple[int, int], own: tuple[int, int]) -> Window:
    """The window of a raster of another size that shows the same ground."""
    if grid == own:
        return window
    sy, sx = own[0] / grid[0], own[1] / grid[1]
    y, x = round(window.y * sy), round(window.x * sx)
    return Window(y, x, max(1, round(window.h * sy)), max(1, round(window.w * sx)))
