"""Sampling in proportion to a covariate: IS-Count, Meng et al. 2022.

Night lights, population or built-up area say where there is something to count. IS-Count draws with
replacement; here each tile can be bought once, so each draw is in proportion to the weights of the
tiles that are left (Efraimidis and Spirakis 2006, by keys log w + Gumbel). Tiles of weight 0 come
last. For totals with an interval draw with `foveate.stats.sampling`: a ranking has no inclusion
probabilities that are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.observe.methods.base import Policy
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn

_BITS = 52  # of a hash, so that it stays below 1 as a float


def covariate(
    *,
    ids: NDArray[np.str_],
    covariate: NDArray[np.float64],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one sort)
    deterministic: bool = False,
) -> Ranking:
    """Rank by draws in proportion to a covariate.

    Args:
        ids: (n,) str.
        covariate: (n,) >= 0; for amounts per area, multiply by the tile's area first.
        seed: Draws, and breaks ties. A tile's draw depends on its id, not on the others.
        progress: Not used.
        deterministic: Sort by the covariate, and draw nothing.

    Returns:
        Full ranking; scores 1 - r / n, or the covariate.
    """
    n = len(ids)
    ties = tie_keys(ids, seed)
    if deterministic:
        rows = order_by_score(covariate, ties)
        return Ranking(rows, covariate[rows], n)
    draw = (tie_keys(ids, seed, "covariate/draw") >> np.uint64(64 - _BITS)) + 0.5
    gumbel = -np.log(-np.log(draw / 2.0**_BITS))
    with np.errstate(divide="ignore"):
        rows = order_by_score(np.log(covariate) + gumbel, ties)
    return Ranking(rows, 1 - np.arange(n) / max(n, 1), n)


POLICY = Policy(
    name="covariate",
    title="In proportion to a covariate",
    source="Meng et al. 2022, IS-Count, section 4",
    function=covariate,
    needs=("covariate",),
)
