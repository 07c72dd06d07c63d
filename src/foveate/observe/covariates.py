"""The mean of a raster over each tile: night lights, population, built-up area.

The raster may be of any resolution and reach beyond the tiles, or not cover all of them. It is read
where tiles are, never warped: a tile's outline is taken to the raster's own coordinates, and its
box read there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.grid import Window
from foveate.raster import FileSource

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.pool import Pool

_MOST = 256  # pixels along a box's side that are looked at
_LEAST = 1e-3  # of a box must be valid: less is what rounding takes of a neighbour


def tile_means(pool: Pool, path: str | Path) -> NDArray[np.float64]:
    """Average a raster over each tile.

    Args:
        pool: n georeferenced tiles.
        path: A georeferenced raster; its first band counts.

    Returns:
        (n,) float64 means of its valid pixels; NaN where there are none.

    Raises:
        DataError: The raster cannot be read, tiles or raster have no coordinate reference system,
            or it lies under none of the tiles.
    """
    import shapely
    from pyproj import Transformer

    source = FileSource(str(path))
    box = source.info.geobox
    if not pool.georeferenced or box is None or box.crs is None:
        what = "the scenes have" if not pool.georeferenced else f"{str(path)!r} has"
        raise DataError(
            f"{what} no coordinate reference system",
            "A covariate is averaged where the tiles lie on the ground.",
            "Give them one: gdal_edit.py -a_srs EPSG:... FILE.",
        )
    there = Transformer.from_crs("EPSG:4326", box.crs.to_wkt(), always_xy=True)
    back = ~box.affine
    found = np.full(len(pool), np.nan)
    for i, outline in enumerate(pool.footprints()):
        lon, lat = shapely.get_coordinates(outline).T
        east, north = there.transform(lon, lat)
        if np.isfinite(east).all() and np.isfinite(north).all():
            x, y = back.a * east + back.b * north + back.c, back.d * east + back.e * north + back.f
            found[i] = _mean(source, (y.min(), y.max()), (x.min(), x.max()))
    if np.isnan(found).all():
        raise DataError(
            f"{str(path)!r} has no valid pixel under any of the {len(pool)} tiles",
            "A covariate covers the ground of the tiles.",
            "Check its extent and its coordinate reference system: gdalinfo FILE.",
        )
    return found


def _mean(source: FileSource, rows: tuple[float, float], cols: tuple[float, float]) -> float:
    """Return the mean over a box in pixels of the raster, each pixel by the part inside it."""
    tall, wide = source.info.shape
    spans = []
    for (low, high), size in ((rows, tall), (cols, wide)):
        first, last = max(0, math.floor(low)), min(size, math.ceil(high))
        if first >= last:
            return math.nan
        spans.append((first, last))
    (top, bottom), (left, right) = spans
    window = Window(top, left, bottom - top, right - left)
    shape = (min(window.h, _MOST), min(window.w, _MOST))
    raster = source.read(window, bands=[1], out_shape=shape)
    down = _parts(rows, top, window.h, shape[0])
    across = _parts(cols, left, window.w, shape[1])
    weight = raster.valid * down[:, None] * across
    total = float(weight.sum())
    if total < _LEAST * (rows[1] - rows[0]) * (cols[1] - cols[0]):
        return math.nan
    return float(
        (np.where(raster.valid, raster.data[0], 0).astype(np.float64) * weight).sum() / total
    )


def _parts(span: tuple[float, float], first: int, size: int, count: int) -> NDArray[np.float64]:
    """Return (count,) how much of each pixel, of those read for a window, lies in a span."""
    edges = first + np.arange(count + 1) * size / count
    return np.maximum(0, np.minimum(span[1], edges[1:]) - np.maximum(span[0], edges[:-1]))
