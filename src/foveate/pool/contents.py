"""Notes on files that share pixels, and on pixels that are not read."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from foveate.files import printable
from foveate.location import URL
from foveate.pool.notes import Note
from foveate.raster.pages import pages
from foveate.remote import open_together
from foveate.wording import part, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from foveate.pool.found import File


def content_notes(files: Sequence[File]) -> list[Note]:
    """Return notes on pixels that are read twice, and on pixels that are not read.

    Links to the same file, and source files of a virtual raster in the same folder, are all read,
    because this may be intended. Only the first page of a multi-page TIFF is read.
    """
    open_together([file.path for file in files if isinstance(file.path, URL)])
    first: dict[tuple[int, int], Path] = {}
    repeated: list[str] = []
    for file in files:
        if not isinstance(file.path, Path):
            continue
        status = file.path.stat()
        other = first.setdefault((status.st_dev, status.st_ino), file.path)
        if other is not file.path:
            repeated.append(f"{printable(str(file.path))} = {printable(str(other))}")
    virtual: list[str] = []
    paged: list[str] = []
    for file in files:
        name = printable(str(file.path))
        suffix = file.path.suffix.lower()
        if suffix == ".vrt" and isinstance(file.path, Path):
            parts = sum(source in first for source in _vrt_sources(file.path))
            virtual += [f"{name}: {parts} files"] if parts else []
        elif suffix in (".tif", ".tiff") and (count := pages(file.path)) > 1:
            paged.append(f"{name}: {count} pages")
    notes = []
    undecodable = tuple(f.key for f in files if any(map(_is_undecodable, (*f.parts, f.path.name))))
    if undecodable:
        text = f"{len(undecodable)} of {len(files)} names are not UTF-8 and are written with \\x.."
        notes.append(Note("files", f"{text}: {undecodable[0]}", items=undecodable))
    if repeated:
        verbs = ("is the same file as another image", "are the same file as another image")
        text = part(len(repeated), len(files), "image", *verbs)
        notes.append(Note("files", f"{text}: {repeated[0]}", items=tuple(repeated)))
    if virtual:
        notes.append(
            Note(
                "files",
                plural(len(virtual), "virtual raster contains", "virtual rasters contain")
                + " files that are also read, so that their "
                f"pixels are read twice: {virtual[0]}",
                "Give either the virtual rasters or their files.",
                tuple(virtual),
            )
        )
    if paged:
        notes.append(
            Note(
                "files",
                part(len(paged), len(files), "file", "has", "have")
                + " several pages, of which only the first "
                f"page is read: {paged[0]}",
                "Extract the other pages: gdal_translate GTIFF_DIR:2:IN.tif OUT.tif.",
                tuple(paged),
            )
        )
    return notes


def _is_undecodable(name: str) -> bool:
    return printable(name).encode() != os.fsencode(name)


def _vrt_sources(path: Path) -> Iterator[tuple[int, int]]:
    """Yield device and inode of the source files of a virtual raster."""
    for attributes, name in re.findall(
        rb"<SourceFilename([^>]*)>([^<]+)</SourceFilename>", path.read_bytes()
    ):
        source = html.unescape(os.fsdecode(name))
        relative = b'relativeToVRT="1"' in attributes
        try:
            status = (path.parent / source if relative else Path(source)).stat()
        except OSError:
            continue
        yield status.st_dev, status.st_ino
