"""GeoParquet 1.1: the same table with types, geometry as WKB in longitude and latitude."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.export.table import GEOMETRY, Target
from foveate.files import write_parquet

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa


def write(table: pa.Table, path: Path) -> None:
    """Write GeoParquet; no CRS in the metadata means OGC:CRS84.

    Raises:
        StorageError: `path` cannot be written.
    """
    write_parquet(path, table, geo={GEOMETRY: None})


TARGET = Target((".parquet", ".geoparquet"), "needed", write)
