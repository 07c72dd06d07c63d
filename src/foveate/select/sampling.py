"""Orders made of scores, weights and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def order_by_score(score: ArrayLike, ties: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Sort rows by falling score; equal scores by rising key; NaN scores last.

    Args:
        score: (n,) scores.
        ties: (n,) uint64 keys, see `foveate.seeds.tie_keys`.

    Returns:
        (n,) int64 rows, best first.
    """
    values = np.asarray(score, dtype=np.float64)
    return np.lexsort((ties, -values, np.isnan(values)))


def weighted_order(weight: ArrayLike, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sample all rows without replacement, each draw in proportion to the weights.

    Efraimidis and Spirakis 2006: sort by u^(1/w), u uniform in (0, 1). One pass, O(n log n).

    Args:
        weight: (n,) positive weights.
        rng: Source of randomness.

    Returns:
        (n,) int64 rows in the order drawn.

    Raises:
        ParameterError: A weight is not positive and finite.
    """
    w = np.asarray(weight, dtype=np.float64)
    if not (np.isfinite(w) & (w > 0)).all():
        raise ParameterError("weights that are not positive", "Every weight is more than 0.")
    return np.argsort(np.log(1.0 - rng.random(w.size)) / w, kind="stable")[::-1].copy()


def round_robin(
    groups: NDArray[np.integer], within: NDArray[np.integer], per_turn: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Take rows group by group, a few per turn, until all are taken.

    Args:
        groups: (n,) position of each row's group in the cycle, 0 to k - 1.
        within: (n,) place of each row inside its group, 0, 1, 2 ...
        per_turn: (k,) rows that a group gives per turn, at least 1.

    Returns:
        (n,) int64 rows in the order taken.
    """
    turn = within // per_turn[groups]
    return np.lexsort((within, groups, turn))
