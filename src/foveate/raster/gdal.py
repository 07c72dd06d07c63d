"""Raster files, through GDAL: the one place that opens them."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import threading
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import as_storage_error, atomic_path, digest, fingerprint, printable
from foveate.grid import Window
from foveate.raster.alias import gdal_name
from foveate.raster.base import Raster, SourceInfo
from foveate.raster.windows import check_bands, clip, nothing, paste, resample, sampled_shape

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import rasterio
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".vrt")

_GDAL = {
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,  # a truncated JPEG is an error, not grey pixels
    "GDAL_CACHEMAX": 256 << 20,  # bytes; the default, 5 % of memory, breaks the memory bound
}
# Sidecars (.aux.xml, .tfw, .ovr, .msk) are asked for by name: listing the folder at each file
# would be quadratic. Reading changes none of them: GDAL writes .aux.xml for what it was told or
# has computed (statistics), and here it never is.
_READING = _GDAL | {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "GDAL_PAM_ENABLED": True}
_WRITING = _GDAL | {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": False}
_OPEN_FILES = 16
_PNG = b"\x89PNG\r\n\x1a\n"
_TAIL = 65536  # bytes at the end among which a PNG has its IEND


@dataclass(frozen=True)
class FileSource:
    """A raster file that GDAL can read.

    Attributes:
        path: The file.
        nodata: Overrides the nodata value of the file; None keeps it.
        palette: Whether a palette image is read as colours (3 bands) or as indices (1 band).

    Raises:
        DataError: On first use, when the file cannot be read.
    """

    path: str
    nodata: float | None = None
    palette: bool = True

    @cached_property
    def info(self) -> SourceInfo:
        """What the header says, and the fingerprint of the content, both as first seen."""
        from odc.geo.geobox import GeoBox

        _refuse_truncated_png(self.path)
        with _opened(self.path) as dataset:
            data_bands, alpha = _bands(dataset)
            colormap = _colormap(dataset) if self.palette else None
            dtype = np.result_type(*(dataset.dtypes[b - 1] for b in data_bands))
            nodata = dataset.nodata if self.nodata is None else self.nodata
            geobox = None
            if not dataset.transform.is_identity:  # a world file has no CRS
                crs = None if dataset.crs is None else dataset.crs.to_string()
                geobox = GeoBox(dataset.shape, dataset.transform, crs)
            masked = (
                nodata is not None
                or alpha is not None
                or _has_mask(dataset)
                or np.issubdtype(dtype, np.floating)
            )
            return SourceInfo(
                shape=dataset.shape,
                bands=3 if colormap is not None else len(data_bands),
                dtype="uint8" if colormap is not None else dtype.name,
                nodata=None if nodata is None else float(nodata),
                geobox=geobox,
                fingerprint=_content(self.path, dataset),
                descriptions=("red", "green", "blue")
                if colormap is not None
                else tuple(dataset.descriptions[b - 1] or "" for b in data_bands),
                masked=masked,
            )

    def read(
        self,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> Raster:
        """Read a window; see `Source.read`."""
        info = self.info
        wanted = check_bands(bands, info.bands, self.path)
        window = window or Window(0, 0, *info.shape)
        inside = clip(window, info.shape)
        if inside.h < 1 or inside.w < 1:
            return nothing(len(wanted), info.dtype, out_shape or (window.h, window.w))
        if out_shape == (window.h, window.w):
            out_shape = None
        # GDAL would blend the nodata value that the user names, NaN and what lies outside into
        # the valid pixels: where there can be any, pixels are read as they are and blended here.
        blended = out_shape is not None and (info.masked or inside != window)
        size = out_shape
        if out_shape is not None and blended:
            small = sampled_shape(window, out_shape)
            size = small if inside == window and small != (window.h, window.w) else None
        with _opened(self.path) as dataset:
            colormap = _colormap(dataset) if self.palette else None
            # Colours of a palette are classes: they are never blended.
            nearest = blended or colormap is not None
            data, valid = self._read_inside(
                dataset, inside, wanted, size, colormap, nearest=nearest
            )
        if inside != window:
            data, valid = paste(data, valid, inside, window)
        raster = Raster(data, valid)
        if out_shape is not None and blended:
            return resample(raster, out_shape, nearest=colormap is not None)
        return raster

    def _read_inside(
        self,
        dataset: rasterio.DatasetReader,
        window: Window,
        wanted: tuple[int, ...],
        size: tuple[int, int] | None,
        colormap: NDArray[np.uint8] | None,
        *,
        nearest: bool,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels and mask of a window inside the raster, at another size if one is given."""
        from rasterio.enums import Resampling
        from rasterio.windows import Window as RasterioWindow

        data_bands, alpha = _bands(dataset)
        indexes = [1] if colormap is not None else [data_bands[b - 1] for b in wanted]
        offsets: tuple[Any, ...] = (window.x, window.y, window.w, window.h)
        where: dict[str, Any] = {"window": RasterioWindow(*offsets)}
        how = Resampling.nearest
        if size is not None:
            where["out_shape"] = size
            if not nearest:
                smaller = size[0] * size[1] < window.h * window.w
                how = Resampling.average if smaller else Resampling.bilinear
        data = dataset.read(indexes, resampling=how, **where)
        if alpha is not None:
            valid = dataset.read(alpha, **where) > 0
        elif _has_mask(dataset) or (self.info.masked and self.nodata is None):
            valid = (dataset.read_masks(indexes, **where) > 0).any(axis=0)
        else:
            valid = np.ones(data.shape[1:], bool)
        if self.nodata is not None and not np.isnan(self.nodata):
            valid &= (data != self.nodata).any(axis=0)
        if np.issubdtype(data.dtype, np.floating):
            valid &= np.isfinite(data).all(axis=0)
        if colormap is not None:
            data = np.moveaxis(colormap[data[0]], -1, 0)[[b - 1 for b in wanted]]
        return data.astype(self.info.dtype, copy=False), valid


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
        overviews: "average", or "nearest" for values that are names; that is what a colormap
            gets, too.

    Raises:
        StorageError: The file cannot be written.
    """
    import rasterio

    cube = data[None] if data.ndim == 2 else data
    profile: dict[str, Any] = {
        "driver": "COG", "count": cube.shape[0], "height": cube.shape[1], "width": cube.shape[2],
        "dtype": cube.dtype.name, "compress": "deflate", "nodata": nodata, "num_threads": 1,
        "overview_resampling": "nearest" if colormap else overviews,
    }  # fmt: skip
    if geobox is not None:
        profile["transform"] = geobox.affine
        profile["crs"] = geobox.crs.to_wkt() if geobox.crs is not None else None
    with atomic_path(path) as temporary, _quiet(), rasterio.Env(**_WRITING):
        try:
            with rasterio.open(printable(str(temporary)), "w", **profile) as dataset:
                dataset.write(cube)
                if colormap:
                    dataset.write_colormap(1, colormap)
                for i, text in enumerate(descriptions, start=1):
                    dataset.set_band_description(i, text)
        except rasterio.errors.RasterioError as error:
            text = str(error)
            full = "No space left" in text
            cause = OSError(errno.ENOSPC, text) if full else OSError(text)
            raise as_storage_error(cause, path) from error


class _Open(threading.local):
    """Datasets that this thread has open, last used last: GDAL's are not for two threads."""

    def __init__(self) -> None:
        self.datasets: OrderedDict[str, tuple[tuple[int, ...], Any]] = OrderedDict()


