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
class Layout:
    """The planes of a file at its full resolution."""

    planes: tuple[Plane, ...]

    @property
    def first(self) -> int:
        """First byte that belongs to pixels."""
        stored = (plane.offsets[plane.sizes > 0] for plane in self.planes)
        return min(int(offsets.min(initial=1 << 62)) for offsets in stored)

    def ranges(self, window: Window, bands: Sequence[int] | None = None) -> list[tuple[int, int]]:
        """Return the bytes of the blocks under a window, those of a mask among them."""
        return [r for plane in self.planes for r in plane.ranges(window, bands)]


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
        planes = _planes(list(tiff.ifds))
    except FoveateError:
        raise
    except Exception:  # noqa: BLE001  (it has no error of its own; GDAL will say what is wrong)
        if store.error is not None:
            raise store.error from None
        return None
    return Layout(planes) if planes else None


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


def _planes(directories: Sequence[Any]) -> tuple[Plane, ...]:
    first = directories[0]
    own = (first.image_height, first.image_width)
    masks = [
        d for d in directories[1:]
        if (d.new_subfile_type or 0) & (_MASK | _REDUCED) == _MASK
        and (d.image_height, d.image_width) == own
    ]  # fmt: skip
    found = [_plane(directory) for directory in (first, *masks)]
    return () if found[0] is None else tuple(plane for plane in found if plane is not None)


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
