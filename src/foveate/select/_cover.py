"""The state of `kcenter`: what is known of each row's distance to the nearest centre.

All squared distances here are in the scaled unit of `Points`. Every row has

- `value`: the smallest deciding number computed so far, an upper bound;
- `low`: a lower bound on the distance to every centre whose deciding number was not computed,
  attained (within the error of the product) by the centre `who`, or by an unknown one if -1;
- `second`: the same over those centres without `who`.

A row is *settled* when ``low >= value``: then `value` is its distance. A new centre with lower
bound b changes a row only if ``b < second``. Nothing else needs to be remembered of a centre, so
the state takes O(n) memory whatever the number of centres.

Rows are divided among `Holder`s, which have their state and read them; what is picked is decided
where the `Centres` are. A holder sends what it knows of its farthest rows, and is sent centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.select._distance import Points, eta, tiny
from foveate.select._held import HeldRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select.holders import Mapped

_COLUMNS = 256  # centres per product: (block, 256) float32 stays near the cache
_SCAN = 2**16  # rows whose bounds are compared at a time


@dataclass
class State:
    """What is known of some rows; see the module's header. Arrays of one length.

    Attributes:
        value: float64.
        low: float32 or float64, the working precision.
        second: As `low`.
        who: int32, number of a centre in the order of their choice, or -1.
    """

    value: NDArray[np.float64]
    low: NDArray[Any]
    second: NDArray[Any]
    who: NDArray[np.int32]

    @classmethod
    def empty(cls, n: int, dtype: np.dtype[Any]) -> Self:
        """Return the state of `n` rows before any centre."""
        return cls(
            np.full(n, np.inf),
            np.full(n, np.inf, dtype),
            np.full(n, np.inf, dtype),
            np.full(n, -1, np.int32),
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

    def add(self, low: NDArray[Any], second: NDArray[Any], who: NDArray[np.integer]) -> None:
        """Enter new centres: the smallest lower bound, the next, and who attains the first."""
        closer = low < self.low
        self.second = np.where(closer, np.minimum(self.low, second), np.minimum(self.second, low))
        self.who = np.where(closer, who, self.who).astype(np.int32, copy=False)
        self.low = np.where(closer, low, self.low)


@dataclass(frozen=True)
class Bounds:
    """What the error of a product in one precision allows to say of distances.

    Attributes:
        dtype: The working precision.
        eta: Relative error, see `_distance`.
        tiny: Absolute error.
    """

    dtype: np.dtype[Any]
    eta: float
    tiny: float

    @classmethod
    def of(cls, d: int, dtype: np.dtype[Any]) -> Self:
        """Return the bounds for rows of `d` columns."""
        return cls(dtype, eta(d, dtype), tiny(d))

    def centre(self, c: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return -2 c and (m,) (1 - eta) |c|^2 of the (m, d) centres `c`, overwritten."""
        lowered = (norms(c) * (1 - self.eta)).astype(self.dtype)
        c *= -2
        return c, lowered

    def floor(self, lowest: NDArray[Any], q: NDArray[Any]) -> NDArray[Any]:
        """Turn the least of ``(1 - eta) q_c - 2 a.c`` over centres into lower bounds of rows."""
        own = (q * (1 - self.eta) - 2 * self.tiny).astype(self.dtype)
        return np.maximum(lowest + own, 0)

    def upper(self, state: State, q: NDArray[Any], of: NDArray[Any]) -> NDArray[np.float64]:
        """Return upper bounds of rows with `state` and squared norms `q`; `of` those of centres."""
        # Twice the error of the pair (row, who) above its lower bound; 2.2 for the roundings.
        reach = (q + of[state.who]).astype(np.float64) * (2.2 * self.eta)
        bounds = np.where(state.who >= 0, state.low + reach + 4 * self.tiny, np.inf)
        return np.minimum(bounds, state.value)


