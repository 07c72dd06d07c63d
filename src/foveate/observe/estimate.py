"""How much there is in all tiles, from a few that were drawn with known probabilities.

Tiles are drawn in proportion to a size, which is best the root of what the square of a tile's value
is expected to be (Sarndal, Swensson and Wretman 1992, section 12.2; IS-Count, Meng et al. 2022,
draws in proportion to a covariate; DISCount, Perez et al. 2024, to what a detector counts). A floor
lets every tile be drawn: none is scaled by more than 1 / floor of what an even draw would do.

Where a value is expected of every tile, the total is the sum of what is expected, brought to scale
by the draw, plus the scaled errors of the tiles that were drawn: the ratio form of the regression
estimator (Sarndal et al. 1992, section 7.3). Wrong expectations make the interval long, not wrong;
the bias of the scale is small beside the error, and falls with the number of tiles.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe._check import finite
from foveate.observe.jobs import FLOOR
from foveate.seeds import rng
from foveate.stats.sampling import (
    Estimate,
    draw,
    inclusion_probabilities,
    total,
    total_difference,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

_LEAST = 2  # tiles that tell a variance


@dataclass(frozen=True, eq=False)
class Design:
    """Which tile is drawn with which probability, and what is expected of it.

    Attributes:
        probabilities: (N,) above 0, to 1; their sum is the number of tiles to draw.
        expected: (N,) >= 0, in proportion to what each tile is thought to hold; None for no idea.
    """

    probabilities: NDArray[np.float64]
    expected: NDArray[np.float64] | None = None

    @property
    def n(self) -> int:
        """Number of tiles to draw."""
        return round(float(self.probabilities.sum()))

    def draw(self, seed: int, number: int = 0) -> NDArray[np.int64]:
        """Return (n,) rows, rising; another number is another draw under the same seed."""
        return draw(self.probabilities, rng(seed, f"observe/estimate/{number}"))

    def total(
        self, rows: NDArray[np.integer], values: ArrayLike, confidence: float = 0.95
    ) -> Estimate:
        """Estimate the total from the tiles that were drawn.

        Args:
            rows: (n,) which tiles.
            values: (n,) what they hold.
            confidence: Of the interval, 0 to 1.

        Raises:
            DataError: Values that are not finite, or not one a row.
            ParameterError: The confidence is impossible.
        """
        pi, y = self.probabilities[rows], finite(values, "values", (len(rows),))
        guessed = 0.0 if self.expected is None else float((self.expected[rows] / pi).sum())
        if self.expected is None or not guessed > 0:
            return total(y, pi, confidence=confidence)
        scale = float((y / pi).sum()) / guessed
        return total_difference(y, pi, rows, scale * self.expected, confidence=confidence)


def design(
    size: ArrayLike, n: int, *, expected: ArrayLike | None = None, floor: float = FLOOR
) -> Design:
    """Set the probabilities of a draw.

    Args:
        size: (N,) >= 0, to which probabilities are in proportion.
        n: Tiles to draw, 2 to N.
        expected: (N,) >= 0, in proportion to what each tile is thought to hold, or None.
        floor: Smallest probability as a share of n / N, above 0 up to 1 (an even draw).

    Raises:
        ParameterError: Too few or too many tiles, or an impossible floor.
        DataError: Sizes or expectations are negative or not finite.
    """
    s = finite(size, "sizes", (None,))
    if not _LEAST <= n <= s.size:
        raise ParameterError(
            f"{n} of {s.size} tiles to draw",
            f"An interval takes {_LEAST} or more, and there are no more than {s.size}.",
            "Use another --budget.",
        )
    if not 0 < floor <= 1:
        raise ParameterError(
            f"a floor of {floor}", "It is a share of an even draw, above 0 up to 1.", "--floor 0.3"
        )
    guess = None if expected is None else finite(expected, "expected values", s.shape)
    if guess is not None and (guess < 0).any():
        raise DataError(f"an expected value of {guess.min():g}", "There cannot be less than 0.")
    return Design(inclusion_probabilities(s, n, floor=floor * n / s.size), guess)


def estimate(
    size: ArrayLike,
    n: int,
    look: Callable[[NDArray[np.int64]], ArrayLike],
    *,
    expected: ArrayLike | None = None,
    floor: float = FLOOR,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Draw tiles, look at them, and estimate the total of all.

    Args:
        size: (N,) >= 0, to which probabilities are in proportion.
        n: Tiles to draw.
        look: From (n,) rows to (n,) values; it is asked once, for the tiles that are drawn.
        expected: (N,) >= 0, in proportion to what each tile is thought to hold, or None.
        floor: See `design`.
        confidence: Of the interval, 0 to 1.
        seed: Of the draw.

    Raises:
        ParameterError: See `design`.
        DataError: Numbers that are not.

    >>> held = np.array([0.0, 3.0, 4.0, 5.0])
    >>> estimate([1, 3, 4, 5], 4, lambda rows: held[rows]).total
    12.0
    """
    plan = design(size, n, expected=expected, floor=floor)
    rows = plan.draw(seed)
    return plan.total(rows, look(rows), confidence)


