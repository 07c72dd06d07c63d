"""The state of `kcenter`: what is known of each row's distance to the nearest centre.

All squared distances here are in the scaled unit of `Points`. Every row has

- `value`: the smallest deciding number computed so far, an upper bound;
- `low`: a lower bound on the distance to every centre whose deciding number was not computed,
  attained (within the error of the product) by the centre `who`, or by an unknown one if -1;
- `second`: the same over those centres without `who`.

A row is *settled* when ``low >= value``: then `value` is its distance. A new centre with lower
bound b changes a row only if ``b < second``. Nothing else needs to be remembered of a centre, so
the state takes O(n) memory whatever the number of centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.select._distance import eta, tiny

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select._distance import Points

_COLUMNS = 256  # centres per product: (block, 256) float32 stays near the cache


@dataclass
class State:
    """What is known of some rows; see the module's header. Arrays of one length.

    Attributes:
        value: float64.
        low: float32 or float64, the working precision.
        second: As `low`.
        who: int64, a row of x, or -1.
    """

    value: NDArray[np.float64]
    low: NDArray[Any]
    second: NDArray[Any]
    who: NDArray[np.int64]

    @classmethod
    def empty(cls, n: int, dtype: np.dtype[Any]) -> Self:
        """Return the state of `n` rows before any centre."""
        return cls(
            np.full(n, np.inf),
            np.full(n, np.inf, dtype),
            np.full(n, np.inf, dtype),
            np.full(n, -1, np.int64),
        )

    def __getitem__(self, rows: Any) -> State:
        """Return a copy, or for a slice a view, of the state of `rows`."""
        return State(self.value[rows], self.low[rows], self.second[rows], self.who[rows])

    def __setitem__(self, rows: Any, other: State) -> None:
        """Overwrite the state of `rows`."""
        self.value[rows], self.low[rows] = other.value, other.low
        self.second[rows], self.who[rows] = other.second, other.who

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Say where `value` is the distance."""
        return self.low >= self.value

    def add(self, low: NDArray[Any], second: NDArray[Any], who: NDArray[np.int64]) -> None:
        """Enter new centres: the smallest lower bound, the next, and who attains the first."""
        closer = low < self.low
        self.second = np.where(closer, np.minimum(self.low, second), np.minimum(self.second, low))
        self.who = np.where(closer, who, self.who)
        self.low = np.where(closer, low, self.low)


