"""GeoParquet 1.1: the same table with types, geometry as WKB, in the order of a Hilbert curve.

Coordinates are longitude and latitude; for runs without them (local coordinates, another planet),
those of the scenes, with their CRS.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from foveate.export.table import GEOMETRY, NATIVE, Target
from foveate.files import write_parquet

if TYPE_CHECKING:
    from foveate.export.table import Export


def write(export: Export) -> None:
    """Write GeoParquet; no CRS in its metadata means OGC:CRS84.

    Raises:
        StorageError: The file cannot be written.
    """
    table = export.table
    crs = (table.schema.metadata or {}).get(NATIVE)
    geo = {GEOMETRY: None if crs is None else json.loads(crs)}
    write_parquet(export.path, table.replace_schema_metadata(None), geo=geo, spatial=True)


TARGET = Target((".parquet", ".geoparquet"), "native", write)
