"""Outlines of tiles on the ground."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from pyproj import Transformer

    from foveate.grid import Tiles


def footprints(tiles: Tiles, geobox: GeoBox, crs: str | None = "EPSG:4326") -> NDArray[np.object_]:
    """Return the outlines of tiles of one georeferenced scene.

    Args:
        tiles: n tiles of one scene.
        geobox: Georeference of that scene.
        crs: CRS of the result: "EPSG:4326" gives longitude and latitude in degrees, None the
            scene's own coordinates. Corners are transformed, pixels are not warped.

    Returns:
        (n,) shapely polygons.

    Raises:
        ParameterError: The georeference has no CRS and another one is asked for.
    """
    import shapely

    y, x = tiles.y.astype(float), tiles.x.astype(float)
    columns = np.stack([x, x + tiles.w, x + tiles.w, x, x], axis=1)
    rows = np.stack([y, y, y + tiles.h, y + tiles.h, y], axis=1)
    a = geobox.affine
    east = a.a * columns + a.b * rows + a.c
    north = a.d * columns + a.e * rows + a.f
    if crs is not None:
        if geobox.crs is None:
            raise ParameterError(
                "a georeference without a coordinate reference system",
                f"Outlines in {crs} need one.",
                "Use crs=None for the scene's own coordinates.",
            )
        east, north = _transformer(geobox.crs.to_wkt(), crs).transform(east, north)
    return np.asarray(shapely.polygons(np.stack([east, north], axis=2)), dtype=object)


@lru_cache(maxsize=32)  # making one takes as long as using it on thousands of tiles
def _transformer(source: str, target: str) -> Transformer:
    from pyproj import Transformer

    return Transformer.from_crs(source, target, always_xy=True)
