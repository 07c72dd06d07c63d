"""Fetch one pair: read LR and HR of a footprint, check them, and write both or none.

Imagery is read at full resolution and resampled to the grid of the footprint, if necessary. A pair
is dropped, with the reason, if a file is missing or broken, if its location differs from that in
its item, or if too many pixels of the LR image or of any HR tile are black (nodata, or 0 in all
bands). LR pixels that the scene classification layer marks as cloud or shadow count as black. The
values of all items of a build are converted to one scale, without offsets.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.errors import DataError, UnavailableError
from foveate.pool.stac.asset_source import AssetSource, need_asset
from foveate.pool.stac.assets import bands_of, facts_of, quality_of
from foveate.raster import write_cog
from foveate.raster.base import Raster
from foveate.raster.warped import read_onto, window_onto

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.pool.stac.items import Item

# Sentinel-2 scene classification: no data, saturated, cloud shadow, clouds of medium and high
# probability, thin cirrus. Not 7, "unclassified" since processing baseline 4.0, nor 11, snow.
CLOUDS = (0, 1, 3, 8, 9, 10)
BROKEN, ELSEWHERE = "missing or unreadable", "elsewhere than its item says"
BLACK_LR, CLOUDY, BLACK_HR = "LR black", "LR under cloud", "HR tile black"


@dataclass(frozen=True)
class Reading:
    """Options for reading pairs.

    Attributes:
        hr_assets: Assets of the HR items; () for the only image asset.
        hr_bands: 1-based band numbers over all HR assets; () for all bands.
        lr_assets: Assets of the LR items.
        scl: Names of scene classification layers, see `quality_of`; ("none",) for none.
        tiles: Number of rows and columns of tiles.
        max_black: Maximum share of black pixels in the LR image and in each HR tile.
        hr_scales: Target scale of the values of each HR band; () for that of each item.
        lr_scales: Target scale of the values of each LR band; () for that of each item.
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
    """Sources opened before, so that headers are read once."""

    def source(self, item: Item, key: str, *, colours: bool = True) -> AssetSource:
        """Return the source of an asset.

        Args:
            item: The item.
            key: Key of the asset.
            colours: Whether a palette contains colours, not classes.

        Raises:
            DataError: The file does not exist.
        """
        facts = facts_of(item, key)
        source = self.opened.get((facts.href, key))
        if source is None:
            source = AssetSource(
                facts.href, palette=colours, item=item.name, asset=key, facts=facts
            )  # fmt: skip
            self.opened[facts.href, key] = need_asset(source)
        return source


@dataclass(frozen=True)
class Fetched:
    """Result of fetching a pair.

    Attributes:
        why: Why the pair was dropped, or "".
        detail: The underlying error, or "".
        choice: Index of the LR acquisition that was used or rejected.
        cloud: Share of cloudy pixels of the LR image; NaN if unknown.
        lr_black: Share of black pixels of the LR image, including clouds; NaN if unknown.
        hr_black: Largest share of black pixels of an HR tile; NaN if unknown.
    """

    why: str = ""
    detail: str = ""
    choice: int = 0
    cloud: float = float("nan")
    lr_black: float = float("nan")
    hr_black: float = float("nan")


class _Dropped(Exception):  # noqa: N818  (not an error of the user)
    """The pair is dropped."""

    def __init__(self, result: Fetched) -> None:
        super().__init__(result.why)
        self.result = result


def fetch_pair(
    hr: Sequence[Item], lr: Sequence[Sequence[Item]], grids: tuple[GeoBox, GeoBox],
    reading: Reading, files: tuple[Path, Path],
) -> Fetched:  # fmt: skip
    """Read a pair, and write it if it is complete.

    Args:
        hr: HR items; earlier items take precedence where several have pixels.
        lr: Candidate LR acquisitions, best first; the first clear one is used.
        grids: Grids of the HR and the LR image.
        reading: Options for reading.
        files: Output files of HR and LR.

    Raises:
        StorageError: The files cannot be written.
        UnavailableError: A file cannot be read at present, for example because of the network.
    """
    try:
        result, low = _read_lr(lr, grids[1], reading)
        result, high = _read_hr(hr, grids[0], reading, result)
    except _Dropped as dropped:
        return dropped.result
    for raster, grid, path in zip((high, low), grids, files, strict=True):
        data = np.where(raster.valid, raster.data, 0).astype(raster.data.dtype)
        write_cog(path, data, geobox=grid, nodata=0)
    return result


def _read_hr(
    items: Sequence[Item], grid: GeoBox, reading: Reading, result: Fetched
) -> tuple[Fetched, Raster]:
    """Return the HR image; drop the pair if a tile has too many black pixels."""
    high = _mosaic(items, grid, reading, "HR", result.choice)
    visible = _not_black(high)
    rows, cols = reading.tiles
    side = visible.shape[0] // rows, visible.shape[1] // cols
    share = visible.reshape(rows, side[0], cols, side[1]).mean(axis=(1, 3))
    result = replace(result, hr_black=float(1 - share.min()))
    if result.hr_black > reading.max_black:
        raise _Dropped(replace(result, why=BLACK_HR))
    return result, high


def _not_black(raster: Raster) -> NDArray[np.bool_]:
    """Return (h, w) bool: valid pixels with a non-zero value in any band."""
    return raster.valid & (raster.data != 0).any(axis=0)


def _read_lr(
    choices: Sequence[Sequence[Item]], grid: GeoBox, reading: Reading
) -> tuple[Fetched, Raster]:
    """Return the first clear LR image; drop the pair if there is none."""
    first: _Dropped | None = None
    for number, items in enumerate(choices):
        try:
            return _read_clear(items, number, grid, reading)
        except _Dropped as dropped:
            first = first or dropped
    assert first is not None  # noqa: S101  (a pair has at least one candidate)
    raise first


