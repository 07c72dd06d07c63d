"""Standard streams whose errors do not stop a job: closed, full, broken, or without Unicode.

Results are stored in files; printed output is secondary. A `Stream` therefore accepts all writes
and records failures, which the program reports at the end on the other stream.
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
    """A standard stream that never raises; characters that it cannot encode are escaped.

    Args:
        stream: Underlying stream; None if it was closed when Python started.

    Attributes:
        encoding: Encoding of the stream.
    """

    closed = False

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self._failure: Exception | None = None
        self._lost = False

    def encodes(self, text: str) -> bool:
        """Return whether all characters of a text can be encoded."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def lost(self) -> str:
        """Return why output was lost; empty if nothing was lost.

        Output after the reader has closed a pipe (`head`) does not count as lost.
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
        """Write; errors are recorded."""
        self._lost |= self._stream is None and bool(text)
        if self._usable():
            if not self.encodes(text):
                text = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
            with self._forgiven():
                cast("TextIO", self._stream).write(text)
        return len(text)

    def flush(self) -> None:
        """Flush; errors are recorded."""
        if self._usable():
            with self._forgiven():
                cast("TextIO", self._stream).flush()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._usable() and cast("TextIO", self._stream).isatty()

    def fileno(self) -> int:
        """Return the file descriptor.

        Raises:
            OSError: The stream has none.
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
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self._failure, self._lost = error, True
            # Python would flush the remaining buffer at exit and print an error.
            if self._stream in (sys.__stdout__, sys.__stderr__):
                with contextlib.suppress(OSError, ValueError):
                    _redirect_to_null(self.fileno())


@contextlib.contextmanager
def standard_streams() -> Generator[tuple[Stream, Stream]]:
    """Replace stdout and stderr by streams that never raise, and yield both."""
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
    """Open closed standard file descriptors, so that no other file is assigned their numbers.

    Output of C libraries would otherwise be written into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _redirect_to_null(number)


def _redirect_to_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
