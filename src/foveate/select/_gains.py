"""The loop of `coverage`: what every row adds, and the rows that may be picked next.

All gains are in units of one row: each of m reference rows stands for ``weight = n / m`` rows, and
for itself as a candidate once. Squared distances are in the scaled unit of `Points`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from foveate.progress import ProgressFn
    from foveate.select._distance import Points
    from foveate.select.constraints import Constraint, Open

NEAR = 2.0**-22  # of full coverage

_EQUAL = 1e-9  # relative difference of gains in float64 that is rounding
_VALUES = 2**19  # similarities of held rows that are changed at a time: 4 MiB as float64


class Greedy:
    """State of the loop."""

    def __init__(
        self, points: Points, reference: NDArray[np.int64], sigma: float | None,
        given: NDArray[np.int64],
    ) -> None:  # fmt: skip
        self.points, self.reference = points, reference
        n, m = len(points), reference.size
        self.weight = n / m
        self.double = points.work(reference, np.dtype(np.float64))
        self.single = self.double.astype(np.float32)
        self.of = self._facility() if sigma is None else _gauss(sigma * points.scale)
        self.taken = np.zeros(n, bool)
        self.taken[given] = True
        self.best = np.zeros(m)  # coverage of each reference row
        self.passes = self.similarities = 0
        for part in np.array_split(given, -(-given.size // points.block) or 1):
            if part.size:
                similar = self._similar(part)
                self.best = np.maximum(self.best, similar.max(axis=1))
        self._entered = np.zeros(m, np.float32)  # coverage that `_gain` knows of
        self._gain = self._alone() if sigma is None else self._summed()

    def run(
        self, k: int, ties: NDArray[np.uint64], width: int, constraint: Constraint | None,
        progress: ProgressFn | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:  # fmt: skip
        """Return picks, and what each adds in units of one row."""
        rank = np.empty(len(self.points), np.int64)
        rank[np.lexsort((np.arange(rank.size), ties))] = np.arange(rank.size)
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
                self._refresh()
                if not self._pick(k, rows, gain, meter, free=free, rank=rank, width=width,
                                  state=state):  # fmt: skip
                    self._rest(k, rows, gain, meter, rank=rank, state=state)
        return np.array(rows, np.int64), np.array(gain)

    def _pick(
        self, k: int, rows: list[int], gain: list[float], meter: Meter, *,
        free: NDArray[np.bool_], rank: NDArray[np.int64], width: int, state: Open | None,
    ) -> bool:  # fmt: skip
        """Pick while the choice is certain, at least once; False where no row adds anything."""
        upper = self._upper()
        near = NEAR * self.weight * self.reference.size
        held, others = _largest(np.flatnonzero(free), upper, rank, width, near)
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
            chosen = int((open_ & (value >= top * (1 - _EQUAL))).argmax())
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
        self, k: int, rows: list[int], gain: list[float], meter: Meter, *,
        rank: NDArray[np.int64], state: Open | None,
    ) -> None:  # fmt: skip
        """Pick rows that add nothing, in the order of ties."""
        left = np.flatnonzero(~self.taken if state is None else state.free & ~self.taken)
        left = left[np.argsort(rank[left])]
        if state is not None:
            left = state.admit(left)
        left = left[: k - len(rows)]
        self.taken[left] = True
        rows.extend(left.tolist())
        gain.extend([0.0] * left.size)
        meter.advance(left.size)

    def _refresh(self) -> None:
        """Bring `_gain` up to date with `best`."""
        new = self.best.astype(np.float32)
        moved = np.flatnonzero(new > self._entered)
        if not moved.size:
            return
        low, high = self._entered[moved], new[moved]
        for part, similar in self._pass(moved):
            np.maximum(similar, low, out=similar)
            np.minimum(similar, high, out=similar)
            np.subtract(similar, low, out=similar)
            self._gain[part] -= similar.sum(axis=1)
        self._entered[moved] = high

    def _pass(self, moved: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Read `x` in blocks; yield (rows, moved) similarities, which may be overwritten."""
        self.passes += 1
        self.similarities += len(self.points) * moved.size
        reference = self.single[moved]
        norms = np.einsum("ij,ij->i", reference, reference)
        reference *= -2
        for part in self.points.blocks():
            rows = np.ascontiguousarray(self.points.work(part, np.dtype(np.float32)))
            yield part, self.of(squared_distances(rows, reference, norms))

    def _upper(self) -> NDArray[np.float64]:
        """Return (n,) what each row adds, in units of one row, as of the last pass."""
        upper = self._gain * self.weight
        upper[self.reference] -= (self.weight - 1) * (1 - self._entered.astype(np.float64))
        return upper

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

    def _alone(self) -> NDArray[np.float64]:
        """Return (n,) what each row covers alone, where that is linear in squared distances."""
        self.passes += 1
        total = self.double.sum(axis=0)
        norms = float(np.square(self.double).sum())
        gain = np.empty(len(self.points))
        for part in self.points.blocks():
            rows = self.points.work(part, np.dtype(np.float32)).astype(np.float64)
            own = np.einsum("ij,ij->i", rows, rows)
            gain[part] = own * len(self.double) - 2 * (rows @ total) + norms
        return len(self.double) + self.of(gain) - 1

    def _summed(self) -> NDArray[np.float64]:
        """Return (n,) what each row covers alone."""
        gain = np.empty(len(self.points))
        for part, similar in self._pass(np.arange(len(self.single))):
            gain[part] = similar.sum(axis=1)
        return gain

    def _facility(self) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """Return ``1 - squared / D``; D bounds all squared distances to reference rows."""
        longest = 0.0
        for part in self.points.blocks():
            rows = self.points.work(part, np.dtype(np.float32))
            longest = max(longest, float(np.einsum("ij,ij->i", rows, rows).max()))
        reference = np.einsum("ij,ij->i", self.double, self.double).max()
        bound = (np.sqrt(longest) + np.sqrt(reference)) ** 2 * (1 + 1e-6)

        def similarity(squared: NDArray[Any]) -> NDArray[Any]:
            if bound > 0:
                squared *= squared.dtype.type(-1 / bound)
            squared += 1
            return squared

        return similarity


