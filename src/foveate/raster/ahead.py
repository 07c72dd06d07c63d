"""Windows that are read one after the other, fetched side by side where their files are remote."""

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
    """Return what fetches windows before they are read; call ``at(number)`` before each.

    Args:
        sources: All that is going to be read.
        count: Number of steps to come, in order.
        wanted: Number of a step -> the windows that it reads, with the shape that they are read
            at, if that is not their own.
        bands: 1-based bands that are read of each; all when None.
    """

    def plan(number: int) -> list[tuple[RemoteObject, list[tuple[int, int]]]]:
        found = []
        for source, window, *shape in wanted(number):
            for part in _files(source):
                with contextlib.suppress(FoveateError):  # who reads it will say what is wrong
                    own = bands if part is source else None
                    found.append(part.blocks(window, own, *shape))
        return [one for one in found if one is not None]

    parts = [part for source in sources if source is not None for part in _files(source)]
    remote = any(part.is_remote for part in parts)
    return Ahead(count if remote else 0, plan)


def open_ahead(sources: Iterable[Source | None]) -> None:
    """Open what is remote of sources side by side; errors are left to who reads it."""
    files = (part for source in sources if source is not None for part in _files(source))
    open_together([URL(part.path) for part in files if part.is_remote])


def unplanned(sources: Iterable[Source | None]) -> list[FileSource]:
    """Return the remote files, each once, whose windows cannot be fetched ahead.

    async-tiff does not say where their pixels are, so that they are read as GDAL asks for them.
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
    """Return the files whose windows are those of a source."""
    if isinstance(source, FileSource):
        return [source]
    if isinstance(source, StackSource):
        return [
            part
            for part in source.sources
            if isinstance(part, FileSource) and part.info.shape == source.info.shape
        ]
    return []
