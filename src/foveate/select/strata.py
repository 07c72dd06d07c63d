"""Strata: how many of the picks have each value of a column, at any length of a ranking.

Balinski and Young 1975, "The quota method of apportionment": of the strata that have fewer picks
than their share of one pick more, the next is of the one for which share / (picks + 1) is largest.
Of the first k picks each stratum then has its share of k, rounded down or up, for every k, as long
as it has rows left. Which row of the stratum is taken is up to the method, and which of several
strata with the same claim.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAME = 1e-12  # difference of two claims that is rounding
_ROUNDING = 1e-9  # of a number of picks


@dataclass(frozen=True)
class Strata:
    """Shares of the picks by value.

    Attributes:
        name: What the values are of: "scene".
        values: v names of the strata.
        code: (n,) int64 stratum of each row, 0 to v - 1.
        share: (v,) float64 shares of the picks, which sum up to 1; rows of a stratum whose share
            is 0 come last.
        fixed: (v,) int64 numbers that hold from the first pick on, in greedy loops; or None.
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
        """Return (v,) how many rows each stratum has; of all, or among `rows`."""
        code = self.code if rows is None else self.code[rows]
        return np.bincount(code, minlength=self.size)

    def turn(self, used: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (v,) how much each stratum has to be next; -inf for one without a share.

        Args:
            used: (v,) picks of each stratum so far.

        Returns:
            Values above 1 for strata that have fewer picks than their share, and below for others:
            these follow only where none of the first can give a row.
        """
        k = int(used.sum()) + 1
        claim = self.share / (used + 1)
        largest = claim.max(initial=0) or 1.0
        behind = used < self.share * k - _ROUNDING
        claim = claim / largest
        return np.where(self.share > 0, claim + behind, -np.inf)

    def counts(self, k: int, given: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (v,) how many of `k` picks after `given` each stratum has, `given` included.

        A stratum without rows passes its turn; there are fewer picks where none with a share is
        left.
        """
        used, sizes = self.sizes(given), self.sizes()
        for _ in range(k):
            turn = np.where(used < sizes, self.turn(used), -np.inf)
            if not (turn > -np.inf).any():
                break
            used[_first(turn)] += 1
        return used

    def room(self, k: int, given: NDArray[np.int64]) -> tuple[int, int]:
        """Return how many picks after `given` have their shares, up to `k`, and what ends them.

        Returns:
            The number, and the first stratum that lacks a row; -1 where all `k` have.
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
        """Return (v,) how many of the first `k` picks each stratum may have in a greedy loop."""
        return np.full(self.size, k) if self.fixed is None else self.fixed


def _first(turn: NDArray[np.float64]) -> int:
    """Return the first of the strata whose turn it is."""
    return int((turn >= turn.max() - SAME).argmax())
