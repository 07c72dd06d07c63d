"""Outlines in tables: geometry columns are converted to WKB in longitude and latitude.

WKB and WKT, as in GeoParquet, and the nested lists of coordinates of GeoArrow (points, polygons,
multipolygons) are read, and converted to WKB in longitude and latitude, WGS84. The CRS is read from
the metadata of GeoParquet; without a CRS, coordinates are longitude and latitude. A CRS that cannot
be converted to these is a reason not to read the outlines.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import printable
from foveate.pool.antimeridian import cut, joined
from foveate.raster.place import WGS84, in_degrees, transformer

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray
    from pyproj import Transformer

_BLOCK = 65_536
_EXTENSION = b"ARROW:extension:"
_GEOARROW = ("geoarrow.", "ogc.wkb")
_AREAS = (3, 6)  # codes of polygons and multipolygons in WKB
_DIMENSIONS = 1000  # added by WKB to a code for each further dimension; or flags are set


def geometry_column(schema: pa.Schema) -> str:
    """Return the column of outlines, or "".

    It is the primary column of GeoParquet, or "geometry", or the only column of a type of GeoArrow.
    """
    named = str(_geo(schema).get("primary_column", "geometry"))
    if named in schema.names:
        return named
    typed = [f.name for f in schema if _extension(f)[0].startswith(_GEOARROW)]
    return typed[0] if len(typed) == 1 else ""


def read_outlines(
    column: pa.ChunkedArray, schema: pa.Schema, name: str
) -> tuple[pa.Array | None, str]:
    """Read a column of geometry.

    Args:
        column: n shapes: WKB, WKT, or nested coordinates.
        schema: Schema of the file, for the CRS.
        name: Name of the column.

    Returns:
        (n,) WKB in longitude and latitude, and ""; or None and the reason: a row has no shape,
        or coordinates are not longitudes and latitudes.

    Raises:
        DataError: The column does not contain geometry.
    """
    import pyarrow as pa
    import shapely

    if column.null_count:
        return None, f"{column.null_count} of {len(column)} rows have no geometry"
    crs = _geo(schema).get("columns", {}).get(name, {}).get("crs", "")
    if crs == "":
        crs = _extension(schema.field(name))[1].get("crs") or ""
    if crs is None:
        return None, "the CRS of the geometry is declared as unknown"
    crs = crs if isinstance(crs, str) else json.dumps(crs)
    crs = crs or _of_srid(_shapes(column.slice(0, _BLOCK).combine_chunks(), name))
    move = transformer(crs, WGS84) if crs else None
    if crs and move is None:
        return None, "the CRS of the geometry cannot be converted to longitude and latitude"
    parts = []
    for start in range(0, len(column), _BLOCK):
        block = column.slice(start, _BLOCK).combine_chunks()
        shapes = _shapes(block, name)
        if move is not None:
            shapes = moved(shapes, move, crs)
        west, south, east, north = shapely.bounds(shapes).reshape(-1, 4).T
        # Longitudes of some products exceed 180; NaN of empty shapes fails the comparison.
        if not ((west >= -360) & (east <= 360) & (south >= -90) & (north <= 90)).all():
            return None, (
                "the geometry extends beyond the valid area of its CRS"
                if crs
                else "the geometry is not in longitude and latitude, and has no CRS"
            )
        parts.append(pa.array(shapely.to_wkb(cut(shapely.force_2d(shapes))), pa.binary()))
    return pa.concat_arrays(parts) if parts else pa.array([], pa.binary()), ""


def _of_srid(shapes: NDArray[np.object_]) -> str:
    """Return the CRS of the SRID that all shapes have (EWKB, as PostGIS writes it), or ""."""
    import shapely

    codes = np.unique(shapely.get_srid(shapes))
    return f"EPSG:{codes[0]}" if codes.size == 1 and codes[0] > 0 else ""


def moved(shapes: NDArray[np.object_], move: Transformer, crs: str) -> NDArray[np.object_]:
    """Transform shapes to continuous longitudes, and latitudes.

    Args:
        shapes: (n,) shapely geometries.
        move: Transformer of x, y to WGS84.
        crs: The CRS of the shapes, which `move` transforms from.
    """
    import shapely

    found = shapely.transform(
        shapely.force_2d(shapes), lambda xy: np.stack(move.transform(*xy.T), axis=1)
    )
    # Shapes in metres across 180 degrees get longitudes from either side of it.
    return found if in_degrees(crs) else joined(found)


def read_shapes(table: pa.Table, path: str | Path, use: str) -> tuple[str, NDArray[np.object_]]:
    """Read the shapes of a (Geo)Parquet file of polygons.

    Args:
        table: Its columns.
        path: The file, for messages.
        use: Requirement on the polygons, as a sentence for messages.

    Returns:
        Name of the column of geometry, and its (n,) shapes in longitude and latitude.

    Raises:
        DataError: There is no column of geometry, or it cannot be converted to longitudes and
            latitudes.
    """
    name = geometry_column(table.schema)
    outlines, why = (
        read_outlines(table[name], table.schema, name)
        if name
        else (None, "the file has no geometry column")
    )
    if outlines is None:
        raise DataError(
            f"cannot read polygons from {printable(str(path))!r}: {why}", use,
            "Write GeoParquet: geopandas.GeoDataFrame.to_parquet.",
        )  # fmt: skip
    return name, shapes_of(outlines)


def shapes_of(outlines: pa.Array) -> NDArray[np.object_]:
    """Return outlines as shapely geometries, (n,)."""
    import shapely

    return np.asarray(shapely.from_wkb(outlines.to_numpy(zero_copy_only=False)), dtype=object)


def to_outlines(shapes: ArrayLike) -> pa.Array:
    """Return shapely geometries in longitude and latitude, (n,), as WKB."""
    import pyarrow as pa
    import shapely

    array = np.asarray(shapes, dtype=object)
    return pa.array(shapely.to_wkb(cut(shapely.force_2d(array))), pa.binary())


def have_areas(outlines: pa.Array) -> bool:
    """Return whether all outlines are polygons or multipolygons, from the headers of the WKB."""
    import pyarrow.compute as pc

    heads = pc.call_function("binary_slice", [outlines], pc.SliceOptions(0, 5))
    kinds = pc.call_function("unique", [heads]).to_pylist()
    codes = {int.from_bytes(head[1:], "little" if head[0] else "big") for head in kinds if head}
    return all(code % _DIMENSIONS in _AREAS for code in codes)


def _geo(schema: pa.Schema) -> dict[str, Any]:
    """Return the metadata of GeoParquet, or an empty dictionary."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _extension(field: pa.Field) -> tuple[str, dict[str, Any]]:
    """Return the name and the metadata of an extension type of Arrow, known here or not."""
    stored = field.metadata or {}
    name, text = stored.get(_EXTENSION + b"name", b""), stored.get(_EXTENSION + b"metadata", b"")
    if hasattr(field.type, "extension_name"):
        serialise = getattr(field.type, "__arrow_ext_serialize__", bytes)  # not of built-in types
        name, text = field.type.extension_name.encode(), serialise()
    try:
        metadata = json.loads(text or b"{}")
    except ValueError:
        metadata = {}
    return name.decode(), metadata if isinstance(metadata, dict) else {}


