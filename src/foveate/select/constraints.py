"""Constraints: which rows a pick forbids.

A row that an earlier pick forbids is *put back*: it goes to the end of the ranking, so that the
whole pool is still ranked. Greedy loops keep a constraint while they choose (`Constraint.open`);
orders that were made without it are filtered afterwards (`Constraint.apply`). Both follow one rule:
rows are taken in the method's order, only rows that were taken forbid others, and rows that are put
back follow in the method's own order, where nothing is forbidden any more.

Rows that forbid the same rows and each other (the dates of one place) are a *group*: pairs are kept
between groups, so their number does not grow with the square of the dates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Constraint:
    """Pairs of rows of which the first, once picked, forbids the second.

    Attributes:
        group: (n,) int64 group of each row, 0 to m - 1. A pick forbids the rest of its group.
        start: (m + 1,) int64; `forbidden` of group g is ``forbidden[start[g] : start[g + 1]]``.
        forbidden: (e,) integers, groups that a pick of a group forbids; itself not among them.
    """

    group: NDArray[np.int64]
    start: NDArray[np.int64]
    forbidden: NDArray[np.integer]

    @classmethod
    def of(
        cls, pick: ArrayLike, forbidden: ArrayLike, n: int, *, group: ArrayLike | None = None
    ) -> Self:
        """Make a constraint of pairs.

        Args:
            pick: (e,) groups that forbid.
            forbidden: (e,) groups that are forbidden.
            n: Number of rows.
            group: (n,) group of each row; each row alone when None.
        """
        groups = np.arange(n) if group is None else np.asarray(group, np.int64)
        first, second = np.asarray(pick, np.int64), np.asarray(forbidden, np.int64)
        m = int(groups.max(initial=-1)) + 1
        order = np.lexsort((second, first))
        start = np.searchsorted(first[order], np.arange(m + 1))
        narrow = np.int32 if m < np.iinfo(np.int32).max else np.int64
        return cls(groups, start, second[order].astype(narrow))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.group.size

    @property
    def empty(self) -> bool:
        """Whether no pick forbids anything."""
        return not self.forbidden.size and self.start.size - 1 == self.group.size

    def take(self, rows: NDArray[np.int64]) -> Constraint:
        """Return the constraint of all rows in another order."""
        return Constraint(self.group[rows], self.start, self.forbidden)

    def apply(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Put back what is forbidden.

        Args:
            order: (k,) rows, best first.

        Returns:
            (k,) the same rows: those that no earlier one forbids, then the others, both in the
            given order.
        """
        kept = self._kept(order)[0]
        return np.concatenate([order[kept], order[~kept]])

    def count(self, order: NDArray[np.int64]) -> int:
        """Return how many rows the front of a ranking puts back.

        Args:
            order: (k,) rows, best first, which may end before the last row.

        Returns:
            The number of rows, ranked or not, that rows of `order` forbid and that are not taken
            before that. Of a whole ranking, the number of rows at its end.
        """
        kept, blocked = self._kept(order)
        return int(blocked[self.group].sum() - blocked[self.group[order[kept]]].sum())

    def open(self, picked: ArrayLike = ()) -> Open:
        """Start to pick.

        Args:
            picked: Rows that were picked before.
        """
        state = Open(self)
        for row in np.asarray(picked, np.int64).tolist():
            state.pick(row)
        return state

    def _kept(self, order: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which of `order` no earlier one forbids, (k,), and the groups forbidden, (m,)."""
        blocked = np.zeros(self.start.size - 1, bool)
        kept = np.ones(order.size, bool)
        groups = self.group[order]
        # Most rows of most pools forbid nothing and are not forbidden: only the others are walked.
        places = np.flatnonzero(self._bound[groups])
        for place, group in zip(places.tolist(), groups[places].tolist(), strict=True):
            if blocked[group]:
                kept[place] = False
            else:
                blocked[group] = True
                blocked[self.forbidden[self.start[group] : self.start[group + 1]]] = True
        return kept, blocked

    @cached_property
    def _bound(self) -> NDArray[np.bool_]:
        """(m,) whether a group has pairs, or more than one row."""
        bound = (np.diff(self.start) > 0) | (np.diff(self._first) > 1)
        bound[self.forbidden] = True
        return bound

    @cached_property
    def _first(self) -> NDArray[np.int64]:
        """(m + 1,) where the rows of each group begin in `_members`."""
        sizes = np.bincount(self.group, minlength=self.start.size - 1)
        return np.concatenate([[0], np.cumsum(sizes)])

    @cached_property
    def _members(self) -> NDArray[np.int64]:
        """(n,) rows, group by group."""
        return np.argsort(self.group, kind="stable")

    def forbidden_by(self, row: int) -> NDArray[np.int64]:
        """Return the rows that a pick of `row` forbids; itself may be among them."""
        group = self.group[row]
        others = self.forbidden[self.start[group] : self.start[group + 1]].tolist()
        return np.concatenate(
            [self._members[self._first[g] : self._first[g + 1]] for g in (group, *others)]
        )


class Open:
    """A constraint while rows are picked.

    Args:
        constraint: The constraint.

    Attributes:
        free: (n,) bool, rows that are neither picked nor forbidden.
    """

    def __init__(self, constraint: Constraint) -> None:
        self._constraint = constraint
        self.free = np.ones(len(constraint), bool)

    def pick(self, row: int) -> NDArray[np.int64]:
        """Pick a row; return the rows that were free and are forbidden now."""
        self.free[row] = False
        found = self._constraint.forbidden_by(row)
        found = found[self.free[found]]
        self.free[found] = False
        return found

    def admit(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pick rows in the given order where they are still free; return those picked."""
        taken = []
        for row in order.tolist():
            if self.free[row]:
                self.pick(row)
                taken.append(row)
        return np.array(taken, np.int64)
