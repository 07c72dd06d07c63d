"""Constraints: rows that a pick forbids.

A row that an earlier pick forbids is *put back*: it is moved to the end of the ranking, so that the
whole pool is ranked. Greedy loops apply a constraint while they select (`Constraint.open`); other
orders are filtered afterwards (`Constraint.apply`). In both cases, rows are taken in the order of
the method, only taken rows forbid others, and rows that are put back follow in the order of the
method, without the constraint.

A constraint consists of rules, and rows that are already selected (`given`) count in all of them:

- `Pairs`: a pick forbids certain rows. Rows that forbid the same rows and each other (the dates of
  one place) are a *group*: pairs are stored between groups, so their number does not increase with
  the square of the number of dates.
- `Near`: a pick forbids rows within a distance. Only the points are stored.
- `Quota`: a largest number of the first k picks with one value. A row that exceeds its quota waits,
  and is taken as soon as the quota allows it; rows that wait until the end are put back.
- `Strata`: each value has its share of the first k picks. A stratum without rows is skipped.

Rows of `last` are put back from the start, whatever is picked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from foveate.errors import ParameterError
from foveate.select._waiting import Waiting

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.spatial import KDTree

    from foveate.select.strata import Strata

_ROUNDING = 1e-9  # tolerance of a number of picks, so that 20 % of 10 is 2


class Rule(Protocol):
    """Rows that a pick forbids, independent of earlier picks."""

    @property
    def bound(self) -> NDArray[np.bool_]:
        """(n,) bool, rows that forbid other rows or can be forbidden."""
        ...

    def forbidden_by(self, row: int) -> NDArray[np.int64]:
        """Return the rows that a pick of `row` forbids; may include the row."""
        ...

    def take(self, rows: NDArray[np.int64]) -> Rule:
        """Return the rule for all rows in another order."""
        ...


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows; a pick of the first forbids the second.

    Attributes:
        group: (n,) int64 group of each row, 0 to m - 1. A pick forbids the others of its group.
        start: (m + 1,) int64; group g forbids ``forbidden[start[g] : start[g + 1]]``.
        forbidden: (e,) integers, groups that a pick of a group forbids, without the group.
    """

    group: NDArray[np.int64]
    start: NDArray[np.int64]
    forbidden: NDArray[np.integer]

    @classmethod
    def of(
        cls, pick: ArrayLike, forbidden: ArrayLike, n: int, *, group: ArrayLike | None = None
    ) -> Self:
        """Make pairs from two lists of groups.

        Args:
            pick: (e,) groups that forbid.
            forbidden: (e,) groups that are forbidden; repeated pairs count once.
            n: Number of rows.
            group: (n,) group of each row; None if each row is a group.
        """
        groups = np.arange(n) if group is None else np.asarray(group, np.int64)
        first, second = np.asarray(pick, np.int64), np.asarray(forbidden, np.int64)
        m = int(groups.max(initial=-1)) + 1
        order = np.lexsort((second, first))
        first, second = first[order], second[order]
        new = np.ones(first.size, bool)
        new[1:] = (np.diff(first) != 0) | (np.diff(second) != 0)
        start = np.searchsorted(first[new], np.arange(m + 1))
        narrow = np.int32 if m < np.iinfo(np.int32).max else np.int64
        return cls(groups, start, second[new].astype(narrow))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.group.size

    @property
    def empty(self) -> bool:
        """Whether no pick forbids anything."""
        return not self.forbidden.size and self.start.size - 1 == self.group.size

    def take(self, rows: NDArray[np.int64]) -> Pairs:
        """Return the pairs of all rows in another order."""
        return Pairs(self.group[rows], self.start, self.forbidden)

    @cached_property
    def bound(self) -> NDArray[np.bool_]:
        """(n,) bool, rows whose group has pairs, or more than one row."""
        bound = (np.diff(self.start) > 0) | (np.diff(self._first) > 1)
        bound[self.forbidden] = True
        return bound[self.group]

    @cached_property
    def _first(self) -> NDArray[np.int64]:
        """(m + 1,) start of the rows of each group in `_members`."""
        sizes = np.bincount(self.group, minlength=self.start.size - 1)
        return np.concatenate([[0], np.cumsum(sizes)])

    @cached_property
    def _members(self) -> NDArray[np.int64]:
        """(n,) rows, group by group."""
        return np.argsort(self.group, kind="stable")

    def forbidden_by(self, row: int) -> NDArray[np.int64]:
        """Return the rows that a pick of `row` forbids; may include the row."""
        group = self.group[row]
        others = self.forbidden[self.start[group] : self.start[group + 1]].tolist()
        return np.concatenate(
            [self._members[self._first[g] : self._first[g + 1]] for g in (group, *others)]
        )


