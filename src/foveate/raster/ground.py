"""Compare the extents of rasters, and compute the size of pixels in metres."""

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

_NOMINAL = 0.01  # maximum relative scale error of a projection at which its units are used
_ASPECT = 0.02  # tolerance of aspect ratios without a georeference
_OFF = 1.5  # tolerance of corners, in pixels of the coarser raster
_ASKEW = 1e-3  # tolerance of rotation and shear, in pixels per pixel
_LONG = 40  # maximum number of characters of a CRS in a command


def onto(grid: GeoBox, other: GeoBox) -> NDArray[np.float64]:
    """Return the (3, 3) matrix from ``x, y, 1`` in pixels of one grid to pixels of another.

    Both grids must have the same CRS; longitudes that differ by full turns are equal.
    """
    back, there = (np.array(tuple(a)).reshape(3, 3) for a in (~other.affine, grid.affine))
    if grid.crs is not None and in_degrees(str(grid.crs)):
        middles = [box.affine @ (box.shape[1] / 2, box.shape[0] / 2) for box in (grid, other)]
        length = turn(str(grid.crs))
        there[0] += length * np.rint((middles[1][0] - middles[0][0]) / length) * there[2]
    return back @ there


def same_extent(first: SourceInfo, other: SourceInfo) -> bool:
    """Return whether two rasters have the same CRS and the same extent.

    Corners may differ by 1.5 pixels of the coarser raster. True if one has no georeference; a
    raster without a CRS is assumed to have that of the other.
    """
    return not other_ground(first, other)


def other_ground(first: SourceInfo, other: SourceInfo) -> str:
    """Describe how the extent of a raster differs from the first, as the end of "it ...".

    Returns:
        "" if the extents are equal; see `same_extent`.
    """
    a, b = first.geobox, other.geobox
    if a is None or b is None:
        return ""
    if not one_crs(a, b):
        return f"is in {_name(b)}, not in {_name(a)}"
    matrix = onto(a, b)
    # Corners are compared, because extents alone would not detect flips and rotations.
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])  # x, y
    transformed = np.c_[corners * first.shape[::-1], np.ones(4)] @ matrix.T
    off = np.abs(transformed[:, :2] - corners * other.shape[::-1]).max()
    if off <= _OFF * max(1.0, matrix[0, 0], matrix[1, 1]):
        return ""
    return _flipped(matrix) or f"covers {_extent(b)}, not {_extent(a)}"


def common_ground(first: SourceInfo, other: SourceInfo) -> bool | None:
    """Return whether two rasters on the Earth overlap, in any CRS; None if one is not on it."""
    import shapely

    if first.geobox is None or other.geobox is None:
        return None
    if not first.place.kind == other.place.kind == "earth":
        return None
    one, two = _lattice(first.geobox), _lattice(other.geobox)
    two[:, 0] += 360 * np.rint((one[:, 0].mean() - two[:, 0].mean()) / 360)
    hulls = [shapely.MultiPoint(points).convex_hull for points in (one, two)]
    return bool(hulls[0].intersection(hulls[1]).area > 0)


def _lattice(box: GeoBox) -> NDArray[np.float64]:
    """Return the (25, 2) longitudes and latitudes of a lattice of points over a raster."""
    x, y = np.meshgrid(*(np.linspace(0, n, 5) for n in box.shape[::-1]))
    return np.stack(to_earth(box, x, y), axis=-1).reshape(-1, 2)


def one_crs(first: GeoBox, other: GeoBox) -> bool:
    """Return whether two georeferences have the same CRS; True if one has no CRS."""
    both = first.crs is not None and other.crs is not None
    return not both or same_crs(str(first.crs), str(other.crs))


