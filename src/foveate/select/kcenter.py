"""Greedy k-center: each pick is the row farthest from everything picked so far.

Gonzalez 1985 (a 2-approximation of the smallest covering radius); as a core-set method Sener and
Savarese 2018, and the baseline "CoreSet" of section IV-C of "Core-Set Selection for
Data-efficient Land Cover Segmentation" (Nogueira et al. 2025).

The textbook loop reads all of `x` for every pick. Here a pass over `x` brings every row's
distance to the centres up to date by a matrix product, and keeps the rows with the largest
distances in memory; picks come from these candidates until the best of them is no longer farther
than every other row was at the last pass. That is exact, because distances only fall.

It stays exact with a product in single precision, because the product only bounds distances
(`_distance`). Rows that the bounds leave in doubt are compared by sums of squared differences in
float64, whose order of arithmetic is fixed. The picks are those of the textbook loop in float64,
whatever the block size, the number of candidates, or the threads of BLAS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError
from foveate.progress import Meter
from foveate.select._candidates import NEAR, Candidates
from foveate.select._cover import Cover
from foveate.select._distance import Points
from foveate.select._rows import (
    Metric,
    check_given,
    check_k,
    check_metric,
    check_rows,
    check_ties,
    positive,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint

__all__ = ["NEAR", "KCenter", "Metric", "kcenter_greedy"]

_BLOCK_VALUES = 2**21  # of x in one block: 8 MiB as float32
_CANDIDATE_VALUES = 2**20  # of x held for the candidates: 4 MiB as float32


@dataclass(frozen=True)
class KCenter:
    """An order of rows by greedy k-center.

    Attributes:
        rows: (k,) int64, rows of `x` in the order of choice; rows that were given are not among
            them.
        distance: (k,) float64, distance of each pick to the nearest centre before it: in the
            unit of `x`, or 1 - cosine similarity. inf for the first pick when nothing was given.
            The value after the last pick bounds the covering radius from above.
        passes: Passes over `x`, the one that checks it included.
        near_ties: Picks at which another row's squared distance was within a relative `NEAR`
            (2e-6) of the best, equal ones included. Only there could other arithmetic (another
            device, float32) pick another row.
    """

    rows: NDArray[np.int64]
    distance: NDArray[np.float64]
    passes: int
    near_ties: int


def kcenter_greedy(
    x: NDArray[np.floating],
    k: int,
    *,
    ties: NDArray[np.uint64],
    start: int | None = None,
    given: ArrayLike | None = None,
    constraint: Constraint | None = None,
    metric: Metric = "euclidean",
    block: int | None = None,
    candidates: int | None = None,
    progress: ProgressFn | None = None,
) -> KCenter:
    """Pick `k` rows, each the farthest from the ones before it.

    `x` is read in blocks and never copied as a whole: beside it, under 100 bytes per row are
    needed, and some blocks. Duplicates may be picked, after every distinct row.

    Args:
        x: (n, d) float16, float32 or float64; may be a memory map.
        k: How many rows to pick, 0 to n less the given ones.
        ties: (n,) uint64 keys, see `foveate.seeds.tie_keys`: among rows at exactly equal
            distances the smallest key wins, then the smallest row.
        start: Row of the first pick. Required when nothing is given and `k` > 0, otherwise not
            allowed.
        given: Rows that are centres already: they cover, and are not picked.
        constraint: Rows that a centre forbids come last, after all others, the farthest first.
        metric: "euclidean", or "cosine" for 1 - cosine similarity.
        block: Rows read at a time; None for 8 MiB of them.
        candidates: Rows kept in memory between passes; None for 4 MiB of them. More candidates
            make fewer passes. Neither changes the picks.
        progress: Called with the number of rows picked.

    Returns:
        Picks, distances, and what they cost.

    Raises:
        DataError: `x` is not a float matrix, or holds NaN, infinity, or (cosine) rows of zeros.
        ParameterError: One of the other arguments cannot be used.

    >>> x = np.array([[0.0], [1.0], [5.0], [9.0]])
    >>> found = kcenter_greedy(x, 3, ties=np.arange(4, dtype=np.uint64), start=0)
    >>> found.rows.tolist(), found.distance.tolist()
    ([0, 3, 2], [inf, 9.0, 4.0])
    """
    check_rows(x)
    check_metric(metric)
    n, d = x.shape
    check_ties(ties, n)
    centres = check_given(given, n)
    check_k(k, n, centres.size)
    if k == 0:
        return KCenter(np.empty(0, np.int64), np.empty(0), 0, 0)
    first = centres if centres.size else _check_start(start, n)
    if centres.size and start is not None:
        raise ParameterError(
            f"start={start} and {centres.size} given rows",
            "A start is allowed only when nothing is given: the given rows are the start.",
        )
    block = positive("block", block, max(256, _BLOCK_VALUES // max(d, 1)))
    width = positive("candidates", candidates, max(256, _CANDIDATE_VALUES // max(d, 1)))
    width = max(width, 2)  # a near-tie takes two rows to see

    points = Points.survey(x, metric, block)
    # Place of each row in the order of ties: unique, so that no comparison is left open.
    rank = np.empty(n, np.int64)
    rank[np.lexsort((np.arange(n), ties))] = np.arange(n)
    cover = Cover(points, rank, first)
    picks: list[int] = [] if centres.size else [int(first[0])]
    values: list[float] = [] if centres.size else [np.inf]
    near = 0
    state = None if constraint is None or constraint.empty else constraint.open(first)
    if state is not None:
        cover.forbid(np.flatnonzero(~state.free))
    with Meter(progress, "k-center", k) as meter:
        meter.advance(len(picks))
        while len(picks) < k:
            if state is not None and cover.taken.all():
                state = None
                cover.release()
            cover.refresh()
            held = Candidates(cover, width, state)
            held.run(k, picks, values, meter)
            near += held.near_ties
    # Half the squared chord of two points of the unit sphere is 1 - cosine.
    root = np.sqrt(values) / points.scale
    distance = np.square(root) / 2 if metric == "cosine" else root
    return KCenter(np.array(picks, np.int64), distance, cover.passes + 1, near)


def _check_start(start: int | None, n: int) -> NDArray[np.int64]:
    if start is None:
        raise ParameterError(
            "neither start nor given rows",
            f"Something must be first: allowed is a start from 0 to {n - 1}.",
            "Draw one with foveate.seeds.rng(seed, 'kcenter/start').integers(n).",
        )
    if not 0 <= start < n:
        raise ParameterError(f"start={start}", f"Allowed are rows 0 to {n - 1}.")
    return np.array([start], np.int64)
