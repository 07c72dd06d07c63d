"""From raw scores to scores with a meaning, and from a budget to a threshold (section E.3).

A calibrated score is a place among the scores of a calibration set: 0.9 is above 90 % of its tiles.
A threshold tau then selects the share 1 - tau, so a budget rho (OBR) is met by tau = 1 - rho, and
scenes may still differ in how many tiles they get. The scores of the target area make such a set
themselves: no label is needed. The paper's thresholds are of another scale: `PAPER_POINTS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.budget import ceiling
from foveate.errors import DataError, ParameterError
from foveate.observe._check import costs_of, finite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

PAPER_POINTS: Mapping[float, float] = {0.25: 0.545, 0.55: 0.123, 0.85: 0.018}
"""Threshold -> OBR on the paper's own scale and data: its Table 6; 0.55 is its default."""

_KNOTS = 1001


@dataclass(frozen=True, eq=False)
class Calibration:
    """The distribution function of a calibration set, as a broken line.

    Attributes:
        knots: (m,) float64 raw scores, rising, m <= 1001.
        shares: (m,) float64, rising: the share of the set below each, ties counted half.
    """

    knots: NDArray[np.float64]
    shares: NDArray[np.float64]

    @classmethod
    def fit(cls, scores: ArrayLike, *, costs: ArrayLike | None = None) -> Self:
        """Fit to the scores of a calibration set.

        Args:
            scores: (n,) raw scores, any scale, n >= 1.
            costs: (n,) what each tile costs (its area): shares are then of cost. None: of tiles.

        Raises:
            DataError: No scores, or numbers that are not finite; costs that are negative or all 0.
        """
        raw = finite(scores, "scores", (None,))
        if not raw.size:
            raise DataError("no scores to calibrate on", "One tile at least is needed.")
        weight = costs_of(costs, raw.size)
        values, place = np.unique(raw, return_inverse=True)
        mass = np.bincount(place, weight) / weight.sum()
        middle = np.cumsum(mass) - mass / 2
        if values.size > _KNOTS:
            steps = np.linspace(middle[0], middle[-1], _KNOTS)
            kept = np.unique(np.searchsorted(middle, steps).clip(max=values.size - 1))
            values, middle = values[kept], middle[kept]
        return cls(values, middle)

    def __call__(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Map raw scores to [0, 1], never falling where they rise.

        Between two knots the line is straight; below the set it is 0, above it 1.

        Args:
            scores: Raw scores of any shape.

        Raises:
            DataError: A score is NaN.
        """
        raw = np.asarray(scores, dtype=np.float64)
        if np.isnan(raw).any():
            raise DataError(f"{int(np.isnan(raw).sum())} scores are NaN", "A score is a number.")
        return np.interp(raw, self.knots, self.shares, left=0.0, right=1.0)

    def to_dict(self) -> dict[str, list[float]]:
        """Return knots and shares, JSON-ready."""
        return {"knots": self.knots.tolist(), "shares": self.shares.tolist()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, to the same bits."""
        return cls(np.array(stored["knots"], np.float64), np.array(stored["shares"], np.float64))


def over(scores: ArrayLike, tau: float) -> NDArray[np.bool_]:
    """Say which calibrated scores a threshold selects.

    Both ends are those of the paper (section C.1): tau <= 0 selects every tile, even one with the
    score 0; tau >= 1 selects none. Between them a tile is selected if its score is more than tau,
    so a higher threshold always selects a subset.

    Args:
        scores: Scores in [0, 1], any shape.
        tau: The threshold.

    Raises:
        ParameterError: tau is NaN.
    """
    values = np.asarray(scores, dtype=np.float64)
    if np.isnan(tau):
        raise ParameterError(f"tau={tau}", "A threshold is a number, 0 to 1.")
    if tau <= 0:
        return np.ones(values.shape, dtype=bool)
    return (values > tau) & (tau < 1)


def threshold_for(rho: float, scores: ArrayLike, *, costs: ArrayLike | None = None) -> float:
    """Return the threshold that comes closest to a budget on these scores and never exceeds it.

    Equal scores are taken together or not at all. To spend a budget to the last tile, cut a
    `Ranking` instead, which breaks ties.

    Args:
        rho: Share of all costs that may be spent, 0 to 1.
        scores: (n,) scores, n >= 1. Those in [0, 1] give a threshold for `over`.
        costs: (n,) what each tile costs (its area); None: one each.

    Returns:
        The tiles with ``score > threshold`` cost at most rho of all. Half-way between the lowest
        score that is selected and the highest that is not; 0 or less if all are, 1 or more if none.

    Raises:
        ParameterError: rho is outside 0 to 1.
        DataError: As for `Calibration.fit`.
    """
    if not 0 <= rho <= 1:
        raise ParameterError(f"rho={rho}", "A budget is a share of the area, 0 to 1.", "rho=0.12")
    raw = finite(scores, "scores", (None,))
    if not raw.size:
        raise DataError("no scores to set a threshold on", "One tile at least is needed.")
    cost = costs_of(costs, raw.size)
    values, place = np.unique(-raw, return_inverse=True)
    levels = -values  # falling
    spent = np.cumsum(np.bincount(place, cost))
    limit = rho * float(cost.sum())
    # 29 % of 100 is 28.999999999999996 in floating point.
    count = int(np.searchsorted(spent, ceiling(limit + 4 * np.spacing(limit), cost), side="right"))
    if count == levels.size:
        return float(min(0.0, np.nextafter(levels[-1], -np.inf)))
    if count == 0:
        return float(max(1.0, levels[0]))
    low, high = float(levels[count]), float(levels[count - 1])
    middle = low + (high - low) / 2
    return middle if middle < high else low


def share_over(scores: ArrayLike, tau: float, *, costs: ArrayLike | None = None) -> float:
    """Return the share of all costs that a threshold selects: the realised budget (OBR).

    Args:
        scores: (n,) calibrated scores, n >= 1.
        tau: As for `over`.
        costs: (n,) what each tile costs (its area); None: one each.

    Raises:
        ParameterError: tau is NaN.
        DataError: Costs that are not.
    """
    chosen = over(scores, tau)
    cost = costs_of(costs, chosen.size)
    return float(cost[chosen].sum() / cost.sum())


def drift(realised: float, expected: float) -> float:
    """Return by how much a realised budget is off the expected one, as a share of it.

    A threshold that comes from another region drifts where the scores of this one are others.

    Args:
        realised: Share that was selected.
        expected: Share that the threshold should select.

    Returns:
        0.1 for 10 % too much, -1 for nothing at all.

    Raises:
        ParameterError: Something was selected where nothing was expected.
    """
    if expected == realised:
        return 0.0
    if not expected > 0:
        raise ParameterError(
            f"an expected share of {expected}", "Drift is measured against a share above 0."
        )
    return realised / expected - 1
