"""FA/CB: core-set paper, section III-F, Eq. 4.

s = lambda s_FA + (1 - lambda) s_CB, lambda = 0.5. Equal weights do not give equal influence: on
the published lists the scores of CB have about twice the spread of those of FA and contribute 77
to 84 % of the variance. ``combine="rank"`` averages the ranks instead, with equal influence.

CB ranks patches without labelled pixels last, but FA may score them high. Deviation: they are last,
except in the presets (``unlabelled="score"``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.registry import check_choice
from foveate.seeds import tie_keys
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def fa_cb(
    *,
    ids: NDArray[np.str_],
    parts: Mapping[str, Ranking],
    counts: NDArray[np.int64],
    seed: int,
    lam: float = 0.5,
    combine: str = "score",
    unlabelled: str = "last",
) -> Ranking:
    """Rank by a weighted mean of FA and CB.

    Args:
        ids: (n,) str.
        parts: Full rankings "fa" and "cb".
        counts: (n, C) pixels per class.
        seed: Breaks ties.
        lam: Weight of FA, 0 to 1.
        combine: "score" (paper), or "rank" (1 - place / n for both).
        unlabelled: Patches without labelled pixels: "last", with their score minus 1, or "score",
            as all others (paper).

    Returns:
        Full ranking, scores in [0, 1], or [-1, 0] for patches that are last;
        ``meta["unlabelled"]`` is their number, if there are any.

    Raises:
        ParameterError: `lam` is outside 0 to 1, or `combine` or `unlabelled` is unknown.
    """
    if not 0 <= lam <= 1:
        raise ParameterError(f"lam={lam}", "The weight of FA must be from 0 to 1.", "lam=0.5")
    check_choice("combine", combine, ("score", "rank"))
    check_choice("unlabelled", unlabelled, ("last", "score"))
    n = len(ids)
    by_place = 1 - np.arange(n) / max(n, 1)
    s_fa, s_cb = np.empty(n), np.empty(n)
    s_fa[parts["fa"].rows] = parts["fa"].score if combine == "score" else by_place
    s_cb[parts["cb"].rows] = parts["cb"].score if combine == "score" else by_place
    score = lam * s_fa + (1 - lam) * s_cb
    meta = dict(parts["fa"].meta)
    bare = ~(counts > 0).any(axis=1) & (unlabelled == "last")
    if bare.any():
        score[bare] -= 1
        meta["unlabelled"] = int(bare.sum())
    # By `bare` first, because a score of 0 may be of either; rows picked before have none (NaN).
    rows = np.lexsort((tie_keys(ids, seed), -score, bare, np.isnan(score)))
    return Ranking(rows, score[rows], n, meta=meta)


METHOD = Method(
    name="fa-cb",
    title="Activation/balance hybrid (FA/CB)",
    source="core-set paper, section III-F, Eq. 4",
    function=fa_cb,
    needs=("counts", "embeddings"),
    parts=("fa", "cb"),
    presets={"paper": {"unlabelled": "score"}, "released": {"unlabelled": "score"}},
)
