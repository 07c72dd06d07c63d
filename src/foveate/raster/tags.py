"""Tags of TIFF and PNG files that GDAL does not expose, read from the file itself."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, cast

from foveate.errors import DataError
from foveate.location import is_url
from foveate.remote import open_object

_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION, _PHOTOMETRIC, _NODATA = 274, 262, 42113
_SHORT, _ASCII = 3, 2
_LONGEST = 64  # maximum bytes of the text of a number


@dataclass(frozen=True)
class FileTags:
    """Tags of a file that GDAL does not expose.

    Attributes:
        orientation: Orientation of the stored pixels, 1 to 8 as in TIFF and EXIF; 1 is upright.
        photometric: PhotometricInterpretation of a TIFF, or None.
        nodata: The text of GDAL's nodata tag in a TIFF, or "".
        transparent: Whether a PNG has a transparent colour or transparent palette entries.
    """

    orientation: int = 1
    photometric: int | None = None
    nodata: str = ""
    transparent: bool = False


def read_tags(path: str) -> FileTags:
    """Read the tags of a TIFF or a PNG; return defaults for other and unreadable files.

    Raises:
        DataError: The PNG is truncated: GDAL reads the missing part as black pixels, without an
            error.
    """
    try:
        with open_binary(path) as file:
            if file.read(8) == _PNG:
                return _of_png(file, path)
            file.seek(0)
            return _of_tiff(file)
    except OSError:
        return FileTags()


def open_binary(path: str) -> IO[bytes]:
    """Open a local file or a URL to read bytes.

    Raises:
        OSError: A local file cannot be read.
        FoveateError: A remote file cannot be read.
    """
    if not is_url(path):
        return Path(path).open("rb")
    from foveate.raster.opener import RemoteFile

    return cast("IO[bytes]", RemoteFile(open_object(path)))


def _of_png(file: IO[bytes], path: str) -> FileTags:
    orientation, transparent = 1, False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return FileTags(orientation, transparent=transparent)
        transparent |= kind == b"tRNS"
        if kind == b"eXIf":
            exif = file.read(length).removeprefix(b"Exif\0\0")
            orientation = _of_tiff(BytesIO(exif)).orientation
            length = 0
        file.seek(length + 4, 1)
    raise DataError(
        f"cannot read {str(path)!r}: the PNG is truncated",
        "",
        "Replace the file, or move it out of the folder.",
    )


def _of_tiff(file: IO[bytes]) -> FileTags:
    """Read the first directory of a TIFF or BigTIFF; EXIF has the same format."""
    try:
        found = _directory(file)
    except (struct.error, OverflowError):
        return FileTags()
    orientation = found.get(_ORIENTATION)
    photometric = found.get(_PHOTOMETRIC)
    nodata = found.get(_NODATA, b"")
    return FileTags(
        orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
        photometric if isinstance(photometric, int) else None,
        nodata.rstrip(b"\0 ").decode("ascii", "replace") if isinstance(nodata, bytes) else "",
    )


def _directory(file: IO[bytes]) -> dict[int, int | bytes]:
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        return {}
    magic = struct.unpack(f"{order}H", head[2:4])[0]
    if magic == 42:
        start, number, entry, place = struct.unpack(f"{order}I", head[4:8])[0], "H", "HHI4s", "I"
    elif magic == 43:
        start, number, entry, place = struct.unpack(f"{order}Q", head[8:16])[0], "Q", "HHQ8s", "Q"
    else:
        return {}
    file.seek(start)
    count = struct.unpack(order + number, file.read(struct.calcsize(order + number)))[0]
    size = struct.calcsize(order + entry)
    found: dict[int, int | bytes] = {}
    for _ in range(min(count, 1 << 12)):
        tag, kind, length, inline = struct.unpack(order + entry, file.read(size))
        if tag in (_ORIENTATION, _PHOTOMETRIC) and kind == _SHORT and length == 1:
            found[tag] = struct.unpack(f"{order}H", inline[:2])[0]
        elif tag == _NODATA and kind == _ASCII and length <= _LONGEST:
            text = inline[:length]
            if length > len(inline):
                position = file.tell()
                file.seek(struct.unpack(order + place, inline)[0])
                text = file.read(length)
                file.seek(position)
            found[tag] = text
        elif tag > _NODATA:
            break  # tags are sorted
    return found
