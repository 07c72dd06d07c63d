"""The CRS of GeoJSON: the member ``crs``, which the format had until 2016 and GDAL still writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError
from foveate.raster.place import WGS84, transformer

if TYPE_CHECKING:
    from pathlib import Path

    from pyproj import Transformer

# Suffixes of vector formats that are not read, but that ogr2ogr converts.
VECTORS = (".gpkg", ".shp", ".fgb", ".gml", ".kml", ".kmz", ".parquet", ".geoparquet", ".zip")


def stated_crs(crs: Any) -> str | None:
    """Return the CRS that a member ``crs`` states, as input of PROJ; None without one.

    Args:
        crs: Value of the member: a name, or an object with a name or an EPSG code.
    """
    if crs is None:
        return None
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = (
        (properties.get("name") or properties.get("code")) if isinstance(properties, dict) else None
    )
    name = crs if isinstance(crs, str) else name
    return f"EPSG:{name}" if isinstance(name, int) else str(name)


def to_lonlat(crs: Any, path: str | Path) -> Transformer | None:
    """Return the transformer from the CRS of a file to WGS84; None for a file without a CRS.

    Args:
        crs: Value of the member ``crs``, or None.
        path: The file, for messages.

    Raises:
        DataError: The CRS is unknown, or cannot be transformed to WGS84.
    """
    from pyproj.exceptions import CRSError

    name = stated_crs(crs)
    if name is None:
        return None
    try:
        found = transformer(name)
    except CRSError:
        found = None
    if found is None:
        raise DataError(
            f"{str(path)!r} is in the CRS {json.dumps(crs if name == 'None' else name)}",
            f"The member 'crs' must be a CRS that can be transformed to {WGS84}.",
            "Convert the file with software that supports the CRS: "
            f"ogr2ogr -t_srs {WGS84} OUT.geojson {path}",
        )
    return found
