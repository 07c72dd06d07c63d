"""Cache of fetched pixels: one temporary file of the process, limited in size."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from typing import IO

from foveate.errors import ParameterError, StorageError

_LIMIT = 4 << 30
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B?")


def limit() -> int:
    """Return the maximum cache size in bytes: ``FOVEATE_CLOUD_CACHE``, 4 GiB by default.

    Raises:
        ParameterError: The value of the variable is not a size.
    """
    text = os.environ.get("FOVEATE_CLOUD_CACHE", "")
    if not text:
        return _LIMIT
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ParameterError(
            f"FOVEATE_CLOUD_CACHE={text!r}", "A size is a number with a unit.", "Example: 20GB."
        )
    return int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " "))


class Spool:
    """One unnamed temporary file, deleted with the process.

    If the limit is exceeded, the whole file is cleared and the generation increases.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.generation = 0
        self._file: IO[bytes] | None = None
        self._size = 0

    def put(self, data: bytes) -> tuple[int, int]:
        """Store bytes; return the generation and the offset.

        Raises:
            StorageError: The disk is full.
        """
        with self.lock:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="foveate-")  # noqa: SIM115
            file = self._file
            if self._size + len(data) > limit() and self._size:
                self._clear()
            offset = self._size
            try:
                os.pwrite(file.fileno(), data, offset)
            except OSError as error:
                raise StorageError(
                    f"the folder for temporary files {tempfile.gettempdir()!r} is full",
                    "Fetched pixels are cached there.",
                    "Lower FOVEATE_CLOUD_CACHE, or set TMPDIR to a larger disk.",
                ) from error
            self._size += len(data)
            return self.generation, offset

    def get(self, generation: int, offset: int, size: int) -> bytes | None:
        """Return stored bytes, or None if their generation has been cleared."""
        with self.lock:
            if generation != self.generation or self._file is None:
                return None
            return os.pread(self._file.fileno(), size, offset)

    def _clear(self) -> None:
        if self._file is not None:
            os.ftruncate(self._file.fileno(), 0)
        self.generation += 1
        self._size = 0

    def close(self) -> None:
        """Clear the cache and remove the file."""
        with self.lock:
            self._clear()
            if self._file is not None:
                self._file.close()
                self._file = None
