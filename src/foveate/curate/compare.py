"""Where methods agree."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from foveate.errors import DataError
from foveate.stats import kendall_tau, overlap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.selection import Ranking, Selection


@dataclass(frozen=True)
class Agreement:
    """Two methods compared.

    Attributes:
        a: Name of the first method.
        b: Name of the second.
        kendall: Kendall's tau-b between the two orders, -1 to 1 (paper, Fig. 5); NaN when one of
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
    lacking = sorted(set(rankings) ^ set(selections))
    if lacking:
        raise DataError(
            f"{lacking[0]!r} has a ranking or a selection, but not both",
            "Give the same names in both, rankings first.",
        )
    if len({r.n for r in rankings.values()}) > 1:
        raise DataError("rankings of different pools", "Compare rankings of one pool.")
    pairs = []
    for a, b in combinations(rankings, 2):
        whole = rankings[a].full and rankings[b].full
        tau = kendall_tau(rankings[a].position(), rankings[b].position()) if whole else float("nan")
        pairs.append(Agreement(a, b, tau, overlap(selections[a].rows, selections[b].rows)))
    return pairs
