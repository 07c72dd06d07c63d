"""`Ranking`: rows of a pool in order of preference. `Selection`: the rows within a budget.

Selections cut from one ranking are nested: the selection of a larger budget contains that of a
smaller budget. A ranking may have a limited depth (greedy methods that were stopped early).
Rows, scores and weights are read-only, and are copied from arrays that can be changed.
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
        score: (k,) float64 score of each of `rows`, in the same order; NaN for rows without a
            score, which come last.
        n: Number of rows of the pool.
        ids: (n,) str ids of the rows of the pool, or None.
        costs: Unit -> (n,) float64 cost of each row; the cost in tiles is 1.
        meta: Method, parameters, seed and further facts of the method (JSON-ready).
            ``meta["put_back"]`` is the number of rows that are excluded by higher-ranked rows and
            therefore moved to the end.
        given: (s,) int64 rows that were picked before: they are not ranked, have no cost, and are
            not part of the total of shares.

    Raises:
        DataError: Rows are repeated or outside the pool, lengths disagree, or NaN scores are not
            last among the rows that are put back, or among the others.
    """

    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    n: int
    ids: NDArray[np.str_] | None = None
    costs: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    given: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        """Validate rows, scores, ids and costs."""
        rows = _checked_rows(self.rows, self.n)
        given = _checked_rows(self.given, self.n)
        object.__setattr__(self, "given", given)
        if given.size and np.isin(given, rows).any():
            raise DataError("a ranked row was picked before", "Rows in `given` must not be ranked.")
        score = _owned(np.ascontiguousarray(self.score, dtype=np.float64))
        if score.shape != rows.shape:
            raise DataError(
                f"{score.size} scores for {rows.size} rows", "Expected one score per row."
            )
        unscored = np.isnan(score)
        rises = unscored[:-1] & ~unscored[1:]
        first = self.n - given.size - int(self.meta.get("put_back", 0))
        if first > 0:
            rises[first - 1 : first] = False
        if rises.any():
            raise DataError(
                "a row without a score (NaN) is ranked before a row with one",
                "Rows without a score must come last.",
            )
        costs = {unit: np.asarray(c, np.float64) for unit, c in self.costs.items()}
        for unit, cost in costs.items():
            if cost.shape != (self.n,):
                raise DataError(
                    f"costs in {unit!r} of shape {cost.shape} for a pool of {self.n}",
                    "Expected one cost per row.",
                )
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "score", score)
        object.__setattr__(self, "ids", _checked_ids(self.ids, self.n))
        object.__setattr__(self, "costs", {"tiles": np.ones(self.n), **costs})

    def __repr__(self) -> str:
        """Return one line: the method, the number of ranked rows, and the first rows."""
        name = self.meta.get("method", "")
        first = ", ".join(map(str, _names(self.rows[:3], self.ids)))
        ranked = f"{self.depth:,} of {self.n:,} rows, first {first}" if self.depth else "no rows"
        return f"Ranking({name + ': ' if name else ''}{ranked})"

    @property
    def depth(self) -> int:
        """Number of ranked rows."""
        return self.rows.size

    @property
    def first_put_back(self) -> int:
        """Position of the first row that is put back; `depth` if there is none."""
        return min(self.depth, self.n - self.given.size - int(self.meta.get("put_back", 0)))

    @property
    def full(self) -> bool:
        """Whether all rows of the pool are ranked, except those that were picked before."""
        return self.depth == self.n - self.given.size

    def position(self) -> NDArray[np.int64]:
        """Return the (n,) 0-based position of every row of the pool; n for unranked rows."""
        positions = np.full(self.n, self.n, dtype=np.int64)
        positions[self.rows] = np.arange(self.depth)
        return positions

    def at(self, budget: str | float | Mapping[str, float | str] | Budget) -> Selection:
        """Return the longest prefix of the ranking within all limits of `budget`.

        Args:
            budget: A `Budget`, or input of `Budget.parse` ("10%", 500, {"area": "25%"}).

        Raises:
            BudgetError: The budget is malformed, is less than the cost of the first row, or exceeds
                the depth of this ranking.
        """
        parsed = Budget.parse(budget)
        if self.n == self.given.size:
            raise BudgetError(
                f"a budget of {parsed} for an empty pool", "The pool has no rows to select."
            )
        limits = parsed.resolve(without(self.costs, self.given))
        count = affordable(self.rows, self.costs, limits)
        if count == self.depth and not self.full and not _exhausted(self, limits):
            raise BudgetError(
                f"a budget of {parsed} needs more than the {self.depth} rows that "
                f"{self.meta.get('method', 'this method')!r} has ranked",
                f"The depth of the ranking is {self.depth} of {self.n} rows.",
                "Rank again with a larger depth, or use a smaller budget.",
            )
        if count == 0:
            price = ", ".join(
                f"{unit}={float(self.costs[unit][self.rows[0]]):.10g}" for unit in limits
            )
            raise BudgetError(
                f"a budget of {parsed} is less than the cost of the first tile, {price}",
                "A selection is a prefix of the ranking; a cheaper tile of lower rank is not "
                "selected instead.",
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
            meta={**self.meta, "budget": str(parsed)},
        )

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table of rank (1-based), id or row, and score."""
        return _table(self.rows, self.ids, self.score, None)


@dataclass(frozen=True, repr=False)
class Selection(Tabular):
    """Selected rows of a pool, in the order of selection.

    Attributes:
        rows: (k,) int64 distinct rows.
        n: Number of rows of the pool.
        score: (k,) float64, or None.
        weight: (k,) float64 importance weights, or None for equal weights.
        ids: (n,) str ids of the rows of the pool, or None.
        spent: Unit -> cost of the selection.
        unspent: Unit -> remaining budget.
        nested: Whether smaller and larger budgets give subsets and supersets.
        meta: Method, parameters, seed, budget (JSON-ready).

    Raises:
        DataError: Rows are repeated or outside the pool, or lengths disagree.
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
        """Validate rows and lengths."""
        rows = _checked_rows(self.rows, self.n)
        for name in ("score", "weight"):
            if getattr(self, name) is None:
                continue
            column = _owned(np.ascontiguousarray(getattr(self, name), dtype=np.float64))
            if column.shape != rows.shape:
                raise DataError(
                    f"{name} of shape {column.shape} for {rows.size} rows",
                    "Expected one value per row.",
                )
            object.__setattr__(self, name, column)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "ids", _checked_ids(self.ids, self.n))

    def __repr__(self) -> str:
        """Return one line: the method, the number of selected rows, and the budget."""
        name, budget = self.meta.get("method", ""), self.meta.get("budget", "")
        return (
            f"Selection({name + ': ' if name else ''}{len(self):,} of {self.n:,} rows"
            f"{f', budget {budget}' if budget else ''})"
        )

    def __len__(self) -> int:
        """Return the number of selected rows."""
        return self.rows.size

    @property
    def values(self) -> NDArray[np.str_] | NDArray[np.int64]:
        """(k,) ids of the selected rows in order of selection; row numbers without ids."""
        return _names(self.rows, self.ids)

    def to_geopandas(self, pool: Tabular) -> gpd.GeoDataFrame:  # ty: ignore[incompatible-method-override]
        """Return the selected tiles with rank, score and outline (EPSG:4326).

        Args:
            pool: The ranked pool.

        Raises:
            DataError: The pool has another number of rows, or no outlines.
        """
        table = pool.to_arrow()
        if table.num_rows != self.n:
            raise DataError(
                f"a pool of {table.num_rows} rows for a selection from {self.n}",
                "The pool must be the ranked pool.",
            )
        selection = self.to_arrow()
        chosen = table.take(self.rows)
        for name in reversed([c for c in selection.column_names if c not in ("row", "tile_id")]):
            chosen = chosen.add_column(0, name, selection[name])
        return frame_of(chosen)

    def mask(self) -> NDArray[np.bool_]:
        """Return an (n,) bool mask of the selected rows."""
        chosen = np.zeros(self.n, dtype=bool)
        chosen[self.rows] = True
        return chosen

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table of rank (1-based), id or row, score and weight."""
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
            "Rows must be a one-dimensional array of integers.",
            "Use np.flatnonzero(mask) for a mask." if array.dtype == bool else "",
        )
    rows = _owned(np.ascontiguousarray(array, dtype=np.int64))
    if rows.size and (int(rows.min()) < 0 or int(rows.max()) >= n):
        raise DataError(
            f"rows outside a pool of {n}",
            f"Allowed: 0 to {n - 1}." if n else "The pool has no rows.",
        )
    if np.unique(rows).size != rows.size:
        raise DataError("rows are repeated", "Rows must be unique.")
    return rows


def _owned[T: np.generic](array: NDArray[T]) -> NDArray[T]:
    """Return an array that cannot be changed; those of other rankings and selections are shared."""
    if array.flags.writeable:  # the caller may change it later
        array = array.copy()
        array.flags.writeable = False
    return array


def _checked_ids(ids: ArrayLike | None, n: int) -> NDArray[np.str_] | None:
    if ids is None:
        return None
    names = np.asarray(ids, dtype=np.str_)
    if names.shape != (n,):
        raise DataError(f"{names.size} ids for a pool of {n}", "Expected one id per row.")
    return names


def without(
    costs: Mapping[str, NDArray[np.float64]], rows: NDArray[np.int64]
) -> Mapping[str, NDArray[np.float64]]:
    """Return costs without some rows."""
    if not rows.size:
        return costs
    return {unit: np.delete(cost, rows) for unit, cost in costs.items()}


def _exhausted(ranking: Ranking, limits: Mapping[str, float]) -> bool:
    """Return whether the ranked rows use up a limit, so that more depth would change nothing."""
    mask = np.ones(ranking.n, bool)
    mask[ranking.rows] = mask[ranking.given] = False
    unranked = np.flatnonzero(mask)
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
