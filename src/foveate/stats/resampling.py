"""Cluster bootstrap of means and paired differences.

Rows of one cluster (tiles of a scene, queries of a concept) are not independent. Resampling rows
would overstate the evidence; resampling whole clusters with replacement does not (Davison and
Hinkley 1997, section 3.8; Field and Welsh 2007).
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
FEWEST = 6  # minimum clusters: a sign test of 5 clusters with equal signs has p = 0.06
_BLOCK = 1 << 22  # cluster numbers in memory at once: 32 MiB


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
        low: Lower bound of the confidence interval.
        high: Upper bound of the confidence interval.
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
    """Compute the percentile interval of a mean with a cluster bootstrap (Efron 1979).

    Each resample has the original number of clusters; its mean is over rows, so large clusters have
    more weight. With few clusters (below about 20) the interval is too narrow.

    Args:
        values: (n,) finite values.
        clusters: (n,) cluster label of each row; None: each row is a cluster.
        draws: Number of resamples.
        seed: Seed of the resamples.
        confidence: Confidence level of the two-sided interval, 0 to 1.

    Raises:
        ParameterError: The number of draws or the confidence level is out of range.
        DataError: Shapes do not match, values are not finite, or there is only one cluster.
    """
    x = vector(values, "values")
    means = _means(x, clusters, draws, seed)
    low, high = _bounds(means, confidence)
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
    """Compute the mean of a - b with its interval, see `bootstrap_mean`, and p-value.

    The p-value is consistent with the interval: twice the smaller share of resamples on one side of
    0, with one added to the count so that it is never 0 (Davison and Hinkley 1997, chapter 4).

    Args:
        a: (n,) values of one method.
        b: (n,) values of the other method, for the same rows.
        clusters: (n,) cluster label of each row; None: each row is a cluster.
        draws: Number of resamples.
        seed: Seed of the resamples; with one seed, the resampled clusters are the same for any two
            methods.
        confidence: Confidence level of the interval, 0 to 1.

    Raises:
        ParameterError: The number of draws or the confidence level is out of range.
        DataError: Shapes do not match, values are not finite, or there is only one cluster.
    """
    first = vector(a, "values")
    gap = first - vector(b, "values", first.size)
    means = _means(gap, clusters, draws, seed)
    low, high = _bounds(means, confidence)
    count = 1 + min(int((means <= 0).sum()), int((means >= 0).sum()))
    return Difference(float(gap.mean()), low, high, min(1.0, 2 * count / (draws + 1)))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for the number of comparisons (Holm 1979).

    The i-th smallest of m p-values is multiplied by m - i + 1; the results are monotone and at most
    1. Rejecting those below alpha controls the family-wise error rate at alpha.

    Args:
        p: (m,) p-values.

    Returns:
        (m,) float64 adjusted p-values, in the order of `p`.

    Raises:
        DataError: A p-value is NaN, below 0 or above 1.
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise DataError(
            f"p-values {values.tolist()}",
            "Expected a one-dimensional array of numbers from 0 to 1.",
        )
    order = np.argsort(values, kind="stable")
    multiplied = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(multiplied), 1)
    return adjusted


def verdict(
    difference: Difference, p: float, clusters: int
) -> Literal["better", "worse", "tied", "open"]:
    """Return the verdict on a paired difference.

    Args:
        difference: The difference with its interval.
        p: Its p-value, adjusted for the number of comparisons (`holm`).
        clusters: Number of clusters of the bootstrap.

    Returns:
        "tied" if the interval contains 0; "open" if it does not, but the adjusted p-value is above
        `ALPHA`, or there are fewer clusters than `FEWEST`; otherwise "better" or "worse".
    """
    if difference.low <= 0 <= difference.high:
        return "tied"
    if p > ALPHA or clusters < FEWEST:
        return "open"
    return "better" if difference.mean > 0 else "worse"


def _means(
    values: NDArray[np.float64], clusters: ArrayLike | None, draws: int, seed: int
) -> NDArray[np.float64]:
    """Return the (draws,) means of the resamples."""
    if draws < 1:
        raise ParameterError(
            f"{draws} draws", "At least one draw is required.", "For example draws=2000."
        )
    labels = np.arange(values.size) if clusters is None else np.asarray(clusters)
    if labels.shape != values.shape:
        raise DataError(
            f"clusters of shape {labels.shape} for {values.size} values",
            "Expected one label per value.",
        )
    names, member = np.unique(labels, return_inverse=True)
    if names.size < 2:
        raise DataError(
            f"{values.size} values of one cluster", "A bootstrap needs at least two clusters."
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


def _bounds(means: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    tail = (1 - confident(confidence)) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
