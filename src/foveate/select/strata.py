"""Strata: allocation of the picks to the values of a column, at any length of a ranking.

Balinski and Young 1975, "The quota method of apportionment": among the strata with fewer picks than
their share of the next total, the next pick is from the stratum with the largest
share / (picks + 1). For every k, each stratum then has its share of the first k picks, rounded down
or up, as long as it has rows left. The method decides which row of the stratum is taken, and breaks
ties between strata.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAME = 1e-12  # differences of priorities below this are rounding
_ROUNDING = 1e-9  # tolerance of a number of picks


@dataclass(frozen=True)
class Strata:
    """Shares of the picks by value.

    Attributes:
        name: Name of the column, such as "scene".
        values: v names of the strata.
        code: (n,) int64 stratum of each row, 0 to v - 1.
        share: (v,) float64 shares of the picks with a sum of 1; rows of strata with a share of 0
            come last.
        fixed: (v,) int64 limits that apply from the first pick on, in greedy loops; or None.
    """

    name: str
    values: tuple[str, ...]
    code: NDArray[np.int64]
    share: NDArray[np.float64]
    fixed: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[np.int64]) -> Strata:
        """Return the strata of all rows in another order."""
        return replace(self, code=self.code[rows])

    def sizes(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return (v,) the number of rows of each stratum, of all rows or among `rows`."""
        code = self.code if rows is None else self.code[rows]
        return np.bincount(code, minlength=self.size)

    def turn(self, used: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (v,) the priority of each stratum for the next pick; -inf for a share of 0.

        Args:
            used: (v,) picks of each stratum so far.

        Returns:
            Values above 1 for strata with fewer picks than their share. Strata with smaller values
            are used only if none of these has a row.
        """
        k = int(used.sum()) + 1
        priority = self.share / (used + 1)
        largest = priority.max(initial=0) or 1.0
        behind = used < self.share * k - _ROUNDING
        priority = priority / largest
        return np.where(self.share > 0, priority + behind, -np.inf)

    def counts(self, k: int, given: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (v,) the number of picks of each stratum after `k` picks, including `given`.

        Strata without rows are skipped; there are fewer picks if no row of a stratum with a share
        is left.
        """
        used, sizes = self.sizes(given), self.sizes()
        for _ in range(k):
            turn = np.where(used < sizes, self.turn(used), -np.inf)
            if not (turn > -np.inf).any():
                break
            used[_first(turn)] += 1
        return used

    def room(self, k: int, given: NDArray[np.int64]) -> tuple[int, int]:
        """Return the number of picks after `given`, up to `k`, for which all shares are met.

        Returns:
            The number, and the first stratum without a row; -1 if all `k` picks are possible.
        """
        used, sizes = self.sizes(given), self.sizes()
        for picked in range(k):
            turn = self.turn(used)
            able = (turn >= turn.max() - SAME) & (used < sizes)
            if not able.any():
                return picked, _first(turn)
            used[int(able.argmax())] += 1
        return k, -1

    @property
    def size(self) -> int:
        """Number of strata."""
        return self.share.size

    def limit(self, k: int) -> NDArray[np.int64]:
        """Return (v,) the limit of each stratum among the first `k` picks of a greedy loop."""
        return np.full(self.size, k) if self.fixed is None else self.fixed


def _first(turn: NDArray[np.float64]) -> int:
    """Return the first stratum with the highest priority."""
    return int((turn >= turn.max() - SAME).argmax())
