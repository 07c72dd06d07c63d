"""Pixels that were fetched, kept in one temporary file of the process up to a limit."""

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
    """Return the bytes that are kept of pixels: ``FOVEATE_CLOUD_CACHE``, 4 GB by default.

    Raises:
        ParameterError: It is no size.
    """
    text = os.environ.get("FOVEATE_CLOUD_CACHE", "")
    if not text:
        return _LIMIT
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ParameterError(
            f"FOVEATE_CLOUD_CACHE={text!r}", "A size is a number with a unit.", "Example: 20GB."
        )
    return int(float(found[1]) * 1000 ** " kMGT".index(found[2] or " "))


class Spool:
    """One temporary file of the process, which has no name and goes with it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.generation = 0
        self._file: IO[bytes] | None = None
        self._size = 0

    def put(self, data: bytes) -> tuple[int, int]:
        """Keep bytes; return the generation and where they are.

        Raises:
            StorageError: The disk is full.
        """
        with self.lock:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="foveate-")  # noqa: SIM115
            file = self._file
            if self._size + len(data) > limit() and self._size:
                self._clear()
            place = self._size
            try:
                os.pwrite(file.fileno(), data, place)
            except OSError as error:
                raise StorageError(
                    f"the folder for temporary files {tempfile.gettempdir()!r} is full",
                    "Pixels that were fetched are kept there.",
                    "Lower FOVEATE_CLOUD_CACHE, or set TMPDIR to a larger disk.",
                ) from error
            self._size += len(data)
            return self.generation, place

    def get(self, generation: int, place: int, size: int) -> bytes | None:
        """Return bytes that were kept, or None where they have been forgotten."""
        with self.lock:
            if generation != self.generation or self._file is None:
                return None
            return os.pread(self._file.fileno(), size, place)

    def _clear(self) -> None:
        if self._file is not None:
            os.ftruncate(self._file.fileno(), 0)
        self.generation += 1
        self._size = 0

    def close(self) -> None:
        """Forget everything, and remove the file."""
        with self.lock:
            self._clear()
            if self._file is not None:
                self._file.close()
                self._file = None
