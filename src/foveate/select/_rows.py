"""Validation of the arguments of greedy loops: rows, metric, row numbers, keys and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.registry import check_choice

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


Metric = Literal["euclidean", "cosine"]


def check_rows(x: NDArray[np.floating]) -> None:
    """Check that the rows are a matrix of floating-point numbers.

    Raises:
        DataError: They are not.
    """
    if x.ndim != 2 or x.dtype not in (np.float16, np.float32, np.float64):
        raise DataError(
            f"embeddings of shape {x.shape} and dtype {x.dtype}",
            "Expected a float16, float32 or float64 array (n, d).",
        )


def check_metric(metric: str) -> None:
    """Check the name of a metric.

    Raises:
        ParameterError: The metric is unknown.
    """
    check_choice("metric", metric, get_args(Metric))


def check_ties(ties: NDArray[np.uint64], n: int) -> None:
    """Check that the keys of ties are one uint64 per row.

    Raises:
        ParameterError: They are not.
    """
    if ties.shape != (n,) or ties.dtype != np.uint64:
        raise ParameterError(
            f"ties of shape {ties.shape} and dtype {ties.dtype}",
            f"Expected one uint64 key per row, shape ({n},).",
            "Use foveate.seeds.tie_keys(ids, seed).",
        )


def check_given(given: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Return the given rows of n as (m,) int64, in the order given.

    Raises:
        ParameterError: They are not row numbers, are out of range, or repeat.
    """
    rows = np.asarray([] if given is None else given)
    if rows.size == 0:
        return np.empty(0, np.int64)
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise ParameterError(
            f"given of shape {rows.shape} and dtype {rows.dtype}",
            "Expected a list of row numbers.",
            "Use np.flatnonzero(mask) for a mask.",
        )
    outside = rows[(rows < 0) | (rows >= n)]
    if outside.size:
        raise ParameterError(
            f"given contains {outside.size} rows outside the data, the first is {outside[0]}",
            f"Allowed: rows 0 to {n - 1}.",
        )
    if np.unique(rows).size != rows.size:
        raise ParameterError(
            "given contains a row more than once", "Each row may be given once.",
            "Use np.unique(given).",
        )  # fmt: skip
    return rows.astype(np.int64)


def check_k(k: int, n: int, given: int) -> None:
    """Check that the number of picks is between 0 and the number of remaining rows.

    Raises:
        ParameterError: It is not.
    """
    if not 0 <= k <= n - given:
        raise ParameterError(f"k={k}", f"Allowed: 0 to {n - given} ({n} rows, {given} given).")


def positive(name: str, number: int | None, default: int) -> int:
    """Return a size, or the default if it is None.

    Raises:
        ParameterError: It is below 1.
    """
    if number is None:
        return default
    if number < 1:
        raise ParameterError(f"{name}={number}", "It must be at least 1.")
    return number
