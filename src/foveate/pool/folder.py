"""Opening imagery: folders of patches or scenes, their masks, and further bands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.grid import Edge, Grid, Tiles
from foveate.labels import Legend
from foveate.pool.check import alike_values, check_alike, check_place, note_readings
from foveate.pool.coordinates import read_coordinates
from foveate.pool.find import File, Paths, collect, index, need_paths
from foveate.pool.names import Names
from foveate.pool.notes import Note, warn
from foveate.pool.pool import Pool, Scene
from foveate.pool.scan import scan
from foveate.raster import FileSource, LabelValues, Source, StackSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from foveate.progress import ProgressFn

__all__ = ["need_partners", "need_paths", "open_pool"]


def open_pool(
    images: Paths,
    *,
    masks: Paths | None = None,
    classes: str | Path | Legend | None = None,
    extra: Sequence[Paths] = (),
    stack: Sequence[str] = (),
    tile: int = 256,
    stride: int | None = None,
    edge: Edge = "shift",
    split: tuple[int, int] | None = None,
    coordinates: str | Path | None = None,
    nodata: float | None = None,
    bands: Sequence[int] | None = None,
    min_valid: float = 0.5,
    min_labelled: float = 0.0,
    skip_empty: bool = False,
    measure: bool = True,
    progress: ProgressFn | None = None,
) -> Pool:
    """Open a folder of images as a pool of tiles.

    Images, masks and further bands are paired by their path below the folder given, without the
    suffix, without folders called "images", "masks" and the like, and without endings such as
    "_mask". So ``images/a.jpg`` goes with ``masks/a.png``, and ``city/images/a.tif`` with
    ``city/masks/a_mask.tif``, also when both are given as the same folder.

    Args:
        images: Folder (searched recursively, through linked folders too), file, or several of them.
        masks: The same for masks: class indices or RGB colours.
        classes: Classes file (YAML, TOML, JSON) or `Legend`. Without it, the values of index
            masks become the classes.
        extra: Further bands alongside, each a folder or file: a surface model, more channels.
            They are resampled (bilinear) to the image's grid and follow the image's bands.
        stack: Endings of file names that are bands of one scene, in order: ``("B4", "B3")``
            joins ``scene_B4.tif`` and ``scene_B3.tif``.
        tile: Side of a tile in pixels.
        stride: Step between tiles in pixels; the tile's side when None.
        edge: "shift", "drop", "pad" or "clip"; see `Grid`.
        split: ``(rows, cols)`` to cut every scene into, instead of `tile` and `stride`.
        coordinates: Coordinate list with the patches to use, instead of a grid. Its names are
            scene ids, or their last parts where these are unique, with or without suffix.
        nodata: Value of missing pixels, overriding what the files say.
        bands: Bands whose nodata counts, 1-based; all when None or empty.
        min_valid: Smallest valid share of a tile that stays in the pool.
        min_labelled: Smallest labelled share of a tile that stays, where there are masks.
        skip_empty: Whether scenes without a valid pixel are left out instead of refused.
        measure: Whether to read all masks and nodata now (see `scan`).
        progress: Called with ticks.

    Returns:
        The pool, sorted by tile id.

    Raises:
        DataError: Nothing found, an image without mask, sizes, bands, dtypes or ground that
            disagree, or anything that `scan` finds.
        ParameterError: A grid that cannot be.
    """
    bands = None if bands is None or not len(bands) else tuple(bands)
    files = collect(images, "image")
    stacked = _stack(files, stack)
    more = [index(collect(paths, "extra"), "further bands") for paths in extra]
    labels = index(collect(masks, "mask"), "masks") if masks is not None else None
    notes: list[Note] = []
    if labels is not None:
        notes += need_partners(list(stacked), labels, "mask")
    for table in more:
        notes += need_partners(list(stacked), table, "further band")
    scenes = []
    for key, paths in sorted(stacked.items()):
        parts: list[Source] = [FileSource(str(p), nodata) for p in paths]
        parts += [FileSource(str(table[key])) for table in more]
        source = parts[0] if len(parts) == 1 else StackSource(tuple(parts))
        scenes.append(Scene(key, source, uri=os.fspath(paths[0])))
    legend = (
        classes if isinstance(classes, Legend) or classes is None else Legend.from_file(classes)
    )
    if labels is not None:
        scenes = [
            Scene(s.scene_id, s.source, _mask_source(labels[s.scene_id], legend), s.uri)
            for s in scenes
        ]
    scenes, values = alike_values(scenes)
    check_alike(scenes, bands)
    notes += [*check_place(scenes), *note_readings(scenes), *values]
    if coordinates is not None:
        tiles = _listed(scenes, coordinates, tile)
    else:
        tiles = Tiles.concat([_cut(s, tile, stride, edge, split) for s in scenes])
    if not len(tiles):
        raise DataError(
            f"no tile of {tile} px fits into any of the {len(scenes)} scenes",
            "With the edge 'drop' a scene smaller than a tile gives none.",
            "Use a smaller tile (--tile 128, tile=128), or shift tiles inside (--edge shift, "
            "edge='shift').",
        )
    ids = tiles.tile_id
    order = np.argsort(ids, kind="stable")
    pool = Pool(
        ids=ids[order], scenes=tuple(scenes), tiles=tiles.take(order), legend=legend,
        notes=warn(notes),
    )  # fmt: skip
    if not measure:
        return pool
    return scan(
        pool, bands=bands, min_valid=min_valid, min_labelled=min_labelled,
        skip_empty=skip_empty, progress=progress,
    )  # fmt: skip


def _stack(files: list[File], endings: Sequence[str]) -> dict[str, list[Path]]:
    """Scene id -> files of its bands."""
    if not endings:
        return {key: [path] for key, path in index(files, "images").items()}
    groups: dict[str, dict[str, Path]] = {}
    for file in files:
        for ending in endings:
            if file.key.endswith(ending):
                stem = file.key[: -len(ending)].rstrip("_-. ")
                twin = groups.setdefault(stem, {}).setdefault(ending, file.path)
                if twin != file.path:
                    raise DataError(
                        f"two files are the band {ending!r} of the scene {stem!r}: "
                        f"{str(twin)!r} and {str(file.path)!r}",
                        "Each band of a scene is one file.",
                        "Move one of them out of the folder, or give a longer ending.",
                    )
    if not groups:
        raise DataError(
            f"no file name ends in {', '.join(endings)}",
            f"For example {files[0].key!r}.",
            "Give the endings as they are in the file names (--stack B4,B3, stack=['B4', 'B3']).",
        )
    for stem, bands in groups.items():
        lacking = [e for e in endings if e not in bands]
        if lacking:
            raise DataError(
                f"the scene {stem!r} has no file ending in {', '.join(lacking)}",
                f"The stack joins {', '.join(endings)}.",
                "Add the file, or leave the ending out.",
            )
    return {stem: [bands[e] for e in endings] for stem, bands in groups.items()}


def need_partners(keys: list[str], table: Mapping[str, object], what: str) -> list[Note]:
    """Check that every image has a partner of its name.

    Returns:
        A note where partners are left over.

    Raises:
        DataError: One has none.
    """
    missing = sorted(set(keys) - set(table))
    unused = sorted(set(table) - set(keys))
    if missing:
        raise DataError(
            f"{len(missing)} of {len(keys)} images have no {what}, the first is {missing[0]!r}",
            f"There are {len(table)} files to pair with"
            + (f", of which {unused[0]!r} fits no image." if unused else "."),
            "An image and its partner have the same name apart from the suffix.",
        )
    if not unused:
        return []
    text = f"{len(unused)} of {len(table)} {what}s fit no image and are not used"
    return [Note("pairing", f"{text}, the first is {unused[0]!r}", items=tuple(unused))]


def _mask_source(path: Path, legend: Legend | None) -> FileSource:
    # A palette mask holds colours or indices, whichever the classes file speaks of.
    if legend is None:
        return FileSource(str(path), palette=False)
    return FileSource(str(path), palette=legend.rgb, labels=_label_values(legend))


def _label_values(legend: Legend) -> LabelValues:
    """Return what the reader of a mask should know of its classes.

    A gray mask of 1, 2 or 4 bits holds what a viewer shows, up to 255, unless every integer of the
    classes file fits into these bits.
    """
    counted = {value for group in legend.values for value in group}
    most = max([*counted, *legend.ignored])
    stored = () if legend.rgb else tuple(bits for bits in (1, 2, 4) if most < 2**bits)
    return LabelValues(frozenset(counted), stored)


def _cut(
    scene: Scene, tile: int, stride: int | None, edge: Edge, split: tuple[int, int] | None
) -> Tiles:
    info = scene.source.info
    grid = (
        Grid(info.shape, tile, stride, edge, info.geobox)
        if split is None
        else Grid.split(info.shape, *split, geobox=info.geobox)
    )
    return grid.tiles(scene.scene_id)


def _listed(scenes: list[Scene], path: str | Path, tile: int) -> Tiles:
    """The tiles of a coordinate list, matched to the scenes by name."""
    tiles = read_coordinates(path, tile).tiles
    by_id = {s.scene_id: s for s in scenes}
    names = Names(by_id, "the coordinate list")
    tables = []
    for name, rows in tiles.per_scene():
        scene = by_id[names.find(name)]
        inside = tiles.take(rows)
        height, width = scene.source.info.shape
        if int((inside.y + tile).max()) > height or int((inside.x + tile).max()) > width:
            raise DataError(
                f"the coordinate list cuts {name!r} beyond its {height} x {width} pixels",
                f"Patches are {tile} px; the first number is the row.",
                "Check the size of a tile (--tile, tile=...), or that the list belongs to these "
                "images.",
            )
        windows = np.stack([inside.y, inside.x, inside.h, inside.w], axis=1)
        tables.append(Tiles.of(scene.scene_id, windows))
    return Tiles.concat(tables)
