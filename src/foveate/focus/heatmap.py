"""The importance of every place of an image, as a small raster on the image's ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.grid import Tiles

SIDE = 2048  # longest side of a map, pixels


def heat_map(
    tiles: Tiles, score: NDArray[np.floating], shape: tuple[int, int], side: int = SIDE
) -> NDArray[np.float32]:
    """Paint the score of each cell over its place.

    Args:
        tiles: n cells of one image that do not overlap.
        score: (n,) their importance.
        shape: ``(height, width)`` of the image in pixels.
        side: Longest side of the map, pixels; never more than the image's.

    Returns:
        (h, w) float32, NaN where there is no cell (nodata). A cell smaller than a pixel of the
        map keeps one pixel, where no other cell is painted after it.
    """
    factor = min(1.0, side / max(shape))
    size = max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))
    found = np.full(size, np.nan, np.float32)
    down, across = size[0] / shape[0], size[1] / shape[1]
    for i in range(len(tiles)):
        window = tiles.window(i)
        top, left = round(window.y * down), round(window.x * across)
        bottom = max(top + 1, round((window.y + window.h) * down))
        right = max(left + 1, round((window.x + window.w) * across))
        found[top:bottom, left:right] = score[i]
    return found


def map_geobox(
    geobox: GeoBox | None, shape: tuple[int, int], size: tuple[int, int]
) -> GeoBox | None:
    """Return the georeference of a map of another size over the same ground.

    Args:
        geobox: Georeference of the image, or None.
        shape: ``(height, width)`` of the image in pixels.
        size: ``(height, width)`` of the map in pixels.
    """
    if geobox is None:
        return None
    from affine import Affine
    from odc.geo.geobox import GeoBox

    scale = Affine.scale(shape[1] / size[1], shape[0] / size[0])
    return GeoBox(size, geobox.affine @ scale, geobox.crs)
