"""The candidates of `kcenter`: the rows that may be picked before the next pass over x.

The candidates are the rows with the largest upper bounds. Every other row is at most at `tau`,
the largest bound among those, for as long as the pass is not repeated: distances only fall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import Meter
    from foveate.select._cover import Centres, Far
    from foveate.select.constraints import Open

NEAR = 2e-6  # relative difference of squared distances below which two rows are a near-tie

_BATCH = 1024  # rows settled at once, at most
_AHEAD = 63  # likely next picks multiplied together with a pick
_DOUBT = 32  # settled rows per pick above which products in float32 are too coarse


class Candidates:
    """The rows with the largest upper bounds, in the order of ties.

    Args:
        centres: What is decided so far.
        far: The rows first by (largest bound, smallest key), in this order: one more than
            `width`, unless there are no more.
        width: How many rows are candidates, at least 2.
        constraint: What the centres forbid; told of each row that is picked.
    """

    def __init__(
        self, centres: Centres, far: Far, width: int, constraint: Open | None = None
    ) -> None:
        self.centres = centres
        self.constraint = constraint
        self.tau, self.tau_key = -np.inf, (np.inf, np.inf)
        if far.rows.size > width:
            self.tau, self.tau_key = float(far.upper[width]), self._key(int(far.rows[width]))
        # In the order of ties, the first maximum is the one to pick.
        held = far[:width]
        held = held[np.lexsort((held.rows, held.ties))]
        self.rows, self.upper, self.q, self.state = held.rows, held.upper, held.q, held.state
        self.near_ties = 0
        self._a: NDArray[Any] | None = None
        self._ahead = np.empty((0, self.rows.size), centres.bounds.dtype)
        self._place = np.full(self.rows.size, -1)

    def _key(self, row: int) -> tuple[float, float]:
        """Return the place of a row in the order of ties."""
        return int(self.centres.ties[row]), row

    def run(self, k: int, picks: list[int], values: list[float], meter: Meter) -> None:
        """Append picks and their squared distances, up to `k` in all, while they are certain."""
        width = self.rows.size
        while len(picks) < k:
            best = self._settle_top()
            value = float(self.upper[best])
            if value == 0 and self.tau <= 0:
                self._rest(k, picks, values, meter)
                return
            row = int(self.rows[best])
            sure = value > self.tau or (value == self.tau and self._key(row) < self.tau_key)
            near = self._near(best) if sure else None
            if near is None:
                break
            self.near_ties += near
            picks.append(row)
            values.append(value)
            meter.advance()
            self._add(best, row)
            if np.isneginf(self.upper).all():
                break
        self.centres.keep(self.rows, self.state)
        coarse = self.centres.effort > width + _DOUBT * (len(picks) + 1)
        if coarse and self.centres.bounds.dtype == np.float32:
            self.centres.set_precision(np.dtype(np.float64))

    def _settle_top(self, floor: float = -np.inf) -> int:
        """Settle rows until the farthest, if not below `floor`, is settled; return it."""
        batch = 1
        while True:
            best = int(self.upper.argmax())
            settled = self.state.settled
            if settled[best] or self.upper[best] < floor:
                return best
            if batch == 1:
                rows = np.array([best])
            else:
                rows = np.flatnonzero(~settled & (self.upper >= floor))
                if rows.size > batch:
                    order = np.argpartition(self.upper[rows], rows.size - batch)
                    rows = rows[order[rows.size - batch :]]
            part = self.state[rows]
            self.centres.settle(self.rows[rows], self.q[rows], part)
            self.state[rows] = part
            self.upper[rows] = np.where(np.isneginf(self.upper[rows]), -np.inf, part.value)
            batch = min(4 * batch, _BATCH)

    def _near(self, best: int) -> bool | None:
        """Say whether another row is a near-tie of `best`; None if only a new pass can tell."""
        value = float(self.upper[best])
        floor = value * (1 - NEAR)
        self.upper[best] = -np.inf
        other = float(self.upper[self._settle_top(floor)])
        self.upper[best] = value
        if other >= floor:
            return True
        return None if self.tau >= floor else False

    def _add(self, best: int, row: int) -> None:
        """Make candidate `best`, which is `row` of x, a centre."""
        centres = self.centres
        number = centres.add(row, self.q[best])
        self.upper[best] = -np.inf
        if self.constraint is not None and (forbidden := self.constraint.pick(row)).size:
            centres.forbid(forbidden)
            self.upper[centres.taken[self.rows]] = -np.inf
        low = self._products(best) + self.q[best] * (1 - centres.bounds.eta)
        low = centres.bounds.floor(low, self.q)
        closer = np.flatnonzero(low < self.state.second)
        part = self.state[closer]
        nothing = np.full(closer.size, np.inf, low.dtype)
        part.add(low[closer], nothing, np.full(closer.size, number))
        self.state[closer] = part
        bounds = centres.upper_of(part, self.q[closer])
        self.upper[closer] = np.where(np.isneginf(self.upper[closer]), -np.inf, bounds)
        # Below `tau` a row cannot be picked before the next pass, which will bring it up to date.
        alive = (self.upper >= self.tau) & ~np.isneginf(self.upper)
        if 2 * int(alive.sum()) < alive.size:
            self.rows, self.upper, self.q = self.rows[alive], self.upper[alive], self.q[alive]
            self.state, self._a = self.state[alive], self._vectors()[alive]
            self._ahead, self._place = self._ahead[:, alive], self._place[alive]

    def _products(self, best: int) -> NDArray[Any]:
        """Return the products -2 a.c of all candidates with the new centre `best`.

        The candidates that are likely next are multiplied together with it: one matrix product
        reads the coordinates once for all of them.
        """
        place = self._place[best]
        if place < 0:
            likely = np.argpartition(-self.upper, min(_AHEAD, self.upper.size - 1))[:_AHEAD]
            likely = np.append(likely[self.upper[likely] > -np.inf], best)
            a = self._vectors()
            self._ahead = (-2 * a[likely]) @ a.T
            self._place[:] = -1
            self._place[likely] = np.arange(likely.size)
            place = self._place[best]
        return self._ahead[place]

    def _vectors(self) -> NDArray[Any]:
        """Return the coordinates of the candidates, read when first needed."""
        if self._a is None:
            order = np.argsort(self.rows)  # the order of the file
            points, dtype = self.centres.points, self.centres.bounds.dtype
            a = np.empty((self.rows.size, points.shift.size), dtype)
            a[order] = points.work(self.rows[order], dtype)
            self._a = a
        return self._a

    def _rest(self, k: int, picks: list[int], values: list[float], meter: Meter) -> None:
        """Pick among rows that are all at distance 0: by their keys."""
        left = np.flatnonzero(~self.centres.taken)
        left = left[np.lexsort((left, self.centres.ties[left]))]
        if self.constraint is not None:
            forbidden = left
            left = self.constraint.admit(left)
            self.centres.forbid(forbidden)
        count = min(k - len(picks), left.size)
        self.near_ties += min(count, left.size - 1)
        for row in left[:count].tolist():
            self.centres.add(row)
        picks.extend(left[:count].tolist())
        values.extend([0.0] * count)
        meter.advance(count)
