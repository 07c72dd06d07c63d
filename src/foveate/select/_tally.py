"""Class counts divided among holders: the rows that may be taken next, and a bound on all others.

With the terms of `_screen`, let ``(s0, T0)`` be the set at a pass over all rows, ``(s, T)`` the set
some steps later, ``v = w - h`` its prices and ``k = min s0 / s`` over classes. For any reference
prices ``r``, with ``m = s0 / T0``, ``e = p - t m``, ``c = m.(v - k r)`` and by Cauchy and Schwarz,

    p.v = k p.r + t c + e.(v - k r - c) <= k p.r + t c + k N D
    N^2 = sum e^2 / s0,  D^2 = sum s0 (v - k r - c)^2 / k^2

and ``R(x; s) >= k R(x; s0) >= k 3 x^2 / (6 s0 + 2 x)``. So a row with ``p`` pixels raises the
entropy by g or more only if

    k (p.r - sum 3 p^2 / (6 s0 + 2 p) + N D + t^2 / 2Tk + t (c - g) / k) >= g T

where p, N and t of a row do not change, and D, c, g and T are those of the set. The maximum of the
left side over rows is convex in D: found for some D at a pass (`Frame.reach`), it is known for all
between. Once the classes are balanced both R and D fall like 1 / T, and one pass serves thousands
of steps; where they cannot be balanced, r follows the prices.

Of rows with pixels of a class that the set has not met nothing is said: all of them are candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.select._screen import Patterns, entropies
from foveate.select.holders import opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select.holders import Mapped

_BLOCK = 2048  # patterns at a time: the temporaries of 14 classes stay in the L2 cache
_READ = 2**16  # rows at a time where they are only looked at
_SENT = 2**18  # rows sent of all patterns, but one of each at least
_ROUNDING = 1e-12  # relative, of sums of some dozen terms in float64


@dataclass(frozen=True)
class Frame:
    """The set at a pass, and where the bound on rows is wanted; see the module's header.

    Attributes:
        mix: (C,) float64 pixels per class, s0.
        price: (C,) float64, r; 0 for classes that are not met.
        reach: (A,) float64, values of D, ascending from 0.
        main: Place in `reach` of the one that candidates are chosen by.
        level: Expected value of ``(c - g) / k``.
    """

    mix: NDArray[np.float64]
    price: NDArray[np.float64]
    reach: NDArray[np.float64]
    main: int
    level: float


@dataclass(frozen=True)
class Looked:
    """What a look at counts finds.

    Attributes:
        any: (C,) bool, classes that occur.
        pixels: Their number, float64.
        negative: Rows with negative counts.
        filled: (n,) bool, rows with any pixel.
    """

    any: NDArray[np.bool_]
    pixels: float
    negative: NDArray[np.int64]
    filled: NDArray[np.bool_]


@dataclass
class Others:
    """What is known of the rows that are no candidates.

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
        """Take in rows with bounds ``base + width * reach`` and `t` pixels."""
        if not base.size:
            return
        for place, one in enumerate(reach.tolist()):
            self.highest[place] = max(self.highest[place], float((base + width * one).max()))
        self.widest = max(self.widest, float(width.max()))
        self.pixels = min(self.pixels[0], float(t.min())), max(self.pixels[1], float(t.max()))

    def join(self, other: Others) -> None:
        """Take in what is known of more rows."""
        self.highest = np.maximum(self.highest, other.highest)
        self.widest = max(self.widest, other.widest)
        low, high = other.pixels
        self.pixels = min(self.pixels[0], low), max(self.pixels[1], high)


@dataclass
class Found:
    """Candidates of one holder or of all, one entry per pattern.

    Attributes:
        base: (m,) float64, the bound of each at D = 0.
        width: (m,) float64, N of each.
        p: (m, C) integers, pixels per class.
        size: (m,) int64, how many rows are sent of each.
        more: (m,) bool, whether there are others.
        rows: (sum of `size`,) int64 rows of the whole matrix, pattern by pattern, in the order of
            ties.
        ranks: Places of `rows` in the order of ties.
        others: What is known of the rest.
    """

    base: NDArray[np.float64]
    width: NDArray[np.float64]
    p: NDArray[np.integer]
    size: NDArray[np.int64]
    more: NDArray[np.bool_]
    rows: NDArray[np.int64]
    ranks: NDArray[np.int64]
    others: Others

    @classmethod
    def merged(cls, parts: list[Found], frame: Frame, width: int) -> Found:
        """Return the `width` candidates of the largest bounds of several holders, in order."""
        names = ("base", "width", "p", "size", "more", "rows", "ranks")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        others = Others(np.full(frame.reach.size, -np.inf))
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
        return Found(**chosen, rows=arrays["rows"][queues], ranks=arrays["ranks"][queues],
                     others=others)  # fmt: skip

    def patterns(self) -> Patterns:
        """Return the candidates as what the greedy loop takes from."""
        end = np.cumsum(self.size)
        head = end - self.size
        p = np.ascontiguousarray(self.p.T, dtype=np.float64)
        return Patterns(
            p, p.sum(axis=0), head, end, self.ranks[head], self.rows, self.ranks,
            np.ones(self.rows.size, bool), self.more, np.arange(self.size.size),
        )  # fmt: skip


