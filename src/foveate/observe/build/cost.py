"""What fetching a plan takes: scenes, gigabytes, requests and time, from the items alone."""

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

_BLOCK = 512  # pixels: the side of a block of most cloud-optimised files
_HEADER = 2  # requests that a header takes
_SPEED, _WAIT = 10e6, 0.05  # bytes a second, and seconds a request, of a good connection
_FINE = 3.0  # metres: imagery below is mostly of 8 bits


@dataclass(frozen=True)
class Estimate:
    """What fetching takes, at most.

    Attributes:
        pairs: Pairs to fetch.
        hr_items: Items of the HR that are read.
        lr_items: Items of the LR.
        gigabytes: Of pixels as they are stored without compression: compressed files take less.
        requests: Of ranges of bytes, where files lie in a store.
        minutes: With these requests, of 50 ms each, and 10 MB/s.
        written: Gigabytes on disk, uncompressed.
    """

    pairs: int
    hr_items: int
    lr_items: int
    gigabytes: float
    requests: int
    minutes: float
    written: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def estimate(plan: Plan, layout: Layout, reading: Reading, workers: int) -> Estimate:
    """Say what fetching a plan takes, from its items alone: no file is opened."""
    cost: dict[tuple[str, int], tuple[float, int]] = {}
    size, requests = 0.0, 0
    used: dict[str, set[int]] = {"hr": set(), "lr": set()}
    for row in plan.order.tolist():
        match = plan.matches[row]
        for which, found, rows in (("hr", plan.hr, match.hr), ("lr", plan.lr, match.lr[0])):
            assets = reading.hr_assets if which == "hr" else reading.lr_assets
            gsd = layout.hr_gsd if which == "hr" else layout.lr_gsd
            for i in rows:
                used[which].add(i)
                if (which, i) not in cost:
                    own = ("none",) if which == "hr" else reading.scl
                    cost[which, i] = _cost(found.items[i], assets, own, layout.metres, gsd)
                size += cost[which, i][0]
                requests += cost[which, i][1]
    pairs = int(plan.order.size)
    written = pairs * (layout.hr_pixels**2 * 3 + layout.lr_pixels**2 * 6) / 1e9
    seconds = max(size / _SPEED, requests * _WAIT / workers)
    return Estimate(
        pairs, len(used["hr"]), len(used["lr"]), _short(size / 1e9), requests,
        _short(seconds / 60), _short(written),
    )  # fmt: skip


def _short(value: float) -> float:
    """Keep two digits: nothing here is known better."""
    return float(f"{value:.2g}")


def _cost(
    item: Item, assets: tuple[str, ...], scl: tuple[str, ...], metres: float, gsd: float
) -> tuple[float, int]:
    """Return bytes and requests of a footprint in an item, by what it says of its assets."""
    keys = [*bands_of(item, assets)]
    layer = quality_of(item, scl)
    size, requests = 0.0, 0
    for key in [*keys, *([layer] if layer else [])]:
        facts = facts_of(item, key)
        step = _step(item, facts.geobox, gsd)
        side = metres / step
        deep = np.dtype(facts.dtype or ("uint8" if gsd < _FINE else "uint16")).itemsize
        bands = max(len(facts.names), 1)
        size += (side + _BLOCK) ** 2 * bands * deep
        requests += _HEADER + math.ceil(side / _BLOCK) + 1
    return size, requests


def _step(item: Item, geobox: Any, gsd: float) -> float:
    """Return metres of a pixel of an asset, as far as its item says."""
    if geobox is not None and geobox.crs is not None and geobox.crs.projected:
        return abs(geobox.affine.a)
    stated = item.content["properties"].get("gsd")
    return float(stated) if isinstance(stated, int | float) and stated > 0 else gsd
