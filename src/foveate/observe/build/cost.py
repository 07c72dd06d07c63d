"""Estimate the cost of fetching a plan from item metadata: data volume, requests and time."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.pool.stac.assets import bands_of, facts_of, quality_of

if TYPE_CHECKING:
    from foveate.observe.build.fetch import Reading
    from foveate.observe.build.footprints import Layout
    from foveate.observe.build.plan import Plan
    from foveate.pool.stac.items import Item

_BLOCK = 512  # pixels, the usual block side of cloud-optimised files
_HEADER = 2  # requests for a header
_BANDWIDTH, _LATENCY = 10e6, 0.05  # bytes per second, and seconds per request
_FINE = 3.0  # metres; imagery with smaller pixels usually has 8 bits


@dataclass(frozen=True)
class Estimate:
    """Estimated upper bound of the cost of fetching.

    Attributes:
        pairs: Number of pairs to fetch.
        hr_items: Number of HR items to read.
        lr_items: Number of LR items to read.
        gigabytes: Uncompressed size of the pixels to read; compressed files need less.
        requests: Number of range requests if the files are in an object store.
        minutes: Time at 50 ms per request and 10 MB/s.
        written: Uncompressed size of the pairs in gigabytes.
    """

    pairs: int
    hr_items: int
    lr_items: int
    gigabytes: float
    requests: int
    minutes: float
    written: float

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dict."""
        return asdict(self)


def estimate(plan: Plan, layout: Layout, reading: Reading, workers: int) -> Estimate:
    """Estimate the cost of fetching a plan from its items, without opening a file."""
    cost: dict[tuple[str, int], tuple[float, int]] = {}
    size, requests = 0.0, 0
    used: dict[str, set[int]] = {"hr": set(), "lr": set()}
    for row in plan.order.tolist():
        match = plan.matches[row]
        for which, acquired, rows in (("hr", plan.hr, match.hr), ("lr", plan.lr, match.lr[0])):
            assets = reading.hr_assets if which == "hr" else reading.lr_assets
            gsd = layout.hr_gsd if which == "hr" else layout.lr_gsd
            for i in rows:
                used[which].add(i)
                if (which, i) not in cost:
                    scl = ("none",) if which == "hr" else reading.scl
                    cost[which, i] = _cost(acquired.items[i], assets, scl, layout.metres, gsd)
                size += cost[which, i][0]
                requests += cost[which, i][1]
    pairs = int(plan.order.size)
    written = pairs * (layout.hr_pixels**2 * 3 + layout.lr_pixels**2 * 6) / 1e9
    seconds = max(size / _BANDWIDTH, requests * _LATENCY / workers)
    return Estimate(
        pairs, len(used["hr"]), len(used["lr"]), _round(size / 1e9), requests,
        _round(seconds / 60), _round(written),
    )  # fmt: skip


def _round(value: float) -> float:
    """Round to two significant digits, the precision of the estimate."""
    return float(f"{value:.2g}")


def _cost(
    item: Item, assets: tuple[str, ...], scl: tuple[str, ...], metres: float, gsd: float
) -> tuple[float, int]:
    """Return the bytes and requests for a footprint in an item, from the metadata of its assets."""
    keys = [*bands_of(item, assets)]
    layer = quality_of(item, scl)
    size, requests = 0.0, 0
    for key in [*keys, *([layer] if layer else [])]:
        facts = facts_of(item, key)
        side = metres / _pixel_size(item, facts.geobox, gsd)
        itemsize = np.dtype(facts.dtype or ("uint8" if gsd < _FINE else "uint16")).itemsize
        bands = max(len(facts.names), 1)
        size += (side + _BLOCK) ** 2 * bands * itemsize
        requests += _HEADER + math.ceil(side / _BLOCK) + 1
    return size, requests


def _pixel_size(item: Item, geobox: Any, gsd: float) -> float:
    """Return the pixel size of an asset in metres, or `gsd` if its item does not state one."""
    if geobox is not None and geobox.crs is not None and geobox.crs.projected:
        return abs(geobox.affine.a)
    stated = item.content["properties"].get("gsd")
    return float(stated) if isinstance(stated, int | float) and stated > 0 else gsd