def _gauss(sigma: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def similarity(squared: NDArray[Any]) -> NDArray[Any]:
        squared *= squared.dtype.type(-1 / sigma**2)
        return np.exp(squared, out=squared)

    return similarity


def squared_distances(
    a: NDArray[Any], b: NDArray[Any], norms: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return (len(a), len(b)) squared distances, at least 0.

    Args:
        a: Rows.
        b: Rows; where `norms` are given, -2 times the rows.
        norms: Squared lengths of the rows of `b`.
    """
    if norms is None:
        norms, b = np.einsum("ij,ij->i", b, b), -2 * b
    found = a @ b.T
    found += np.einsum("ij,ij->i", a, a)[:, None]
    found += norms
    return np.maximum(found, 0, out=found)


def _largest(
    free: NDArray[np.int64], upper: NDArray[np.float64], rank: NDArray[np.int64], width: int,
    near: float,
) -> tuple[NDArray[np.int64], float]:  # fmt: skip
    """Return `width` of the free rows, of the largest upper bounds, in the order of ties.

    Bounds within `near` of the smallest that has room are equal: of those, the first.

    Returns:
        The rows, and the largest bound of the others; -inf where there are none.
    """
    others = -np.inf
    if free.size > width:
        bound = upper[free]
        edge = np.partition(bound, free.size - width)[free.size - width]
        above = free[bound > edge + near]
        equal = free[np.abs(bound - edge) <= near]
        equal = equal[np.argsort(rank[equal])]
        room = width - above.size
        outside = np.concatenate((free[bound < edge - near], equal[room:]))
        others = float(upper[outside].max())
        free = np.concatenate((above, equal[:room]))
    return free[np.argsort(rank[free])], others
