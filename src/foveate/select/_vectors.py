"""Squared distances of all rows to some points in float64, block by block.

Rows are shifted and scaled as in `Points`, so that all distances are at most 1. Small matrices are
converted once, large ones in each pass. Matrix products depend on the BLAS library: limit it to
one thread (`threads.one_thread`) for reproducible bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.select._distance import Points
from foveate.select._rows import check_metric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.select.kcenter import Metric

_VALUES = 2**20  # values in a block: 8 MiB
_KEPT = 2**23  # maximum number of values of a matrix to keep in float64: 64 MiB
_NEAR = 1e-6  # squared distances below this share of the squared lengths are recomputed exactly


class Vectors:
    """Rows of a matrix.

    Args:
        x: (n, d) float16, float32 or float64; may be a memory map.
        metric: "euclidean", or "cosine": Euclidean between rows of unit length.

    Attributes:
        metric: As given.
        scale: Factor of all distances.
        longest: Largest length of a row, shifted and scaled.

    Raises:
        DataError: Rows contain NaN or infinity, or (cosine) are all zero.
        ParameterError: The metric is unknown.
    """

    def __init__(self, x: NDArray[np.floating], metric: Metric) -> None:
        check_metric(metric)
        self.metric = metric
        self._points = Points.survey(x, metric, max(64, _VALUES // max(x.shape[1], 1)))
        self.scale = self._points.scale
        self._norms = np.empty(len(x))
        self._kept: NDArray[np.float64] | None = None
        if x.size <= _KEPT:
            self._kept = np.ascontiguousarray(self._points.work(slice(None), _DOUBLE))
        for part in self._points.blocks():
            rows = self._block(part)
            self._norms[part] = np.einsum("ij,ij->i", rows, rows)
        self.longest = float(np.sqrt(self._norms.max(initial=0)))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._norms.size

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the (m, d) coordinates of rows."""
        if self._kept is not None:
            return self._kept[rows]
        return np.ascontiguousarray(self._points.work(rows, _DOUBLE))

    def squared_to(
        self, others: NDArray[np.float64], rows: slice | None = None
    ) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield each block with the (b, m) squared distances of its rows to some points.

        Args:
            others: (m, d) coordinates from `of`.
            rows: The only block; None for all blocks in order.
        """
        lengths = np.einsum("ij,ij->i", others, others)
        factor = others.T * -2
        step = max(64, _VALUES // max(others.shape))
        blocks = [slice(i, min(i + step, len(self))) for i in range(0, len(self), step)]
        for block in blocks if rows is None else [rows]:
            squared = self._block(block) @ factor
            squared += self._norms[block, None]
            squared += lengths
            yield block, np.maximum(squared, 0, out=squared)

    def closer(self, row: int, squared: NDArray[np.float64]) -> None:
        """Update squared distances of all rows to the nearest centre with one new centre.

        Args:
            row: The row of the new centre.
            squared: (n,) squared distances; modified in place.
        """
        centre = self.of(np.array([row]))
        for block, to_centre in self.squared_to(centre):
            new = to_centre[:, 0]
            # Recompute after cancellation, so that copies of the row have a distance of exactly 0.
            inexact = new < _NEAR * (self._norms[block] + self._norms[row])
            near = block.start + np.flatnonzero(inexact & (new <= squared[block]))
            new[near - block.start] = self._points.pairs(near, np.full(near.size, row))
            np.minimum(squared[block], new, out=squared[block])

    def _block(self, block: slice) -> NDArray[np.float64]:
        if self._kept is not None:
            return self._kept[block]
        return np.ascontiguousarray(self._points.work(block, _DOUBLE))


_DOUBLE = np.dtype(np.float64)
