"""Shared input checks of the statistics."""

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
        what: Plural name of the values, for the error message.
        length: Required n; None: any.

    Raises:
        DataError: The shape is different, the array is empty, or values are not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or (length is not None and array.size != length):
        raise DataError(
            f"{what} of shape {array.shape}",
            "Expected a non-empty one-dimensional array."
            if length is None
            else f"The shape must be ({length},), like the other arrays.",
        )
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise DataError(f"{bad} of {array.size} {what} are not finite", "Values must be finite.")
    return array


def confident(confidence: float) -> float:
    """Return a confidence level if it is between 0 and 1.

    Raises:
        ParameterError: The level is out of range.
    """
    if not 0 < confidence < 1:
        raise ParameterError(
            f"a confidence of {confidence}",
            "A confidence level must be > 0 and < 1.",
            "For example 0.95.",
        )
    return confidence
