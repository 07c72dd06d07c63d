"""Whether two rasters cover the same ground, and the metres of a pixel."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.raster.place import horizontal, in_degrees, same_crs, to_earth, turn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.raster.base import SourceInfo

_NOMINAL = 0.01  # a map's scale that is this true is taken as stated
_ASPECT = 0.02  # of two pictures without a georeference
_OFF = 1.5  # pixels of the coarser raster that corners may lie apart
_ASKEW = 1e-3  # pixels along one axis for each along the other
_LONG = 40  # characters of a CRS that is written out in a command


def onto(grid: GeoBox, other: GeoBox) -> NDArray[np.float64]:
    """(3, 3) matrix that takes ``x, y, 1`` in pixels of one grid to pixels of another.

    Both are in one CRS; longitudes that are whole turns apart are the same.
    """
    back, there = (np.array(tuple(a)).reshape(3, 3) for a in (~other.affine, grid.affine))
    if grid.crs is not None and in_degrees(str(grid.crs)):
        middles = [box.affine @ (box.shape[1] / 2, box.shape[0] / 2) for box in (grid, other)]
        length = turn(str(grid.crs))
        there[0] += length * np.rint((middles[1][0] - middles[0][0]) / length) * there[2]
    return back @ there


def same_extent(first: SourceInfo, other: SourceInfo) -> bool:
    """Say whether two georeferenced rasters have one CRS and one extent.

    To 1.5 pixels, those of the coarser one. True where one has no georeference; a raster without
    a CRS is taken to have that of the other.
    """
    return not other_ground(first, other)


def other_ground(first: SourceInfo, other: SourceInfo) -> str:
    """Say in how far a raster covers other ground than the first one, as the end of "it ...".

    Returns:
        "" where it does not; see `same_extent`.
    """
    a, b = first.geobox, other.geobox
    if a is None or b is None:
        return ""
    if not one_crs(a, b):
        return f"is in {_name(b)}, not in {_name(a)}"
    there = onto(a, b)
    # Corner upon corner: extents alone would not see a raster that is flipped or rotated.
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])  # x, y
    seen = np.c_[corners * first.shape[::-1], np.ones(4)] @ there.T
    off = np.abs(seen[:, :2] - corners * other.shape[::-1]).max()
    if off <= _OFF * max(1.0, there[0, 0], there[1, 1]):
        return ""
    return _flipped(there) or f"covers {_extent(b)}, not {_extent(a)}"


def one_crs(first: GeoBox, other: GeoBox) -> bool:
    """Say whether two georeferences are in one CRS; one without a CRS is taken to be."""
    known = first.crs is not None and other.crs is not None
    return not known or same_crs(str(first.crs), str(other.crs))


def warp(grid: SourceInfo, *, resampling: str, file: str = "IN", size: bool = True) -> str:
    """Return the command that brings a raster onto the ground of another.

    Args:
        grid: The raster whose ground is wanted.
        resampling: In the words of GDAL: "near" for classes, "bilinear" for measurements.
        file: The one that is to be brought there.
        size: Whether its number of pixels is wanted, too.
    """
    box = grid.geobox
    assert box is not None  # noqa: S101  (there is ground to compare)
    crs = "" if box.crs is None else shlex.quote(str(box.crs))
    if len(crs) > _LONG:
        crs = '"$(gdalsrsinfo -o wkt FIRST)"'
    left, bottom, right, top = (f"{v:.12g}" for v in box.boundingbox.bbox)
    line = f"-t_srs {crs} " if crs else ""
    line += f"-te {left} {bottom} {right} {top} "
    if size:
        line += f"-ts {grid.shape[1]} {grid.shape[0]} "
    command = f"gdalwarp {line}-r {resampling} {file} OUT.tif"
    a = box.affine
    if a.b or a.d or a.a < 0 or a.e > 0:
        return f"Warp both onto one grid with north up: {command}"
    return f"Warp it first: {command}"


def check_ground(name: str, fine: SourceInfo, coarse: SourceInfo) -> None:
    """Check that an overview covers the ground of its scene.

    By CRS and extent (to 1.5 pixels of the overview) where both are georeferenced, else by the
    ratio of their sides (to 2 %).

    Raises:
        DataError: They do not; `name` says of which scene.
    """
    if fine.geobox is not None and coarse.geobox is not None:
        if other := other_ground(fine, coarse):
            raise DataError(
                f"the overview of {name!r} covers other ground than the scene: it {other}",
                "Both have one CRS and one extent (to 1.5 pixels of the overview).",
                warp(fine, resampling="average", size=False),
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
        Metres; None for a raster that does not lie on the Earth, see `Place`.
    """
    box, real = info.geobox, _pixel(info)
    if real is None or box is None:
        return None
    mean, unit = math.sqrt(real[0] * real[1]), _map_unit(box)
    if unit is not None:
        a = box.affine
        stated = math.sqrt(abs(a.a * a.e - a.b * a.d)) * unit
        if abs(stated - mean) <= _NOMINAL * mean:
            return round(stated, 9)
    return round(mean, 9)


