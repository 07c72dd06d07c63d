"""One scale for the values of a build, where its items state several."""

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
    """Return the scale of each band that the first item states which states any; () for none.

    Args:
        items: In the order in which they are fetched.
        assets: Assets that are read; () for the one of imagery.
        bands: Bands of these, 1-based and counted over all of them; () for all.
    """
    for item in items:
        try:
            stated = [facts_of(item, key).scaling for key in bands_of(item, assets)]
        except DataError:
            continue  # whoever fetches it says what is wrong
        scales = [scale for pairs in stated for scale, _ in pairs]
        if all(stated) and (not bands or max(bands) <= len(scales)):
            return tuple(scales[band - 1] for band in bands) if bands else tuple(scales)
    return ()


def harmonised(
    part: Raster, source: AssetSource, bands: list[int], wanted: Sequence[float] = ()
) -> Raster:
    """Return values without the offset that the item states, as whole numbers of one scale.

    Sentinel-2 adds 1000 to its values since processing baseline 4.0, and its items say so: without
    the offset images of all years mean the same. Values of another scale are brought to that of
    the build. What states neither is as it is stored.

    Args:
        part: (k, h, w) stored values; 0 marks missing pixels of whole numbers.
        source: What they were read from.
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
