"""FA/CB: core-set paper, section III-F, Eq. 4.

s = lambda s_FA + (1 - lambda) s_CB, lambda = 0.5. Equal weights are not equal influence: on the
published lists CB's scores spread about twice as wide as FA's and carry 77 to 84 % of the
variance. ``combine="rank"`` averages the places instead, which weighs both alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.curate.methods.cb import METHOD as CB
from foveate.curate.methods.fa import METHOD as FA
from foveate.errors import ParameterError
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn


def fa_cb(
    *,
    ids: NDArray[np.str_],
    counts: NDArray[np.int64],
    embeddings: NDArray[np.floating],
    seed: int,
    progress: ProgressFn | None = None,
    lam: float = 0.5,
    combine: str = "score",
    negative: str = "abs",
) -> Ranking:
    """Rank by a weighted mean of FA and CB.

    Args:
        ids: (n,) str.
        counts: (n, C) pixels per class.
        embeddings: (n, d) float.
        seed: Breaks ties.
        progress: Called with ticks.
        lam: Weight of FA, 0 to 1.
        combine: "score" (paper), or "rank" (1 - place / n of both).
        negative: As in FA.

    Returns:
        Full ranking, scores in [0, 1].

    Raises:
        ParameterError: `lam` outside 0 to 1, or unknown `combine`.
    """
    if not 0 <= lam <= 1:
        raise ParameterError(f"lam={lam}", "The weight of FA is from 0 to 1.", "lam=0.5")
    if combine not in ("score", "rank"):
        raise ParameterError(f"combine={combine!r}", "Allowed: score, rank.")
    n = len(ids)
    activation = FA.function(ids=ids, embeddings=embeddings, seed=seed, negative=negative)
    balance = CB.function(ids=ids, counts=counts, seed=seed, progress=progress)
    s_fa, s_cb = np.empty(n), np.empty(n)
    s_fa[activation.rows] = activation.score if combine == "score" else 1 - np.arange(n) / max(n, 1)
    s_cb[balance.rows] = balance.score
    score = lam * s_fa + (1 - lam) * s_cb
    rows = order_by_score(score, tie_keys(ids, seed))
    return Ranking(rows, score[rows], n, meta=dict(activation.meta))


METHOD = Method(
    name="fa-cb",
    title="Activation/balance hybrid (FA/CB)",
    source="core-set paper, section III-F, Eq. 4",
    function=fa_cb,
    needs=("counts", "embeddings"),
    presets={"paper": {"negative": "error"}, "released": {"negative": "error"}},
)
