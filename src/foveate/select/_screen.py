"""Certified screening for `balance`: evaluate only the rows that could win.

Let ``s`` be the class counts of the set (total ``T``, entropy ``h`` in nats), ``p`` those of a
candidate (total ``t``), and ``w = -log(s / T)``. Expanding ``x log x`` around ``s`` gives exactly

    H(s + p) - h = (p.(w - h) - sum_c R(p_c; s_c) + R(t; T)) / (T + t)
    R(x; s) = (s + x) log(1 + x / s) - x

The first term is one dot product per candidate, but does not suffice: if the set is balanced, all
its values are nearly equal, and the remainder decides. The remainder is expensive (a logarithm per
class), but earlier values of it suffice: ``x^2 phi(u) / u^2`` with ``u = x / s`` increases with
``s``, where ``phi(u) = (1 + u) log(1 + u) - u``. Hence ``R(x; s) >= (s0 / s) R(x; s0)`` if the set
has grown from ``s0`` to ``s``. With ``R(t; T) <= t^2 / 2T``, this is an upper bound for every
candidate, with equality (except for the last term) right after the remainders were computed.

A class that is not in the set has ``s = 0``. For it, ``w = log T + 1`` and ``R = x log x`` preserve
the identity until the class enters the set; the remainders are then computed again.

Rows with identical counts are one candidate (`Patterns`): in land cover, most patches of a single
class have identical counts, which no bound can separate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from foveate.progress import Meter
    from foveate.select.constraints import Open

TOLERANCE = 1e-12  # of the normalised entropy; smaller differences are ties

_BLOCK = 2048  # candidates at a time: the temporaries of 14 classes fit into the L2 cache
_PAYS = 4  # steps for which remainders must be valid; otherwise, plain steps are cheaper
_PLAIN = 4  # initial number of plain steps before screening is tried (again)
_PLAIN_MAX = 256
_NEVER = np.float32(1e38)  # remainder of a candidate without remaining rows
_TINY = np.finfo(np.float64).tiny
_ULP = float(np.finfo(np.float64).eps)
_ULP32 = float(np.finfo(np.float32).eps)


def entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy of each column in nats, where 0 log 0 = 0.

    Args:
        shares: (C, m) float64 distributions, one per column.

    Returns:
        (m,) float64 in nats.
    """
    logs = np.log(np.maximum(shares, _TINY))
    logs *= shares
    return -logs.sum(axis=0)