@dataclass(frozen=True)
class Judged:
    """How estimates of many draws compare with the truth.

    Attributes:
        repeats: Number of draws.
        coverage: Share of the intervals that hold the truth.
        relative_error: Root mean square error over the truth; None where that is 0.
        bias: Mean error over the truth; None where that is 0.
        relative_width: Mean half width of the intervals over the truth; None where that is 0.
        mean_square_error: In the square of the unit.
    """

    repeats: int
    coverage: float
    relative_error: float | None
    bias: float | None
    relative_width: float | None
    mean_square_error: float


def judge(
    plan: Design, truth: ArrayLike, repeats: int, *, confidence: float = 0.95, seed: int = 0
) -> Judged:
    """Draw again and again where the truth is known.

    Args:
        plan: The design.
        truth: (N,) what each tile holds.
        repeats: Number of draws, from 1; the first is that of `estimate`.
        confidence: Of the intervals, 0 to 1.
        seed: Of the draws.

    Raises:
        ParameterError: No draws.
        DataError: The truth is not one finite number a tile.
    """
    if repeats < 1:
        raise ParameterError(f"{repeats} repeats", "There is one at least.", "--repeats 200")
    y = finite(truth, "true values", plan.probabilities.shape)
    whole, found = float(y.sum()), []
    for number in range(repeats):
        rows = plan.draw(seed, number)
        found.append(plan.total(rows, y[rows], confidence))
    error = np.array([e.total for e in found]) - whole
    width = np.array([e.high - e.low for e in found]) / 2
    # Summed in another order, a census is off by a rounding.
    slack = 1e-9 * abs(whole)
    held = [e.low - slack <= whole <= e.high + slack for e in found]
    square = float((error**2).mean())
    return Judged(
        repeats, float(np.mean(held)),
        *(v / whole if whole else None for v in (square**0.5, float(error.mean()))),
        float(width.mean()) / whole if whole else None, square,
    )  # fmt: skip


def compare(
    plan: Design, truth: ArrayLike, repeats: int, *, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Judge a design beside an even draw of as many tiles.

    Args:
        plan: The design.
        truth: (N,) what each tile holds.
        repeats: Number of draws of each.
        confidence: Of the intervals, 0 to 1.
        seed: Of the draws.

    Returns:
        "design" and "even": what `judge` says of them; "variance_ratio": the mean square error of
        the even draw over that of the design, more is better; None where the design has no error.
    """
    even = Design(np.full(len(plan.probabilities), plan.n / len(plan.probabilities)))
    ours, others = (
        judge(d, truth, repeats, confidence=confidence, seed=seed) for d in (plan, even)
    )
    ratio = others.mean_square_error / ours.mean_square_error if ours.mean_square_error else None
    return {"design": asdict(ours), "even": asdict(others), "variance_ratio": ratio}
