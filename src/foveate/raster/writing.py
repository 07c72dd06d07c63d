"""Write raster files through GDAL."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Any

from foveate.files import as_storage_error, atomic_path, printable
from foveate.raster.datasets import GDAL, quiet

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    import rasterio
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.raster.stored import StoredPixels

_WRITING = GDAL | {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": False}


def write_cog(
    path: str | Path,
    data: NDArray[Any],
    *,
    geobox: GeoBox | None = None,
    nodata: float | None = None,
    descriptions: Sequence[str] = (),
    colormap: dict[int, tuple[int, int, int]] | None = None,
    overviews: str = "average",
) -> None:
    """Write a cloud-optimised GeoTIFF (tiled, overviews, deflate), atomically.

    Args:
        path: Destination.
        data: (c, h, w), or (h, w) for one band.
        geobox: Georeference, or None.
        nodata: Value that marks missing pixels.
        descriptions: Band names.
        colormap: Value -> RGB for a one-band uint8 raster.
        overviews: Resampling of overviews: "average", or "nearest" for categorical values;
            "nearest" is always used with a colormap.

    Raises:
        StorageError: The file cannot be written.
    """
    cube = data[None] if data.ndim == 2 else data
    profile: dict[str, Any] = {
        "driver": "COG", "count": cube.shape[0], "height": cube.shape[1], "width": cube.shape[2],
        "dtype": cube.dtype.name, "compress": "deflate", "nodata": nodata, "num_threads": 1,
        "overview_resampling": "nearest" if colormap else overviews,
    }  # fmt: skip
    if geobox is not None:
        profile["transform"] = geobox.affine
        profile["crs"] = geobox.crs.to_wkt() if geobox.crs is not None else None
    with _created(path, profile) as dataset:
        dataset.write(cube)
        if colormap:
            dataset.write_colormap(1, colormap)
        for i, text in enumerate(descriptions, start=1):
            dataset.set_band_description(i, text)


def write_stored(path: str | Path, pixels: StoredPixels, *, durable: bool = True) -> None:
    """Write stored pixels with their metadata as a GeoTIFF (deflate), atomically.

    Args:
        path: Destination.
        pixels: The pixels.
        durable: See `atomic_path`.

    Raises:
        StorageError: The file cannot be written.
    """
    from rasterio.enums import ColorInterp

    with _created(
        path, _stored_profile(pixels), durable=durable, GDAL_TIFF_INTERNAL_MASK=True
    ) as dataset:
        if pixels.colormap is not None:
            dataset.write_colormap(1, pixels.colormap)
        elif pixels.colours:
            dataset.colorinterp = [ColorInterp[name] for name in pixels.colours]
        dataset.write(pixels.data)
        if pixels.mask is not None:
            dataset.write_mask(pixels.mask)
        for i, text in enumerate(pixels.descriptions, start=1):
            if text:
                dataset.set_band_description(i, text)
        if any(scale != 1 for scale in pixels.scales) or any(pixels.offsets):
            dataset.scales, dataset.offsets = pixels.scales, pixels.offsets


def _stored_profile(pixels: StoredPixels) -> dict[str, Any]:
    bands, height, width = pixels.data.shape
    colours = pixels.colours
    # By default, GDAL marks three or four 8-bit bands as RGB and alpha.
    profile: dict[str, Any] = {
        "driver": "GTiff", "count": bands, "height": height, "width": width,
        "dtype": pixels.data.dtype.name, "nodata": pixels.nodata, "compress": "deflate",
        "photometric": "RGB" if colours[:3] == ("red", "green", "blue") else "MINISBLACK",
        "alpha": "YES" if colours[-1:] == ("alpha",) else "NO",
    }  # fmt: skip
    if pixels.colormap is not None or pixels.white_is_zero:
        profile["photometric"] = "MINISWHITE" if pixels.white_is_zero else "PALETTE"
    if pixels.bits:
        profile["nbits"] = pixels.bits
    if pixels.transform is not None:
        profile |= {"transform": pixels.transform, "crs": pixels.crs or None}
    return profile


@contextlib.contextmanager
def _created(
    path: str | Path, profile: dict[str, Any], *, durable: bool = True, **options: Any
) -> Generator[rasterio.io.DatasetWriter]:
    """Yield a new file, which is renamed to `path` when the block succeeds."""
    import rasterio

    env = _WRITING | options
    with atomic_path(path, durable=durable) as temporary, quiet(), rasterio.Env(**env):
        try:
            with rasterio.open(printable(str(temporary)), "w", **profile) as dataset:
                yield dataset
        except rasterio.errors.RasterioError as error:
            text = str(error)
            full = "No space left" in text
            cause = OSError(errno.ENOSPC, text) if full else OSError(text)
            raise as_storage_error(cause, path) from error