@dataclass(frozen=True)
class Far:
    """The rows with the largest upper bounds, of one holder or of all. Arrays of one length.

    Attributes:
        rows: int64, rows of the whole matrix.
        upper: float64 upper bounds.
        ties: uint64 keys.
        state: Their state.
        q: Squared norms, the working precision.
        vectors: (m, d) rows as stored, or None where they can be read.
    """

    rows: NDArray[np.int64]
    upper: NDArray[np.float64]
    ties: NDArray[np.uint64]
    state: State
    q: NDArray[Any]
    vectors: NDArray[Any] | None = None

    def __getitem__(self, chosen: Any) -> Far:
        """Return a part."""
        return Far(
            self.rows[chosen], self.upper[chosen], self.ties[chosen], self.state[chosen],
            self.q[chosen], None if self.vectors is None else self.vectors[chosen],
        )  # fmt: skip

    @classmethod
    def merged(cls, parts: list[Far]) -> Far:
        """Return all of several."""
        state = State(*(
            np.concatenate([getattr(part.state, name) for part in parts])
            for name in ("value", "low", "second", "who")
        ))  # fmt: skip
        plain = {n: np.concatenate([getattr(p, n) for p in parts])
                 for n in ("rows", "upper", "ties", "q")}  # fmt: skip
        sent = [part.vectors for part in parts if part.vectors is not None]
        vectors = np.concatenate(sent) if sent else None
        return Far(**plain, state=state, vectors=vectors)

    def first(self, count: int) -> Far:
        """Return the first by (largest bound, smallest key, smallest row), in this order."""
        return self[first(self.upper, self.ties, self.rows, count)]


def first(
    upper: NDArray[np.float64], ties: NDArray[np.uint64], rows: NDArray[np.int64], count: int
) -> NDArray[np.intp]:
    """Return the places of the first `count` by (largest bound, smallest key, smallest row)."""
    places = np.arange(upper.size)
    if upper.size > count:
        edge = np.partition(upper, upper.size - count)[upper.size - count]
        places = np.flatnonzero(upper >= edge)
    return places[np.lexsort((rows[places], ties[places], -upper[places]))][:count]


