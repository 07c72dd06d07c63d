"""Totals of a population from a random sample with known inclusion probabilities.

The total over the best tiles of a policy, scaled up, is biased. A sample in which row i has the
inclusion probability pi_i gives an unbiased total with an interval, for any pi_i from any model.

Design: randomised systematic sampling (Hartley and Rao 1962), with a fixed sample size, exact
pi_i, and a single pass. Estimator: Horvitz and Thompson 1952. Variance: Hajek 1964, which needs no
joint probabilities and is valid for designs of high entropy such as this one (Berger 1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.stats._check import confident, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SLACK = 1e-6  # allowed difference of the sum of probabilities from an integer
_ROUNDING = 1e-9
_CERTAIN = 1 - _ROUNDING  # rows from here on are always drawn, so rounding cannot draw them twice


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated total, in the unit of the values.

    Attributes:
        total: The estimate.
        low: Lower bound of the confidence interval.
        high: Upper bound of the confidence interval.
        standard_error: Square root of the estimated variance.
    """

    total: float
    low: float
    high: float
    standard_error: float


def inclusion_probabilities(size: ArrayLike, n: int, *, floor: float = 0.0) -> NDArray[np.float64]:
    """Compute probabilities proportional to size that sum to n, each from `floor` to 1.

    pi_i = min(max(c * size_i, floor), 1) with c such that the sum is n. c is found iteratively by
    fixing the bound with the larger total violation (Bitran and Hax 1981).

    Args:
        size: (N,) finite, >= 0; ideally proportional to the values.
        n: Rows to draw, 1 to N.
        floor: Smallest probability. With 0, rows of size 0 are never drawn and the total does not
            include them. Otherwise every row can be drawn, with a weight of at most 1 / floor.

    Returns:
        (N,) float64. With a floor, and n above the limit of the bounds, rows with a size have
        probability 1, and rows of size 0 share the remainder equally.

    Raises:
        DataError: Sizes are negative, not finite or empty.
        ParameterError: n is more than the rows that can be drawn, or the floor is above n / N.
    """
    s = vector(size, "sizes")
    if s.min() < 0:
        raise DataError(f"a size of {s.min():g}", "Sizes must be >= 0.")
    s = s / (s.max() or 1)
    free = s > 0
    sized, unsized = int(free.sum()), int((~free).sum())
    maximum = s.size if floor > 0 else sized
    if not 1 <= n <= maximum:
        raise ParameterError(
            f"{n} rows to draw",
            f"Of {s.size} rows, {sized} with a size above 0, 1 to {maximum} can be drawn.",
            "" if floor > 0 else "Use a floor above 0 to include rows of size 0.",
        )
    if not 0 <= floor * s.size <= n * (1 + _ROUNDING):
        raise ParameterError(
            f"a floor of {floor}",
            f"For {n} of {s.size} rows the floor must be from 0 to {n / s.size:g}.",
        )
    if n >= sized + floor * unsized:
        return np.where(free, 1.0, (n - sized) / max(unsized, 1))
    pi = np.full(s.size, float(floor))
    remaining = n - floor * unsized
    while True:
        rows = np.flatnonzero(free)
        share = remaining * s[rows] / s[rows].sum()
        over, under = share > 1, share < floor
        excess, deficit = (share[over] - 1).sum(), (floor - share[under]).sum()
        if excess == deficit:
            pi[rows] = np.clip(share, floor, 1)
            return pi
        fixed, bound = (over, 1.0) if excess > deficit else (under, floor)
        pi[rows[fixed]] = bound
        free[rows[fixed]] = False
        remaining -= bound * int(fixed.sum())