_open = _Open()


@contextlib.contextmanager
def _opened(path: str) -> Generator[rasterio.DatasetReader]:
    """Yield an open dataset from this thread's small cache; explain what cannot be read."""
    import rasterio

    key = str(path)
    try:
        with _quiet(), rasterio.Env(**_READING):
            dataset = _cached(key)
            if dataset is None:
                stamp = _stamp(key)  # before it is opened: a file replaced meanwhile is reopened
                dataset = rasterio.open(gdal_name(key))
                _open.datasets[key] = (stamp, dataset)
            while len(_open.datasets) > _OPEN_FILES:
                _open.datasets.popitem(last=False)[1][1].close()
            yield dataset
    except rasterio.errors.RasterioError as error:
        _open.datasets.pop(key, None)
        raise DataError(
            f"cannot read {printable(key)!r}: {_reason(error)}",
            "The file is missing, truncated or not a raster that GDAL can read.",
            "Replace the file, or move it out of the folder.",
        ) from error


def _cached(key: str) -> Any:
    """Return this thread's open dataset of a file unless the file is another by now."""
    stamp, dataset = _open.datasets.pop(key, ((), None))
    if dataset is None:
        return None
    if stamp != _stamp(key):
        dataset.close()
        return None
    _open.datasets[key] = (stamp, dataset)
    return dataset


