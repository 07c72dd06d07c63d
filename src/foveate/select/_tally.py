"""Class counts divided among holders: candidates for the next picks, and a bound on other rows.

In the notation of `_screen`, let ``(s0, T0)`` be the set at a pass over all rows, ``(s, T)`` the
set some steps later, ``v = w - h`` its prices and ``k = min s0 / s`` over classes. For any
reference prices ``r``, with ``m = s0 / T0``, ``e = p - t m``, ``c = m.(v - k r)`` and the
Cauchy-Schwarz inequality,

    p.v = k p.r + t c + e.(v - k r - c) <= k p.r + t c + k N D
    N^2 = sum e^2 / s0,  D^2 = sum s0 (v - k r - c)^2 / k^2

and ``R(x; s) >= k R(x; s0) >= k 3 x^2 / (6 s0 + 2 x)``. Therefore, a row with pixels ``p``
increases the entropy by at least g only if

    k (p.r - sum 3 p^2 / (6 s0 + 2 p) + N D + t^2 / 2Tk + t (c - g) / k) >= g T

where p, N and t depend on the row only, and k, D, c, g and T on the set only. The maximum of the
left side over rows is convex in D. A pass computes it for some values of D (`Frame.reach`); between
these values, it is bounded by interpolation. Once the classes are balanced, both R and D decrease
like 1 / T, and one pass suffices for thousands of steps. If they cannot be balanced, r follows the
prices.

The bound does not apply to rows with pixels of a class that is not in the set: all of these rows
are candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from foveate.select._screen import Patterns, entropies
from foveate.select.holders import opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select.holders import Mapped

_BLOCK = 2048  # patterns at a time: the temporaries of 14 classes fit into the L2 cache
_READ = 2**16  # rows to read at a time
_SENT = 2**18  # maximum number of rows to send for all patterns, but at least one for each
_ROUNDING = 1e-12  # relative error of sums of a few dozen terms in float64


@dataclass(frozen=True)
class Frame:
    """The set at a pass, and the parameters of the bound; see the module docstring.

    Attributes:
        mix: (C,) float64 pixels per class, s0.
        price: (C,) float64 reference prices r; 0 for classes that are not in the set.
        reach: (A,) float64 values of D, ascending from 0.
        main: Index in `reach` of the value by which candidates are chosen.
        level: Predicted value of ``(c - g) / k``.
    """

    mix: NDArray[np.float64]
    price: NDArray[np.float64]
    reach: NDArray[np.float64]
    main: int
    level: float


@dataclass(frozen=True)
class CountSummary:
    """Summary of class counts.

    Attributes:
        any: (C,) bool, classes that occur.
        pixels: Total number of pixels.
        negative: Rows with negative counts.
        filled: (n,) bool, rows with any pixel.
    """

    any: NDArray[np.bool_]
    pixels: float
    negative: NDArray[np.int64]
    filled: NDArray[np.bool_]


@dataclass
class OtherRows:
    """Summary of the rows that are not candidates.

    Attributes:
        highest: (A,) float64, maxima of the bound at `Frame.reach`; -inf without rows.
        widest: Largest N.
        pixels: Smallest and largest t.
    """

    highest: NDArray[np.float64]
    widest: float = 0.0
    pixels: tuple[float, float] = (np.inf, 0.0)

    def add(
        self, base: NDArray[np.float64], width: NDArray[np.float64], t: NDArray[np.float64],
        reach: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Add rows with bounds ``base + width * reach`` and `t` pixels."""
        if not base.size:
            return
        for i, d in enumerate(reach.tolist()):
            self.highest[i] = max(self.highest[i], float((base + width * d).max()))
        self.widest = max(self.widest, float(width.max()))
        self.pixels = min(self.pixels[0], float(t.min())), max(self.pixels[1], float(t.max()))

    def join(self, other: OtherRows) -> None:
        """Add the rows of another summary."""
        self.highest = np.maximum(self.highest, other.highest)
        self.widest = max(self.widest, other.widest)
        low, high = other.pixels
        self.pixels = min(self.pixels[0], low), max(self.pixels[1], high)