class Tally:
    """Class counts of some rows, one after the other in the matrix.

    Args:
        counts: (n, C) integers, or where they are.
        begin: Number of the first row in the matrix.
        ranks: (n,) integers, places of the rows in the order of ties; unique in the matrix.
    """

    def __init__(
        self, counts: NDArray[np.integer] | Mapped, begin: int, ranks: NDArray[np.integer]
    ) -> None:
        self.counts = opened(counts)
        self.begin, self.ranks = begin, ranks

    def look(self) -> Looked:
        """Read all rows once."""
        n, classes = self.counts.shape
        seen, filled = np.zeros(classes, bool), np.zeros(n, bool)
        negative: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        pixels = 0.0
        for start in range(0, n, _READ):
            part = np.asarray(self.counts[start : start + _READ])
            seen |= part.any(axis=0)
            filled[start : start + _READ] = part.any(axis=1)
            pixels += float(part.sum(dtype=np.float64))
            if np.issubdtype(part.dtype, np.signedinteger) and part.min(initial=0) < 0:
                negative.append(self.begin + start + np.flatnonzero((part < 0).any(axis=1)))
        return Looked(seen, pixels, np.concatenate(negative), filled)

    def fetch(self, rows: NDArray[np.int64]) -> NDArray[np.integer]:
        """Return rows as stored."""
        return np.asarray(self.counts[rows - self.begin])

    def group(self, columns: NDArray[np.intp], left: NDArray[np.bool_]) -> int:
        """Group the rows `left` of the whole matrix by their `columns`; return how many groups."""
        self.columns = columns
        self.left = left[self.begin : self.begin + len(self.counts)].copy()
        rows = np.flatnonzero(self.left)
        hashes = np.empty(rows.size, np.uint64)
        weights = hash_weights(columns.size)
        for start in range(0, rows.size, _READ):
            part = self.counts[rows[start : start + _READ]][:, columns].astype(np.uint64)
            hashes[start : start + _READ] = part @ weights
        order = np.argsort(hashes)
        hashes = hashes[order]
        same = np.zeros(rows.size, bool)
        same[1:] = hashes[1:] == hashes[:-1]
        several = np.flatnonzero(same | np.append(same[1:], False))
        part = order[several]
        order[several] = part[np.lexsort((self.ranks[rows[part]], hashes[several]))]
        del hashes
        self.members = rows[order]
        # Two different rows may have one hash: a group is split there, which costs time only.
        twins = np.flatnonzero(same)
        for start in range(0, twins.size, _READ):
            part = twins[start : start + _READ]
            one, other = self.counts[self.members[part]], self.counts[self.members[part - 1]]
            same[part] = (one[:, columns] == other[:, columns]).all(axis=1)
        head = np.flatnonzero(~same)
        end = np.append(head[1:], rows.size)
        order = np.argsort(self.members[head], kind="stable")  # the order of the file
        self.head, self.end = head[order], end[order]
        return head.size

    def refresh(self, frame: Frame, gone: NDArray[np.int64], width: int) -> Found:
        """Return the candidates, and a bound on all others.

        Args:
            frame: The set.
            gone: Rows that were taken or forbidden since the last pass.
            width: How many candidates, fewer where there are no more.
        """
        self._out(gone)
        others = Others(np.full(frame.reach.size, -np.inf))
        main = float(frame.reach[frame.main])
        held: list[list[NDArray[Any]]] = []
        count, edge = 0, -np.inf
        for part, p, t in self._blocks():
            base, wide = _bound(p, t, frame)
            inside = base + wide * main >= edge
            out = ~inside
            others.add(base[out], wide[out], t[out], frame.reach)
            held.append([one[inside] for one in (part, base, wide, t)])
            count += held[-1][0].size
            if count > 1.5 * width + _BLOCK:
                held, edge = _shrunk(held, frame, width, others)
                count = width
        held, _ = _shrunk(held, frame, width, others)
        places, base, wide, _ = held[0]
        return self._found(places, base, wide, others)

    def best(
        self, mix: NDArray[np.float64], gone: NDArray[np.int64], tolerance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], int]:
        """Evaluate all patterns.

        Returns:
            Entropies in nats, places in the order of ties, and rows of those that could win
            (within `tolerance` of the highest, and no other is both as high and earlier); and how
            many were evaluated.
        """
        self._out(gone)
        top, evaluated = -np.inf, 0
        heights, places = np.empty(0), np.empty(0, np.int64)
        for part, p, t in self._blocks():
            found = entropies(p, t, mix)
            evaluated += found.size
            top = max(top, float(found.max()))
            near = np.flatnonzero(found >= top - tolerance)
            heights = np.concatenate((heights, found[near]))
            places = np.concatenate((places, part[near]))
            if heights.size > _BLOCK:
                heights, places = self._front(heights, places, top - tolerance)
        heights, places = self._front(heights, places, top - tolerance)
        rows = self.members[self.head[places]]
        return heights, self.ranks[rows].astype(np.int64), self.begin + rows, evaluated

    def _front(
        self, heights: NDArray[np.float64], places: NDArray[np.int64], floor: float
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Drop patterns that are too low, or no higher than one before them in the order."""
        high = heights >= floor
        heights, places = heights[high], places[high]
        order = np.argsort(self.ranks[self.members[self.head[places]]])
        before = np.maximum.accumulate(np.concatenate(([-np.inf], heights[order])))[:-1]
        kept = order[heights[order] > before]
        return heights[kept], places[kept]

    def _blocks(self) -> Any:
        """Yield patterns with rows left, in blocks: their places, (C, b) pixels, (b,) sums."""
        for start in range(0, self.head.size, _BLOCK):
            head = self.head[start : start + _BLOCK]
            alive = np.flatnonzero(head < self.end[start : start + _BLOCK])
            if alive.size:
                rows = self.counts[self.members[head[alive]]]
                p = np.ascontiguousarray(rows.T[self.columns], dtype=np.float64)
                yield start + alive, p, p.sum(axis=0)

    def _out(self, rows: NDArray[np.int64]) -> None:
        """Leave rows of the whole matrix out."""
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

    def _found(
        self, places: NDArray[np.int64], base: NDArray[np.float64], width: NDArray[np.float64],
        others: Others,
    ) -> Found:  # fmt: skip
        order = np.argsort(places)  # the order of the file
        places, base, width = places[order], base[order], width[order]
        head, end = self.head[places], self.end[places]
        p = self.counts[self.members[head]][:, self.columns]
        # Of each pattern the first rows that are left, as many as there is room for.
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
        return Found(base, width, p, size, more, self.begin + members, ranks, others)


def hash_weights(classes: int) -> NDArray[np.uint64]:
    """Return odd numbers: sums of products with them, modulo 2^64, tell rows apart."""
    rng = np.random.Generator(np.random.PCG64(0))
    return rng.integers(0, 2**64, classes, dtype=np.uint64) | np.uint64(1)


def _bound(
    p: NDArray[np.float64], t: NDArray[np.float64], frame: Frame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the bound of patterns at D = 0, inf where nothing is said, and their N."""
    met = frame.mix > 0
    known = p if met.all() else p[met]
    mix, total = frame.mix[met][:, None], float(frame.mix.sum())
    part = t * (-mix / total)
    part += known
    part *= part
    width = np.sqrt((1 / mix[:, 0]) @ part)
    np.multiply(known, 2 / 3, out=part)
    part += 2 * mix
    np.divide(known, part, out=part)
    part *= known
    rest = part.sum(axis=0)
    square = np.square(t) / (2 * total)
    base = frame.price @ p - rest + square + t * frame.level
    largest = float(np.abs(frame.price).max()) + abs(frame.level)
    base += _ROUNDING * (t * largest + rest + square)
    if not met.all():
        base[p[~met].any(axis=0)] = np.inf
    return base, width * (1 + _ROUNDING) + _ROUNDING * t / np.sqrt(total)


def _largest(score: NDArray[np.float64], width: int) -> NDArray[np.intp]:
    if score.size <= width:
        return np.arange(score.size)
    return np.argpartition(score, score.size - width)[score.size - width :]


def _shrunk(
    held: list[list[NDArray[Any]]], frame: Frame, width: int, others: Others
) -> tuple[list[list[NDArray[Any]]], float]:
    """Keep the `width` of the largest bounds; return them, and the smallest of these bounds."""
    none: list[NDArray[Any]] = [np.empty(0, np.int64), *(np.empty(0) for _ in range(3))]
    every = [np.concatenate(parts) for parts in zip(none, *held, strict=True)]
    score = every[1] + every[2] * frame.reach[frame.main]
    kept = _largest(score, width)
    if kept.size == score.size:
        return [every], -np.inf
    out = np.ones(score.size, bool)
    out[kept] = False
    others.add(every[1][out], every[2][out], every[3][out], frame.reach)
    return [[one[kept] for one in every]], float(score[kept].min())
