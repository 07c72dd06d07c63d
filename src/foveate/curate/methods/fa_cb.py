"""FA/CB: core-set paper, section III-F, Eq. 4.

s = lambda s_FA + (1 - lambda) s_CB, lambda = 0.5. Equal weights do not give equal influence: on
the published lists the scores of CB have about twice the spread of those of FA and contribute 77
to 84 % of the variance. ``combine="rank"`` averages the ranks instead, with equal influence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.progress import ProgressFn


def fa_cb(
    *,
    ids: NDArray[np.str_],
    parts: Mapping[str, Ranking],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one sort)
    lam: float = 0.5,
    combine: str = "score",
) -> Ranking:
    """Rank by a weighted mean of FA and CB.

    Args:
        ids: (n,) str.
        parts: Full rankings "fa" and "cb".
        seed: Breaks ties.
        progress: Not used.
        lam: Weight of FA, 0 to 1.
        combine: "score" (paper), or "rank" (1 - place / n for both).

    Returns:
        Full ranking, scores in [0, 1].

    Raises:
        ParameterError: `lam` is outside 0 to 1, or `combine` is unknown.
    """
    if not 0 <= lam <= 1:
        raise ParameterError(f"lam={lam}", "The weight of FA must be from 0 to 1.", "lam=0.5")
    if combine not in ("score", "rank"):
        raise ParameterError(f"combine={combine!r}", "Allowed: score, rank.")
    n = len(ids)
    by_place = 1 - np.arange(n) / max(n, 1)
    s_fa, s_cb = np.empty(n), np.empty(n)
    s_fa[parts["fa"].rows] = parts["fa"].score if combine == "score" else by_place
    s_cb[parts["cb"].rows] = parts["cb"].score if combine == "score" else by_place
    score = lam * s_fa + (1 - lam) * s_cb
    rows = order_by_score(score, tie_keys(ids, seed))
    return Ranking(rows, score[rows], n, meta=dict(parts["fa"].meta))


METHOD = Method(
    name="fa-cb",
    title="Activation/balance hybrid (FA/CB)",
    source="core-set paper, section III-F, Eq. 4",
    function=fa_cb,
    needs=("counts", "embeddings"),
    parts=("fa", "cb"),
)
