"""What observation costs, against looking at everything in high resolution (Eq. 10 to 12).

    MOCR = sum_i a_i c(r_i) / (A c(r_max))

a_i and r_i are the area and resolution of request i, c the price per area, A the target area and
r_max the finest resolution that is to be had. Ground that is requested twice is paid twice. Where
low resolution costs nothing, and high resolution is requested tile by tile, MOCR is the share of
the area that is requested, OBR.

These are prices per area. Providers bill orders, with a smallest area each: that is another sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveate.errors import DataError, ParameterError

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
