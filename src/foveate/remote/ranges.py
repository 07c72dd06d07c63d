"""Ranges of bytes, joined and divided into requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Range = tuple[int, int]

_BESIDE = 16 << 10  # bytes between two ranges that one request is cheaper for than two
_LARGEST = 8 << 20  # bytes of a request


def joined(parts: dict[int, bytes]) -> dict[int, bytes]:
    """Return bytes as segments that neither overlap nor touch."""
    found: dict[int, bytearray] = {}
    last = -1
    for start, data in sorted(parts.items()):
        end = last + len(found[last]) if found else -1
        if start > end:
            found[last := start] = bytearray(data)
        elif start + len(data) > end:
            found[last] += data[end - start :]
    return {start: bytes(data) for start, data in found.items()}


def coalesced(ranges: Sequence[Range]) -> list[Range]:
    """Join ranges that lie close together."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start - found[-1][1] <= _BESIDE:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        elif start < end:
            found.append((start, end))
    return found


def split(ranges: Sequence[Range]) -> list[Range]:
    """Divide ranges that are too long for one request."""
    return [
        (at, min(at + _LARGEST, end)) for start, end in ranges for at in range(start, end, _LARGEST)
    ]


def without(start: int, end: int, taken: Sequence[Range]) -> list[Range]:
    """Return the parts of a range outside others."""
    found = [(start, end)]
    for a, b in taken:
        found = [
            part for s, e in found for part in ((s, min(e, a)), (max(s, b), e)) if part[0] < part[1]
        ]
    return found
