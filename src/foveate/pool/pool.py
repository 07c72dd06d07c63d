"""`Pool`: scenes, the tiles cut from them, and their class counts and attributes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.errors import DataError
from foveate.grid import Tiles, Window, row_numbers
from foveate.pool.attributes import Attributes
from foveate.pool.costs import Costs
from foveate.pool.footprints import footprints
from foveate.pool.outlines import shapes_of, to_outlines
from foveate.raster import read_ahead
from foveate.tables import Tabular
from foveate.wording import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray

    from foveate.labels import Legend
    from foveate.pool.notes import Note
    from foveate.pool.stac.rows import ItemScene
    from foveate.raster import Raster, Source


@dataclass(frozen=True)
class Scene:
    """One raster of a pool.

    Attributes:
        scene_id: Unique name.
        source: Its pixels.
        mask: Its labels on the same grid, or None.
        uri: Path or URL, for provenance.
        item: Its STAC item, or None.
    """

    scene_id: str
    source: Source
    mask: Source | None = None
    uri: str = ""
    item: ItemScene | None = None


def read_codes(
    scene: Scene, window: Window, legend: Legend, valid: NDArray[np.bool_] | None = None
) -> NDArray[np.int16]:
    """Read the labels of a window: (h, w) int16 class numbers, -1 for ignored or nodata.

    Args:
        scene: A scene with a mask.
        window: Pixels to read.
        legend: Its classes.
        valid: (h, w) bool valid pixels of the image, or None for all.

    Raises:
        DataError: A valid pixel has an unknown class.
    """
    assert scene.mask is not None  # noqa: S101  (checked by the callers)
    labels = scene.mask.read(window)
    ok = labels.valid if valid is None else labels.valid & valid
    codes = np.full(ok.shape, -1, np.int16)
    # Values of invalid pixels need not be classes: decode the valid pixels only.
    decoded = legend.decode(labels.data[:, None, ok], f"the mask of {scene.scene_id!r}")
    codes[ok] = decoded[0]
    return codes


@dataclass(frozen=True, repr=False)
class Pool(Tabular):
    """Tiles that can be selected. Rows are in the order of `ids`.

    Attributes:
        ids: (n,) str, unique. Pools cut from scenes are sorted by id.
        scenes: The rasters; empty for a pool of plain arrays.
        tiles: The windows, row for row; None for a pool of plain arrays.
        legend: Names of the classes, or None.
        counts: (n, C) int64 pixels per class over valid, counted pixels; None without masks.
        excluded: Tile id -> reason why the tile was removed before ranking.
        attributes: Further columns: name -> (n,) values; see `Attributes`.
        outlines: (n,) WKB in longitude and latitude, Arrow, of a georeferenced pool without
            imagery; None for other pools.
        why: Reason why a pool without imagery has no outlines.
        notes: Notes on the imagery; see `Note`.
        failed: Scene -> reason why it cannot be read, if such scenes are skipped; the pool has no
            tiles of these scenes.

    Raises:
        DataError: Lengths are inconsistent, ids are not unique, or counts are not non-negative
            integers.
    """

    ids: NDArray[np.str_]
    scenes: tuple[Scene, ...] = ()
    tiles: Tiles | None = None
    legend: Legend | None = None
    counts: NDArray[np.int64] | None = None
    excluded: Mapping[str, str] = field(default_factory=dict)
    attributes: Attributes | None = None
    outlines: pa.Array | None = None
    why: str = "plain arrays have no georeference"
    notes: tuple[Note, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the columns are consistent."""
        ids = np.asarray(self.ids, dtype=np.str_)
        object.__setattr__(self, "ids", ids)
        if np.unique(ids).size != ids.size:
            values, times = np.unique(ids, return_counts=True)
            raise DataError(
                f"the id {str(values[times.argmax()])!r} occurs {times.max()} times",
                "Ids must be unique.",
            )
        if self.tiles is not None and len(self.tiles) != ids.size:
            raise DataError(
                f"{len(self.tiles)} tiles for {ids.size} ids", "There must be one tile per id."
            )
        if not self.attributes:
            object.__setattr__(self, "attributes", None)
        for name, column in (("outlines", self.outlines), ("attributes", self.attributes)):
            size = ids.size if column is None else _length(column)
            if size != ids.size:
                raise DataError(
                    f"{size} rows of {name} for {ids.size} ids", "There must be one row per id."
                )
        if self.counts is not None:
            object.__setattr__(self, "counts", _check_counts(self.counts, ids.size))

    @classmethod
    def from_arrays(
        cls,
        *,
        ids: Sequence[str] | NDArray[np.str_] | None = None,
        counts: ArrayLike | None = None,
        n: int | None = None,
        legend: Legend | None = None,
        attributes: Attributes | Mapping[str, ArrayLike] | None = None,
        outlines: ArrayLike | None = None,
    ) -> Self:
        """Create a pool from plain arrays, without imagery.

        Args:
            ids: (n,) unique names; "0000000", "0000001" ... if None (with more digits beyond ten
                million, so that sorted ids are in the order of rows).
            counts: (n, C) pixels per class, or None.
            n: Number of items if neither ids nor counts are given.
            legend: Names of the C classes, or None.
            attributes: Further columns: name -> (n,) values.
            outlines: (n,) shapely geometries in longitude and latitude, or None.

        Raises:
            DataError: The number of items is not given, or lengths are inconsistent.
        """
        table = None if counts is None else np.asarray(counts)
        size = n
        if ids is not None:
            size = len(ids)
        elif table is not None:
            size = len(table)
        if size is None:
            raise DataError(
                "the number of items is not given",
                "One of ids, counts and n is required.",
                "For example n=len(embeddings).",
            )
        names = row_names(np.arange(size), size) if ids is None else np.asarray(ids)
        known = attributes
        if known is not None and not isinstance(known, Attributes):
            known = Attributes.of(known)
        return cls(
            ids=names, legend=legend, counts=table, attributes=known,
            outlines=None if outlines is None else to_outlines(outlines),
        )  # fmt: skip

    def __repr__(self) -> str:
        """Return a summary in one line."""
        parts = [plural(len(self), "tile", separators=True)]
        if self.scenes:
            info = self.scenes[0].source.info
            parts[0] += f" of {plural(len(self.scenes), 'scene', separators=True)}"
            parts.append(f"{plural(info.bands, 'band')} of {info.dtype}")
        if self.legend is not None:
            parts.append(plural(len(self.legend), "class", "classes"))
        if self.excluded:
            parts.append(f"{len(self.excluded):,} excluded")
        return f"Pool({', '.join(parts)})"

    def __len__(self) -> int:
        """Return the number of tiles."""
        return self.ids.size

    def to_arrow(self) -> pa.Table:
        """Return one row per tile: id, scene, window, valid share, counts, outline (WKB).

        For pools of plain arrays: id and counts.
        """
        from foveate.pool.store import tiles_table

        return tiles_table(self)

    def take(self, rows: ArrayLike) -> Self:
        """Return the pool of the given rows (integers or a mask), in that order."""
        index = row_numbers(rows, len(self))
        return replace(
            self,
            ids=self.ids[index],
            tiles=None if self.tiles is None else self.tiles.take(index),
            counts=None if self.counts is None else self.counts[index],
            attributes=None if self.attributes is None else self.attributes.take(index),
            outlines=None if self.outlines is None else self.outlines.take(index),
        )

    def without_scenes(self, failed: Mapping[str, str]) -> Self:
        """Return the pool without some scenes.

        Args:
            failed: Scene -> reason why it cannot be read.

        Raises:
            DataError: No tile is left.
        """
        if not failed or self.tiles is None:
            return self
        keep = ~np.isin(self.tiles.scene, list(failed))
        if not keep.any():
            raise DataError(
                f"none of the {len(failed)} scenes can be read; the first: "
                f"{next(iter(failed.values()))}",
                "At least one scene must be readable.",
            )  # fmt: skip
        scenes = tuple(scene for scene in self.scenes if scene.scene_id not in failed)
        known = {**self.failed, **failed}
        return replace(self.take(keep), scenes=scenes, failed=known)

    def per_scene(self) -> Iterator[tuple[Scene, NDArray[np.int64]]]:
        """Yield each scene that has tiles with the rows of its tiles, in order."""
        if self.tiles is None:
            return
        rows = dict(self.tiles.per_scene())
        for scene in self.scenes:
            if scene.scene_id in rows:
                yield scene, rows[scene.scene_id]

    def read(
        self,
        rows: ArrayLike | None = None,
        *,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> Iterator[Raster]:
        """Read the pixels of tiles one by one, in the order of `rows`.

        Args:
            rows: Rows of the pool (integers or a mask); all if None.
            bands: 1-based band numbers; all if None.
            out_shape: ``(height, width)`` to which tiles are resampled; their native size if None.

        Raises:
            DataError: The pool consists of plain arrays, or a file cannot be read.
        """
        tiles = self._need_tiles()
        sources = {scene.scene_id: scene.source for scene in self.scenes}
        chosen = self._rows(rows)

        def windows(number: int) -> list[tuple[Source, Window]]:
            i = chosen[number]
            return [(sources[tiles.scenes[tiles.scene_code[i]]], tiles.window(i))]

        ahead = read_ahead(sources.values(), chosen.size, windows, bands)
        for number, i in enumerate(chosen.tolist()):
            ahead.at(number)
            source = sources[tiles.scenes[tiles.scene_code[i]]]
            yield source.read(tiles.window(i), bands=bands, out_shape=out_shape)

    def masks(self, rows: ArrayLike | None = None) -> Iterator[NDArray[np.int16]]:
        """Read the labels of tiles: (h, w) int16 class numbers, -1 for ignored or nodata.

        Raises:
            DataError: The pool has no masks.
        """
        tiles = self._need_tiles()
        scenes = {scene.scene_id: scene for scene in self.scenes}
        chosen = self._rows(rows)

        def windows(number: int) -> list[tuple[Source, Window]]:
            i = chosen[number]
            scene = scenes[tiles.scenes[tiles.scene_code[i]]]
            read = [scene.source] if scene.source.info.masked else []
            read += [] if scene.mask is None else [scene.mask]
            return [(source, tiles.window(i)) for source in read]

        sources = (each for scene in self.scenes for each in (scene.source, scene.mask))
        ahead = read_ahead(sources, chosen.size, windows)
        for number, i in enumerate(chosen.tolist()):
            ahead.at(number)
            scene = scenes[tiles.scenes[tiles.scene_code[i]]]
            if scene.mask is None or self.legend is None:
                raise DataError(
                    "this pool has no masks",
                    "Labels require masks.",
                    "Give masks (--masks FOLDER, masks=...).",
                )
            window = tiles.window(i)
            image = scene.source.read(window) if scene.source.info.masked else None
            yield read_codes(scene, window, self.legend, None if image is None else image.valid)

    @cached_property
    def georeferenced(self) -> bool:
        """Whether every scene is on the Earth, so that each tile has longitude and latitude."""
        return not self.unplaced

    @cached_property
    def unplaced(self) -> str:
        """Reason why the pool is not georeferenced, with the name of a scene; "" if it is."""
        for scene in self.scenes:
            place = scene.source.info.place
            if place.kind != "earth":
                return f"the scene {scene.scene_id!r} {place.why or 'has no georeference'}"
        return "" if self.scenes or self.outlines is not None else self.why

    def footprints(self, crs: str | None = "EPSG:4326") -> NDArray[np.object_]:
        """Return the outline of every tile: (n,) shapely polygons; see `footprints`.

        For a pool without imagery: the given outlines, which may be points.

        Args:
            crs: "EPSG:4326" for longitude and latitude, None for native coordinates of each scene.

        Raises:
            DataError: A scene is not on the Earth, or has no coordinates at all.
        """
        if self.outlines is not None and crs is not None:
            return shapes_of(self.outlines)
        tiles = self._need_tiles()
        result = np.empty(len(self), dtype=object)
        for scene, rows in self.per_scene():
            info = scene.source.info
            if info.geobox is None or (crs is not None and info.place.kind != "earth"):
                raise DataError(
                    f"the scene {scene.scene_id!r} {info.place.why or 'has no georeference'}",
                    "Outlines require scenes on the Earth."
                    if crs is not None
                    else "Outlines require georeferenced scenes.",
                    info.place.hint,
                )
            result[rows] = footprints(tiles.take(rows), info.geobox, crs, place=info.place)
        return result

    def costs(self, *columns: str) -> Mapping[str, NDArray[np.float64]]:
        """Return the cost of each tile in every unit that a budget can limit.

        Args:
            columns: Attributes that are also costs, for example minutes of labelling or a price.

        Returns:
            "tiles" (1 per tile); with scenes also "pixels" (valid pixels) and "bytes" (valid pixels
            of all bands in the native dtype); if georeferenced, "area" (square metres of valid
            ground on the ellipsoid) and "ha" (hectares). Each is (n,) float64, read-only, computed
            on first access.
        """
        return Costs(self, columns) if columns else self._costs

    @cached_property
    def _costs(self) -> Costs:
        return Costs(self)

    def describe(self) -> dict[str, Any]:
        """Return a summary, JSON-ready: sizes, bands, dtype, classes, exclusions."""
        infos = [scene.source.info for scene in self.scenes]
        return {
            "tiles": len(self),
            "scenes": len(self.scenes),
            "bands": infos[0].bands if infos else None,
            "dtype": infos[0].dtype if infos else None,
            "georeferenced": self.georeferenced,
            "unplaced": self.unplaced,
            "classes": list(self.legend.names) if self.legend else None,
            "excluded": len(self.excluded),
            "attributes": list(self.attributes or ()),
            "notes": [str(note) for note in self.notes],
        }

    def _rows(self, rows: ArrayLike | None) -> NDArray[np.int64]:
        return np.arange(len(self)) if rows is None else row_numbers(rows, len(self))

    def _need_tiles(self) -> Tiles:
        if self.tiles is None:
            raise DataError(
                "a pool of plain arrays has no pixels",
                "This operation requires imagery.",
                "Open it with open_pool(FOLDER).",
            )
        return self.tiles


def row_names(rows: NDArray[np.integer], n: int) -> NDArray[np.str_]:
    """Return (k,) ids of rows of a pool of `n` items; sorted ids are in the order of rows."""
    width = max(7, len(str(n - 1)))
    return np.array([f"{i:0{width}d}" for i in rows.tolist()], np.str_)


def _length(column: Attributes | pa.Array) -> int:
    return column.table.num_rows if isinstance(column, Attributes) else len(column)


def _check_counts(counts: NDArray[Any], n: int) -> NDArray[np.int64]:
    table = np.asarray(counts)
    bad = table.ndim != 2 or table.shape[0] != n or not table.shape[1]
    if not bad:
        whole = np.asarray(table, dtype=np.int64)
        bad = bool((whole != table).any() or (whole < 0).any())
    if bad:
        raise DataError(
            f"class counts of shape {table.shape} and dtype {table.dtype} for {n} tiles",
            "Counts must be non-negative integers of shape (n, C): pixels per class.",
            "If these are shares, multiply them by the number of pixels of the tile.",
        )
    return whole
