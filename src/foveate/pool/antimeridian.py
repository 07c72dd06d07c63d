"""Shapes in longitude and latitude across 180 degrees, and around a pole.

As required by RFC 7946 (section 3.1.9), a shape across 180 degrees is split there, so that no part
crosses it and all longitudes are from -180 to 180. A shape around a pole extends from -180 to 180
and to the pole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDING = 1e-9  # degrees, about a tenth of a millimetre
_HALF = 180.0


def cut(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Split shapes at 180 degrees, and wrap longitudes to -180 to 180.

    Args:
        shapes: (n,) shapely geometries with continuous longitudes in degrees: longitudes of a shape
            across 180 degrees continue beyond it, by any number of turns.

    Returns:
        (n,) geometries with longitudes from -180 to 180; shapes within this range are returned
        unchanged.
    """
    import shapely

    shapes = np.asarray(shapes, dtype=object)
    west, _, east, _ = shapely.bounds(shapes).reshape(-1, 4).T
    with np.errstate(invalid="ignore"):
        turns = np.rint((west + east) / 2 / 360)
        beyond = np.flatnonzero((west < -_HALF) | (east > _HALF))
    split = shapes.copy()
    for i in beyond.tolist():
        moved = _moved(shapes[i], -360 * turns[i])
        low, _, high, _ = moved.bounds
        across = low < -_HALF - _ROUNDING or high > _HALF + _ROUNDING
        split[i] = _parts(moved) if across else _clipped(moved)
    return split


def joined(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return shapes with continuous longitudes: the reverse of `cut`.

    Args:
        shapes: (n,) geometries as returned by `cut`. A shape wider than half the globe is assumed
            to lie across 180 degrees, unless it extends all around.
    """
    import shapely

    shapes = np.asarray(shapes, dtype=object)
    west, _, east, _ = shapely.bounds(shapes).reshape(-1, 4).T
    with np.errstate(invalid="ignore"):
        wide = np.flatnonzero(east - west > _HALF)
    merged = shapes.copy()
    for i in wide.tolist():
        shape = shapely.transform(shapes[i], lambda xy: xy + [[360.0, 0]] * (xy[:, :1] < 0))
        low, _, high, _ = shape.bounds
        if 0 < high - low < _HALF:
            merged[i] = shape
    return merged


def middles(shapes: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitudes (-180 to 180) and latitudes of the centroids of shapes, (n,) degrees."""
    import shapely

    points = shapely.centroid(joined(shapes))
    lon, lat = shapely.get_x(points), shapely.get_y(points)
    return np.where(lon > _HALF, lon - 360, lon), lat


def _moved(shape: Any, by: float) -> Any:
    import shapely

    return shapely.transform(shape, lambda xy: xy + np.array([by, 0.0])) if by else shape


def _clipped(shape: Any) -> Any:
    """Clip longitudes that exceed 180 degrees by rounding."""
    import shapely

    return shapely.transform(
        shape, lambda xy: np.stack([np.clip(xy[:, 0], -_HALF, _HALF), xy[:, 1]], axis=1)
    )


def _parts(shape: Any) -> Any:
    """Split a shape at every odd multiple of 180 degrees, and wrap the parts."""
    import shapely

    low, south, high, north = shape.bounds
    first, last = np.floor((low + _HALF) / 360), np.floor((high + _HALF) / 360)
    parts = []
    for k in np.arange(first, last + 1):
        west = 360 * k - _HALF
        frame = shapely.box(west, south - 1, west + 360, north + 1)
        inside = shapely.intersection(shapely.make_valid(shape), frame)
        same = shapely.get_parts(inside)
        # A part that only touches the frame becomes a line or a point.
        same = same[shapely.get_dimensions(same) == shapely.get_dimensions(shape)]
        parts += [_clipped(_moved(shape_part, -360 * k)) for shape_part in same]
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)
