"""Pairs of a low-resolution overview and a grid of high-resolution tiles of the same area.

LR and HR stand for low and high resolution. Every scene is cut into R x C tiles, row-major and
north-up. An overview covers the whole scene in few pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import digest, read_parquet
from foveate.grid import Grid, Tiles
from foveate.location import below
from foveate.observe.data.concepts import concepts_of
from foveate.observe.data.labels import present
from foveate.observe.data.simulation import low_shape
from foveate.observe.jobs import PrepareJob
from foveate.pool.folder import open_pool
from foveate.pool.notes import warn
from foveate.pool.pairing import need_partners
from foveate.pool.pool import Scene
from foveate.pool.stac.columns import item_columns
from foveate.pool.step import opened_pool
from foveate.pool.store import load_pool
from foveate.raster import (
    FileSource,
    FlippedSource,
    check_ground,
    metres_per_pixel,
    pixel_size,
    south_up,
)
from foveate.run import Run
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from numpy.typing import NDArray

    from foveate.observe.data.concepts import Concept
    from foveate.pool import Pool

_SIZE_TOLERANCE = 0.05  # relative to the tile size; negligible for the networks
_MIN_SIDE = 8  # pixels: a smaller tile adds nothing to the overview


def open_headers(
    job: PrepareJob, only: Container[str] | None = None
) -> tuple[Pool, tuple[Scene, ...]]:
    """Open the headers of scenes and real overviews, and check that they can be cut.

    Args:
        job: Options of imagery and tiles.
        only: Scene ids to keep; None for all.

    Returns:
        The pool, not scanned, and the real overview of each of its scenes, in their order; empty if
        overviews are simulated.

    Raises:
        DataError: See `open_pool`; or an overview is missing, covers another area, or has other
            bands; or tiles have a size in metres and the pixel size of a scene is unknown.
        ParameterError: Tiles are too small in the scene or its overview, or do not divide a scene.
    """
    pool = opened_pool(job, split=(1, 1))
    if only is not None:
        pool = replace(pool, scenes=tuple(s for s in pool.scenes if s.scene_id in only))
    grids = [grid_of(scene, job.cuts) for scene in pool.scenes]
    real: tuple[Scene, ...] = ()
    if job.lr:
        by_id = {s.scene_id: s for s in open_pool(job.lr, split=(1, 1), measure=False).scenes}
        warn(need_partners([scene.scene_id for scene in pool.scenes], by_id, "overview"))
        real = tuple(upright(by_id[scene.scene_id], scene) for scene in pool.scenes)
    for number, scene in enumerate(pool.scenes):
        _check_scene(scene, real[number] if real else None, grids[number], job.scale)
    return cut_into(pool, grids), real


def upright(scene: Scene, other: Scene | None = None) -> Scene:
    """Return a scene with north up; some products are stored from south to north.

    Args:
        scene: The scene.
        other: A scene to align with; if both are stored south to north, neither is flipped.
    """
    if not south_up(scene.source.info) or (other is not None and south_up(other.source.info)):
        return scene
    return replace(scene, source=FlippedSource(scene.source))


def check_same_bands(pairs: Pairs) -> None:
    """Check that overviews have the bands of their scenes, since one model reads both.

    Raises:
        DataError: The number of bands differs.
    """
    for scene, low in zip(pairs.pool.scenes, pairs.overviews, strict=True):
        hr_bands, lr_bands = scene.source.info.bands, low.source.info.bands
        if hr_bands != lr_bands:
            raise DataError(
                f"the overview of {scene.scene_id!r} has {lr_bands} bands, the scene {hr_bands}",
                "Overviews and scenes must have the same bands in the same order.",
                "Keep the bands that both have: gdal_translate -b 1 -b 2 -b 3 in out. If the "
                "overviews are feature maps, use --lr-model features.",
            )


def grid_of(scene: Scene, cuts: tuple[int, int] | float) -> tuple[int, int]:
    """Return the number of rows and columns of tiles of a scene.

    Args:
        scene: The scene.
        cuts: Rows and columns; or the side of a tile in metres, from which rows and columns are
            rounded. The tile size may differ by 5 %.

    Raises:
        DataError: The pixel size of the scene is unknown.
        ParameterError: The tile size does not divide the scene within the tolerance.
    """
    if isinstance(cuts, tuple):
        return cuts
    info, pixel = scene.source.info, pixel_size(scene.source.info)
    if pixel is None:
        raise DataError(
            f"--tile-size {cuts:g}m for the scene {scene.scene_id!r}, whose pixel size is unknown",
            f"A size on the ground needs a georeference: {info.unplaced or 'it has none'}.",
            "Use a number of tiles instead: --tiles 10x10.",
        )
    sides = [n * metres for n, metres in zip(info.shape, pixel, strict=True)]
    rows, cols = (max(1, round(side / cuts)) for side in sides)
    worst = max(abs(side / n / cuts - 1) for side, n in zip(sides, (rows, cols), strict=True))
    if worst > _SIZE_TOLERANCE:
        fits = min(sides) / max(1, round(min(sides) / cuts))
        raise ParameterError(
            f"--tile-size {cuts:g}m for the scene {scene.scene_id!r} of {sides[0]:.6g} x "
            f"{sides[1]:.6g} m: {rows} x {cols} tiles would be {worst:.0%} off that size",
            f"Tiles must cover a scene completely, within {_SIZE_TOLERANCE:.0%} of their size.",
            f"Choose a size that divides its sides, --tile-size {fits:.4g}m, or crop the scene: "
            "gdal_translate -srcwin 0 0 WIDTH HEIGHT in out.",
        )
    return rows, cols


def cut_into(pool: Pool, grids: Sequence[tuple[int, int]]) -> Pool:
    """Cut each scene of a pool into a grid of (rows, columns) tiles."""
    tables = [
        Grid.split(scene.source.info.shape, *grid, geobox=scene.source.info.geobox).tiles(
            scene.scene_id
        )
        for scene, grid in zip(pool.scenes, grids, strict=True)
    ]
    tiles = Tiles.concat(tables)
    ids = tiles.tile_id
    order = np.argsort(ids, kind="stable")
    tiles = tiles.take(order)
    items = [scene.item for scene in pool.scenes if scene.item is not None]
    return replace(pool, ids=ids[order], tiles=tiles, attributes=item_columns(items, tiles))


def _check_scene(scene: Scene, real: Scene | None, tiles: tuple[int, int], ratio: float) -> None:
    """Check the tile size in pixels, and that a real overview matches its scene."""
    info, name = scene.source.info, scene.scene_id
    side = min(n // k for n, k in zip(info.shape, tiles, strict=True))
    if side < _MIN_SIDE:
        raise ParameterError(
            f"{times(tiles)} tiles of the scene {name!r}, {times(info.shape)} pixels",
            f"A tile must have at least {_MIN_SIDE} x {_MIN_SIDE} pixels; the side would be "
            f"{side}.",
            "Use fewer tiles (--tiles 4x4) or larger tiles (--tile-size METRES).",
        )
    shape = low_shape(info.shape, ratio) if real is None else real.source.info.shape
    if any(n < k for n, k in zip(shape, tiles, strict=True)):
        raise ParameterError(
            f"{times(tiles)} tiles of the overview of {name!r}, {times(shape)} pixels",
            "A tile must have at least one pixel of the overview.",
            "Use fewer tiles (--tiles 4x4)" + (" or a smaller --ratio." if real is None else "."),
        )
    if real is None:
        return
    check_ground(name, info, real.source.info)
    if shape[0] * shape[1] >= info.shape[0] * info.shape[1]:
        raise DataError(
            f"the overview of {name!r} has {times(shape)} pixels, the scene {times(info.shape)}",
            "An overview must have fewer pixels than its scene.",
            "Exchange the two: foveate observe prepare HIGH --lr LOW.",
        )


def times(pair: tuple[int, int]) -> str:
    """Format a pair of sizes as "a x b"."""
    return f"{pair[0]} x {pair[1]}"


PAIRS, LABELS = "pairs.parquet", "tables/labels.parquet"
_LISTED = 10  # groups named in an error
_AGAIN = "Prepare the pairs again: foveate observe prepare ... --out PAIRS."


def places_of(pool: Pool) -> NDArray[np.int64]:
    """Return the (n, 3) int64 grid index of tiles: scene in ``pool.scenes``, row, column."""
    tiles = pool.tiles
    assert tiles is not None  # noqa: S101  (the pool is cut from scenes)
    number = {scene.scene_id: i for i, scene in enumerate(pool.scenes)}
    codes = np.array([number[name] for name in tiles.scenes], np.int64)
    return np.stack([codes[tiles.scene_code], tiles.row, tiles.col], axis=1).astype(np.int64)


@dataclass(frozen=True)
class Pairs:
    """Overviews and the high-resolution tiles that they cover.

    Attributes:
        pool: The n tiles, sorted by id, with their row and col in the grid of their scene. Windows
            are in HR pixels (in LR pixels without HR).
        overviews: The LR raster of each of ``pool.scenes``, in their order and with their ids.
        shape: ``(R, C)``, rows and columns of tiles of the largest scene; usually of all scenes.
        groups: Group of each scene; scenes of one group are always in the same split.
        concepts: The K concepts.
        shares: (n, K) float32, the share of a tile's labelled pixels that have a concept; 1 or 0
            for objects; NaN if unknown. None without labels.
        has_hr: Whether there is high resolution.
        grids: ``(r, c)`` of each scene; if empty, `shape` for all scenes.
        tile_size: Side of a tile in metres, or None if tiles were given as rows and columns.

    Raises:
        DataError: Lengths disagree.
    """

    pool: Pool
    overviews: tuple[Scene, ...]
    shape: tuple[int, int]
    groups: tuple[str, ...]
    concepts: tuple[Concept, ...] = ()
    shares: NDArray[np.float32] | None = None
    has_hr: bool = True
    grids: tuple[tuple[int, int], ...] = ()
    tile_size: float | None = None

    def __post_init__(self) -> None:
        """Set the default grids, and check lengths and ids."""
        if not self.grids:
            object.__setattr__(self, "grids", (self.shape,) * len(self.overviews))
        names = [scene.scene_id for scene in self.pool.scenes]
        if [scene.scene_id for scene in self.overviews] != names or len(self.groups) != len(names):
            raise DataError(
                f"{len(self.overviews)} overviews and {len(self.groups)} groups for "
                f"{len(names)} scenes",
                "Each scene needs an overview of the same name and a group, in the order of the "
                "scenes.",
            )
        expected = (len(self.pool), len(self.concepts))
        if self.shares is not None and self.shares.shape != expected:
            raise DataError(
                f"shares of shape {self.shares.shape}", f"Expected (tiles, concepts) = {expected}."
            )

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.pool)

    def present(self) -> NDArray[np.bool_]:
        """Return an (n, K) bool mask of the concepts present in each tile; False if unknown.

        Raises:
            DataError: The pairs have no labels.
        """
        if self.shares is None:
            raise DataError(
                "the pairs have no labels of concepts",
                "Labels come from masks or objects.",
                "Prepare the pairs with labels: foveate observe prepare ... --masks MASKS "
                "--concepts FILE",
            )
        return present(self.shares, self.concepts)

    @cached_property
    def place(self) -> NDArray[np.int64]:
        """(n, 3) int64 grid index of tiles: scene in ``pool.scenes``, row, column."""
        return places_of(self.pool)

    @cached_property
    def gsd(self) -> tuple[float, float] | None:
        """GSD of LR and HR in metres, medians over scenes; None without a georeference.

        Without HR the second value is NaN.
        """
        low = [metres_per_pixel(scene.source.info) for scene in self.overviews]
        high = [metres_per_pixel(scene.source.info) for scene in self.pool.scenes]
        known = [(a, b) for a, b in zip(low, high, strict=True) if a is not None and b is not None]
        if not known or len(known) < len(low):
            return None
        coarse, fine = np.median(np.array(known), axis=0).tolist()
        return (coarse, fine if self.has_hr else float("nan"))

    @property
    def ratio(self) -> float:
        """Pixel side of the overviews divided by the pixel side of the scenes; the median."""
        sizes = [
            np.prod(scene.source.info.shape) / np.prod(low.source.info.shape)
            for scene, low in zip(self.pool.scenes, self.overviews, strict=True)
        ]
        return float(np.sqrt(np.median(sizes)))


def split_scenes(
    groups: Sequence[str],
    *,
    val: float | Sequence[str] = 0.15,
    test: float | Sequence[str] = 0.2,
    seed: int = 0,
) -> NDArray[np.str_]:
    """Split scenes into train, val and test by group, randomly or by name.

    Args:
        groups: (s,) group of each scene.
        val: Share of all groups for model selection, at least one group; or names of groups. A
            name is also that of the groups in its folder.
        test: Share of all groups for testing, at least one group; 0 for no test split. Or names.
        seed: Seed of the random parts.

    Returns:
        (s,) "train", "val" or "test".

    Raises:
        DataError: There are too few groups.
        ParameterError: A name is not that of a group, or is in both splits.
    """
    names = sorted(set(groups))
    part = dict.fromkeys(names, "train")
    random: dict[str, int] = {}
    for split, given in (("test", test), ("val", val)):
        if isinstance(given, int | float):
            random[split] = max(1, round(given * len(names))) if given else 0
        else:
            part |= dict.fromkeys(_named(split, given, part), split)
    left = [name for name in names if part[name] == "train"]
    if len(left) - sum(random.values()) < 1:
        hint = (
            "Put scenes of different locations into different folders (observe build: --region, or "
            "a smaller --block)"
        )
        if len(names) > (2 if test else 1):
            hint = "Leave more groups for training: lower --val or --test"
        raise DataError(
            f"{len(names)} group{'s' if len(names) > 1 else ''} of scenes to "
            + ("train, validate and test with" if test else "train and validate with"),
            "Neighbouring scenes (of one folder, region or block) form a group, which is never "
            "divided; each split needs at least one group.",
            hint
            + (", or train without a test split: --test 0." if test and len(names) > 1 else "."),
        )
    order = [left[i] for i in rng(seed, "observe/split").permutation(len(left))]
    for split, count in random.items():
        part |= dict.fromkeys(order[:count], split)
        order = order[count:]
    return np.array([part[group] for group in groups])


def _named(split: str, given: Sequence[str], part: dict[str, str]) -> list[str]:
    """Return the groups of some names; `part` has the split of each group so far."""
    found = {name: [g for g in part if g == name or g.startswith(f"{name}/")] for name in given}
    unknown = [name for name, groups in found.items() if not groups]
    if unknown or not given:
        raise ParameterError(
            f"--{split} {','.join(given)}: no group of scenes is named {unknown[0]!r}"
            if unknown else f"--{split} without a name",
            f"Groups of scenes are {', '.join(list(part)[:_LISTED])}"
            + (f" and {len(part) - _LISTED} more." if len(part) > _LISTED else "."),
            f"Type a share (--{split} 20%), names of groups, or of their folders.",
        )  # fmt: skip
    twice = [g for groups in found.values() for g in groups if part[g] != "train"]
    if twice:
        raise ParameterError(
            f"the group {twice[0]!r} in --{split} and --{part[twice[0]]}",
            "A group of scenes is in one split.",
            "Name it once.",
        )
    return list(dict.fromkeys(g for groups in found.values() for g in groups))


def open_pairs(path: str | Path) -> Pairs:
    """Open a folder of pairs; headers and tables are read, no pixels.

    Raises:
        DataError: The pairs are not finished, or one of their files is missing or has changed.
    """
    root = Path(path)
    record = Run.load(root).record
    done = "pairs" in record["steps"] and (root / PAIRS).exists()
    table = read_parquet(root / PAIRS) if done else None
    # A run that was interrupted under another job still has the table of the previous job.
    if table is None or (table.schema.metadata or {}).get(b"job") != digest(record["job"]).encode():
        raise DataError(
            f"{str(root)!r} contains no finished pairs",
            "Expected the output of 'foveate observe prepare'.",
            _AGAIN,
        )
    job = prepared_job(root)
    rows = {row["scene"]: row for row in table.to_pylist()}
    headers, real = open_headers(job, only=rows)
    gone = sorted(set(rows) - {scene.scene_id for scene in headers.scenes})
    if gone:
        raise DataError(
            f"the scene {gone[0]!r} is missing: {rows[gone[0]]['hr']!r}",
            "Pairs refer to their original files.",
            "Restore the file. " + _AGAIN,
        )
    pool = load_pool(root, headers)
    overviews = []
    for number, scene in enumerate(pool.scenes):
        row = rows[scene.scene_id]
        file = below(root, row["lr"])
        source = real[number].source if real else FileSource(file)
        overviews.append(Scene(scene.scene_id, source, uri=file))
        _check_fingerprint(row, "hr", scene.source.info.fingerprint)
        _check_fingerprint(row, "mask", scene.mask.info.fingerprint if scene.mask else None)
        _check_fingerprint(row, "lr", source.info.fingerprint)
    concepts, shares = job.stated_concepts(), None
    if job.labelled or is_built(record):
        concepts, shares = _labels(root, pool, job.stated_concepts())
    grids = tuple(grid_of(scene, job.cuts) for scene in pool.scenes)
    return Pairs(
        pool=pool,
        overviews=tuple(overviews),
        shape=(max(rows for rows, _ in grids), max(cols for _, cols in grids)),
        groups=tuple(rows[scene.scene_id]["group"] for scene in pool.scenes),
        concepts=concepts,
        shares=shares,
        grids=grids,
        tile_size=job.tile_size,
    )


def is_built(record: dict[str, Any]) -> bool:
    """Return whether a run was written by `build`, whose labels come from polygons, not masks."""
    return "anchors" in record["job"]


def prepared_job(path: str | Path) -> PrepareJob:
    """Return the prepare job of a folder of pairs, written by `prepare` or `build`.

    Raises:
        DataError: The folder is not a run.
    """
    record = Run.load(path).record
    if not is_built(record):
        return PrepareJob.stored(record)
    from foveate.observe.build.job import BuildJob

    return BuildJob.stored(record).prepared(Path(path))


def _check_fingerprint(row: dict[str, Any], part: str, fingerprint: str | None) -> None:
    if row[f"{part}_fingerprint"] != fingerprint:
        what = {"hr": "scene", "mask": "mask of", "lr": "overview of"}[part]
        raise DataError(
            f"the {what} {row['scene']!r} has changed since the pairs were prepared: {row[part]!r}",
            "Pairs store measurements of the original files.",
            _AGAIN,
        )


def _labels(
    root: Path, pool: Pool, stated: tuple[Concept, ...]
) -> tuple[tuple[Concept, ...], NDArray[np.float32]]:
    """Return the K concepts, and their (n, K) shares in the tiles."""
    table = read_parquet(root / LABELS)
    if table["tile_id"].to_pylist() != pool.ids.tolist():
        raise DataError(
            f"{str(root / LABELS)!r} has other tiles than the pairs",
            "The labels must have the tile ids of the pairs.",
            _AGAIN,
        )
    concepts = labelled_concepts(stated, table)
    columns = [table[concept.name].to_numpy() for concept in concepts]
    return concepts, np.stack(columns, axis=1).astype(np.float32)


def labelled_concepts(stated: tuple[Concept, ...], labels: Any) -> tuple[Concept, ...]:
    """Return the stated concepts, or if there are none, the columns of a table of labels."""
    columns = [name for name in labels.column_names if name != "tile_id"]
    return stated or concepts_of(columns)
