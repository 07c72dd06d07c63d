"""Sampling designs: inclusion probabilities, the total from a draw, and the errors of both.

Tiles are drawn in proportion to a size, ideally the root of the expected squared value of the tile
(Sarndal, Swensson and Wretman 1992, section 12.2; IS-Count, Meng et al. 2022, draws in proportion
to a covariate; DISCount, Perez et al. 2024, to the counts of a detector). Because of a floor, every
tile can be drawn, and its weight is at most 1 / floor times the weight of a uniform draw.

If there is an expected value for every tile, the total is the sum of the expected values, scaled by
the sample, plus the weighted errors of the drawn tiles: the ratio form of the regression estimator
(Sarndal et al. 1992, section 7.3). Wrong expectations widen the interval but do not invalidate it;
the bias of the scale is small relative to the error, and decreases with the number of tiles.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe._check import finite
from foveate.observe.options import FLOOR
from foveate.seeds import rng
from foveate.stats.sampling import Estimate, draw, inclusion_probabilities, total, total_difference

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_MIN_TILES = 2  # to estimate a variance


@dataclass(frozen=True, eq=False)
class Design:
    """A sampling design: inclusion probabilities and expected values.

    Attributes:
        probabilities: (N,) in (0, 1]; their sum is the number of tiles to draw.
        expected: (N,) >= 0, proportional to the expected value of each tile; None if unknown.
        most: (N,) > 0, largest possible value of each tile, inf if unknown; values are then >= 0,
            and estimates keep to what is possible. None: values may be any numbers.
    """

    probabilities: NDArray[np.float64]
    expected: NDArray[np.float64] | None = None
    most: NDArray[np.float64] | None = None

    @property
    def n(self) -> int:
        """Number of tiles to draw."""
        return round(float(self.probabilities.sum()))

    def draw(self, seed: int, number: int = 0) -> NDArray[np.int64]:
        """Return (n,) sorted rows; each `number` is an independent draw with the same seed."""
        return draw(self.probabilities, rng(seed, f"observe/estimate/{number}"))

    def total(
        self, rows: NDArray[np.integer], values: ArrayLike, confidence: float = 0.95
    ) -> Estimate:
        """Estimate the total from the drawn tiles.

        Args:
            rows: (n,) rows of the drawn tiles.
            values: (n,) their values.
            confidence: Confidence level of the interval, 0 to 1.

        Raises:
            DataError: Values are not finite, or not one per row.
            ParameterError: The confidence level is out of range.
        """
        pi, y = self.probabilities[rows], finite(values, "values", (len(rows),))
        predicted = 0.0 if self.expected is None else float((self.expected[rows] / pi).sum())
        if self.expected is None or not predicted > 0:
            found = total(y, pi, confidence=confidence)
        else:
            scale = float((y / pi).sum()) / predicted
            found = total_difference(y, pi, rows, scale * self.expected, confidence=confidence)
        return found if self.most is None else self._possible(found, rows, y, confidence)

    def _possible(
        self, found: Estimate, rows: NDArray[np.integer], y: NDArray[np.float64], confidence: float
    ) -> Estimate:  # fmt: skip
        """Limit an estimate to totals that are possible given the drawn tiles.

        The drawn tiles contain their values, and the others at most `most`. If all drawn values are
        0, or all are the largest, the estimated variance is 0 or nearly 0, whatever the others
        hold. The interval then includes as many tiles of another kind as a draw misses with a
        probability of at least 1 - confidence. Inclusions of different tiles are not positively
        correlated, so (1 - min pi)^m is an upper bound of the probability of missing m tiles.
        """
        assert self.most is not None  # noqa: S101  (checked by the caller)
        left = np.delete(self.most, rows)
        low, high = float(y.sum()), float(y.sum() + left.sum())
        ends = np.clip([found.total, found.low, found.high], low, high)
        none, full = not y.any(), bool(np.allclose(y, self.most[rows], rtol=1e-9, atol=0))
        if left.size and (none or full):
            smallest = float(np.delete(self.probabilities, rows).min())
            missed = int(np.log(1 - confidence) / np.log1p(-min(smallest, 1 - 1e-9)))
            hidden = float(np.sort(left)[max(0, left.size - missed) :].sum())
            # Without a largest value nothing is known about what was missed.
            if none and np.isfinite(hidden):
                ends[2] = max(ends[2], hidden)
            elif full:
                ends[1] = min(ends[1], high - hidden)
        return Estimate(float(ends[0]), float(ends[1]), float(ends[2]), found.standard_error)


def design(
    size: ArrayLike, n: int, *, expected: ArrayLike | None = None, floor: float = FLOOR,
    most: NDArray[np.float64] | None = None,
) -> Design:  # fmt: skip
    """Compute the inclusion probabilities of a sampling design.

    Args:
        size: (N,) >= 0, the probabilities are proportional to it.
        n: Number of tiles to draw, 2 to N.
        expected: (N,) >= 0, proportional to the expected value of each tile, or None.
        floor: Smallest probability as a share of n / N, in (0, 1]; 1 is a uniform draw.
        most: See `Design`.

    Raises:
        ParameterError: The number of tiles or the floor is out of range.
        DataError: Sizes or expected values are negative or not finite.
    """
    s = finite(size, "sizes", (None,))
    if not _MIN_TILES <= n <= s.size:
        raise ParameterError(
            f"{n} of {s.size} tiles to draw",
            f"The number of tiles must be at least {_MIN_TILES} (for an interval) and at most "
            f"{s.size}.",
            "Use another --budget.",
        )
    if not 0 < floor <= 1:
        raise ParameterError(
            f"a floor of {floor}",
            "The floor, a share of a uniform draw, must be > 0 and <= 1.",
            "For example --floor 0.3.",
        )
    checked = None if expected is None else finite(expected, "expected values", s.shape)
    if checked is not None and (checked < 0).any():
        raise DataError(f"an expected value of {checked.min():g}", "Expected values must be >= 0.")
    return Design(inclusion_probabilities(s, n, floor=floor * n / s.size), checked, most)


@dataclass(frozen=True)
class DesignErrors:
    """Comparison of repeated estimates with the true total.

    Attributes:
        repeats: Number of draws.
        coverage: Share of the intervals that contain the true total.
        relative_error: Root mean square error divided by the true total; None if that is 0.
        bias: Mean error divided by the true total; None if that is 0.
        relative_width: Mean half width of the intervals divided by the true total; None if that
            is 0.
        mean_square_error: Mean square error, in the square of the unit.
    """

    repeats: int
    coverage: float
    relative_error: float | None
    bias: float | None
    relative_width: float | None
    mean_square_error: float


def evaluate_design(
    plan: Design, truth: ArrayLike, repeats: int, *, confidence: float = 0.95, seed: int = 0
) -> DesignErrors:
    """Evaluate a design by repeated draws with known true values.

    Args:
        plan: The design.
        truth: (N,) true value of each tile.
        repeats: Number of draws, at least 1; the first is the draw of `estimate`.
        confidence: Confidence level of the intervals, 0 to 1.
        seed: Seed of the draws.

    Raises:
        ParameterError: The number of draws is less than 1.
        DataError: True values are not finite, or not one per tile.
    """
    if repeats < 1:
        raise ParameterError(
            f"{repeats} repeats", "At least one draw is required.", "For example --repeats 200."
        )
    y = finite(truth, "true values", plan.probabilities.shape)
    true_total, estimates = float(y.sum()), []
    for number in range(repeats):
        rows = plan.draw(seed, number)
        estimates.append(plan.total(rows, y[rows], confidence))
    error = np.array([e.total for e in estimates]) - true_total
    width = np.array([e.high - e.low for e in estimates]) / 2
    # Allow for rounding: a census sums the values in another order.
    slack = 1e-9 * abs(true_total)
    covered = [e.low - slack <= true_total <= e.high + slack for e in estimates]
    square = float((error**2).mean())
    return DesignErrors(
        repeats, float(np.mean(covered)),
        *(v / true_total if true_total else None for v in (square**0.5, float(error.mean()))),
        float(width.mean()) / true_total if true_total else None, square,
    )  # fmt: skip


def compare(
    plan: Design, truth: ArrayLike, repeats: int, *, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Compare a design with a uniform draw of the same number of tiles.

    Args:
        plan: The design.
        truth: (N,) true value of each tile.
        repeats: Number of draws of each design.
        confidence: Confidence level of the intervals, 0 to 1.
        seed: Seed of the draws.

    Returns:
        "design" and "even": results of `evaluate_design`; "variance_ratio": the mean square error
        of the uniform draw divided by that of the design, higher is better; None if the error of
        the design is 0.
    """
    size = len(plan.probabilities)
    even = Design(np.full(size, plan.n / size), most=plan.most)
    ours, others = (
        evaluate_design(d, truth, repeats, confidence=confidence, seed=seed) for d in (plan, even)
    )
    ratio = others.mean_square_error / ours.mean_square_error if ours.mean_square_error else None
    return {"design": asdict(ours), "even": asdict(others), "variance_ratio": ratio}
