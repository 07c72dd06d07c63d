"""`Ranking`: an order of preference. `Selection`: what a budget buys of it.

Selections cut from one ranking are nested: a larger budget keeps everything that a smaller one
had. A ranking may be defined to a depth only (greedy methods that were stopped early).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.budget import Budget, affordable, ceiling
from foveate.errors import BudgetError, DataError
from foveate.tables import Tabular, frame_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import geopandas as gpd
    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, repr=False)
class Ranking(Tabular):
    """Rows of a pool, best first.

    Attributes:
        rows: (k,) int64 distinct rows of the pool, best first; k = n for a full ranking.
        score: (k,) float64, the method's score of each of `rows`, in the same order. NaN where it
            has none; such rows come last.
        n: Number of rows of the pool.
        ids: (n,) str ids of the pool's rows, or None.
        costs: Unit -> (n,) float64 cost of each row; a row costs one tile.
        meta: Method, parameters, seed and whatever the method reports (JSON-ready).
            ``meta["put_back"]`` is the number of rows that an earlier one forbids and that
            therefore stand at the end of the pool's order.
        given: (s,) int64 rows that were picked before: they are not ranked, cost nothing, and are
            no part of what a share is of.

    Raises:
        DataError: Rows repeat or leave the pool, lengths disagree, or a NaN score is not last
            among the rows that are put back, or among the others.
    """

    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    n: int
    ids: NDArray[np.str_] | None = None
    costs: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    given: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        """Check that this is an order."""
        rows = _checked_rows(self.rows, self.n)
        given = _checked_rows(self.given, self.n)
        object.__setattr__(self, "given", given)
        if given.size and np.isin(given, rows).any():
            raise DataError("a row is ranked that was picked before", "Such rows are not ranked.")
        score = np.ascontiguousarray(self.score, dtype=np.float64)
        if score.shape != rows.shape:
            raise DataError(f"{score.size} scores for {rows.size} rows", "One score per row.")
        unscored = np.isnan(score)
        rises = unscored[:-1] & ~unscored[1:]
        first = self.n - given.size - int(self.meta.get("put_back", 0))
        if first > 0:
            rises[first - 1 : first] = False
        if rises.any():
            raise DataError(
                "a row without a score (NaN) is ranked before a row with one",
                "Rows that a method cannot score come last.",
            )
        costs = {unit: np.asarray(c, np.float64) for unit, c in self.costs.items()}
        for unit, cost in costs.items():
            if cost.shape != (self.n,):
                raise DataError(
                    f"costs in {unit!r} of shape {cost.shape} for a pool of {self.n}",
                    "One cost per row.",
                )
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "score", score)
        object.__setattr__(self, "ids", _checked_ids(self.ids, self.n))
        object.__setattr__(self, "costs", {"tiles": np.ones(self.n), **costs})

    def __repr__(self) -> str:
        """Return a line: the method, how many rows are ranked, the first of them."""
        name = self.meta.get("method", "")
        first = ", ".join(map(str, _names(self.rows[:3], self.ids)))
        ranked = f"{self.depth:,} of {self.n:,} rows, first {first}" if self.depth else "no rows"
        return f"Ranking({name + ': ' if name else ''}{ranked})"

    @property
    def depth(self) -> int:
        """Number of rows that are ranked."""
        return self.rows.size

    @property
    def first_put_back(self) -> int:
        """Place of the first row that is put back; `depth` where none is ranked."""
        return min(self.depth, self.n - self.given.size - int(self.meta.get("put_back", 0)))

    @property
    def full(self) -> bool:
        """Whether every row of the pool is ranked, but for those that were picked before."""
        return self.depth == self.n - self.given.size

    def position(self) -> NDArray[np.int64]:
        """Return the 0-based place of every row of the pool, (n,); n where it is not ranked."""
        place = np.full(self.n, self.n, dtype=np.int64)
        place[self.rows] = np.arange(self.depth)
        return place

    def at(self, budget: str | float | Mapping[str, float | str] | Budget) -> Selection:
        """Return what `budget` buys, from the front: the longest prefix under all its limits.

        Args:
            budget: A `Budget`, or what `Budget.parse` reads ("10%", 500, {"area": "25%"}).

        Raises:
            BudgetError: The budget is malformed, buys nothing, or reaches below the depth to
                which this ranking is defined.
        """
        wanted = Budget.parse(budget)
        if self.n == self.given.size:
            raise BudgetError(f"a budget of {wanted} for an empty pool", "It has no rows to buy.")
        limits = wanted.resolve(without(self.costs, self.given))
        count = affordable(self.rows, self.costs, limits)
        if count == self.depth and not self.full and not _reached(self, limits):
            raise BudgetError(
                f"a budget of {wanted} needs more than the {self.depth} rows that "
                f"{self.meta.get('method', 'this method')!r} has ranked",
                f"It is defined to a depth of {self.depth} of {self.n}.",
                "Rank again with a larger depth, or use a smaller budget.",
            )
        if count == 0:
            price = ", ".join(
                f"{unit}={float(self.costs[unit][self.rows[0]]):.10g}" for unit in limits
            )
            raise BudgetError(
                f"a budget of {wanted} does not buy the first choice, which costs {price}",
                "A selection is the front of the ranking: a cheaper tile further down is not "
                "taken instead.",
                f"Use at least {price}.",
            )
        rows = self.rows[:count]
        spent = {unit: float(self.costs[unit][rows].sum()) for unit in self.costs}
        return Selection(
            rows=rows,
            n=self.n,
            score=self.score[:count],
            ids=self.ids,
            spent=spent,
            unspent={unit: max(0.0, limit - spent[unit]) for unit, limit in limits.items()},
            nested=True,
            meta={**self.meta, "budget": str(wanted)},
        )

    def to_arrow(self) -> pa.Table:
        """Return rank (1-based), id or row, and score as Arrow."""
        return _table(self.rows, self.ids, self.score, None)


@dataclass(frozen=True, repr=False)
class Selection(Tabular):
    """Chosen rows of a pool, in the order of choice.

    Attributes:
        rows: (k,) int64 distinct rows.
        n: Number of rows of the pool.
        score: (k,) float64, or None.
        weight: (k,) float64 importance weights, or None for equal ones.
        ids: (n,) str ids of the pool's rows, or None.
        spent: Unit -> what the selection costs.
        unspent: Unit -> what the budget has left.
        nested: Whether smaller and larger budgets give subsets and supersets.
        meta: Method, parameters, seed, budget (JSON-ready).

    Raises:
        DataError: Rows repeat or leave the pool, or a length disagrees.
    """

    rows: NDArray[np.int64]
    n: int
    score: NDArray[np.float64] | None = None
    weight: NDArray[np.float64] | None = None
    ids: NDArray[np.str_] | None = None
    spent: Mapping[str, float] = field(default_factory=dict)
    unspent: Mapping[str, float] = field(default_factory=dict)
    nested: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check rows and lengths."""
        rows = _checked_rows(self.rows, self.n)
        for name in ("score", "weight"):
            column = getattr(self, name)
            if column is not None and np.shape(column) != rows.shape:
                raise DataError(
                    f"{name} of shape {np.shape(column)} for {rows.size} rows", "One per row."
                )
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "ids", _checked_ids(self.ids, self.n))

    def __repr__(self) -> str:
        """Return a line: the method, how many rows are chosen, by which budget."""
        name, budget = self.meta.get("method", ""), self.meta.get("budget", "")
        return (
            f"Selection({name + ': ' if name else ''}{len(self):,} of {self.n:,} rows"
            f"{f', budget {budget}' if budget else ''})"
        )

    def __len__(self) -> int:
        """Return the number of chosen rows."""
        return self.rows.size

    @property
    def values(self) -> NDArray[np.str_] | NDArray[np.int64]:
        """(k,) ids of the chosen rows in order of choice; row numbers when there are no ids."""
        return _names(self.rows, self.ids)

    def to_geopandas(self, pool: Tabular) -> gpd.GeoDataFrame:  # ty: ignore[incompatible-method-override]
        """Return the chosen tiles with rank, score and outline (EPSG:4326).

        Args:
            pool: The pool that was ranked.

        Raises:
            DataError: It has another number of rows, or no outlines.
        """
        table = pool.to_arrow()
        if table.num_rows != self.n:
            raise DataError(
                f"a pool of {table.num_rows} rows for a selection from {self.n}",
                "Rows of the selection are rows of the pool that was ranked.",
            )
        own = self.to_arrow()
        chosen = table.take(self.rows)
        for name in reversed([c for c in own.column_names if c not in ("row", "tile_id")]):
            chosen = chosen.add_column(0, name, own[name])
        return frame_of(chosen)

    def mask(self) -> NDArray[np.bool_]:
        """Return (n,) bool: chosen or not."""
        chosen = np.zeros(self.n, dtype=bool)
        chosen[self.rows] = True
        return chosen

    def to_arrow(self) -> pa.Table:
        """Return rank (1-based), id or row, score and weight as Arrow."""
        return _table(self.rows, self.ids, self.score, self.weight)


