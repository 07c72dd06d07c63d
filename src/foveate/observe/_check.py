"""Shared input checks of the numerical code of `observe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def finite(values: ArrayLike, what: str, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """Return values as finite float64 in C order, so that sums do not depend on memory layout.

    Args:
        values: Array of numbers.
        what: Plural name of the values, for the error message.
        shape: Length of each axis; None for any length.

    Raises:
        DataError: The shape is different, or values are not numbers or not finite.
    """
    array = np.asarray(values)
    fits = array.ndim == len(shape) and all(
        expected in (None, actual) for expected, actual in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "bfiu":
        expected = ", ".join("any" if length is None else str(length) for length in shape)
        raise DataError(
            f"{what} of shape {array.shape} and dtype {array.dtype}",
            f"Expected numbers of shape ({expected}{',' * (len(shape) == 1)}).",
        )
    array = np.ascontiguousarray(array, dtype=np.float64)
    check_finite(array, what)
    return array


def costs_of(costs: ArrayLike | None, n: int) -> NDArray[np.float64]:
    """Return validated costs of n tiles: finite, >= 0, not all 0; ones if None.

    Raises:
        DataError: The costs are invalid.
    """
    if costs is None:
        return np.ones(n)
    checked = finite(costs, "costs", (n,))
    if n and (checked.min() < 0 or not checked.any()):
        raise DataError(
            f"costs from {checked.min():g} to {checked.max():g}",
            "Costs must be >= 0, and at least one must be positive.",
        )
    return checked


def check_finite(array: NDArray[Any], what: str) -> None:
    """Check that all values are finite.

    Raises:
        DataError: The array contains NaN or infinity; the message contains the first rows.
    """
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1) if array.size else np.empty(0)
    if bad.any():
        rows = ", ".join(map(str, np.flatnonzero(bad)[:3]))
        raise DataError(
            f"{what} with NaN or infinity in {int(bad.sum())} rows, first {rows}",
            "All values must be finite.",
            "Remove tiles with missing values.",
        )
