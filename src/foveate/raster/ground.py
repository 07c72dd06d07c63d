"""Where a raster lies on the ground: whether two cover the same, and the metres of a pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.raster.base import SourceInfo

_NOMINAL = 0.01  # a map's scale that is this true is taken as stated
_ASPECT = 0.02  # of two pictures without a georeference


def onto(grid: GeoBox, other: GeoBox) -> NDArray[np.float64]:
    """(3, 3) matrix that takes ``x, y, 1`` in pixels of one grid to pixels of another."""
    back, there = (np.array(tuple(a)).reshape(3, 3) for a in (~other.affine, grid.affine))
    return back @ there


def same_extent(first: SourceInfo, other: SourceInfo) -> bool:
    """Say whether two georeferenced rasters have one CRS and one extent.

    To 1.5 pixels, those of the coarser one. True where one has no georeference; a raster without
    a CRS is taken to have that of the other.
    """
    a, b = first.geobox, other.geobox
    if a is None or b is None:
        return True
    there = onto(a, b)
    # Corner upon corner: extents alone would not see a raster that is flipped or rotated.
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])  # x, y
    seen = np.c_[corners * first.shape[::-1], np.ones(4)] @ there.T
    off = np.abs(seen[:, :2] - corners * other.shape[::-1]).max()
    known = a.crs is not None and b.crs is not None
    return not (known and a.crs != b.crs) and off <= 1.5 * max(1.0, there[0, 0], there[1, 1])


def check_ground(name: str, fine: SourceInfo, coarse: SourceInfo) -> None:
    """Check that an overview covers the ground of its scene.

    By CRS and extent (to 1.5 pixels of the overview) where both are georeferenced, else by the
    ratio of their sides (to 2 %).

    Raises:
        DataError: They do not; `name` says of which scene.
    """
    a, b = fine.geobox, coarse.geobox
    if a is not None and b is not None:
        if not same_extent(fine, coarse):
            raise DataError(
                f"the overview of {name!r} covers other ground: {_extent(b)}, the scene covers "
                f"{_extent(a)}",
                "Both have one CRS and one extent (to 1.5 pixels of the overview).",
                "Warp the overview first: gdalwarp -t_srs CRS -te XMIN YMIN XMAX YMAX in out.",
            )
        return
    (h, w), (oh, ow) = fine.shape, coarse.shape
    if abs(math.log(h * ow / (w * oh))) > math.log1p(_ASPECT):
        raise DataError(
            f"the overview of {name!r} has {oh} x {ow} pixels, the scene {h} x {w}",
            "Without a georeference of both, their sides have one ratio (to 2 %).",
            "Cut the overview to the ground of the scene.",
        )


def metres_per_pixel(info: SourceInfo) -> float | None:
    """Return the ground sampling distance, the root of the area of the middle pixel.

    As the map states it where that is within 1 % of the distance on the ellipsoid (UTM and the
    like), else on the ellipsoid (degrees, Web Mercator).

    Returns:
        Metres; None without a georeference or a CRS.
    """
    box = info.geobox
    if box is None or box.crs is None:
        return None
    from pyproj import CRS, Geod, Transformer

    crs = CRS.from_wkt(box.crs.to_wkt())
    y, x = info.shape[0] / 2, info.shape[1] / 2
    points = [box.affine @ at for at in ((x, y), (x + 1, y), (x, y + 1))]
    there = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = there.transform([p[0] for p in points], [p[1] for p in points])
    geod = Geod(ellps="WGS84")
    across = geod.inv(lon[0], lat[0], lon[1], lat[1])[2]
    down = geod.inv(lon[0], lat[0], lon[2], lat[2])[2]
    real = math.sqrt(across * down)
    if crs.is_projected:
        a = box.affine
        stated = math.sqrt(abs(a.a * a.e - a.b * a.d)) * crs.axis_info[0].unit_conversion_factor
        if abs(stated - real) <= _NOMINAL * real:
            return round(stated, 9)
    return round(real, 9)


def _extent(box: GeoBox) -> str:
    return f"{box.crs} {tuple(round(v, 6) for v in box.boundingbox.bbox)}"
