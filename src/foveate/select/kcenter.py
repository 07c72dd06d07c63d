"""Greedy k-center: each pick is the row farthest from all earlier picks.

Gonzalez 1985 (a 2-approximation of the smallest covering radius); as a core-set method Sener and
Savarese 2018, and the baseline "CoreSet" of section IV-C of "Core-Set Selection for
Data-efficient Land Cover Segmentation" (Nogueira et al. 2025).

The textbook loop reads all of `x` for every pick. Here a pass over `x` updates the distance of
every row to the centres by a matrix product, and keeps the rows with the largest distances in
memory. Picks come from these candidates until the best of them is no farther than any other row
was at the last pass. This is exact, because distances only decrease.

Rows may be divided among holders (`holders`): in a pass, each reads its rows, and sends the
farthest. A pass is one round of messages, and the picks are the same for any number of holders.

Picks are exact although products are in single precision, because these only bound distances
(`_distance`). If the bounds do not decide, rows are compared by sums of squared differences in
float64 with a fixed order of operations. The picks are those of the textbook loop in float64 for
any block size, number of candidates, or number of BLAS threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError
from foveate.progress import Meter
from foveate.select._candidates import NEAR, Candidates
from foveate.select._cover import Centres, Far, Holder
from foveate.select._held import Known, survey
from foveate.select._rows import (
    Metric,
    check_given,
    check_k,
    check_metric,
    check_rows,
    check_ties,
    positive,
)
from foveate.select.holders import Holders

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint
    from foveate.select.holders import Crew

__all__ = ["NEAR", "KCenter", "Metric", "kcenter_greedy"]

_BLOCK_VALUES = 2**21  # values of x in a block: 8 MiB as float32
_CANDIDATE_VALUES = 2**20  # values of x for the candidates: 4 MiB as float32


@dataclass(frozen=True)
class KCenter:
    """An order of rows by greedy k-center.

    Attributes:
        rows: (k,) int64, rows of `x` in the order of selection, without given rows.
        distance: (k,) float64, distance of each pick to the nearest earlier centre: in the unit of
            `x`, or 1 - cosine similarity. inf for the first pick without given rows. The value
            after the last pick is an upper bound of the covering radius.
        passes: Number of passes over `x`, including the validation.
        near_ties: Number of picks for which another row had a squared distance within a relative
            `NEAR` (2e-6) of the best, including equal ones. Only these picks could differ with
            other arithmetic (another device, float32).
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
    among: NDArray[np.bool_] | None = None,
    holders: Holders | None = None,
    progress: ProgressFn | None = None,
) -> KCenter:
    """Pick `k` rows, each the farthest from the ones before it.

    `x` is read in blocks and not copied as a whole: besides it, less than 100 bytes per row are
    needed, and some blocks. Duplicates are picked after all distinct rows.

    Args:
        x: (n, d) float16, float32 or float64; may be a memory map.
        k: Number of rows to pick, from 0 to n minus the number of given rows.
        ties: (n,) uint64 keys, see `foveate.seeds.tie_keys`: among rows at exactly equal
            distances the smallest key wins, then the smallest row.
        start: Row of the first pick. Required without given rows if `k` > 0, otherwise not
            allowed.
        given: Rows that are already centres and are not picked.
        constraint: Rows that a centre forbids come after all others, the farthest first.
        metric: "euclidean", or "cosine" for 1 - cosine similarity.
        block: Rows read at a time; None for 8 MiB of them.
        candidates: Rows kept in memory between passes; None for 4 MiB of them. More candidates
            make fewer passes. Neither changes the picks.
        among: (n,) bool, rows that may be picked; other rows are not read; None for all. The start
            and given rows need not be among them.
        holders: Division of the rows; None for threads. It does not change the picks.
        progress: Called with the number of rows picked.

    Returns:
        Picks, distances, and costs.

    Raises:
        DataError: `x` is not a float matrix, or contains NaN, infinity, or (cosine) rows of zeros;
            or holders are in other processes and the matrix is not a file.
        ParameterError: Another argument is invalid.
        StorageError: A holder in another process ended.

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
    check_k(k, _free(n, among, centres), centres.size)
    if k == 0:
        return KCenter(np.empty(0, np.int64), np.empty(0), 0, 0)
    first = centres if centres.size else _check_start(start, n)
    if centres.size and start is not None:
        raise ParameterError(
            f"start={start} and {centres.size} given rows",
            "A start is allowed only without given rows.",
            "Leave one of them out.",
        )
    block = positive("block", block, max(256, _BLOCK_VALUES // max(d, 1)))
    width = positive("candidates", candidates, max(256, _CANDIDATE_VALUES // max(d, 1)))
    width = max(width, 2)  # two rows are needed to detect near-ties

    how = Holders() if holders is None else holders
    outside = None if among is None else ~among
    ranges = how.ranges(n, d, block)
    parts = [
        {
            "x": how.part(x, rows), "begin": rows.start, "ties": ties[rows],
            "metric": metric, "block": block,
            "outside": None if outside is None else outside[rows], "sends": how.remote,
        }
        for rows in ranges
    ]  # fmt: skip
    with how.open(Holder, ranges, parts) as crew:
        points = survey(crew, Known(crew, x.dtype) if how.remote else x, n, metric, block)
        state = Centres(points, ties, first, outside)
        picks: list[int] = [] if centres.size else [int(first[0])]
        values: list[float] = [] if centres.size else [np.inf]
        with Meter(progress, "k-center", k) as meter:
            meter.advance(len(picks))
            near = _pick(
                crew, state, k, picks, values, meter=meter, constraint=constraint, width=width
            )
    # Half the squared chord of two points of the unit sphere is 1 - cosine.
    root = np.sqrt(values) / points.scale
    distance = np.square(root) / 2 if metric == "cosine" else root
    return KCenter(np.array(picks, np.int64), distance, state.passes + 1, near)


def _pick(
    crew: Crew, centres: Centres, k: int, picks: list[int], values: list[float], *, meter: Meter,
    constraint: Constraint | None, width: int,
) -> int:  # fmt: skip
    """Append picks and their squared distances up to a total of `k`; return the near-ties."""
    near = 0
    state = None
    if constraint is not None and not constraint.empty:
        state = constraint.open(centres.rows)
        centres.forbid(np.flatnonzero(~state.free))
    while len(picks) < k:
        if state is not None and centres.taken.all():
            state = None
            centres.release()
        far = Far.merged(crew.each("refresh", centres.news(), width + 1)).first(width + 1)
        if isinstance(centres.points.x, Known):
            centres.points.x.keep(far.rows, far.vectors, centres.rows)
        held = Candidates(centres, far, width, state)
        held.run(k, picks, values, meter)
        near += held.near_ties
    return near


def _free(n: int, among: NDArray[np.bool_] | None, centres: NDArray[np.int64]) -> int:
    """Return the number of rows that are centres or may be picked."""
    if among is None:
        return n
    if among.shape != (n,) or among.dtype != bool:
        raise ParameterError(
            f"among of shape {among.shape} and dtype {among.dtype}",
            f"Expected one bool per row, shape ({n},).",
        )
    return int(among.sum() + (~among[centres]).sum())


def _check_start(start: int | None, n: int) -> NDArray[np.int64]:
    if start is None:
        raise ParameterError(
            "neither start nor given rows",
            f"One of them is required; a start must be from 0 to {n - 1}.",
            "Draw one with foveate.seeds.rng(seed, 'kcenter/start').integers(n).",
        )
    if not 0 <= start < n:
        raise ParameterError(f"start={start}", f"Allowed: rows 0 to {n - 1}.")
    return np.array([start], np.int64)
