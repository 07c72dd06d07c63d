"""The figures of the report: pure functions on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from foveate.stats import entropy

if TYPE_CHECKING:
    from numpy.typing import NDArray


def overlapping(scene: NDArray[np.int64], windows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which tiles share a pixel with another tile of the same scene.

    Args:
        scene: (k,) scene of each tile.
        windows: (k, 4) ``y, x, h, w`` in pixels.

    Returns:
        (k,) bool.
    """
    found = np.zeros(scene.size, dtype=bool)
    for code in np.unique(scene):
        rows = np.flatnonzero(scene == code)
        rows = rows[np.lexsort((windows[rows, 1], windows[rows, 0]))]
        y, x, h, w = windows[rows].T
        # Sorted by y, only the next few tiles start above this one's lower edge.
        reach = np.searchsorted(y, y + h) - np.arange(y.size)
        for step in range(1, int(reach.max(initial=1))):
            a, b = slice(None, -step), slice(step, None)
            touch = (y[b] < y[a] + h[a]) & (x[b] < x[a] + w[a]) & (x[a] < x[b] + w[b])
            found[rows[a][touch]] = True
            found[rows[b][touch]] = True
    return found


class Balance(NamedTuple):
    """Classes of a selection against the pool.

    Attributes:
        pool: (C,) share of each class in the pool.
        kept: (C,) share of each class in the selection.
        factor: (C,) kept / pool; NaN for a class that the pool does not have.
        entropy_pool: Normalised entropy of `pool`; 1 = all classes equal.
        entropy_kept: The same of `kept`.
        rarest: The rarest class that the pool has, or -1.
    """

    pool: NDArray[np.float64]
    kept: NDArray[np.float64]
    factor: NDArray[np.float64]
    entropy_pool: float
    entropy_kept: float
    rarest: int


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
    """Scores of a pool in equal bins.

    Attributes:
        low: Lowest score.
        high: Highest score.
        all: (bins,) number of tiles.
        kept: (bins,) number of picks.
        line: Score of the last pick, where the budget ends; NaN if it has none.
        unscored: Tiles without a score.
        places: Whether the scores are nothing but places in the order.
    """

    low: float
    high: float
    all: NDArray[np.int64]
    kept: NDArray[np.int64]
    line: float
    unscored: int
    places: bool


def histogram(
    score: NDArray[np.float64], picks: NDArray[np.int64], bins: int = 40
) -> Histogram | None:
    """Bin the scores; None when there are none.

    Args:
        score: (n,) with NaN where there is none.
        picks: (k,) rows in the order of choice.
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
    """Whether the sorted values are equally spaced: places, not measurements."""
    if values.size < 3:
        return False
    steps = np.diff(np.sort(values))
    return bool(steps.max() - steps.min() < 1e-6 * max(float(np.ptp(values)), 1e-300))


def consensus(n: int, picks: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return (n,): by how many of the selections each tile was chosen."""
    votes = np.zeros(n, dtype=np.int64)
    for rows in picks:
        votes[rows] += 1
    return votes