class Cover:
    """All rows of `points` and the centres.

    Args:
        points: The rows.
        rank: (n,) int64, place of each row in the order of ties.
        centres: Rows that are centres from the start.
    """

    def __init__(self, points: Points, rank: NDArray[np.int64], centres: NDArray[np.int64]) -> None:
        n, d = points.x.shape
        self.points = points
        self.rank = rank
        self.centres = [int(row) for row in centres]
        # Centres, and what they forbid: rows that are not read until they are given back.
        self.taken = np.zeros(n, bool)
        self.taken[centres] = True
        self.passes = 0
        self.effort = 0  # rows settled so far
        self.tiny = tiny(d)
        self._stash: tuple[NDArray[np.int64], State] | None = None
        self.set_precision(np.dtype(np.float32))

    def set_precision(self, dtype: np.dtype[Any]) -> None:
        """Start over with products in `dtype`; the next refresh enters all centres."""
        n, d = self.points.x.shape
        self.dtype = dtype
        self.eta = eta(d, dtype)
        self.state = State.empty(n, dtype)
        self.q = np.full(n, np.nan, dtype)
        self._entered = 0
        self._stash = None

    def add(self, row: int) -> None:
        """Make `row` a centre."""
        self.centres.append(row)
        self.taken[row] = True

    def forbid(self, rows: NDArray[np.int64]) -> None:
        """Leave rows out until `release`."""
        self.taken[rows] = True

    def release(self) -> None:
        """Let in all rows that are no centres; the next refresh enters all centres."""
        self.taken[:] = False
        self.taken[self.centres] = True
        self.set_precision(self.dtype)

    def keep(self, rows: NDArray[np.int64], state: State) -> None:
        """Take over what was found out about `rows`, which have met every centre."""
        self._stash = rows, state

    def refresh(self) -> None:
        """Bring all rows up to date: one pass over x per `block` new centres."""
        while self._entered < len(self.centres):
            self._pass(self.centres[self._entered :][: self.points.block])
        if self._stash is not None:
            rows, state = self._stash
            self.state[rows] = state
            self._stash = None

    def upper(self) -> NDArray[np.float64]:
        """Return (n,) upper bounds; -inf for rows that cannot be picked."""
        bounds = self.upper_of(self.state, self.q)
        bounds[self.taken] = -np.inf
        return bounds

    def upper_of(self, state: State, q: NDArray[Any]) -> NDArray[np.float64]:
        """Return the upper bounds of rows with `state` and squared norms `q`."""
        # Twice the error of the pair (row, who) above its lower bound; 2.2 for the roundings.
        reach = (q + self.q[state.who]).astype(np.float64) * (2.2 * self.eta)
        bounds = np.where(state.who >= 0, state.low + reach + 4 * self.tiny, np.inf)
        return np.minimum(bounds, state.value)

    def centre(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return (m, d) -2 c and (m,) (1 - eta) |c|^2 of the centres `rows`."""
        c = self.points.work(rows, self.dtype)
        norms = (_norms(c) * (1 - self.eta)).astype(self.dtype)
        c *= -2
        return c, norms

    def floor(self, lowest: NDArray[Any], q: NDArray[Any]) -> NDArray[Any]:
        """Turn the least of ``(1 - eta) q_c - 2 a.c`` over centres into lower bounds of rows."""
        own = (q * (1 - self.eta) - 2 * self.tiny).astype(self.dtype)
        return np.maximum(lowest + own, 0)

    def settle(self, rows: NDArray[np.int64], state: State) -> None:
        """Settle the rows, whose state (changed in place) is not settled."""
        self.effort += rows.size
        state.value = np.minimum(state.value, self.points.pairs(rows, state.who))
        state.low = state.second.copy()
        state.who[:] = -1
        open_ = np.flatnonzero(~state.settled)
        if not open_.size:
            return
        # Another centre is as near as the error of the product: look at all of them again.
        part = rows[open_]
        value = state.value[open_]
        a = self.points.work(part, self.dtype)
        step = max(1, self.points.block // 4)
        for begin in range(0, len(self.centres), step):
            centres = np.array(self.centres[begin : begin + step])
            c, q_c = self.centre(centres)
            products = a @ c.T
            products += q_c
            low = self.floor(products, self.q[part][:, None])
            i, j = np.nonzero(low <= value[:, None])
            np.minimum.at(value, i, self.points.pairs(part[i], centres[j]))
        state.value[open_] = value
        state.low[open_] = np.inf
        state.second[open_] = np.inf

    def _pass(self, centres: list[int]) -> None:
        self.passes += 1
        self._entered += len(centres)
        rows = np.array(centres)
        c, q_c = self.centre(rows)
        # Centres get their norm here: their own rows are not read any more.
        self.q[rows] = _norms(c / -2)
        for part in self.points.blocks():
            free = ~self.taken[part]
            ids: Any = part if free.all() else part.start + np.flatnonzero(free)
            a = self.points.work(ids, self.dtype)
            if np.isnan(self.q[ids]).any():  # the first pass in this precision
                self.q[ids] = _norms(a)
            q, state = self.q[ids], self.state[ids]
            for begin in range(0, rows.size, _COLUMNS):
                chunk = slice(begin, begin + _COLUMNS)
                products = a @ c[chunk].T
                products += q_c[chunk]
                nearest = products.argmin(axis=1)
                each = np.arange(nearest.size)
                low = products[each, nearest]
                products[each, nearest] = np.inf
                second = products.min(axis=1)
                state.add(self.floor(low, q), self.floor(second, q), rows[chunk][nearest])
            self.state[ids] = state


def _norms(a: NDArray[Any]) -> NDArray[Any]:
    """Return the squared lengths of rows, summed in float64, in the precision of `a`."""
    return np.einsum("ij,ij->i", a, a, dtype=np.float64).astype(a.dtype)
