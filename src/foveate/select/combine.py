"""Greedy selection by several gains: each pick is the row with the largest combined gain.

At each step, gains are normalised, and added with their weights, or multiplied. Scales:

- "step": a gain is 0 for the candidate with the smallest gain and 1 for the one with the largest.
  A weight then has the same effect in all steps, although coverage gains shrink by orders of
  magnitude.
- "first": gains are divided by their largest magnitude at the first step with non-zero gains, so
  one fixed function is maximised. A sum of submodular functions is submodular, so greedy is near
  the optimum (Nemhauser, Wolsey and Fisher 1978).
- "total", for products only: a gain is the objective of the picks together with the row: the sum of
  distances, the class balance of the selection. The product of these objectives is maximised
  (LightlyOne, "Selection Strategy Combination", docs.lightly.ai). A row counts by the share that it
  adds to each objective, and may be picked if it adds nothing to one of them; with "step" its
  product is 0. Before the first pick distances are undefined, and `Gain.first` is picked.

Fixed scores are from 0 to 1 and are not normalised with "step" and "first". If all gains are equal,
up to rounding, they are 1 for all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from foveate.progress import Meter
from foveate.select._rows import check_given, check_k, check_ties

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint, Open
    from foveate.select.gains import Gain

Combine = Literal["sum", "product"]
Scale = Literal["step", "first", "total"]

_EQUAL = 1e-9  # share of the range of combined gains; smaller differences are ties


@dataclass(frozen=True)
class Combined:
    """An order of rows by combined gains.

    Attributes:
        rows: (k,) int64 rows in the order of selection, without given rows.
        gain: (k,) float64 combined gain of each row when it was picked.
    """

    rows: NDArray[np.int64]
    gain: NDArray[np.float64]


class Mixture:
    """Weighted combination of normalised gains.

    Args:
        gains: Gains, at least one.
        weights: A weight for each gain.
        combine: "sum" of weight times gain, or "product" of gains to the power of their weights.
        scale: "step", "first" or (for a product) "total", see the module docstring.
    """

    def __init__(
        self, gains: Sequence[Gain], weights: Sequence[float], combine: Combine = "sum",
        scale: Scale = "step",
    ) -> None:  # fmt: skip
        self.gains, self.weights, self.combine, self.scale = gains, weights, combine, scale
        self._top: list[float | None] = [None] * len(gains)
        self._total = [0.0] * len(gains)
        self._begun = False

    @property
    def fixed(self) -> bool:
        """Whether the values do not depend on picks."""
        summed = self.scale == "total" and len(self.gains) > 1  # totals depend on picks
        return all(gain.fixed for gain in self.gains) and not summed

    def begin(self, given: NDArray[np.int64]) -> None:
        """Add the rows that are already selected; only the first call has an effect."""
        if not self._begun:
            for row in given.tolist():
                self.add(row)
        self._begun = True

    def add(self, row: int) -> None:
        """Add a row to the picks."""
        for place, gain in enumerate(self.gains):
            if self.scale == "total" and gain.known:
                self._total[place] += float(gain.values()[row])
            gain.add(row)

    def values(self, among: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
        """Return the combined gains of candidates.

        Args:
            among: (n,) bool, rows that may be picked, at least one.

        Returns:
            (m,) float64 gains of these rows, and the tolerance within which two gains are equal.
        """
        rows = np.flatnonzero(among)
        total = np.full(rows.size, 0.0 if self.combine == "sum" else 1.0)
        rounding = 0.0
        for place, (gain, weight) in enumerate(zip(self.gains, self.weights, strict=True)):
            value, error = self._scaled(place, gain, gain.values()[rows])
            rounding += abs(weight) * error
            if self.combine == "sum":
                total += weight * value
            elif weight:
                total *= np.maximum(value, 0) ** weight
        return total, max(rounding, _EQUAL * float(total.max() - total.min()))

    def _scaled(
        self, place: int, gain: Gain, value: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """Return normalised gains and their rounding tolerance."""
        if self.scale == "total":
            return self._objective(place, gain, value)
        low, high = float(value.min()), float(value.max())
        if gain.fixed:
            return value, gain.resolution
        if self.scale == "step":
            if high - low <= gain.resolution:
                return np.ones(value.size), 0.0
            return (value - low) / (high - low), gain.resolution / (high - low)
        top = self._top[place]
        if top is None and gain.known and max(high, -low) > gain.resolution:
            top = self._top[place] = max(high, -low)
        if top is None:
            return np.ones(value.size), 0.0
        return value / top, gain.resolution / top

    def _objective(
        self, place: int, gain: Gain, value: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """Return the objective of picks and row relative to its maximum, and its tolerance."""
        if not gain.known:  # distances are undefined: the product is 0, and `Gain.first` decides
            return np.zeros(value.size), 0.0
        together = value + self._total[place]
        top = float(together.max())
        if top <= gain.resolution:
            return np.ones(value.size), 0.0
        return together / top, gain.resolution / top


def combined_greedy(
    mixture: Mixture,
    k: int,
    *,
    ties: NDArray[np.uint64],
    given: ArrayLike | None = None,
    before: ArrayLike = (),
    late: NDArray[np.integer] | None = None,
    turns: NDArray[np.integer] | None = None,
    constraint: Constraint | None = None,
    progress: ProgressFn | None = None,
) -> Combined:
    """Pick `k` rows, each with the largest combined gain.

    A step needs one pass over the data of the gains, and a few operations per row.

    Args:
        mixture: The gains; they are updated.
        k: Number of rows to pick, from 0 to n minus the number of given rows.
        ties: (n,) uint64 keys, see `foveate.seeds.tie_keys`: among equal rows the smallest wins.
        given: Rows that are already selected.
        before: Rows that are picked first, in this order, if the constraint allows them.
        late: (n,) priority of each row: all rows with a smaller number come before those with a
            larger one; None for equal priorities.
        turns: (n,) number of the group of each row; one row of each group is picked in turn,
            starting with group 0; None for no groups.
        constraint: Rows that a pick forbids come after all others, ordered in the same way.
        progress: Called with the number of rows picked.

    Returns:
        The order.

    Raises:
        ParameterError: `k`, `ties` or `given` is invalid.
    """
    n = ties.size
    check_ties(ties, n)
    held = check_given(given, n)
    check_k(k, n, held.size)
    rank = np.empty(n, np.int64)
    rank[np.lexsort((np.arange(n), ties))] = np.arange(n)
    mixture.begin(held)
    run = _Run(mixture, rank, held, np.zeros(n, np.int64) if late is None else late, turns)
    state = None if constraint is None or constraint.empty else constraint.open(held)
    with Meter(progress, "recipe", k) as meter:
        for row in np.asarray(before, np.int64)[:k].tolist():
            if not run.taken[row] and (state is None or state.free[row]):
                run.take(row, np.nan, state)
                meter.advance()
        if mixture.fixed and turns is None and len(run.rows) < k:
            run.sort(k, state)
        while len(run.rows) < k:
            free = ~run.taken if state is None else state.free & ~run.taken
            if not free.any():
                state = None  # only forbidden rows are left
                continue
            run.step(free, state)
            meter.advance()
        meter.advance(k - meter.done)
    return Combined(np.array(run.rows, np.int64), np.array(run.gain))


class _Run:
    """State of the loop."""

    def __init__(
        self, mixture: Mixture, rank: NDArray[np.int64], given: NDArray[np.int64],
        late: NDArray[np.integer], turns: NDArray[np.integer] | None,
    ) -> None:  # fmt: skip
        self.mixture, self.rank, self.late, self.turns = mixture, rank, late, turns
        self.taken = np.zeros(rank.size, bool)
        self.taken[given] = True
        self.rows: list[int] = []
        self.gain: list[float] = []
        self._begun = bool(given.size)
        self._turn = -1

    def take(self, row: int, gain: float, state: Open | None) -> None:
        self._begun = True
        self.taken[row] = True
        self.rows.append(row)
        self.gain.append(gain)
        self.mixture.add(row)
        if state is not None:
            state.pick(row)

    def step(self, free: NDArray[np.bool_], state: Open | None) -> None:
        """Pick one of the free rows; there must be at least one."""
        free &= self.late == self.late[free].min()
        value, equal = self.mixture.values(free)
        rows = np.flatnonzero(free)
        if self.turns is not None:
            in_turn = self._in_turn(rows)
            rows, value = rows[in_turn], value[in_turn]
        tied = rows[value >= value.max() - equal]
        row = int(tied[self.rank[tied].argmin()])
        if not self._begun:
            starts = [gain.first for gain in self.mixture.gains if gain.first is not None]
            row = next((start for start in starts if start in tied), row)
        self.take(row, float(value[rows == row][0]), state)

    def _in_turn(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a mask of the rows of the next group."""
        group = self.turns[rows] if self.turns is not None else rows
        after = group[group > self._turn]
        self._turn = int(after.min() if after.size else group.min())
        return group == self._turn

    def sort(self, k: int, state: Open | None) -> None:
        """Pick rows up to `k` by one sort, for values that do not depend on picks."""
        left = np.flatnonzero(~self.taken)
        among = ~self.taken
        value = np.round(self.mixture.values(among)[0], 9)
        order = np.lexsort((self.rank[left], -value, self.late[left]))
        value, order = value[order], left[order]
        if state is not None:
            allowed = np.isin(order, state.admit(order))
            where = np.concatenate([np.flatnonzero(allowed), np.flatnonzero(~allowed)])
            value, order = value[where], order[where]
        count = k - len(self.rows)
        self.taken[order[:count]] = True
        self.rows.extend(order[:count].tolist())
        self.gain.extend(value[:count].tolist())
