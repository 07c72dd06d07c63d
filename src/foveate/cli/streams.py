"""Standard streams that stop no job: closed, full, without a reader, or without a letter.

Whatever is printed is the last of a job or beside it; the work itself lies in its files. So a
stream here takes all that is written to it, remembers when it could not pass it on, and the
program says so at the end, on the other stream.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Generator


class Stream:
    """A standard stream that never raises; letters that it cannot encode are escaped.

    Args:
        stream: What to write to; None for a stream that was closed when Python started.

    Attributes:
        encoding: What letters are written in.
    """

    closed = False

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self._failure: Exception | None = None
        self._lost = False

    def encodes(self, text: str) -> bool:
        """Say whether all letters of a text can be written as they are."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def lost(self) -> str:
        """Say why something that was written is lost; empty where nothing is.

        A reader that has gone (`head`) had what it wanted: nothing is lost.
        """
        self.flush()
        if not self._lost or isinstance(self._failure, BrokenPipeError):
            return ""
        if self._failure is None:
            return "it is closed"
        return getattr(self._failure, "strerror", None) or str(self._failure)

    @property
    def broken(self) -> bool:
        """Whether the stream was open and failed."""
        return self._failure is not None and bool(self.lost())

    def write(self, text: str, /) -> int:
        """Write, as far as that can be done."""
        self._lost |= self._stream is None and bool(text)
        if self._usable():
            if not self.encodes(text):
                text = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
            with self._forgiven():
                cast("TextIO", self._stream).write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, as far as that can be done."""
        if self._usable():
            with self._forgiven():
                cast("TextIO", self._stream).flush()

    def isatty(self) -> bool:
        """Say whether a person is watching."""
        return self._usable() and cast("TextIO", self._stream).isatty()

    def fileno(self) -> int:
        """Return the number of the file.

        Raises:
            OSError: It has none.
        """
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def _usable(self) -> bool:
        return self._stream is not None and self._failure is None

    @contextlib.contextmanager
    def _forgiven(self) -> Generator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: somebody has closed it
            self._failure, self._lost = error, True
            # What it still holds would be tried again, and complained about, when Python ends.
            if self._stream in (sys.__stdout__, sys.__stderr__):
                with contextlib.suppress(OSError, ValueError):
                    _point_to_nothing(self.fileno())


@contextlib.contextmanager
def standard_streams() -> Generator[tuple[Stream, Stream]]:
    """Put streams that never raise in the place of stdout and stderr, and yield both."""
    _fill_descriptors()
    before = sys.stdout, sys.stderr
    out, err = Stream(before[0]), Stream(before[1])
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        yield out, err
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def _fill_descriptors() -> None:
    """Open the first three files where they are not: else the next file takes their numbers.

    Whatever a library then prints from C would stand in the middle of a table.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _point_to_nothing(number)


def _point_to_nothing(number: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)
