"""Covariates: the mean over each tile of a raster such as night lights, population, built-up area.

The raster may have any resolution and extent. It is never warped: the outline of a tile is
transformed to the CRS of the raster, and its bounding box is read. A covariate is located by its
georeference, or by pixels without one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import stored_path
from foveate.grid import Window
from foveate.pool.folder import open_pool
from foveate.pool.notes import warn
from foveate.pool.pairing import need_partners
from foveate.raster import FileSource, read_ahead
from foveate.raster.place import WGS84, in_degrees, transformer, turn
from foveate.raster.windows import taps, weigh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.observe.selection.overviews import OverviewTiles
    from foveate.pool import Pool
    from foveate.raster import Source, SourceInfo

    Span = tuple[float, float]

_MAX_PIXELS = 256  # read along a side of a box; larger boxes are read decimated
_MIN_VALID = 1e-3  # valid share of a box; smaller shares are rounding at the edge of a neighbour


def tile_means(pool: Pool, path: str | Path) -> NDArray[np.float64]:
    """Average a raster over each tile.

    Args:
        pool: n georeferenced tiles.
        path: A georeferenced raster; its first band is used.

    Returns:
        (n,) float64 means of valid pixels; NaN for tiles without valid pixels.

    Raises:
        DataError: The raster cannot be read, tiles or raster have no CRS, or the raster covers none
            of the tiles.
    """
    source = FileSource(str(path))
    info = source.info
    if not pool.georeferenced or info.place.kind != "earth":
        what = pool.unplaced or f"{str(path)!r} {info.place.why or 'has no georeference'}"
        raise DataError(
            f"{what}: a covariate of georeferenced tiles",
            "Tiles and covariate must both be georeferenced.",
            info.place.hint or "Georeference the scenes: gdal_edit.py -a_srs EPSG:... FILE.",
        )
    boxes = [list(_boxes(info, outline)) for outline in pool.footprints()]

    def windows(number: int) -> list[tuple[Source, Window]]:
        covered = (_around(info, *box) for box in boxes[number])
        return [(source, window) for window in covered if window is not None]

    means = np.full(len(boxes), np.nan)
    ahead = read_ahead([source], len(boxes), windows, [1])
    for number, spans in enumerate(boxes):
        ahead.at(number)
        means[number] = _mean(source, spans)
    if np.isnan(means).all():
        raise DataError(
            f"{str(path)!r} has no valid pixel in any of the {len(pool)} tiles",
            "A covariate must cover the tiles.",
            "Check its extent and its coordinate reference system: gdalinfo FILE.",
        )
    return means


def _mean(source: FileSource, boxes: list[tuple[Span, Span]]) -> float:
    """Return the mean over boxes in pixels of the raster; NaN without a valid pixel."""
    sums = [_sum(source, *box) for box in boxes]
    total = sum(weight for _, weight, _ in sums)
    if not sums or total < _MIN_VALID * sum(pixels for _, _, pixels in sums):
        return math.nan
    return sum(value for value, _, _ in sums) / total


def _boxes(info: SourceInfo, outline: Any) -> Iterator[tuple[Span, Span]]:
    """Yield the spans of rows and columns of a raster that the parts of an outline cover.

    An outline across 180 degrees has parts. Longitudes of a raster may be from 0 to 360, and a
    location may be in the raster twice, at its left and at its right edge.
    """
    import shapely

    box = info.geobox
    assert box is not None  # noqa: S101  (checked by the caller)
    crs = str(box.crs)
    to_raster = transformer(WGS84, crs)
    assert to_raster is not None  # noqa: S101  (the raster is georeferenced)
    to_pixels = ~box.affine
    shifts = [0.0] if not in_degrees(crs) else [turn(crs) * k for k in (-1, 0, 1)]
    for part in shapely.get_parts(outline):
        lon, lat = shapely.get_coordinates(part).T
        east, north = to_raster.transform(lon, lat)
        if not (np.isfinite(east).all() and np.isfinite(north).all()):
            continue
        for shift in shifts:
            x = to_pixels.a * (east + shift) + to_pixels.b * north + to_pixels.c
            y = to_pixels.d * (east + shift) + to_pixels.e * north + to_pixels.f
            if x.min() < info.shape[1] and x.max() > 0 and y.min() < info.shape[0] and y.max() > 0:
                yield (float(y.min()), float(y.max())), (float(x.min()), float(x.max()))


def _around(info: SourceInfo, rows: Span, cols: Span) -> Window | None:
    """Return the window of the pixels that a box intersects, or None."""
    spans = []
    for (low, high), size in zip((rows, cols), info.shape, strict=True):
        first, last = max(0, math.floor(low)), min(size, math.ceil(high))
        if first >= last:
            return None
        spans.append((first, last))
    (top, bottom), (left, right) = spans
    return Window(top, left, bottom - top, right - left)


def _sum(source: FileSource, rows: Span, cols: Span) -> tuple[float, float, float]:
    """Return the weighted sum of a box (in pixels of the raster), its valid weight, and its size.

    The weight of a pixel is the fraction inside the box.
    """
    window = _around(source.info, rows, cols)
    if window is None:
        return 0.0, 0.0, 0.0
    shape = (min(window.h, _MAX_PIXELS), min(window.w, _MAX_PIXELS))
    raster = source.read(window, bands=[1], out_shape=shape)
    row_weights = _fractions(rows, window.y, window.h, shape[0])
    col_weights = _fractions(cols, window.x, window.w, shape[1])
    weight = raster.valid * row_weights[:, None] * col_weights
    value = (np.where(raster.valid, raster.data[0], 0).astype(np.float64) * weight).sum()
    size = (rows[1] - rows[0]) * (cols[1] - cols[0])
    return float(value), float(weight.sum()), size


def _fractions(span: tuple[float, float], first: int, size: int, count: int) -> NDArray[np.float64]:
    """Return the (count,) overlaps of the pixels read for a window with a span."""
    edges = first + np.arange(count + 1) * size / count
    return np.maximum(0, np.minimum(span[1], edges[1:]) - np.maximum(span[0], edges[:-1]))


def covered(target: OverviewTiles, path: str | Path | None) -> NDArray[np.float64]:
    """Average a covariate over each tile.

    If tiles and raster are georeferenced, by their footprints (`tile_means`). Otherwise a raster is
    assumed to cover the extent of its scene: one raster for one scene, or a folder of rasters,
    paired by name.

    Args:
        target: Tiles and overviews.
        path: A raster, or a folder of rasters; the first band is used.

    Returns:
        (n,) float64 means of valid pixels.

    Raises:
        DataError: The covariate cannot be read, does not cover a tile, or cannot be assigned to
            scenes.
    """
    rasters = open_pool(str(path), split=(1, 1), measure=False).scenes
    georeferenced = all(scene.source.info.place.kind == "earth" for scene in rasters)
    if len(rasters) == 1 and target.pool.georeferenced and georeferenced:
        means = tile_means(target.pool, stored_path(rasters[0].uri))
    else:
        means = _by_scene(target, {scene.scene_id: scene.source for scene in rasters}, str(path))
    missing = np.flatnonzero(np.isnan(means))
    if missing.size:
        raise DataError(
            f"the covariate {str(path)!r} has no valid pixel in {missing.size} of {means.size} "
            f"tiles, first {str(target.pool.ids[missing[0]])!r}",
            "Each tile needs a value.",
            "Use a raster that covers all tiles.",
        )
    return means


def _by_scene(target: OverviewTiles, rasters: dict[str, Source], path: str) -> NDArray[np.float64]:
    scenes = target.pool.scenes
    if len(rasters) == 1 and len(scenes) == 1:
        rasters = {scenes[0].scene_id: next(iter(rasters.values()))}
    elif len(rasters) == 1:
        raise DataError(
            f"one raster {path!r} for {len(scenes)} scenes",
            "Without a georeference of raster and scenes it cannot be located.",
            "Use a folder with one raster per scene, paired by name.",
        )
    warn(need_partners([scene.scene_id for scene in scenes], rasters, "covariate"))
    values = np.full(len(target.pool), np.nan)
    for number, scene in enumerate(scenes):
        rows = target.rows[number]
        raster = rasters[scene.scene_id].read(bands=[1])
        edges = [
            np.arange(n + 1) * side / n
            for n, side in zip(target.shapes[number], raster.valid.shape, strict=True)
        ]
        axes = [
            taps(edge, float(edge[1]), (0, side))
            for edge, side in zip(edges, raster.valid.shape, strict=True)
        ]
        means, weight = weigh(raster, *axes)
        grid = np.where(weight > 0, means[0], np.nan)
        values[rows] = grid[target.place[rows, 1], target.place[rows, 2]]
    return values
