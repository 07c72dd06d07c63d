"""The loop of `coverage`: which rows may be picked next, and which of them is.

Holders update the gains of all rows in float32 (`_gains`); picks are decided here, in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.progress import Meter
from foveate.select._gains import (
    EQUAL,
    NEAR,
    Front,
    Reference,
    Similarity,
    Update,
    squared_distances,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn
    from foveate.select._distance import Points
    from foveate.select.constraints import Constraint, Open
    from foveate.select.holders import Crew

_VALUES = 2**19  # similarities of held rows that are changed at a time: 4 MiB as float64


class Greedy:
    """State of the loop.

    Args:
        crew: Holders of all rows.
        points: Rows that can be read here.
        rank: (n,) int64, place of each row in the order of ties.
        reference: (m,) int64 rows to be covered.
        sigma: As for `coverage_greedy`.
        given: Rows that are picked already.

    Attributes:
        best: (m,) coverage of each reference row.
        passes: Passes over all rows.
        similarities: How many were computed.
    """

    def __init__(
        self, crew: Crew, points: Points, rank: NDArray[np.int64], reference: NDArray[np.int64],
        *, sigma: float | None, given: NDArray[np.int64],
    ) -> None:  # fmt: skip
        self.crew, self.points, self.rank, self.reference = crew, points, rank, reference
        n, m = rank.size, reference.size
        self.weight = n / m
        self.double = points.work(reference, np.dtype(np.float64))
        self.taken = np.zeros(n, bool)
        self.taken[given] = True
        self.best = np.zeros(m)
        self.passes, self.similarities = 1, 0
        crew.each(
            "set_reference", Reference(reference, self.double.astype(np.float32), self.weight)
        )
        if sigma is None:
            norms = np.square(self.double)
            longest = max(crew.each("sum_distances", self.double.sum(axis=0), float(norms.sum())))
            lengths = np.einsum("ij,ij->i", self.double, self.double)
            self.of = Similarity.squared(longest, float(lengths.max()))
        else:
            self.of = Similarity.gaussian(sigma * points.scale)
            self.similarities += n * m
        crew.each("set_similarity", self.of)
        for part in np.array_split(given, -(-given.size // points.block) or 1):
            if part.size:
                self.best = np.maximum(self.best, self._similar(part).max(axis=1))
        self._entered = np.zeros(m, np.float32)  # coverage as of the last update
        self._free = np.ones(n, bool)  # free rows as of the last update

    def run(
        self, k: int, width: int, constraint: Constraint | None, progress: ProgressFn | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return picks, and what each adds in units of one row."""
        given = np.flatnonzero(self.taken)
        state = None if constraint is None or constraint.empty else constraint.open(given)
        rows: list[int] = []
        gain: list[float] = []
        with Meter(progress, "coverage", k) as meter:
            while len(rows) < k:
                free = ~self.taken if state is None else state.free & ~self.taken
                if not free.any():
                    state = None  # only what is forbidden is left
                    continue
                if not self._pick(k, rows, gain, meter, free=free, width=width, state=state):
                    self._rest(k, rows, gain, meter, state)
        return np.array(rows, np.int64), np.array(gain)

    def _pick(
        self, k: int, rows: list[int], gain: list[float], meter: Meter, *,
        free: NDArray[np.bool_], width: int, state: Open | None,
    ) -> bool:  # fmt: skip
        """Pick while the choice is certain, at least once; False where no row adds anything."""
        near = NEAR * self.weight * self.reference.size
        held, others = self._candidates(free, width, near)
        similar = self._similar(held)
        value = self._value(held, similar)
        own = self._own(held)
        open_ = np.ones(held.size, bool)
        floor = max(others - near, near)
        first = True
        while len(rows) < k and open_.any():
            top = value[open_].max()
            if top < floor and not (first and top > near):
                return not first
            first = False
            # Held in the order of ties: of equal gains the first.
            chosen = int((open_ & (value >= top * (1 - EQUAL))).argmax())
            row = int(held[chosen])
            rows.append(row)
            gain.append(float(value[chosen]))
            meter.advance()
            self.taken[row] = True
            open_[chosen] = False
            if state is not None and state.pick(row).size:
                open_ &= state.free[held]
            value -= self._cover(similar, chosen, own)
        return True

    def _cover(
        self, similar: NDArray[np.float64], chosen: int, own: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Cover by a held row; return by how much less each held row adds now."""
        new = similar[:, chosen]
        moved = np.flatnonzero(new > self.best)
        old = self.best[moved]
        self.best[moved] = new[moved]
        less = np.zeros(similar.shape[1])
        step = max(1, _VALUES // less.size)
        for begin in range(0, moved.size, step):
            part = moved[begin : begin + step]
            low, high = old[begin : begin + step, None], new[part][:, None]
            change = np.clip(similar[part], low, high)
            change -= low
            less += change.sum(axis=0)
        less *= self.weight
        # What a reference row adds to itself was counted once.
        change = np.zeros(self.best.size)
        change[moved] = self.best[moved] - old
        mine = own >= 0
        less[mine] -= (self.weight - 1) * change[own[mine]]
        return less

    def _rest(
        self, k: int, rows: list[int], gain: list[float], meter: Meter, state: Open | None
    ) -> None:
        """Pick rows that add nothing, in the order of ties."""
        left = np.flatnonzero(~self.taken if state is None else state.free & ~self.taken)
        left = left[np.argsort(self.rank[left])]
        if state is not None:
            left = state.admit(left)
        left = left[: k - len(rows)]
        self.taken[left] = True
        rows.extend(left.tolist())
        gain.extend([0.0] * left.size)
        meter.advance(left.size)

    def _candidates(
        self, free: NDArray[np.bool_], width: int, near: float
    ) -> tuple[NDArray[np.int64], float]:
        """Return `width` of the free rows, of the largest gains, in the order of ties.

        Gains within `near` of the smallest that has room are equal: of those, the first.

        Returns:
            The rows, and the largest gain of the others; -inf where there are none.
        """
        # One more than has room, to see whether there are others.
        gain = np.concatenate(self.crew.each("refresh", self._update(free), width + 1))
        edge = -np.inf
        if gain.size > width:
            edge = float(np.partition(gain, gain.size - width)[gain.size - width])
        front = Front.merged(self.crew.each("front", edge, near, width), self.rank, width)
        rows = np.concatenate((front.above, front.equal))
        return rows[np.argsort(self.rank[rows])], front.others

    def _update(self, free: NDArray[np.bool_]) -> Update:
        """Return the changes since the last update."""
        coverage = self.best.astype(np.float32)
        covered = np.flatnonzero(coverage > self._entered)
        coverage = coverage[covered]
        self._entered[covered] = coverage
        changed = np.flatnonzero(free != self._free)
        self._free = free
        if covered.size:
            self.passes += 1
            self.similarities += free.size * covered.size
        return Update(covered, coverage, changed)

    def _similar(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (reference, rows) similarities in float64."""
        self.similarities += rows.size * self.reference.size
        given = self.points.work(rows, np.dtype(np.float64))
        similar = self.of(squared_distances(self.double, np.ascontiguousarray(given)))
        # A row is as similar to itself as can be, whatever the rounding.
        own = self._own(rows)
        similar[own[own >= 0], own >= 0] = 1.0
        return similar

    def _value(self, rows: NDArray[np.int64], similar: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each of `rows` adds."""
        value = np.zeros(rows.size)
        step = max(1, _VALUES // rows.size)
        for begin in range(0, self.best.size, step):
            part = np.s_[begin : begin + step]
            value += np.maximum(similar[part] - self.best[part, None], 0).sum(axis=0)
        value *= self.weight
        own = self._own(rows)
        mine = own >= 0
        value[mine] -= (self.weight - 1) * (1 - self.best[own[mine]])
        return value

    def _own(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of each of `rows` in the reference; -1 where it is not there."""
        order = np.argsort(self.reference)
        place = np.searchsorted(self.reference, rows, sorter=order)
        place = order[np.minimum(place, order.size - 1)]
        return np.where(self.reference[place] == rows, place, -1)
