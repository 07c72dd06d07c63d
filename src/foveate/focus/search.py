"""From scores to a set of regions: the best K, the best prefix, greedy, or a weighted sample."""

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


EQUAL = 1e-4  # difference of importance that says nothing


@dataclass(frozen=True)
class RegionSet:
    """Regions in the order of choice.

    Attributes:
        rows: (k,) int64 regions, best first; of a sample, in the order of their first draw.
        weight: (k,) float64 weights of Theorem 5.1, or None for equal ones.
        epsilon: Relative difference of the set's loss from the image's, with its sign. Of regions
            with weights by Eq. 2; else by section 4.2, without weights.
        ok: Whether that meets the limit.
        drawn: Whether it is a sample: only then do the weights make a mean of the regions one of
            the image.
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
    """Choose regions and check that they are a coreset.

    Args:
        scorer: Scores of n regions.
        most: Largest number of regions.
        ties: (n,) uint64 keys that decide between equal scores.
        method: "top": the K regions of the highest importance (the paper). "prefix": as many of
            them as have the highest importance together. "greedy": one after the other, each
            the one with which the set's importance is highest. "importance": drawn with
            replacement in proportion to ``s = 1 + S``, with the weights of `coreset_weights`.
        area: Largest area of the set, in the units of the additive model.
        epsilon: Limit on ``|L(X) - L(X_s)| / L(X)``, for "importance" with the losses of Eq. 2.
            A "prefix" that misses it gets the next best regions as long as `most` and `area`
            allow it.
        one_sided: Whether a lower loss than the image's always meets the limit.
        allowed: (n,) bool regions to choose from; all when None.
        rng: For "importance".

    Returns:
        The choice, of one region at least; `ok` is False where a limit could not be met.
    """
    n = len(scorer.model)
    free = np.ones(n, bool) if allowed is None else allowed
    score = np.where(free, scorer.single_importance, np.nan)
    order = by_importance(score, ties)[: int(free.sum())]
    within = order[_fitting(scorer.sizes[order], area)]
    small = bool(within.size)
    if not small:  # finer cells may fit: until there are, the best one stands for them
        within = order[:1]
    weight = None
    if method == "greedy":
        rows = _greedy(scorer, order, most, ties, area)
    elif method == "importance":
        rows, weight = _sample(scorer, within, most, rng or seeds.rng(0, "focus/sample"))
    else:
        reach = within[:most]
        rows = reach
        if method == "prefix":
            best = int(scorer.importance(_prefixes(reach, n)).argmax()) + 1
            found = _bounded(scorer.epsilon(_prefixes(reach, n)), epsilon, one_sided=one_sided)
            good = np.flatnonzero(found[best - 1 :])
            rows = reach[: best + int(good[0]) if good.size else best]
    if weight is None:
        value = float(scorer.epsilon(_mask(rows, n)[None])[0])
    else:
        value = scorer.weighted_epsilon(rows, weight)
    ok = small and bool(_bounded(value, epsilon, one_sided=one_sided))
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
    """Choose the K best regions, and more of them until they are a coreset by Eq. 2.

    Section 4.2 of the paper: the top K, verified to meet ``|L(X) - L(X_s)| <= epsilon L(X)``. The
    loss of the set has the weights of Theorem 5.1, ``v = S / (m s)``, with ``s = 1 + S(r)`` (the
    theorem wants s > 1), P the area, and m the number of regions.

    Args:
        scorer: Scores of n regions.
        most: K, where the choice starts.
        ties: (n,) uint64 keys that decide between equal scores.
        area: Largest area of the set, in the units of the additive model.
        epsilon: Limit of the check.
        one_sided: Whether a lower loss than the image's always meets it.
        allowed: (n,) bool regions to choose from; all when None.
        grow: Whether more than K may be chosen.

    Returns:
        The first set that meets the limit; the K best, with `ok` False, where none does.
    """
    n = len(scorer.model)
    free = np.ones(n, bool) if allowed is None else allowed
    score = np.where(free, scorer.single_importance, np.nan)
    order = by_importance(score, ties)[: int(free.sum())]
    within = order[_fitting(scorer.sizes[order], area)]
    if not within.size:  # finer cells may fit: until there are, the best one stands for them
        return replace(_weighted_set(scorer, order[:1], epsilon, one_sided=one_sided), ok=False)
    first = min(most, within.size)
    sets = (
        _weighted_set(scorer, within[:k], epsilon, one_sided=one_sided)
        for k in range(first, (within.size if grow else first) + 1)
    )
    best = next(sets)
    return best if best.ok else next((found for found in sets if found.ok), best)


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
    weights belong to a sample; put on the K best regions they are biased.

    Args:
        sensitivity: (n,) s > 0; the theorem wants s > 1.
        measure: (n,) P, sums to 1.
        m: Number of draws.

    Returns:
        (n,) weight of one draw of each region.
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
    chance = s * measure
    drawn = rng.choice(order.size, most, replace=True, p=chance / chance.sum())
    first, times = np.unique(drawn, return_index=True)[1], np.bincount(drawn, minlength=order.size)
    places = drawn[np.sort(first)]
    return order[places], (coreset_weights(s, measure, most) * times)[places]


def by_importance(score: NDArray[np.floating], ties: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Sort regions by falling importance; those that are equal to `EQUAL` by rising key.

    A batch of another size changes features in the last digits of float32: what differs by less
    is equal, and the seeded keys decide, not the rounding.
    """
    return order_by_score(np.round(np.asarray(score, np.float64) / EQUAL), ties)


def _fitting(area: NDArray[np.floating], limit: float) -> NDArray[np.bool_]:
    """Say which regions of an order are taken under an area: each that still fits."""
    found, left = np.zeros(len(area), bool), limit * (1 + 1e-9)
    for i, one in enumerate(area):
        if one <= left:
            found[i], left = True, left - one
    return found


def _bounded(
    value: NDArray[np.float64] | float, limit: float, *, one_sided: bool
) -> NDArray[np.bool_]:
    size = np.asarray(value)
    return (size if one_sided else np.abs(size)) <= limit


def _prefixes(order: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    sets = np.zeros((order.size, n), bool)
    for i, row in enumerate(order):
        sets[i:, row] = True
    return sets


def _mask(rows: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    found = np.zeros(n, bool)
    found[rows] = True
    return found
