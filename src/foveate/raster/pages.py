"""Count the pages of a TIFF, of which GDAL opens the first.

TIFF 6.0, section 2: a file is a chain of directories; tag 254 (NewSubfileType) marks overviews
(bit 0) and masks (bit 2).
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING

from foveate.raster.tags import open_binary

if TYPE_CHECKING:
    from foveate.location import Location

_SUBFILE = 254
_NO_PAGE = 0b101  # bits of overviews and masks
_MAX_DIRECTORIES = 1000  # a damaged chain may be circular


def pages(path: Location) -> int:
    """Count the pages of a TIFF, without overviews and masks; 1 for anything else.

    Pages of a damaged file are counted up to the damage; the error is raised when it is read.
    """
    try:
        with open_binary(str(path)) as file:
            return max(1, _count(file))
    except (OSError, struct.error, OverflowError):
        return 1


def _count(file: IO[bytes]) -> int:
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    if not order:
        return 1
    version = struct.unpack(f"{order}H", head[2:4])[0]
    if version not in (42, 43):
        return 1
    big = version == 43
    number, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
    place = struct.unpack(f"{order}{offset}", head[8:16] if big else head[4:8])[0]
    count, visited = 0, set()
    while place and place not in visited and len(visited) < _MAX_DIRECTORIES:
        visited.add(place)
        file.seek(place)
        entries = struct.unpack(f"{order}{number}", file.read(8 if big else 2))[0]
        table = file.read(entries * entry)
        place = struct.unpack(f"{order}{offset}", file.read(8 if big else 4))[0]
        count += not _kind(table, order, entry) & _NO_PAGE
    return count


def _kind(table: bytes, order: str, entry: int) -> int:
    """Return the value of tag 254 of a directory, 0 if the tag is missing."""
    for start in range(0, len(table), entry):
        tag, kind = struct.unpack_from(f"{order}HH", table, start)
        if tag == _SUBFILE:
            code = "H" if kind == 3 else "I"
            return struct.unpack_from(f"{order}{code}", table, start + (12 if entry == 20 else 8))[
                0
            ]
        if tag > _SUBFILE:
            break
    return 0
