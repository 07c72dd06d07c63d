"""Selection of regions by score: the best K, the best prefix, greedy, or a weighted sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foveate import seeds
from foveate.select.sampling import order_by_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.focus.config import SearchMethod
    from foveate.focus.score import Scorer


EQUAL = 1e-4  # importance differences below this are treated as ties


@dataclass(frozen=True)
class RegionSet:
    """Selected regions, in the order of selection.

    Attributes:
        rows: (k,) int64 regions, best first; samples are in the order of their first draw.
        weight: (k,) float64 weights of Theorem 5.1, or None for equal ones.
        epsilon: Signed relative difference of the losses of the set and the image: by Eq. 2 with
            weights, by section 4.2 without.
        ok: Whether the constraints on the area and on epsilon are satisfied.
        drawn: Whether it is a sample; only then is the weighted mean of the regions an estimate
            of the mean over the image.
    """

    rows: NDArray[np.int64]
    weight: NDArray[np.float64] | None
    epsilon: float
    ok: bool
    drawn: bool = False


def choose(
    scorer: Scorer,
    most: int,
    ties: NDArray[np.uint64],
    *,
    method: SearchMethod = "top",
    area: float = np.inf,
    epsilon: float = 0.98,
    one_sided: bool = False,
    allowed: NDArray[np.bool_] | None = None,
    rng: np.random.Generator | None = None,
) -> RegionSet:
    """Select regions and check that they are a coreset.

    Args:
        scorer: Scores of n regions.
        most: Maximum number of regions, K.
        ties: (n,) uint64 keys that break ties.
        method: "top": the K regions of the highest importance (the paper). "prefix": the prefix
            of them with the highest joint importance. "greedy": one by one, each time the region
            that maximises the importance of the set. "importance": drawn with replacement in
            proportion to ``s = 1 + S``, with the weights of `coreset_weights`.
        area: Maximum area of the set, in the units of the additive model.
        epsilon: Limit on ``|L(X) - L(X_s)| / L(X)``, for "importance" with the losses of Eq. 2.
            A "prefix" that violates it is extended by the next best regions within `most` and
            `area`.
        one_sided: Whether a loss below that of the image always satisfies the limit.
        allowed: (n,) bool mask of selectable regions; None for all.
        rng: Generator for "importance".

    Returns:
        The selection, with at least one region; `ok` is False if a limit is violated.
    """
    n = len(scorer.model)
    allowed = np.ones(n, bool) if allowed is None else allowed
    score = np.where(allowed, scorer.single_importance, np.nan)
    order = by_importance(score, ties)[: int(allowed.sum())]
    within = order[_fitting(scorer.sizes[order], area)]
    fits = bool(within.size)
    if not fits:  # no cell is small enough yet: use the best one until the search refines it
        within = order[:1]
    weight = None
    if method == "greedy":
        rows = _greedy(scorer, order, most, ties, area)
    elif method == "importance":
        rows, weight = _sample(scorer, within, most, rng or seeds.rng(0, "focus/sample"))
    else:
        rows = top = within[:most]
        if method == "prefix":
            best = int(scorer.importance(_prefixes(top, n)).argmax()) + 1
            ok = _bounded(scorer.epsilon(_prefixes(top, n)), epsilon, one_sided=one_sided)
            extended = np.flatnonzero(ok[best - 1 :])
            rows = top[: best + int(extended[0]) if extended.size else best]
    if weight is None:
        value = float(scorer.epsilon(_mask(rows, n)[None])[0])
    else:
        value = scorer.weighted_epsilon(rows, weight)
    ok = fits and bool(_bounded(value, epsilon, one_sided=one_sided))
    return RegionSet(rows, weight, value, ok, weight is not None)


def choose_coreset(
    scorer: Scorer,
    most: int,
    ties: NDArray[np.uint64],
    *,
    area: float = np.inf,
    epsilon: float = 0.98,
    one_sided: bool = False,
    allowed: NDArray[np.bool_] | None = None,
    grow: bool = True,
) -> RegionSet:
    """Select the K best regions, and add the next best until they are a coreset by Eq. 2.

    Section 4.2 of the paper: the top K, verified to satisfy ``|L(X) - L(X_s)| <= epsilon L(X)``.
    The loss of the set has the weights of Theorem 5.1, ``v = S / (m s)``, with ``s = 1 + S(r)``
    (the theorem requires s > 1), P the area, and m the number of regions.

    Args:
        scorer: Scores of n regions.
        most: K, the initial number of regions.
        ties: (n,) uint64 keys that break ties.
        area: Maximum area of the set, in the units of the additive model.
        epsilon: Threshold of the check.
        one_sided: Whether a loss below that of the image always passes the check.
        allowed: (n,) bool mask of selectable regions; None for all.
        grow: Whether more than K regions may be selected.

    Returns:
        The first set that passes the check; if none does, the K best with `ok` False.
    """
    n = len(scorer.model)
    allowed = np.ones(n, bool) if allowed is None else allowed
    score = np.where(allowed, scorer.single_importance, np.nan)
    order = by_importance(score, ties)[: int(allowed.sum())]
    within = order[_fitting(scorer.sizes[order], area)]
    if not within.size:  # no cell is small enough yet: use the best one until the search refines it
        return replace(_weighted_set(scorer, order[:1], epsilon, one_sided=one_sided), ok=False)
    first = min(most, within.size)
    sets = (
        _weighted_set(scorer, within[:k], epsilon, one_sided=one_sided)
        for k in range(first, (within.size if grow else first) + 1)
    )
    best = next(sets)
    return best if best.ok else next((regions for regions in sets if regions.ok), best)


def _weighted_set(
    scorer: Scorer, rows: NDArray[np.int64], epsilon: float, *, one_sided: bool
) -> RegionSet:
    measure = scorer.model.area / scorer.model.area.sum()
    weight = coreset_weights(1 + scorer.single_importance, measure, rows.size)[rows]
    value = scorer.weighted_epsilon(rows, weight)
    return RegionSet(rows, weight, value, bool(_bounded(value, epsilon, one_sided=one_sided)))


def coreset_weights(
    sensitivity: NDArray[np.floating], measure: NDArray[np.floating], m: int
) -> NDArray[np.float64]:
    """Return the weights of Theorem 5.1 for regions drawn in proportion to their sensitivity.

    ``v(x) = S / (m s(x))`` with ``S = sum_x s(x) P(x)``: the weighted sum over m draws with
    replacement from ``q(x) = s(x) P(x) / S`` is an unbiased estimate of the mean over P. The
    estimate is unbiased for a sample only, not for the K best regions.

    Args:
        sensitivity: (n,) s > 0; the theorem requires s > 1.
        measure: (n,) P, sums to 1.
        m: Number of draws.

    Returns:
        (n,) weights of one draw of each region.
    """
    s = np.asarray(sensitivity, np.float64)
    return float(s @ measure) / (m * s)


def _greedy(
    scorer: Scorer, order: NDArray[np.int64], most: int, ties: NDArray[np.uint64], area: float
) -> NDArray[np.int64]:
    n, size = len(scorer.model), scorer.sizes
    rows: list[int] = []
    left = order.tolist()
    while len(rows) < most:
        room = area * (1 + 1e-9) - size[rows].sum()
        left = [row for row in left if size[row] <= room]
        if not left:
            break
        sets = np.zeros((len(left), n), bool)
        sets[:, rows] = True
        sets[np.arange(len(left)), left] = True
        value = scorer.importance(sets)
        best = int(by_importance(value, ties[left])[0])
        rows.append(left.pop(best))
    return np.array(rows or order[:1], np.int64)


def _sample(
    scorer: Scorer, order: NDArray[np.int64], most: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    measure = scorer.model.area[order] / scorer.model.area[order].sum()
    s = 1 + scorer.single_importance[order]
    density = s * measure
    drawn = rng.choice(order.size, most, replace=True, p=density / density.sum())
    first, count = np.unique(drawn, return_index=True)[1], np.bincount(drawn, minlength=order.size)
    distinct = drawn[np.sort(first)]
    return order[distinct], (coreset_weights(s, measure, most) * count)[distinct]


def by_importance(score: NDArray[np.floating], ties: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Sort regions by decreasing importance, ties within `EQUAL` by increasing key.

    Another batch size changes the last digits of float32 features. Importance is therefore
    rounded to `EQUAL`, so that the seeded keys break ties instead of rounding errors.
    """
    return order_by_score(np.round(np.asarray(score, np.float64) / EQUAL), ties)


def _fitting(area: NDArray[np.floating], limit: float) -> NDArray[np.bool_]:
    """Return the mask of regions taken in order, skipping each that exceeds the remaining area."""
    taken, left = np.zeros(len(area), bool), limit * (1 + 1e-9)
    for i, one in enumerate(area):
        if one <= left:
            taken[i], left = True, left - one
    return taken


def _bounded(
    value: NDArray[np.float64] | float, limit: float, *, one_sided: bool
) -> NDArray[np.bool_]:
    difference = np.asarray(value)
    return (difference if one_sided else np.abs(difference)) <= limit


def _prefixes(order: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    sets = np.zeros((order.size, n), bool)
    for i, row in enumerate(order):
        sets[i:, row] = True
    return sets


def _mask(rows: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    mask = np.zeros(n, bool)
    mask[rows] = True
    return mask
