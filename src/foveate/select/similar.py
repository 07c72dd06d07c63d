"""Cosine similarity of all rows to example rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.select.threads import one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 4096


def cosine_to(
    x: NDArray[np.floating], rows: NDArray[np.int64], combine: str
) -> NDArray[np.float64]:
    """Return the largest or the mean cosine of each row with example rows.

    Args:
        x: (n, d) float; read in blocks. A row of zeros has a cosine of 0 with every row.
        rows: (m,) int64 example rows, at least one.
        combine: "max" or "mean".

    Returns:
        (n,) float64, -1 to 1.
    """
    examples = _unit(x[np.asarray(rows)])
    result = np.empty(len(x))
    with one_thread():
        for begin in range(0, len(x), _BLOCK):
            cosine = _unit(x[begin : begin + _BLOCK]) @ examples.T
            found = cosine.max(axis=1) if combine == "max" else cosine.mean(axis=1)
            result[begin : begin + _BLOCK] = found
    return np.clip(result, -1, 1)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    values = np.array(rows, dtype=np.float64, order="C")
    length = np.sqrt(np.square(values).sum(axis=1, keepdims=True))
    values /= np.where(length > 0, length, 1.0)
    return values
