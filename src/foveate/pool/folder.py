"""Open imagery: folders of patches or scenes, their masks, and further bands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foveate.classes_file import span_of
from foveate.errors import DataError
from foveate.files import printable
from foveate.grid import Edge, Grid, Tiles
from foveate.labels import Legend
from foveate.location import URL
from foveate.pool.check import alike_values, check_alike, check_place, note_readings, note_unplanned
from foveate.pool.coordinates import read_coordinates
from foveate.pool.names import Names
from foveate.pool.notes import warn
from foveate.pool.pairing import pair_files
from foveate.pool.pool import Pool, Scene
from foveate.pool.scan import OnError, scan
from foveate.pool.stac.columns import item_columns
from foveate.raster import FileSource, LabelValues, Source, StackSource
from foveate.remote import open_together
from foveate.wording import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from foveate.location import Location
    from foveate.pool.find import Paths
    from foveate.pool.notes import Note
    from foveate.pool.pairing import Row
    from foveate.pool.stac.search import Search
    from foveate.progress import ProgressFn


def open_pool(  # noqa: PLR0913  (keyword-only options)
    images: Paths,
    *,
    masks: Paths | None = None,
    mask_suffix: str = "",
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
    search: Search | None = None,
    on_error: OnError = "stop",
    measure: bool = True,
    progress: ProgressFn | None = None,
) -> Pool:
    """Open a folder of images as a pool of tiles.

    Images, masks and further bands are paired by their path below the given folder, without the
    suffix and without words such as "image" and "mask" in names of folders and files. For example,
    ``images/a.jpg`` is paired with ``masks/a.png``, and ``city/images/a.tif`` with
    ``city/masks/a_mask.tif``, also if both are in the same given folder. Files found by globs
    are paired by the text matched by the wildcards: ``"city/*_sat.tif"`` with
    ``"city/*_map.tif"``.

    Args:
        images: Folder (searched recursively, linked folders are followed), file or glob, or several
            of them; or STAC: a catalogue, collection, item or list of items in JSON, a table of
            items in Parquet, or the address of a collection of an API.
        masks: The same for masks: class indices or RGB colours. They may be in the folders of the
            images.
        mask_suffix: Ending of the names of masks before the file suffix ("_truth"), if usual words
            such as "mask" and "label" do not distinguish them from images.
        classes: Classes file (YAML, TOML, JSON) or `Legend`. Without it, the values of index
            masks are the classes.
        extra: Further bands, each a folder or file: a surface model, more channels. They are
            resampled (bilinear) to the grid of the image, and appended to its bands.
        stack: Endings of file names that are bands of one scene, in order: ``("B4", "B3")``
            stacks ``scene_B4.tif`` and ``scene_B3.tif``.
        tile: Side of a tile in pixels; 0: whole images.
        stride: Step between tiles in pixels; the side of a tile if None.
        edge: "shift", "drop", "pad" or "clip"; see `Grid`.
        split: ``(rows, cols)`` into which every scene is cut, instead of `tile` and `stride`.
        coordinates: Coordinate list with the patches to use, instead of a grid. Its names are
            scene ids, or their last parts if these are unique, with or without suffix.
        nodata: Value of missing pixels, instead of the declared value.
        bands: 1-based bands in which nodata is evaluated; all if None or empty.
        min_valid: Minimum share of valid pixels of a tile.
        min_labelled: Minimum share of labelled pixels of a tile, if there are masks.
        skip_empty: Whether scenes without a valid pixel are left out; otherwise they are an error.
        search: Selection of STAC items and of their assets.
        on_error: "stop" at unreadable scenes, or "skip" them: `Pool.failed` has the reasons.
        measure: Whether to read all masks and nodata now (see `scan`).
        progress: Called with ticks.

    Returns:
        The pool, sorted by tile id.

    Raises:
        DataError: No files are found, an image has no mask, sizes, bands, dtypes or extents are
            inconsistent; or an error of `scan`.
        ParameterError: The grid is invalid.
    """
    bands = None if bands is None or not len(bands) else tuple(bands)
    if tile == 0 and split is None and coordinates is None:
        split = (1, 1)
    paired = pair_files(images, masks, extra, stack, mask_suffix, search=search)
    pool = open_rows(
        paired.rows, Cutting(tile, stride, edge, split, coordinates), classes=classes,
        nodata=nodata, bands=bands, notes=paired.notes, on_error=on_error,
    )  # fmt: skip
    if not measure:
        return pool
    return scan(
        pool, bands=bands, min_valid=min_valid, min_labelled=min_labelled,
        skip_empty=skip_empty, on_error=on_error, progress=progress,
    )  # fmt: skip


@dataclass(frozen=True)
class Cutting:
    """How scenes are cut into tiles; see `open_pool`."""

    tile: int = 256
    stride: int | None = None
    edge: Edge = "shift"
    split: tuple[int, int] | None = None
    coordinates: str | Path | None = None

    def tiles(self, scenes: Sequence[Scene]) -> Tiles:
        """Return the tiles of scenes.

        Raises:
            DataError: There are none, or the coordinate list does not match the scenes.
            ParameterError: The grid is invalid.
        """
        if self.coordinates is not None:
            tiles = _listed(scenes, self.coordinates, self.tile)
        else:
            tiles = Tiles.concat([self._grid(s).tiles(s.scene_id) for s in scenes])
        if not len(tiles):
            raise DataError(
                f"no tile of {self.tile} px fits into any of the {len(scenes)} scenes",
                "With edge 'drop', scenes smaller than a tile have no tiles.",
                "Use smaller tiles (--tile 128, tile=128), or edge 'shift' (--edge shift, "
                "edge='shift').",
            )
        return tiles

    def _grid(self, scene: Scene) -> Grid:
        info = scene.source.info
        if self.split is not None:
            return Grid.split(info.shape, *self.split, geobox=info.geobox)
        return Grid(info.shape, self.tile, self.stride, self.edge, info.geobox)


def open_rows(
    rows: Sequence[Row],
    cutting: Cutting,
    *,
    classes: str | Path | Legend | None = None,
    nodata: float | None = None,
    bands: Sequence[int] | None = None,
    notes: Sequence[Note] = (),
    on_error: OnError = "stop",
) -> Pool:
    """Open paired files, headers only; see `open_pool`.

    Args:
        rows: The files of each scene.
        cutting: How scenes are cut.
        classes: As for `open_pool`.
        nodata: As for `open_pool`.
        bands: As for `open_pool`.
        notes: Existing notes on the files.
        on_error: As for `open_pool`.

    Returns:
        The pool, sorted by tile id, without valid shares and class counts.

    Raises:
        DataError: As for `open_pool`, without the errors of `scan`.
        ParameterError: The grid is invalid.
    """
    legend = (
        classes if isinstance(classes, Legend) or classes is None else Legend.from_file(classes)
    )
    open_together(
        [p for row in rows for p in (*row.paths, *row.extra, row.mask) if isinstance(p, URL)]
    )
    scenes, failed = [], {}
    for row in rows:
        try:
            scene = row_scene(row, nodata)
            if row.mask is not None:
                scene = replace(scene, mask=_mask_source(row.mask, legend))
            _ = scene.source.info, scene.mask and scene.mask.info  # opens them
        except DataError as error:
            if on_error != "skip":
                raise
            failed[row.key] = str(error)
        else:
            scenes.append(scene)
    if not scenes:
        raise DataError(
            f"none of the {len(failed)} scenes can be opened; the first: "
            f"{next(iter(failed.values()), '')}",
            "At least one scene must be readable.",
        )  # fmt: skip
    _check_copies(scenes)
    scenes, values = alike_values(scenes)
    check_alike(scenes, bands)
    all_notes = [
        *notes, *check_place(scenes), *note_readings(scenes), *values, *note_unplanned(scenes)
    ]  # fmt: skip
    tiles = cutting.tiles(scenes)
    ids = tiles.tile_id
    order = np.argsort(ids, kind="stable")
    tiles = tiles.take(order)
    items = [row.item for row in rows if row.item is not None and row.key not in failed]
    return Pool(
        ids=ids[order], scenes=tuple(scenes), tiles=tiles, legend=legend, notes=warn(all_notes),
        failed=failed,
        attributes=item_columns(items, tiles),
    )  # fmt: skip


def row_scene(row: Row, nodata: float | None = None) -> Scene:
    """Return a scene without its mask.

    Args:
        row: Its files, or its item.
        nodata: Value of missing pixels of the image, instead of the value in files and items.

    Raises:
        DataError: An asset of an item is missing.
    """
    parts: list[Source] = []
    if row.item is not None:
        parts += row.item.sources(nodata)
        uri = row.item.bands[0][1].href
    else:
        parts += [FileSource(str(p), nodata) for p in row.paths]
        uri = str(row.paths[0])
    parts += [FileSource(str(p)) for p in row.extra]
    source = parts[0] if len(parts) == 1 else StackSource(tuple(parts))
    return Scene(row.key, source, uri=printable(uri), item=row.item)


def _mask_source(path: Location, legend: Legend | None) -> FileSource:
    # A palette mask is read as colours or as indices, depending on the classes file.
    if legend is None:
        return FileSource(str(path), palette=False)
    return FileSource(str(path), palette=legend.rgb, labels=_label_values(legend))


def _label_values(legend: Legend) -> LabelValues:
    """Return the values of classes that determine how masks are read.

    A gray mask of 1, 2 or 4 bits is read as displayed gray values, up to 255, unless every integer
    of the classes file fits into these bits.
    """
    spans = [span_of(value) for group in legend.values for value in group]
    largest = max(span.high for span in [*spans, *map(span_of, legend.ignored)])
    stored = () if legend.rgb else tuple(bits for bits in (1, 2, 4) if largest < 2**bits)
    return LabelValues(tuple((span.low, span.high) for span in spans), stored)


def _check_copies(scenes: Sequence[Scene]) -> None:
    """Check that masks are not copies of their images.

    Raises:
        DataError: A mask and its image have the same content.
    """
    for scene in scenes:
        if scene.mask and scene.mask.info.fingerprint == scene.source.info.fingerprint:
            raise DataError(
                f"the mask of {scene.scene_id!r} is a copy of the image",
                "A mask must contain the classes of the pixels of its image.",
                "Check --masks: it is the folder of the images, or a copy of it.",
            )


def _listed(scenes: Sequence[Scene], path: str | Path, tile: int) -> Tiles:
    """Return the tiles of a coordinate list, matched to the scenes by name."""
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
                f"the coordinate list has patches outside {name!r} ({height} x {width} pixels)",
                f"Patches are {tile} px wide; the first number is the row.",
                "Check the size of tiles (--tile, tile=...), or that the list belongs to these "
                "images.",
            )
        windows = np.stack([inside.y, inside.x, inside.h, inside.w], axis=1)
        tables.append(Tiles.of(scene.scene_id, windows))
    found = Tiles.concat(tables)
    values, times = np.unique(found.tile_id, return_counts=True)
    if (repeated := times > 1).any():
        raise DataError(
            f"the coordinate list has {plural(int(repeated.sum()), 'patch', 'patches')} more than "
            f"once, the first is {str(values[repeated][0])!r}",
            "Each patch may be listed once.",
            "Remove the other lines.",
        )
    return found
