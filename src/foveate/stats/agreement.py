"""Agreement of two rankings or two sets of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def kendall_tau(a: ArrayLike, b: ArrayLike) -> float:
    """Compute Kendall's tau-b of two (n,) vectors of positions or scores; NaN for n < 2."""
    from scipy.stats import kendalltau

    a, b = np.asarray(a), np.asarray(b)
    return float(kendalltau(a, b).statistic) if a.size > 1 else float("nan")


def overlap(a: ArrayLike, b: ArrayLike) -> float:
    """Compute the overlap coefficient: the share of the smaller set that is in the other set.

    Raises:
        ParameterError: A set is empty.
    """
    first, second = np.unique(np.asarray(a)), np.unique(np.asarray(b))
    if not (first.size and second.size):
        raise ParameterError("an empty set of rows", "Overlap needs at least one row in each set.")
    return np.intersect1d(first, second, assume_unique=True).size / min(first.size, second.size)
