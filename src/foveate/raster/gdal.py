"""Raster files, read through GDAL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.errors import FoveateError
from foveate.files import digest, fingerprint, printable
from foveate.grid import Window
from foveate.location import URL, is_url, locate, remember, signature_of
from foveate.raster.base import BaseSource, Raster, SourceInfo
from foveate.raster.datasets import open_dataset, read_bands
from foveate.raster.header import Stored, read_stored
from foveate.raster.orientation import TURNS
from foveate.raster.reading import Asked, Reading, decide, exact, holds
from foveate.raster.stored import StoredPixels, read_stored_pixels
from foveate.raster.windows import check_bands, clip, nothing, paste, resample, sampled_shape
from foveate.remote import open_object
from foveate.remote.objects import beside, trust
from foveate.remote.spool import limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import rasterio
    from numpy.typing import NDArray

    from foveate.raster.reading import LabelValues
    from foveate.remote import RemoteObject

_STRIP = 1 << 24  # values read at once when a large window is sampled
_EPSILON = 1e-10  # as in GDAL, in pixels
SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".vrt")


@dataclass(frozen=True)
class FileSource(BaseSource):
    """A raster file readable by GDAL: a local file, an object, or a file of a web server.

    Attributes:
        path: The file, or its URL; credentials are removed from the URL, see `foveate.location`.
        nodata: Stored value of missing pixels, which replaces the declared value; None for the
            declared value.
        palette: Whether a palette image is read as colours (3 bands) or as indices (1 band).
        physical: Whether scale and offset are applied (stored * scale + offset).
        labels: For a mask, the values of its classes in the classes file.

    Raises:
        DataError: On first use, if the file cannot be read, or has complex numbers.
        ParameterError: On first use, if the nodata value is out of range for the dtype.
    """

    path: str
    nodata: float | int | None = None
    palette: bool = True
    physical: bool = False
    labels: LabelValues | None = None

    def __post_init__(self) -> None:
        """Remove credentials from a URL."""
        if is_url(self.path):
            object.__setattr__(self, "path", str(locate(self.path)))

    def __getstate__(self) -> dict[str, Any]:
        """Include the header of a remote file, so that workers open it without a request."""
        state = dict(self.__dict__)
        if is_url(self.path) and self.is_open:
            state["_remote"] = (signature_of(self.path), open_object(self.path).header)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the header of a remote file."""
        known = state.pop("_remote", None)
        self.__dict__.update(state)
        if known is not None:
            remember(self.path, known[0])
            trust(URL(self.path), known[1])

    def blocks(
        self,
        window: Window,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> tuple[RemoteObject, list[tuple[int, int]]] | None:
        """Return the remote object and the byte ranges of a window; None if unknown.

        Args:
            window: Pixels of the upright picture, as for `read`.
            bands: 1-based band numbers; all if None.
            out_shape: As for `read`.
        """
        if not is_url(self.path):
            return None
        turn, info = self._reading.turn, self.info
        wanted = check_bands(bands, info.bands, self.path)
        stored = turn.window(window, info.shape)
        inside = clip(stored, self._file[0].shape)
        size, nearest = self._size(stored, inside, out_shape and turn.shape(out_shape))
        if not self._reading.overviews:
            size = None  # see `_sample`
        return self._stored_blocks(inside, wanted, size, nearest=nearest)

    def _stored_blocks(
        self,
        window: Window,
        wanted: tuple[int, ...],
        size: tuple[int, int] | None,
        *,
        nearest: bool,
    ) -> tuple[RemoteObject, list[tuple[int, int]]] | None:
        """Return the byte ranges of a window of stored pixels, read at a size; see `blocks`."""
        opened, reading = open_object(self.path), self._reading
        layout = opened.layout
        if layout is None:
            return None
        if size is not None and not layout.overviews and beside(opened, f"{opened.url.name}.ovr"):
            return None  # overviews are in a separate file
        bands = None
        if not reading.colours:
            bands = [*(reading.indexes[b - 1] for b in wanted), *reading.alpha]
        return opened, layout.ranges(window, bands, size, nearest=nearest)

    @property
    def is_remote(self) -> bool:
        """Whether the file is read from an object store or a web server."""
        return is_url(self.path)

    @property
    def is_open(self) -> bool:
        """Whether the header has been read."""
        return "_file" in self.__dict__

    def with_options(self, **changes: Any) -> Self:
        """Return the same file with other options, without opening it again."""
        other = replace(self, **changes)
        if self.is_open:
            other.__dict__["_file"] = self._file
        return other

    @cached_property
    def info(self) -> SourceInfo:
        """Metadata of the header and the fingerprint of the content, as first read."""
        return self.described(*self._file, self._reading)

    def described(self, file: Stored, content: str, reading: Reading) -> SourceInfo:
        """Return the metadata of a file from its header and a hash of its content.

        Args:
            file: Its header.
            content: Hash of the content.
            reading: How the file is read.
        """
        plain = decide(file.header, Asked(palette=self.palette))
        if (reading.indexes, reading.scaling) != (plain.indexes, plain.scaling):
            content = digest([content, reading.indexes, reading.scaling])
        return SourceInfo(
            shape=reading.turn.shape(file.shape),
            bands=reading.bands,
            dtype=reading.dtype,
            nodata=None if reading.value is None else exact(reading.value),
            geobox=file.geobox,
            fingerprint=content,
            descriptions=reading.descriptions,
            masked=bool(reading.rules),
            unplaced=file.unplaced,
            rules=reading.rules,
            scaling=file.header.scaling_of(reading.indexes),
            orientation=file.header.orientation,
            lossy=file.header.lossy,
            remarks=reading.remarks,
        )

    def _read(
        self, window: Window, bands: Sequence[int] | None, out_shape: tuple[int, int] | None
    ) -> Raster:
        info, turn = self.info, self._reading.turn
        wanted = check_bands(bands, info.bands, self.path)
        raster = self._read_stored(
            turn.window(window, info.shape), wanted, out_shape and turn.shape(out_shape)
        )
        if turn is TURNS[1]:
            return raster
        return Raster(turn.apply(raster.data), turn.apply(raster.valid))

    def stored(self, window: Window | None = None) -> StoredPixels:
        """Read a window of stored values: all bands including alpha, without decoding.

        Args:
            window: Pixels of the upright picture, as for `read`; the whole raster if None. Pixels
                outside the raster have the nodata value, otherwise NaN or 0, and are masked.
        """
        info, turn = self.info, self._reading.turn
        window = window or Window(0, 0, *info.shape)
        stored = turn.window(window, info.shape)
        with open_dataset(self.path) as dataset:
            nodata = dataset.nodata if self.nodata is None else self.nodata
            pixels = read_stored_pixels(dataset, stored, clip(stored, dataset.shape), nodata)
        if pixels.colormap is not None and self._file[0].header.palette is None:
            pixels = replace(pixels, colours=("gray",), colormap=None)  # synthesised by GDAL
        if turn is TURNS[1]:
            return pixels
        mask = None if pixels.mask is None else turn.apply(pixels.mask)
        return replace(pixels, data=turn.apply(pixels.data), mask=mask)

    def _read_stored(
        self, window: Window, wanted: tuple[int, ...], out_shape: tuple[int, int] | None
    ) -> Raster:
        """Read a window in the stored orientation."""
        reading, shape = self._reading, self._file[0].shape
        inside = clip(window, shape)
        if inside.h < 1 or inside.w < 1:
            return nothing(len(wanted), reading.dtype, out_shape or (window.h, window.w))
        size, resampled_here = self._size(window, inside, out_shape)
        with open_dataset(self.path) as dataset:
            if size is None or reading.overviews:
                data, valid = self._read_inside(
                    dataset, inside, wanted, size, nearest=resampled_here
                )
            else:
                data, valid = self._sample(dataset, inside, wanted, size)
        if inside != window:
            data, valid = paste(data, valid, inside, window)
        raster = Raster(data, valid)
        if out_shape not in (None, (window.h, window.w)) and resampled_here:
            # Colours of a palette are classes: they are never interpolated.
            return resample(raster, out_shape, nearest=reading.colours)
        return raster

    def _size(
        self, window: Window, inside: Window, out_shape: tuple[int, int] | None
    ) -> tuple[tuple[int, int] | None, bool]:
        """Return the size at which GDAL reads a window, and whether it is resampled here.

        GDAL would interpolate between valid pixels and nodata given by the user, NaN, or pixels
        outside the raster, and between stored values before they are decoded. If any of these can
        occur, the second value is True: pixels are read unchanged and resampled here. The size is
        None for the native size; at a smaller size overviews are read, if they are suitable.
        """
        reading, full = self._reading, (window.h, window.w)
        resampled_here = bool(reading.rules or reading.levels or reading.scaling)
        resampled_here |= inside != window or not reading.overviews
        if out_shape is None or out_shape == full:
            return None, resampled_here
        if not resampled_here:
            return out_shape, False
        small = sampled_shape(window, out_shape)
        return (small if inside == window and small != full else None), True

    def _fetch(
        self, window: Window, wanted: tuple[int, ...], size: tuple[int, int] | None, *,
        nearest: bool,
    ) -> None:  # fmt: skip
        """Fetch the blocks of a stored window in parallel, before GDAL requests each of them."""
        blocks = self._stored_blocks(window, wanted, size, nearest=nearest)
        # More bytes than the cache holds would be evicted before GDAL requests them.
        if blocks is not None and sum(b - a for a, b in blocks[1]) <= limit() // 2:
            blocks[0].need(blocks[1])

    def _read_inside(
        self,
        dataset: rasterio.DatasetReader,
        window: Window,
        wanted: tuple[int, ...],
        size: tuple[int, int] | None,
        *,
        nearest: bool,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return pixels and mask of a window inside the raster, resampled if a size is given."""
        from rasterio.enums import Resampling
        from rasterio.windows import Window as RasterioWindow

        if is_url(self.path):
            self._fetch(window, wanted, size, nearest=nearest)
        reading = self._reading
        picked = [0] if reading.colours else [b - 1 for b in wanted]
        indexes = [reading.indexes[i] for i in picked]
        offsets: tuple[Any, ...] = (window.x, window.y, window.w, window.h)
        where: dict[str, Any] = {"window": RasterioWindow(*offsets)}
        how = Resampling.nearest
        if size is not None:
            where["out_shape"] = size
            if not nearest:
                smaller = size[0] * size[1] < window.h * window.w
                how = Resampling.average if smaller else Resampling.bilinear
        data = read_bands(dataset, indexes, resampling=how, **where)
        valid = _valid(dataset, data, reading, picked, where)
        if reading.table is not None:
            data = reading.table[data]
            if reading.colours:
                data = np.moveaxis(data[0], -1, 0)[[b - 1 for b in wanted]]
        if reading.scaling:
            scale, offset = np.array([reading.scaling[i] for i in picked]).T[:, :, None, None]
            data = data * scale + offset
        return data.astype(reading.dtype, copy=False), valid

    def _sample(
        self,
        dataset: rasterio.DatasetReader,
        window: Window,
        wanted: tuple[int, ...],
        size: tuple[int, int],
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the nearest pixels and mask of a window at a size, without overviews.

        GDAL cannot be told to ignore the overviews of masks and of the source files of a VRT.
        """
        rows, cols = (
            ((np.arange(n) + 0.5) * side / n + _EPSILON).astype(np.int64)
            for n, side in zip(size, (window.h, window.w), strict=True)
        )
        strip = max(1, _STRIP // (window.w * len(wanted)))
        parts = []
        for which in np.split(rows, np.flatnonzero(np.diff(rows // strip)) + 1):
            top, bottom = int(which[0]), int(which[-1]) + 1
            part = window._replace(y=window.y + top, h=bottom - top)
            data, valid = self._read_inside(dataset, part, wanted, None, nearest=True)
            parts.append((data[:, which - top][..., cols], valid[which - top][:, cols]))
        return (
            np.concatenate([data for data, _ in parts], axis=1),
            np.concatenate([valid for _, valid in parts]),
        )

    @cached_property
    def _file(self) -> tuple[Stored, str]:
        """Header of the file, and a hash of its content."""
        with open_dataset(self.path) as dataset:
            found = read_stored(self.path, dataset), _content(self.path, dataset)
        if is_url(self.path):
            open_object(self.path).finish_opening()
        return found

    @cached_property
    def _reading(self) -> Reading:
        asked = Asked(self.nodata, self.palette, self.physical, self.labels)
        try:
            return decide(self._file[0].header, asked)
        except FoveateError as error:
            given = f"{printable(self.path)!r}: {error.given}"
            raise type(error)(given, error.allowed, error.hint) from error


def _content(path: str, dataset: rasterio.DatasetReader) -> str:
    """Hash the file of a raster, its sidecars, and the source files of a VRT."""
    if is_url(path):
        opened = open_object(path)
        there = [[name, vars(meta)] for name, meta in sorted(opened.beside.items()) if meta]
        return digest(["remote", opened.fingerprint, there])
    parts = []
    for name in dataset.files:
        if name != path and name.lower().endswith(".vrt"):
            with open_dataset(name) as inner:
                parts.append(_content(name, inner))
        else:
            # Only the name of a part inside an archive or behind a URL is hashed.
            parts.append(fingerprint(name) if Path(name).exists() else name)
    return parts[0] if len(parts) == 1 else digest(parts)


def _valid(
    dataset: rasterio.DatasetReader,
    data: NDArray[Any],
    reading: Reading,
    picked: Sequence[int],
    where: dict[str, Any],
) -> NDArray[np.bool_]:
    """Return (h, w) whether all rules hold for stored pixels of the 0-based bands `picked`."""
    valid = np.ones(data.shape[1:], bool)
    for band in reading.alpha:
        valid &= dataset.read(band, **where) > 0
    if reading.mask in ("dataset", "key"):
        valid &= dataset.read_masks(reading.indexes[0], **where) > 0
    elif reading.mask:
        masks = dataset.read_masks([reading.indexes[i] for i in picked], **where) > 0
        valid &= masks.all(axis=0) if reading.mask == "bands" else masks.any(axis=0)
    dtypes = [np.dtype(dataset.dtypes[reading.indexes[i] - 1]) for i in picked]
    valid &= ~_missing(data, dtypes, [reading.nodata[i] for i in picked])
    if np.issubdtype(data.dtype, np.floating):
        valid &= np.isfinite(data).all(axis=0)
    if reading.shown is not None:
        valid &= np.frombuffer(reading.shown, bool)[data[0]]
    return valid


def _missing(
    data: NDArray[Any], dtypes: Sequence[np.dtype[Any]], nodata: Sequence[float | int | None]
) -> NDArray[np.bool_]:
    """Return (h, w) whether all bands that have a nodata value, in their dtype, are equal to it."""
    marked = [
        band == dtype.type(value)
        for band, dtype, value in zip(data, dtypes, nodata, strict=True)
        if value is not None and holds(dtype, value)
    ]
    return np.logical_and.reduce(marked) if marked else np.zeros(data.shape[1:], bool)
