"""LC, label complexity: core-set paper, section III-A, Eq. 1.

The entropy of the class shares of a patch, in [0, 1]. Deviations and choices:

- C is the number of counted classes (without ignored classes), so a uniform patch scores 1.
- A patch without counted pixels has no score and comes last, not among the patches of entropy 0.
- Ties are frequent (every single-class patch scores 0) and are broken by a seeded hash of the id;
  in file order, one corner of one scene would be selected.
- ``order="weighted"`` is the code released with the challenge, which does not sort, but samples
  without replacement in proportion to the entropy. The published ISPRS lists seem to be sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.registry import check_choice
from foveate.seeds import rng, tie_keys
from foveate.select.sampling import order_by_score, weighted_order
from foveate.selection import Ranking
from foveate.stats import entropy

if TYPE_CHECKING:
    from numpy.typing import NDArray


_FLOOR = 1e-9  # weight of a patch of entropy 0, as in the released code


def lc(
    *,
    ids: NDArray[np.str_],
    counts: NDArray[np.int64],
    seed: int,
    order: str = "sort",
) -> Ranking:
    """Rank by the entropy of class shares.

    Args:
        ids: (n,) str.
        counts: (n, C) pixels per class.
        seed: Breaks ties; seed of the sampling if `order` is "weighted".
        order: "sort" (paper), or "weighted" (released code; scores then decrease linearly from 1 to
            0).

    Returns:
        Full ranking. Scores with "sort": entropy in [0, 1], NaN without counted pixels.

    Raises:
        ParameterError: `order` is unknown.
    """
    check_choice("order", order, ("sort", "weighted"))
    # Sorting fixes the order of summation, so that equal mixes of any classes are exact ties.
    score = entropy(np.sort(counts, axis=1))
    ties = tie_keys(ids, seed)
    if order == "sort":
        rows = order_by_score(score, ties)
        return Ranking(rows, score[rows], len(ids))
    labelled = np.flatnonzero(~np.isnan(score))
    drawn = labelled[weighted_order(np.maximum(score[labelled], _FLOOR), rng(seed, "lc/order"))]
    unlabelled = np.flatnonzero(np.isnan(score))
    rows = np.concatenate([drawn, unlabelled[np.argsort(ties[unlabelled], kind="stable")]])
    return Ranking(rows, np.linspace(1, 0, len(ids)), len(ids))


METHOD = Method(
    name="lc",
    title="Label complexity (LC)",
    source="core-set paper, section III-A, Eq. 1",
    function=lc,
    needs=("counts",),
    presets={"released": {"order": "weighted"}},
)
