"""The Vendi score: the effective number of distinct items in a set.

Friedman and Dieng 2023, "The Vendi Score", Eq. 3: the exponential of the entropy of the
eigenvalues of K / n, with the cosine kernel K = X X^T of unit rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigvalsh

if TYPE_CHECKING:
    from numpy.typing import NDArray


def vendi_score(x: NDArray[np.floating]) -> float:
    """Return the Vendi score of the rows of `x`, q = 1, cosine kernel.

    The non-zero eigenvalues of X X^T / n and X^T X / n are equal, so the smaller matrix is used.

    Args:
        x: (n, d) vectors; they are normalised to unit length (zero vectors remain zero and count
            as dissimilar to all others).

    Returns:
        A number from 1 (all rows equal) to n; 0 for no rows.
    """
    n = len(x)
    if n == 0:
        return 0.0
    rows = np.asarray(x, dtype=np.float64)
    # Scale by a power of two, so that squares neither overflow nor underflow.
    exponent = np.frexp(np.abs(rows).max(axis=1, initial=0))[1]
    rows = np.ldexp(rows, -exponent[:, None])
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    zero = int((norm == 0).sum())
    unit = rows / np.where(norm > 0, norm, 1.0)
    gram = unit @ unit.T if n <= unit.shape[1] else unit.T @ unit
    values = eigvalsh(gram / n, check_finite=False)
    values = values[values > 1e-12]
    # Each zero vector is orthogonal to all others and adds an eigenvalue of 1 / n.
    values = np.concatenate([values, np.full(zero, 1.0 / n)])
    return float(np.exp(-(values * np.log(values)).sum()))
