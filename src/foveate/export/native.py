"""Outlines in the native CRS of scenes, for runs without longitude and latitude."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.files import read_parquet
from foveate.grid import Tiles
from foveate.pool.footprints import footprints
from foveate.raster.place import same_crs

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray


def native_outlines(path: Path, table: pa.Table) -> tuple[NDArray[np.object_], str] | None:
    """Return outlines of windows in the common CRS of their scenes.

    Args:
        path: Run directory, with the table of its scenes.
        table: Windows: scene, y, x, h, w; n rows.

    Returns:
        (n,) shapely polygons and the CRS as WKT; None if a scene has no CRS or geotransform, or
        there are several CRS.
    """
    from affine import Affine
    from odc.geo.geobox import GeoBox

    file = path / "scenes.parquet"
    scenes = {row["scene"]: row for row in read_parquet(file).to_pylist()} if file.exists() else {}
    names = np.asarray(table["scene"].to_pylist(), np.str_)
    used = [scenes.get(name, {}) for name in dict.fromkeys(names.tolist())]
    systems = [scene.get("crs") for scene in used if scene.get("affine")]
    if not used or len(systems) < len(used) or not all(systems):
        return None
    crs = str(systems[0])
    if not all(same_crs(crs, str(other)) for other in systems):
        return None
    windows = np.stack([table[name].to_numpy() for name in ("y", "x", "h", "w")], axis=1)
    found = np.empty(len(table), dtype=object)
    for scene in used:
        rows = np.flatnonzero(names == scene["scene"])
        shape = scene["height"], scene["width"]
        box = GeoBox(shape, Affine(*scene["affine"]), scene["crs"])
        found[rows] = footprints(Tiles.of("", windows[rows]), box, None)
    return found, crs