def pixel_size(info: SourceInfo) -> tuple[float, float] | None:
    """Return the height and width of the middle pixel in metres; see `metres_per_pixel`."""
    box, real = info.geobox, _pixel(info)
    if real is None or box is None:
        return None
    unit = _map_unit(box)
    if unit is not None:
        a = box.affine
        stated = (math.hypot(a.b, a.e) * unit, math.hypot(a.a, a.d) * unit)
        if all(abs(s - r) <= _NOMINAL * r for s, r in zip(stated, real, strict=True)):
            return (round(stated[0], 9), round(stated[1], 9))
    return (round(real[0], 9), round(real[1], 9))


def south_up(info: SourceInfo) -> bool:
    """Say whether the rows of a raster run from south to north, and nothing else is turned."""
    box = info.geobox
    return box is not None and box.affine.e > 0 and box.affine.a > 0 and not box.affine.b


def _pixel(info: SourceInfo) -> tuple[float, float] | None:
    """Return the height and width of the middle pixel on the ellipsoid; None if off the Earth."""
    box = info.geobox
    if info.place.kind != "earth" or box is None:
        return None
    from pyproj import Geod

    y, x = info.shape[0] / 2, info.shape[1] / 2
    lon, lat = to_earth(box, [x, x + 1, x], [y, y, y + 1])
    geod = Geod(ellps="WGS84")
    across = geod.inv(lon[0], lat[0], lon[1], lat[1])[2]
    down = geod.inv(lon[0], lat[0], lon[2], lat[2])[2]
    known = math.isfinite(across * down) and across * down > 0
    return (down, across) if known else None


def _map_unit(box: GeoBox) -> float | None:
    """Return the metres of a unit of a projected CRS; None for another."""
    crs = horizontal(str(box.crs))
    return crs.axis_info[0].unit_conversion_factor if crs.is_projected else None


def _flipped(there: NDArray[np.float64]) -> str:
    """Say how the axes of two grids differ, or ""."""
    straight, askew = np.diag(there)[:2], np.array([there[0, 1], there[1, 0]])
    if np.abs(askew).max() > _ASKEW * np.abs(straight).max():
        return "is turned against it"
    if straight[1] < 0:
        return "is upside down against it: the rows of one of them run from south to north"
    if straight[0] < 0:
        return "is mirrored against it: the columns of one of them run from east to west"
    return ""


def _name(box: GeoBox) -> str:
    if box.crs is None:
        return "no CRS"
    text = str(box.crs)
    return text if len(text) <= _LONG else horizontal(text).name


def _extent(box: GeoBox) -> str:
    return f"{_name(box)} {tuple(round(v, 6) for v in box.boundingbox.bbox)}"