@dataclass(frozen=True)
class Near:
    """A pick forbids all other rows within a distance.

    Attributes:
        points: (n, k) float64 coordinates.
        reach: Distance in the unit of the coordinates; nearer rows are forbidden.
    """

    points: NDArray[np.float64]
    reach: float

    @cached_property
    def bound(self) -> NDArray[np.bool_]:
        """(n,) bool, rows with another row within the distance."""
        if len(self.points) < 2:
            return np.zeros(len(self.points), bool)
        distance, _ = self._tree.query(self.points, k=2)
        return distance[:, 1] < self.reach

    def forbidden_by(self, row: int) -> NDArray[np.int64]:
        """Return the rows within the distance of `row`, including the row."""
        near = np.array(self._tree.query_ball_point(self.points[row], self.reach), np.int64)
        apart = np.linalg.norm(self.points[near] - self.points[row], axis=1)
        return near[apart < self.reach]

    def take(self, rows: NDArray[np.int64]) -> Near:
        """Return the rule for all rows in another order."""
        return Near(self.points[rows], self.reach)

    @cached_property
    def _tree(self) -> KDTree:
        from scipy.spatial import KDTree

        return KDTree(self.points)


@dataclass(frozen=True)
class Quota:
    """Largest number of the first k picks with one value.

    Attributes:
        name: Name of the column, such as "scene".
        code: (n,) int64 value of each row, 0 to v - 1; -1 for rows without a limit.
        share: Largest share of the picks, 0 to 1, rounded up to a whole pick; or None.
        most: Largest number of picks; None for a share.
        fixed: Limit that applies from the first pick on, in greedy loops; None for the limit of
            each k.
    """

    name: str
    code: NDArray[np.int64]
    share: float | None = None
    most: int | None = None
    fixed: int | None = None

    @property
    def size(self) -> int:
        """Number of values."""
        return int(self.code.max(initial=-1)) + 1

    def limit(self, k: int) -> int:
        """Return the largest number of the first `k` picks with one value."""
        if self.fixed is not None:
            return self.fixed
        if self.share is None:
            return self.code.size if self.most is None else self.most
        return max(1, math.ceil(self.share * k - _ROUNDING))

    def room(self, k: int, given: NDArray[np.int64]) -> int:
        """Return the largest number of picks after `given` under the limit of `k` picks."""
        named = self.code[self.code >= 0]
        sizes = np.bincount(named, minlength=1)
        used = np.bincount(self.code[given][self.code[given] >= 0], minlength=sizes.size)
        free = np.minimum(np.maximum(self.limit(k) - used, 0), sizes - used)
        alone = int((self.code < 0).sum() - (self.code[given] < 0).sum())
        return int(free.sum()) + alone

    def take(self, rows: NDArray[np.int64]) -> Quota:
        """Return the quota for all rows in another order."""
        return replace(self, code=self.code[rows])


