"""Place of a raster: on the Earth, in a plane with other coordinates, or none.

The place determines whether outlines, areas, pixel sizes in metres, GeoJSON and GeoParquet are
available. A raster is on the *earth* if every part of it has a longitude and a latitude; in a
*plane* if it has other coordinates (no CRS, an engineering CRS, another planet, a full disk image
with corners beyond the globe); otherwise its place is *none*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import rasterio
    from affine import Affine
    from numpy.typing import ArrayLike, NDArray
    from odc.geo.geobox import GeoBox
    from pyproj import CRS, Transformer

    from foveate.grid import Window

Kind = Literal["earth", "plane", "none"]

WGS84 = "EPSG:4326"
_EDIT = "Georeference it: gdal_edit.py -a_srs EPSG:... -a_ullr ULX ULY LRX LRY FILE"
_POINTS = "is georeferenced by ground control points only"
_RATIONAL = "is georeferenced by rational polynomial coefficients (RPC) only"
_HINTS = {
    _POINTS: "Warp it to a grid: gdalwarp IN OUT",
    _RATIONAL: "Warp it to a grid: gdalwarp -rpc IN OUT",
}
_LATTICE = 5  # points per side at which coordinates are checked
_FLAT = 1e-12  # relative area of a pixel, and relative size in coordinates, that counts as zero
_TURNS = 540.0  # maximum longitude in degrees: 360, and half a turn for rasters across it
_ASTRAY = 1e-3  # maximum error of the transform to the globe and back, relative to the extent
_REAL_POLE = 1e-3  # maximum distance between poles on several meridians, metres or degrees


@dataclass(frozen=True)
class Place:
    """Place of a raster.

    Attributes:
        kind: "earth", "plane" or "none".
        why: Reason why it is not "earth", as the end of a sentence "it ..."; "" if the file has no
            georeference.
        hint: What to type in this case, or "".
        step: Maximum difference of longitudes between neighbours of a lattice of 5 x 5 points over
            the raster, in degrees: if it is large, edges bend.
    """

    kind: Kind
    why: str = ""
    hint: str = ""
    step: float = 0.0


def read_geobox(dataset: rasterio.DatasetReader) -> tuple[GeoBox | None, str]:
    """Return the georeference of an open file, and the reason why it is not used, or ""."""
    from odc.geo.geobox import GeoBox
    from pyproj.exceptions import CRSError

    affine = dataset.transform
    if affine.is_identity:
        return None, _instead(dataset)
    if broken := _broken(affine):
        return None, broken
    crs, unused = None, ""  # a world file has none
    if dataset.crs:
        crs = _stated(dataset.crs.to_wkt())
        try:
            horizontal(crs)
        except CRSError:
            crs, unused = None, "has a CRS that PROJ cannot parse"
    return GeoBox(dataset.shape, affine, crs), unused


def place_of(geobox: GeoBox | None, unused: str = "") -> Place:
    """Return the place of a raster.

    Args:
        geobox: Its georeference, or None.
        unused: Reason why the georeference of the file is not used; see `read_geobox`.
    """
    if geobox is None:
        return Place("none", unused, _HINTS.get(unused, _EDIT) if unused else "")
    if broken := _broken(geobox.affine):
        return Place("none", broken, _EDIT)
    if geobox.crs is None:
        why = unused or "has no coordinate reference system"
        return Place("plane", why, "Assign it: gdal_edit.py -a_srs EPSG:... FILE")
    name, crs = str(geobox.crs), horizontal(str(geobox.crs))
    if crs.is_engineering:
        return Place("plane", f"is in local coordinates ({crs.name})")
    if crs.is_geocentric or crs.is_vertical or transformer(name) is None:
        why = "is in coordinates that cannot be converted to longitudes and latitudes of the Earth"
        return Place("plane", f"{why} ({crs.name})")
    return _on_earth(geobox, crs)


def to_earth(
    geobox: GeoBox, x: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitudes and latitudes of pixel coordinates, degrees on WGS84.

    Longitudes may exceed 180 if those of the raster do. Points outside the valid area of the
    projection are infinite.

    Args:
        geobox: Georeference with a CRS of the Earth.
        x: (...) columns, from the left edge.
        y: (...) rows, from the upper edge.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    a = geobox.affine
    east, north = a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f
    crs, to_wgs84 = horizontal(str(geobox.crs)), transformer(str(geobox.crs))
    assert to_wgs84 is not None  # noqa: S101  (the raster is on the Earth)
    if _degrees(crs):
        # In grids of global models, the centre of the first row is at the pole.
        top = 90 / _unit(crs)
        margin = (abs(a.d) + abs(a.e)) * (1 + 1e-6)
        north = np.where(np.abs(north) <= top + margin, np.clip(north, -top, top), np.inf)
        turns = np.rint(east * _unit(crs) / 360)
        turns = np.where(np.abs(east) * _unit(crs) > 180, turns, 0)
        lon, lat = to_wgs84.transform(east - turns * 360 / _unit(crs), north)
        return lon + 360 * turns, lat
    return to_wgs84.transform(east, north)


def poles(geobox: GeoBox) -> list[tuple[float, float, float]]:
    """Return x, y in pixels and the latitude of each pole that is a single point of the grid.

    In longitudes and latitudes, and in cylindrical projections, a pole is a line and is not
    returned.
    """
    crs, back = horizontal(str(geobox.crs)), transformer(WGS84, str(geobox.crs))
    if _degrees(crs) or back is None:
        return []
    found = []
    for latitude in (90.0, -90.0):
        lon = np.array([-120.0, 0.0, 75.0])
        east, north = back.transform(lon, np.full(3, latitude))
        if np.isfinite(east).all() and max(np.ptp(east), np.ptp(north)) < _REAL_POLE:
            x, y = ~geobox.affine @ (float(east[0]), float(north[0]))
            found.append((x, y, latitude))
    return found


@lru_cache(maxsize=64)  # creating a transformer takes as long as transforming thousands of tiles
def transformer(source: str, target: str = WGS84) -> Transformer | None:
    """Return the transformer of x, y from one CRS to another; None if there is none."""
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    try:
        return Transformer.from_crs(horizontal(source), horizontal(target), always_xy=True)
    except ProjError:
        return None


@lru_cache(maxsize=64)
def horizontal(crs: str) -> CRS:
    """Return the horizontal part of a CRS, without heights; a bound transformation is kept."""
    from pyproj import CRS

    found = CRS.from_user_input(crs)
    while found.is_compound:
        found = found.sub_crs_list[0]
    if len(found.axis_info) == 3:
        found = found.to_2d()
    return found


@lru_cache(maxsize=64)
def same_crs(first: str, other: str) -> bool:
    """Return whether two coordinate reference systems are equal, in any representation.

    Heights, the order of axes and names are ignored. If PROJ does not recognise two descriptions as
    equal, they are compared by their ellipsoids and by the coordinates of sample points.
    """
    if first == other:
        return True
    a, b = (_unbound(horizontal(crs)) for crs in (first, other))
    if a.is_engineering and b.is_engineering:  # their names are arbitrary
        units = [[axis.unit_conversion_factor for axis in crs.axis_info] for crs in (a, b)]
        return units[0] == units[1]
    return a.equals(b, ignore_axis_order=True) or (
        a.is_geographic == b.is_geographic and _same_size(a, b) and _same_numbers(first, other)
    )


def in_degrees(crs: str) -> bool:
    """Return whether coordinates are longitudes and latitudes."""
    return _degrees(horizontal(crs))


def turn(crs: str) -> float:
    """Return a full turn, 360 degrees, in the unit of a geographic CRS."""
    return 360 / _unit(horizontal(crs))


def _on_earth(geobox: GeoBox, crs: CRS) -> Place:
    """Return the place of a raster in a CRS of the Earth: "earth" if all of it is on the Earth."""
    height, width = geobox.shape
    x, y = np.meshgrid(np.linspace(0, width, _LATTICE), np.linspace(0, height, _LATTICE))
    lon, lat = to_earth(geobox, x, y)
    a = geobox.affine
    east, north = a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f
    if _degrees(crs):
        unit = _unit(crs)
        if not (np.isfinite(lat).all() and np.abs(lon).max() <= _TURNS):
            return Place(
                "plane",
                f"has longitudes from {east.min() * unit:,.6g} to {east.max() * unit:,.6g} and "
                f"latitudes from {north.min() * unit:,.6g} to {north.max() * unit:,.6g} degrees",
                "Swap x and y, or assign the CRS of these coordinates: "
                "gdal_edit.py -a_srs EPSG:... FILE",
            )
        return Place("earth", step=float(np.abs(np.diff(lon, axis=1)).max()))
    out = Place(
        "plane",
        f"extends beyond the valid area of its projection ({crs.name})",
        "Warp it, or crop it to the valid area: gdalwarp -t_srs EPSG:4326 IN OUT",
    )
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return out
    back = transformer(WGS84, str(geobox.crs))
    if back is not None:
        # Beyond the edge of a map of the whole globe, PROJ continues at the opposite edge.
        off_x, off_y = (inverse - original for inverse, original in zip(
            back.transform(lon, lat), (east, north), strict=True))  # fmt: skip
        min_limit = _ASTRAY if crs.is_geographic else 1.0  # degrees, or units such as metres
        limit = max(min_limit, _ASTRAY * max(np.ptp(east), np.ptp(north)))
        off_x -= _turned(back, off_x, limit)
        if not max(np.abs(off_x).max(), np.abs(off_y).max()) <= limit:
            return out
    steps = [np.diff(lon, axis=axis) for axis in (0, 1)]
    return Place("earth", step=max(float(np.abs(_shorter(step)).max()) for step in steps))


def _turned(back: Transformer, off: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Return the full turns in offsets along x, for maps on which a turn has a constant length."""
    if np.abs(off).max() <= limit:
        return np.zeros_like(off)
    x, _ = back.transform([-180.0, 180.0, -180.0, 180.0], [0.0, 0.0, 60.0, 60.0])
    length = x[1] - x[0]
    if not (math.isfinite(length) and length > limit and abs(x[3] - x[2] - length) < 1):
        return np.zeros_like(off)
    return np.rint(off / length) * length


