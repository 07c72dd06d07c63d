"""One pair: LR and HR read over the same ground, checked, and written whole or not at all.

Every part of a footprint is read at full resolution and brought onto its grid. A pair is dropped,
with the reason, where a file is missing or broken, lies elsewhere than its item says, or shows too
little: more than a share of the LR image, or of any HR tile, is black (no data, or 0 in all bands).
Pixels of the LR that its scene classification layer takes for cloud or its shadow count as black.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.errors import DataError, UnavailableError
from foveate.observe.build.scales import harmonised
from foveate.pool.stac.asset_source import AssetSource, need_asset
from foveate.pool.stac.assets import bands_of, facts_of, quality_of
from foveate.raster import write_cog
from foveate.raster.base import Raster
from foveate.raster.warped import read_onto, window_onto

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.pool.stac.items import Item

# Sentinel-2 scene classification: no data, saturated, cloud shadow, clouds of medium and high
# probability, thin cirrus. 7 is "unclassified" since processing baseline 4.0, 11 is snow.
CLOUDS = (0, 1, 3, 8, 9, 10)
BROKEN, ELSEWHERE = "missing or unreadable", "elsewhere than its item says"
BLACK_LR, CLOUDY, BLACK_HR = "LR black", "LR under cloud", "HR tile black"


@dataclass(frozen=True)
class Reading:
    """How pairs are read.

    Attributes:
        hr_assets: Assets of the HR items; () for the one of imagery.
        hr_bands: Bands of these, 1-based and counted over all of them; () for all.
        lr_assets: Assets of the LR items.
        scl: Assets that are scene classification layers, see `quality_of`; ("none",) for none.
        tiles: Rows and columns of tiles.
        max_black: Largest share of black pixels in the LR image, and in an HR tile.
        hr_scales: Scale that the values of each HR band are brought to; () for that of its item.
        lr_scales: The same of the LR.
    """

    hr_assets: tuple[str, ...]
    hr_bands: tuple[int, ...]
    lr_assets: tuple[str, ...]
    scl: tuple[str, ...]
    tiles: tuple[int, int]
    max_black: float
    hr_scales: tuple[float, ...] = ()
    lr_scales: tuple[float, ...] = ()
    opened: dict[tuple[str, str], AssetSource] = field(
        default_factory=dict, repr=False, compare=False
    )
    """Assets that were read already: headers are read once."""

    def source(self, item: Item, key: str, *, colours: bool = True) -> AssetSource:
        """Return an asset of an item.

        Args:
            item: The item.
            key: Of the asset.
            colours: Whether a palette holds colours, not classes.

        Raises:
            DataError: Its file is not there.
        """
        facts = facts_of(item, key)
        found = self.opened.get((facts.href, key))
        if found is None:
            found = AssetSource(facts.href, palette=colours, item=item.name, asset=key, facts=facts)
            self.opened[facts.href, key] = need_asset(found)
        return found


@dataclass(frozen=True)
class Fetched:
    """What came of a pair.

    Attributes:
        why: Why it was dropped, or "".
        detail: The error behind it, or "".
        choice: Which choice of LR was taken (or looked at last).
        cloud: Share of the LR image under cloud; NaN where it is not known.
        lr_black: Share of the LR image that is black, clouds included; NaN where it is not known.
        hr_black: The largest share of an HR tile that is black; NaN where it is not known.
    """

    why: str = ""
    detail: str = ""
    choice: int = 0
    cloud: float = float("nan")
    lr_black: float = float("nan")
    hr_black: float = float("nan")


class _Dropped(Exception):  # noqa: N818  (no error of the user's: a pair is left out)
    """A pair that is left out, with what is known of it."""

    def __init__(self, found: Fetched) -> None:
        super().__init__(found.why)
        self.found = found


def fetch_pair(
    hr: Sequence[Item], lr: Sequence[Sequence[Item]], grids: tuple[GeoBox, GeoBox],
    reading: Reading, files: tuple[Path, Path],
) -> Fetched:  # fmt: skip
    """Read a pair and write it if it is whole.

    Args:
        hr: Items of the HR, those that are shown where several have pixels first.
        lr: Choices of LR, the best first; the first that is clear is taken.
        grids: Grids of the HR and of the LR.
        reading: How it is read.
        files: Where HR and LR are written.

    Raises:
        StorageError: The files cannot be written.
    """
    try:
        found, low = _low(lr, grids[1], reading)
        found, high = _high(hr, grids[0], reading, found)
    except _Dropped as dropped:
        return dropped.found
    for raster, grid, path in zip((high, low), grids, files, strict=True):
        data = np.where(raster.valid, raster.data, 0).astype(raster.data.dtype)
        write_cog(path, data, geobox=grid, nodata=0)
    return found


def _high(
    items: Sequence[Item], grid: GeoBox, reading: Reading, found: Fetched
) -> tuple[Fetched, Raster]:
    """Return the HR image, none of whose tiles is black."""
    high = _mosaic(items, grid, reading, "HR", found.choice)
    shown = _shown(high)
    rows, cols = reading.tiles
    side = shown.shape[0] // rows, shown.shape[1] // cols
    share = shown.reshape(rows, side[0], cols, side[1]).mean(axis=(1, 3))
    found = replace(found, hr_black=float(1 - share.min()))
    if found.hr_black > reading.max_black:
        raise _Dropped(replace(found, why=BLACK_HR))
    return found, high


def _shown(raster: Raster) -> NDArray[np.bool_]:
    """Return which pixels are not black, (h, w) bool."""
    return raster.valid & (raster.data != 0).any(axis=0)


def _low(
    choices: Sequence[Sequence[Item]], grid: GeoBox, reading: Reading
) -> tuple[Fetched, Raster]:
    """Return the first choice of LR that is clear."""
    first: _Dropped | None = None
    for number, items in enumerate(choices):
        try:
            return _clear(items, number, grid, reading)
        except _Dropped as dropped:
            first = first or dropped
    assert first is not None  # noqa: S101  (a pair has a choice of LR)
    raise first


def _clear(
    items: Sequence[Item], number: int, grid: GeoBox, reading: Reading
) -> tuple[Fetched, Raster]:
    """Return an LR image without its clouds.

    The classification is read first: where it says cloud, nothing else is fetched.
    """
    cloud, share = None, float("nan")
    if reading.scl != ("none",):
        cloud = _cloud(items, grid, reading, number)
        share = float(cloud.mean())
        if share > reading.max_black:
            raise _Dropped(Fetched(CLOUDY, "", number, share))
    low = _mosaic(items, grid, reading, "LR", number)
    black = float(1 - _shown(low).mean())
    if black > reading.max_black:
        raise _Dropped(Fetched(BLACK_LR, "", number, share, black))
    if cloud is not None:
        low = Raster(low.data, low.valid & ~cloud)
    black = float(1 - _shown(low).mean())
    found = Fetched("", "", number, share, black)
    if black > reading.max_black:
        raise _Dropped(replace(found, why=CLOUDY))
    return found, low


def _cloud(items: Sequence[Item], grid: GeoBox, reading: Reading, number: int) -> NDArray[np.bool_]:
    """Return the pixels of a grid under cloud, or of which nothing is known, (h, w) bool."""
    cloud, left = np.ones(grid.shape, bool), np.ones(grid.shape, bool)
    seen = False
    for item in items:
        key = quality_of(item, reading.scl)
        assert key is not None  # noqa: S101  (items without one are in no plan)
        source = _tried(lambda i=item, k=key: reading.source(i, k, colours=False), "LR", number)
        part = _part(source, [1], grid, "LR", number, nearest=True)
        if part is None:
            continue
        seen = True
        here = left & part.valid
        cloud[here] = np.isin(part.data[0][here], CLOUDS)
        left &= ~here
    if not seen:
        raise _Dropped(Fetched(f"LR {ELSEWHERE}", source.who, number))
    return cloud


def _mosaic(
    items: Sequence[Item], grid: GeoBox, reading: Reading, what: Literal["HR", "LR"], number: int
) -> Raster:
    """Return the bands of items on a grid; where several have pixels, the first one's."""
    found: Raster | None = None
    assets = reading.hr_assets if what == "HR" else reading.lr_assets
    bands = reading.hr_bands if what == "HR" else ()
    for item in items:
        sources = _tried(
            lambda i=item: [reading.source(i, key) for key in bands_of(i, assets)], what, number
        )
        own = _bands(_chosen(sources, bands, what, number), grid, what, number, reading)
        if own is None:  # the next one may have the ground
            continue
        shown = _shown(own)
        if found is None:
            found = Raster(own.data, shown)
        else:
            found = Raster(np.where(found.valid, found.data, own.data), found.valid | shown)
        if found.valid.all():
            break
    if found is None:
        raise _Dropped(Fetched(f"{what} {ELSEWHERE}", sources[0].who, number))
    return found


