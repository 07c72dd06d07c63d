"""Stored pixels of a file, to be written to another file unchanged.

A `Raster` is the input of a model: alpha is converted to a mask, colours are decoded, values may be
scaled. `StoredPixels` have the values that other programs read from the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from foveate.raster.datasets import read_bands

if TYPE_CHECKING:
    import rasterio
    from numpy.typing import NDArray

    from foveate.grid import Window
    from foveate.raster.base import Raster, SourceInfo


@dataclass(frozen=True)
class StoredPixels:
    """A window of a raster file.

    Attributes:
        data: (c, h, w) in the native dtype, all bands.
        nodata: Value of missing pixels, or None.
        mask: (h, w) bool valid pixels of a mask band, or None.
        crs: WKT, or "".
        transform: Geotransform of the window, or None without a georeference.
        colours: Colour interpretation of the bands, by GDAL's names ("red", "alpha" ...).
        descriptions: Names of the bands, possibly "".
        scales: One per band: physical value = stored * scale + offset.
        offsets: One per band.
        colormap: Value -> RGBA of a palette, or None.
        bits: Bits per sample if they are fewer than those of the dtype, otherwise 0.
        white_is_zero: Whether viewers display gray values inverted.
    """

    data: NDArray[Any]
    nodata: float | int | None = None
    mask: NDArray[np.bool_] | None = None
    crs: str = ""
    transform: Affine | None = None
    colours: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    colormap: dict[int, tuple[int, ...]] | None = None
    bits: int = 0
    white_is_zero: bool = False


def read_stored_pixels(
    dataset: rasterio.DatasetReader, window: Window, inside: Window, nodata: float | None
) -> StoredPixels:
    """Read a window of an open file.

    Args:
        dataset: The file.
        window: Window in the stored orientation.
        inside: The part of the window inside the raster; see `clip`.
        nodata: Value of missing pixels, or None.
    """
    bands, dtype = dataset.count, np.result_type(*dataset.dtypes)
    shape = (window.h, window.w)
    data = np.full((bands, *shape), _outside(dtype, nodata), dtype)
    masked = "per_dataset" in {flag.name for flag in dataset.mask_flag_enums[0]}
    masked = masked and "alpha" not in {flag.name for flag in dataset.mask_flag_enums[0]}
    mask = np.zeros(shape, bool)
    if inside.h > 0 and inside.w > 0:
        ((y, x), (h, w)) = (inside.y - window.y, inside.x - window.x), (inside.h, inside.w)
        where = ((inside.y, inside.y + h), (inside.x, inside.x + w))
        data[:, y : y + h, x : x + w] = read_bands(dataset, dataset.indexes, window=where)
        mask[y : y + h, x : x + w] = dataset.read_masks(1, window=where) > 0 if masked else True
    colours = tuple(c.name for c in dataset.colorinterp)
    can_mark = nodata is not None or np.issubdtype(dtype, np.floating) or "alpha" in colours
    affine = dataset.transform
    return StoredPixels(
        data, nodata,
        mask=mask if masked or (not can_mark and inside != window) else None,
        crs=dataset.crs.to_wkt() if dataset.crs else "",
        transform=None if affine.is_identity else affine @ Affine.translation(window.x, window.y),
        colours=colours,
        descriptions=tuple(text or "" for text in dataset.descriptions),
        scales=tuple(dataset.scales), offsets=tuple(dataset.offsets),
        colormap=dataset.colormap(1) if colours == ("palette",) else None,
        bits=int(dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 0)),
        white_is_zero=dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES",
    )  # fmt: skip


def stored_of(raster: Raster, info: SourceInfo, window: Window) -> StoredPixels:
    """Return pixels of a raster that is not a single file as `StoredPixels`.

    Args:
        raster: The pixels of the window.
        info: Metadata of the raster.
        window: The window.
    """
    data, valid = raster.data, raster.valid
    floats = np.issubdtype(data.dtype, np.floating)
    if not valid.all() and (floats or info.nodata is not None):
        value = _outside(data.dtype, info.nodata)
        data = np.where(valid, data, np.asarray(value, data.dtype))
    box = info.geobox
    return StoredPixels(
        data, info.nodata,
        mask=None if valid.all() or floats or info.nodata is not None else valid,
        crs=box.crs.to_wkt() if box is not None and box.crs is not None else "",
        transform=None if box is None else box.affine @ Affine.translation(window.x, window.y),
        descriptions=info.descriptions,
        scales=tuple(scale for scale, _ in info.scaling),
        offsets=tuple(offset for _, offset in info.scaling),
    )  # fmt: skip


def _outside(dtype: np.dtype[Any], nodata: float | None) -> float:
    if nodata is not None:
        return nodata
    return np.nan if np.issubdtype(dtype, np.floating) else 0
