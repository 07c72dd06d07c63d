"""Opening imagery: folders of patches or scenes, their masks, and further bands."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.grid import Edge, Grid, Tiles
from foveate.labels import Legend
from foveate.pool.coordinates import read_coordinates
from foveate.pool.pool import Pool, Scene
from foveate.pool.scan import scan
from foveate.raster import SUFFIXES, FileSource, Source, StackSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.progress import ProgressFn

IMAGE_WORDS = frozenset({"image", "images", "img", "imgs", "imagery", "rgb"})
MASK_WORDS = frozenset(
    {"mask", "masks", "label", "labels", "gt", "annotation", "annotations", "segmentation"}
)
_MASK_ENDINGS = ("_mask", "_masks", "_label", "_labels", "_gt", "_seg")

logger = logging.getLogger("foveate")

Paths = str | Path | list[str] | list[Path] | tuple[str, ...] | tuple[Path, ...]


@dataclass(frozen=True)
class _File:
    path: Path
    parts: tuple[str, ...]  # folders below the root
    key: str  # what pairs an image with its mask


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
    measure: bool = True,
    progress: ProgressFn | None = None,
) -> Pool:
    """Open a folder of images as a pool of tiles.

    Images, masks and further bands are paired by their path below the folder given, without the
    suffix, without folders called "images", "masks" and the like, and without endings such as
    "_mask". So ``images/a.jpg`` goes with ``masks/a.png``, and ``city/images/a.tif`` with
    ``city/masks/a_mask.tif``, also when both are given as the same folder.

    Args:
        images: Folder (searched recursively), file, or several of them.
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
        coordinates: Coordinate list with the patches to use, instead of a grid.
        nodata: Value of missing pixels, overriding what the files say.
        bands: Bands whose nodata counts; all when None.
        min_valid: Smallest valid share of a tile that stays in the pool.
        measure: Whether to read all masks and nodata now (see `scan`).
        progress: Called with ticks.

    Returns:
        The pool, sorted by tile id.

    Raises:
        DataError: Nothing found, an image without mask, sizes, bands or dtypes that disagree, or
            anything that `scan` finds.
        ParameterError: A grid that cannot be.
    """
    files = _collect(images, "image")
    stacked = _stack(files, stack)
    more = [_index(_collect(paths, "extra"), "further bands") for paths in extra]
    labels = _index(_collect(masks, "mask"), "masks") if masks is not None else None
    if labels is not None:
        _need_partners(list(stacked), labels, "mask")
    for table in more:
        _need_partners(list(stacked), table, "further band")
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
    _check_alike(scenes, bands)
    if coordinates is not None:
        tiles = _listed(scenes, coordinates, tile)
    else:
        tiles = Tiles.concat([_cut(s, tile, stride, edge, split) for s in scenes])
    if not len(tiles):
        raise DataError(
            f"no tile of {tile} px fits into any of the {len(scenes)} scenes",
            "With edge='drop' a scene smaller than a tile gives none.",
            "Use a smaller --tile, or --edge shift.",
        )
    ids = tiles.tile_id
    order = np.argsort(ids, kind="stable")
    pool = Pool(ids=ids[order], scenes=tuple(scenes), tiles=tiles.take(order), legend=legend)
    return scan(pool, bands=bands, min_valid=min_valid, progress=progress) if measure else pool


def need_paths(paths: Paths, role: str) -> list[Path]:
    """Return the paths, all of which exist.

    Raises:
        DataError: One of them does not.
    """
    given = [Path(p) for p in (paths if isinstance(paths, list | tuple) else [paths])]
    missing = [p for p in given if not p.exists()]
    if missing:
        raise DataError(
            f"there is no {str(missing[0])!r}",
            f"Give a folder or a file for the {role}s.",
            "Check the path.",
        )
    return given


def _collect(paths: Paths, role: str) -> list[_File]:
    """Find the raster files below the given paths; `role` decides between images and masks."""
    given = need_paths(paths, role)
    root = given[0] if len(given) == 1 else Path(os.path.commonpath([p.absolute() for p in given]))
    root = root if root.is_dir() else root.parent
    found: list[_File] = []
    for path in given:
        candidates = sorted(path.rglob("*")) if path.is_dir() else [path]
        for candidate in candidates:
            rel = candidate.absolute().relative_to(root.absolute())
            hidden = any(part.startswith(".") for part in rel.parts)
            if candidate.suffix.lower() in SUFFIXES and not hidden and candidate.is_file():
                found.append(_File(candidate, rel.parts[:-1], _key(rel)))
    # One folder may hold both, told apart by the names of its subfolders.
    words = [{part.lower() for part in f.parts} for f in found]
    if role == "mask" and any(w & MASK_WORDS for w in words):
        found = [f for f, w in zip(found, words, strict=True) if w & MASK_WORDS]
    elif role == "image" and any(w & IMAGE_WORDS for w in words):
        found = [f for f, w in zip(found, words, strict=True) if not w & MASK_WORDS]
    found = _of_role(found, role)
    if not found:
        raise DataError(
            f"no {role} in {', '.join(map(str, given))!r}",
            f"Looked for files ending in {', '.join(SUFFIXES)}, in all subfolders.",
            "Check the path.",
        )
    return found


def _of_role(found: list[_File], role: str) -> list[_File]:
    """Where ``a.png`` and ``a_mask.png`` lie side by side, the name says which is the mask."""
    named = {f.key: f for f in found if f.path.stem.lower().endswith(_MASK_ENDINGS)}
    plain = {f.key for f in found if f.path.stem.lower() == f.key.rsplit("/", 1)[-1].lower()}
    both = set(named) & plain
    keep_named = role == "mask"
    return [
        f for f in found
        if f.key not in both or f.path.stem.lower().endswith(_MASK_ENDINGS) == keep_named
    ]  # fmt: skip


def _key(rel: Path) -> str:
    folders = [p for p in rel.parts[:-1] if p.lower() not in IMAGE_WORDS | MASK_WORDS]
    stem = rel.stem
    for ending in _MASK_ENDINGS:
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
    return "/".join([*folders, stem])


def _index(files: list[_File], what: str) -> dict[str, Path]:
    table: dict[str, Path] = {}
    for file in files:
        if file.key in table:
            raise DataError(
                f"two {what} are called {file.key!r}: {str(table[file.key])!r} and "
                f"{str(file.path)!r}",
                "Files are paired by their path without the suffix.",
                "Rename one of them, or move it out of the folder.",
            )
        table[file.key] = file.path
    return table


def _stack(files: list[_File], endings: Sequence[str]) -> dict[str, list[Path]]:
    """Scene id -> files of its bands."""
    if not endings:
        return {key: [path] for key, path in _index(files, "images").items()}
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
            "Give --stack the endings as they are in the file names.",
        )
    for stem, bands in groups.items():
        lacking = [e for e in endings if e not in bands]
        if lacking:
            raise DataError(
                f"the scene {stem!r} has no file ending in {', '.join(lacking)}",
                f"--stack joins {', '.join(endings)}.",
                "Add the file, or leave the ending out.",
            )
    return {stem: [bands[e] for e in endings] for stem, bands in groups.items()}


def _need_partners(keys: list[str], table: dict[str, Path], what: str) -> None:
    missing = sorted(set(keys) - set(table))
    unused = sorted(set(table) - set(keys))
    if unused and not missing:
        logger.warning(
            "%d of %d %ss fit no image and are not used, the first is %r",
            len(unused), len(table), what, unused[0],
        )  # fmt: skip
    if missing:
        raise DataError(
            f"{len(missing)} of {len(keys)} images have no {what}, the first is {missing[0]!r}",
            f"There are {len(table)} files to pair with"
            + (f", of which {unused[0]!r} fits no image." if unused else "."),
            "An image and its partner have the same name apart from the suffix.",
        )


def _mask_source(path: Path, legend: Legend | None) -> FileSource:
    # A palette mask holds colours or indices, whichever the classes file speaks of.
    return FileSource(str(path), palette=legend is not None and legend.rgb)


def _check_alike(scenes: list[Scene], bands: Sequence[int] | None) -> None:
    first = scenes[0].source.info
    for scene in scenes:
        info = scene.source.info
        if scene.mask is not None and scene.mask.info.shape != info.shape:
            raise DataError(
                f"the image {scene.scene_id!r} has {info.shape[0]} x {info.shape[1]} pixels, its "
                f"mask {scene.mask.info.shape[0]} x {scene.mask.info.shape[1]}",
                "An image and its mask have the same height and width.",
                "Resample the mask (nearest neighbour), or check the pairing.",
            )
        if info.dtype != first.dtype:
            raise DataError(
                f"{scenes[0].scene_id!r} is {first.dtype}, {scene.scene_id!r} is {info.dtype}",
                "All images of a pool have one dtype.",
                "Convert them, or open them as two pools.",
            )
        if bands is None and info.bands != first.bands:
            raise DataError(
                f"{scenes[0].scene_id!r} has {first.bands} bands, {scene.scene_id!r} has "
                f"{info.bands}",
                "All images of a pool have the same bands.",
                "Choose bands that all of them have, e.g. --bands 1,2,3, or split the folder.",
            )
        if bands is not None and max(bands) > info.bands:
            raise ParameterError(
                f"--bands {','.join(map(str, bands))}: {scene.scene_id!r} has {info.bands} bands",
                f"Band numbers go from 1 to {info.bands}.",
            )


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
    """The tiles of a coordinate list, matched to the scenes by full id or by last part."""
    tiles = read_coordinates(path, tile).tiles
    known = {s.scene_id: s for s in scenes}
    known |= {s.scene_id.rsplit("/", 1)[-1]: s for s in scenes if "/" in s.scene_id}
    names = []
    for name in tiles.scenes:
        scene = known.get(name) or known.get(name.rsplit("/", 1)[-1])
        if scene is None:
            raise DataError(
                f"the coordinate list names the image {name!r}, which is not among the images",
                f"Images: {', '.join(sorted(known)[:5])} ...",
                "Give the folder that the list was made for.",
            )
        names.append(scene.scene_id)
        inside = tiles.take(tiles.scene == name)
        height, width = scene.source.info.shape
        if int((inside.y + tile).max()) > height or int((inside.x + tile).max()) > width:
            raise DataError(
                f"the coordinate list cuts {name!r} beyond its {height} x {width} pixels",
                f"Patches are {tile} px; the first number is the row.",
                "Check --tile, or that the list belongs to these images.",
            )
    return Tiles.concat(
        [
            Tiles.of(names[i], np.stack([t.y, t.x, t.h, t.w], axis=1))
            for i, name in enumerate(tiles.scenes)
            for t in [tiles.take(tiles.scene == name)]
        ]
    )
