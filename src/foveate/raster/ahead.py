"""Prefetch windows of remote files in parallel, before they are read in sequence."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from foveate.errors import FoveateError
from foveate.location import URL
from foveate.raster.gdal import FileSource
from foveate.raster.sources import StackSource
from foveate.remote import Ahead, open_object, open_together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from foveate.grid import Window
    from foveate.raster.base import Source
    from foveate.remote import RemoteObject

    Look = tuple[Source, Window] | tuple[Source, Window, tuple[int, int] | None]


def read_ahead(
    sources: Iterable[Source | None],
    count: int,
    wanted: Callable[[int], Sequence[Look]],
    bands: Sequence[int] | None = None,
) -> Ahead:
    """Return an object that prefetches windows; call ``at(number)`` before each step.

    Args:
        sources: All sources that will be read.
        count: Number of steps, in order.
        wanted: Number of a step -> the windows that it reads, with the shape at which they are
            read, if it is not their native shape.
        bands: 1-based bands that are read of each source; all if None.
    """

    def plan(number: int) -> list[tuple[RemoteObject, list[tuple[int, int]]]]:
        blocks = []
        for source, window, *shape in wanted(number):
            for part in _files(source):
                with contextlib.suppress(FoveateError):  # the error is raised when it is read
                    part_bands = bands if part is source else None
                    blocks.append(part.blocks(window, part_bands, *shape))
        return [block for block in blocks if block is not None]

    parts = [part for source in sources if source is not None for part in _files(source)]
    remote = any(part.is_remote for part in parts)
    return Ahead(count if remote else 0, plan)


def open_ahead(sources: Iterable[Source | None]) -> None:
    """Open remote files of sources in parallel; errors are raised when they are read."""
    files = (part for source in sources if source is not None for part in _files(source))
    open_together([URL(part.path) for part in files if part.is_remote])


def unplanned(sources: Iterable[Source | None]) -> list[FileSource]:
    """Return the distinct remote files whose windows cannot be prefetched.

    async-tiff cannot locate their pixels, so that bytes are fetched when GDAL requests them.
    """
    parts = {
        part.path: part
        for source in sources
        if source is not None
        for part in (source.sources if isinstance(source, StackSource) else (source,))
        if isinstance(part, FileSource) and part.is_remote and part.is_open
    }
    return [part for part in parts.values() if open_object(part.path).layout is None]


def _files(source: Source) -> list[FileSource]:
    """Return the files of a source that have the same windows as the source."""
    if isinstance(source, FileSource):
        return [source]
    if isinstance(source, StackSource):
        return [
            part
            for part in source.sources
            if isinstance(part, FileSource) and part.info.shape == source.info.shape
        ]
    return []
