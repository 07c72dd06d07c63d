"""What files of a folder have in common, and what they hold that is not read."""

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

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from foveate.pool.found import File


def content_notes(files: Sequence[File]) -> list[Note]:
    """Say which pixels come twice, and which not at all.

    Files that are one, and those that a virtual raster beside them shows, are read as they are:
    their names may be meant. Of a TIFF of many pages the first is read.
    """
    open_together([file.path for file in files if isinstance(file.path, URL)])
    first: dict[tuple[int, int], Path] = {}
    twice: list[str] = []
    for file in files:
        if not isinstance(file.path, Path):
            continue
        status = file.path.stat()
        other = first.setdefault((status.st_dev, status.st_ino), file.path)
        if other is not file.path:
            twice.append(f"{printable(str(file.path))} = {printable(str(other))}")
    shown: list[str] = []
    paged: list[str] = []
    for file in files:
        name = printable(str(file.path))
        suffix = file.path.suffix.lower()
        if suffix == ".vrt" and isinstance(file.path, Path):
            parts = sum(source in first for source in _vrt_sources(file.path))
            shown += [f"{name}: {parts} files"] if parts else []
        elif suffix in (".tif", ".tiff") and (count := pages(file.path)) > 1:
            paged.append(f"{name}: {count} pages")
    notes = []
    strange = tuple(f.key for f in files if any(map(_is_strange, (*f.parts, f.path.name))))
    if strange:
        text = f"{len(strange)} of {len(files)} names are no UTF-8 and are written with \\x.."
        notes.append(Note("files", f"{text}: {strange[0]}", items=strange))
    if twice:
        text = f"{len(twice)} of {len(files)} images are the same file as others that are read, too"
        notes.append(Note("files", f"{text}: {twice[0]}", items=tuple(twice)))
    if shown:
        notes.append(
            Note(
                "files",
                f"{len(shown)} virtual rasters show files that are read, too, so that their pixels "
                f"come twice: {shown[0]}",
                "Give the virtual rasters or their files.",
                tuple(shown),
            )
        )
    if paged:
        notes.append(
            Note(
                "files",
                f"of {len(paged)} of {len(files)} files the first page alone is read: {paged[0]}",
                "Take the others out: gdal_translate GTIFF_DIR:2:IN.tif OUT.tif.",
                tuple(paged),
            )
        )
    return notes


def _is_strange(name: str) -> bool:
    return printable(name).encode() != os.fsencode(name)


def _vrt_sources(path: Path) -> Iterator[tuple[int, int]]:
    """Yield device and number of the files that a virtual raster names."""
    for about, name in re.findall(
        rb"<SourceFilename([^>]*)>([^<]+)</SourceFilename>", path.read_bytes()
    ):
        source = html.unescape(os.fsdecode(name))
        relative = b'relativeToVRT="1"' in about
        try:
            status = (path.parent / source if relative else Path(source)).stat()
        except OSError:
            continue
        yield status.st_dev, status.st_ino
