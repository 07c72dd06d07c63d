"""Rasters: windowed reads in the native dtype, with a mask of valid pixels.

Nodata is a mask here, never a value. A `Source` is anything that can be read by windows; it
opens lazily in each process and can be pickled. `FileSource` reads whatever GDAL reads,
`StackSource` puts the bands of several files on one grid, `ArraySource` wraps an array.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import warnings
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import as_storage_error, atomic_path, digest, fingerprint
from foveate.grid import Window

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
class SourceInfo:
    """What is known of a raster without reading pixels.

    Attributes:
        shape: ``(height, width)`` in pixels.
        bands: Number of data bands (an alpha band is a mask, not data).
        dtype: NumPy name of the native dtype.
        nodata: Value that marks missing pixels, or None.
        geobox: Georeference, or None.
        fingerprint: Hash of the content.
        descriptions: One per band, possibly empty strings.
        masked: Whether pixels can be invalid (nodata, alpha, mask band, floats that may be NaN).
    """

    shape: tuple[int, int]
    bands: int
    dtype: str
    nodata: float | None = None
    geobox: GeoBox | None = None
    fingerprint: str = ""
    descriptions: tuple[str, ...] = ()
    masked: bool = False


@dataclass(frozen=True)
class Raster:
    """Pixels of one window.

    Attributes:
        data: (c, h, w) in the native dtype; what stands under invalid pixels has no meaning.
        valid: (h, w) bool.
    """

    data: NDArray[Any]
    valid: NDArray[np.bool_]

    @property
    def valid_share(self) -> float:
        """Share of valid pixels, 0 to 1."""
        return float(self.valid.mean()) if self.valid.size else 0.0


@runtime_checkable
class Source(Protocol):
    """Anything that can be read by windows. Picklable; opens lazily in each process."""

    @property
    def info(self) -> SourceInfo:
        """What is known without reading pixels."""
        ...

    def read(
        self,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> Raster:
        """Read a window.

        Args:
            window: Pixels to read; the whole raster when None. What lies outside the raster is
                invalid.
            bands: 1-based band numbers in the order wanted; all when None.
            out_shape: ``(height, width)`` to which the window is resampled (average when
                smaller, bilinear when larger); its own size when None.
        """
        ...


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
        wanted = _check_bands(bands, info.bands, self.path)
        window = window or Window(0, 0, *info.shape)
        inside = _clip(window, info.shape)
        if inside.h < 1 or inside.w < 1:
            return _nothing(len(wanted), info.dtype, out_shape or (window.h, window.w))
        if inside != window and out_shape is not None:
            return _resample(self.read(window, bands=bands), out_shape)
        with _opened(self.path) as dataset:
            data, valid = self._read_inside(dataset, inside, wanted, out_shape)
        if inside != window:
            data, valid = _paste(data, valid, inside, window)
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


@dataclass(frozen=True)
class StackSource:
    """The bands of several rasters on the grid of the first.

    Further rasters of another size are resampled (bilinear) window by window. They must cover
    the same ground: the same extent when they have a georeference, the same picture otherwise.

    Attributes:
        sources: The first one gives the grid.

    Raises:
        DataError: The rasters do not cover the same ground.
    """

    sources: tuple[Source, ...]

    def __post_init__(self) -> None:
        """Check that the extents agree."""
        first = self.sources[0].info
        for source in self.sources[1:]:
            _check_extent(first, source.info)

    @property
    def info(self) -> SourceInfo:
        """The first raster's grid with the bands of all; their common dtype."""
        infos = [source.info for source in self.sources]
        return replace(
            infos[0],
            bands=sum(i.bands for i in infos),
            dtype=np.result_type(*(i.dtype for i in infos)).name,
            fingerprint=digest([i.fingerprint for i in infos]),
            descriptions=tuple(d for i in infos for d in i.descriptions),
            masked=any(i.masked for i in infos),
        )

    def read(
        self,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> Raster:
        """Read a window; a pixel is valid where every raster that is read is valid."""
        info = self.info
        wanted = _check_bands(bands, info.bands, "the stacked files")
        window = window or Window(0, 0, *info.shape)
        shape = out_shape or (window.h, window.w)
        data = np.empty((len(wanted), *shape), info.dtype)
        valid = np.ones(shape, bool)
        offset = 0
        for source in self.sources:
            count = source.info.bands
            here = [(i, b - offset) for i, b in enumerate(wanted) if offset < b <= offset + count]
            offset += count
            if not here:
                continue
            own = _scale_window(window, info.shape, source.info.shape)
            exact = own == window and out_shape is None
            part = source.read(own, bands=[b for _, b in here], out_shape=None if exact else shape)
            data[[i for i, _ in here]] = part.data
            valid &= part.valid
        return Raster(data, valid)


@dataclass(frozen=True)
class ArraySource:
    """An array in memory as a source.

    Attributes:
        data: (c, h, w) of any dtype.
        valid: (h, w) bool, or None when every (finite) pixel is valid.
        geobox: Georeference, or None.
    """

    data: NDArray[Any]
    valid: NDArray[np.bool_] | None = None
    geobox: GeoBox | None = None

    @property
    def info(self) -> SourceInfo:
        """Shape, dtype and a hash of the pixels."""
        c, h, w = self.data.shape
        pixels = hashlib.blake2b(np.ascontiguousarray(self.data), digest_size=16).hexdigest()
        mask = None if self.valid is None else digest(np.packbits(self.valid).tobytes().hex())
        return SourceInfo(
            shape=(h, w),
            bands=c,
            dtype=self.data.dtype.name,
            geobox=self.geobox,
            fingerprint=digest([pixels, mask, self.data.shape, self.data.dtype.name]),
            descriptions=("",) * c,
            masked=self.valid is not None or np.issubdtype(self.data.dtype, np.floating),
        )

    def read(
        self,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> Raster:
        """Read a window; see `Source.read`."""
        shape = (self.data.shape[1], self.data.shape[2])
        wanted = _check_bands(bands, self.data.shape[0], "the array")
        window = window or Window(0, 0, *shape)
        inside = _clip(window, shape)
        if inside.h < 1 or inside.w < 1:
            return _nothing(len(wanted), self.data.dtype.name, out_shape or (window.h, window.w))
        cut = np.s_[inside.y : inside.y + inside.h, inside.x : inside.x + inside.w]
        data = self.data[[b - 1 for b in wanted]][:, *cut]
        valid = np.ones(data.shape[1:], bool) if self.valid is None else self.valid[cut].copy()
        if np.issubdtype(data.dtype, np.floating):
            valid &= np.isfinite(data).all(axis=0)
        if inside != window:
            data, valid = _paste(data, valid, inside, window)
        raster = Raster(data, valid)
        return raster if out_shape is None else _resample(raster, out_shape)


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


def _check_bands(bands: Sequence[int] | None, count: int, name: str) -> tuple[int, ...]:
    wanted = tuple(range(1, count + 1)) if bands is None else tuple(int(b) for b in bands)
    if not wanted or min(wanted) < 1 or max(wanted) > count:
        raise ParameterError(
            f"bands {','.join(map(str, wanted))} of {name!r}",
            f"It has {count} band{'s' if count > 1 else ''}, counted from 1.",
        )
    return wanted


def _clip(window: Window, shape: tuple[int, int]) -> Window:
    y, x = max(0, window.y), max(0, window.x)
    return Window(
        y, x, min(shape[0], window.y + window.h) - y, min(shape[1], window.x + window.w) - x
    )


def _nothing(bands: int, dtype: str, shape: tuple[int, int]) -> Raster:
    """What lies wholly outside a raster."""
    return Raster(np.zeros((bands, *shape), dtype), np.zeros(shape, bool))


def _paste(
    data: NDArray[Any], valid: NDArray[np.bool_], inside: Window, window: Window
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Put what was read inside the raster into a window that reaches beyond it."""
    cut = np.s_[
        inside.y - window.y : inside.y - window.y + inside.h,
        inside.x - window.x : inside.x - window.x + inside.w,
    ]
    whole = np.zeros((data.shape[0], window.h, window.w), data.dtype)
    mask = np.zeros((window.h, window.w), bool)
    whole[:, *cut] = data
    mask[cut] = valid
    return whole, mask


def resize(image: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resample one (h, w) band to `shape` with an antialiased bilinear filter, float32."""
    from PIL import Image

    band = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(band.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _resample(raster: Raster, shape: tuple[int, int]) -> Raster:
    dtype = raster.data.dtype
    data = np.stack([resize(band, shape) for band in raster.data])
    if np.issubdtype(dtype, np.integer):
        data = np.rint(data)
    return Raster(data.astype(dtype), resize(raster.valid, shape) >= 0.5)


def _scale_window(window: Window, grid: tuple[int, int], own: tuple[int, int]) -> Window:
    """The window of a raster of another size that shows the same ground."""
    if grid == own:
        return window
    sy, sx = own[0] / grid[0], own[1] / grid[1]
    y, x = round(window.y * sy), round(window.x * sx)
    return Window(y, x, max(1, round(window.h * sy)), max(1, round(window.w * sx)))


def _check_extent(first: SourceInfo, other: SourceInfo) -> None:
    if first.geobox is None or other.geobox is None:
        return
    a, b = first.geobox, other.geobox
    step = max(abs(a.resolution.x), abs(b.resolution.x))
    off = np.abs(np.subtract(a.boundingbox.bbox, b.boundingbox.bbox)).max()
    if a.crs != b.crs or off > 1.5 * step:
        raise DataError(
            f"stacked rasters cover different ground: {a.crs} {tuple(a.boundingbox.bbox)} and "
            f"{b.crs} {tuple(b.boundingbox.bbox)}",
            "Rasters that are stacked have one CRS and one extent (to 1.5 pixels).",
            "Warp the second one first: gdalwarp -t_srs CRS -te XMIN YMIN XMAX YMAX in out.",
        )
