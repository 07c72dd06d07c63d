"""Totals of a population from a random sample with known probabilities.

What a policy likes best says nothing about the rest: the total over chosen tiles, scaled up, is
biased. A sample in which row i had the probability pi_i to be drawn gives an unbiased total with an
interval, whatever the pi are and whatever model set them.

Design: randomised systematic sampling (Hartley and Rao 1962): the number of rows is fixed, each pi
is met exactly, and one pass draws. Estimator: Horvitz and Thompson 1952. Variance: Hajek's (1964),
which needs no joint probabilities and holds for designs of high entropy such as this one (Berger
1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.stats._check import confident, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SLACK = 1e-6  # by how much probabilities may miss a whole sum
_ROUNDING = 1e-9
_CERTAIN = 1 - _ROUNDING  # from here on a row is drawn for sure: rounding must not draw it twice


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated total, in the unit of the values.

    Attributes:
        total: The estimate.
        low: Lower end of the confidence interval.
        high: Upper end.
        standard_error: Square root of the estimated variance.
    """

    total: float
    low: float
    high: float
    standard_error: float


def inclusion_probabilities(size: ArrayLike, n: int, *, floor: float = 0.0) -> NDArray[np.float64]:
    """Probabilities in proportion to size that sum to n, each from `floor` to 1.

    pi_i = min(max(c * size_i, floor), 1) with the c that makes the sum n. c is found by settling,
    in each turn, the bound that is broken by more in total (Bitran and Hax 1981).

    Args:
        size: (N,) finite, >= 0: what the values are thought to be in proportion to.
        n: Rows to draw, 1 to N.
        floor: Smallest probability. With 0, rows of size 0 are never drawn: a total says nothing
            about them. With more, every row counts, and no value is scaled by more than 1 / floor.

    Returns:
        (N,) float64. With a floor, and n above what the bounds allow, every row with a size has 1,
        and those of size 0 share the rest alike.

    Raises:
        DataError: Sizes are negative, not finite or none.
        ParameterError: n is more than can be drawn, or the floor more than n / N.
    """
    s = vector(size, "sizes")
    if s.min() < 0:
        raise DataError(f"a size of {s.min():g}", "Sizes are 0 or more.")
    s = s / (s.max() or 1)
    free = s > 0
    sized, unsized = int(free.sum()), int((~free).sum())
    most = s.size if floor > 0 else sized
    if not 1 <= n <= most:
        raise ParameterError(
            f"{n} rows to draw",
            f"Of {s.size} rows, {sized} with a size above 0, 1 to {most} can be drawn.",
            "" if floor > 0 else "Give a floor above 0 to let rows of size 0 be drawn.",
        )
    if not 0 <= floor * s.size <= n * (1 + _ROUNDING):
        raise ParameterError(
            f"a floor of {floor}", f"{n} of {s.size} rows allow 0 to {n / s.size:g}."
        )
    if n >= sized + floor * unsized:
        return np.where(free, 1.0, (n - sized) / max(unsized, 1))
    pi = np.full(s.size, float(floor))
    left = n - floor * unsized
    while True:
        rows = np.flatnonzero(free)
        share = left * s[rows] / s[rows].sum()
        over, under = share > 1, share < floor
        above, below = (share[over] - 1).sum(), (floor - share[under]).sum()
        if above == below:
            pi[rows] = np.clip(share, floor, 1)
            return pi
        settled, bound = (over, 1.0) if above > below else (under, floor)
        pi[rows[settled]] = bound
        free[rows[settled]] = False
        left -= bound * int(settled.sum())


