"""GeoJSON (RFC 7946): longitude and latitude in WGS84, exterior rings counter-clockwise."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from foveate.export.table import GEOMETRY, Target
from foveate.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

_DIGITS = 7  # about 1 cm; RFC 7946, section 11.2 asks not to pretend to more


def write(table: pa.Table, path: Path) -> None:
    """Write one FeatureCollection, a feature per line, in the order of the rows.

    Numbers that JSON does not have (NaN, infinities) become null.

    Raises:
        StorageError: `path` cannot be written.
    """
    import shapely
    from shapely.geometry.polygon import orient

    shapes = [orient(shape) for shape in shapely.from_wkb(table[GEOMETRY].to_pylist())]
    rows = table.drop_columns([GEOMETRY]).to_pylist()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for i, (row, shape) in enumerate(zip(rows, shapes, strict=True)):
            feature = {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": _rounded(shape)},
                "properties": {name: _plain(value) for name, value in row.items()},
            }
            file.write(",\n" if i else "\n")
            file.write(json.dumps(feature, ensure_ascii=False, allow_nan=False))
        file.write("\n]}\n")


def _rounded(shape: Any) -> list[list[list[float]]]:
    rings = [shape.exterior, *shape.interiors]
    return [[[round(x, _DIGITS), round(y, _DIGITS)] for x, y in ring.coords] for ring in rings]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


TARGET = Target((".geojson", ".json"), "needed", write)
