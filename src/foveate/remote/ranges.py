"""Merge byte ranges and split them into requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Range = tuple[int, int]

_MAX_GAP = 16 << 10  # bytes; across a smaller gap, one request is cheaper than two
_MAX_REQUEST = 8 << 20  # bytes


def joined(parts: dict[int, bytes]) -> dict[int, bytes]:
    """Merge segments (offset -> bytes) that overlap or touch."""
    merged: dict[int, bytearray] = {}
    last = -1
    for start, data in sorted(parts.items()):
        end = last + len(merged[last]) if merged else -1
        if start > end:
            merged[last := start] = bytearray(data)
        elif start + len(data) > end:
            merged[last] += data[end - start :]
    return {start: bytes(data) for start, data in merged.items()}


def coalesced(ranges: Sequence[Range]) -> list[Range]:
    """Merge ranges that are separated by small gaps only."""
    merged: list[Range] = []
    for start, end in sorted(ranges):
        if merged and start - merged[-1][1] <= _MAX_GAP:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif start < end:
            merged.append((start, end))
    return merged


def split(ranges: Sequence[Range]) -> list[Range]:
    """Split ranges that are too long for one request."""
    return [
        (at, min(at + _MAX_REQUEST, end))
        for start, end in ranges
        for at in range(start, end, _MAX_REQUEST)
    ]


def without(start: int, end: int, taken: Sequence[Range]) -> list[Range]:
    """Return the difference of a range and other ranges."""
    rest = [(start, end)]
    for a, b in taken:
        rest = [
            piece
            for s, e in rest
            for piece in ((s, min(e, a)), (max(s, b), e))
            if piece[0] < piece[1]
        ]
    return rest
