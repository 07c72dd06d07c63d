"""Order of rows under quotas and strata, for `Constraint.apply`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from foveate.select.strata import SAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from foveate.select.constraints import Constraint, Open


class Waiting:
    """Rows in the order of a method, some of which wait for their quotas or strata.

    Args:
        constraint: The constraint.
        order: (k,) rows, best first, without given rows.
        state: State of the rules.
    """

    def __init__(self, constraint: Constraint, order: NDArray[np.int64], state: Open) -> None:
        self.quotas, self.order, self.state = constraint.quotas, order, state
        self.bound, self.strata = constraint.bound, constraint.strata
        rules = (*self.quotas, *([] if self.strata is None else [self.strata]))
        self.codes = np.stack([rule.code for rule in rules], axis=1)
        self.used = [np.zeros(rule.size, np.int64) for rule in rules]
        for row in constraint.given.tolist():
            self._count(self._key(row))
        self.begun = constraint.given.size
        self.waiting: dict[tuple[int, ...], deque[int]] = {}
        self.of_stratum: dict[int, list[tuple[int, ...]]] = {}  # keys of `waiting`

    def run(self) -> NDArray[np.int64]:
        """Return the positions of the taken rows, in the order in which they are."""
        taken: list[int] = []
        stream = iter(range(self.order.size))
        if self.strata is not None:  # the first row of each stratum is needed in every turn
            for place in stream:
                self._wait(place)
        while True:
            limits = [quota.limit(self.begun + len(taken) + 1) for quota in self.quotas]
            place = self._next_taken(stream, limits)
            if place is None:
                return np.array(taken, np.int64)
            row = int(self.order[place])
            if self.bound[row]:
                self.state.pick(row)
            self._count(self._key(row))
            taken.append(place)

    def _next_taken(self, stream: Iterable[int], limits: list[int]) -> int | None:
        """Return the position of the next taken row."""
        if self.strata is not None:
            return self._next_of_strata(limits)
        place = self._first_waiting(limits, self.waiting)
        return self._next_in_order(stream, limits) if place is None else place

    def _next_of_strata(self, limits: list[int]) -> int | None:
        """Return the first allowed position of the stratum with the highest priority."""
        assert self.strata is not None  # noqa: S101  (checked by the caller)
        turn = self.strata.turn(self.used[-1])
        while (top := turn.max(initial=-np.inf)) > -np.inf:
            due = turn >= top - SAME
            strata = np.flatnonzero(due).tolist()
            keys = [key for stratum in strata for key in self.of_stratum.get(stratum, ())]
            place = self._first_waiting(limits, [key for key in keys if key in self.waiting])
            if place is not None:
                return place
            turn[due] = -np.inf
        return None

    def _first_waiting(self, limits: list[int], keys: Iterable[tuple[int, ...]]) -> int | None:
        """Return the first waiting position of some keys that is now allowed."""
        best = None
        for key in [key for key in keys if self._is_allowed(key, limits)]:
            queue = self.waiting[key]
            while queue and not self.state.free[self.order[queue[0]]]:
                queue.popleft()
            if not queue:
                del self.waiting[key]
            elif best is None or queue[0] < self.waiting[best][0]:
                best = key
        return None if best is None else self.waiting[best].popleft()

    def _next_in_order(self, stream: Iterable[int], limits: list[int]) -> int | None:
        """Return the next allowed position; the positions before it wait."""
        for place in stream:
            row = int(self.order[place])
            if not self.state.free[row]:
                continue
            if self._is_allowed(self._key(row), limits):
                return place
            self._wait(place)
        return None

    def _wait(self, place: int) -> None:
        key = self._key(int(self.order[place]))
        if key not in self.waiting:
            self.waiting[key] = deque()
            if self.strata is not None:
                self.of_stratum.setdefault(key[-1], []).append(key)
        self.waiting[key].append(place)

    def _key(self, row: int) -> tuple[int, ...]:
        """Return the value of a row in each quota, then its stratum."""
        return tuple(self.codes[row].tolist())

    def _is_allowed(self, key: tuple[int, ...], limits: list[int]) -> bool:
        quotas = zip(key, self.used, limits, strict=False)  # without the stratum, the last of `key`
        return all(code < 0 or used[code] < limit for code, used, limit in quotas)

    def _count(self, key: tuple[int, ...]) -> None:
        for code, used in zip(key, self.used, strict=True):
            if code >= 0:
                used[code] += 1