def _shapes(block: pa.Array, name: str) -> NDArray[np.object_]:
    import pyarrow.types as kinds
    import shapely

    if hasattr(block, "storage"):  # an extension type
        block = block.storage
    kind = block.type
    binary = kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_binary_view(kind)
    text = kinds.is_string(kind) or kinds.is_large_string(kind)
    try:
        if binary:
            shapes = shapely.from_wkb(block.to_numpy(zero_copy_only=False))
        elif text:
            shapes = shapely.from_wkt(block.to_numpy(zero_copy_only=False))
        else:
            shapes = [_nested(value) for value in block.to_pylist()]
    except (shapely.errors.ShapelyError, TypeError, ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"the column {name!r} of type {kind} is not a geometry: {error}",
            "A geometry is WKB, WKT, or nested coordinates of points, polygons or multipolygons.",
            "Convert it to GeoParquet: geopandas, GDAL (ogr2ogr OUT.parquet IN).",
        ) from error
    return np.fromiter(shapes, dtype=object, count=len(block))


def _nested(value: Any) -> Any:
    """Return a shape from coordinates: a point, a list of rings, or a list of polygons."""
    import shapely

    if _is_point(value):
        return shapely.Point(_point(value))
    if _is_point(value[0][0]):
        return shapely.Polygon(*_rings(value))
    return shapely.MultiPolygon([_rings(part) for part in value])


def _rings(rings: list[Any]) -> tuple[list[tuple[float, float]], list[list[tuple[float, float]]]]:
    shell, *holes = ([_point(value) for value in ring] for ring in rings)
    return shell, holes


def _is_point(value: Any) -> bool:
    return isinstance(value, dict) or not isinstance(value[0], list | dict)


def _point(value: Any) -> tuple[float, float]:
    x, y = (value["x"], value["y"]) if isinstance(value, dict) else value[:2]
    return float(x), float(y)
