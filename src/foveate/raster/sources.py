"""Sources that are no single file: arrays in memory, and stacks of other sources."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import digest
from foveate.grid import Window
from foveate.raster.base import Raster, Source, SourceInfo
from foveate.raster.ground import onto, other_ground, warp
from foveate.raster.windows import (
    blend,
    check_bands,
    clip,
    nothing,
    paste,
    resample,
    sampled_shape,
    taps,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox


@dataclass(frozen=True)
class ArraySource:
    """An array in memory as a source.

    Attributes:
        data: (c, h, w) of any dtype; not to be changed any more, its hash is kept.
        valid: (h, w) bool, or None when every (finite) pixel is valid.
        geobox: Georeference, or None.
    """

    data: NDArray[Any]
    valid: NDArray[np.bool_] | None = None
    geobox: GeoBox | None = None

    @cached_property
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
            rules=("the mask given",) * (self.valid is not None)
            + ("finite values",) * bool(np.issubdtype(self.data.dtype, np.floating)),
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
        data = self.data[:, *cut][[b - 1 for b in wanted]]
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

    Further rasters of another size are resampled, bilinear where they are coarser and averaged
    where they are finer, on the exact geometry: a window equals the same cut of the whole. They
    must cover the same ground: the same extent when they have a georeference, the same picture
    otherwise.

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

    @cached_property
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
            rules=tuple(dict.fromkeys(rule for i in infos for rule in i.rules)),
            scaling=tuple(pair for i in infos for pair in i.scaling or ((1.0, 0.0),) * i.bands)
            if any(i.scaling for i in infos)
            else (),
            lossy=any(i.lossy for i in infos),
            remarks=tuple(dict.fromkeys(remark for i in infos for remark in i.remarks)),
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
            numbers = [b for _, b in here]
            if source.info.shape == info.shape:
                part = source.read(window, bands=numbers, out_shape=out_shape)
            else:
                part = _read_regridded(source, numbers, info, window, shape)
            data[[i for i, _ in here]] = part.data
            valid &= part.valid
        return Raster(data, valid)


def _read_regridded(
    source: Source,
    bands: Sequence[int],
    grid: SourceInfo,
    window: Window,
    shape: tuple[int, int],
) -> Raster:
    """Read the ground of a window of `grid` from a raster of another size, as `shape` pixels."""
    own = source.info.shape
    cut = clip(window, grid.shape)
    if cut.h < 1 or cut.w < 1:
        return nothing(len(bands), source.info.dtype, shape)
    starts, sides = (window.y, window.x), (window.h, window.w)
    marks = [
        y + np.arange(m + 1, dtype=np.float64) * (h / m)
        for y, h, m in zip(starts, sides, shape, strict=True)
    ]
    geometry = _geometry(grid, source.info)
    edges = [e * scale + shift for e, (scale, shift) in zip(marks, geometry, strict=True)]
    # One pixel more on each side is what bilinear needs.
    first = [int(np.clip(np.floor(e[0]) - 1, 0, n - 1)) for e, n in zip(edges, own, strict=True)]
    after = [int(np.clip(np.ceil(e[-1]) + 1, 1, n)) for e, n in zip(edges, own, strict=True)]
    cover = Window(first[0], first[1], after[0] - first[0], after[1] - first[1])
    size = sampled_shape(cover, shape)
    part = source.read(cover, bands=bands, out_shape=None if size == cover[2:] else size)
    axes = []
    for i in range(2):
        step, limits = sides[i] / shape[i] * geometry[i][0], (first[i], after[i])
        place, factor = edges[i], size[i] / cover[2 + i]
        if factor != 1:
            place, step, limits = (place - first[i]) * factor, step * factor, (0, size[i])
        axes.append(taps(place, step, limits))
    found = blend(part, axes[0], axes[1])
    rows, cols = (
        ((m[:-1] + m[1:]) / 2 > 0) & ((m[:-1] + m[1:]) / 2 < n)
        for m, n in zip(marks, grid.shape, strict=True)
    )
    return Raster(found.data, found.valid & rows[:, None] & cols)


def _geometry(
    grid: SourceInfo, other: SourceInfo
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Scale and shift from pixels of one raster to those of the other, for rows and columns."""
    if grid.geobox is None or other.geobox is None:
        (h, w), (oh, ow) = grid.shape, other.shape
        return (oh / h, 0.0), (ow / w, 0.0)
    there = onto(grid.geobox, other.geobox)
    return (float(there[1, 1]), float(there[1, 2])), (float(there[0, 0]), float(there[0, 2]))


def _check_extent(first: SourceInfo, other: SourceInfo) -> None:
    if found := other_ground(first, other):
        raise DataError(
            f"stacked rasters cover different ground: the further one {found}",
            "Rasters that are stacked have one CRS and one extent (to 1.5 pixels).",
            warp(first, resampling="bilinear", size=False),
        )


@dataclass(frozen=True)
class FlippedSource:
    """A source with its rows in the opposite order: one that is stored from south to north.

    Attributes:
        source: As it is stored.
    """

    source: Source

    @cached_property
    def info(self) -> SourceInfo:
        """What is known of the source, with a georeference whose rows run the other way."""
        from affine import Affine
        from odc.geo.geobox import GeoBox

        info = self.source.info
        if info.geobox is None:
            return info
        turned = info.geobox.affine @ Affine(1, 0, 0, 0, -1, info.shape[0])
        return replace(info, geobox=GeoBox(info.shape, turned, info.geobox.crs))

    def read(
        self,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> Raster:
        """Read a window; see `Source.read`."""
        if window is not None:
            window = window._replace(y=self.source.info.shape[0] - window.y - window.h)
        found = self.source.read(window, bands=bands, out_shape=out_shape)
        return Raster(found.data[:, ::-1].copy(), found.valid[::-1].copy())
