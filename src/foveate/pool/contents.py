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

    Contents = Sequence[tuple[Path, tuple[int, int]]]  # files with their device and inode


def content_notes(files: Sequence[File]) -> list[Note]:
    """Return notes on pixels that are read twice, and on pixels that are not read.

    Links to the same file, and source files of a virtual raster in the same folder, are all read,
    because this may be intended. Only the first page of a multi-page TIFF is read.
    """
    open_together([file.path for file in files if isinstance(file.path, URL)])
    local = [(f.path, _content(f.path)) for f in files if isinstance(f.path, Path)]
    found = (_undecodable(files), _linked(files, local), _virtual(files, local), _paged(files))
    return [note for note in found if note is not None]


def _content(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _undecodable(files: Sequence[File]) -> Note | None:
    names = tuple(f.key for f in files if any(map(_is_undecodable, (*f.parts, f.path.name))))
    if not names:
        return None
    text = f"{len(names)} of {len(files)} names are not UTF-8 and are written with \\x.."
    return Note("files", f"{text}: {names[0]}", items=names)


def _linked(files: Sequence[File], local: Contents) -> Note | None:
    first: dict[tuple[int, int], Path] = {}
    repeated = tuple(
        f"{printable(str(path))} = {printable(str(other))}"
        for path, content in local
        if (other := first.setdefault(content, path)) is not path
    )
    if not repeated:
        return None
    verbs = ("is the same file as another image", "are the same file as another image")
    text = part(len(repeated), len(files), "image", *verbs)
    return Note("files", f"{text}: {repeated[0]}", items=repeated)


def _virtual(files: Sequence[File], local: Contents) -> Note | None:
    read = {content for _, content in local}
    found = tuple(
        f"{printable(str(file.path))}: {count} files"
        for file in files
        if isinstance(file.path, Path) and file.path.suffix.lower() == ".vrt"
        and (count := sum(source in read for source in _vrt_sources(file.path)))
    )  # fmt: skip
    if not found:
        return None
    contain = plural(len(found), "virtual raster contains", "virtual rasters contain")
    return Note(
        "files",
        f"{contain} files that are also read, so that their pixels are read twice: {found[0]}",
        "Give either the virtual rasters or their files.",
        found,
    )


def _paged(files: Sequence[File]) -> Note | None:
    found = tuple(
        f"{printable(str(file.path))}: {count} pages"
        for file in files
        if file.path.suffix.lower() in (".tif", ".tiff") and (count := pages(file.path)) > 1
    )
    if not found:
        return None
    have = part(len(found), len(files), "file", "has", "have")
    return Note(
        "files",
        f"{have} several pages, of which only the first page is read: {found[0]}",
        "Extract the other pages: gdal_translate GTIFF_DIR:2:IN.tif OUT.tif.",
        found,
    )


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
