"""Convert the values of all items of a build to one scale, without offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.pool.stac.assets import bands_of, facts_of
from foveate.raster.base import Raster

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from foveate.pool.stac.asset_source import AssetSource
    from foveate.pool.stac.items import Item


def first_scales(
    items: Iterable[Item], assets: tuple[str, ...], bands: tuple[int, ...]
) -> tuple[float, ...]:
    """Return the scale of each band of the first item that states scales; () if none does.

    Args:
        items: Items in the order of fetching.
        assets: Assets to read; () for the only image asset.
        bands: 1-based band numbers over all assets; () for all bands.
    """
    for item in items:
        try:
            stated = [facts_of(item, key).scaling for key in bands_of(item, assets)]
        except DataError:
            continue  # fetching the item reports the error
        scales = [scale for pairs in stated for scale, _ in pairs]
        if all(stated) and (not bands or max(bands) <= len(scales)):
            return tuple(scales[band - 1] for band in bands) if bands else tuple(scales)
    return ()


def harmonised(
    part: Raster, source: AssetSource, bands: list[int], wanted: Sequence[float] = ()
) -> Raster:
    """Apply the offset of an item, and convert its values to the scale of the build.

    Since processing baseline 4.0, Sentinel-2 values are increased by 1000, and the items state an
    offset. Applying it makes images of all years comparable. Integers are rounded, and clipped to
    1 and the maximum of their type. Values without stated scale and offset are returned unchanged.

    Args:
        part: (k, h, w) stored values; in integer rasters, 0 marks missing pixels.
        source: Source of the values.
        bands: The k bands, 1-based.
        wanted: Their scales in the build; () for those of the source.
    """
    scaling = source.info.scaling
    pairs = [scaling[band - 1] for band in bands] if scaling else []
    targets = list(wanted) or [scale for scale, _ in pairs]
    changes = [(s / t, o / t) for (s, o), t in zip(pairs, targets, strict=bool(pairs))]
    if all(change == (1.0, 0.0) for change in changes):
        return part
    low = 1 if np.issubdtype(part.data.dtype, np.integer) else -np.inf
    data = part.data.astype(np.float64)
    for k, (factor, offset) in enumerate(changes):
        data[k] = data[k] * factor + offset
    high = np.iinfo(part.data.dtype).max if np.isfinite(low) else np.inf
    data = np.clip(np.rint(data) if np.isfinite(low) else data, low, high)
    return Raster(np.where(part.valid, data, 0).astype(part.data.dtype), part.valid)