def _stamp(path: str) -> tuple[int, ...]:
    """What tells a file from the one that replaces it, and this process from its parent."""
    try:
        stat = os.stat(path)  # noqa: PTH116  (may be a URL)
    except OSError:
        return (os.getpid(),)
    return (os.getpid(), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def close_files() -> None:
    """Close this thread's cached datasets; those of another thread close when it ends."""
    while _open.datasets:
        _open.datasets.popitem()[1][1].close()


atexit.register(close_files)  # while there still is an interpreter for what GDAL has to say


def _content(path: str, dataset: rasterio.DatasetReader) -> str:
    """Hash a raster's file, its sidecars, and the files that a VRT is made of."""
    import rasterio

    parts = []
    for name in dataset.files:
        if name != path and name.lower().endswith(".vrt"):
            with rasterio.open(name) as inner:
                parts.append(_content(name, inner))
        else:
            # A part inside an archive or behind a URL has no bytes here, only a name.
            parts.append(fingerprint(name) if Path(name).exists() else name)
    return parts[0] if len(parts) == 1 else digest(parts)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    import rasterio

    with warnings.catch_warnings():
        # Plain PNG and JPEG patches have no georeference, which is no problem here.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def _refuse_truncated_png(path: str) -> None:
    """GDAL reads a PNG that was cut off as black pixels, without an error."""
    with contextlib.suppress(OSError), open(path, "rb") as file:  # noqa: PTH123  (may be a URL)
        if file.read(8) == _PNG:
            file.seek(max(0, os.path.getsize(path) - _TAIL))  # noqa: PTH202
            if b"IEND" not in file.read():
                raise DataError(
                    f"cannot read {str(path)!r}: the PNG is truncated, its end is missing",
                    "",
                    "Replace the file, or move it out of the folder.",
                )


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().rstrip(".") or type(cause).__name__


def _bands(dataset: rasterio.DatasetReader) -> tuple[list[int], int | None]:
    """1-based data bands, and the alpha band if there is one."""
    alpha = [i for i, c in enumerate(dataset.colorinterp, start=1) if c.name == "alpha"]
    return [i for i in dataset.indexes if i not in alpha], alpha[0] if alpha else None


def _has_mask(dataset: rasterio.DatasetReader) -> bool:
    """Whether the file has a mask band of its own, inside or beside it."""
    return any(flag.name == "per_dataset" for band in dataset.mask_flag_enums for flag in band)


def _colormap(dataset: rasterio.DatasetReader) -> NDArray[np.uint8] | None:
    if dataset.colorinterp[0].name != "palette" or dataset.count != 1:
        return None
    table = np.zeros((256 if dataset.dtypes[0] == "uint8" else 65536, 3), np.uint8)
    for value, colour in dataset.colormap(1).items():
        table[value] = colour[:3]
    return table
