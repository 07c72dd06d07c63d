"""Raster files, through GDAL: the one place that opens them."""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import as_storage_error, atomic_path, fingerprint
from foveate.grid import Window
from foveate.raster.base import Raster, SourceInfo
from foveate.raster.windows import check_bands, clip, nothing, paste, resample

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    import rasterio
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".vrt")

_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no directory listing per file
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,  # a truncated JPEG is an error, not grey pixels
    "GDAL_CACHEMAX": 256 << 20,  # bytes; the default, 5 % of memory, breaks the memory bound
    "GDAL_PAM_ENABLED": False,  # never write .aux.xml beside a user's files
}
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
    _info: SourceInfo | None = field(default=None, repr=False, compare=False)

    @property
    def info(self) -> SourceInfo:
        """What the header says, and the fingerprint of the content."""
        info = self._info or self._read_info()
        object.__setattr__(self, "_info", info)
        return info

    def _read_info(self) -> SourceInfo:
        from odc.geo.geobox import GeoBox

        _refuse_truncated_png(self.path)
        with _opened(self.path) as dataset:
            data_bands, alpha = _bands(dataset)
            colormap = _colormap(dataset) if self.palette else None
            dtype = np.result_type(*(dataset.dtypes[b - 1] for b in data_bands))
            nodata = dataset.nodata if self.nodata is None else self.nodata
            geobox = None
            if dataset.crs is not None and not dataset.transform.is_identity:
                geobox = GeoBox(dataset.shape, dataset.transform, dataset.crs.to_string())
            flags = {flag.name for band in dataset.mask_flag_enums for flag in band}
            masked = (
                nodata is not None
                or alpha is not None
                or "per_dataset" in flags
                or np.issubdtype(dtype, np.floating)
            )
            return SourceInfo(
                shape=dataset.shape,
                bands=3 if colormap is not None else len(data_bands),
                dtype="uint8" if colormap is not None else dtype.name,
                nodata=None if nodata is None else float(nodata),
                geobox=geobox,
                fingerprint=fingerprint(self.path),
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
        if inside != window and out_shape is not None:
            return resample(self.read(window, bands=bands), out_shape)
        with _opened(self.path) as dataset:
            data, valid = self._read_inside(dataset, inside, wanted, out_shape)
        if inside != window:
            data, valid = paste(data, valid, inside, window)
        return Raster(data, valid)

    def _read_inside(
        self,
        dataset: rasterio.DatasetReader,
        window: Window,
        wanted: tuple[int, ...],
        out_shape: tuple[int, int] | None,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        from rasterio.enums import Resampling
        from rasterio.windows import Window as RasterioWindow

        info = self.info
        data_bands, alpha = _bands(dataset)
        colormap = _colormap(dataset) if self.palette else None
        indexes = [1] if colormap is not None else [data_bands[b - 1] for b in wanted]
        smaller = out_shape is not None and out_shape[0] * out_shape[1] < window.h * window.w
        smooth = Resampling.average if smaller else Resampling.bilinear
        offsets: tuple[Any, ...] = (window.x, window.y, window.w, window.h)
        where: dict[str, Any] = {"window": RasterioWindow(*offsets)}
        if out_shape is not None:
            where["out_shape"] = out_shape
        data = dataset.read(
            indexes, resampling=Resampling.nearest if colormap is not None else smooth, **where
        )
        shape = data.shape[1:]
        if alpha is not None:
            valid = dataset.read(alpha, **where) > 0
        elif info.masked and self.nodata is None:
            valid = (dataset.read_masks(indexes, **where) > 0).any(axis=0)
        else:
            valid = np.ones(shape, bool)
        if self.nodata is not None and not np.isnan(self.nodata):
            raw = data if out_shape is None else dataset.read(indexes, **where)
            valid &= (raw != self.nodata).any(axis=0)
        if np.issubdtype(data.dtype, np.floating):
            valid &= np.isfinite(data).all(axis=0)
        if colormap is not None:
            data = np.moveaxis(colormap[data[0]], -1, 0)[[b - 1 for b in wanted]]
        return data.astype(info.dtype, copy=False), valid


def write_cog(
    path: str | Path,
    data: NDArray[Any],
    *,
    geobox: GeoBox | None = None,
    nodata: float | None = None,
    descriptions: Sequence[str] = (),
    colormap: dict[int, tuple[int, int, int]] | None = None,
) -> None:
    """Write a cloud-optimised GeoTIFF (tiled, overviews, deflate), atomically.

    Args:
        path: Destination.
        data: (c, h, w), or (h, w) for one band.
        geobox: Georeference, or None.
        nodata: Value that marks missing pixels.
        descriptions: Band names.
        colormap: Value -> RGB for a one-band uint8 raster.

    Raises:
        StorageError: The file cannot be written.
    """
    import rasterio

    cube = data[None] if data.ndim == 2 else data
    profile: dict[str, Any] = {
        "driver": "COG", "count": cube.shape[0], "height": cube.shape[1], "width": cube.shape[2],
        "dtype": cube.dtype.name, "compress": "deflate", "nodata": nodata, "num_threads": 1,
        "overview_resampling": "nearest" if colormap else "average",
    }  # fmt: skip
    if geobox is not None:
        profile["transform"] = geobox.affine
        profile["crs"] = geobox.crs.to_wkt() if geobox.crs is not None else None
    with atomic_path(path) as temporary, _quiet(), rasterio.Env(**_GDAL):
        try:
            with rasterio.open(temporary, "w", **profile) as dataset:
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


_handles: OrderedDict[tuple[int, str], Any] = OrderedDict()


@contextlib.contextmanager
def _opened(path: str) -> Generator[rasterio.DatasetReader]:
    """Yield an open dataset from this process's small cache; explain what cannot be read."""
    import rasterio

    key = (os.getpid(), str(path))
    try:
        with _quiet(), rasterio.Env(**_GDAL):
            dataset = _handles.pop(key, None) or rasterio.open(path)
            _handles[key] = dataset
            while len(_handles) > _OPEN_FILES:
                _handles.popitem(last=False)[1].close()
            yield dataset
    except rasterio.errors.RasterioError as error:
        _handles.pop(key, None)
        raise DataError(
            f"cannot read {str(path)!r}: {_reason(error)}",
            "The file is missing, truncated or not a raster that GDAL can read.",
            "Replace the file, or move it out of the folder.",
        ) from error


def close_files() -> None:
    """Close this process's cached datasets (before a file is replaced, or at the end of a test)."""
    while _handles:
        _handles.popitem()[1].close()


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


def _colormap(dataset: rasterio.DatasetReader) -> NDArray[np.uint8] | None:
    if dataset.colorinterp[0].name != "palette" or dataset.count != 1:
        return None
    table = np.zeros((256 if dataset.dtypes[0] == "uint8" else 65536, 3), np.uint8)
    for value, colour in dataset.colormap(1).items():
        table[value] = colour[:3]
    return table