@dataclass
class Candidates:
    """Candidate patterns of one holder or of all holders.

    Attributes:
        base: (m,) float64, bounds at D = 0.
        width: (m,) float64, N of each pattern.
        p: (m, C) integers, pixels per class.
        size: (m,) int64, number of listed rows of each pattern.
        more: (m,) bool, whether a pattern has further rows.
        rows: (sum of `size`,) int64 rows of the whole matrix, pattern by pattern, in the order of
            ties.
        ranks: Positions of `rows` in the order of ties.
        others: Summary of all other rows.
    """

    base: NDArray[np.float64]
    width: NDArray[np.float64]
    p: NDArray[np.integer]
    size: NDArray[np.int64]
    more: NDArray[np.bool_]
    rows: NDArray[np.int64]
    ranks: NDArray[np.int64]
    others: OtherRows

    @classmethod
    def merged(cls, parts: list[Candidates], frame: Frame, width: int) -> Candidates:
        """Merge the candidates of holders; keep the `width` largest bounds, in descending order."""
        names = ("base", "width", "p", "size", "more", "rows", "ranks")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        others = OtherRows(np.full(frame.reach.size, -np.inf))
        for part in parts:
            others.join(part.others)
        score = arrays["base"] + arrays["width"] * frame.reach[frame.main]
        kept = _largest(score, width)
        if kept.size < score.size:
            out = np.ones(score.size, bool)
            out[kept] = False
            base, wide, p = arrays["base"][out], arrays["width"][out], arrays["p"][out]
            others.add(base, wide, p.sum(axis=1, dtype=np.float64), frame.reach)
        kept = kept[np.argsort(-score[kept], kind="stable")]
        size = arrays["size"]
        begin = np.cumsum(size) - size
        size = size[kept]
        shift = np.repeat(begin[kept] - (np.cumsum(size) - size), size)
        queues = np.arange(shift.size) + shift
        chosen = {name: arrays[name][kept] for name in names[:5]}
        return Candidates(
            **chosen, rows=arrays["rows"][queues], ranks=arrays["ranks"][queues], others=others
        )  # fmt: skip

    def patterns(self) -> Patterns:
        """Convert to the input of the greedy loop."""
        end = np.cumsum(self.size)
        head = end - self.size
        p = np.ascontiguousarray(self.p.T, dtype=np.float64)
        return Patterns(
            p, p.sum(axis=0), head, end, self.ranks[head], self.rows, self.ranks,
            np.ones(self.rows.size, bool), self.more, np.arange(self.size.size),
        )  # fmt: skip


class Best(NamedTuple):
    """The patterns of a part of the rows that could win.

    These are within a tolerance of the highest, unless another one is both at least as high and
    earlier.

    Attributes:
        heights: (m,) entropies in nats.
        ranks: (m,) positions in the order of ties.
        rows: (m,) rows, one of each pattern.
        evaluated: Number of evaluated patterns.
    """

    heights: NDArray[np.float64]
    ranks: NDArray[np.int64]
    rows: NDArray[np.int64]
    evaluated: int


