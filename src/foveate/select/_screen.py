"""Certified screening for `balance`: evaluate only the rows that could win.

Let ``s`` be the class counts of the set (total ``T``, entropy ``h`` in nats), ``p`` those of a
candidate (total ``t``), and ``w = -log(s / T)``. Expanding ``x log x`` around ``s`` gives exactly

    H(s + p) - h = (p.(w - h) - sum_c R(p_c; s_c) + R(t; T)) / (T + t)
    R(x; s) = (s + x) log(1 + x / s) - x

The first term is one product per candidate, but it alone is useless: while the set is balanced
all its values are nearly equal and the remainder decides. The remainder is costly (a logarithm
per class) but stale values of it do: ``x^2 phi(u) / u^2`` with ``u = x / s`` rises with ``s``,
where ``phi(u) = (1 + u) log(1 + u) - u``, hence ``R(x; s) >= (s0 / s) R(x; s0)`` when the set has
grown from ``s0`` to ``s``. With ``R(t; T) <= t^2 / 2T`` this bounds every candidate from above,
with equality (but for the last term) right after the remainders were refreshed.

A class that the set has not met has ``s = 0``; for it ``w = log T + 1`` and ``R = x log x`` keep
the identity, until the class is met and the remainders are refreshed.

Rows with the same counts are one candidate (`Patterns`): in land cover most patches of a single
class are the same row, and no bound could tell them apart.
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

TOLERANCE = 1e-12  # of the normalised entropy: differences below are ties

_BLOCK = 2048  # candidates at a time: the temporaries of 14 classes stay in the L2 cache
_PAYS = 4  # rows that one set of remainders must serve, or plain steps are cheaper
_PLAIN = 4  # first stretch of plain steps before screening is tried (again)
_PLAIN_MAX = 256
_NEVER = np.float32(1e38)  # remainder of a candidate without rows left
_TINY = np.finfo(np.float64).tiny
_ULP = float(np.finfo(np.float64).eps)
_ULP32 = float(np.finfo(np.float32).eps)


def entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy of each column in nats, with 0 log 0 = 0.

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
    """Return the entropy of the union of a set with each of some rows.

    Args:
        p: (C, m) float64 pixels per class of each row.
        t: (m,) float64 pixels of each row.
        mix: (C,) float64 pixels per class of the set.

    Returns:
        (m,) float64 in nats.
    """
    heights = np.empty(t.size)
    total = float(mix.sum())
    for begin in range(0, t.size, _BLOCK):
        part = slice(begin, begin + _BLOCK)
        shares = p[:, part] + mix[:, None]
        shares /= t[part] + total
        heights[part] = entropy(shares)
    return heights


@dataclass
class Patterns:
    """Distinct rows of counts, each with a queue of the rows that have them.

    Attributes:
        p: (C, m) float64, pixels per class of each pattern.
        t: (m,) float64, pixels of each pattern, at least 1.
        head: (m,) int64, place in `members` of the next row of each pattern.
        end: (m,) int64, end of the pattern's queue in `members`.
        rank: (m,) int64, place of the next row in the order of ties; unique.
        members: (n,) int64 rows, and `ranks` (n,) int64 their places in the order of ties.
        ranks: See `members`.
        left: (n,) bool, members that are neither taken nor removed.
        more: (m,) bool, patterns with rows that are not among the members.
        place: (m,) int64, number of each pattern, ascending: some are forgotten.
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
        """Return m."""
        return self.t.size

    def pop(self, j: int) -> int:
        """Take the next row of pattern `j`."""
        place = self.head[j]
        self.left[place] = False
        self._advance(j)
        return int(self.members[place])

    def remove(self, rows: NDArray[np.int64]) -> tuple[int, list[int]]:
        """Remove rows that are left.

        Returns:
            How many of `rows` are members, and the patterns whose next row was removed.
        """
        places = self._places[rows[rows < self._places.size]]
        places = places[places >= 0]
        self.left[places] = False
        found = np.searchsorted(self.end, places, side="right")
        moved = np.unique(found[self.head[found] == places]).tolist()
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
        """Place of each row in `members`, -1 for rows that are not among them."""
        places = np.full(int(self.members.max(initial=-1)) + 1, -1)
        places[self.members] = np.arange(self.members.size)
        return places

    def drop_empty(self) -> None:
        """Forget patterns without rows, once they are a quarter of all."""
        left = self.head < self.end
        if left.sum() <= 0.75 * left.size:
            self.p = np.ascontiguousarray(self.p[:, left])
            self.t, self.rank = self.t[left], self.rank[left]
            self.head, self.end, self.more = self.head[left], self.end[left], self.more[left]
            self.place = self.place[left]


