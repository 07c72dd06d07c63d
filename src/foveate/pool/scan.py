"""Measure the valid shares and class counts of a pool by reading every pixel once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from foveate.errors import DataError
from foveate.files import digest, digest_ids
from foveate.labels import count_classes
from foveate.pool.check import note_frames
from foveate.pool.infer import infer_legend, note_missing_labels, read_through
from foveate.pool.measured import Measured
from foveate.pool.notes import Note, warn
from foveate.pool.pool import read_codes
from foveate.progress import Meter, ProgressFn
from foveate.raster import find_frame, open_ahead, read_ahead
from foveate.wording import part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from foveate.grid import Tiles, Window
    from foveate.labels import Legend
    from foveate.pool.pool import Pool, Scene
    from foveate.raster import Source

OnError = Literal["stop", "skip"]
_VERSION = 2  # increased when measurements of the same pixels change


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

    Nodata pixels and ignored classes are not counted. Tiles with a `valid_share` below
    `min_valid` are removed from the pool before ranking and listed in `Pool.excluded`. A scene
    without any valid pixel is an error, unless `skip_empty` is set: the usual cause is a wrong
    nodata value, which should not silently reduce the pool.

    Args:
        pool: A pool cut from scenes.
        bands: 1-based bands in which nodata is evaluated; all if None or empty.
        min_valid: Minimum share of valid pixels of a tile, 0 to 1.
        min_labelled: Minimum share of labelled pixels (valid and not ignored) of a tile, 0 to 1.
            If most pixels have an ignored class such as cloud, a few pixels determine the score of
            a tile; 0.5 removes such tiles.
        skip_empty: Whether scenes without a valid pixel are left out; otherwise they are an error.
        on_error: "stop" at unreadable scenes, or "skip" them: `Pool.failed` has the reasons, and
            their tiles are removed.
        known: Existing measurements of scenes; replaced by the measurements of this pool.
        progress: Called with ticks.

    Returns:
        A pool with measured tiles and, with masks, `counts` and a legend.

    Raises:
        DataError: A mask has an unknown class, a scene has no valid pixel, no tile is left, or a
            file cannot be read.
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
        result = measured[scene.scene_id]
        share[rows] = result.share
        if counts is not None and result.counts is not None:
            counts[rows] = result.counts
    frames = {name: result.frame for name, result in measured.items() if result.frame is not None}
    notes = note_frames(frames, len(measured))
    if legend is not None and pool.legend is None:
        notes += note_missing_labels(legend)
    empty = [scene.scene_id for scene, rows in pool.per_scene() if not share[rows].any()]
    if empty and not skip_empty:
        raise _nothing_valid(pool, empty)
    labelled_share = np.ones_like(share)
    if counts is not None:
        labelled_share = counts.sum(axis=1) / tiles.pixels
    keep = _kept(share, labelled_share, min_valid, min_labelled)
    if empty:
        text = part(
            len(empty), len(pool.scenes), "image", "contains only nodata and is not used",
            "contain only nodata and are not used",
        )  # fmt: skip
        notes.append(Note("validity", f"{text}, the first is {empty[0]!r}", items=tuple(empty)))
    excluded = {
        str(pool.ids[i]): f"{share[i]:.1%} valid pixels, under {min_valid:.0%}"
        if share[i] < min_valid
        else f"{labelled_share[i]:.1%} labelled pixels, under {min_labelled:.0%}"
        for i in np.flatnonzero(~keep)
    }
    scanned = replace(
        pool, tiles=tiles.with_valid_share(share), legend=legend, counts=counts,
        excluded={**pool.excluded, **excluded}, notes=(*pool.notes, *warn(notes)),
    )  # fmt: skip
    return scanned.take(np.flatnonzero(keep))


def _kept(
    share: NDArray[np.float32], labelled_share: NDArray[np.floating], min_valid: float,
    min_labelled: float,
) -> NDArray[np.bool_]:  # fmt: skip
    """Return which tiles stay in the pool.

    Raises:
        DataError: None does.
    """
    filled = share >= min_valid
    if not share[filled].any():
        raise DataError(
            f"all {share.size} tiles have less than {min_valid:.0%} valid pixels"
            if min_valid > 0
            else f"all {share.size} tiles contain only nodata",
            "No tile is left in the pool.",
            "Lower the threshold (--min-valid, min_valid=...), or check the nodata value "
            "(--nodata, nodata=...).",
        )
    keep = filled & (labelled_share >= min_labelled)
    if not keep.any():
        others = share.size - int(filled.sum())
        raise DataError(
            f"all {int(filled.sum())} tiles have less than {min_labelled:.0%} labelled pixels"
            + (f" ({others} more are mostly invalid)" if others else ""),
            "No tile is left in the pool.",
            "Lower the threshold (--min-labelled, min_labelled=...), or check the ignored classes.",
        )
    return keep


def _inferred(scenes: Iterable[Scene], failed: dict[str, str], *, skip: bool) -> Legend:
    """Infer the classes of readable masks; add unreadable masks to `failed`."""
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
    """Measure scenes without existing measurements; add unreadable scenes to `failed`."""
    tiles = pool.tiles
    assert tiles is not None  # noqa: S101  (checked by the caller)
    labelled = any(scene.mask is not None for scene in pool.scenes)
    results: dict[str, Measured] = {}
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
                results[scene.scene_id] = used[key] = known[key]
            meter.advance(rows.size)
    known.clear()  # drop measurements of other scenes
    known.update(used)
    return results


def _key(
    scene: Scene, ids: NDArray[np.str_], legend: Legend | None, bands: Sequence[int] | None
) -> str:
    """Return a hash of all inputs of the measurements of a scene."""
    info, mask = scene.source.info, scene.mask
    print_of_mask = None if mask is None else [mask.info.fingerprint, mask.info.nodata]
    classes = legend.to_dict() if legend is not None and mask is not None else None
    parts = [info.fingerprint, info.nodata, print_of_mask, digest_ids(ids), bands, classes]
    return digest([_VERSION, scene.scene_id, *parts])


def _nothing_valid(pool: Pool, empty: Sequence[str]) -> DataError:
    """Return the error for a scene without a valid pixel, with the rules of validity."""
    rules = next(s.source.info.rules for s in pool.scenes if s.scene_id == empty[0])
    alpha = any(rule.startswith("alpha") for rule in rules)
    return DataError(
        f"the scene {empty[0]!r} has no valid pixel according to its {' and '.join(rules)}"
        + (f" ({len(empty) - 1} more scenes have none)" if len(empty) > 1 else ""),
        "Every scene must have some valid pixels.",
        ("Remove the alpha band if it is wrong: gdal_translate -b 1 -b 2 -b 3 IN OUT"
        if alpha else "Check the nodata value (--nodata, nodata=...)")
        + ", or skip such scenes (--skip-empty, skip_empty=True).",
    )  # fmt: skip


def _scan_scene(
    scene: Scene, tiles: Tiles, legend: Legend | None, bands: Sequence[int] | None
) -> Measured:
    info = scene.source.info
    frame = find_frame(scene.source, bands)
    inside = (tiles.y + tiles.h <= info.shape[0]) & (tiles.x + tiles.w <= info.shape[1])
    share = np.ones(len(tiles), np.float32)
    counted = scene.mask is not None and legend is not None
    counts = np.zeros((len(tiles), len(legend)), np.int64) if counted and legend else None

    def windows(number: int) -> list[tuple[Source, Window]]:
        read = [scene.source] if info.masked or not inside[number] else []
        read += [scene.mask] if scene.mask is not None and counts is not None else []
        return [(source, tiles.window(number)) for source in read]

    ahead = read_ahead((scene.source, scene.mask), len(tiles), windows)
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
