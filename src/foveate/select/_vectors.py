"""Squared distances of all rows to a few, in float64, one block at a time.

Rows are shifted and scaled as `Points` says, so that all distances are at most 1. A block of a
small matrix is converted once and kept; a large one is converted in each pass. Products are those
of the linear algebra at hand: limit it to one thread (`cluster.one_thread`) for the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.select._distance import Points
from foveate.select._rows import check_metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from foveate.select.kcenter import Metric

_VALUES = 2**20  # of a block: 8 MiB
_KEPT = 2**23  # values of a matrix that is kept in float64: 64 MiB
_NEAR = 1e-6  # squared distances below this share of the squared lengths are computed again


class Vectors:
    """Rows of a matrix.

    Args:
        x: (n, d) float16, float32 or float64; may be a memory map.
        metric: "euclidean", or "cosine": Euclidean between rows of unit length.

    Attributes:
        metric: As given.
        scale: What a distance is multiplied by.
        longest: Largest length of a row, shifted and scaled.

    Raises:
        DataError: Rows hold NaN or infinity, or (cosine) are all zero.
        ParameterError: No such metric.
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
        """Return n."""
        return self._norms.size

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the (m, d) coordinates of rows."""
        if self._kept is not None:
            return self._kept[rows]
        return np.ascontiguousarray(self._points.work(rows, _DOUBLE))

    def squared_to(
        self, others: NDArray[np.float64], rows: slice | None = None
    ) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield the squared distances, at least 0, of a block of rows to some points.

        Args:
            others: (m, d) coordinates from `of`.
            rows: A block; None for all, one block after the other.
        """
        lengths = np.einsum("ij,ij->i", others, others)
        turned = others.T * -2
        step = max(64, _VALUES // max(others.shape))
        blocks = [slice(i, min(i + step, len(self))) for i in range(0, len(self), step)]
        for part in blocks if rows is None else [rows]:
            found = self._block(part) @ turned
            found += self._norms[part, None]
            found += lengths
            yield part, np.maximum(found, 0, out=found)

    def closer(self, row: int, squared: NDArray[np.float64]) -> None:
        """Lower the squared distances of all rows to those to one row, where these are smaller.

        Args:
            row: A row.
            squared: (n,) squared distances; changed in place.
        """
        centre = self.of(np.array([row]))
        for part, block in self.squared_to(centre):
            found = block[:, 0]
            # Where the product cancels; copies of the row are at a distance of 0.
            unsure = found < _NEAR * (self._norms[part] + self._norms[row])
            near = part.start + np.flatnonzero(unsure & (found <= squared[part]))
            found[near - part.start] = self._points.pairs(near, np.full(near.size, row))
            np.minimum(squared[part], found, out=squared[part])

    def _block(self, part: slice) -> NDArray[np.float64]:
        if self._kept is not None:
            return self._kept[part]
        return np.ascontiguousarray(self._points.work(part, _DOUBLE))


_DOUBLE = np.dtype(np.float64)


def squared_to_one(bound: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return ``1 - squared / bound``, which overwrites what it is given."""

    def similarity(squared: NDArray[Any]) -> NDArray[Any]:
        if bound > 0:
            squared *= -1 / bound
        squared += 1
        return squared

    return similarity


def gaussian(sigma: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return ``exp(-squared / sigma^2)``, which overwrites what it is given."""

    def similarity(squared: NDArray[Any]) -> NDArray[Any]:
        squared *= -1 / sigma**2
        return np.exp(squared, out=squared)

    return similarity
