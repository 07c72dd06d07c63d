"""Excluded areas, given as polygons or as a raster: tiles there are removed from a pool.

Polygons are GeoJSON or GeoParquet; pixels of a raster are excluded unless they are 0, nodata or not
finite. A tile is removed if more than a given share of it is excluded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import GIVEN, printable, read_parquet, read_text
from foveate.pool.antimeridian import cut
from foveate.pool.embedding_sources import SUFFIXES
from foveate.pool.geojson import VECTORS, stated_crs, to_lonlat
from foveate.pool.notes import Note, warn
from foveate.pool.outlines import geometry_column, moved, read_shapes
from foveate.pool.quality import leave_out
from foveate.raster import SUFFIXES as RASTERS
from foveate.raster.warped import bad_share
from foveate.wording import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.pool.pool import Pool

_BLOCK = 16_384  # outlines compared at a time
_HALF = 180.0  # degrees
_ALLOWED = "Excluded areas must be GeoJSON or GeoParquet of polygons, or a raster."
_CONVERT = "Convert them to GeoJSON: ogr2ogr -t_srs EPSG:4326 OUT.geojson IN"


@dataclass(frozen=True)
class Exclusion:
    """An excluded area.

    Attributes:
        path: GeoJSON or GeoParquet of polygons, or a georeferenced raster.
        most: Maximum excluded share of a tile that is kept, 0 to 1.
    """

    path: str
    most: float = 0.0

    def __call__(self, pool: Pool) -> Pool:
        """Return the pool without excluded tiles.

        Raises:
            DataError: The pool is not georeferenced, the file cannot be read or contains no
                polygons, or no tile is left.
        """
        if not pool.georeferenced:
            raise DataError(
                f"excluded areas for a pool that is not georeferenced: {pool.unplaced}",
                "Tiles and excluded areas are compared by longitude and latitude.",
                "Use --quality with a raster for each image.",
            )
        raster = Path(self.path).suffix.lower() in RASTERS
        share, notes = (
            (_of_raster(pool, self.path), ()) if raster else _of_polygons(pool, self.path)
        )
        pool = replace(pool, notes=(*pool.notes, *notes))
        name = printable(Path(self.path).name)
        if not share.any():
            note = Note(
                "place", f"the excluded areas in {name} cover no tile of the pool",
                "Check the file: pixels that are 0 or nodata exclude nothing" if raster else
                "Check the file: coordinates of polygons are longitude, then latitude",
            )  # fmt: skip
            return replace(pool, notes=(*pool.notes, *warn([note])))
        return leave_out(
            pool, share > self.most + 1e-9, share, self.most, f"of their area in {name}",
            "--max-excluded",
        )  # fmt: skip


def read_polygons(path: str | Path) -> tuple[NDArray[np.object_], tuple[Note, ...]]:
    """Read polygons in longitude and latitude.

    Args:
        path: GeoParquet, or GeoJSON in longitude and latitude or in the CRS of its member ``crs``.

    Returns:
        (n,) polygons and multipolygons, cut at 180 degrees, and notes: counts of other features,
        which are ignored, and of polygons wider than half the globe.

    Raises:
        DataError: The file cannot be read, or contains no polygons.
    """
    import shapely

    name = repr(printable(str(path)))
    parquet = Path(path).suffix.lower() in SUFFIXES
    given = np.asarray((_read_parquet if parquet else _read_geojson)(path), object)
    known = given[~(shapely.is_missing(given) | shapely.is_empty(given))]
    shapes = known
    while np.isin(shapely.get_type_id(shapes), (4, 5, 6, 7)).any():  # collections of collections
        shapes = np.asarray(shapely.get_parts(shapes), object)
    polygons = shapes[np.isin(shapely.get_type_id(shapes), (3, 6))]
    if not polygons.size:
        kinds = sorted({shape.geom_type for shape in shapes})
        raise DataError(
            f"{name} has no polygons: " + (f"it contains {', '.join(kinds)}" if kinds else "it "
            "contains no shapes"),
            "Excluded areas must be polygons in longitude and latitude, or a raster.",
            "Widen lines and points to polygons, for example by ST_Buffer in ogr2ogr -sql."
            if kinds
            else "Check the file, or omit the option.",
        )  # fmt: skip
    if not (np.abs(shapely.get_coordinates(polygons)) <= (360, 90)).all():
        raise DataError(
            f"{name} has no polygons in longitude and latitude",
            "Excluded areas must be polygons in longitude and latitude.",
            "Transform them: ogr2ogr -t_srs EPSG:4326 OUT.geojson IN",
        )
    found = shapely.make_valid(cut(polygons))
    return found, warn([*_ignored(path, given, known, shapes), *_wide(path, found)])


def _wide(path: str | Path, polygons: NDArray[np.object_]) -> Iterator[Note]:
    """Yield a note on polygons that may lie across 180 degrees, but are not split there."""
    import shapely

    parts = np.asarray(shapely.get_parts(polygons), object)
    west, _, east, _ = shapely.bounds(parts).reshape(-1, 4).T
    wide = (east - west > _HALF) & (east - west < 2 * _HALF)
    # The outline of a continent has many short edges; a jump to -180 is one long edge.
    jumps = [np.abs(np.diff(shapely.get_coordinates(part)[:, 0])).max() for part in parts[wide]]
    if number := sum(jump > _HALF for jump in jumps):
        yield Note(
            "place",
            f"{plural(number, 'polygon')} in {printable(Path(path).name)} "
            f"{'extends' if number == 1 else 'extend'} over more than 180 degrees of longitude",
            "If this is the shorter way across 180 degrees, split there: "
            "ogr2ogr -wrapdateline -t_srs EPSG:4326 OUT.geojson IN",
        )


def _ignored(path: str | Path, given: Any, known: Any, shapes: Any) -> Iterator[Note]:
    """Yield notes on features without geometry, and on shapes that are no polygons."""
    import shapely

    name = printable(Path(path).name)
    if without := len(given) - len(known):
        yield Note(
            "place",
            f"{without} of {plural(len(given), 'feature')} in {name} "
            f"{'has' if without == 1 else 'have'} no geometry and exclude"
            f"{'s' if without == 1 else ''} nothing",
        )
    others = shapes[~np.isin(shapely.get_type_id(shapes), (3, 6))]
    if others.size:
        yield Note(
            "place",
            f"{others.size} of {plural(len(shapes), 'shape')} in {name} "
            f"{'is no polygon and excludes' if others.size == 1 else 'are no polygons and exclude'}"
            f" nothing; the first is a {others[0].geom_type}",
        )


def _read_parquet(path: str | Path) -> NDArray[np.object_]:
    """Return the shapes of all rows; None for a row without geometry."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = read_parquet(path, hint=GIVEN)
    column = geometry_column(table.schema)
    present = pc.call_function("is_valid", [table[column]]) if column else None
    shapes = np.full(table.num_rows, None, object)
    filled = np.ones(table.num_rows, bool) if present is None else np.asarray(present, bool)
    _, shapes[filled] = read_shapes(
        table.filter(pa.array(filled)), path, "Excluded areas must be polygons."
    )
    return shapes


