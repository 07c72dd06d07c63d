"""GeoJSON (RFC 7946): longitude and latitude in WGS84, exterior rings counter-clockwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.export.table import GEOMETRY, Target
from foveate.files import write_geojson

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from foveate.export.table import Export


def write(export: Export) -> None:
    """Write the rows; see `write_table`."""
    write_table(export.path, export.table)


def write_table(path: Path, table: pa.Table) -> None:
    """Write one FeatureCollection; see `write_geojson`."""
    write_geojson(path, table, GEOMETRY)


TARGET = Target((".geojson", ".json"), "needed", write)
