"""Header of a raster file: size, georeference, and properties of the stored values."""

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

_SAMPLE, _SAMPLES = 256, 4  # side of the sample of an alpha band, and windows along a side
_VAST = 1e30  # larger scales and offsets are invalid
_LOSSY = ("JPEG", "YCbCr JPEG", "WEBP", "JXL", "LERC")


@dataclass(frozen=True)
class Stored:
    """Header of a file; shape and georeference in the stored orientation."""

    header: FileHeader
    shape: tuple[int, int]
    geobox: GeoBox | None
    unplaced: str


def read_stored(path: str, dataset: rasterio.DatasetReader) -> Stored:
    """Read the header of an open file.

    Raises:
        DataError: The file is a truncated PNG.
    """
    geobox, unplaced = read_geobox(dataset)
    header = _shared(_header(path, dataset, georeferenced=geobox is not None))
    return Stored(header, dataset.shape, geobox, unplaced)


@lru_cache(maxsize=4096)
def _shared(header: FileHeader) -> FileHeader:
    """Return one object for equal headers, because a folder has many similar files."""
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
    # GDAL synthesises a palette for TIFFs of one bit, and for inverted gray.
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
    broken = [(s, o) for s, o in scaling if not (1 / _VAST < abs(s) < _VAST and abs(o) < _VAST)]
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
        scaling=() if broken or set(scaling) == {(1.0, 0.0)} else scaling,
        unscalable=str(broken[0]) if broken else "",
        orientation=orientation,
        lossy=any(c in _LOSSY for c in compression)
        or structure.get("COMPRESSION_REVERSIBILITY", "").startswith("LOSSY"),
        georeferenced=georeferenced,
    )


def _declared(
    dataset: rasterio.DatasetReader, tags: FileTags
) -> tuple[tuple[float | int | None, ...], str]:
    """Return the declared nodata value of each band, and the text of an invalid value or ""."""
    values: list[float | int | None] = []
    for value, dtype in zip(dataset.nodatavals, dataset.dtypes, strict=True):
        if dtype in ("int64", "uint64"):
            # rasterio returns floats, which cannot represent all 64-bit integers, and writes
            # "-9.22e+18", of which GDAL reads only the -9.
            exact = _whole(tags.nodata)
            small = value if value is not None and abs(value) < 2**53 else None
            values.append(small if exact is None else exact)
        else:
            values.append(value)
    # GDAL does not report values that are out of range.
    unreported = tags.nodata if not any(v is not None for v in dataset.nodatavals) else ""
    return tuple(values), unreported if all(v is None for v in values) else ""


def _whole(text: str) -> int | None:
    """Parse an integer, also in the notation of a float; None for other text."""
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
    """Return the kind of mask of the file besides alpha and known nodata values."""
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
    """Return the share of nonzero pixels below the maximum, rounded to 0.01.

    Computed from the whole band if it is small, otherwise from evenly spaced windows.
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
    nonzero = values[values > 0]
    return round(float((nonzero < nonzero.max()).mean()), 2) if nonzero.size else 0.0


def _palette(dataset: rasterio.DatasetReader) -> bytes | None:
    """Return the (n, 4) uint8 colours of a palette image as bytes, or None."""
    if dataset.colorinterp[0].name != "palette" or dataset.count != 1:
        return None
    table = np.zeros((256 if dataset.dtypes[0] == "uint8" else 65536, 4), np.uint8)
    table[:, 3] = 255
    for value, colour in dataset.colormap(1).items():
        table[value] = colour
    return table.tobytes()
