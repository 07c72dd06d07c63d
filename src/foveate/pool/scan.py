"""What reading every pixel once tells of a pool: valid shares and class counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from foveate.errors import DataError
from foveate.files import digest, digest_ids
from foveate.labels import count_classes
from foveate.pool.check import note_frames
from foveate.pool.infer import infer_legend, read_through
from foveate.pool.measured import Measured
from foveate.pool.notes import Note, warn
from foveate.pool.pool import read_codes
from foveate.progress import Meter, ProgressFn
from foveate.raster import find_frame, open_ahead, read_ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from foveate.grid import Tiles, Window
    from foveate.labels import Legend
    from foveate.pool.pool import Pool, Scene
    from foveate.raster import Source

OnError = Literal["stop", "skip"]
_VERSION = 1  # raised when something else is measured of the same pixels


def scan(
    pool: Pool,
    *,
    bands: Sequence[int] | None = None,
    min_valid: float = 0.5,
    min_labelled: float = 0.0,
    skip_empty: bool = False,
    on_error: OnError = "stop",
    known: dict[str, Measured] | None = None,
    progress: ProgressFn | None = None,
) -> Pool:
    """Measure valid shares, count classes, and drop mostly empty tiles.

    Nodata pixels and ignored classes are out of every count. A tile whose `valid_share` is under
    `min_valid` leaves the pool before anything is ranked; `Pool.excluded` names it. A
    scene without any valid pixel is refused, unless `skip_empty` says that such scenes are
    expected: mostly it is a wrong nodata value, which should not pass for a smaller pool.

    Args:
        pool: A pool cut from scenes.
        bands: Bands whose nodata counts, 1-based; all when None or empty.
        min_valid: Smallest share of valid pixels of a tile that stays, 0 to 1.
        min_labelled: Smallest share of pixels that are counted in a class (valid and not ignored)
            of a tile that stays, 0 to 1. Under a cloud of an ignored class a few pixels decide
            what a patch scores; 0.5 leaves such patches out.
        skip_empty: Whether scenes without a valid pixel are left out instead of refused.
        on_error: "stop" at a scene that cannot be read, or "skip" it: `Pool.failed` says why, and
            its tiles leave the pool.
        known: What is known of scenes already; it becomes what is known of those of this pool.
        progress: Called with ticks.

    Returns:
        A pool with measured tiles and, where there are masks, `counts` and a legend.

    Raises:
        DataError: A mask holds an unknown class, a scene has no valid pixel,
            no tile is left, or a file cannot be read.
    """
    bands = None if bands is None or not len(bands) else bands
    if pool.tiles is None:
        return pool
    failed: dict[str, str] = {}
    legend = pool.legend
    labelled = any(scene.mask is not None for scene in pool.scenes)
    if labelled and legend is None:
        legend = _inferred(pool.scenes, failed, skip=on_error == "skip")
    measured = _measured(
        pool, legend, bands, failed, {} if known is None else known, skip=on_error == "skip",
        progress=progress,
    )  # fmt: skip
    pool = pool.without_scenes(failed)
    tiles = pool.tiles
    assert tiles is not None  # noqa: S101  (as above)
    open_ahead(source for scene in pool.scenes for source in (scene.source, scene.mask))
    share = np.ones(len(pool), np.float32)
    counts = np.zeros((len(pool), len(legend)), np.int64) if labelled and legend else None
    for scene, rows in pool.per_scene():
        one = measured[scene.scene_id]
        share[rows] = one.share
        if counts is not None and one.counts is not None:
            counts[rows] = one.counts
    frames = {name: one.frame for name, one in measured.items() if one.frame is not None}
    found = note_frames(frames, len(measured))
    empty = [scene.scene_id for scene, rows in pool.per_scene() if not share[rows].any()]
    if empty and not skip_empty:
        raise _nothing_valid(pool, empty)
    labelled_share = np.ones_like(share)
    if counts is not None:
        labelled_share = counts.sum(axis=1) / tiles.pixels
    filled = share >= min_valid
    keep = filled & (labelled_share >= min_labelled)
    if not share[filled].any():
        raise DataError(
            f"all {len(pool)} tiles have less than {min_valid:.0%} valid pixels"
            if min_valid > 0
            else f"all {len(pool)} tiles hold nothing but nodata",
            "No tile is left to choose from.",
            "Lower the threshold (--min-valid, min_valid=...), or check the nodata value "
            "(--nodata, nodata=...).",
        )
    if not keep.any():
        others = len(pool) - int(filled.sum())
        raise DataError(
            f"all {int(filled.sum())} tiles have less than {min_labelled:.0%} labelled pixels"
            + (f" ({others} more are mostly empty)" if others else ""),
            "No tile is left to choose from.",
            "Lower the threshold (--min-labelled, min_labelled=...), or check what is ignored.",
        )
    if empty:
        text = f"{len(empty)} of {len(pool.scenes)} images hold nothing but nodata and are not used"
        found.append(Note("validity", f"{text}, the first is {empty[0]!r}", items=tuple(empty)))
    excluded = {
        str(pool.ids[i]): f"{share[i]:.1%} valid pixels, under {min_valid:.0%}"
        if share[i] < min_valid
        else f"{labelled_share[i]:.1%} labelled pixels, under {min_labelled:.0%}"
        for i in np.flatnonzero(~keep)
    }
    measured = replace(
        pool, tiles=tiles.with_valid_share(share), legend=legend, counts=counts,
        excluded={**pool.excluded, **excluded}, notes=(*pool.notes, *warn(found)),
    )  # fmt: skip
    return measured.take(np.flatnonzero(keep))


def _inferred(scenes: Iterable[Scene], failed: dict[str, str], *, skip: bool) -> Legend:
    """Name the classes of the masks that can be read; put the others into `failed`."""
    masks = {scene.scene_id: scene.mask for scene in scenes if scene.mask is not None}
    try:
        return infer_legend(list(masks.values()))
    except DataError:
        if not skip:
            raise
    for name, mask in masks.items():
        try:
            read_through(mask)
        except DataError as error:
            failed[name] = str(error)
    return infer_legend([mask for name, mask in masks.items() if name not in failed])


def _measured(
    pool: Pool, legend: Legend | None, bands: Sequence[int] | None, failed: dict[str, str],
    known: dict[str, Measured], *, skip: bool, progress: ProgressFn | None,
) -> dict[str, Measured]:  # fmt: skip
    """Measure the scenes that are not known yet; put those that cannot be read into `failed`."""
    tiles = pool.tiles
    assert tiles is not None  # noqa: S101  (the caller has looked)
    labelled = any(scene.mask is not None for scene in pool.scenes)
    found: dict[str, Measured] = {}
    used: dict[str, Measured] = {}
    with Meter(progress, "reading masks" if labelled else "checking nodata", len(pool)) as meter:
        for scene, rows in pool.per_scene():
            key = _key(scene, pool.ids[rows], legend, bands)
            if scene.scene_id not in failed and key not in known:
                try:
                    known[key] = _scan_scene(scene, tiles.take(rows), legend, bands)
                except DataError as error:
                    if not skip:
                        raise
                    failed[scene.scene_id] = str(error)
            if scene.scene_id not in failed:
                found[scene.scene_id] = used[key] = known[key]
            meter.advance(rows.size)
    known.clear()  # what is of no scene of this pool is not kept
    known.update(used)
    return found


def _key(
    scene: Scene, ids: NDArray[np.str_], legend: Legend | None, bands: Sequence[int] | None
) -> str:
    """Hash of everything that is measured of a scene depends on."""
    info, mask = scene.source.info, scene.mask
    print_of_mask = None if mask is None else [mask.info.fingerprint, mask.info.nodata]
    classes = legend.to_dict() if legend is not None and mask is not None else None
    parts = [info.fingerprint, info.nodata, print_of_mask, digest_ids(ids), bands, classes]
    return digest([_VERSION, scene.scene_id, *parts])


def _nothing_valid(pool: Pool, empty: Sequence[str]) -> DataError:
    """Say by which rules a scene has no valid pixel."""
    rules = next(s.source.info.rules for s in pool.scenes if s.scene_id == empty[0])
    alpha = any(rule.startswith("alpha") for rule in rules)
    return DataError(
        f"the scene {empty[0]!r} has no valid pixel by its {' and '.join(rules)}"
        + (f" (and so have {len(empty) - 1} more)" if len(empty) > 1 else ""),
        "Every scene needs some valid pixels.",
        ("Remove the alpha band where it is wrong: gdal_translate -b 1 -b 2 -b 3 IN OUT"
        if alpha else "Check the nodata value (--nodata, nodata=...)")
        + ", or leave such scenes out (--skip-empty, skip_empty=True).",
    )  # fmt: skip


def _scan_scene(
    scene: Scene, tiles: Tiles, legend: Legend | None, bands: Sequence[int] | None
) -> Measured:
    """Measure the tiles of one scene."""
    info = scene.source.info
    frame = find_frame(scene.source, bands)
    inside = (tiles.y + tiles.h <= info.shape[0]) & (tiles.x + tiles.w <= info.shape[1])
    share = np.ones(len(tiles), np.float32)
    counted = scene.mask is not None and legend is not None
    counts = np.zeros((len(tiles), len(legend)), np.int64) if counted and legend else None

    def wanted(number: int) -> list[tuple[Source, Window]]:
        read = [scene.source] if info.masked or not inside[number] else []
        read += [scene.mask] if scene.mask is not None and counts is not None else []
        return [(source, tiles.window(number)) for source in read]

    ahead = read_ahead((scene.source, scene.mask), len(tiles), wanted)
    for i in range(len(tiles)):
        ahead.at(i)
        window = tiles.window(i)
        valid = None
        if info.masked or not inside[i]:
            raster = scene.source.read(window, bands=bands)
            valid, share[i] = raster.valid, raster.valid_share
        if scene.mask is not None and legend is not None and counts is not None:
            counts[i] = count_classes(read_codes(scene, window, legend, valid), len(legend))
    return Measured(share, counts, frame)
