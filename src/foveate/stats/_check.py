"""Checks that the statistics share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError, ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def vector(values: ArrayLike, what: str, length: int | None = None) -> NDArray[np.float64]:
    """Return values as (n,) float64, n >= 1, all finite.

    Args:
        values: The values.
        what: What they are, in the plural, for the message.
        length: The n that they must have; any when None.

    Raises:
        DataError: Another shape, nothing, or values that are not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or (length is not None and array.size != length):
        raise DataError(
            f"{what} of shape {array.shape}",
            "One row of one or more numbers is needed."
            if length is None
            else f"The shape must be ({length},), as that of the others.",
        )
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise DataError(f"{bad} of {array.size} {what} are not finite", "NaN has no place here.")
    return array


def confident(confidence: float) -> float:
    """Return a confidence level between 0 and 1.

    Raises:
        ParameterError: It is not.
    """
    if not 0 < confidence < 1:
        raise ParameterError(
            f"a confidence of {confidence}", "It is more than 0 and less than 1.", "Type 0.95."
        )
    return confidence
