"""One greedy run over several gains: each pick is the row of the largest combination.

At each step every gain is brought to one scale, and they are added with their weights, or
multiplied. By the scale "step" a gain is 0 for the row that adds least of those that may be picked,
and 1 for the one that adds most: a weight means the same at the first step and the last, though
gains of coverage shrink by orders of magnitude. By the scale "first" gains are divided by the
largest one, up or down, of the first step that has any, and the run maximises one fixed function: a
sum of submodular ones is submodular, so that greedy is near its optimum (Nemhauser, Wolsey and
Fisher 1978). Fixed scores are from 0 to 1 already and stay as they are.

By the scale "total", of products alone, a gain is what the picks and the row have together: the sum
of the distances, the balance of the union. The run maximises the product of these objectives of the
whole set (LightlyOne, "Selection Strategy Combination", docs.lightly.ai), so a row counts by the
share that it adds to each of them, and one that adds nothing to one of them may still be picked; by
"step" its product is 0. Before the first pick there is no distance, and `Gain.first` is picked.

Where all rows add the same, up to rounding, a gain is 1 for all.
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

_EQUAL = 1e-9  # of the spread of the combined gains: differences below are ties


@dataclass(frozen=True)
class Combined:
    """An order of rows by combined gains.

    Attributes:
        rows: (k,) int64 rows in the order of choice; those that were given are not among them.
        gain: (k,) float64 combined gain of each, when it was picked.
    """

    rows: NDArray[np.int64]
    gain: NDArray[np.float64]


class Mixture:
    """Gains with their weights, on one scale.

    Args:
        gains: At least one.
        weights: As many.
        combine: "sum" of weight times gain, or "product" of gains to the power of their weights.
        scale: "step", "first" or (for a product) "total", see the module's header.
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
        """Whether no pick changes anything."""
        summed = self.scale == "total" and len(self.gains) > 1  # where picks change the sums
        return all(gain.fixed for gain in self.gains) and not summed

    def begin(self, given: NDArray[np.int64]) -> None:
        """Take in the rows that are picked already; once."""
        if not self._begun:
            for row in given.tolist():
                self.add(row)
        self._begun = True

    def add(self, row: int) -> None:
        """Take a row into the set."""
        for place, gain in enumerate(self.gains):
            if self.scale == "total" and gain.known:
                self._total[place] += float(gain.values()[row])
            gain.add(row)

    def values(self, among: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
        """Return what the rows add.

        Args:
            among: (n,) rows that may be picked, at least one.

        Returns:
            (m,) float64 of these rows, and the difference up to which two of them are equal.
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
        """Return gains on the common scale, and what is rounding there."""
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
        """Return what picks and row have together, as a share of the most, and its rounding."""
        if not gain.known:  # no distance yet: the product is 0 for all, and a start decides
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
    """Pick `k` rows, each the one of the largest combined gain.

    A step takes a pass over what the gains hold, and some numbers a row.

    Args:
        mixture: The gains; consumed.
        k: How many rows to pick, 0 to n less the given ones.
        ties: (n,) uint64 keys, see `foveate.seeds.tie_keys`: of equal rows the smallest wins.
        given: Rows that are picked already.
        before: Rows that are picked first, in this order, as far as the constraint lets them.
        late: (n,) 0 for rows that come first, larger numbers for rows that come after all of a
            smaller one; None for all alike.
        turns: (n,) number of the group of each row: groups give one row in turn, 0 first; None
            for no groups.
        constraint: Rows that a pick forbids come last, after all others, in an order that is made
            in the same way.
        progress: Called with the number of rows picked.

    Returns:
        The order.

    Raises:
        ParameterError: `k`, `ties` or `given` cannot be used.
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
                state = None  # only what is forbidden is left
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
        """Pick one of the free rows, at least one."""
        free &= self.late == self.late[free].min()
        value, equal = self.mixture.values(free)
        rows = np.flatnonzero(free)
        if self.turns is not None:
            mine = self._in_turn(rows)
            rows, value = rows[mine], value[mine]
        tied = rows[value >= value.max() - equal]
        row = int(tied[self.rank[tied].argmin()])
        if not self._begun:
            starts = [gain.first for gain in self.mixture.gains if gain.first is not None]
            row = next((start for start in starts if start in tied), row)
        self.take(row, float(value[rows == row][0]), state)

    def _in_turn(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which of the rows are of the group whose turn it is."""
        group = self.turns[rows] if self.turns is not None else rows
        after = group[group > self._turn]
        self._turn = int(after.min() if after.size else group.min())
        return group == self._turn

    def sort(self, k: int, state: Open | None) -> None:
        """Pick rows up to `k` where no pick changes what the others add."""
        left = np.flatnonzero(~self.taken)
        among = ~self.taken
        value = np.round(self.mixture.values(among)[0], 9)
        order = np.lexsort((self.rank[left], -value, self.late[left]))
        value, order = value[order], left[order]
        if state is not None:
            first = state.admit(order)
            rest = np.ones(order.size, bool)
            rest[np.isin(order, first)] = False
            where = np.concatenate([np.flatnonzero(~rest), np.flatnonzero(rest)])
            value, order = value[where], order[where]
        wanted = k - len(self.rows)
        self.taken[order[:wanted]] = True
        self.rows.extend(order[:wanted].tolist())
        self.gain.extend(value[:wanted].tolist())
