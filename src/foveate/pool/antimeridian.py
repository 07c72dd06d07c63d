"""Shapes in longitude and latitude across 180 degrees, and around a pole.

As RFC 7946 (section 3.1.9) asks, a shape across 180 degrees is cut there into parts, none of which
crosses it: all longitudes are from -180 to 180. A shape around a pole reaches from -180 to 180 and
up to the pole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HAIR = 1e-9  # degrees, a tenth of a millimetre: less is rounding
_HALF = 180.0


def cut(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Cut shapes at 180 degrees, and bring what lies beyond to where it belongs.

    Args:
        shapes: (n,) shapely geometries, longitudes in degrees, continuous: those of a shape across
            180 degrees go on beyond it, by any number of turns.

    Returns:
        (n,) geometries with longitudes from -180 to 180; those that had them are the same objects.
    """
    import shapely

    shapes = np.asarray(shapes, dtype=object)
    west, _, east, _ = shapely.bounds(shapes).reshape(-1, 4).T
    with np.errstate(invalid="ignore"):
        turns = np.rint((west + east) / 2 / 360)
        beyond = np.flatnonzero((west < -_HALF) | (east > _HALF))
    found = shapes.copy()
    for i in beyond.tolist():
        moved = _moved(shapes[i], -360 * turns[i])
        low, _, high, _ = moved.bounds
        across = low < -_HALF - _HAIR or high > _HALF + _HAIR
        found[i] = _parts(moved) if across else _clipped(moved)
    return found


def joined(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return shapes with continuous longitudes: of those cut at 180 degrees, the west is moved on.

    Args:
        shapes: (n,) geometries as `cut` returns them. One that is wider than half the globe is
            taken to lie across 180 degrees, as long as it does not go all around.
    """
    import shapely

    shapes = np.asarray(shapes, dtype=object)
    west, _, east, _ = shapely.bounds(shapes).reshape(-1, 4).T
    with np.errstate(invalid="ignore"):
        wide = np.flatnonzero(east - west > _HALF)
    found = shapes.copy()
    for i in wide.tolist():
        shape = shapely.transform(shapes[i], lambda xy: xy + [[360.0, 0]] * (xy[:, :1] < 0))
        low, _, high, _ = shape.bounds
        if 0 < high - low < _HALF:
            found[i] = shape
    return found


def middles(shapes: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitudes (-180 to 180) and latitudes of the middles of shapes, each (n,) degrees."""
    import shapely

    points = shapely.centroid(joined(shapes))
    lon, lat = shapely.get_x(points), shapely.get_y(points)
    return np.where(lon > _HALF, lon - 360, lon), lat


def _moved(shape: Any, by: float) -> Any:
    import shapely

    return shapely.transform(shape, lambda xy: xy + np.array([by, 0.0])) if by else shape


def _clipped(shape: Any) -> Any:
    """Return a shape whose longitudes are over 180 by rounding alone without that."""
    import shapely

    return shapely.transform(
        shape, lambda xy: np.stack([np.clip(xy[:, 0], -_HALF, _HALF), xy[:, 1]], axis=1)
    )


def _parts(shape: Any) -> Any:
    """Return a shape with longitudes around those of the globe, cut at 180 degrees."""
    import shapely

    low, south, high, north = shape.bounds
    first, last = np.floor((low + _HALF) / 360), np.floor((high + _HALF) / 360)
    parts = []
    for k in np.arange(first, last + 1):
        west = 360 * k - _HALF
        frame = shapely.box(west, south - 1, west + 360, north + 1)
        part = shapely.intersection(shapely.make_valid(shape), frame)
        same = shapely.get_parts(part)
        # What touches the frame from outside leaves a line or a point.
        same = same[shapely.get_dimensions(same) == shapely.get_dimensions(shape)]
        parts += [_clipped(_moved(one, -360 * k)) for one in same]
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)
