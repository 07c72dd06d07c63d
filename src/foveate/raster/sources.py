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
from foveate.raster.base import BaseSource, Raster, Source, SourceInfo
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


_COLOURS = 4  # maximum number of bands of arrays (h, w, c): RGB and alpha


@dataclass(frozen=True)
class ArraySource(BaseSource):
    """An array in memory as a source.

    Attributes:
        data: (c, h, w) of any dtype; must not be modified, because its hash is cached.
        valid: (h, w) bool, or None if every (finite) pixel is valid.
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
            rules=("the given mask",) * (self.valid is not None)
            + ("finite values",) * bool(np.issubdtype(self.data.dtype, np.floating)),
        )

    def _read(
        self, window: Window, bands: Sequence[int] | None, out_shape: tuple[int, int] | None
    ) -> Raster:
        shape = (self.data.shape[1], self.data.shape[2])
        wanted = check_bands(bands, self.data.shape[0], "the array")
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


def given_source(image: Any) -> Source:
    """Return an image given in Python as a source.

    Args:
        image: An array (c, h, w), or a `Source`.

    Raises:
        DataError: The image is of another type, or an array of another shape. Arrays (h, w, c),
            which other libraries use, are recognised by at most 4 bands in the last axis.
    """
    if isinstance(image, Source):
        return image
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"an image of the type {type(image).__name__}",
            "An image must be a file, a Source, or an array (c, h, w).",
            "Convert a picture: numpy.asarray(picture.convert('RGB')).transpose(2, 0, 1).",
        )
    if image.ndim != 3:
        raise DataError(f"an array of shape {image.shape}", "The shape must be (c, h, w).")
    if image.shape[2] <= _COLOURS < min(image.shape[:2]):
        raise DataError(
            f"an array of shape {image.shape}: its last axis seems to be that of the bands",
            "The shape must be (c, h, w).",
            "Transpose it: image.transpose(2, 0, 1).",
        )
    return ArraySource(image)


@dataclass(frozen=True)
class StackSource(BaseSource):
    """The bands of several rasters on the grid of the first.

    Further rasters of another size are resampled, bilinear if they are coarser and averaged if they
    are finer, by the exact geometry: a window equals the same crop of the whole. They must cover
    the same ground: the same extent if they are georeferenced, otherwise this is assumed.

    Attributes:
        sources: The rasters; the first defines the grid.

    Raises:
        DataError: The rasters cover different ground.
    """

    sources: tuple[Source, ...]

    def __post_init__(self) -> None:
        """Check that the extents are equal."""
        first = self.sources[0].info
        for source in self.sources[1:]:
            _check_extent(first, source.info)

    @cached_property
    def info(self) -> SourceInfo:
        """Grid of the first raster, bands of all, and their common dtype."""
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

    def _read(
        self, window: Window, bands: Sequence[int] | None, out_shape: tuple[int, int] | None
    ) -> Raster:
        """Read a window; a pixel is valid if it is valid in every raster that is read."""
        info = self.info
        wanted = check_bands(bands, info.bands, "the stacked files")
        shape = out_shape or (window.h, window.w)
        data = np.empty((len(wanted), *shape), info.dtype)
        valid = np.ones(shape, bool)
        offset = 0
        for source in self.sources:
            count = source.info.bands
            part_bands = [
                (i, b - offset) for i, b in enumerate(wanted) if offset < b <= offset + count
            ]
            offset += count
            if not part_bands:
                continue
            numbers = [b for _, b in part_bands]
            if source.info.shape == info.shape:
                part = source.read(window, bands=numbers, out_shape=out_shape)
            else:
                part = _read_regridded(source, numbers, info, window, shape)
            data[[i for i, _ in part_bands]] = part.data
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
    # Bilinear interpolation needs one more pixel on each side.
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
    """Return scale and offset from pixels of one raster to another, for rows and columns."""
    if grid.geobox is None or other.geobox is None:
        (h, w), (oh, ow) = grid.shape, other.shape
        return (oh / h, 0.0), (ow / w, 0.0)
    matrix = onto(grid.geobox, other.geobox)
    return (float(matrix[1, 1]), float(matrix[1, 2])), (float(matrix[0, 0]), float(matrix[0, 2]))


def _check_extent(first: SourceInfo, other: SourceInfo) -> None:
    if difference := other_ground(first, other):
        raise DataError(
            f"stacked rasters cover different ground: a further raster {difference}",
            "Stacked rasters must have the same CRS and extent (to 1.5 pixels).",
            warp(first, resampling="bilinear", size=False),
        )


@dataclass(frozen=True)
class FlippedSource(BaseSource):
    """A source with reversed rows, for rasters stored from south to north.

    Attributes:
        source: The source in the stored order.
    """

    source: Source

    @cached_property
    def info(self) -> SourceInfo:
        """Metadata of the source, with the georeference of the reversed rows."""
        from affine import Affine
        from odc.geo.geobox import GeoBox

        info = self.source.info
        if info.geobox is None:
            return info
        turned = info.geobox.affine @ Affine(1, 0, 0, 0, -1, info.shape[0])
        return replace(info, geobox=GeoBox(info.shape, turned, info.geobox.crs))

    def _read(
        self, window: Window, bands: Sequence[int] | None, out_shape: tuple[int, int] | None
    ) -> Raster:
        window = window._replace(y=self.source.info.shape[0] - window.y - window.h)
        found = self.source.read(window, bands=bands, out_shape=out_shape)
        return Raster(found.data[:, ::-1].copy(), found.valid[::-1].copy())