def draw(probabilities: ArrayLike, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw rows so that row i is among them with probability pi_i.

    The rows are laid end to end in random order, each as long as its pi; a comb with teeth 1 apart
    and a random start picks those that it hits.

    Args:
        probabilities: (N,) from 0 to 1, with a whole sum; see `inclusion_probabilities`.
        rng: Source of randomness.

    Returns:
        (n,) int64 rows, rising; n is the sum of the probabilities. Rows with 1 are always there,
        rows with 0 never.

    Raises:
        DataError: A probability is not one, or the sum is not whole.
    """
    pi = vector(probabilities, "probabilities")
    total = pi.sum()
    if pi.min() < 0 or pi.max() > 1 or abs(total - round(total)) > _SLACK:
        raise DataError(
            f"probabilities from {pi.min():g} to {pi.max():g} with the sum {total:.6f}",
            "Each is 0 to 1, and the sum is the whole number of rows to draw.",
            "Make them with inclusion_probabilities.",
        )
    certain = np.flatnonzero(pi >= _CERTAIN)
    rest = rng.permutation(np.flatnonzero((pi > 0) & (pi < _CERTAIN)))
    teeth = round(total) - certain.size
    if teeth == 0:
        return certain
    ends = np.cumsum(pi[rest])
    at = (rng.random() + np.arange(teeth)) * (ends[-1] / teeth)
    hit = np.minimum(np.searchsorted(ends, at, side="right"), rest.size - 1)
    return np.sort(np.concatenate([certain, rest[hit]]))


def total(
    values: ArrayLike,
    probabilities: ArrayLike,
    *,
    population: int | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the total of a population from the rows that were drawn.

    Horvitz and Thompson 1952: sum of y_i / pi_i, unbiased. With `population` the ratio estimator
    (Hajek 1971): N * sum(y_i / pi_i) / sum(1 / pi_i). It is slightly biased, and much better where
    the values are not in proportion to the probabilities.

    Variance: sum of c_i * (y_i / pi_i - A)^2 with c_i = (1 - pi_i) * m / (m - 1) and A the mean of
    y_i / pi_i weighted by c_i, over the m rows with pi_i < 1 (Hajek 1964); for the ratio, of the
    residuals from the mean (Sarndal et al. 1992, section 5.7). The interval is Student's with m - 1
    degrees of freedom; it is too short for few rows of very skewed values, and has no length if
    all values are 0: then nothing was found, which is no proof that there is nothing.

    Args:
        values: (n,) value of each row that was drawn.
        probabilities: (n,) the probability with which it was drawn, above 0 to 1.
        population: N, all rows that could be drawn; None for the unbiased total.
        confidence: Of the interval, 0 to 1.

    Raises:
        DataError: Shapes do not match, numbers are not finite, a probability is not one, or only
            one row was drawn by chance, which leaves the variance unknown.
        ParameterError: The population is smaller than the sample, or the confidence impossible.
    """
    y = vector(values, "values")
    pi = _drawn_with(probabilities, y.size)
    estimate, scale = (y / pi).sum(), 1.0
    if population is not None:
        if population < y.size:
            raise ParameterError(
                f"a population of {population} for a sample of {y.size}",
                "It counts all rows that could be drawn.",
            )
        seen = (1 / pi).sum()
        scale = population / seen
        y = y - estimate / seen
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
    """Estimate a total with the help of a prediction for every row.

    The difference estimator (Sarndal, Swensson and Wretman 1992, section 6.3): the sum of all
    predictions plus `total` of the residuals that were drawn. It is unbiased for any predictions
    that do not depend on the draw; good ones make the interval short.

    Args:
        values: (n,) value of each row that was drawn.
        probabilities: (n,) the probability with which it was drawn, above 0 to 1.
        rows: (n,) integer, which rows of the population these are.
        predictions: (N,) prediction of each row of the population.
        confidence: Of the interval, 0 to 1.

    Raises:
        DataError: As in `total`, or a row is not in the population, or there twice.
        ParameterError: The confidence is impossible.
    """
    y, known = vector(values, "values"), vector(predictions, "predictions")
    at = np.asarray(rows)
    if at.shape != y.shape or not np.issubdtype(at.dtype, np.integer):
        raise DataError(
            f"row numbers of shape {at.shape} and type {at.dtype} for {y.size} values",
            "There is one integer a value.",
        )
    if at.min() < 0 or at.max() >= known.size or np.unique(at).size < at.size:
        raise DataError(
            f"{np.unique(at).size} different rows, {at.min()} to {at.max()}, for {y.size} values",
            f"They are different rows, 0 to {known.size - 1}.",
        )
    pi = _drawn_with(probabilities, y.size)
    residual = y - known[at]
    estimate = float(known.sum() + (residual / pi).sum())
    return _estimate(estimate, _variance(residual, pi), pi, confidence)


def _drawn_with(probabilities: ArrayLike, n: int) -> NDArray[np.float64]:
    pi = vector(probabilities, "probabilities", n)
    if pi.min() <= 0 or pi.max() > 1:
        raise DataError(
            f"probabilities from {pi.min():g} to {pi.max():g}",
            "A row that was drawn had a probability above 0 and at most 1.",
        )
    return pi


def _variance(y: NDArray[np.float64], pi: NDArray[np.float64]) -> float:
    """Hajek's variance of sum(y / pi)."""
    chance = pi < _CERTAIN
    m = int(chance.sum())
    if m == 0:
        return 0.0
    if m == 1:
        raise DataError(
            "one row that was drawn by chance",
            "The variance is estimated from two or more.",
            "Draw more rows, or all of them.",
        )
    expanded, c = (y / pi)[chance], (1 - pi[chance]) * m / (m - 1)
    return float((c * (expanded - np.average(expanded, weights=c)) ** 2).sum())


def _estimate(
    value: float, variance: float, pi: NDArray[np.float64], confidence: float
) -> Estimate:
    from scipy.special import stdtrit

    error = variance**0.5
    freedom = max(int((pi < _CERTAIN).sum()) - 1, 1)
    reach = float(stdtrit(freedom, (1 + confident(confidence)) / 2)) * error
    return Estimate(value, value - reach, value + reach, error)
