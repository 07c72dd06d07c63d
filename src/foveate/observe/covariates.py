"""The mean of a raster over each tile: night lights, population, built-up area.

The raster may be of any resolution and reach beyond the tiles, or not cover all of them. It is read
where tiles are, never warped: a tile's outline is taken to the raster's own coordinates, and its
box read there. A covariate is located by its georeference, or by its pixels where there is none.
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

    from foveate.observe.overviews import OverviewTiles
    from foveate.pool import Pool
    from foveate.raster import Source, SourceInfo

    Span = tuple[float, float]

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
    source = FileSource(str(path))
    info = source.info
    if not pool.georeferenced or info.place.kind != "earth":
        what = pool.unplaced or f"{str(path)!r} {info.place.why or 'has no georeference'}"
        raise DataError(
            f"{what}: a covariate for tiles on the Earth",
            "It is averaged where the tiles lie, so both are georeferenced.",
            info.place.hint or "Give the scenes a place: gdal_edit.py -a_srs EPSG:... FILE.",
        )
    boxes = [list(_boxes(info, outline)) for outline in pool.footprints()]

    def wanted(number: int) -> list[tuple[Source, Window]]:
        windows = (_around(info, *box) for box in boxes[number])
        return [(source, window) for window in windows if window is not None]

    found = np.full(len(boxes), np.nan)
    ahead = read_ahead([source], len(boxes), wanted, [1])
    for number, own in enumerate(boxes):
        ahead.at(number)
        found[number] = _mean(source, own)
    if np.isnan(found).all():
        raise DataError(
            f"{str(path)!r} has no valid pixel under any of the {len(pool)} tiles",
            "A covariate covers the ground of the tiles.",
            "Check its extent and its coordinate reference system: gdalinfo FILE.",
        )
    return found


def _mean(source: FileSource, boxes: list[tuple[Span, Span]]) -> float:
    """Return the mean over boxes in pixels of the raster; NaN without a valid pixel."""
    sums = [_sum(source, *box) for box in boxes]
    total = sum(weight for _, weight, _ in sums)
    if not sums or total < _LEAST * sum(pixels for _, _, pixels in sums):
        return math.nan
    return sum(value for value, _, _ in sums) / total


def _boxes(info: SourceInfo, outline: Any) -> Iterator[tuple[Span, Span]]:
    """Yield the rows and columns of a raster that the parts of an outline lie in.

    An outline across 180 degrees has parts. A raster in longitudes may have them from 0 to 360, or
    show a place twice, at its left and at its right edge.
    """
    import shapely

    box = info.geobox
    assert box is not None  # noqa: S101  (its place is known)
    crs = str(box.crs)
    there = transformer(WGS84, crs)
    assert there is not None  # noqa: S101  (its place is on the Earth)
    back = ~box.affine
    turns = [0.0] if not in_degrees(crs) else [turn(crs) * k for k in (-1, 0, 1)]
    for part in shapely.get_parts(outline):
        lon, lat = shapely.get_coordinates(part).T
        east, north = there.transform(lon, lat)
        if not (np.isfinite(east).all() and np.isfinite(north).all()):
            continue
        for by in turns:
            x = back.a * (east + by) + back.b * north + back.c
            y = back.d * (east + by) + back.e * north + back.f
            if x.min() < info.shape[1] and x.max() > 0 and y.min() < info.shape[0] and y.max() > 0:
                yield (float(y.min()), float(y.max())), (float(x.min()), float(x.max()))


def _around(info: SourceInfo, rows: Span, cols: Span) -> Window | None:
    """Return the pixels of a raster that a box touches, or None."""
    spans = []
    for (low, high), size in zip((rows, cols), info.shape, strict=True):
        first, last = max(0, math.floor(low)), min(size, math.ceil(high))
        if first >= last:
            return None
        spans.append((first, last))
    (top, bottom), (left, right) = spans
    return Window(top, left, bottom - top, right - left)


def _sum(source: FileSource, rows: Span, cols: Span) -> tuple[float, float, float]:
    """Return the sum over a box in pixels of the raster, the valid pixels, and the box's size.

    Each pixel counts by the part inside the box.
    """
    window = _around(source.info, rows, cols)
    if window is None:
        return 0.0, 0.0, 0.0
    shape = (min(window.h, _MOST), min(window.w, _MOST))
    raster = source.read(window, bands=[1], out_shape=shape)
    down = _parts(rows, window.y, window.h, shape[0])
    across = _parts(cols, window.x, window.w, shape[1])
    weight = raster.valid * down[:, None] * across
    value = (np.where(raster.valid, raster.data[0], 0).astype(np.float64) * weight).sum()
    size = (rows[1] - rows[0]) * (cols[1] - cols[0])
    return float(value), float(weight.sum()), size


def _parts(span: tuple[float, float], first: int, size: int, count: int) -> NDArray[np.float64]:
    """Return (count,) how much of each pixel, of those read for a window, lies in a span."""
    edges = first + np.arange(count + 1) * size / count
    return np.maximum(0, np.minimum(span[1], edges[1:]) - np.maximum(span[0], edges[:-1]))


def covered(target: OverviewTiles, path: str | Path | None) -> NDArray[np.float64]:
    """Average a covariate over each tile.

    Where tiles and raster are georeferenced, by their footprints (`tile_means`). In pixel space a
    raster is taken to show what its scene shows: one raster for one scene, or a folder of them,
    paired by name.

    Args:
        target: Tiles and overviews.
        path: A raster, or a folder of rasters; the first band counts.

    Returns:
        (n,) float64 means of valid pixels.

    Raises:
        DataError: It cannot be read, does not cover a tile, or it is not clear which scene it
            shows.
    """
    rasters = open_pool(str(path), split=(1, 1), measure=False).scenes
    placed = all(scene.source.info.place.kind == "earth" for scene in rasters)
    if len(rasters) == 1 and target.pool.georeferenced and placed:
        found = tile_means(target.pool, stored_path(rasters[0].uri))
    else:
        found = _by_picture(target, {scene.scene_id: scene.source for scene in rasters}, str(path))
    bare = np.flatnonzero(np.isnan(found))
    if bare.size:
        raise DataError(
            f"the covariate {str(path)!r} has no valid pixel under {bare.size} of {found.size} "
            f"tiles, the first is {str(target.pool.ids[bare[0]])!r}",
            "Each tile needs a number.",
            "Give a raster that covers all of them.",
        )
    return found


def _by_picture(
    target: OverviewTiles, rasters: dict[str, Source], path: str
) -> NDArray[np.float64]:
    scenes = target.pool.scenes
    if len(rasters) == 1 and len(scenes) == 1:
        rasters = {scenes[0].scene_id: next(iter(rasters.values()))}
    elif len(rasters) == 1:
        raise DataError(
            f"one raster {path!r} for {len(scenes)} scenes",
            "Without a georeference of both it is not known where it lies.",
            "Give a folder with a raster for each scene, paired by name.",
        )
    warn(need_partners([scene.scene_id for scene in scenes], rasters, "covariate"))
    found = np.full(len(target.pool), np.nan)
    for number, scene in enumerate(scenes):
        rows = np.flatnonzero(target.place[:, 0] == number)
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
        found[rows] = grid[target.place[rows, 1], target.place[rows, 2]]
    return found
