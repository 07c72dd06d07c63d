"""Diversity of class distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def entropy(counts: ArrayLike, *, base: float | None = None) -> NDArray[np.float64]:
    """Compute the Shannon entropy of rows of counts.

    Args:
        counts: (..., C) non-negative counts or weights; a row need not sum to 1.
        base: Base of the logarithm; None: C, so that the entropy of a uniform row is 1.

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