def _read_clear(
    items: Sequence[Item], number: int, grid: GeoBox, reading: Reading
) -> tuple[Fetched, Raster]:
    """Return an LR image with clouds masked.

    The classification is read first, so that the bands of cloudy images are not fetched.
    """
    cloud, share = None, float("nan")
    if reading.scl != ("none",):
        cloud = _cloud_mask(items, grid, reading, number)
        share = float(cloud.mean())
        if share > reading.max_black:
            raise _Dropped(Fetched(CLOUDY, "", number, share))
    low = _mosaic(items, grid, reading, "LR", number)
    black = float(1 - _not_black(low).mean())
    if black > reading.max_black:
        raise _Dropped(Fetched(BLACK_LR, "", number, share, black))
    if cloud is not None:
        low = Raster(low.data, low.valid & ~cloud)
    black = float(1 - _not_black(low).mean())
    result = Fetched("", "", number, share, black)
    if black > reading.max_black:
        raise _Dropped(replace(result, why=CLOUDY))
    return result, low


def _cloud_mask(
    items: Sequence[Item], grid: GeoBox, reading: Reading, number: int
) -> NDArray[np.bool_]:
    """Return (h, w) bool: pixels that are cloudy or not classified by any item."""
    cloud, unknown = np.ones(grid.shape, bool), np.ones(grid.shape, bool)
    overlaps = False
    for item in items:
        key = quality_of(item, reading.scl)
        assert key is not None  # noqa: S101  (the plan contains only items with a layer)
        source = _attempt(lambda i=item, k=key: reading.source(i, k, colours=False), "LR", number)
        classes = _read_bands(source, [1], grid, "LR", number, nearest=True)
        if classes is None:
            continue
        overlaps = True
        new = unknown & classes.valid
        cloud[new] = np.isin(classes.data[0][new], CLOUDS)
        unknown &= ~new
    if not overlaps:
        raise _Dropped(Fetched(f"LR {ELSEWHERE}", source.who, number))
    return cloud


def _mosaic(
    items: Sequence[Item], grid: GeoBox, reading: Reading, what: Literal["HR", "LR"], number: int
) -> Raster:
    """Return the bands of items on a grid; earlier items take precedence."""
    mosaic: Raster | None = None
    assets = reading.hr_assets if what == "HR" else reading.lr_assets
    bands = reading.hr_bands if what == "HR" else ()
    for item in items:
        sources = _attempt(
            lambda i=item: [reading.source(i, key) for key in bands_of(i, assets)], what, number
        )
        image = _read_item(_select_bands(sources, bands, what, number), grid, what, number, reading)
        if image is None:  # another item may overlap the grid
            continue
        visible = _not_black(image)
        if mosaic is None:
            mosaic = Raster(image.data, visible)
        else:
            data = np.where(mosaic.valid, mosaic.data, image.data)
            mosaic = Raster(data, mosaic.valid | visible)
        if mosaic.valid.all():
            break
    if mosaic is None:
        raise _Dropped(Fetched(f"{what} {ELSEWHERE}", sources[0].who, number))
    return mosaic


def _read_item(
    selected: Sequence[tuple[AssetSource, list[int]]], grid: GeoBox, what: str, number: int,
    reading: Reading,
) -> Raster | None:  # fmt: skip
    """Return the bands of one item on a grid, or None if they do not overlap."""
    rasters, scales = [], list(reading.hr_scales if what == "HR" else reading.lr_scales)
    for source, bands in selected:
        raster = _read_bands(source, bands, grid, what, number)
        if raster is None:
            return None
        rasters.append(harmonised(raster, source, bands, scales[: len(bands)]))
        del scales[: len(bands)]
    dtype = np.result_type(*(raster.data for raster in rasters))
    data = np.concatenate([raster.data for raster in rasters]).astype(dtype)
    return Raster(data, np.logical_and.reduce([raster.valid for raster in rasters]))


def _select_bands(
    sources: Sequence[AssetSource], bands: tuple[int, ...], what: str, number: int
) -> list[tuple[AssetSource, list[int]]]:
    """Return the sources and their bands to read, in the order of `bands`."""
    counts = [_attempt(lambda s=source: s.info.bands, what, number) for source in sources]
    available = [(i, b) for i, n in enumerate(counts) for b in range(1, n + 1)]
    if bands and max(bands) > len(available):
        detail = f"band {max(bands)} of {len(available)}"
        raise _Dropped(Fetched(f"{what} {BROKEN}", detail, number))
    selected = [available[band - 1] for band in bands] if bands else available
    runs: list[tuple[int, list[int]]] = []  # consecutive bands of one source are read together
    for i, band in selected:
        if runs and runs[-1][0] == i:
            runs[-1][1].append(band)
        else:
            runs.append((i, [band]))
    return [(sources[i], run) for i, run in runs]


def _read_bands(
    source: AssetSource, bands: list[int], grid: GeoBox, what: str, number: int, *,
    nearest: bool = False,
) -> Raster | None:  # fmt: skip
    """Read bands of an asset onto a grid, or return None if they do not overlap."""
    if _attempt(lambda: window_onto(source.info, grid), what, number) is None:
        return None
    return _attempt(lambda: read_onto(source, grid, bands=bands, nearest=nearest), what, number)


def _attempt[T](read: Any, what: str, number: int) -> T:
    """Return `read()`; a DataError drops the pair.

    Raises:
        UnavailableError: The file cannot be read at present, which is not a fault of the pair.
    """
    try:
        return read()
    except UnavailableError:
        raise
    except DataError as error:
        why = ELSEWHERE if "lies elsewhere" in error.given else BROKEN
        raise _Dropped(Fetched(f"{what} {why}", str(error), number)) from error


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
