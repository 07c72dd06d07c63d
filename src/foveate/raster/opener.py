"""Remote files for GDAL, which reads bytes as from a local file; `foveate.remote` fetches them.

All rules of `foveate.raster` therefore apply to remote files of any format: GDAL decodes, finds
masks and sidecars, and resamples.
"""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

from rasterio.abc import MultiByteRangeResourceContainer

from foveate.errors import FoveateError
from foveate.remote import open_object
from foveate.remote.objects import PAGE, beside

if TYPE_CHECKING:
    import rasterio

    from foveate.location import URL
    from foveate.remote import RemoteObject

_WHOLE = 32 << 20  # maximum bytes of a file without layout that is fetched at once
_PIECE = 256 << 10
_failed = threading.local()


def open_remote(text: str) -> rasterio.DatasetReader:
    """Open a remote raster.

    Raises:
        FoveateError: The bytes cannot be read.
        RasterioError: The file is not a raster.
    """
    import rasterio

    opened = open_object(text)
    return rasterio.open(name_of(opened.url), opener=_Container(opened))


def name_of(url: URL) -> str:
    """Return the name of a URL for GDAL, without the separator of the scheme."""
    return "/".join((url.scheme, *url.parts[0].split("://")[1:], *url.parts[1:]))


def raise_failure() -> None:
    """Raise the error of fetching bytes for GDAL in this thread, which GDAL does not propagate.

    Raises:
        FoveateError: Bytes could not be fetched.
    """
    error, _failed.error = getattr(_failed, "error", None), None
    if error is not None:
        raise error


class _Container(MultiByteRangeResourceContainer):
    """A remote file and its sidecars."""

    def __init__(self, opened: RemoteObject) -> None:
        self._opened, self._name = opened, name_of(opened.url)

    def _find(self, path: str) -> RemoteObject | None:
        path = path.lstrip("/")
        if path == self._name:
            return self._opened
        folder, _, name = path.rpartition("/")
        if folder != self._name.rpartition("/")[0] or not name:
            return None
        try:
            return beside(self._opened, name)
        except FoveateError as error:
            _failed.error = error
            return None

    def open(self, path: str, mode: str = "rb", **kwds: Any) -> _Handle:  # noqa: ARG002
        found = self._find(path)
        if found is None or "r" not in mode:
            raise FileNotFoundError(path)
        return _Handle(found)

    def isfile(self, path: str) -> bool:
        return self._find(path) is not None

    def isdir(self, path: str) -> bool:  # noqa: ARG002
        return False

    def ls(self, path: str) -> list[str]:  # noqa: ARG002
        return []

    def mtime(self, path: str) -> int:  # noqa: ARG002
        return 0

    def rm(self, path: str) -> None:
        raise PermissionError(path)

    def size(self, path: str) -> int:
        found = self._find(path)
        if found is None:
            raise FileNotFoundError(path)
        return found.meta.size


def read_bytes(opened: RemoteObject, start: int, size: int) -> bytes:
    """Read bytes of an object, and fetch adjacent bytes that are likely to be requested next.

    Raises:
        DataError: The bytes cannot be read.
    """
    end = min(start + size, opened.meta.size)
    if start >= end:
        return b""
    data = opened.held(start, end)
    if data is None:
        data = _fetched(opened, start, end)
    opened.looked_at(start, data)
    return data


def _fetched(opened: RemoteObject, start: int, end: int) -> bytes:
    if opened.layout is not None:
        opened.need([(start // PAGE * PAGE, -(-end // PAGE) * PAGE)])
    elif opened.meta.size <= _WHOLE:
        opened.need([(0, opened.meta.size)])
    else:
        opened.need([(start // _PIECE * _PIECE, -(-end // _PIECE) * _PIECE)])
    return opened.read(start, end - start)


class RemoteFile(io.RawIOBase):
    """A remote file as a Python file object.

    Args:
        opened: The object.
    """

    def __init__(self, opened: RemoteObject) -> None:
        super().__init__()
        self._opened, self._at = opened, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._opened.meta.size}
        self._at = max(0, start[whence] + offset)
        return self._at

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read bytes."""
        size = self._opened.meta.size - self._at if size < 0 else size
        data = read_bytes(self._opened, self._at, size)
        self._at += len(data)
        return data


class _Handle(RemoteFile):
    """An open remote file for GDAL. Errors are recorded, because GDAL would ignore exceptions."""

    def read(self, size: int = -1) -> bytes:
        """Read bytes; return b"" on errors."""
        try:
            return super().read(size)
        except FoveateError as error:
            _failed.error = error
            return b""

    def get_byte_ranges(self, offsets: list[int], sizes: list[int]) -> list[bytes]:
        """Read several ranges in parallel."""
        try:
            self._opened.need((o, o + n) for o, n in zip(offsets, sizes, strict=True))
            found = [self._opened.read(o, n) for o, n in zip(offsets, sizes, strict=True)]
        except FoveateError as error:
            _failed.error = error
            found = [b""] * len(sizes)
        # GDAL requires exactly the requested number of bytes.
        return [data.ljust(n, b"\0") for data, n in zip(found, sizes, strict=True)]
