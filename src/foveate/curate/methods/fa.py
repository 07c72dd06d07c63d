"""FA, feature activation: core-set paper, section III-D, Eq. 2.

Patches score high if their features are large on average and vary strongly between dimensions:
gamma = -(1 - mu) log(sigma), s = 1 - minmax(gamma). Choices that the paper does not specify:

- "Scaled to (0, 1]" is division by the maximum over the pool: the differences between the lowest
  published scores match that, and not min-max with an offset. The base of the logarithm and the
  degrees of freedom of sigma cancel.
- sigma = 0 would give log 0: such patches get the smallest positive sigma of the pool.
- If all gamma are equal, every patch scores 1.
- "0" and "equal" have a tolerance of 1e-9, because min-max would amplify rounding errors.
- Only features after a ReLU are non-negative. Others are transformed as given by ``negative``;
  "abs" and "relu" do not change non-negative features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import DataError
from foveate.registry import check_choice
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray


_BLOCK = 8192
_EQUAL = 1e-9


def fa(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    negative: str = "abs",
) -> Ranking:
    """Rank by feature activation.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; read in blocks.
        seed: Breaks ties.
        negative: Transform of negative features: "abs" (magnitude), "relu" (clip at 0), "softplus"
            (log(1 + e^f), which also changes positive features, and is the only transform that
            depends on the scale of the features), "error" (raise an error).

    Returns:
        Full ranking, scores in [0, 1]. ``meta`` contains the maxima and extremes of the pool, to
        score new patches.

    Raises:
        ParameterError: `negative` is unknown.
        DataError: There are negative features, and `negative` is "error".
    """
    mean, std = _moments(embeddings, negative)
    top_mean, top_std = float(mean.max(initial=0)), float(std.max(initial=0))
    mu = mean / top_mean if top_mean > 0 else np.ones_like(mean)
    sigma = std / top_std if top_std > 0 else np.ones_like(std)
    positive = sigma[sigma > 0]
    sigma = np.maximum(sigma, positive.min() if positive.size else 1.0)
    gamma = -(1 - mu) * np.log(sigma)
    low, high = float(gamma.min(initial=np.inf)), float(gamma.max(initial=-np.inf))
    spread = high - low > _EQUAL
    score = 1 - (gamma - low) / (high - low) if spread else np.ones_like(gamma)
    rows = order_by_score(score, tie_keys(ids, seed))
    meta = {"max_mean": top_mean, "max_std": top_std, "min_gamma": low, "max_gamma": high}
    return Ranking(rows, score[rows], len(ids), meta=meta if len(ids) else {})


def _moments(
    x: NDArray[np.floating], negative: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and standard deviation of each row, (n,) float64 each."""
    check_choice("negative", negative, ("abs", "relu", "softplus", "error"))
    mean, std = np.empty(len(x)), np.empty(len(x))
    for start in range(0, len(x), _BLOCK):
        # C order fixes the order of summation, also for transposed views.
        block = np.array(x[start : start + _BLOCK], dtype=np.float64, order="C")
        if negative == "error" and (block < 0).any():
            raise DataError(
                f"{int((block < 0).any(axis=1).sum())} or more embeddings have negative features",
                "Feature activation is defined for non-negative features (after a ReLU).",
                "Use negative='abs', 'relu' or 'softplus', or a model with ReLU features.",
            )
        if negative == "softplus":
            block = np.logaddexp(0, block)
        else:
            block = np.abs(block) if negative == "abs" else np.maximum(block, 0)
        mean[start : start + _BLOCK] = block.mean(axis=1)
        std[start : start + _BLOCK] = block.std(axis=1)
    std[std <= _EQUAL * np.abs(mean)] = 0
    return mean, std


METHOD = Method(
    name="fa",
    title="Feature activation (FA)",
    source="core-set paper, section III-D, Eq. 2",
    function=fa,
    needs=("embeddings",),
    presets={"paper": {"negative": "error"}, "released": {"negative": "error"}},
)