def _read_geojson(path: str | Path) -> NDArray[np.object_]:
    """Return the shapes of all features; None for a feature without geometry."""
    import shapely

    if Path(path).suffix.lower() in VECTORS:
        raise DataError(f"excluded areas in {printable(str(path))!r}", _ALLOWED, _CONVERT)
    text = read_text(path, "file of polygons")
    if not text.strip():
        raise DataError(
            f"{printable(str(path))!r} is empty",
            "Excluded areas must be polygons in longitude and latitude, or a raster.",
            "Check the file, or omit the option.",
        )
    try:
        content = json.loads(text)
        geometries = _geometries(content)
        shapes = np.full(len(geometries), None, object)
        shapes[:] = [None if part is None else shapely.geometry.shape(part) for part in geometries]
        crs = content.get("crs")
    except (ValueError, TypeError, KeyError, AttributeError, shapely.errors.ShapelyError) as error:
        known = isinstance(error, ValueError | shapely.errors.ShapelyError)
        why = error if known else "it has neither features nor a geometry"
        raise DataError(
            f"cannot read {printable(str(path))!r} as GeoJSON: {why}", _ALLOWED, _CONVERT
        ) from error
    move = to_lonlat(crs, path)
    return shapes if move is None else moved(shapes, move, str(stated_crs(crs)))


def _geometries(content: Any) -> list[Any]:
    if content["type"] == "FeatureCollection":
        return [feature["geometry"] or None for feature in content["features"]]
    return [content["geometry"] or None] if content["type"] == "Feature" else [content]


def _of_polygons(pool: Pool, path: str) -> tuple[NDArray[np.float64], tuple[Note, ...]]:
    """Return the share of each tile that lies in polygons (0 or 1 for points), and notes."""
    import shapely

    polygons, notes = read_polygons(path)
    ground = np.asarray(shapely.get_parts(shapely.union_all(polygons)), dtype=object)
    tree, share = shapely.STRtree(ground), np.zeros(len(pool))
    for start in range(0, len(pool), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(pool)))
        shapes = pool.take(rows).footprints()
        tile, polygon = tree.query(shapes, predicate="intersects")
        common = shapely.area(shapely.intersection(shapes[tile], ground[polygon]))
        area, hit = shapely.area(shapes), np.bincount(tile, minlength=rows.size) > 0
        covered = np.bincount(tile, common, rows.size)
        share[rows] = np.where(area > 0, covered / np.where(area > 0, area, 1), hit)
    return share, notes


def _of_raster(pool: Pool, path: str) -> NDArray[np.float64]:
    """Return the share of pixels of each tile that are excluded by a raster."""
    if pool.tiles is None:
        raise DataError(
            f"the pool has no imagery, and {printable(path)!r} is a raster",
            "Without imagery, excluded areas must be polygons.",
            "Convert the raster to polygons: gdal_polygonize.py IN OUT.geojson",
        )
    share = np.zeros(len(pool))
    for scene, rows in pool.per_scene():
        box = scene.source.info.geobox
        assert box is not None  # noqa: S101  (the pool is georeferenced)
        windows = [pool.tiles.window(row) for row in rows.tolist()]
        share[rows] = bad_share(path, box, windows)
    return share
