"""Untrained baseline policies.

Random tiles (cross-scale paper, section 5.4.1): the order does not depend on scenes, so the number
of tiles per scene varies at a budget; the uniform policy distributes them evenly.

Uniform: an even grid at any budget, since every prefix is even. Within a scene, tiles are ordered
by frac(row / p + col / p^2 + shift), p the plastic number (1.3247): the tiles below any threshold
of such a mask are evenly spaced (Roberts 2018, the R2 sequence as a dither mask), on grids of any
size. Across scenes, the key of the tile of rank r among the n tiles of a scene is (r + u) / n, with
u evenly spaced over scenes: a budget of a share of all tiles is the same share of each scene, to
one tile.

Covariate: IS-Count, Meng et al. 2022. Night lights, population or built-up area indicate where
objects are. IS-Count draws with replacement; here each tile can be acquired once, so each draw is
in proportion to the weights of the remaining tiles (Efraimidis and Spirakis 2006, with the keys
log w + Gumbel). Tiles of weight 0 come last. For totals with an interval draw with
`foveate.stats.sampling`: a ranking has no inclusion probabilities that are known.

LR entropy: uncertainty sampling (Lewis and Gale 1994) on the LR fill, the sum over concepts of the
binary entropy. It prefers tiles that are uncertain from LR, which HR may not resolve either.

SAR, scale-aware recognition (Revankar et al. 2025): the disagreement of two models on LR. The
inputs of a student distilled from the HR model and of a model trained on LR are both LR; if they
disagree, HR is assumed to add information. Only concepts that need HR are used; in the paper a
language model chooses them, here the caller does. Deviation: disagreement is the mean absolute
difference of probabilities, so that tiles have an order at any budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe._check import finite
from foveate.observe.scoring.policies import Policy, rank_by
from foveate.seeds import rng, tie_keys
from foveate.select.shuffle import shuffled
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.progress import ProgressFn


def weights_of(weights: Sequence[float] | None, concepts: int) -> NDArray[np.float64]:
    """Return (K,) validated weights; ones if None.

    Raises:
        DataError: The shape is not (K,), or values are not finite.
        ParameterError: A weight is negative.
    """
    if weights is None:
        return np.ones(concepts)
    checked = finite(weights, "weights", (concepts,))
    if (checked < 0).any():
        raise ParameterError(f"a weight of {checked.min():g}", "Weights must be >= 0.")
    return checked


_PLASTIC = 1.324717957244746  # the real root of p^3 = p + 1


def uniform(
    *,
    ids: NDArray[np.str_],
    place: NDArray[np.int64],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (two sorts)
) -> Ranking:
    """Rank so that the tiles of every prefix are evenly spaced.

    Args:
        ids: (n,) str.
        place: (n, 3) int64 scene number, row, column.
        seed: Seed of the offset of the mask of each scene, of the order of scenes, and of ties.
        progress: Not used.

    Returns:
        Full ranking; scores 1 - r / n.
    """
    n = len(ids)
    scene, row, col = place.T
    scenes = int(scene.max(initial=-1)) + 1
    shift = rng(seed, "uniform/shift").random(scenes)
    turn = (rng(seed, "uniform/scenes").permutation(scenes) + 0.5) / max(scenes, 1)
    mask = np.mod(row / _PLASTIC + col / _PLASTIC**2 + shift[scene], 1)
    ties = tie_keys(ids, seed)
    inside = np.lexsort((ties, mask, scene))
    size = np.bincount(scene, minlength=scenes)
    first = np.cumsum(size) - size
    within = np.empty(n, np.int64)
    within[inside] = np.arange(n) - first[scene[inside]]
    rows = np.lexsort((ties, (within + turn[scene]) / size[scene]))
    return Ranking(rows, 1 - np.arange(n) / max(n, 1), n)


_BITS = 52  # bits of a hash that are used, so that the uniform number is below 1


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
        covariate: (n,) >= 0; multiply densities by the area of the tile first.
        seed: Seed of draws and ties. The draw of a tile depends on its id, not on other tiles.
        progress: Not used.
        deterministic: Sort by the covariate instead of random draws.

    Returns:
        Full ranking; scores 1 - r / n, or the covariate.
    """
    if deterministic:
        return rank_by(covariate, ids, seed)
    n = len(ids)
    draw = (tie_keys(ids, seed, "covariate/draw") >> np.uint64(64 - _BITS)) + 0.5
    gumbel = -np.log(-np.log(draw / 2.0**_BITS))
    with np.errstate(divide="ignore"):
        rows = rank_by(np.log(covariate) + gumbel, ids, seed).rows
    return Ranking(rows, 1 - np.arange(n) / max(n, 1), n)


