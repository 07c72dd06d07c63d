"""Statistics of the report: pure functions on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import gammaln

from foveate.stats import entropy

if TYPE_CHECKING:
    from numpy.typing import NDArray


def overlaps(scene: NDArray[np.int64], windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count, for each tile, the other tiles of its scene that share a pixel with it.

    Args:
        scene: (k,) scene of each tile.
        windows: (k, 4) ``y, x, h, w`` in pixels.

    Returns:
        (k,) int64.
    """
    found = np.zeros(scene.size, dtype=np.int64)
    if not scene.size:
        return found
    order = np.lexsort((windows[:, 1], windows[:, 0], scene))
    y, x, h, w = windows[order].T
    # Sorted by scene and y, only the next `reach` tiles start above the lower edge of a tile. One
    # key for both keeps the scenes apart without a loop over them.
    height = int((y + h).max()) + 1
    key = scene[order] * height + y
    reach = np.searchsorted(key, key + h) - np.arange(key.size)
    touching = np.zeros_like(found)
    live, step = np.flatnonzero(reach > 1), 1
    while live.size:
        other = live + step
        touch = (x[other] < x[live] + w[live]) & (x[live] < x[other] + w[other])
        touching[live[touch]] += 1
        touching[other[touch]] += 1
        step += 1
        live = live[reach[live] > step]
    found[order] = touching
    return found


def overlap_by_chance(degree: NDArray[np.int64], k: int) -> float:
    """Return the expected share of k random picks that overlap another of the picks.

    A pick that overlaps d tiles of a pool of n overlaps none of the other k - 1 picks with
    probability C(n - 1 - d, k - 1) / C(n - 1, k - 1).

    Args:
        degree: (n,) from `overlaps` over the whole pool.
        k: Number of picks.
    """
    n = degree.size
    if n < 2 or k < 2:
        return 0.0
    value, times = np.unique(degree, return_counts=True)
    alone = np.zeros(value.size)
    fits = value <= n - k
    d = value[fits].astype(np.float64)
    log = gammaln(n - d) - gammaln(n - d - k + 1) - gammaln(n) + gammaln(n - k + 1)
    alone[fits] = np.exp(log)
    return float((times * (1 - alone)).sum() / n)


class Balance(NamedTuple):
    """Classes of a selection against the pool."""

    pool: NDArray[np.float64]  # (C,) share of each class in the pool
    kept: NDArray[np.float64]  # (C,) share of each class in the selection
    factor: NDArray[np.float64]  # (C,) kept / pool; NaN for a class that is not in the pool
    entropy_pool: float  # normalised entropy of `pool`; 1 = all classes equal
    entropy_kept: float  # the same of `kept`
    rarest: int  # the rarest class of the pool, or -1


def balance(counts: NDArray[np.int64], picks: NDArray[np.int64]) -> Balance:
    """Compare the class shares of `picks` with those of all rows.

    Args:
        counts: (n, C) pixels per class.
        picks: (k,) rows.
    """
    total, chosen = counts.sum(axis=0), counts[picks].sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        pool, kept = total / total.sum(), chosen / chosen.sum()
        factor = np.where(total > 0, kept / pool, np.nan)
    there = np.flatnonzero(total > 0)
    rarest = int(there[total[there].argmin()]) if there.size else -1
    return Balance(pool, kept, factor, float(entropy(total)), float(entropy(chosen)), rarest)


class Histogram(NamedTuple):
    """Scores of a pool in equal bins."""

    low: float  # lowest score
    high: float  # highest score
    all: NDArray[np.int64]  # (bins,) number of tiles
    kept: NDArray[np.int64]  # (bins,) number of picks
    line: float  # score of the last pick, where the budget ends; NaN if it has no score
    unscored: int  # tiles without a score
    places: bool  # whether the scores are positions in the order


def histogram(
    score: NDArray[np.float64], picks: NDArray[np.int64], bins: int = 40
) -> Histogram | None:
    """Bin the scores; None when there are none.

    Args:
        score: (n,), NaN where missing.
        picks: (k,) rows in the order of selection.
        bins: Number of bins.
    """
    known = np.isfinite(score)
    if not known.any():
        return None
    values = score[known]
    low, high = float(values.min()), float(values.max())
    chosen = score[picks][np.isfinite(score[picks])]
    span = (low, high if high > low else low + 1)
    return Histogram(
        low, high,
        np.histogram(values, bins, span)[0],
        np.histogram(chosen, bins, span)[0],
        float(chosen.min()) if chosen.size else float("nan"),
        int((~known).sum()),
        _is_even(values),
    )  # fmt: skip


def _is_even(values: NDArray[np.float64]) -> bool:
    """Whether the sorted values are equally spaced: positions, not measurements."""
    if values.size < 3 or not np.ptp(values) > 0:
        return False
    steps = np.diff(np.sort(values))
    return bool(steps.max() - steps.min() < 1e-6 * float(np.ptp(values)))


def consensus(n: int, picks: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the (n,) number of selections that contain each tile."""
    votes = np.zeros(n, dtype=np.int64)
    for rows in picks:
        votes[rows] += 1
    return votes


def votes_by_chance(n: int, sizes: list[int]) -> NDArray[np.float64]:
    """Return the expected number of tiles selected 0, 1 ... M times by independent methods.

    Args:
        n: Number of tiles of the pool.
        sizes: Size of each of the M selections.

    Returns:
        (M + 1,) expected number of tiles; sums to n.
    """
    chance = np.array([1.0])
    for size in sizes:
        p = size / n if n else 0.0
        chance = np.convolve(chance, [1 - p, p])
    return chance * n
