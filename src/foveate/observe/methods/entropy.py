"""LR entropy: see in high resolution where low resolution leaves the concepts open.

Uncertainty sampling (Lewis and Gale 1994) on what the LR fill says: the sum over concepts of the
entropy of yes or no. It asks what LR doubts, not what HR would add: what neither of them can tell
comes first too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.observe.methods._concepts import weights_of
from foveate.observe.methods.base import Policy
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.progress import ProgressFn


def lr_entropy(
    *,
    ids: NDArray[np.str_],
    probabilities: NDArray[np.float64],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one sort)
    weights: Sequence[float] | None = None,
) -> Ranking:
    """Rank by the entropy of what LR says.

    Args:
        ids: (n,) str.
        probabilities: (n, K) of each concept from LR.
        seed: Breaks ties.
        progress: Not used.
        weights: (K,) weight of each concept, >= 0; ones when None.

    Returns:
        Full ranking; scores in bits, 0 to the sum of the weights.

    Raises:
        DataError: Not K weights.
        ParameterError: A negative weight.
    """
    w = weights_of(weights, probabilities.shape[1])
    both = np.stack([probabilities, 1 - probabilities])
    bits = -(both * np.log2(np.where(both > 0, both, 1))).sum(axis=0)
    score = (bits * w).sum(axis=1)
    rows = order_by_score(score, tie_keys(ids, seed))
    return Ranking(rows, score[rows], len(ids))


POLICY = Policy(
    name="lr-entropy",
    title="Entropy of LR",
    source="Lewis and Gale 1994, section 3; on the LR fill",
    function=lr_entropy,
    needs=("probabilities",),
)
