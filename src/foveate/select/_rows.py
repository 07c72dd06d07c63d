"""Checks of what the greedy loops are given: rows, metric, row numbers, keys and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from foveate.errors import DataError, ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


Metric = Literal["euclidean", "cosine"]


def check_rows(x: NDArray[np.floating]) -> None:
    """Refuse what is no matrix of floating-point numbers.

    Raises:
        DataError: It is none.
    """
    if x.ndim != 2 or x.dtype not in (np.float16, np.float32, np.float64):
        raise DataError(
            f"embeddings of shape {x.shape} and dtype {x.dtype}",
            "Allowed is a float16, float32 or float64 array (n, d).",
        )


def check_metric(metric: str) -> None:
    """Refuse a metric that there is not.

    Raises:
        ParameterError: There is no such one.
    """
    if metric not in get_args(Metric):
        raise ParameterError(
            f"metric={metric!r}", f"Allowed are {', '.join(map(repr, get_args(Metric)))}."
        )


def check_ties(ties: NDArray[np.uint64], n: int) -> None:
    """Refuse keys of ties that are not one uint64 per row.

    Raises:
        ParameterError: They are not.
    """
    if ties.shape != (n,) or ties.dtype != np.uint64:
        raise ParameterError(
            f"ties of shape {ties.shape} and dtype {ties.dtype}",
            f"Allowed is one uint64 key per row, shape ({n},).",
            "Use foveate.seeds.tie_keys(ids, seed).",
        )


def check_given(given: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Return the given rows of n as (m,) int64, in the order given.

    Raises:
        ParameterError: They are not row numbers, lie outside, or repeat.
    """
    rows = np.asarray([] if given is None else given)
    if rows.size == 0:
        return np.empty(0, np.int64)
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise ParameterError(
            f"given of shape {rows.shape} and dtype {rows.dtype}",
            "Allowed is a list of row numbers.",
            "Use np.flatnonzero(mask) for a mask.",
        )
    outside = rows[(rows < 0) | (rows >= n)]
    if outside.size:
        raise ParameterError(
            f"given names {outside.size} rows outside the data, the first is {outside[0]}",
            f"Allowed are rows 0 to {n - 1}.",
        )
    if np.unique(rows).size != rows.size:
        raise ParameterError("given names a row more than once", "Allowed is each row once.")
    return rows.astype(np.int64)


def check_k(k: int, n: int, given: int) -> None:
    """Refuse a number of picks that is not between 0 and the rows that are left.

    Raises:
        ParameterError: It is not.
    """
    if not 0 <= k <= n - given:
        raise ParameterError(f"k={k}", f"Allowed is 0 to {n - given}: {n} rows, {given} given.")


def positive(name: str, number: int | None, default: int) -> int:
    """Return a size, or the default where there is none.

    Raises:
        ParameterError: It is below 1.
    """
    if number is None:
        return default
    if number < 1:
        raise ParameterError(f"{name}={number}", "Allowed is 1 or more.")
    return number