def lr_entropy(
    *,
    ids: NDArray[np.str_],
    probabilities: NDArray[np.float64],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one sort)
    weights: Sequence[float] | None = None,
) -> Ranking:
    """Rank by the entropy of concept probabilities predicted from LR.

    Args:
        ids: (n,) str.
        probabilities: (n, K) probabilities of the concepts from LR.
        seed: Seed of ties.
        progress: Not used.
        weights: (K,) weight of each concept, >= 0; None: ones.

    Returns:
        Full ranking; scores in bits, 0 to the sum of the weights.

    Raises:
        DataError: The number of weights is not K.
        ParameterError: A weight is negative.
    """
    w = weights_of(weights, probabilities.shape[1])
    both = np.stack([probabilities, 1 - probabilities])
    bits = -(both * np.log2(np.where(both > 0, both, 1))).sum(axis=0)
    score = (bits * w).sum(axis=1)
    return rank_by(score, ids, seed)


def sar(
    *,
    ids: NDArray[np.str_],
    student: NDArray[np.float64],
    teacher: NDArray[np.float64],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one sort)
    weights: Sequence[float] | None = None,
    needs_hr: Sequence[bool] | None = None,
) -> Ranking:
    """Rank by the disagreement of two models on LR.

    Args:
        ids: (n,) str.
        student: (n, K) probabilities of a student of the HR model, from LR.
        teacher: (n, K) probabilities of the LR model.
        seed: Seed of ties.
        progress: Not used.
        weights: (K,) weight of each concept, >= 0; None: ones.
        needs_hr: (K,) False for concepts that are visible in LR, which are ignored. None: all
            concepts need HR.

    Returns:
        Full ranking; scores in [0, 1], all 0 if every concept is ignored.

    Raises:
        DataError: The numbers of concepts of models and options differ.
        ParameterError: A weight is negative.
    """
    if student.shape != teacher.shape:
        raise DataError(
            f"a student of {student.shape[1]} concepts and a teacher of {teacher.shape[1]}",
            "Both must predict the same concepts in the same order.",
        )
    concepts = student.shape[1]
    w = weights_of(weights, concepts)
    if needs_hr is not None:
        mask = np.asarray(needs_hr)
        if mask.shape != (concepts,) or mask.dtype != bool:
            raise DataError(
                f"needs_hr of shape {mask.shape} and dtype {mask.dtype}",
                f"Expected one bool for each of {concepts} concepts.",
            )
        w = w * mask
    score = (np.abs(teacher - student) * w).sum(axis=1) / (w.sum() or 1)
    return rank_by(score, ids, seed)


RANDOM = Policy("random", "Random", "cross-scale paper, section 5.4.1", shuffled)
UNIFORM = Policy(
    "uniform", "Even grid", "not in the paper; Roberts 2018, R2 as a dither mask", uniform,
    ("place",),
)  # fmt: skip
COVARIATE = Policy(
    "covariate", "In proportion to a covariate", "Meng et al. 2022, IS-Count, section 4", covariate,
    ("covariate",),
)  # fmt: skip
LR_ENTROPY = Policy(
    "lr-entropy", "Entropy of LR", "Lewis and Gale 1994, section 3; on the LR fill", lr_entropy,
    ("probabilities",),
)  # fmt: skip
SAR = Policy(
    "sar", "Disagreement of two models (SAR)", "Revankar et al. 2025, scale-aware recognition", sar,
    ("student", "teacher"),
)  # fmt: skip
