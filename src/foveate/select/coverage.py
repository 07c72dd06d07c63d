"""Greedy coverage: each pick is the row that raises the coverage of a reference set most.

With a similarity k and reference rows R, a set S covers ``F(S) = sum over r in R of the largest
k(s, r), s in S``, and a row x adds ``sum over r of max(0, k(x, r) - best(r))``. That is facility
location (Mirchandani and Francis 1990; greedy by Nemhauser, Wolsey and Fisher 1978: at least
1 - 1/e of the optimum), and with a Gaussian k MaxHerding (Bae, Oliveira and Sutherland 2024,
"Generalized Coverage for More Robust Low-Budget Active Learning").

The textbook loop holds all similarities. Here R may be a sample, and no similarity is kept but
those of some candidates. A pass over `x` brings the gain of every row up to date: only reference
rows that are covered better than at the last pass change it, and a pass computes the similarities
with those alone. Picks come from the rows of the largest gains, which are held in memory with their
similarities, until the best of them adds less than another row did at the last pass: gains only
fall, so that this is the textbook's choice. Passes are in float32, what is picked is decided in
float64.

Rows may be divided among holders: each brings the gains of its rows up to date, which is where the
time goes, and sends those of the largest gains. What is picked is decided in one place. Picks and
gains are the same bytes for any number of holders, as gains are computed in the same blocks.

Deviations. With a sample each reference row stands for n / |R| rows, but itself only once: a row
is worth no more for being in the sample. Gains of less than `NEAR` (2^-22) of full coverage are
rounding in float32: rows are picked up to that, and once no row adds more, the rest follow in the
order of their keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError
from foveate.select._coverage import Greedy
from foveate.select._distance import Points
from foveate.select._gains import NEAR, Gains, squared_distances
from foveate.select._held import Known, survey
from foveate.select._rows import (
    check_given,
    check_k,
    check_metric,
    check_rows,
    check_ties,
    positive,
)
from foveate.select.holders import Holders
from foveate.select.threads import one_thread

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from foveate.progress import ProgressFn
    from foveate.select._rows import Metric
    from foveate.select.constraints import Constraint

__all__ = ["NEAR", "Coverage", "coverage_greedy", "median_distance"]

_PASS_VALUES = 2**21  # similarities of a pass held at a time: 8 MiB as float32
_HELD_VALUES = 2**21  # similarities held for the candidates: 16 MiB as float64


@dataclass(frozen=True)
class Coverage:
    """An order of rows by greedy coverage.

    Attributes:
        rows: (k,) int64, rows of `x` in the order of choice; rows that were given are not among
            them.
        gain: (k,) float64, coverage that each pick adds, as a share of full coverage.
        covered: Coverage of the reference rows after the last pick, 0 to 1.
        passes: Passes over `x`.
        similarities: How many similarities were computed; the textbook's loop with all of them in
            memory computes n |R|.
    """

    rows: NDArray[np.int64]
    gain: NDArray[np.float64]
    covered: float
    passes: int
    similarities: int


def coverage_greedy(
    x: NDArray[np.floating],
    k: int,
    *,
    reference: NDArray[np.int64],
    ties: NDArray[np.uint64],
    sigma: float | None = None,
    given: ArrayLike | None = None,
    constraint: Constraint | None = None,
    metric: Metric = "euclidean",
    block: int | None = None,
    candidates: int | None = None,
    holders: Holders | None = None,
    progress: ProgressFn | None = None,
) -> Coverage:
    """Pick `k` rows, each the one that adds most to the coverage of the reference rows.

    `x` is read in blocks and never copied as a whole: beside it, under 100 bytes per row are
    needed, the reference rows in both precisions, and some blocks.

    Args:
        x: (n, d) float16, float32 or float64; may be a memory map.
        k: How many rows to pick, 0 to n less the given ones.
        reference: (m,) int64 distinct rows that are to be covered, at least one.
        ties: (n,) uint64 keys, see `foveate.seeds.tie_keys`: among candidates of equal gains
            the smallest wins.
        sigma: Width of the Gaussian similarity ``exp(-(d / sigma)^2)``, in the unit of distances;
            None for ``1 - (d / D)^2``, D a bound on all distances (facility location).
        given: Rows that are picked already: they cover, and are not picked again.
        constraint: Rows that a pick forbids come last, after all others, in an order that is made
            in the same way.
        metric: Distances d are "euclidean", or "cosine": Euclidean between rows of unit length,
            so that ``d^2 / 2`` is 1 - cosine.
        block: Rows read at a time; None for 8 MiB of similarities.
        candidates: Rows held between passes; None for 16 MiB of similarities, 256 rows at least.
        holders: How rows are divided; None for threads. It does not change the picks.
        progress: Called with the number of rows picked.

    Returns:
        Picks, gains, and what they cost.

    Raises:
        DataError: `x` is not a float matrix, or holds NaN, infinity, or (cosine) rows of zeros;
            or holders are in other processes and the matrix is not a file.
        ParameterError: One of the other arguments cannot be used.
        StorageError: A holder in another process ended.

    >>> x = np.array([[0.0], [1.0], [2.0], [9.0]])
    >>> ties = np.arange(4, dtype=np.uint64)
    >>> found = coverage_greedy(x, 2, reference=np.arange(4), ties=ties)
    >>> found.rows.tolist()
    [2, 3]
    """
    check_rows(x)
    check_metric(metric)
    n = len(x)
    check_ties(ties, n)
    held = check_given(given, n)
    check_k(k, n, held.size)
    if sigma is not None and not (0 < sigma < np.inf):
        raise ParameterError(f"sigma={sigma}", "A width is above 0, in the unit of distances.")
    if k == 0:
        return Coverage(np.empty(0, np.int64), np.empty(0), 0.0, 0, 0)
    m = check_given(reference, n).size
    if m == 0:
        raise ParameterError("no reference rows", f"Allowed is 1 to {n}.")
    block = positive("block", block, max(64, _PASS_VALUES // m))
    width = positive("candidates", candidates, max(256, _HELD_VALUES // m))
    how = Holders() if holders is None else holders
    rank = np.empty(n, np.int64)
    rank[np.lexsort((np.arange(n), ties))] = np.arange(n)
    ranges = how.ranges(*x.shape, block)
    parts = [
        {
            "x": how.part(x, rows), "begin": rows.start, "ranks": rank[rows], "metric": metric,
            "block": block,
        }
        for rows in ranges
    ]  # fmt: skip
    with one_thread(), how.open(Gains, ranges, parts) as crew:
        points = survey(crew, Known(crew, x.dtype) if how.remote else x, n, metric, block)
        greedy = Greedy(crew, points, rank, reference, sigma=sigma, given=held)
        rows, gain = greedy.run(k, width, constraint, progress)
    full = greedy.weight * m
    covered = float(greedy.best.mean())
    return Coverage(rows, gain / full, covered, greedy.passes, greedy.similarities)


def median_distance(
    x: NDArray[np.floating], sample: NDArray[np.int64], metric: Metric = "euclidean"
) -> float:
    """Return the median distance of pairs of distinct rows among a sample; 1 where all coincide.

    Args:
        x: (n, d) float.
        sample: (m,) int64 rows; memory is m^2 numbers.
        metric: As for `coverage_greedy`.
    """
    points = Points.survey(np.ascontiguousarray(x[np.sort(sample)]), metric, 4096)
    rows = points.work(slice(None), np.dtype(np.float64))
    with one_thread():
        squared = squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]
    squared = squared[squared > 1e-12 * squared.max(initial=0)]
    return float(np.sqrt(np.median(squared)) / points.scale) if squared.size else 1.0