@lru_cache(maxsize=64)
def _stated(wkt: str) -> str:
    """Return the code of a CRS if it is an exact match, otherwise its WKT.

    The nearest code could replace an unknown datum, or a datum with a custom shift.
    """
    import rasterio

    code = rasterio.CRS.from_wkt(wkt).to_authority(confidence_threshold=100)
    return wkt if code is None else ":".join(code)


def _instead(dataset: rasterio.DatasetReader) -> str:
    """Describe other georeferencing of a file without a geotransform, or return ""."""
    if dataset.gcps[0]:
        return _POINTS
    if dataset.rpcs is not None:
        return _RATIONAL
    return "has a CRS, but no geotransform" if dataset.crs else ""


def _broken(affine: Affine) -> str:
    """Describe why a geotransform is invalid, or return ""."""
    a, b, c, d, e, f = (float(v) for v in affine[:6])
    if not all(map(math.isfinite, (a, b, c, d, e, f))):
        return "has a geotransform with values that are not finite"
    if abs(a * e - b * d) <= _FLAT * (a * a + b * b + d * d + e * e):
        return "has a geotransform with pixels of zero area"
    if max(map(abs, (a, b, d, e))) <= _FLAT * max(abs(c), abs(f)):
        return "has a geotransform with pixels too small for the precision of its coordinates"
    return ""


