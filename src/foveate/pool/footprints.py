"""Outlines of tiles on the ground."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.pool.antimeridian import cut
from foveate.raster.place import WGS84, place_of, poles, to_earth

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.grid import Tiles
    from foveate.raster.place import Place

_STEP = 1.0  # maximum degrees of longitude between points along an edge
_POINTS = (1, 4, 16, 64)  # numbers of points per edge; the first sufficient number is used
_SMALL = 0.25  # share of the sides of a scene
_NEAR = 1e-3  # share of the side of a tile: a pole this close to an edge is on the edge


def footprints(
    tiles: Tiles, geobox: GeoBox, crs: str | None = WGS84, *, place: Place | None = None
) -> NDArray[np.object_]:
    """Return the outlines of tiles of one georeferenced scene.

    Args:
        tiles: n tiles of one scene.
        geobox: Georeference of that scene.
        crs: CRS of the result: "EPSG:4326" gives longitude and latitude in degrees, None the
            native coordinates of the scene. Corners are transformed, pixels are not warped. Points
            are inserted into edges longer than a degree of longitude, as near a pole.
        place: Place of the scene, if known.

    Returns:
        (n,) shapely polygons; in longitude and latitude, multipolygons for tiles across
        180 degrees, see `cut`. Outlines around a pole extend from -180 to 180 and to the pole.

    Raises:
        ParameterError: The scene is not on the Earth and `crs` is "EPSG:4326", or `crs` is
            another CRS.
        DataError: A tile extends beyond the valid area of the projection.
    """
    import shapely

    if crs is None:
        x, y = _along(tiles, 1)
        a = geobox.affine
        rings = np.stack([a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f], axis=2)
        return np.asarray(shapely.polygons(rings), dtype=object)
    place = place or place_of(geobox)
    if crs != WGS84 or place.kind != "earth":
        raise ParameterError(
            f"crs={crs!r}" if crs != WGS84 else f"the georeference {place.why}",
            f"Outlines are available in {WGS84} for scenes on the Earth, or in native coordinates.",
            "Use crs=None for the native coordinates of the scene.",
        )
    shapes = np.empty(len(tiles), dtype=object)
    bent = place.step > _STEP
    rest = np.flatnonzero(~_polar(tiles, geobox, shapes)) if bent else np.arange(len(tiles))
    for points in _POINTS if bent else (1,):
        own = tiles.take(rest)
        lon, lat = to_earth(geobox, *_along(own, points))
        lon = _continuous(lon)
        fine = np.ones(rest.size, bool)
        if bent and points < _POINTS[-1]:
            fine = np.abs(np.diff(lon, axis=1)).max(axis=1, initial=0) <= _STEP
            # Corners of a tile all around the globe may coincide.
            small = np.maximum(own.h / geobox.shape[0], own.w / geobox.shape[1]) <= _SMALL
            fine &= small | (points > 1)
        _check_finite(own, fine & ~(np.isfinite(lon) & np.isfinite(lat)).all(axis=1))
        shapes[rest[fine]] = cut(shapely.polygons(np.stack([lon[fine], lat[fine]], axis=2)))
        rest = rest[~fine]
    return shapes


def _check_finite(tiles: Tiles, bad: NDArray[np.bool_]) -> None:
    if bad.any():
        raise DataError(
            f"the tile {str(tiles.take(bad).tile_id[0])!r} extends beyond the valid area of the "
            "projection",
            "Each corner of a tile must have a longitude and a latitude.",
            "Crop the scene to the valid area; or use --edge drop or --edge clip, which create no "
            "tiles beyond the scene.",
        )


def _along(tiles: Tiles, points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of closed outlines in pixels, each (n, 4 * points + 1)."""
    left, top = tiles.x.astype(float), tiles.y.astype(float)
    right, bottom = left + tiles.w, top + tiles.h
    columns = np.stack([left, right, right, left, left], axis=1)
    rows = np.stack([top, top, bottom, bottom, top], axis=1)
    if points == 1:
        return columns, rows
    share = np.append(np.arange(4 * points) / points, 4.0)
    corner = np.minimum(share.astype(int), 3)
    fraction = share - corner
    x, y = (
        corners[:, corner] * (1 - fraction) + corners[:, corner + 1] * fraction
        for corners in (columns, rows)
    )
    return x, y


