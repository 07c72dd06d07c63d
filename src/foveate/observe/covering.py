"""A covariate over a target: by its place on the ground, or on the picture where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.files import stored_path
from foveate.observe.covariates import tile_means
from foveate.pool.folder import open_pool
from foveate.pool.notes import warn
from foveate.pool.pairing import need_partners
from foveate.raster.windows import taps, weigh

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.observe.target import Target
    from foveate.raster import Source


def covered(target: Target, path: str | Path | None) -> NDArray[np.float64]:
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


def _by_picture(target: Target, rasters: dict[str, Source], path: str) -> NDArray[np.float64]:
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
