"""What was requested of object stores and web servers, counted."""

from __future__ import annotations

import threading
from dataclasses import dataclass

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Traffic:
    """Requests and bytes.

    Attributes:
        requests: Answers that were asked for, retries among them where they are seen here.
        bytes: Bytes of files received.
        headers: Files whose directories were fetched.
    """

    requests: int = 0
    bytes: int = 0
    headers: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        """Return both together."""
        return Traffic(
            self.requests + other.requests, self.bytes + other.bytes, self.headers + other.headers
        )

    def __sub__(self, other: Traffic) -> Traffic:
        """Return what came after `other`."""
        return Traffic(
            self.requests - other.requests, self.bytes - other.bytes, self.headers - other.headers
        )

    def __str__(self) -> str:
        """Say it in words: "12.3 MB in 45 requests"."""
        size, unit = float(self.bytes), _UNITS[0]
        for unit in _UNITS:
            if size < 1000 or unit == _UNITS[-1]:
                break
            size /= 1000
        amount = f"{self.bytes}" if unit == _UNITS[0] else f"{size:.1f}"
        return f"{amount} {unit} in {self.requests} request{'s' if self.requests != 1 else ''}"


_lock = threading.Lock()
_total = [Traffic()]


def traffic() -> Traffic:
    """Return what this process, and the workers that it has heard of, have requested so far."""
    return _total[0]


def count(more: Traffic) -> None:
    """Add requests: of this process, or of a worker."""
    with _lock:
        _total[0] += more
