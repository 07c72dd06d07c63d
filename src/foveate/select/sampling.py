"""Orders of rows by scores, weights and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from foveate.select.constraints import Constraint


def order_by_score(score: ArrayLike, ties: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Sort rows by descending score; equal scores by ascending key; NaN scores last.

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
        raise ParameterError("weights that are not positive", "All weights must be above 0.")
    return np.argsort(np.log(1.0 - rng.random(w.size)) / w, kind="stable")[::-1].copy()


def draw_rows(n: int, size: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `size` random rows of n, sorted; all rows if `size` is None or at least n."""
    if size is None or size >= n:
        return np.arange(n)
    return np.sort(rng.choice(n, size, replace=False))


def round_robin(
    groups: NDArray[np.integer],
    within: NDArray[np.integer],
    per_turn: NDArray[np.integer],
    constraint: Constraint | None = None,
) -> NDArray[np.int64]:
    """Select rows from groups in turn, a few per turn, until all are selected.

    Args:
        groups: (n,) position of the group of each row in the cycle, 0 to k - 1.
        within: (n,) position of each row inside its group, 0, 1, 2 ...
        per_turn: (k,) number of rows of a group per turn, at least 1.
        constraint: Rows that an earlier row forbids are skipped, and the next row of the group is
            selected in the same turn. Skipped rows follow after all others, also in turns.

    Returns:
        (n,) int64 rows in the order of selection.
    """
    if constraint is None or constraint.empty:
        turn = within // per_turn[groups]
        return np.lexsort((within, groups, turn))
    state = constraint.open()
    if constraint.fixed:
        return np.concatenate([
            _in_turns(np.flatnonzero(free), groups, within, per_turn)
            for free in (state.free, ~state.free)
        ])  # fmt: skip
    queues = [iter(rows) for rows in _by_group(groups, within, len(per_turn))]
    taken: list[int] = []
    active = list(range(len(per_turn)))
    while active:
        remaining = []
        for group in active:
            count = int(per_turn[group])
            for row in queues[group]:
                if state.free[row]:
                    state.pick(row)
                    taken.append(row)
                    count -= 1
                    if not count:
                        remaining.append(group)
                        break
        active = remaining
    skipped = np.ones(len(groups), bool)
    skipped[taken] = False
    others = _in_turns(np.flatnonzero(skipped), groups, within, per_turn)
    return np.concatenate([np.array(taken, np.int64), others])


def _in_turns(
    rows: NDArray[np.int64], groups: NDArray[np.integer], within: NDArray[np.integer],
    per_turn: NDArray[np.integer],
) -> NDArray[np.int64]:  # fmt: skip
    """Return some rows in the order of `round_robin` without a constraint."""
    order = np.lexsort((within[rows], groups[rows]))
    codes = groups[rows][order]
    place = np.empty(rows.size, np.int64)
    place[order] = np.arange(rows.size) - np.searchsorted(codes, codes)
    return rows[round_robin(groups[rows], place, per_turn)]


def _by_group(groups: NDArray[np.integer], within: NDArray[np.integer], k: int) -> list[list[int]]:
    """Return the rows of each group in the order of `within`."""
    order = np.lexsort((within, groups))
    bounds = np.searchsorted(groups[order], np.arange(1, k))
    return [part.tolist() for part in np.split(order, bounds)] if k else []