@dataclass(frozen=True)
class News:
    """What happened since a holder was last asked.

    Attributes:
        rows: (m,) int64, new centres, in the order of their choice.
        vectors: (m, d) the same as stored.
        forbidden: Rows that are left out until they are released.
        settled: Rows of which more was found out, and their state. They have met every centre.
        restart: Precision in which all is begun anew, or None: `rows` are then all centres.
        released: Whether rows that were left out are let in again.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[Any]
    forbidden: NDArray[np.int64]
    settled: tuple[NDArray[np.int64], State] | None = None
    restart: np.dtype[Any] | None = None
    released: bool = False


class Holder(HeldRows):
    """Some rows, one after the other in the matrix, and their state.

    Args:
        x: (n, d) rows, or where they are.
        begin: Number of the first in the matrix.
        ties: (n,) uint64 keys.
        metric: "euclidean" or "cosine".
        block: Rows read at a time.
        outside: (n,) bool, rows that are never picked; None for none.
        sends: Whether vectors are sent with rows: where they cannot be read from elsewhere.
    """

    def __init__(
        self, x: NDArray[np.floating] | Mapped, begin: int, ties: NDArray[np.uint64], *,
        metric: str, block: int, outside: NDArray[np.bool_] | None = None, sends: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(x, begin, metric=metric, block=block)
        self.ties, self.sends, self.outside = ties, sends, outside
        self.taken = np.zeros(len(self.x), bool) if outside is None else outside.copy()

    def refresh(self, news: News, width: int) -> Far:
        """Bring all rows up to date, and return the farthest.

        Args:
            news: New centres, and what else is new.
            width: How many rows are returned, fewer where there are no more.
        """
        if news.restart is not None:
            self._restart(news.restart, news)
        self._out(news.rows)
        for begin in range(0, len(news.rows), self.block):
            self._pass(news.vectors[begin : begin + self.block])
        self._out(news.forbidden)
        if news.settled is not None:
            rows, state = news.settled
            mine = np.flatnonzero(self.inside(rows))
            self.state[rows[mine] - self.begin] = state[mine]
        return self._farthest(width)

    def _out(self, rows: NDArray[np.int64]) -> None:
        self.taken[rows[self.inside(rows)] - self.begin] = True

    def _restart(self, dtype: np.dtype[Any], news: News) -> None:
        n, d = self.x.shape
        self.bounds = Bounds.of(d, dtype)
        self.state = State.empty(n, dtype)
        self.q = np.full(n, np.nan, dtype)
        self.of = np.empty(0, dtype)  # squared norms of the centres
        if news.released:
            self.taken[:] = False if self.outside is None else self.outside

    def _pass(self, vectors: NDArray[Any]) -> None:
        dtype, number = self.bounds.dtype, self.of.size
        c = self.points.of(vectors, dtype)
        self.of = np.concatenate([self.of, norms(c)])
        c, q_c = self.bounds.centre(c)
        for part in self.points.blocks():
            free = ~self.taken[part]
            ids: Any = part if free.all() else part.start + np.flatnonzero(free)
            a = self.points.work(ids, dtype)
            if np.isnan(self.q[ids]).any():  # the first pass in this precision
                self.q[ids] = norms(a)
            q, state = self.q[ids], self.state[ids]
            for begin in range(0, len(c), _COLUMNS):
                chunk = slice(begin, begin + _COLUMNS)
                products = a @ c[chunk].T
                products += q_c[chunk]
                nearest = products.argmin(axis=1)
                each = np.arange(nearest.size)
                low = products[each, nearest]
                products[each, nearest] = np.inf
                second = products.min(axis=1)
                floor = self.bounds.floor
                state.add(floor(low, q), floor(second, q), number + begin + nearest)
            self.state[ids] = state

    def _farthest(self, width: int) -> Far:
        """Return the rows with the largest upper bounds, by running through all."""
        rows, upper = np.empty(0, np.int64), np.empty(0)
        edge = -np.inf
        for start in range(0, len(self.x), _SCAN):
            part = slice(start, start + _SCAN)
            bound = self.bounds.upper(self.state[part], self.q[part], self.of)
            more = np.flatnonzero((bound >= edge) & ~self.taken[part])
            rows = np.concatenate([rows, start + more])
            upper = np.concatenate([upper, bound[more]])
            if rows.size > 2 * width:
                kept = first(upper, self.ties[rows], rows, width)
                rows, upper, edge = rows[kept], upper[kept], upper[kept[-1]]
        kept = first(upper, self.ties[rows], rows, width)
        rows, upper = rows[kept], upper[kept]
        return Far(
            self.begin + rows, upper, self.ties[rows], self.state[rows], self.q[rows],
            self._read(rows) if self.sends else None,
        )  # fmt: skip

    def _read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        order = np.argsort(rows)  # the order of the file
        found = np.empty((rows.size, self.x.shape[1]), self.x.dtype)
        found[order] = self.x[rows[order]]
        return found


def norms(a: NDArray[Any]) -> NDArray[Any]:
    """Return the squared lengths of rows, summed in float64, in the precision of `a`."""
    return np.einsum("ij,ij->i", a, a, dtype=np.float64).astype(a.dtype)


class Centres:
    """Where picks are decided: the centres, what they forbid, and what holders do not know yet.

    Args:
        points: Rows that can be read here: candidates, and centres.
        ties: (n,) uint64 keys of all rows.
        rows: Centres from the start.
        outside: (n,) bool, what is never picked; None for nothing.

    Attributes:
        points: As given.
        ties: As given.
        taken: (n,) bool, centres, what they forbid, and what is never picked.
        bounds: Those of the working precision.
        passes: Passes over all rows.
        effort: Rows settled so far.
    """

    def __init__(
        self, points: Points, ties: NDArray[np.uint64], rows: NDArray[np.int64],
        outside: NDArray[np.bool_] | None = None,
    ) -> None:  # fmt: skip
        self.points, self.ties, self.outside = points, ties, outside
        self.taken = np.zeros(ties.size, bool) if outside is None else outside.copy()
        self.taken[rows] = True
        self.passes = self.effort = 0
        self._rows = rows.copy()  # with room for more
        self._count = rows.size
        self._forbidden: list[NDArray[np.int64]] = []
        self._released = False
        self.set_precision(np.dtype(np.float32))

    @property
    def rows(self) -> NDArray[np.int64]:
        """(m,) centres, in the order of their choice."""
        return self._rows[: self._count]

    def set_precision(self, dtype: np.dtype[Any]) -> None:
        """Start over with products in `dtype`; the next news are of all centres."""
        self.bounds = Bounds.of(len(self.points.shift), dtype)
        self._of = np.full(self._rows.size, np.nan, dtype)  # squared norms of the centres
        self._entered, self._restart = 0, True
        self._settled: tuple[NDArray[np.int64], State] | None = None

    def add(self, row: int, q: Any = np.nan) -> int:
        """Make `row` with squared norm `q` a centre; return its number."""
        if self._count == self._rows.size:
            more = max(64, self._count)
            self._rows = np.append(self._rows, np.zeros(more, np.int64))
            self._of = np.append(self._of, np.full(more, np.nan, self._of.dtype))
        self._rows[self._count], self._of[self._count] = row, q
        self.taken[row] = True
        self._count += 1
        return self._count - 1

    def forbid(self, rows: NDArray[np.int64]) -> None:
        """Leave rows out until `release`."""
        self.taken[rows] = True
        self._forbidden.append(rows)

    def release(self) -> None:
        """Let in all rows that are no centres; the next news are of all centres."""
        self.taken[:] = False if self.outside is None else self.outside
        self.taken[self.rows] = True
        self._forbidden, self._released = [], True
        self.set_precision(self.bounds.dtype)

    def keep(self, rows: NDArray[np.int64], state: State) -> None:
        """Take over what was found out about `rows`, which have met every centre."""
        self._settled = rows, state

    def news(self) -> News:
        """Return what holders have to know, once."""
        rows = self.rows[self._entered :].copy()
        forbidden = np.concatenate([np.empty(0, np.int64), *self._forbidden])
        for begin in range(0, rows.size, self.points.block):
            self.passes += 1
            part = rows[begin : begin + self.points.block]
            at = slice(self._entered + begin, self._entered + begin + part.size)
            self._of[at] = norms(self.points.work(part, self.bounds.dtype))
        found = News(
            rows, self.points.raw(rows), forbidden, self._settled,
            self.bounds.dtype if self._restart else None, self._released,
        )  # fmt: skip
        self._entered = self._count
        self._forbidden, self._settled = [], None
        self._restart = self._released = False
        return found

    def upper_of(self, state: State, q: NDArray[Any]) -> NDArray[np.float64]:
        """Return the upper bounds of rows with `state` and squared norms `q`."""
        return self.bounds.upper(state, q, self._of)

    def settle(self, rows: NDArray[np.int64], q: NDArray[Any], state: State) -> None:
        """Settle rows with squared norms `q`, whose state (changed in place) is not settled."""
        self.effort += rows.size
        state.value = np.minimum(state.value, self.points.pairs(rows, self.rows[state.who]))
        state.low = state.second.copy()
        state.who[:] = -1
        open_ = np.flatnonzero(~state.settled)
        if not open_.size:
            return
        # Another centre is as near as the error of the product: look at all of them again.
        part, value = rows[open_], state.value[open_]
        a = self.points.work(part, self.bounds.dtype)
        step = max(1, self.points.block // 4)
        for begin in range(0, self._count, step):
            centres = self.rows[begin : begin + step]
            c, q_c = self.bounds.centre(self.points.work(centres, self.bounds.dtype))
            products = a @ c.T
            products += q_c
            low = self.bounds.floor(products, q[open_][:, None])
            i, j = np.nonzero(low <= value[:, None])
            np.minimum.at(value, i, self.points.pairs(part[i], centres[j]))
        state.value[open_] = value
        state.low[open_] = np.inf
        state.second[open_] = np.inf