def warp(grid: SourceInfo, *, resampling: str, file: str = "IN", size: bool = True) -> str:
    """Return the command that warps a raster to the extent of another, as a hint.

    Args:
        grid: The raster with the target extent.
        resampling: Method of gdalwarp: "near" for classes, "bilinear" for measurements.
        file: The raster to warp.
        size: Whether to set the number of pixels, too.
    """
    box = grid.geobox
    assert box is not None  # noqa: S101  (extents were compared)
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
        return f"Warp both to one north-up grid: {command}"
    return f"Warp it first: {command}"


def check_ground(name: str, fine: SourceInfo, coarse: SourceInfo) -> None:
    """Check that an overview covers the ground of its scene.

    If both are georeferenced, CRS and extent are compared (to 1.5 pixels of the overview);
    otherwise their aspect ratios (to 2 %).

    Raises:
        DataError: They cover different ground; the message contains `name`, that of the scene.
    """
    if fine.geobox is not None and coarse.geobox is not None:
        if other := other_ground(fine, coarse):
            raise DataError(
                f"the overview of {name!r} and the scene cover different ground: the overview "
                f"{other}",
                "Both must have the same CRS and extent (to 1.5 pixels of the overview).",
                warp(fine, resampling="average", size=False),
            )
        return
    (h, w), (oh, ow) = fine.shape, coarse.shape
    if abs(math.log(h * ow / (w * oh))) > math.log1p(_ASPECT):
        raise DataError(
            f"the overview of {name!r} has {oh} x {ow} pixels, the scene {h} x {w}",
            "Unless both are georeferenced, they must have the same aspect ratio (to 2 %).",
            "Crop the overview to the extent of the scene.",
        )


def metres_per_pixel(info: SourceInfo) -> float | None:
    """Return the ground sampling distance, the square root of the area of the central pixel.

    It is computed in units of the projection if these are within 1 % of distances on the ellipsoid
    (such as UTM), otherwise on the ellipsoid (degrees, Web Mercator).

    Returns:
        Metres; None for a raster that is not on the Earth, see `Place`.
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
    """Return the height and width of the central pixel in metres; see `metres_per_pixel`."""
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
    """Return whether rows run from south to north, without rotation or mirroring."""
    if info.geobox is None:
        return False
    a = info.geobox.affine
    return a.e > 0 and a.a > 0 and not (a.b or a.d)


def _pixel(info: SourceInfo) -> tuple[float, float] | None:
    """Return height and width of the central pixel on the ellipsoid; None if not on the Earth."""
    box = info.geobox
    if info.place.kind != "earth" or box is None:
        return None
    from pyproj import Geod

    y, x = info.shape[0] / 2, info.shape[1] / 2
    lon, lat = to_earth(box, [x, x + 1, x], [y, y, y + 1])
    geod = Geod(ellps="WGS84")
    across = geod.inv(lon[0], lat[0], lon[1], lat[1])[2]
    down = geod.inv(lon[0], lat[0], lon[2], lat[2])[2]
    valid = math.isfinite(across * down) and across * down > 0
    return (down, across) if valid else None


def _map_unit(box: GeoBox) -> float | None:
    """Return the length of a unit of a projected CRS in metres; None for other CRSs."""
    crs = horizontal(str(box.crs))
    return crs.axis_info[0].unit_conversion_factor if crs.is_projected else None


def _flipped(matrix: NDArray[np.float64]) -> str:
    """Describe a rotation or flip between two grids, or return ""."""
    straight, askew = np.diag(matrix)[:2], np.array([matrix[0, 1], matrix[1, 0]])
    if np.abs(askew).max() > _ASKEW * np.abs(straight).max():
        return "is rotated"
    if straight[1] < 0:
        return "is upside down: the rows of one of them run from south to north"
    if straight[0] < 0:
        return "is mirrored: the columns of one of them run from east to west"
    return ""


def _name(box: GeoBox) -> str:
    if box.crs is None:
        return "no CRS"
    text = str(box.crs)
    return text if len(text) <= _LONG else horizontal(text).name


def _extent(box: GeoBox) -> str:
    return f"{_name(box)} {tuple(round(v, 6) for v in box.boundingbox.bbox)}"