def _bands(
    chosen: Sequence[tuple[AssetSource, list[int]]], grid: GeoBox, what: str, number: int,
    reading: Reading,
) -> Raster | None:  # fmt: skip
    """Return the bands of one item on a grid; None where it has none of that ground."""
    parts, left = [], list(reading.hr_scales if what == "HR" else reading.lr_scales)
    for source, bands in chosen:
        part = _part(source, bands, grid, what, number)
        if part is None:
            return None
        parts.append(harmonised(part, source, bands, left[: len(bands)]))
        del left[: len(bands)]
    dtype = np.result_type(*(part.data for part in parts))
    data = np.concatenate([part.data for part in parts]).astype(dtype)
    return Raster(data, np.logical_and.reduce([part.valid for part in parts]))


def _chosen(
    sources: Sequence[AssetSource], bands: tuple[int, ...], what: str, number: int
) -> list[tuple[AssetSource, list[int]]]:
    """Return the sources in the order of the bands, with those bands of each that are read."""
    counts = [_tried(lambda s=source: s.info.bands, what, number) for source in sources]
    places = [(i, b) for i, n in enumerate(counts) for b in range(1, n + 1)]
    if bands and max(bands) > len(places):
        listed = f"band {max(bands)} of {len(places)}"
        raise _Dropped(Fetched(f"{what} {BROKEN}", listed, number))
    wanted = [places[band - 1] for band in bands] if bands else places
    runs: list[tuple[int, list[int]]] = []
    for i, band in wanted:
        if runs and runs[-1][0] == i:
            runs[-1][1].append(band)
        else:
            runs.append((i, [band]))
    return [(sources[i], own) for i, own in runs]


def _part(
    source: AssetSource, bands: list[int], grid: GeoBox, what: str, number: int, *,
    nearest: bool = False,
) -> Raster | None:  # fmt: skip
    """Read some bands of an asset onto a grid; None where it has none of that ground."""
    if _tried(lambda: window_onto(source.info, grid), what, number) is None:
        return None
    return _tried(lambda: read_onto(source, grid, bands=bands, nearest=nearest), what, number)


def _tried[T](work: Any, what: str, number: int) -> T:
    """Return what some reading gives; a file that cannot be read drops the pair.

    Raises:
        UnavailableError: It cannot be had now: that says nothing of the pair.
    """
    try:
        return work()
    except UnavailableError:
        raise
    except DataError as error:
        why = ELSEWHERE if "lies elsewhere" in error.given else BROKEN
        raise _Dropped(Fetched(f"{what} {why}", str(error), number)) from error