@dataclass(frozen=True)
class Constraint:
    """Rules that apply together, and rows that are already selected.

    Attributes:
        n: Number of rows.
        rules: Rules that forbid rows.
        quotas: Limits of the picks with one value.
        given: (s,) int64 rows that are already selected; they count in the rules and are never
            taken.
        strata: Shares of the picks by value, or None.
        last: (t,) int64 rows that are put back from the start, such as tiles without content.
    """

    n: int
    rules: tuple[Rule, ...] = ()
    quotas: tuple[Quota, ...] = ()
    given: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    strata: Strata | None = None
    last: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(
        cls, pick: ArrayLike, forbidden: ArrayLike, n: int, *, group: ArrayLike | None = None
    ) -> Self:
        """Make a constraint of pairs; see `Pairs.of`."""
        pairs = Pairs.of(pick, forbidden, n, group=group)
        return cls(n, () if pairs.empty else (pairs,))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.n

    @property
    def empty(self) -> bool:
        """Whether no row is ever put back."""
        return self.fixed and not self.last.size

    @property
    def fixed(self) -> bool:
        """Whether no pick forbids anything, so that the same rows are always put back."""
        return not self.rules and not self.waits

    @property
    def waits(self) -> bool:
        """Whether rows may have to wait, so that `apply` also changes the order of taken rows."""
        return bool(self.quotas) or self.strata is not None

    def joined(self, *others: Constraint) -> Constraint:
        """Return the constraint with the rules of this one and of others.

        Raises:
            ParameterError: More than one has strata.
        """
        every = (self, *others)
        strata = [other.strata for other in every if other.strata is not None]
        if len(strata) > 1:
            raise ParameterError(
                f"strata of {strata[0].name!r} and of {strata[1].name!r}",
                "Only one column can define strata.",
                "Define strata for the run, or in the recipe, not both.",
            )
        return Constraint(
            self.n,
            tuple(rule for other in every for rule in other.rules),
            tuple(quota for other in every for quota in other.quotas),
            np.unique(np.concatenate([other.given for other in every])),
            strata[0] if strata else None,
            np.unique(np.concatenate([other.last for other in every])),
        )

    def take(self, rows: NDArray[np.int64]) -> Constraint:
        """Return the constraint of all rows in another order."""
        place = np.empty(self.n, np.int64)
        place[rows] = np.arange(self.n)
        return Constraint(
            self.n, tuple(rule.take(rows) for rule in self.rules),
            tuple(quota.take(rows) for quota in self.quotas), np.sort(place[self.given]),
            None if self.strata is None else self.strata.take(rows), np.sort(place[self.last]),
        )  # fmt: skip

    def up_to(self, k: int) -> Constraint:
        """Return the constraint for a greedy loop of `k` picks.

        Quotas and strata then have the limits of the last pick from the first pick on. `apply`
        orders the picks afterwards.
        """
        last = min(k, self.n) + self.given.size
        quotas = tuple(replace(quota, fixed=quota.limit(last)) for quota in self.quotas)
        strata = self.strata
        if strata is not None:
            left = min(k, self.n - self.given.size)
            strata = replace(strata, fixed=strata.counts(left, self.given))
        return replace(self, quotas=quotas, strata=strata)

    def apply(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Move forbidden rows to the end.

        Args:
            order: (k,) rows, best first.

        Returns:
            (k,) the same rows: taken rows in the order in which they are taken, then the others in
            the order of `order`, and rows of `given` last.
        """
        last = np.isin(order, self.given)
        order, given = order[~last], order[last]
        taken = self._taken(order)
        put_back = np.ones(order.size, bool)
        put_back[taken] = False
        return np.concatenate([order[taken], order[put_back], given])

    def count(self, order: NDArray[np.int64]) -> int:
        """Return the number of rows that the first part of a ranking puts back.

        Args:
            order: (k,) rows, best first, possibly not all rows; without `given`.

        Returns:
            The number of rows, ranked or not, that rows of `order` forbid and that are not taken
            before. For a full ranking, the number of rows that were moved to the end.
        """
        order = order[~np.isin(order, self.given)]
        state = self.open()
        if self.waits:
            taken = self._taken(order)
            moved = np.flatnonzero(taken != np.arange(taken.size))
            first = int(moved[0]) if moved.size else taken.size
            if first < order.size:
                return self.n - self.given.size - first
        open_ = replace(self, quotas=(), strata=None).open() if self.waits else state
        order = order[self.bound[order]]  # picks of other rows neither forbid nor are forbidden
        picked = np.union1d(open_.admit(order), self.given)
        return int((~open_.free).sum()) - picked.size

    def open(self, picked: ArrayLike = ()) -> Open:
        """Return the state of the constraint after the given rows.

        Args:
            picked: Further rows that are already selected.
        """
        state = Open(self)
        for row in np.asarray(picked, np.int64).tolist():
            state.pick(row)
        return state

    def forbidden_by(self, row: int) -> NDArray[np.int64]:
        """Return the rows that a pick of `row` forbids by the rules; may include the row."""
        parts = [rule.forbidden_by(row) for rule in self.rules]
        return np.unique(np.concatenate([np.empty(0, np.int64), *parts]))

    @cached_property
    def bound(self) -> NDArray[np.bool_]:
        """(n,) bool, rows that a rule or `last` affects; in most pools, few rows."""
        bound = np.zeros(self.n, bool)
        for rule in self.rules:
            bound |= rule.bound
        bound[self.last] = True
        return bound

    def _taken(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions in `order` of the taken rows, in the order in which they are."""
        plain = replace(self, quotas=(), strata=None)
        state = plain.open()
        if self.waits:
            return Waiting(self, order, state).run()
        kept = np.ones(order.size, bool)
        places = np.flatnonzero(self.bound[order])
        for place, row in zip(places.tolist(), order[places].tolist(), strict=True):
            if state.free[row]:
                state.pick(row)
            else:
                kept[place] = False
        return np.flatnonzero(kept)


class Open:
    """State of a constraint while rows are picked.

    Forbidden rows remain forbidden: limits by share are those of n picks, see `Constraint.up_to`.

    Args:
        constraint: The constraint; its given rows are picked first.

    Attributes:
        free: (n,) bool, rows that are neither picked nor forbidden.
    """

    def __init__(self, constraint: Constraint) -> None:
        self._constraint = constraint
        self.free = np.ones(len(constraint), bool)
        self.free[constraint.last] = False
        self._picked = np.zeros(len(constraint), bool)
        strata = [] if constraint.strata is None else [constraint.strata]
        limited: list[Quota | Strata] = [*constraint.quotas, *strata]
        self._limited = limited
        self._used = [np.zeros(quota.size, np.int64) for quota in limited]
        self._limits = [np.broadcast_to(q.limit(len(constraint)), q.size) for q in limited]
        if constraint.strata is not None:  # the limit of a stratum may be 0
            self.free[self._limits[-1][constraint.strata.code] == 0] = False
        for row in constraint.given.tolist():
            self.pick(row)

    def pick(self, row: int) -> NDArray[np.int64]:
        """Pick a row; return the rows that become forbidden."""
        if self._picked[row]:
            return np.empty(0, np.int64)
        self._picked[row] = True
        self.free[row] = False
        rules = self._constraint.rules
        parts = [rule.forbidden_by(row) for rule in rules] + self._full(row)
        forbidden = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int64), *parts])
        forbidden = forbidden[self.free[forbidden]]
        if len(parts) > 1:
            forbidden = np.unique(forbidden)
        self.free[forbidden] = False
        return forbidden

    def _full(self, row: int) -> list[NDArray[np.int64]]:
        """Count a pick; return the rows of values that have now reached their limit."""
        full = []
        for quota, used, limit in zip(self._limited, self._used, self._limits, strict=True):
            code = int(quota.code[row])
            if code >= 0:
                used[code] += 1
                if used[code] == limit[code]:
                    full.append(np.flatnonzero(quota.code == code))
        return full

    def admit(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pick the free rows in the given order; return the picked rows."""
        taken = []
        for row in order.tolist():
            if self.free[row]:
                self.pick(row)
                taken.append(row)
        return np.array(taken, np.int64)
