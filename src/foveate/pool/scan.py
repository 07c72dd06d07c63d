"""What reading every pixel once tells of a pool: valid shares and class counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.labels import Legend, count_classes, pack
from foveate.pool.pool import read_codes
from foveate.progress import Meter, ProgressFn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.grid import Tiles
    from foveate.pool.pool import Pool, Scene
    from foveate.raster import Source

_MANY = 32


def scan(
    pool: Pool,
    *,
    bands: Sequence[int] | None = None,
    min_valid: float = 0.5,
    progress: ProgressFn | None = None,
) -> Pool:
    """Measure valid shares, count classes, and drop mostly empty tiles.

    Nodata pixels and ignored classes are out of every count. A tile whose `valid_share` is under
    `min_valid` leaves the pool before anything is ranked; `Pool.excluded` names it.

    Args:
        pool: A pool cut from scenes.
        bands: Bands whose nodata counts; all when None.
        min_valid: Smallest share of valid pixels of a tile that stays, 0 to 1.
        progress: Called with ticks.

    Returns:
        A pool with measured tiles and, where there are masks, `counts` and a legend.

    Raises:
        DataError: A mask holds an unknown class, a scene has no valid pixel, no tile is left, or
            a file cannot be read.
    """
    tiles = pool.tiles
    if tiles is None:
        return pool
    legend = pool.legend
    labelled = any(scene.mask is not None for scene in pool.scenes)
    if labelled and legend is None:
        legend = infer_legend([s.mask for s in pool.scenes if s.mask is not None])
    share = np.ones(len(pool), np.float32)
    counts = np.zeros((len(pool), len(legend)), np.int64) if labelled and legend else None
    with Meter(progress, "reading masks" if labelled else "checking nodata", len(pool)) as meter:
        for scene, rows in pool.per_scene():
            share[rows], found = _scan_scene(scene, tiles.take(rows), legend, bands, meter)
            if counts is not None and found is not None:
                counts[rows] = found
            if not share[rows].any():
                raise DataError(
                    f"the scene {scene.scene_id!r} has no valid pixel: everything is nodata",
                    "Every scene needs some valid pixels.",
                    "Remove it from the folder, or check its nodata value (--nodata).",
                )
    keep = share >= min_valid
    if not keep.any():
        raise DataError(
            f"all {len(pool)} tiles have less than {min_valid:.0%} valid pixels",
            "No tile is left to choose from.",
            "Lower --min-valid, or check the nodata value (--nodata).",
        )
    excluded = {
        str(i): f"{s:.1%} valid pixels, under {min_valid:.0%}"
        for i, s in zip(pool.ids[~keep], share[~keep], strict=True)
    }
    measured = replace(
        pool, tiles=tiles.with_valid_share(share), legend=legend, counts=counts,
        excluded={**pool.excluded, **excluded},
    )  # fmt: skip
    return measured.take(np.flatnonzero(keep))


def _scan_scene(
    scene: Scene,
    tiles: Tiles,
    legend: Legend | None,
    bands: Sequence[int] | None,
    meter: Meter,
) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """Valid share (m,) and class counts (m, C) of the m tiles of one scene."""
    info = scene.source.info
    inside = (tiles.y + tiles.h <= info.shape[0]) & (tiles.x + tiles.w <= info.shape[1])
    share = np.ones(len(tiles), np.float32)
    counted = scene.mask is not None and legend is not None
    counts = np.zeros((len(tiles), len(legend)), np.int64) if counted and legend else None
    for i in range(len(tiles)):
        window = tiles.window(i)
        valid = None
        if info.masked or not inside[i]:
            raster = scene.source.read(window, bands=bands)
            valid, share[i] = raster.valid, raster.valid_share
        if scene.mask is not None and legend is not None and counts is not None:
            counts[i] = count_classes(read_codes(scene, window, legend, valid), len(legend))
        meter.advance()
    return share, counts


def infer_legend(masks: Sequence[Source]) -> Legend:
    """Name the classes of index masks after the values that occur.

    Raises:
        DataError: The masks are RGB: colours cannot be named without a classes file. The message
            holds one that can be pasted.
    """
    values: dict[int, int] = {}
    for mask in masks:
        raster = mask.read()
        found, times = np.unique(pack(raster.data)[raster.valid], return_counts=True)
        for value, count in zip(found.tolist(), times.tolist(), strict=True):
            values[value] = values.get(value, 0) + count
        if raster.data.shape[0] == 3:
            common = sorted(values, key=lambda v: -values[v])[:8]
            listed = ", ".join(f'class{i}: "#{v:06X}"' for i, v in enumerate(common))
            raise DataError(
                "the masks are RGB and there is no classes file",
                f"The first one holds {len(values)} colours.",
                f"Write a file 'classes.yaml' with 'classes: {{{listed}}}' and give it with "
                "--classes classes.yaml",
            )
        if len(values) > 4096:
            raise DataError(
                f"the masks hold more than 4096 different values, up to {max(values)}",
                "These are measurements, not classes.",
                "Give masks of class indices.",
            )
    return Legend.of_indices(sorted(values))
