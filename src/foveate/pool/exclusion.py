"""Ground that must not be chosen: polygons, or a raster, on the Earth.

Polygons are GeoJSON or GeoParquet; of a raster each pixel but 0 (and nodata) is excluded ground. A
tile leaves the pool if more than a share of it is such ground.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import printable, read_parquet, read_text
from foveate.pool.embedding_sources import SUFFIXES
from foveate.pool.outlines import read_shapes
from foveate.pool.quality import leave_out
from foveate.raster import SUFFIXES as RASTERS
from foveate.raster.warped import bad_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.pool.pool import Pool

_BLOCK = 16_384  # outlines that are compared at a time


@dataclass(frozen=True)
class Exclusion:
    """Ground that must not be chosen.

    Attributes:
        path: GeoJSON or GeoParquet of polygons, or a georeferenced raster.
        most: Largest share of a tile, 0 to 1, that may lie on it.
    """

    path: str
    most: float = 0.0

    def __call__(self, pool: Pool) -> Pool:
        """Return the pool without the tiles on that ground.

        Raises:
            DataError: The pool does not lie on the Earth, the file cannot be read or holds no
                polygons, or no tile is left.
        """
        if not pool.georeferenced:
            raise DataError(
                f"ground to exclude, for a pool that does not lie on the Earth: {pool.unplaced}",
                "Tiles and excluded ground are compared by longitude and latitude.",
                "Use --quality with a raster for each image.",
            )
        raster = Path(self.path).suffix.lower() in RASTERS
        share = _of_raster(pool, self.path) if raster else _of_polygons(pool, self.path)
        name = printable(Path(self.path).name)
        return leave_out(
            pool, share > self.most + 1e-9, share, self.most, f"of their ground in {name}",
            "--max-excluded",
        )  # fmt: skip


def read_polygons(path: str | Path) -> NDArray[np.object_]:
    """Read polygons in longitude and latitude.

    Raises:
        DataError: The file cannot be read, or holds no polygons.
    """
    import shapely

    name = repr(printable(str(path)))
    if Path(path).suffix.lower() in SUFFIXES:
        _, shapes = read_shapes(read_parquet(path), path, "Excluded ground is polygons.")
    else:
        try:
            content = json.loads(read_text(path, "file of polygons"))
            shapes = np.array([shapely.geometry.shape(one) for one in _geometries(content)], object)
        except (ValueError, TypeError, KeyError, AttributeError, shapely.errors.ShapelyError) as e:
            raise DataError(
                f"cannot read {name} as GeoJSON: {e}",
                "Excluded ground is GeoJSON or GeoParquet of polygons, or a raster.",
                "Write it as GeoJSON: ogr2ogr -t_srs EPSG:4326 OUT.geojson IN",
            ) from e
    polygons = shapes[np.isin(shapely.get_type_id(shapes), (3, 6))]
    at = np.abs(shapely.get_coordinates(polygons))
    if not at.size or not (at <= (360, 90)).all():
        raise DataError(
            f"{name} holds no polygons in longitude and latitude",
            "Excluded ground is polygons on the Earth.",
            "Bring them there: ogr2ogr -t_srs EPSG:4326 OUT.geojson IN",
        )
    return shapely.make_valid(polygons)


def _geometries(content: Any) -> list[Any]:
    if content["type"] == "FeatureCollection":
        return [one["geometry"] for one in content["features"] if one["geometry"]]
    return [content["geometry"]] if content["type"] == "Feature" else [content]


def _of_polygons(pool: Pool, path: str) -> NDArray[np.float64]:
    """Return the share of each tile that lies in polygons; of a point, whether it does."""
    import shapely

    ground = np.asarray(shapely.get_parts(shapely.union_all(read_polygons(path))), dtype=object)
    tree, share = shapely.STRtree(ground), np.zeros(len(pool))
    for start in range(0, len(pool), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(pool)))
        shapes = pool.take(rows).footprints()
        tile, part = tree.query(shapes, predicate="intersects")
        common = shapely.area(shapely.intersection(shapes[tile], ground[part]))
        area, hit = shapely.area(shapes), np.bincount(tile, minlength=rows.size) > 0
        found = np.bincount(tile, common, rows.size)
        share[rows] = np.where(area > 0, found / np.where(area > 0, area, 1), hit)
    return share


def _of_raster(pool: Pool, path: str) -> NDArray[np.float64]:
    """Return the share of each tile's pixels that a raster excludes."""
    if pool.tiles is None:
        raise DataError(
            f"the raster {printable(path)!r} for a pool without imagery",
            "Without imagery, excluded ground is polygons.",
            "Turn it into polygons: gdal_polygonize.py IN OUT.geojson",
        )
    share = np.zeros(len(pool))
    for scene, rows in pool.per_scene():
        box = scene.source.info.geobox
        assert box is not None  # noqa: S101  (the scenes lie on the Earth)
        windows = [pool.tiles.window(row) for row in rows.tolist()]
        share[rows] = bad_share(path, box, windows)
    return share