class Greedy:
    """The greedy loop over patterns, while it is certain what is best.

    Args:
        patterns: Candidates; consumed.
        mix: (C,) pixels per class of the rows that are in the set already.
        constraint: What the rows in the set forbid; told of each row that is taken.
        certain: Says, given the pixels per class of the set and a gain in nats, how many of the
            candidates, the first ones, have to be looked at: all other rows gain less. It returns
            None if rows that are no candidates may gain as much. None where all are to be looked
            at, and there are no other rows.

    Attributes:
        rows: What was taken, in order.
        gone: What was taken or forbidden.
        stopped: Whether a row that is no candidate may be next.
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
        # Allowance for rounding where float64 entropies are compared with float64 bounds.
        self.slack = 16 * _ULP * (self.mix.size + 32)
        self.rows: list[int] = []
        self.exact = 0

    def run(self, k: int, screening: str, meter: Meter) -> NDArray[np.int64]:
        """Take `k` rows, at most as many as there are, and return them in order."""
        k = min(k, self.left)
        plain = _PLAIN
        left = 1 if self.total == 0 else 0  # an empty set has no mix to bound with
        if screening == "never":
            left = k
        while len(self.rows) < k and self.left and not self.stopped:
            if left:
                self._plain(min(left, k - len(self.rows)), meter)
            steps = self._screened(k - len(self.rows), meter)
            # Screening that soon needs new remainders does not pay yet: it will when the set has
            # grown. Its failures are paid by ever rarer attempts.
            pays = steps > _PAYS or screening == "always"
            left = 0 if pays else plain
            plain = _PLAIN if pays else min(plain * 2, _PLAIN_MAX)
        return np.array(self.rows, np.int64)

    def _plain(self, steps: int, meter: Meter) -> None:
        """Take `steps` rows, evaluating every candidate each time."""
        for _ in range(steps):
            if not self.left or self.stopped:
                return
            self.patterns.drop_empty()
            pats = self.patterns
            heights = self._evaluate(pats.p, pats.t)
            heights[pats.head >= pats.end] = -np.inf
            if self._wanted(heights) > len(pats):
                self.stopped = True
                return
            self._take(np.arange(len(pats)), heights, meter)

    def _screened(self, limit: int, meter: Meter) -> int:
        """Take up to `limit` rows with one set of remainders; return how many were taken."""
        if limit == 0 or not self.left or self.stopped:
            return _PAYS + 1
        self.patterns.drop_empty()
        pats = self.patterns
        base, met = self.mix.copy(), self.mix > 0
        heights = self._evaluate(pats.p, pats.t)
        terms = self._terms(heights)
        gone = pats.head >= pats.end
        heights[gone] = -np.inf
        terms[-2, gone] = _NEVER
        t_range = float(pats.t.min()), float(pats.t.max())
        self._changed.clear()
        if self._wanted(heights) > len(pats):
            self.stopped = True
            return 0
        self._take(np.arange(len(pats)), heights, meter)
        spent, gap, level, looked = 0, 0.0, 0.0, len(pats)
        for step in range(1, limit):
            if not self.left or self.stopped:
                return step
            for j in self._changed:
                if pats.head[j] >= pats.end[j]:
                    terms[-2, j] = _NEVER
            self._changed.clear()
            if spent > len(pats) or (self.mix[~met] > 0).any():
                return step
            h, w = self._prices()
            # `upper` bounds what each candidate adds to T * entropy, less `level` per pixel: a
            # product without a division by T + t, which `level` near the maximum makes up for.
            weights = self._weights(w - h - level, float((base[met] / self.mix[met]).min()))
            upper = weights @ terms[:, :looked]
            while True:
                ids, heights, gain, needed = self._near_top(upper, gap, h, level, t_range)
                spent += ids.size
                wanted = self._wanted(heights)
                if wanted <= looked:
                    break
                if looked == len(pats):
                    self.stopped = True
                    return step
                more = min(wanted, len(pats))
                upper = np.concatenate((upper, weights @ terms[:, looked:more]))
                looked = more
            looked = wanted // 2 + 1
            gap, level = float(upper.max()) - needed, gain
            self._take(ids, heights, meter)
        return limit

    def _near_top(
        self, upper: NDArray[np.float32], gap: float, h: float, level: float,
        t_range: tuple[float, float],
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], float, float]:  # fmt: skip
        """Evaluate the first patterns, as few as make sure which of them is best.

        Args:
            upper: Bounds of the first patterns, less `level` per pixel.
            gap: How far below the highest bound sufficed in the last step.
            h: Entropy of the set.
            level: See `upper`.
            t_range: Smallest and largest number of pixels of a pattern.

        Returns:
            Those evaluated (perhaps some twice, counted in `exact`), their entropies, the largest
            gain, and the bound below which a pattern is ruled out. Without patterns that have rows
            left: none of them, and a gain of -inf.
        """
        pats, top = self.patterns, float(upper.max())
        if top <= -_NEVER / 2:
            return np.empty(0, np.intp), np.full(1, -np.inf), -np.inf, top
        # First those as near the top as sufficed in the last step; then, if the best of them does
        # not rule out the others, all that it does not rule out.
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

    def _wanted(self, heights: NDArray[np.float64]) -> int:
        """Return how many of the first patterns have to be looked at to be sure of the best.

        Args:
            heights: Entropies of some.

        Returns:
            Their number: one more than there are if a row that is no candidate may be better.
        """
        if self.certain is None:
            return len(self.patterns)
        gain = float(heights.max()) - self._prices()[0] - self.tolerance - self.slack
        number = self.certain(self.mix, gain)
        if number is None:
            return len(self.patterns) + 1
        return int(np.searchsorted(self.patterns.place, number))

    def _prices(self) -> tuple[float, NDArray[np.float64]]:
        """Return the entropy h of the set and the price w of a pixel of each class, in nats."""
        w = np.log(self.total) - np.log(np.maximum(self.mix, 1.0))
        h = float(self.mix @ w) / self.total
        w[self.mix == 0] += 1.0
        return h, w

    def _terms(self, heights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the (C + 2, m) terms of the bound: p, the remainders, t squared.

        The remainders come from the entropies with each candidate, by the identity of the
        module's header. Single precision halves the memory traffic of the product with the
        terms, which is what a step costs; `_weights` allows for the rounding.
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

    def _weights(self, prices: NDArray[np.float64], shrunk: float) -> NDArray[np.float32]:
        """Return the (C + 2,) weights of the terms: prices, the share left of R, 1 / 2T."""
        # A sum of n products is off by at most n u times the sum of their sizes.
        error = (prices.size + 32) * _ULP32
        weights = np.empty(prices.size + 2, np.float32)
        weights[:-2] = prices + error * float(np.abs(prices).max())
        weights[-2] = -shrunk * (1 - error)
        weights[-1] = (1 + error) / (2 * self.total)
        return weights

    def _take(self, ids: NDArray[np.intp], heights: NDArray[np.float64], meter: Meter) -> None:
        """Take the best of the patterns `ids`, given their entropies."""
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
        # The next row of a pattern may be one that is not among the members.
        self.stopped = any(pats.more[i] and pats.head[i] >= pats.end[i] for i in changed)
        self.mix += pats.p[:, j]
        self.total += float(pats.t[j])
        meter.advance()

    def _evaluate(self, p: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (m,) entropies in nats of the set with each candidate."""
        self.exact += t.size
        return entropies(p, t, self.mix)