def _shorter(step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wrap differences of longitudes to -180 to 180 degrees."""
    return step - 360 * np.rint(step / 360)


def _degrees(crs: CRS) -> bool:
    return crs.is_geographic and not crs.is_derived


def _same_size(a: CRS, b: CRS) -> bool:
    ours, theirs = a.ellipsoid, b.ellipsoid
    if ours is None or theirs is None:
        return False
    sizes = [(e.semi_major_metre, e.semi_minor_metre) for e in (ours, theirs)]
    return np.allclose(*sizes, rtol=0, atol=1e-4)


def _same_numbers(first: str, other: str) -> bool:
    """Return whether sample points have the same coordinates in both CRSs."""
    to_other, globe = transformer(first, other), transformer(WGS84, first)
    if to_other is None or globe is None:
        return False
    area = horizontal(first).area_of_use or horizontal(other).area_of_use
    west, south, east, north = area.bounds if area is not None else (-170, -80, 170, 80)
    east += 360 if east < west else 0
    lon, lat = np.meshgrid(np.linspace(west, east, 9)[1:-1], np.linspace(south, north, 9)[1:-1])
    x, y = globe.transform(lon, lat)
    u, v = to_other.transform(x, y)
    finite = np.isfinite(x) & np.isfinite(y) & np.isfinite(u) & np.isfinite(v)
    limit = 1e-8 if in_degrees(first) else 1e-3
    return bool(finite.any() and np.hypot(u - x, v - y)[finite].max() < limit)


def _unit(crs: CRS) -> float:
    """Return the degrees per unit of a geographic CRS."""
    return math.degrees(crs.axis_info[0].unit_conversion_factor)


def _unbound(crs: CRS) -> CRS:
    return crs.source_crs if crs.is_bound and crs.source_crs is not None else crs


def resize_geobox(geobox: GeoBox | None, shape: tuple[int, ...]) -> GeoBox | None:
    """Return the georeference of the same extent with another number of pixels.

    Args:
        geobox: Georeference of a raster, or None.
        shape: ``(height, width)`` in pixels.
    """
    if geobox is None:
        return None
    from affine import Affine
    from odc.geo.geobox import GeoBox

    height, width = shape
    scale = Affine.scale(geobox.shape[1] / width, geobox.shape[0] / height)
    return GeoBox((height, width), geobox.affine @ scale, geobox.crs)


def crop_geobox(geobox: GeoBox | None, window: Window) -> GeoBox | None:
    """Return the georeference of a window of a raster."""
    if geobox is None:
        return None
    from affine import Affine
    from odc.geo.geobox import GeoBox

    corner = geobox.affine @ Affine.translation(window.x, window.y)
    return GeoBox((window.h, window.w), corner, geobox.crs)
