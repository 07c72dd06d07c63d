"""Calibrated scores, thresholds for a budget (section E.3), and the cost of observation.

A calibrated score is a quantile of the scores of a calibration set: 0.9 is above 90 % of its tiles.
A threshold tau then selects the share 1 - tau, so a budget rho (OBR) corresponds to tau = 1 - rho;
the number of selected tiles per scene may vary. The scores of the target area can be a calibration
set themselves, since no labels are needed. The thresholds of the paper are on another scale, see
`PAPER_POINTS`.

Cost relative to full high resolution (Eq. 10 to 12):

    MOCR = sum_i a_i c(r_i) / (A c(r_max))

a_i and r_i are the area and resolution of request i, c the price per area, A the target area and
r_max the finest available resolution. An area that is requested twice is paid twice. If low
resolution is free, and high resolution is requested by tile, MOCR is the requested share of the
area, OBR.

Prices are per area. The minimum order area of providers is not included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveate.budget import ceiling
from foveate.errors import DataError, ParameterError
from foveate.observe._check import costs_of, finite

PAPER_POINTS: Mapping[float, float] = {0.25: 0.545, 0.55: 0.123, 0.85: 0.018}
"""Threshold -> OBR on the scale and data of the paper (Table 6); 0.55 is its default."""

_KNOTS = 1001


@dataclass(frozen=True, eq=False)
class Calibration:
    """Piecewise linear distribution function of a calibration set.

    Attributes:
        knots: (m,) float64 raw scores, increasing, m <= 1001.
        shares: (m,) float64, increasing: the share of the set below each knot, half of ties.
    """

    knots: NDArray[np.float64]
    shares: NDArray[np.float64]

    @classmethod
    def fit(cls, scores: ArrayLike, *, costs: ArrayLike | None = None) -> Self:
        """Fit to the scores of a calibration set.

        Args:
            scores: (n,) raw scores, any scale, n >= 1.
            costs: (n,) cost (area) of each tile, for shares of cost. None: shares of tiles.

        Raises:
            DataError: There are no scores, values are not finite, or costs are negative or all 0.
        """
        raw = finite(scores, "scores", (None,))
        if not raw.size:
            raise DataError("no scores to calibrate on", "At least one tile is required.")
        weight = costs_of(costs, raw.size)
        values, index = np.unique(raw, return_inverse=True)
        mass = np.bincount(index, weight) / weight.sum()
        middle = np.cumsum(mass) - mass / 2
        if values.size > _KNOTS:
            steps = np.linspace(middle[0], middle[-1], _KNOTS)
            kept = np.unique(np.searchsorted(middle, steps).clip(max=values.size - 1))
            values, middle = values[kept], middle[kept]
        return cls(values, middle)

    def __call__(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Map raw scores to [0, 1], monotonically.

        Linear between knots; 0 below the calibration set, 1 above it.

        Args:
            scores: Raw scores of any shape.

        Raises:
            DataError: A score is NaN.
        """
        raw = np.asarray(scores, dtype=np.float64)
        if np.isnan(raw).any():
            raise DataError(f"{int(np.isnan(raw).sum())} scores are NaN", "Scores must be numbers.")
        return np.interp(raw, self.knots, self.shares, left=0.0, right=1.0)

    def scaled(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Scale raw scores to [0, 1] by the minimum and maximum of the calibration set.

        The "globally normalized" scores of the paper (sections 4.1 and D.2), the scale of its
        thresholds. If all scores of the set are equal, larger scores are mapped to 1, others to 0.

        Args:
            scores: Raw scores of any shape.
        """
        low, high = float(self.knots[0]), float(self.knots[-1])
        raw = np.asarray(scores, dtype=np.float64)
        if high == low:
            return (raw > low).astype(np.float64)
        return np.clip((raw - low) / (high - low), 0, 1)

    def to_dict(self) -> dict[str, list[float]]:
        """Return knots and shares, JSON-ready."""
        return {"knots": self.knots.tolist(), "shares": self.shares.tolist()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Restore the output of `to_dict` exactly."""
        return cls(np.array(stored["knots"], np.float64), np.array(stored["shares"], np.float64))


def over(scores: ArrayLike, tau: float) -> NDArray[np.bool_]:
    """Return a mask of the calibrated scores that a threshold selects.

    The limits are those of the paper (section C.1): tau <= 0 selects all tiles, including tiles
    with score 0; tau >= 1 selects no tile. Otherwise tiles with a score above tau are selected, so
    a higher threshold always selects a subset.

    Args:
        scores: Scores in [0, 1], any shape.
        tau: The threshold.

    Raises:
        ParameterError: tau is NaN.
    """
    values = np.asarray(scores, dtype=np.float64)
    if np.isnan(tau):
        raise ParameterError(f"tau={tau}", "A threshold must be a number from 0 to 1.")
    if tau <= 0:
        return np.ones(values.shape, dtype=bool)
    return (values > tau) & (tau < 1)


def threshold_for(rho: float, scores: ArrayLike, *, costs: ArrayLike | None = None) -> float:
    """Return the threshold that selects the largest share of costs within a budget.

    Equal scores are selected together or not at all. To spend a budget to the last tile, cut a
    `Ranking` instead, which breaks ties.

    Args:
        rho: Share of the total cost that may be spent, 0 to 1.
        scores: (n,) scores, n >= 1. Scores in [0, 1] give a threshold for `over`.
        costs: (n,) cost (area) of each tile; None: 1 for each tile.

    Returns:
        A threshold such that tiles with ``score > threshold`` cost at most rho of the total: the
        midpoint between the lowest selected and the highest unselected score; at most 0 if all
        tiles are selected, at least 1 if no tile is.

    Raises:
        ParameterError: rho is outside [0, 1].
        DataError: See `Calibration.fit`.
    """
    if not 0 <= rho <= 1:
        raise ParameterError(
            f"rho={rho}", "A budget must be a share of the area, 0 to 1.", "For example rho=0.12."
        )
    raw = finite(scores, "scores", (None,))
    if not raw.size:
        raise DataError("no scores to set a threshold on", "At least one tile is required.")
    cost = costs_of(costs, raw.size)
    values, index = np.unique(-raw, return_inverse=True)
    levels = -values  # decreasing
    spent = np.cumsum(np.bincount(index, cost))
    limit = rho * float(cost.sum())
    # Allow for rounding: 29 % of 100 is 28.999999999999996 in floating point.
    count = int(np.searchsorted(spent, ceiling(limit + 4 * np.spacing(limit), cost), side="right"))
    if count == levels.size:
        return float(min(0.0, np.nextafter(levels[-1], -np.inf)))
    if count == 0:
        return float(max(1.0, levels[0]))
    low, high = float(levels[count]), float(levels[count - 1])
    middle = low + (high - low) / 2
    return middle if middle < high else low


def drift(realised: float, expected: float) -> float:
    """Return the relative difference of a realised from an expected budget.

    A threshold from another region drifts if the distribution of scores differs.

    Args:
        realised: Selected share.
        expected: Share that the threshold is expected to select.

    Returns:
        0.1 for 10 % more than expected, -1 for an empty selection.

    Raises:
        ParameterError: The expected share is 0 and the realised share is not.
    """
    if expected == realised:
        return 0.0
    if not expected > 0:
        raise ParameterError(
            f"an expected share of {expected}", "Drift is relative to a share above 0."
        )
    return realised / expected - 1


Price = Callable[[NDArray[np.float64]], ArrayLike]
"""c(r): (n,) resolutions in metres per pixel to (n,) prices per area."""

_GSD_TOLERANCE = 1e-6  # relative; rounding of a GSD stored in a file


def obr(chosen_area: ArrayLike, total_area: ArrayLike) -> float:
    """Compute the Observation Budget Ratio: requested high-resolution area over total area.

    Areas are summed over scenes before the ratio is taken (micro average), so large scenes have
    more weight.

    Args:
        chosen_area: Requested area per scene, or in total: (S,) or one number, any unit.
        total_area: Area per scene, or in total, in the same unit.

    Returns:
        At least 0; above 1 only if areas were requested twice.

    Raises:
        DataError: An area is negative or not finite, or the total is 0.
    """
    return float(_amounts(chosen_area, "areas").sum() / _total(total_area))


def mocr(
    areas: ArrayLike,
    resolutions: ArrayLike,
    price: Price,
    target_area: ArrayLike,
    *,
    finest: float,
) -> float:
    """Compute the Multi-scale Observation Cost Ratio relative to full high resolution (Eq. 11).

    Args:
        areas: (n,) area of each request, any unit. Overlapping requests are paid twice. Imagery
            that is already owned is not a request. The cost of (0,) is 0.
        resolutions: (n,) metres per pixel of each request, or one number for all.
        price: c(r), for example from `price_by_resolution` or `two_scale_price`.
        target_area: A, in the unit of the areas; an array is summed.
        finest: r_max, metres per pixel of the finest available imagery, requested or not.

    Returns:
        At least 0; below 1 is cheaper than full high resolution.

    Raises:
        DataError: Shapes do not match; areas, resolutions or prices are out of range.
        ParameterError: There is no price for a resolution, or c(r_max) is 0.
    """
    a, r = _amounts(areas, "areas"), _resolutions(resolutions)
    if r.shape not in {a.shape, (1,)}:
        raise DataError(
            f"{r.size} resolutions for {a.size} areas",
            "Expected one resolution per request, or one for all.",
        )
    full = float(_prices(price, _resolutions(finest))[0])
    if full == 0:
        raise ParameterError(
            f"a price of 0 at {finest:g} m",
            "Costs are relative to full high resolution, so its price must be positive.",
        )
    requested = np.broadcast_to(r, a.shape)
    return float((a * _prices(price, requested)).sum() / (_total(target_area) * full))


def price_by_resolution(table: Mapping[float, float]) -> Price:
    """Return c(r) from a table.

    Args:
        table: Resolution in metres per pixel -> price per area, >= 0.

    Returns:
        A price function for the resolutions of the table. Other resolutions, also between two
        entries, raise ParameterError.

    Raises:
        DataError: The table is empty, or a resolution or price is out of range.

    >>> price_by_resolution({10: 0.5, 0.6: 8})(np.array([0.6, 10, 0.6])).tolist()
    [8.0, 0.5, 8.0]
    """
    if not table:
        raise DataError("an empty table of prices", "At least one resolution is required.")
    order = sorted(table)
    known = _resolutions(order)
    prices = _amounts([table[resolution] for resolution in order], "prices")

    def price(resolutions: NDArray[np.float64]) -> NDArray[np.float64]:
        equal = np.abs(resolutions[:, None] - known) <= _GSD_TOLERANCE * known
        missing = ~equal.any(axis=1)
        if missing.any():
            raise ParameterError(
                f"no price for {resolutions[missing][0]:g} m",
                f"Prices are given for {', '.join(f'{gsd:g}' for gsd in known)} m.",
                "Add it to the table.",
            )
        return prices[equal.argmax(axis=1)]

    return price


def two_scale_price(hr: float, lr: float, *, lr_cost: float = 0.0) -> Price:
    """Return the c(r) of the paper: the price per area is 1 in high resolution, `lr_cost` in low.

    Args:
        hr: Metres per pixel of the high resolution.
        lr: Metres per pixel of the low resolution.
        lr_cost: Price per area of the low resolution, as a share of the price of the high one.

    Raises:
        DataError: A resolution or price is out of range.
        ParameterError: The low resolution is not coarser than the high resolution.
    """
    if not lr > hr:
        raise ParameterError(
            f"low resolution of {lr} m and high resolution of {hr} m",
            "Low resolution must have more metres per pixel than high resolution.",
        )
    return price_by_resolution({hr: 1.0, lr: lr_cost})


def _amounts(values: ArrayLike, what: str) -> NDArray[np.float64]:
    """Return (n,) finite, non-negative float64 values."""
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.ndim != 1 or not (np.isfinite(array) & (array >= 0)).all():
        bad = array[~(np.isfinite(array) & (array >= 0))]
        raise DataError(
            f"{what} of shape {array.shape}, {bad.size} of them negative or not finite",
            "Expected a one-dimensional array of numbers >= 0.",
        )
    return array


def _resolutions(values: ArrayLike) -> NDArray[np.float64]:
    array = _amounts(values, "resolutions")
    if (array == 0).any():
        raise DataError("a resolution of 0 m", "Resolutions (metres per pixel) must be positive.")
    return array


def _total(area: ArrayLike) -> float:
    total = float(_amounts(area, "target areas").sum())
    if total == 0:
        raise DataError("a target area of 0", "The target area must be positive.")
    return total


def _prices(price: Price, resolutions: NDArray[np.float64]) -> NDArray[np.float64]:
    prices = _amounts(price(resolutions), "prices")
    if prices.shape != resolutions.shape:
        raise DataError(
            f"{prices.size} prices for {resolutions.size} resolutions",
            "A price function must return one price per resolution.",
        )
    return prices
