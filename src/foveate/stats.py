"""Statistics as pure functions on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def entropy(counts: ArrayLike, *, base: float | None = None) -> NDArray[np.float64]:
    """Shannon entropy of rows of counts.

    Args:
        counts: (..., C) non-negative counts or weights; a row need not sum to 1.
        base: Base of the logarithm; C when None, so that a uniform row has entropy 1.

    Returns:
        (...) float64; 0 for a row with one class, NaN for a row that sums to 0. With C = 1 the
        entropy is 0.
    """
    values = np.asarray(counts, dtype=np.float64)
    total = values.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = values / total
        terms = np.where(p > 0, p * np.log(p), 0.0)
    scale = np.log(values.shape[-1] if base is None else base)
    nats = -terms.sum(axis=-1)
    result = np.abs(nats / scale) if scale > 0 else np.zeros_like(nats)
    return np.where(total[..., 0] > 0, result, np.nan)


def kendall_tau(a: ArrayLike, b: ArrayLike) -> float:
    """Kendall's tau-b between two (n,) vectors of positions or scores; NaN for n < 2."""
    from scipy.stats import kendalltau

    a, b = np.asarray(a), np.asarray(b)
    return float(kendalltau(a, b).statistic) if a.size > 1 else float("nan")


def overlap(a: ArrayLike, b: ArrayLike) -> float:
    """Share of the smaller of two sets of rows that is also in the other.

    Raises:
        ParameterError: A set is empty.
    """
    first, second = np.unique(np.asarray(a)), np.unique(np.asarray(b))
    if not (first.size and second.size):
        raise ParameterError("an empty set of rows", "Overlap needs at least one row in each set.")
    return np.intersect1d(first, second, assume_unique=True).size / min(first.size, second.size)