def _continuous(lon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unwrap longitudes of outlines, (n, m) degrees, so that edges take the shorter way."""
    with np.errstate(invalid="ignore"):
        turns = np.rint(np.diff(lon, axis=1) / 360)
        lon = lon.copy()
        lon[:, 1:] -= 360 * np.cumsum(turns, axis=1)
    return lon


def _polar(tiles: Tiles, geobox: GeoBox, shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Fill `shapes` with the outlines of tiles with a pole inside or on the edge.

    Returns:
        (n,) bool, whether a tile has a pole.
    """
    done = np.zeros(len(tiles), bool)
    for x, y, latitude in poles(geobox):
        near = _NEAR * np.maximum(tiles.h, tiles.w)
        inside = (tiles.x - near <= x) & (x <= tiles.x + tiles.w + near)
        inside &= (tiles.y - near <= y) & (y <= tiles.y + tiles.h + near)
        for i in np.flatnonzero(inside).tolist():
            shapes[i] = _with_pole(tiles.take([i]), geobox, (x, y, latitude))
            done[i] = True
    return done


def _with_pole(tile: Tiles, geobox: GeoBox, pole: tuple[float, float, float]) -> Any:
    """Return the outline of one tile with a pole inside or on the edge."""
    import shapely

    x, y = (side[0, :-1] for side in _along(tile, _POINTS[-1]))
    at = np.hypot(x - pole[0], y - pole[1])
    side = float(max(tile.h[0], tile.w[0]))
    sides = np.array([x.max() - pole[0], pole[0] - x.min(), y.max() - pole[1], pole[1] - y.min()])
    if np.abs(sides).min() > _NEAR * side:
        lon, lat = to_earth(geobox, x, y)
        return _cap(lon, lat, pole[2])
    # On the edge: the outline follows a meridian to the pole, the pole's latitude, and back.
    start = int(at.argmin())
    x, y, at = (np.roll(side, -start) for side in (x, y, at))
    keep = at > 0.5 * side / _POINTS[-1]
    lon, lat = to_earth(geobox, x[keep], y[keep])
    lon = _continuous(lon[None])[0]
    ring = np.stack([
        np.concatenate([lon[:1], lon, lon[-1:], lon[:1]]),
        np.concatenate([[pole[2]], lat, [pole[2]], [pole[2]]]),
    ], axis=1)  # fmt: skip
    return cut(np.array([shapely.Polygon(ring)], dtype=object))[0]


def _cap(lon: NDArray[np.float64], lat: NDArray[np.float64], pole: float) -> Any:
    """Return the polygon of an outline around a pole, from -180 to 180 degrees and to the pole."""
    import shapely

    lon = _continuous(np.append(lon, lon[0])[None])[0]
    lat = np.append(lat, lat[0])
    if lon[-1] < lon[0]:
        lon, lat = lon[::-1], lat[::-1]
    # The ring starts where it crosses 180 degrees, so that no longitude is beyond.
    edge = 180 + 360 * np.ceil((lon[0] - 180) / 360)
    i = int(np.argmax(lon >= edge))
    here = float(np.interp(edge, lon[max(0, i - 1) : i + 1], lat[max(0, i - 1) : i + 1]))
    after = lon[i:-1] > edge
    lon = np.concatenate([[edge], lon[i:-1][after], lon[: max(i, 1)] + 360, [edge + 360]])
    lat = np.concatenate([[here], lat[i:-1][after], lat[: max(i, 1)], [here]])
    lon = lon - edge - 180
    keep = np.append(True, np.diff(lon) > 0)
    ring = np.stack([np.append(lon[keep], [180, -180]), np.append(lat[keep], [pole, pole])], axis=1)
    return shapely.Polygon(ring)
