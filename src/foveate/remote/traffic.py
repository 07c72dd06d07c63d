"""Count requests to object stores and web servers."""

from __future__ import annotations

import threading
from dataclasses import dataclass

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Traffic:
    """Number of requests and bytes.

    Attributes:
        requests: Number of requests, without those that obstore retries internally.
        bytes: Bytes of file content received.
        headers: Number of files whose headers were fetched.
    """

    requests: int = 0
    bytes: int = 0
    headers: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        """Return the sum."""
        return Traffic(
            self.requests + other.requests, self.bytes + other.bytes, self.headers + other.headers
        )

    def __sub__(self, other: Traffic) -> Traffic:
        """Return the traffic since `other`."""
        return Traffic(
            self.requests - other.requests, self.bytes - other.bytes, self.headers - other.headers
        )

    def __str__(self) -> str:
        """Format as text: "12.3 MB in 45 requests"."""
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
    """Return the traffic so far of this process and of its workers that have reported."""
    return _total[0]


def count(more: Traffic) -> None:
    """Add traffic of this process or of a worker."""
    with _lock:
        _total[0] += more
