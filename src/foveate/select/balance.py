"""Class balance: the order that keeps the class distribution of the union most even.

Section III-E of "Core-Set Selection for Data-efficient Land Cover Segmentation" (Nogueira et al.
2025): in each step the patch is taken whose union with the patches taken so far has the class
distribution of largest entropy. The paper leaves open what is counted and how ties fall; here
pixels are counted (the union of pixels, read literally), rows without any counted pixel come
last, and ties are broken by a seeded key.

The order is exact whatever the screening (see `_screen`), which only decides how many rows are
evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.progress import Meter
from foveate.select._rows import check_given, check_k, check_ties
from foveate.select._screen import TOLERANCE, Greedy, Patterns, entropy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint, Open

__all__ = ["TOLERANCE", "Balance", "Screening", "balance_greedy"]

Screening = Literal["auto", "always", "never"]

_EXACT_INTEGERS = 2**53  # every integer up to here is a float64
_CHUNK = 16_384  # rows at a time where a (rows, C) temporary is needed


@dataclass(frozen=True)
class Balance:
    """An order of rows by class balance.

    Attributes:
        rows: (k,) int64, rows of `counts` in the order of choice; rows that were given are not
            among them.
        entropy: (k,) float64 in [0, 1], entropy of the class distribution of the union after
            each pick (given rows included), divided by log C. C is the number of classes that
            occur anywhere in `counts`: a class that never occurs changes neither order nor
            entropy. 0 when C < 2.
        exact: How many times the entropy of the union with a row (or with a whole group of rows
            whose counts are the same) was evaluated. The plain loop needs about ``n * k``.
    """

    rows: NDArray[np.int64]
    entropy: NDArray[np.float64]
    exact: int


def balance_greedy(
    counts: NDArray[np.integer],
    k: int | None = None,
    *,
    ties: NDArray[np.uint64],
    given: ArrayLike | None = None,
    constraint: Constraint | None = None,
    screening: Screening = "auto",
    progress: ProgressFn | None = None,
) -> Balance:
    """Order rows so that the union of the first ones is as balanced as a greedy choice allows.

    Each step takes the row that maximises the entropy of the class distribution of the union.
    Among the rows whose normalised entropy is within `TOLERANCE` (1e-12, absolute) of the
    maximum, the one with the smallest key wins, then the smallest row.

    Rows without any counted pixel leave the entropy unchanged and teach nothing: they come last,
    in the order of their keys.

    Args:
        counts: (n, C) non-negative integers, pixels per class over valid pixels. Ignored classes
            must have been removed by the caller.
        k: How many rows to take, 0 to n less the given ones; None for all.
        ties: (n,) uint64 keys, see `foveate.seeds.tie_keys`.
        given: Rows that are in the set already: they count, and are not taken again.
        constraint: Rows that a row of the set forbids come last, after all others, in an order
            that is made in the same way.
        screening: "always" bounds all rows and evaluates those that could win, "never" evaluates
            every row in every step, "auto" changes between the two by what pays. The order does
            not depend on it.
        progress: Called with the number of rows taken.

    Returns:
        The order, the entropies and the number of evaluations.

    Raises:
        DataError: `counts` is not a matrix of non-negative integers, or holds 2^53 or more pixels.
        ParameterError: `k`, `ties`, `given` or `screening` cannot be used.

    >>> counts = np.array([[4, 0], [3, 1], [0, 4]])
    >>> balance_greedy(counts, ties=np.arange(3, dtype=np.uint64)).rows.tolist()
    [1, 2, 0]
    """
    _check_counts(counts)
    n = counts.shape[0]
    check_ties(ties, n)
    if screening not in get_args(Screening):
        raise ParameterError(
            f"screening={screening!r}", f"Allowed are {', '.join(map(repr, get_args(Screening)))}."
        )
    held = check_given(given, n)
    k = n - held.size if k is None else k
    check_k(k, n, held.size)

    columns = np.flatnonzero(counts.any(axis=0))
    mix = counts[held].sum(axis=0, dtype=np.int64)[columns]
    # Position of each row in the order of ties: one integer to compare, and no two are equal.
    order = np.lexsort((np.arange(n), ties))
    order = order[~np.isin(order, held)]
    rows = np.empty(0, np.int64)
    exact = 0
    with Meter(progress, "class balance", k) as meter:
        state = None if constraint is None or constraint.empty else constraint.open(held)
        while rows.size < k:
            left = order if state is None else order[state.free[order]]
            union = mix + counts[rows].sum(axis=0, dtype=np.int64)[columns]
            found, evaluated = _in_order(
                counts, left, k - rows.size, columns=columns, mix=union, state=state,
                screening=screening, meter=meter,
            )  # fmt: skip
            rows = np.concatenate((rows, found))
            exact += evaluated
            if rows.size < k:
                order = order[~np.isin(order, rows)]  # what is forbidden
                state = None
        meter.advance(k - meter.done)
    return Balance(rows.astype(np.int64), _union_entropy(counts, rows, columns, mix), exact)


def _in_order(
    counts: NDArray[np.integer], order: NDArray[np.int64], k: int, *, columns: NDArray[np.intp],
    mix: NDArray[np.int64], state: Open | None, screening: Screening, meter: Meter,
) -> tuple[NDArray[np.int64], int]:  # fmt: skip
    """Order rows, given in the order of ties, that come after those whose pixels are `mix`.

    Returns:
        At most k rows, and the number of evaluations; without those that `state` forbids.
    """
    filled = counts.any(axis=1)[order]
    last, order = order[~filled], order[filled]
    exact = 0
    if columns.size > 1 and order.size:
        greedy = Greedy(Patterns.group(counts, order, columns), mix, state)
        order = greedy.run(k, screening, meter)
        exact = greedy.exact
    elif state is not None:
        order = state.admit(order)
    if state is not None and order.size < k:
        last = state.admit(last)
    return np.concatenate((order, last))[:k], exact


def _union_entropy(
    counts: NDArray[np.integer],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    mix: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the normalised entropy of the union after each of `rows`.

    The totals are exact integers, so the numbers do not depend on how the order was found.
    """
    result = np.zeros(rows.size)
    if columns.size < 2:
        return result
    for begin in range(0, rows.size, _CHUNK):
        part = rows[begin : begin + _CHUNK]
        sums = np.cumsum(counts[np.ix_(part, columns)], axis=0, dtype=np.int64) + mix
        mix = sums[-1]
        totals = np.maximum(sums.sum(axis=1), 1)
        result[begin : begin + part.size] = entropy((sums / totals[:, None]).T)
    return np.clip(result / np.log(columns.size), 0.0, 1.0)


def _check_counts(counts: NDArray[np.integer]) -> None:
    if counts.ndim != 2 or not np.issubdtype(counts.dtype, np.integer):
        raise DataError(
            f"class counts of shape {counts.shape} and dtype {counts.dtype}",
            "Allowed is an integer array (n, C): pixels per class.",
            "Pass counts, not shares.",
        )
    negative = np.flatnonzero((counts < 0).any(axis=1))
    if negative.size:
        raise DataError(
            f"{negative.size} of {counts.shape[0]} rows have negative class counts, "
            f"the first are {negative[:5].tolist()}",
            "A count is the number of pixels of a class: 0 or more.",
        )
    pixels = float(counts.sum(dtype=np.float64))
    if pixels >= _EXACT_INTEGERS:
        raise DataError(
            f"the class counts add up to {pixels:.3g} pixels",
            "Allowed are fewer than 2^53 (9e15): beyond, sums are no longer exact.",
        )
