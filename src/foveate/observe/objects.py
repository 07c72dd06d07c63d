"""Things that were seen one by one: GeoJSON features with a property ``kind``.

Where they lie is told by the pixels of a scene (properties ``scene, y, x, h, w``) or by their
geometry: longitude and latitude on WGS84, or what a member ``crs`` of the file names, as GeoJSON
had it until 2016 and GDAL still writes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.documents import read_document
from foveate.errors import DataError
from foveate.pool.antimeridian import cut, joined
from foveate.raster.place import WGS84, transformer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from pyproj import Transformer

_BOX = ("y", "x", "h", "w")
_TURN = 360.0  # degrees: longitudes go that far either way
_VECTORS = (".gpkg", ".shp", ".fgb", ".gml", ".kml", ".kmz", ".parquet", ".geoparquet", ".zip")


@dataclass(frozen=True)
class Objects:
    """Things that were seen, one by one.

    Attributes:
        path: The file they are from.
        kinds: What each of the m objects is.
        scenes: The scene that each names; empty where it names none.
        boxes: (m, 4) float64 ``y, x, h, w`` in pixels of that scene; NaN where not given.
        shapes: (m,) geometries in longitude and latitude, or None; cut at 180 degrees, see `cut`.
    """

    path: str
    kinds: tuple[str, ...]
    scenes: tuple[str, ...]
    boxes: NDArray[np.float64]
    shapes: NDArray[np.object_]


def read_objects(path: str | Path) -> Objects:
    """Read objects from GeoJSON, a FeatureCollection.

    Longitudes beyond 180 are taken for the places that they mean, and a shape that is wider than
    half the globe for one across 180 degrees.

    Raises:
        DataError: The file cannot be read, is something else, is in a CRS that does not lead to the
            Earth, or a feature (named by its number) has no kind, no place, or none on the Earth.
    """
    content = _read(path)
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list):
        raise DataError(
            f"{str(path)!r} is no FeatureCollection",
            "Objects are GeoJSON features with a property 'kind'.",
        )
    there = _reader(content.get("crs"), path)
    found = [
        _feature(item, f"the object number {i} of {str(path)!r}", there)
        for i, item in enumerate(features, 1)
    ]
    shapes = np.empty(len(found), dtype=object)
    shapes[:] = [shape for _, _, _, shape in found]
    return Objects(
        path=str(path),
        kinds=tuple(kind for kind, _, _, _ in found),
        scenes=tuple(scene for _, scene, _, _ in found),
        boxes=np.array([box for _, _, box, _ in found], np.float64).reshape(-1, 4),
        shapes=cut(joined(shapes)),
    )


def _read(path: str | Path) -> Any:
    suffix = Path(path).suffix.lower()
    convert = f"Convert it: ogr2ogr -t_srs {WGS84} OBJECTS.geojson {path}"
    if suffix in _VECTORS:
        raise DataError(f"objects in {str(path)!r}", "Objects are read from GeoJSON.", convert)
    return read_document(path, "objects", "Objects are GeoJSON.", "JSON")


def _reader(crs: Any, path: str | Path) -> Transformer | None:
    """Return what takes the coordinates of a file to longitude and latitude; None where they are.

    Raises:
        DataError: It names a CRS that cannot be used.
    """
    from pyproj.exceptions import CRSError

    if crs is None:
        return None
    given = crs.get("properties") if isinstance(crs, dict) else None
    named = (given.get("name") or given.get("code")) if isinstance(given, dict) else None
    named = crs if isinstance(crs, str) else named
    try:
        there = transformer(f"EPSG:{named}" if isinstance(named, int) else str(named))
    except CRSError:
        there = None
    if there is None:
        raise DataError(
            f"{str(path)!r} is in the CRS {json.dumps(named if named is not None else crs)}",
            "Its member 'crs' names one that leads to longitudes and latitudes of the Earth.",
            f"Convert it where the CRS is known: ogr2ogr -t_srs {WGS84} OBJECTS.geojson {path}",
        )
    return there


def _feature(item: Any, what: str, there: Transformer | None) -> tuple[str, str, list[float], Any]:
    """Return kind, scene, box and geometry of a feature."""
    properties = item.get("properties") if isinstance(item, dict) else None
    kind = properties.get("kind") if isinstance(properties, dict) else None
    if not isinstance(properties, dict) or not isinstance(kind, str) or not kind.strip():
        raise DataError(f"{what} has no kind", "Its property 'kind' says what it is.")
    values = [properties.get(name) for name in _BOX]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    box = [float(v) for v in values if v is not None] if numbers else [np.nan] * 4
    geometry = item.get("geometry")
    shape = None if geometry is None else _shape(geometry, what, there)
    scene = properties.get("scene")
    if shape is None and not (numbers and isinstance(scene, str)):
        raise DataError(
            f"{what} lies nowhere",
            "It has a geometry, or the properties scene, y, x, h, w in pixels.",
        )
    return kind, scene if isinstance(scene, str) else "", box, shape


def _shape(geometry: Any, what: str, there: Transformer | None) -> Any:
    """Return a geometry in longitude and latitude, None for an empty one.

    Raises:
        DataError: It cannot be read, or does not lie on the Earth.
    """
    import shapely
    from shapely.geometry import shape

    try:
        found = shapely.force_2d(shape(geometry))
        at = shapely.get_coordinates(found)
        ok = bool(np.isfinite(at).all())
    except (
        shapely.errors.ShapelyError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:
        raise DataError(
            f"{what} has a geometry that cannot be read: {error}",
            "Geometries are those of GeoJSON: Point, LineString, Polygon, and several of them.",
        ) from error
    if ok and not at.size:
        return None
    if ok and there is not None:
        found = shapely.transform(found, _through(there))
        at = shapely.get_coordinates(found)
        ok = bool(np.isfinite(at).all())
    if not ok or np.abs(at[:, 0]).max() > _TURN or np.abs(at[:, 1]).max() > 90:
        x, y = shapely.get_coordinates(shape(geometry))[0]
        raise DataError(
            f"{what} lies at x = {x:.10g}, y = {y:.10g}",
            "Longitude comes first and is from -180 to 180, latitude from -90 to 90 degrees"
            + (", unless the file names another CRS." if there is None else " in that CRS."),
            "Exchange the two where latitude comes first; where they are in another CRS, state and "
            f"convert it: ogr2ogr -s_srs EPSG:... -t_srs {WGS84} OBJECTS.geojson FILE",
        )
    return found


def _through(there: Transformer) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda xy: np.stack(there.transform(*xy.T), axis=1)
