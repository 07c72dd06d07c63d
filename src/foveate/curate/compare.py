"""Agreement of rankings: the analysis of the core-set paper (section V-A, Fig. 4 to 6).

Fig. 4 is the average rank of each patch with its standard deviation, Fig. 5 Kendall's tau of every
pair, Fig. 6 the patches of the lowest and of the highest average rank. Deviation: tau-b is used,
over the patches that all pools contain; ranks are computed among these patches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.stats import kendall_tau, overlap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.selection import Ranking, Selection


@dataclass(frozen=True)
class Agreement:
    """Two methods compared.

    Attributes:
        a: Name of the first method.
        b: Name of the second.
        kendall: Kendall's tau-b between the two orders, -1 to 1 (paper, Fig. 5); NaN if one of
            them is not a full ranking.
        overlap: Share of the smaller selection that is in the other, 0 to 1.
    """

    a: str
    b: str
    kendall: float
    overlap: float


def agreement(
    rankings: Mapping[str, Ranking], selections: Mapping[str, Selection]
) -> list[Agreement]:
    """Compare every pair of methods.

    Args:
        rankings: Name -> ranking of one pool.
        selections: Name -> selection of the same pool.

    Raises:
        DataError: The rankings are of pools of different sizes.
    """
    unpaired = sorted(set(rankings) ^ set(selections))
    if unpaired:
        raise DataError(
            f"{unpaired[0]!r} has a ranking or a selection, but not both",
            "Give the same names in both, rankings first.",
        )
    if len({r.n for r in rankings.values()}) > 1:
        raise DataError("rankings of different pools", "Compare rankings of one pool.")
    pairs = []
    for a, b in combinations(rankings, 2):
        full = rankings[a].full and rankings[b].full
        tau = kendall_tau(rankings[a].position(), rankings[b].position()) if full else float("nan")
        pairs.append(Agreement(a, b, tau, overlap(selections[a].rows, selections[b].rows)))
    return pairs


@dataclass(frozen=True)
class Comparison:
    """M rankings over the n patches that all of their pools contain.

    Attributes:
        names: M names of the rankings.
        ids: (n,) str ids of the patches, sorted.
        place: (M, n) int64 place of each patch among these, from 1; 0 if it is not ranked.
        left_out: Name -> number of patches of its pool that are missing from another pool.
    """

    names: tuple[str, ...]
    ids: NDArray[np.str_]
    place: NDArray[np.int64]
    left_out: Mapping[str, int]

    @cached_property
    def full(self) -> NDArray[np.bool_]:
        """(M,) whether a ranking contains every patch."""
        return (self.place > 0).all(axis=1)

    @cached_property
    def kendall(self) -> NDArray[np.float64]:
        """(M, M) Kendall's tau-b of every pair of full rankings (Fig. 5); NaN for other pairs."""
        found = np.full((len(self.names),) * 2, np.nan)
        np.fill_diagonal(found, 1.0)
        for a, b in combinations(np.flatnonzero(self.full).tolist(), 2):
            found[a, b] = found[b, a] = kendall_tau(self.place[a], self.place[b])
        return found

    @property
    def kendall_sd(self) -> float:
        """Standard deviation of the tau of two independent orders of n patches.

        ``sqrt(2 (2n + 5) / (9 n (n - 1)))`` (Kendall 1938); NaN below two patches.
        """
        n = self.ids.size
        return math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))) if n > 1 else math.nan

    @cached_property
    def average(self) -> NDArray[np.float64]:
        """(n,) mean place in the full rankings (Fig. 4); NaN if there is no full ranking."""
        return self._full_places.mean(axis=0) if self.full.any() else self._nothing

    @cached_property
    def spread(self) -> NDArray[np.float64]:
        """(n,) population standard deviation of the places in the full rankings (Fig. 4)."""
        return self._full_places.std(axis=0) if self.full.any() else self._nothing

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(n,) rows by average place, the lowest first (Fig. 4, 6); ties by spread, then by id."""
        return np.lexsort((np.arange(self.ids.size), self.spread, self.average))

    def depth(self) -> NDArray[np.int64]:
        """Return (M,) the number of patches in each ranking."""
        return (self.place > 0).sum(axis=1)

    def first(self, k: int) -> NDArray[np.bool_]:
        """Return (M, n): whether a patch is among the first `k` of a ranking.

        Raises:
            ParameterError: `k` is below 1 or above n.
        """
        if not 1 <= k <= self.ids.size:
            raise ParameterError(
                f"the first {k} of {self.ids.size} patches", f"Allowed: 1 to {self.ids.size}."
            )
        return (self.place > 0) & (self.place <= k)

    def overlap(self, k: int) -> NDArray[np.float64]:
        """Return (M, M) the share of the first `k` of one that is among the first `k` of another.

        The expected value for independent orders is k / n. NaN if a ranking has fewer than `k`
        patches.
        """
        first = self.first(k).astype(np.float64)
        found = first @ first.T / k
        short = self.depth() < k
        found[short] = found[:, short] = np.nan
        return found

    def agreed(self, k: int) -> NDArray[np.int64]:
        """Return the rows among the first `k` of every ranking, by average place.

        Rankings with fewer than `k` patches count with all of them.
        """
        rows = self.order[self.first(k).all(axis=0)[self.order]]
        return rows.astype(np.int64)

    @property
    def _full_places(self) -> NDArray[np.float64]:
        return self.place[self.full].astype(np.float64)

    @property
    def _nothing(self) -> NDArray[np.float64]:
        return np.full(self.ids.size, np.nan)


def compare(rankings: Mapping[str, Ranking]) -> Comparison:
    """Compare rankings over the patches that all of their pools contain.

    Patches are matched by id. Rankings without ids must be of one pool, and are matched by row.
    Places are computed among the common patches.

    Args:
        rankings: Name -> ranking; at least two.

    Raises:
        DataError: There are fewer than two rankings, they have no patch in common, or rankings
            without ids are of pools of different sizes.
    """
    if len(rankings) < 2:
        raise DataError(
            f"{len(rankings)} ranking{'' if len(rankings) == 1 else 's'} to compare",
            "At least two rankings are required.",
        )
    ids = {name: _ids(ranking, rankings) for name, ranking in rankings.items()}
    first, *others = ids
    common = np.unique(ids[first])
    for name in others:
        before = common
        if not np.array_equal(ids[name], ids[first]):
            common = np.intersect1d(common, ids[name])
        if not common.size:
            raise DataError(
                f"the rankings have no patch in common: {first!r} ranks {_example(before)}, "
                f"{name!r} {_example(ids[name])}",
                "Patches are matched by id: for tiles, by scene and window.",
                "Compare rankings of one pool: the same images, divided into the same tiles.",
            )
    places = []
    for name, ranking in rankings.items():
        at = np.searchsorted(common, ids[name][ranking.rows])
        at = np.minimum(at, common.size - 1)
        at = at[common[at] == ids[name][ranking.rows]]
        place = np.zeros(common.size, np.int64)
        place[at] = np.arange(1, at.size + 1)
        places.append(place)
    left = {name: int(ranking.n - common.size) for name, ranking in rankings.items()}
    return Comparison(tuple(rankings), common, np.stack(places), left)


def _ids(ranking: Ranking, rankings: Mapping[str, Ranking]) -> NDArray[np.str_]:
    if ranking.ids is not None:
        return ranking.ids
    if len({other.n for other in rankings.values()}) > 1 or any(
        other.ids is not None for other in rankings.values()
    ):
        raise DataError(
            "rankings without ids, of different pools",
            "Patches are matched by id, or by row if all rankings are of one pool size.",
            "Give the rankings ids.",
        )
    width = len(str(ranking.n))
    return np.array([f"{i:0{width}d}" for i in range(ranking.n)], np.str_)


def _example(ids: NDArray[np.str_]) -> str:
    return f"patches such as {str(ids[0])!r}" if ids.size else "none"