def _names(
    rows: NDArray[np.int64], ids: NDArray[np.str_] | None
) -> NDArray[np.str_] | NDArray[np.int64]:
    return rows if ids is None else ids[rows]


def _checked_rows(given: ArrayLike, n: int) -> NDArray[np.int64]:
    array = np.asarray(given)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise DataError(
            f"rows of shape {array.shape} and dtype {array.dtype}",
            "Rows are a one-dimensional array of integers.",
            "For a mask use np.flatnonzero(mask)." if array.dtype == bool else "",
        )
    rows = np.ascontiguousarray(array, dtype=np.int64)
    if rows.size and (int(rows.min()) < 0 or int(rows.max()) >= n):
        raise DataError(
            f"rows outside a pool of {n}", f"Allowed: 0 to {n - 1}." if n else "It has no rows."
        )
    if np.unique(rows).size != rows.size:
        raise DataError("rows repeat", "A row can be chosen once.")
    return rows


def _checked_ids(ids: ArrayLike | None, n: int) -> NDArray[np.str_] | None:
    if ids is None:
        return None
    names = np.asarray(ids, dtype=np.str_)
    if names.shape != (n,):
        raise DataError(f"{names.size} ids for a pool of {n}", "One id per row.")
    return names


def without(
    costs: Mapping[str, NDArray[np.float64]], rows: NDArray[np.int64]
) -> Mapping[str, NDArray[np.float64]]:
    """Return the costs of all rows but some."""
    if not rows.size:
        return costs
    return {unit: np.delete(cost, rows) for unit, cost in costs.items()}


def _reached(ranking: Ranking, limits: Mapping[str, float]) -> bool:
    """Whether the ranked rows use a limit up, so that a deeper ranking would change nothing."""
    left = np.ones(ranking.n, bool)
    left[ranking.rows] = left[ranking.given] = False
    unranked = np.flatnonzero(left)
    return any(
        ranking.costs[unit][ranking.rows].sum() + ranking.costs[unit][unranked].min()
        > ceiling(limit, ranking.costs[unit])
        for unit, limit in limits.items()
    )


def _table(
    rows: NDArray[np.int64],
    ids: NDArray[np.str_] | None,
    score: NDArray[np.float64] | None,
    weight: NDArray[np.float64] | None,
) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, Any] = {"rank": np.arange(1, rows.size + 1), "row": rows}
    if ids is not None:
        columns["tile_id"] = pa.array(ids[rows], pa.string())
    if score is not None:
        columns["score"] = np.asarray(score, np.float64)
    if weight is not None:
        columns["weight"] = np.asarray(weight, np.float64)
    return pa.table(columns)
