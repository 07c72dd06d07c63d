"""Calibrated scores, thresholds for a budget (section E.3), and the cost of observation.

A calibrated score is a rank among the scores of a calibration set: 0.9 is above 90 % of its tiles.
A threshold tau then selects the share 1 - tau, so a budget rho (OBR) is met by tau = 1 - rho, and
scenes may still differ in how many tiles they get. The scores of the target area make such a set
themselves: no label is needed. The paper's thresholds are of another scale: `PAPER_POINTS`.

Cost against looking at everything in high resolution (Eq. 10 to 12):

    MOCR = sum_i a_i c(r_i) / (A c(r_max))

a_i and r_i are the area and resolution of request i, c the price per area, A the target area and
r_max the finest resolution that is to be had. Ground that is requested twice is paid twice. Where
low resolution costs nothing, and high resolution is requested tile by tile, MOCR is the share of
the area that is requested, OBR.

These are prices per area. Providers bill orders, with a smallest area each: that is another sum.
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

    def scaled(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Map raw scores to [0, 1] by the least and the largest of the set.

        The "globally normalized" scores of the paper (sections 4.1 and D.2): its thresholds are on
        this scale. A set of one value maps what is above it to 1.

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


Price = Callable[[NDArray[np.float64]], ArrayLike]
"""c(r): (n,) resolutions in metres a pixel to (n,) prices per area."""

_SAME = 1e-6  # relative: a GSD that went through a file is the same GSD


def obr(chosen_area: ArrayLike, total_area: ArrayLike) -> float:
    """Observation Budget Ratio: requested high-resolution area over all area.

    Areas are summed over scenes before the ratio is taken (micro), so a large scene weighs more.

    Args:
        chosen_area: Area requested in each scene, or in all: (S,) or one number, any unit.
        total_area: Area of each scene, or of all, in the same unit.

    Returns:
        0 or more; above 1 only if ground was requested twice.

    Raises:
        DataError: An area is negative or not finite, or the total is 0.
    """
    return float(_amounts(chosen_area, "areas").sum() / _target(total_area))


def mocr(
    areas: ArrayLike,
    resolutions: ArrayLike,
    price: Price,
    target_area: ArrayLike,
    *,
    finest: float,
) -> float:
    """Multi-scale Observation Cost Ratio: all requests over full high resolution (Eq. 11).

    Args:
        areas: (n,) area of each request, any unit. Requests may overlap and are then paid twice.
            What is already owned is no request. (0,) costs nothing.
        resolutions: (n,) metres a pixel of each request, or one number for all.
        price: c(r), such as `price_by_resolution` or `two_scale_price` make.
        target_area: A, in the unit of the areas; an array is summed.
        finest: r_max, metres a pixel of the finest imagery that is to be had, requested or not.

    Returns:
        0 or more; below 1 is cheaper than full high resolution.

    Raises:
        DataError: Shapes do not match; areas, resolutions or prices cannot be.
        ParameterError: The price does not know a resolution, or c(r_max) is 0.
    """
    a, r = _amounts(areas, "areas"), _resolutions(resolutions)
    if r.shape not in {a.shape, (1,)}:
        raise DataError(
            f"{r.size} resolutions for {a.size} areas", "There is one a request, or one for all."
        )
    full = float(_prices(price, _resolutions(finest))[0])
    if full == 0:
        raise ParameterError(
            f"a price of 0 at {finest:g} m",
            "Costs are measured against full high resolution, which must cost something.",
        )
    asked = np.broadcast_to(r, a.shape)
    return float((a * _prices(price, asked)).sum() / (_target(target_area) * full))


def price_by_resolution(table: Mapping[float, float]) -> Price:
    """Make c(r) from a table.

    Args:
        table: Resolution in metres a pixel -> price per area, >= 0.

    Returns:
        A price that knows the resolutions of the table and no others: a resolution between two
        of them is not on sale, so it raises ParameterError.

    Raises:
        DataError: The table is empty, or a resolution or price cannot be.

    >>> price_by_resolution({10: 0.5, 0.6: 8})(np.array([0.6, 10, 0.6])).tolist()
    [8.0, 0.5, 8.0]
    """
    if not table:
        raise DataError("an empty table of prices", "It has a price for each resolution.")
    order = sorted(table)
    known = _resolutions(order)
    prices = _amounts([table[resolution] for resolution in order], "prices")

    def price(resolutions: NDArray[np.float64]) -> NDArray[np.float64]:
        same = np.abs(resolutions[:, None] - known) <= _SAME * known
        lost = ~same.any(axis=1)
        if lost.any():
            raise ParameterError(
                f"no price for {resolutions[lost][0]:g} m",
                f"Prices are known for {', '.join(f'{at:g}' for at in known)} m.",
                "Add it to the table.",
            )
        return prices[same.argmax(axis=1)]

    return price


def two_scale_price(hr: float, lr: float, *, lr_cost: float = 0.0) -> Price:
    """Make the c(r) of the paper's setting: high resolution costs 1 per area, low almost nothing.

    Args:
        hr: Metres a pixel of the high resolution.
        lr: Metres a pixel of the low resolution.
        lr_cost: Price per area of the low resolution, as a share of that of the high one.

    Raises:
        DataError: A resolution or price cannot be.
        ParameterError: The low resolution is not coarser than the high one.
    """
    if not lr > hr:
        raise ParameterError(
            f"low resolution of {lr} m beside high resolution of {hr} m",
            "Low resolution has more metres a pixel.",
        )
    return price_by_resolution({hr: 1.0, lr: lr_cost})


def _amounts(values: ArrayLike, what: str) -> NDArray[np.float64]:
    """Return numbers that are finite and not negative: (n,)."""
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.ndim != 1 or not (np.isfinite(array) & (array >= 0)).all():
        bad = array[~(np.isfinite(array) & (array >= 0))]
        raise DataError(
            f"{what} of shape {array.shape}, {bad.size} of them negative or not finite",
            "They are one row of numbers, each 0 or more.",
        )
    return array


def _resolutions(values: ArrayLike) -> NDArray[np.float64]:
    array = _amounts(values, "resolutions")
    if (array == 0).any():
        raise DataError("a resolution of 0 m", "Resolutions are metres a pixel, above 0.")
    return array


def _target(area: ArrayLike) -> float:
    whole = float(_amounts(area, "target areas").sum())
    if whole == 0:
        raise DataError("a target area of 0", "Cost is a share of the cost of some area.")
    return whole


def _prices(price: Price, resolutions: NDArray[np.float64]) -> NDArray[np.float64]:
    prices = _amounts(price(resolutions), "prices")
    if prices.shape != resolutions.shape:
        raise DataError(
            f"{prices.size} prices for {resolutions.size} resolutions",
            "A price is a function of an array: one number for each.",
        )
    return prices
