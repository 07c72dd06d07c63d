"""Sources that are no single file: arrays in memory, and stacks of other sources."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import digest
from foveate.grid import Window
from foveate.raster.base import Raster, Source, SourceInfo
from foveate.raster.windows import check_bands, clip, nothing, paste, resample, scale_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox


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
        wanted = check_bands(bands, self.data.shape[0], "the array")
        window = window or Window(0, 0, *shape)
        inside = clip(window, shape)
        if inside.h < 1 or inside.w < 1:
            return nothing(len(wanted), self.data.dtype.name, out_shape or (window.h, window.w))
        cut = np.s_[inside.y : inside.y + inside.h, inside.x : inside.x + inside.w]
        data = self.data[[b - 1 for b in wanted]][:, *cut]
        valid = np.ones(data.shape[1:], bool) if self.valid is None else self.valid[cut].copy()
        if np.issubdtype(data.dtype, np.floating):
            valid &= np.isfinite(data).all(axis=0)
        if inside != window:
            data, valid = paste(data, valid, inside, window)
        raster = Raster(data, valid)
        return raster if out_shape is None else resample(raster, out_shape)


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
        wanted = check_bands(bands, info.bands, "the stacked files")
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
            own = scale_window(window, info.shape, source.info.shape)
            exact = own == window and out_shape is None
            part = source.read(own, bands=[b for _, b in here], out_shape=None if exact else shape)
            data[[i for i, _ in here]] = part.data
            valid &= part.valid
        return Raster(data, valid)


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
