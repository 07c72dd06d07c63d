"""Overlaps of outlines: the rule of near-duplicates for a pool without imagery.

Shares are ratios of areas in square degrees; for neighbouring outlines they equal ratios of areas
on the ground. Points have no area.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.pool.outlines import have_areas, shapes_of
from foveate.select.constraints import Constraint

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_BLOCK = 16_384  # outlines whose neighbours are in memory at a time


def outline_overlaps(outlines: pa.Array, share: float) -> Constraint:
    """Find the outlines of which more than a share is covered by another outline.

    Args:
        outlines: (n,) WKB in longitude and latitude.
        share: Share of the area of an outline, 0 to 1.
    """
    import shapely

    n = len(outlines)
    if n < 2 or not have_areas(outlines):
        return Constraint.of([], [], n)
    shapes = shapes_of(outlines)
    bounds, area = shapely.bounds(shapes), shapely.area(shapes)
    area[area == 0] = np.inf
    tree = shapely.STRtree(shapes)
    pairs = [np.empty((2, 0), np.int64)]
    for start in range(0, n, _BLOCK):
        tile, pick = tree.query(shapes[start : start + _BLOCK])
        tile = tile + start
        # The overlap of bounding boxes is an upper bound of the overlap of outlines.
        keep = (pick != tile) & (_common(bounds, tile, pick) > share * area[tile])
        tile, pick = tile[keep], pick[keep]
        common = shapely.area(shapely.intersection(shapes[tile], shapes[pick]))
        over = common > share * area[tile]
        pairs.append(np.stack([pick[over], tile[over]]))
    overlapping = np.concatenate(pairs, axis=1)
    return Constraint.of(overlapping[0], overlapping[1], n)


def _common(
    bounds: NDArray[np.float64], tile: NDArray[np.int64], pick: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the common area of the bounding boxes of outlines."""
    first, second = bounds[tile], bounds[pick]
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    return np.prod(np.maximum(sides, 0), axis=1)
