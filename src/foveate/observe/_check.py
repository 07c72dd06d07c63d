"""Checks that the numbers of `observe` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray


def finite(values: ArrayLike, what: str, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """Return values as finite float64 in C order, so that sums do not depend on the storage.

    Args:
        values: The values.
        what: What they are, in the plural, for the message.
        shape: Length of each axis; None for any.

    Raises:
        DataError: Another shape, or values that are not numbers or not finite.
    """
    array = np.asarray(values)
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "bfiu":
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise DataError(
            f"{what} of shape {array.shape} and dtype {array.dtype}",
            f"Expected numbers of shape ({wanted}{',' * (len(shape) == 1)}).",
        )
    array = np.ascontiguousarray(array, dtype=np.float64)
    _known(array, what)
    return array


def costs_of(costs: ArrayLike | None, n: int) -> NDArray[np.float64]:
    """Return costs of n tiles: finite, >= 0, not all 0; ones when None.

    Raises:
        DataError: They are not.
    """
    if costs is None:
        return np.ones(n)
    found = finite(costs, "costs", (n,))
    if n and (found.min() < 0 or not found.any()):
        raise DataError(f"costs from {found.min():g} to {found.max():g}", "A cost is 0 or more.")
    return found


def known(result: NDArray[Any], what: str) -> NDArray[Any]:
    """Return a result; NaN or infinity in it comes from what was given.

    Raises:
        DataError: It is not finite; the first rows are named.
    """
    _known(result, what)
    return result


def choose(given: str, allowed: Iterable[str], what: str) -> None:
    """Refuse a name that is not among those allowed.

    Raises:
        ParameterError: It is not, with a suggestion.
    """
    names = list(allowed)
    if given not in names:
        raise ParameterError(
            f"{what}={given!r}", f"Allowed: {', '.join(names)}.", suggest(str(given), names)
        )


def _known(array: NDArray[Any], what: str) -> None:
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1) if array.size else np.empty(0)
    if bad.any():
        rows = ", ".join(map(str, np.flatnonzero(bad)[:3]))
        raise DataError(
            f"{what} with NaN or infinity in {int(bad.sum())} rows, first {rows}",
            "Every number must be finite.",
            "Leave out tiles that are not known.",
        )
