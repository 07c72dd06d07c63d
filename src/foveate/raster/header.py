"""What a raster file says of itself: its size, its place, and how its values are stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.raster.orientation import TURNS
from foveate.raster.place import read_geobox
from foveate.raster.reading import FileHeader, Mask
from foveate.raster.tags import FileTags, read_tags

if TYPE_CHECKING:
    import rasterio
    from odc.geo.geobox import GeoBox

_SAMPLE, _SAMPLES = 256, 4  # side of what is sampled of an alpha band, and windows along a side
_VAST = 1e30  # a scale or offset beyond it makes no physical value
_LOSSY = ("JPEG", "YCbCr JPEG", "WEBP", "JXL", "LERC")


@dataclass(frozen=True)
class Stored:
    """What is known of an open file without its pixels; shape and place as stored."""

    header: FileHeader
    shape: tuple[int, int]
    geobox: GeoBox | None
    unplaced: str


def read_stored(path: str, dataset: rasterio.DatasetReader) -> Stored:
    """Read what an open file says of itself.

    Raises:
        DataError: A PNG whose end is missing.
    """
    geobox, unplaced = read_geobox(dataset)
    header = _shared(_header(path, dataset, georeferenced=geobox is not None))
    return Stored(header, dataset.shape, geobox, unplaced)


@lru_cache(maxsize=4096)
def _shared(header: FileHeader) -> FileHeader:
    """Return one object for equal headers: a folder has many files of one kind."""
    return header


def _header(path: str, dataset: rasterio.DatasetReader, *, georeferenced: bool) -> FileHeader:
    tags = read_tags(path)
    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    of_band = dataset.tags(1, ns="IMAGE_STRUCTURE")
    orientation = tags.orientation
    if dataset.driver == "JPEG":
        stated = dataset.tags().get("EXIF_Orientation", "")
        orientation = int(stated) if stated in {str(i) for i in TURNS} else 1
    white_is_zero = structure.get("MINISWHITE") == "YES"
    palette = None
    # GDAL makes up a palette for TIFFs of one bit, and for gray that is stored inverted.
    if not white_is_zero and tags.photometric not in (0, 1):
        palette = _palette(dataset)
    alpha = tuple(i for i, c in enumerate(dataset.colorinterp, start=1) if c.name == "alpha")
    nodata, text = _declared(dataset, tags)
    mask, key = _mask(dataset, nodata, alpha), ()
    if tags.transparent and palette is None:
        mask, key = "key", tuple(int(v) for v in nodata if v is not None)
    if tags.transparent:
        nodata = (None,) * dataset.count
    scaling = tuple(zip(dataset.scales, dataset.offsets, strict=True))
    usable = all(1 / _VAST < abs(s) < _VAST and abs(o) < _VAST for s, o in scaling)
    compression = (structure.get("COMPRESSION", ""), of_band.get("COMPRESSION", ""))
    return FileHeader(
        driver=dataset.driver,
        dtypes=tuple(dataset.dtypes),
        descriptions=tuple(d or "" for d in dataset.descriptions),
        alpha=alpha,
        between=_between(dataset, alpha[0]) if alpha and dataset.driver != "PNG" else 0.0,
        nodata=nodata,
        nodata_text=text,
        mask=mask,
        key=key,
        palette=palette,
        bits=int(of_band.get("NBITS", 0)) if dataset.dtypes[0] == "uint8" else 0,
        white_is_zero=white_is_zero,
        scaling=scaling if usable and set(scaling) != {(1.0, 0.0)} else (),
        unscalable="" if usable else str(scaling[0]),
        orientation=orientation,
        lossy=any(c in _LOSSY for c in compression)
        or structure.get("COMPRESSION_REVERSIBILITY", "").startswith("LOSSY"),
        georeferenced=georeferenced,
    )


def _declared(
    dataset: rasterio.DatasetReader, tags: FileTags
) -> tuple[tuple[float | int | None, ...], str]:
    """Return the declared nodata value of each band, and the text of one that cannot be."""
    values: list[float | int | None] = []
    for value, dtype in zip(dataset.nodatavals, dataset.dtypes, strict=True):
        if dtype in ("int64", "uint64"):
            # rasterio gives floats, which do not hold every whole number of 64 bits, and writes
            # "-9.22e+18", of which GDAL reads the -9.
            exact = _whole(tags.nodata)
            small = value if value is not None and abs(value) < 2**53 else None
            values.append(small if exact is None else exact)
        else:
            values.append(value)
    # GDAL keeps silent about a value that is out of range.
    silent = tags.nodata if not any(v is not None for v in dataset.nodatavals) else ""
    return tuple(values), silent if all(v is None for v in values) else ""


def _whole(text: str) -> int | None:
    """Read a whole number, also one in the form of a float."""
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if math.isfinite(value) and value == int(value) else None


def _mask(
    dataset: rasterio.DatasetReader, nodata: tuple[float | int | None, ...], alpha: tuple[int, ...]
) -> Mask:
    """Return what kind of mask the file has beside alpha and the values that are known here."""
    flags = [
        {flag.name for flag in band}
        for i, band in enumerate(dataset.mask_flag_enums, start=1)
        if i not in alpha
    ]
    if any(f == {"per_dataset"} for f in flags):
        return "dataset"
    if any("nodata" in f and "per_dataset" in f for f in flags):
        return "key"
    if any(not f for f in flags):
        return "bands"
    if any("nodata" in f for f in flags) and all(v is None for v in nodata):
        return "values"
    return ""


def _between(dataset: rasterio.DatasetReader, band: int) -> float:
    """Share of the pixels above 0 that do not hold the greatest value, in hundredths.

    Of the whole band where it is small, else of windows spread over it.
    """
    from rasterio.windows import Window as RasterioWindow

    height, width = dataset.shape
    if height * width <= _SAMPLE**2:
        values = dataset.read(band).ravel()
    else:
        side = _SAMPLE // _SAMPLES
        starts = [
            sorted({round(k * max(0, n - side) / (_SAMPLES - 1)) for k in range(_SAMPLES)})
            for n in (height, width)
        ]
        size = (min(side, width), min(side, height))
        places: list[tuple[Any, ...]] = [(x, y, *size) for y in starts[0] for x in starts[1]]
        cuts = [dataset.read(band, window=RasterioWindow(*place)) for place in places]
        values = np.concatenate([cut.ravel() for cut in cuts])
    seen = values[values > 0]
    return round(float((seen < seen.max()).mean()), 2) if seen.size else 0.0


def _palette(dataset: rasterio.DatasetReader) -> bytes | None:
    """Return the (n, 4) colours of a palette image as bytes."""
    if dataset.colorinterp[0].name != "palette" or dataset.count != 1:
        return None
    table = np.zeros((256 if dataset.dtypes[0] == "uint8" else 65536, 4), np.uint8)
    table[:, 3] = 255
    for value, colour in dataset.colormap(1).items():
        table[value] = colour
    return table.tobytes()
