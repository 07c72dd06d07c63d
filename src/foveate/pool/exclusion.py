"""Excluded areas, given as polygons or as a raster: tiles there are removed from a pool.

Polygons are GeoJSON or GeoParquet; pixels of a raster are excluded unless they are 0 or nodata. A
tile is removed if more than a given share of it is excluded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import GIVEN, printable, read_parquet, read_text
from foveate.pool.embedding_sources import SUFFIXES
from foveate.pool.notes import Note, warn
from foveate.pool.outlines import read_shapes
from foveate.pool.quality import leave_out
from foveate.raster import SUFFIXES as RASTERS
from foveate.raster.warped import bad_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.pool.pool import Pool

_BLOCK = 16_384  # outlines compared at a time


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
        share = _of_raster(pool, self.path) if raster else _of_polygons(pool, self.path)
        name = printable(Path(self.path).name)
        if not share.any():
            note = Note(
                "place", f"the excluded areas in {name} cover no tile of the pool",
                "Check the file: coordinates of polygons are longitude, then latitude",
            )  # fmt: skip
            return replace(pool, notes=(*pool.notes, *warn([note])))
        return leave_out(
            pool, share > self.most + 1e-9, share, self.most, f"of their area in {name}",
            "--max-excluded",
        )  # fmt: skip


def read_polygons(path: str | Path) -> NDArray[np.object_]:
    """Read polygons in longitude and latitude.

    Raises:
        DataError: The file cannot be read, or contains no polygons.
    """
    import shapely

    name = repr(printable(str(path)))
    if Path(path).suffix.lower() in SUFFIXES:
        _, shapes = read_shapes(
            read_parquet(path, hint=GIVEN), path, "Excluded areas must be polygons."
        )
    else:
        try:
            content = json.loads(read_text(path, "file of polygons"))
            shapes = np.array(
                [shapely.geometry.shape(geometry) for geometry in _geometries(content)], object
            )
        except (ValueError, TypeError, KeyError, AttributeError, shapely.errors.ShapelyError) as e:
            raise DataError(
                f"cannot read {name} as GeoJSON: {e}",
                "Excluded areas must be GeoJSON or GeoParquet of polygons, or a raster.",
                "Convert them to GeoJSON: ogr2ogr -t_srs EPSG:4326 OUT.geojson IN",
            ) from e
    shapes = np.asarray(shapely.get_parts(shapes), object)  # also of collections
    polygons = shapes[np.isin(shapely.get_type_id(shapes), (3, 6))]
    at = np.abs(shapely.get_coordinates(polygons))
    if not at.size or not (at <= (360, 90)).all():
        raise DataError(
            f"{name} has no polygons in longitude and latitude",
            "Excluded areas must be polygons in longitude and latitude.",
            "Transform them: ogr2ogr -t_srs EPSG:4326 OUT.geojson IN",
        )
    return shapely.make_valid(polygons)


def _geometries(content: Any) -> list[Any]:
    if content["type"] == "FeatureCollection":
        return [feature["geometry"] for feature in content["features"] if feature["geometry"]]
    return [content["geometry"]] if content["type"] == "Feature" else [content]


def _of_polygons(pool: Pool, path: str) -> NDArray[np.float64]:
    """Return the share of each tile that lies in polygons; 0 or 1 for points."""
    import shapely

    ground = np.asarray(shapely.get_parts(shapely.union_all(read_polygons(path))), dtype=object)
    tree, share = shapely.STRtree(ground), np.zeros(len(pool))
    for start in range(0, len(pool), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(pool)))
        shapes = pool.take(rows).footprints()
        tile, polygon = tree.query(shapes, predicate="intersects")
        common = shapely.area(shapely.intersection(shapes[tile], ground[polygon]))
        area, hit = shapely.area(shapes), np.bincount(tile, minlength=rows.size) > 0
        covered = np.bincount(tile, common, rows.size)
        share[rows] = np.where(area > 0, covered / np.where(area > 0, area, 1), hit)
    return share


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