class Tally:
    """Class counts of a contiguous range of rows of the matrix.

    Args:
        counts: (n, C) integers, or a reference to a file that contains them.
        begin: Index of the first row in the whole matrix.
        ranks: (n,) integers, positions of the rows in the order of ties; unique in the matrix.
    """

    def __init__(
        self, counts: NDArray[np.integer] | Mapped, begin: int, ranks: NDArray[np.integer]
    ) -> None:
        self.counts = opened(counts)
        self.begin, self.ranks = begin, ranks

    def look(self) -> CountSummary:
        """Read all rows once and summarise them."""
        n, classes = self.counts.shape
        seen, filled = np.zeros(classes, bool), np.zeros(n, bool)
        negative: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        pixels = 0.0
        for start in range(0, n, _READ):
            block = np.asarray(self.counts[start : start + _READ])
            seen |= block.any(axis=0)
            filled[start : start + _READ] = block.any(axis=1)
            pixels += float(block.sum(dtype=np.float64))
            if np.issubdtype(block.dtype, np.signedinteger) and block.min(initial=0) < 0:
                negative.append(self.begin + start + np.flatnonzero((block < 0).any(axis=1)))
        return CountSummary(seen, pixels, np.concatenate(negative), filled)

    def fetch(self, rows: NDArray[np.int64]) -> NDArray[np.integer]:
        """Return (m, C) counts of rows of the whole matrix, as stored."""
        return np.asarray(self.counts[rows - self.begin])

    def group(self, columns: NDArray[np.intp], left: NDArray[np.bool_]) -> int:
        """Group rows with identical counts in `columns`; return the number of groups.

        Args:
            columns: (C,) classes to compare.
            left: Bool mask over all rows of the matrix: the rows to group.
        """
        self.columns = columns
        self.left = left[self.begin : self.begin + len(self.counts)].copy()
        rows = np.flatnonzero(self.left)
        hashes = np.empty(rows.size, np.uint64)
        weights = hash_weights(columns.size)
        for start in range(0, rows.size, _READ):
            block = self.counts[rows[start : start + _READ]][:, columns].astype(np.uint64)
            hashes[start : start + _READ] = block @ weights
        order = np.argsort(hashes)
        hashes = hashes[order]
        same = np.zeros(rows.size, bool)
        same[1:] = hashes[1:] == hashes[:-1]
        repeated = np.flatnonzero(same | np.append(same[1:], False))
        positions = order[repeated]
        order[repeated] = positions[np.lexsort((self.ranks[rows[positions]], hashes[repeated]))]
        del hashes
        self.members = rows[order]
        # Different rows may have the same hash: the group is split there, which only costs time.
        duplicates = np.flatnonzero(same)
        for start in range(0, duplicates.size, _READ):
            block = duplicates[start : start + _READ]
            a, b = self.counts[self.members[block]], self.counts[self.members[block - 1]]
            same[block] = (a[:, columns] == b[:, columns]).all(axis=1)
        head = np.flatnonzero(~same)
        end = np.append(head[1:], rows.size)
        order = np.argsort(self.members[head], kind="stable")  # in file order
        self.head, self.end = head[order], end[order]
        return head.size

    def refresh(self, frame: Frame, gone: NDArray[np.int64], width: int) -> Candidates:
        """Return the patterns with the largest bounds, and a summary of all others.

        Args:
            frame: The set and the parameters of the bound.
            gone: Rows that were taken or forbidden since the last pass.
            width: Maximum number of candidates.
        """
        self._remove(gone)
        others = OtherRows(np.full(frame.reach.size, -np.inf))
        main = float(frame.reach[frame.main])
        kept: list[list[NDArray[Any]]] = []
        count, threshold = 0, -np.inf
        for places, p, t in self._blocks():
            base, n = _bound(p, t, frame)
            inside = base + n * main >= threshold
            outside = ~inside
            others.add(base[outside], n[outside], t[outside], frame.reach)
            kept.append([values[inside] for values in (places, base, n, t)])
            count += kept[-1][0].size
            if count > 1.5 * width + _BLOCK:
                kept, threshold = _keep_largest(kept, frame, width, others)
                count = width
        kept, _ = _keep_largest(kept, frame, width, others)
        places, base, n, _ = kept[0]
        return self._to_candidates(places, base, n, others)

    def best(self, mix: NDArray[np.float64], gone: NDArray[np.int64], tolerance: float) -> Best:
        """Evaluate all patterns."""
        self._remove(gone)
        top, evaluated = -np.inf, 0
        heights, places = np.empty(0), np.empty(0, np.int64)
        for block, p, t in self._blocks():
            values = entropies(p, t, mix)
            evaluated += values.size
            top = max(top, float(values.max()))
            near = np.flatnonzero(values >= top - tolerance)
            heights = np.concatenate((heights, values[near]))
            places = np.concatenate((places, block[near]))
            if heights.size > _BLOCK:
                heights, places = self._front(heights, places, top - tolerance)
        heights, places = self._front(heights, places, top - tolerance)
        rows = self.members[self.head[places]]
        ranks = self.ranks[rows].astype(np.int64)
        return Best(heights, ranks, self.begin + rows, evaluated)

    def _front(
        self, heights: NDArray[np.float64], places: NDArray[np.int64], floor: float
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Drop patterns below `floor`, or not higher than an earlier one in the order of ties."""
        high = heights >= floor
        heights, places = heights[high], places[high]
        order = np.argsort(self.ranks[self.members[self.head[places]]])
        before = np.maximum.accumulate(np.concatenate(([-np.inf], heights[order])))[:-1]
        kept = order[heights[order] > before]
        return heights[kept], places[kept]

    def _blocks(self) -> Any:
        """Yield blocks of patterns with remaining rows: indices, (C, b) pixels, (b,) totals."""
        for start in range(0, self.head.size, _BLOCK):
            head = self.head[start : start + _BLOCK]
            remaining = np.flatnonzero(head < self.end[start : start + _BLOCK])
            if remaining.size:
                rows = self.counts[self.members[head[remaining]]]
                p = np.ascontiguousarray(rows.T[self.columns], dtype=np.float64)
                yield start + remaining, p, p.sum(axis=0)

    def _remove(self, rows: NDArray[np.int64]) -> None:
        """Remove rows of the whole matrix, and move the heads of their patterns."""
        rows = rows[(rows >= self.begin) & (rows < self.begin + self.left.size)] - self.begin
        if not rows.size:
            return
        self.left[rows] = False
        open_ = np.flatnonzero(self.head < self.end)
        stale = open_[~self.left[self.members[self.head[open_]]]]
        self.head[stale] += 1
        stale = stale[self.head[stale] < self.end[stale]]
        for place in stale.tolist():
            head, end, step = int(self.head[place]), int(self.end[place]), 64
            while head < end:
                left = self.left[self.members[head : min(head + step, end)]]
                head += int(left.argmax()) if left.any() else left.size
                if left.any():
                    break
                step *= 2
            self.head[place] = head

    def _to_candidates(
        self, places: NDArray[np.int64], base: NDArray[np.float64], width: NDArray[np.float64],
        others: OtherRows,
    ) -> Candidates:  # fmt: skip
        order = np.argsort(places)  # file order
        places, base, width = places[order], base[order], width[order]
        head, end = self.head[places], self.end[places]
        p = self.counts[self.members[head]][:, self.columns]
        # The first `room` remaining rows of each pattern; twice as many are read, because some of
        # them may have been removed.
        room = max(1, _SENT // max(places.size, 1))
        size = np.minimum(end - head, 2 * room)
        stop = np.cumsum(size)
        owner = np.repeat(np.arange(places.size), size)
        members = self.members[np.arange(owner.size) + (head - stop + size)[owner]]
        left = self.left[members]
        seen = np.cumsum(left)
        number = seen - np.concatenate(([0], seen))[stop - size][owner]
        sent = left & (number <= room)
        more = (head + size < end) | (np.bincount(owner[left], minlength=places.size) > room)
        members, size = members[sent], np.bincount(owner[sent], minlength=places.size)
        ranks = self.ranks[members].astype(np.int64)
        return Candidates(base, width, p, size, more, self.begin + members, ranks, others)


def hash_weights(classes: int) -> NDArray[np.uint64]:
    """Return (C,) random odd weights of a hash of count vectors: a dot product modulo 2^64."""
    rng = np.random.Generator(np.random.PCG64(0))
    return rng.integers(0, 2**64, classes, dtype=np.uint64) | np.uint64(1)


def _bound(
    p: NDArray[np.float64], t: NDArray[np.float64], frame: Frame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the bound of each pattern at D = 0, and its N.

    The bound is infinite for patterns with pixels of a class that is not in the set.
    """
    present = frame.mix > 0
    x = p if present.all() else p[present]
    mix, total = frame.mix[present][:, None], float(frame.mix.sum())
    buffer = t * (-mix / total)
    buffer += x
    buffer *= buffer
    width = np.sqrt((1 / mix[:, 0]) @ buffer)
    np.multiply(x, 2 / 3, out=buffer)
    buffer += 2 * mix
    np.divide(x, buffer, out=buffer)
    buffer *= x
    rest = buffer.sum(axis=0)
    square = np.square(t) / (2 * total)
    base = frame.price @ p - rest + square + t * frame.level
    largest = float(np.abs(frame.price).max()) + abs(frame.level)
    base += _ROUNDING * (t * largest + rest + square)
    if not present.all():
        base[p[~present].any(axis=0)] = np.inf
    return base, width * (1 + _ROUNDING) + _ROUNDING * t / np.sqrt(total)


def _largest(score: NDArray[np.float64], width: int) -> NDArray[np.intp]:
    if score.size <= width:
        return np.arange(score.size)
    return np.argpartition(score, score.size - width)[score.size - width :]


def _keep_largest(
    blocks: list[list[NDArray[Any]]], frame: Frame, width: int, others: OtherRows
) -> tuple[list[list[NDArray[Any]]], float]:
    """Keep the `width` largest bounds and add the rest to `others`.

    Returns:
        The kept patterns as one block, and their smallest bound (-inf if all are kept).
    """
    empty: list[NDArray[Any]] = [np.empty(0, np.int64), *(np.empty(0) for _ in range(3))]
    columns = [np.concatenate(parts) for parts in zip(empty, *blocks, strict=True)]
    score = columns[1] + columns[2] * frame.reach[frame.main]
    kept = _largest(score, width)
    if kept.size == score.size:
        return [columns], -np.inf
    out = np.ones(score.size, bool)
    out[kept] = False
    others.add(columns[1][out], columns[2][out], columns[3][out], frame.reach)
    return [[column[kept] for column in columns]], float(score[kept].min())