def draw(probabilities: ArrayLike, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw rows with inclusion probabilities pi_i.

    Systematic sampling: the rows are intervals of length pi_i in random order, and the sample is
    the rows hit by a grid of spacing 1 with a random start.

    Args:
        probabilities: (N,) from 0 to 1, with an integer sum; see `inclusion_probabilities`.
        rng: Random generator.

    Returns:
        (n,) int64 sorted rows; n is the sum of the probabilities. Rows with probability 1 are
        always drawn, rows with probability 0 never.

    Raises:
        DataError: A probability is out of range, or the sum is not an integer.
    """
    pi = vector(probabilities, "probabilities")
    total = pi.sum()
    if pi.min() < 0 or pi.max() > 1 or abs(total - round(total)) > _SLACK:
        raise DataError(
            f"probabilities from {pi.min():g} to {pi.max():g} with the sum {total:.6f}",
            "Probabilities must be 0 to 1, and their sum an integer, the number of rows to draw.",
            "Compute them with inclusion_probabilities.",
        )
    certain = np.flatnonzero(pi >= _CERTAIN)
    random = rng.permutation(np.flatnonzero((pi > 0) & (pi < _CERTAIN)))
    count = round(total) - certain.size
    if count == 0:
        return certain
    ends = np.cumsum(pi[random])
    points = (rng.random() + np.arange(count)) * (ends[-1] / count)
    hit = np.minimum(np.searchsorted(ends, points, side="right"), random.size - 1)
    return np.sort(np.concatenate([certain, random[hit]]))


def total(
    values: ArrayLike,
    probabilities: ArrayLike,
    *,
    population: int | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the total of a population from the drawn rows.

    Horvitz and Thompson 1952: sum of y_i / pi_i, unbiased. With `population` the ratio estimator
    (Hajek 1971): N * sum(y_i / pi_i) / sum(1 / pi_i). It is slightly biased, and much better if the
    values are not proportional to the probabilities.

    Variance: sum of c_i * (y_i / pi_i - A)^2 with c_i = (1 - pi_i) * m / (m - 1) and A the mean of
    y_i / pi_i weighted by c_i, over the m rows with pi_i < 1 (Hajek 1964); for the ratio, of the
    residuals from the mean (Sarndal et al. 1992, section 5.7). The interval is Student's with m - 1
    degrees of freedom. It is too narrow for few rows with very skewed values, and its width is 0 if
    all values are 0, which does not prove that the total is 0.

    Args:
        values: (n,) value of each drawn row.
        probabilities: (n,) inclusion probability of each drawn row, in (0, 1].
        population: N, the number of rows of the population; None for the unbiased total.
        confidence: Confidence level of the interval, 0 to 1.

    Raises:
        DataError: Shapes do not match, values are not finite, a probability is out of range, or
            only one row was drawn at random, so that the variance is unknown.
        ParameterError: The population is smaller than the sample, or the confidence level is out of
            range.
    """
    y = vector(values, "values")
    pi = _drawn_with(probabilities, y.size)
    estimate, scale = (y / pi).sum(), 1.0
    if population is not None:
        if population < y.size:
            raise ParameterError(
                f"a population of {population} for a sample of {y.size}",
                "The population must not be smaller than the sample.",
            )
        size = (1 / pi).sum()
        scale = population / size
        y = y - estimate / size
        estimate *= scale
    return _estimate(float(estimate), scale**2 * _variance(y, pi), pi, confidence)


def total_difference(
    values: ArrayLike,
    probabilities: ArrayLike,
    rows: ArrayLike,
    predictions: ArrayLike,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate a total with a prediction for every row.

    The difference estimator (Sarndal, Swensson and Wretman 1992, section 6.3): the sum of all
    predictions plus `total` of the residuals of the drawn rows. It is unbiased for any predictions
    that do not depend on the draw; better predictions give a narrower interval.

    Args:
        values: (n,) value of each drawn row.
        probabilities: (n,) inclusion probability of each drawn row, in (0, 1].
        rows: (n,) integer, the drawn rows of the population.
        predictions: (N,) prediction of each row of the population.
        confidence: Confidence level of the interval, 0 to 1.

    Raises:
        DataError: See `total`; or a row is outside the population or repeated.
        ParameterError: The confidence level is out of range.
    """
    y, predicted = vector(values, "values"), vector(predictions, "predictions")
    index = np.asarray(rows)
    if index.shape != y.shape or not np.issubdtype(index.dtype, np.integer):
        raise DataError(
            f"row numbers of shape {index.shape} and type {index.dtype} for {y.size} values",
            "Expected one integer per value.",
        )
    distinct = np.unique(index).size
    if index.min() < 0 or index.max() >= predicted.size or distinct < index.size:
        raise DataError(
            f"{distinct} different rows, {index.min()} to {index.max()}, for {y.size} values",
            f"Rows must be distinct and from 0 to {predicted.size - 1}.",
        )
    pi = _drawn_with(probabilities, y.size)
    residual = y - predicted[index]
    estimate = float(predicted.sum() + (residual / pi).sum())
    return _estimate(estimate, _variance(residual, pi), pi, confidence)


def _drawn_with(probabilities: ArrayLike, n: int) -> NDArray[np.float64]:
    pi = vector(probabilities, "probabilities", n)
    if pi.min() <= 0 or pi.max() > 1:
        raise DataError(
            f"probabilities from {pi.min():g} to {pi.max():g}",
            "Inclusion probabilities of drawn rows must be > 0 and <= 1.",
        )
    return pi


def _variance(y: NDArray[np.float64], pi: NDArray[np.float64]) -> float:
    """Return Hajek's variance of sum(y / pi)."""
    uncertain = pi < _CERTAIN
    m = int(uncertain.sum())
    if m == 0:
        return 0.0
    if m == 1:
        raise DataError(
            "one row drawn at random",
            "The variance needs at least two rows drawn at random.",
            "Draw more rows, or all rows.",
        )
    expanded, c = (y / pi)[uncertain], (1 - pi[uncertain]) * m / (m - 1)
    return float((c * (expanded - np.average(expanded, weights=c)) ** 2).sum())


def _estimate(
    value: float, variance: float, pi: NDArray[np.float64], confidence: float
) -> Estimate:
    from scipy.special import stdtrit

    error = variance**0.5
    degrees = max(int((pi < _CERTAIN).sum()) - 1, 1)
    half_width = float(stdtrit(degrees, (1 + confident(confidence)) / 2)) * error
    return Estimate(value, value - half_width, value + half_width, error)
