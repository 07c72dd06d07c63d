"""Locate the bytes of pixels in a TIFF with async-tiff, to prefetch windows.

GDAL decodes the pixels, and its own rules decide which bytes it reads. This module predicts these
bytes, so that those of many windows are fetched together before GDAL requests them. Bytes that were
not predicted are fetched when GDAL requests them.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from foveate.grid import Window
    from foveate.remote.objects import RemoteObject

_MASK, _REDUCED = 0b100, 0b001
_MARGIN = 8  # bytes around a block that GDAL also reads: COGs store its size and the next one's
_NEAREST, _SLACK = 1.2, 0.1  # how much coarser an overview may be than the request, as in GDAL
_AHEAD = 32 << 20  # bytes to prefetch while pixels are decoded


@dataclass(frozen=True)
class Plane:
    """Blocks of one image of a TIFF: pixels or a mask.

    Attributes:
        shape: (height, width) in pixels.
        block: (height, width) of a block (a tile or a strip) in pixels.
        offsets: (k,) first byte of each block, in row-major order, for each band if `separate`.
        sizes: (k,) bytes of each block; 0 if the block is not stored.
        separate: Whether each band has its own blocks (planar configuration 2).
    """

    shape: tuple[int, int]
    block: tuple[int, int]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    separate: bool

    def ranges(self, window: Window, bands: Sequence[int] | None) -> list[tuple[int, int]]:
        """Return the (start, end) bytes of all stored blocks that intersect a window."""
        down, across = (-(-n // b) for n, b in zip(self.shape, self.block, strict=True))
        y0, x0 = max(0, window.y), max(0, window.x)
        y1, x1 = min(self.shape[0], window.y + window.h), min(self.shape[1], window.x + window.w)
        if y0 >= y1 or x0 >= x1:
            return []
        rows = np.arange(y0 // self.block[0], -(-y1 // self.block[0]))
        cols = np.arange(x0 // self.block[1], -(-x1 // self.block[1]))
        blocks = (rows[:, None] * across + cols).ravel()
        if self.separate:
            count = self.offsets.size // (down * across)
            indices = range(count) if bands is None else [b - 1 for b in bands if b <= count]
            blocks = np.concatenate([blocks + b * down * across for b in indices])
        blocks = blocks[self.sizes[blocks] > 0]
        starts, sizes = self.offsets[blocks], self.sizes[blocks]
        return [
            (int(a) - _MARGIN, int(a + n) + _MARGIN) for a, n in zip(starts, sizes, strict=True)
        ]


@dataclass(frozen=True)
class Pyramid:
    """An image of a TIFF and its overviews, largest first."""

    planes: tuple[Plane, ...]

    def ranges(
        self,
        window: Window,
        bands: Sequence[int] | None,
        size: tuple[int, int] | None,
        *,
        nearest: bool,
    ) -> list[tuple[int, int]]:
        """Return the bytes of the blocks that intersect a window; see `Layout.ranges`."""
        plane, scaled = self.planes[0], window
        if size is not None:
            plane = self._level(min(window.h / size[0], window.w / size[1]), nearest=nearest)
            scaled = _scale(window, self.planes[0].shape, plane.shape)
            steps = scaled.h / size[0], scaled.w / size[1]
            if any(step > side for step, side in zip(steps, plane.block, strict=True)):
                return []  # GDAL skips blocks between the sampled pixels: no prediction
        return plane.ranges(scaled, bands)

    def _level(self, factor: float, *, nearest: bool) -> Plane:
        """Return the plane that GDAL reads for a request reduced by `factor`.

        As in ``GDALBandGetBestOverviewLevel2``, this is the smallest plane that is not much coarser
        than the request.
        """
        limit = factor * (_NEAREST if nearest else 1.0) + _SLACK
        full = self.planes[0].shape
        allowed = [
            plane
            for plane in self.planes[1:]
            if min(a / b for a, b in zip(full, plane.shape, strict=True)) < limit
        ]
        return min(allowed, key=lambda plane: plane.shape, default=self.planes[0])


def _scale(window: Window, full: tuple[int, int], overview: tuple[int, int]) -> Window:
    """Convert a window of the full image to pixels of an overview, plus a margin of one pixel."""
    if overview == full:
        return window
    down, across = (b / a for a, b in zip(full, overview, strict=True))
    top, left = int(window.y * down) - 1, int(window.x * across) - 1
    bottom, right = (window.y + window.h) * down + 1, (window.x + window.w) * across + 1
    return window._replace(y=top, x=left, h=-int(-bottom // 1) - top, w=-int(-right // 1) - left)


@dataclass(frozen=True)
class Layout:
    """The images of a file: pixels, then masks."""

    images: tuple[Pyramid, ...]

    @property
    def overviews(self) -> bool:
        """Whether the file has overviews of its pixels."""
        return len(self.images[0].planes) > 1

    @property
    def first(self) -> int:
        """The first byte of pixel data."""
        stored = (p.offsets[p.sizes > 0] for image in self.images for p in image.planes)
        return min(int(offsets.min(initial=1 << 62)) for offsets in stored)

    def ranges(
        self,
        window: Window,
        bands: Sequence[int] | None = None,
        size: tuple[int, int] | None = None,
        *,
        nearest: bool = True,
    ) -> list[tuple[int, int]]:
        """Return the (start, end) bytes of the blocks of a window, including masks.

        Args:
            window: Window in pixels at full resolution.
            bands: 1-based bands; None for all.
            size: ``(height, width)`` at which GDAL reads the window; None for full resolution.
            nearest: Whether GDAL resamples by nearest neighbour; masks always are.
        """
        return [
            block
            for number, image in enumerate(self.images)
            for block in image.ranges(window, bands, size, nearest=nearest or number > 0)
        ]


def read_layout(opened: RemoteObject) -> Layout | None:
    """Read the directories of a TIFF; None if async-tiff does not support the file.

    Raises:
        FoveateError: The bytes cannot be fetched.
    """
    if opened.read(0, 4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    from async_tiff import TIFF

    from foveate.errors import FoveateError

    store = _Store(opened)
    try:
        # In a separate thread, because this one may run an event loop, as in a notebook.
        with ThreadPoolExecutor(1) as thread:
            tiff = thread.submit(lambda: asyncio.run(_open(TIFF, store))).result()
        return _layout(list(tiff.ifds))
    except FoveateError:
        raise
    except Exception:  # noqa: BLE001  (it has no error class; GDAL will report the problem)
        if store.error is not None:
            raise store.error from None
        return None


async def _open(kind: Any, store: _Store) -> Any:
    return await kind.open("", store=store)


class _Store:
    """Adapter of a remote object to the store interface of async-tiff."""

    def __init__(self, opened: RemoteObject) -> None:
        self._opened = opened
        self.error: Exception | None = None

    async def get_range_async(
        self, path: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> bytes:
        """Return one range."""
        del path
        size = (end - start) if end is not None else int(length or 0)
        try:
            return self._opened.read(start, size)
        except Exception as error:
            self.error = error
            raise

    async def get_ranges_async(
        self,
        path: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list[bytes]:
        """Return several ranges."""
        sizes = lengths or [e - s for s, e in zip(starts, ends or (), strict=True)]
        return [
            await self.get_range_async(path, start=s, length=n)
            for s, n in zip(starts, sizes, strict=True)
        ]


def _layout(directories: Sequence[Any]) -> Layout | None:
    first, *others = directories
    kinds: dict[int, list[Plane]] = {kind: [] for kind in (0, _REDUCED, _MASK, _MASK | _REDUCED)}
    for directory in others:
        kind = (directory.new_subfile_type or 0) & (_MASK | _REDUCED)
        plane = _plane(directory)
        if plane is not None:
            kinds[kind].append(plane)
    full = _plane(first)
    if full is None:
        return None
    masks = [plane for plane in kinds[_MASK] if plane.shape == full.shape]
    mask_overviews = tuple(kinds[_MASK | _REDUCED]) if len(masks) == 1 else ()
    return Layout(
        (
            Pyramid((full, *kinds[_REDUCED])),
            *(Pyramid((plane, *mask_overviews)) for plane in masks),
        )
    )


def _plane(directory: Any) -> Plane | None:
    shape = (int(directory.image_height), int(directory.image_width))
    if directory.tile_offsets is not None:
        block = (int(directory.tile_height), int(directory.tile_width))
        offsets, sizes = directory.tile_offsets, directory.tile_byte_counts
    else:
        block = (min(int(directory.rows_per_strip or shape[0]), shape[0]), shape[1])
        offsets, sizes = directory.strip_offsets, directory.strip_byte_counts
    if not offsets or not sizes or len(offsets) != len(sizes) or not all(block):
        return None
    separate = int(directory.planar_configuration) == 2 and int(directory.samples_per_pixel) > 1
    blocks = np.prod([-(-n // b) for n, b in zip(shape, block, strict=True)])
    if len(offsets) != blocks * (int(directory.samples_per_pixel) if separate else 1):
        return None
    return Plane(shape, block, np.asarray(offsets, np.int64), np.asarray(sizes, np.int64), separate)


class Ahead:
    """Prefetch windows before they are read, up to `_AHEAD` bytes at a time.

    Args:
        count: Number of windows, which are read in order.
        plan: Maps the number of a window to the objects to read and their byte ranges.
    """

    def __init__(
        self, count: int, plan: Callable[[int], list[tuple[RemoteObject, list[tuple[int, int]]]]]
    ) -> None:
        self._count, self._plan = count, plan
        self._next = 0  # the first window that is not requested yet
        self._ahead = 0  # requested bytes of windows that are not read yet
        self._sizes: dict[int, int] = {}

    def at(self, number: int) -> None:
        """Report that a window is being read, and request the following ones if necessary."""
        self._ahead -= self._sizes.pop(number, 0)
        if number >= self._next or self._ahead <= _AHEAD // 2:
            self._send(max(number, self._next))

    def _send(self, first: int) -> None:
        requests: dict[int, tuple[RemoteObject, list[tuple[int, int]]]] = {}
        self._next = first
        while self._next < self._count and (self._next == first or self._ahead < _AHEAD):
            size = 0
            for opened, ranges in self._plan(self._next):
                requests.setdefault(id(opened), (opened, []))[1].extend(ranges)
                size += sum(b - a for a, b in ranges)
            self._sizes[self._next] = size
            self._ahead += size
            self._next += 1
        for opened, ranges in requests.values():
            opened.need(ranges, wait=False)