def entropies(
    p: NDArray[np.float64], t: NDArray[np.float64], mix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the entropy of the union of a set with each row.

    Args:
        p: (C, m) float64 pixels per class of each row.
        t: (m,) float64 total pixels of each row.
        mix: (C,) float64 pixels per class of the set.

    Returns:
        (m,) float64 in nats.
    """
    heights = np.empty(t.size)
    total = float(mix.sum())
    for begin in range(0, t.size, _BLOCK):
        block = slice(begin, begin + _BLOCK)
        shares = p[:, block] + mix[:, None]
        shares /= t[block] + total
        heights[block] = entropy(shares)
    return heights


@dataclass
class Patterns:
    """Distinct count vectors (patterns), each with a queue of its rows.

    Attributes:
        p: (C, m) float64, pixels per class of each pattern.
        t: (m,) float64, total pixels of each pattern, at least 1.
        head: (m,) int64, position in `members` of the next row of each pattern.
        end: (m,) int64, end of the queue of each pattern in `members`.
        rank: (m,) int64, position of the next row in the order of ties; unique.
        members: (n,) int64 rows, pattern by pattern.
        ranks: (n,) int64, positions of `members` in the order of ties.
        left: (n,) bool, members that are neither taken nor removed.
        more: (m,) bool, patterns that have further rows which are not in `members`.
        place: (m,) int64, original number of each pattern, ascending; empty patterns are dropped.
    """

    p: NDArray[np.float64]
    t: NDArray[np.float64]
    head: NDArray[np.int64]
    end: NDArray[np.int64]
    rank: NDArray[np.int64]
    members: NDArray[np.int64]
    ranks: NDArray[np.int64]
    left: NDArray[np.bool_]
    more: NDArray[np.bool_]
    place: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of patterns."""
        return self.t.size

    def pop(self, j: int) -> int:
        """Remove and return the next row of pattern `j`."""
        place = self.head[j]
        self.left[place] = False
        self._advance(j)
        return int(self.members[place])

    def remove(self, rows: NDArray[np.int64]) -> tuple[int, list[int]]:
        """Remove rows that are neither taken nor removed yet; other rows are ignored.

        Returns:
            The number of removed members, and the patterns whose next row was removed.
        """
        places = self._places[rows[rows < self._places.size]]
        places = places[places >= 0]
        self.left[places] = False
        pattern = np.searchsorted(self.end, places, side="right")
        moved = np.unique(pattern[self.head[pattern] == places]).tolist()
        for j in moved:
            self._advance(j)
        return places.size, moved

    def _advance(self, j: int) -> None:
        place, end = int(self.head[j]), int(self.end[j])
        while place < end and not self.left[place]:
            place += 1
        self.head[j] = place
        if place < end:
            self.rank[j] = self.ranks[place]

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Position of each row in `members`, -1 for other rows."""
        places = np.full(int(self.members.max(initial=-1)) + 1, -1)
        places[self.members] = np.arange(self.members.size)
        return places

    def drop_empty(self) -> None:
        """Drop patterns without remaining rows if they are at least a quarter of all patterns."""
        left = self.head < self.end
        if left.sum() <= 0.75 * left.size:
            self.p = np.ascontiguousarray(self.p[:, left])
            self.t, self.rank = self.t[left], self.rank[left]
            self.head, self.end, self.more = self.head[left], self.end[left], self.more[left]
            self.place = self.place[left]


class Greedy:
    """The greedy loop over candidate patterns, as long as the best row is certainly a candidate.

    Args:
        patterns: Candidates; modified.
        mix: (C,) pixels per class of the rows that are already in the set.
        constraint: State of the constraint; each pick is reported to it.
        certain: Function of the pixels per class of the set and a gain in nats. Returns the number
            of leading candidates to consider: all later candidates and all other rows gain less.
            Returns None if rows that are not candidates may gain as much. None instead of the
            function if all rows are candidates.

    Attributes:
        rows: Picks, in order.
        gone: Rows that the constraint has forbidden, for each pick.
        stopped: Whether a row that is not a candidate may be next.
    """

    def __init__(
        self, patterns: Patterns, mix: NDArray[Any], constraint: Open | None = None,
        certain: Callable[[NDArray[np.float64], float], int | None] | None = None,
    ) -> None:  # fmt: skip
        self.patterns = patterns
        self.constraint, self.certain = constraint, certain
        self.stopped = False
        self.gone: list[NDArray[np.int64]] = []
        self.left = patterns.members.size
        self._changed: list[int] = []  # patterns whose next row was taken or removed
        self.mix = mix.astype(np.float64)
        self.total = float(self.mix.sum())
        self.tolerance = TOLERANCE * float(np.log(self.mix.size))
        # Tolerance for rounding when float64 entropies are compared with float64 bounds.
        self.slack = 16 * _ULP * (self.mix.size + 32)
        self.rows: list[int] = []
        self.exact = 0

    def run(self, k: int, screening: str, meter: Meter) -> NDArray[np.int64]:
        """Pick up to `k` rows and return them in order."""
        k = min(k, self.left)
        plain = _PLAIN
        left = 1 if self.total == 0 else 0  # an empty set has no prices
        if screening == "never":
            left = k
        while len(self.rows) < k and self.left and not self.stopped:
            if left:
                self._plain(min(left, k - len(self.rows)), meter)
            steps = self._screened(k - len(self.rows), meter)
            # If screening soon needs new remainders, it is not worth it until the set has grown.
            # Failed attempts therefore become increasingly rare.
            pays = steps > _PAYS or screening == "always"
            left = 0 if pays else plain
            plain = _PLAIN if pays else min(plain * 2, _PLAIN_MAX)
        return np.array(self.rows, np.int64)

    def _plain(self, steps: int, meter: Meter) -> None:
        """Pick `steps` rows, evaluating every candidate in each step."""
        for _ in range(steps):
            if not self.left or self.stopped:
                return
            self.patterns.drop_empty()
            pats = self.patterns
            heights = self._evaluate(pats.p, pats.t)
            heights[pats.head >= pats.end] = -np.inf
            if self._num_needed(heights) > len(pats):
                self.stopped = True
                return
            self._take(np.arange(len(pats)), heights, meter)

    def _screened(self, limit: int, meter: Meter) -> int:
        """Pick up to `limit` rows with one set of remainders; return the number of steps."""
        if limit == 0 or not self.left or self.stopped:
            return _PAYS + 1
        self.patterns.drop_empty()
        pats = self.patterns
        base, present = self.mix.copy(), self.mix > 0
        heights = self._evaluate(pats.p, pats.t)
        terms = self._terms(heights)
        exhausted = pats.head >= pats.end
        heights[exhausted] = -np.inf
        terms[-2, exhausted] = _NEVER
        t_range = float(pats.t.min()), float(pats.t.max())
        self._changed.clear()
        if self._num_needed(heights) > len(pats):
            self.stopped = True
            return 0
        self._take(np.arange(len(pats)), heights, meter)
        spent, gap, level, considered = 0, 0.0, 0.0, len(pats)
        for step in range(1, limit):
            if not self.left or self.stopped:
                return step
            for j in self._changed:
                if pats.head[j] >= pats.end[j]:
                    terms[-2, j] = _NEVER
            self._changed.clear()
            if spent > len(pats) or (self.mix[~present] > 0).any():
                return step
            h, w = self._prices()
            # `upper` bounds the increase of T * entropy by each candidate, less `level` per pixel.
            # It is a product without a division by T + t; a `level` close to the largest gain
            # compensates for that.
            ratio = float((base[present] / self.mix[present]).min())
            weights = self._weights(w - h - level, ratio)
            upper = weights @ terms[:, :considered]
            while True:
                ids, heights, gain, needed = self._near_top(upper, gap, h, level, t_range)
                spent += ids.size
                number = self._num_needed(heights)
                if number <= considered:
                    break
                if considered == len(pats):
                    self.stopped = True
                    return step
                extended = min(number, len(pats))
                upper = np.concatenate((upper, weights @ terms[:, considered:extended]))
                considered = extended
            considered = number // 2 + 1
            gap, level = float(upper.max()) - needed, gain
            self._take(ids, heights, meter)
        return limit

    def _near_top(
        self, upper: NDArray[np.float32], gap: float, h: float, level: float,
        t_range: tuple[float, float],
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], float, float]:  # fmt: skip
        """Evaluate only as many of the leading patterns as necessary to determine the best.

        Args:
            upper: Bounds of the leading patterns, less `level` per pixel.
            gap: Distance below the highest bound that sufficed in the last step.
            h: Entropy of the set in nats.
            level: See `upper`.
            t_range: Smallest and largest number of pixels of a pattern.

        Returns:
            The evaluated patterns (some may be evaluated twice, which `exact` counts), their
            entropies, the largest gain, and the bound below which a pattern is excluded. If no
            pattern has remaining rows, there are none, with an entropy and a gain of -inf.
        """
        pats, top = self.patterns, float(upper.max())
        if top <= -_NEVER / 2:
            return np.empty(0, np.intp), np.full(1, -np.inf), -np.inf, top
        # First the patterns within `gap` of the top; then, if the best of them does not exclude all
        # others, every pattern that it does not exclude.
        floor = top - gap
        while True:
            ids = np.flatnonzero(upper >= floor)
            heights = self._evaluate(pats.p[:, ids], pats.t[ids])
            gain = float(heights.max()) - h - self.tolerance - self.slack
            needed = gain * self.total + min((gain - level) * t for t in t_range)
            needed -= 4 * _ULP32 * abs(needed)
            if floor <= needed:
                return ids, heights, gain, needed
            floor = needed

    def _num_needed(self, heights: NDArray[np.float64]) -> int:
        """Return the number of leading patterns that can contain the best.

        Args:
            heights: Entropies of the patterns evaluated so far.

        Returns:
            The number; one more than there are patterns if a row that is not a candidate may be
            better.
        """
        if self.certain is None:
            return len(self.patterns)
        gain = float(heights.max()) - self._prices()[0] - self.tolerance - self.slack
        number = self.certain(self.mix, gain)
        if number is None:
            return len(self.patterns) + 1
        return int(np.searchsorted(self.patterns.place, number))

    def _prices(self) -> tuple[float, NDArray[np.float64]]:
        """Return the entropy h of the set, and the price w of a pixel of each class, in nats."""
        w = np.log(self.total) - np.log(np.maximum(self.mix, 1.0))
        h = float(self.mix @ w) / self.total
        w[self.mix == 0] += 1.0
        return h, w

    def _terms(self, heights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the (C + 2, m) terms of the bound: p, the remainders, t squared.

        The remainders follow from the entropies with each candidate by the identity in the module
        docstring. Single precision halves the memory traffic of the product with the terms, which
        dominates the cost of a step; `_weights` compensates for the rounding.
        """
        pats = self.patterns
        h, w = self._prices()
        after = self.total + pats.t
        rest = (w - h) @ pats.p
        rest += after * np.log1p(pats.t / self.total) - pats.t
        rest -= after * (heights - h + self.slack)
        terms = np.empty((w.size + 2, len(pats)), np.float32)
        terms[:-2] = pats.p
        terms[-2] = np.maximum(rest, 0.0)
        terms[-1] = np.square(pats.t)
        return terms

    def _weights(self, prices: NDArray[np.float64], ratio: float) -> NDArray[np.float32]:
        """Return the (C + 2,) weights of the terms: prices, the factor of R (`ratio`), 1 / 2T."""
        # The error of a sum of n products is at most n u times the sum of their magnitudes.
        error = (prices.size + 32) * _ULP32
        weights = np.empty(prices.size + 2, np.float32)
        weights[:-2] = prices + error * float(np.abs(prices).max())
        weights[-2] = -ratio * (1 - error)
        weights[-1] = (1 + error) / (2 * self.total)
        return weights

    def _take(self, ids: NDArray[np.intp], heights: NDArray[np.float64], meter: Meter) -> None:
        """Pick a row of the best of the patterns `ids`, given their entropies."""
        pats = self.patterns
        tied = ids[heights >= heights.max() - self.tolerance]
        j = int(tied[pats.rank[tied].argmin()])
        self.rows.append(pats.pop(j))
        self.left -= 1
        changed = [j]
        if self.constraint is not None:
            forbidden = self.constraint.pick(self.rows[-1])
            self.gone.append(forbidden)
            removed, moved = pats.remove(forbidden)
            self.left -= removed
            changed += moved
        self._changed += changed
        # The next row of an exhausted pattern may be one that is not in `members`.
        self.stopped = any(pats.more[i] and pats.head[i] >= pats.end[i] for i in changed)
        self.mix += pats.p[:, j]
        self.total += float(pats.t[j])
        meter.advance()

    def _evaluate(self, p: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (m,) entropies in nats of the set with each candidate."""
        self.exact += t.size
        return entropies(p, t, self.mix)
