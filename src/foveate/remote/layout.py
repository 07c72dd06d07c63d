"""Which bytes of a TIFF hold which pixels, by async-tiff, so that windows are fetched ahead.

GDAL decodes, and by its own rules decides which bytes it reads: what is planned here is only here
sooner, many windows at once. What has no plan is read as GDAL asks for it.
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
_AROUND = (
    8  # bytes beside a block that GDAL reads, too: COGs repeat its size there, and that of the next
)
_NEAREST, _NEARLY = 1.2, 0.1  # how much coarser an overview may be than what is asked of GDAL
_AHEAD = 32 << 20  # bytes that are on their way while pixels are decoded


@dataclass(frozen=True)
class Plane:
    """Blocks of one image of a TIFF: its pixels, or its mask.

    Attributes:
        shape: (height, width) in pixels.
        block: (height, width) of a block, which is a tile or a strip.
        offsets: (k,) first byte of each block, row by row; band by band where these are apart.
        sizes: (k,) bytes of each block; 0 where it is not stored.
        apart: Whether each band has blocks of its own.
    """

    shape: tuple[int, int]
    block: tuple[int, int]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    apart: bool

    def ranges(self, window: Window, bands: Sequence[int] | None) -> list[tuple[int, int]]:
        """Return the bytes of the blocks under a window."""
        down, across = (-(-n // b) for n, b in zip(self.shape, self.block, strict=True))
        y0, x0 = max(0, window.y), max(0, window.x)
        y1, x1 = min(self.shape[0], window.y + window.h), min(self.shape[1], window.x + window.w)
        if y0 >= y1 or x0 >= x1:
            return []
        rows = np.arange(y0 // self.block[0], -(-y1 // self.block[0]))
        cols = np.arange(x0 // self.block[1], -(-x1 // self.block[1]))
        blocks = (rows[:, None] * across + cols).ravel()
        if self.apart:
            count = self.offsets.size // (down * across)
            wanted = range(count) if bands is None else [b - 1 for b in bands if b <= count]
            blocks = np.concatenate([blocks + b * down * across for b in wanted])
        blocks = blocks[self.sizes[blocks] > 0]
        starts, sizes = self.offsets[blocks], self.sizes[blocks]
        return [
            (int(a) - _AROUND, int(a + n) + _AROUND) for a, n in zip(starts, sizes, strict=True)
        ]


@dataclass(frozen=True)
class Pyramid:
    """An image of a TIFF and its overviews, the largest first."""

    planes: tuple[Plane, ...]

    def ranges(
        self,
        window: Window,
        bands: Sequence[int] | None,
        size: tuple[int, int] | None,
        *,
        nearest: bool,
    ) -> list[tuple[int, int]]:
        """Return the bytes of the blocks under a window; see `Layout.ranges`."""
        plane, own = self.planes[0], window
        if size is not None:
            plane = self._level(min(window.h / size[0], window.w / size[1]), nearest=nearest)
            own = _scaled(window, self.planes[0].shape, plane.shape)
            steps = own.h / size[0], own.w / size[1]
            if any(step > side for step, side in zip(steps, plane.block, strict=True)):
                return []  # blocks between those that are looked at are not read
        return plane.ranges(own, bands)

    def _level(self, factor: float, *, nearest: bool) -> Plane:
        """Return the plane that GDAL reads a window from that is shown `factor` times smaller.

        As ``GDALBandGetBestOverviewLevel2`` does: the smallest that is not much coarser.
        """
        limit = factor * (_NEAREST if nearest else 1.0) + _NEARLY
        whole = self.planes[0].shape
        fitting = [
            plane
            for plane in self.planes[1:]
            if min(a / b for a, b in zip(whole, plane.shape, strict=True)) < limit
        ]
        return min(fitting, key=lambda plane: plane.shape, default=self.planes[0])


def _scaled(window: Window, whole: tuple[int, int], own: tuple[int, int]) -> Window:
    """Return the pixels of an overview under a window of the whole image, and one more around."""
    if own == whole:
        return window
    down, across = (b / a for a, b in zip(whole, own, strict=True))
    top, left = int(window.y * down) - 1, int(window.x * across) - 1
    bottom, right = (window.y + window.h) * down + 1, (window.x + window.w) * across + 1
    return window._replace(y=top, x=left, h=-int(-bottom // 1) - top, w=-int(-right // 1) - left)


@dataclass(frozen=True)
class Layout:
    """The images of a file: its pixels, then its masks."""

    images: tuple[Pyramid, ...]

    @property
    def overviews(self) -> bool:
        """Whether it holds overviews of its pixels."""
        return len(self.images[0].planes) > 1

    @property
    def first(self) -> int:
        """First byte that belongs to pixels."""
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
        """Return the bytes of the blocks under a window, those of a mask among them.

        Args:
            window: Stored pixels at full resolution.
            bands: 1-based bands, all when None.
            size: ``(height, width)`` at which GDAL reads it; its own when None.
            nearest: Whether GDAL then takes the nearest pixel; a mask always is read so.
        """
        return [
            found
            for number, image in enumerate(self.images)
            for found in image.ranges(window, bands, size, nearest=nearest or number > 0)
        ]


def read_layout(opened: RemoteObject) -> Layout | None:
    """Read the directories of a TIFF; None for anything that async-tiff does not read."""
    if opened.read(0, 4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    from async_tiff import TIFF

    from foveate.errors import FoveateError

    store = _Store(opened)
    try:
        # In a thread of its own: there may be a loop in this one, as in a notebook.
        with ThreadPoolExecutor(1) as thread:
            tiff = thread.submit(lambda: asyncio.run(_open(TIFF, store))).result()
        return _layout(list(tiff.ifds))
    except FoveateError:
        raise
    except Exception:  # noqa: BLE001  (it has no error of its own; GDAL will say what is wrong)
        if store.error is not None:
            raise store.error from None
        return None


async def _open(kind: Any, store: _Store) -> Any:
    return await kind.open("", store=store)


class _Store:
    """The bytes of an object, as async-tiff asks for them."""

    def __init__(self, opened: RemoteObject) -> None:
        self._opened = opened
        self.error: Exception | None = None

    async def get_range_async(
        self, path: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> bytes:
        """Return a range."""
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
    whole = _plane(first)
    if whole is None:
        return None
    masks = [plane for plane in kinds[_MASK] if plane.shape == whole.shape]
    smaller = tuple(kinds[_MASK | _REDUCED]) if len(masks) == 1 else ()
    return Layout(
        (
            Pyramid((whole, *kinds[_REDUCED])),
            *(Pyramid((plane, *smaller)) for plane in masks),
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
    apart = int(directory.planar_configuration) == 2 and int(directory.samples_per_pixel) > 1
    blocks = np.prod([-(-n // b) for n, b in zip(shape, block, strict=True)])
    if len(offsets) != blocks * (int(directory.samples_per_pixel) if apart else 1):
        return None
    return Plane(shape, block, np.asarray(offsets, np.int64), np.asarray(sizes, np.int64), apart)


class Ahead:
    """Fetches windows before they are read: as many as are `_AHEAD` bytes.

    Args:
        count: Number of windows to come, in order.
        plan: Number of a window -> the objects that it is read from, and the bytes there.
    """

    def __init__(
        self, count: int, plan: Callable[[int], list[tuple[RemoteObject, list[tuple[int, int]]]]]
    ) -> None:
        self._count, self._plan = count, plan
        self._next = 0  # the first window that is not on its way
        self._ahead = 0  # bytes that were sent for, of windows that are not read yet
        self._sizes: dict[int, int] = {}

    def at(self, number: int) -> None:
        """Say that a window is read now: those behind it are sent for."""
        self._ahead -= self._sizes.pop(number, 0)
        if number >= self._next or self._ahead <= _AHEAD // 2:
            self._send(max(number, self._next))

    def _send(self, first: int) -> None:
        together: dict[int, tuple[RemoteObject, list[tuple[int, int]]]] = {}
        self._next = first
        while self._next < self._count and (self._next == first or self._ahead < _AHEAD):
            size = 0
            for opened, ranges in self._plan(self._next):
                together.setdefault(id(opened), (opened, []))[1].extend(ranges)
                size += sum(b - a for a, b in ranges)
            self._sizes[self._next] = size
            self._ahead += size
            self._next += 1
        for opened, ranges in together.values():
            opened.need(ranges, wait=False)
