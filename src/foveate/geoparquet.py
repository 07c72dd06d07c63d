"""What makes a Parquet file GeoParquet 1.1: metadata, a box for each row, an order in space.

Readers find a place by the boxes (the covering of GeoParquet 1.1): groups of rows whose boxes lie
elsewhere are not read. That pays where neighbours stand side by side, along a Hilbert curve.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

ROW_GROUP = 65_536  # rows; with a vector of 1024 half floats about 128 MB
BOX = "bbox"
KEY = b"geo"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_BITS = 16  # of a coordinate on the curve
_SHAPES = {
    1: "Point",
    2: "LineString",
    3: "Polygon",
    4: "MultiPoint",
    5: "MultiLineString",
    6: "MultiPolygon",
    7: "GeometryCollection",
}  # codes of WKB


def with_geometry(table: pa.Table, geo: dict[str, Any]) -> pa.Table:
    """Return a table with the metadata of GeoParquet, and a column of boxes.

    Args:
        table: Its schema metadata is kept.
        geo: Column of WKB -> CRS as PROJJSON (None: OGC:CRS84); the boxes are of the first one.
    """
    primary = next(iter(geo))
    name = BOX if BOX not in table.column_names else f"{primary}_{BOX}"
    bounds = _bounds(table[primary])
    columns: dict[str, Any] = {}
    for column, crs in geo.items():
        columns[column] = {"encoding": "WKB", "geometry_types": _geometry_types(table[column])}
        columns[column] |= {} if crs is None else {"crs": crs}
    columns[primary]["covering"] = {"bbox": {corner: [name, corner] for corner in _CORNERS}}
    known = bounds[np.isfinite(bounds).all(axis=1)]
    if len(known):
        whole = [*known[:, :2].min(axis=0), *known[:, 2:].max(axis=0)]
        columns[primary]["bbox"] = [float(value) for value in whole]
    metadata = {"version": "1.1.0", "primary_column": primary, "columns": columns}
    kept = table.schema.metadata or {}
    table = table.append_column(name, _boxes(bounds))
    return table.replace_schema_metadata({**kept, KEY: json.dumps(metadata).encode()})


def without_boxes(table: pa.Table) -> pa.Table:
    """Return a table without the boxes that `with_geometry` has added: they are an index."""
    stated = (table.schema.metadata or {}).get(KEY)
    if stated is None:
        return table
    columns = json.loads(stated).get("columns", {}).values()
    boxes = {column.get("covering", {}).get("bbox", {}).get("xmin", [""])[0] for column in columns}
    return table.drop_columns([name for name in table.column_names if name in boxes])


def spatial_order(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the rows along a Hilbert curve through the middles of their shapes.

    Args:
        column: (n,) WKB.

    Returns:
        (n,) row numbers; rows without a shape come last, rows of one place keep their order.
    """
    bounds = _bounds(column)
    middle = (bounds[:, :2] + bounds[:, 2:]) / 2
    known = np.isfinite(middle).all(axis=1)
    place = np.full(len(middle), np.iinfo(np.int64).max)
    if known.any():
        low, high = middle[known].min(axis=0), middle[known].max(axis=0)
        span = np.where(high > low, high - low, 1.0)
        cells = ((middle[known] - low) / span * (2**_BITS - 1)).astype(np.int64)
        place[known] = hilbert(cells[:, 0], cells[:, 1], _BITS)
    return np.argsort(place, kind="stable")


def hilbert(x: NDArray[np.int64], y: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Return the place of cells on a Hilbert curve through a square of 2^bits x 2^bits cells.

    Args:
        x: (n,) columns, 0 to 2^bits - 1.
        y: (n,) rows.
        bits: Levels of the curve.

    Returns:
        (n,) places, each cell its own; places that follow each other are neighbours.
    """
    x, y = x.copy(), y.copy()
    found = np.zeros_like(x)
    for level in range(bits - 1, -1, -1):
        side = np.int64(1) << level
        right, upper = (x & side) > 0, (y & side) > 0
        found += side * side * ((3 * right) ^ upper)
        # The quarter is turned so that its curve begins where that of the one before has ended.
        flip = right & ~upper
        x[flip], y[flip] = side - 1 - (x[flip] & (side - 1)), side - 1 - (y[flip] & (side - 1))
        swap = ~upper
        x[swap], y[swap] = y[swap], x[swap]
        x &= side - 1
        y &= side - 1
    return found


def _bounds(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return (n, 4) boxes of shapes, NaN where there is none."""
    import shapely

    parts = [
        shapely.bounds(shapely.from_wkb(chunk.to_numpy(zero_copy_only=False)))
        for chunk in column.chunks
    ]
    return np.concatenate(parts) if parts else np.empty((0, 4))


def _boxes(bounds: NDArray[np.float64]) -> pa.Array:
    import pyarrow as pa

    fields = [pa.array(np.ascontiguousarray(side)) for side in bounds.T]
    return pa.StructArray.from_arrays(
        fields, list(_CORNERS), mask=pa.array(np.isnan(bounds).any(axis=1))
    )


def _geometry_types(column: pa.ChunkedArray) -> list[str]:
    """Return the kinds of shapes in a column of WKB.

    From the heads of the values: reading millions of shapes would take longer than writing them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_large_binary(column.type):
        column = column.cast(pa.binary())
    heads = pc.call_function("binary_slice", [column], pc.SliceOptions(0, 5)).unique().to_pylist()
    numbers = {int.from_bytes(head[1:], "little" if head[0] else "big") for head in heads if head}
    return [name for number, name in _SHAPES.items() if number in numbers]
