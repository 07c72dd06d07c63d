"""How sure a mean is, and a difference of two: the bootstrap, whole clusters at a time.

Rows of one cluster (tiles of a scene, queries of a concept) are not independent. Drawing rows
would take them for more evidence than they are; drawing whole clusters with replacement does not
(Davison and Hinkley 1997, section 3.8; Field and Welsh 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.seeds import rng
from foveate.stats._check import confident, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

ALPHA = 0.05
FEWEST = 6  # clusters: of 5 that all point one way, a sign test says p = .06
_BLOCK = 1 << 22  # cluster numbers held at once: 32 MiB


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean paired difference a - b.

    Attributes:
        mean: Mean of a - b over all rows.
        low: Lower end of the confidence interval.
        high: Upper end.
        p: Two-sided p-value of no difference, at least 2 / (draws + 1).
    """

    mean: float
    low: float
    high: float
    p: float


def bootstrap_mean(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of a mean, by drawing whole clusters (Efron 1979).

    As many clusters are drawn as there are; the mean of a draw is over its rows, so a large
    cluster weighs more. With few clusters (below about 20) the interval is too narrow.

    Args:
        values: (n,) finite values.
        clusters: (n,) label of each row's cluster; each row is its own when None.
        draws: Resamples.
        seed: Seed of the draws.
        confidence: Of the interval, 0 to 1, both ends alike.

    Raises:
        ParameterError: Draws or confidence are not possible.
        DataError: Shapes do not match, values are not finite, or all rows are one cluster.
    """
    x = vector(values, "values")
    means = _means(x, clusters, draws, seed)
    low, high = _ends(means, confidence)
    return Interval(float(x.mean()), low, high)


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Difference:
    """Mean of a - b with its interval, see `bootstrap_mean`, and a p-value.

    The p-value is the one that fits the interval: twice the smaller share of draws on one side of
    0, each count plus one so that no p-value is 0 (Davison and Hinkley 1997, chapter 4).

    Args:
        a: (n,) values of one method.
        b: (n,) values of the other, of the same rows.
        clusters: (n,) label of each row's cluster; each row is its own when None.
        draws: Resamples.
        seed: Seed of the draws: under one seed, clusters are drawn alike for any two methods.
        confidence: Of the interval, 0 to 1.

    Raises:
        ParameterError: Draws or confidence are not possible.
        DataError: Shapes do not match, values are not finite, or all rows are one cluster.
    """
    first = vector(a, "values")
    gap = first - vector(b, "values", first.size)
    means = _means(gap, clusters, draws, seed)
    low, high = _ends(means, confidence)
    beyond = 1 + min(int((means <= 0).sum()), int((means >= 0).sum()))
    return Difference(float(gap.mean()), low, high, min(1.0, 2 * beyond / (draws + 1)))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for the number of comparisons (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1; none falls below a smaller one, none is
    above 1. Rejecting those below alpha errs once or more with probability alpha at most.

    Args:
        p: (m,) p-values.

    Returns:
        (m,) float64 adjusted p-values, in the order given.

    Raises:
        DataError: A p-value is NaN, below 0 or above 1.
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise DataError(f"p-values {values.tolist()}", "They are a row of numbers, each 0 to 1.")
    order = np.argsort(values, kind="stable")
    raised = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return adjusted


def verdict(
    difference: Difference, p: float, clusters: int
) -> Literal["better", "worse", "tied", "open"]:
    """Say in a word what a paired difference shows.

    Args:
        difference: With its interval.
        p: Its p-value, adjusted for the number of comparisons (`holm`).
        clusters: Clusters that were drawn.

    Returns:
        "tied" where the interval contains 0; "open" where it does not, but the adjusted p-value is
        above `ALPHA`, or there are fewer clusters than `FEWEST`; else "better" or "worse".
    """
    if difference.low <= 0 <= difference.high:
        return "tied"
    if p > ALPHA or clusters < FEWEST:
        return "open"
    return "better" if difference.mean > 0 else "worse"


def _means(
    values: NDArray[np.float64], clusters: ArrayLike | None, draws: int, seed: int
) -> NDArray[np.float64]:
    """Mean of each resample: (draws,)."""
    if draws < 1:
        raise ParameterError(f"{draws} draws", "At least one is needed.", "2000 are usual.")
    labels = np.arange(values.size) if clusters is None else np.asarray(clusters)
    if labels.shape != values.shape:
        raise DataError(
            f"clusters of shape {labels.shape} for {values.size} values",
            "There is one label a value.",
        )
    names, member = np.unique(labels, return_inverse=True)
    if names.size < 2:
        raise DataError(
            f"{values.size} values of one cluster", "A bootstrap needs two clusters or more."
        )
    sums, sizes = np.bincount(member, values), np.bincount(member)
    stream = rng(seed, "stats/bootstrap")
    means = np.empty(draws)
    step = max(_BLOCK // names.size, 1)
    for start in range(0, draws, step):
        part = means[start : start + step]
        drawn = stream.integers(names.size, size=(part.size, names.size))
        part[:] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return means


def _ends(means: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    tail = (1 - confident(confidence)) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
