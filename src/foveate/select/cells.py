"""k-center for many picks: exact first picks, then independent loops in cells of similar rows.

Exact k-center computes the distance of every row to every pick, which takes hours for 100,000 picks
from ten million rows. Here, only the first `exact` picks are exact. The other rows are divided into
cells of at most `exact` rows by hierarchical k-means. In each cell, the greedy loop continues
independently, starting from the first picks, and the picks of all cells are merged in descending
order of distance. A pick then costs the distances within one cell only.

The order is nested: the first picks and the cells do not depend on `k`, and distances within a cell
only decrease. No remaining row is farther from its nearest pick than the distance of the last pick,
because its own cell would have picked it before.

Cells do not know each other's picks, so two cells may pick neighbouring rows at their border.
Greedy k-center in parts, and then among the picks of all parts, is the two-round scheme of Malkomes
et al. 2015 ("Fast Distributed k-Center Clustering with Outliers on Massive Data"). The second round
is omitted: among a fixed share of the rows, it made long orders worse and took most of the time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError
from foveate.progress import Meter
from foveate.select._distance import Points
from foveate.select._rows import check_given, check_k
from foveate.select.cluster import kmeans
from foveate.select.holders import Holders
from foveate.select.kcenter import KCenter, kcenter_greedy
from foveate.select.threads import one_thread, usable_threads

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from foveate.progress import ProgressFn
    from foveate.select._rows import Metric
    from foveate.select.constraints import Constraint

__all__ = ["InCells", "kcenter_in_cells"]

_BRANCHES = 128  # maximum number of clusters of one split
_SAMPLE = 64  # rows for each cluster to fit k-means
_ITERATIONS = 10
_WHOLE = 0.9  # a split is rejected if one cluster has more than this share of the rows
_VALUES = 2**21  # values of x in one block
_STEP = 32  # minimum number of picks that a cell makes at once


@dataclass(frozen=True)
class InCells:
    """Result of `kcenter_in_cells`.

    Attributes:
        found: The order. For picks after the first `exact`, the distance is that to the nearest
            centre in the same cell or among the first picks. `passes` counts the first picks only.
        cells: Number of cells; 0 if all picks are exact.
    """

    found: KCenter
    cells: int


def kcenter_in_cells(
    x: NDArray[np.floating],
    k: int,
    *,
    exact: int,
    ties: NDArray[np.uint64],
    rng: np.random.Generator,
    start: int | None = None,
    given: ArrayLike | None = None,
    constraint: Constraint | None = None,
    metric: Metric = "euclidean",
    progress: ProgressFn | None = None,
) -> InCells:
    """Pick `k` rows: the first ones by `kcenter_greedy`, the others by greedy loops in cells.

    Args:
        x: (n, d) float16, float32 or float64; may be a memory map.
        k: Number of rows to pick.
        exact: Number of exact picks, and maximum number of rows of a cell; cells that k-means
            cannot split are larger.
        ties: As for `kcenter_greedy`.
        rng: Source of randomness of samples and of k-means.
        start: As for `kcenter_greedy`.
        given: Rows that are already centres.
        constraint: Constraint on the picks. After the first picks, a row that is put back still
            counts as a centre in its own cell.
        metric: "euclidean", or "cosine".
        progress: Called with the number of picked rows.

    Returns:
        The order, and the number of cells.

    Raises:
        DataError: As for `kcenter_greedy`.
        ParameterError: One of the other arguments is invalid.
    """
    if exact < 1:
        raise ParameterError(f"exact={exact}", "At least the first pick must be exact.")
    initial = check_given(given, len(x))
    check_k(k, len(x), initial.size)
    first = kcenter_greedy(
        x, min(k, exact), ties=ties, start=start, given=given, constraint=constraint,
        metric=metric, progress=progress,
    )  # fmt: skip
    if k <= exact:
        return InCells(first, 0)
    centres = np.concatenate([initial, first.rows])
    rest = np.setdiff1d(np.arange(len(x)), centres)
    with one_thread(), ThreadPoolExecutor(usable_threads()) as pool:
        members = divide(x, rest, exact, rng, metric=metric, pool=pool)
        cells = _Cells(x, members, centres=centres, ties=ties, metric=metric, pool=pool)
        with Meter(progress, "k-center in cells", k) as meter:
            meter.advance(exact)
            rows, distance = cells.first(k - exact, constraint)
            meter.advance(rows.size)
    return InCells(
        KCenter(
            np.concatenate([first.rows, rows]), np.concatenate([first.distance, distance]),
            first.passes, first.near_ties + cells.near_ties,
        ),
        len(members),
    )  # fmt: skip


def divide(
    x: NDArray[np.floating], rows: NDArray[np.int64], size: int, rng: np.random.Generator, *,
    metric: Metric, pool: ThreadPoolExecutor,
) -> list[NDArray[np.int64]]:  # fmt: skip
    """Divide rows into cells of at most `size` rows by recursive k-means, fitted on samples.

    Args:
        x: (n, d) float.
        rows: (m,) int64 rows to divide, ascending.
        size: Maximum number of rows of a cell; exceeded only by rows that k-means cannot split.
        rng: Source of randomness of samples and of k-means.
        metric: "euclidean" or "cosine".
        pool: Threads.

    Returns:
        Rows of each cell, ascending.
    """
    points = Points.survey(x, metric, max(256, _VALUES // max(x.shape[1], 1)))
    done, left = [], [rows]
    while left:
        cell = left.pop()
        clusters = [cell] if cell.size <= size else _split(points, cell, size, rng, pool)
        if max(cluster.size for cluster in clusters) > _WHOLE * cell.size:
            done.append(cell)
        else:
            left.extend(reversed(clusters))
    return done


def _split(
    points: Points, rows: NDArray[np.int64], size: int, rng: np.random.Generator,
    pool: ThreadPoolExecutor,
) -> list[NDArray[np.int64]]:  # fmt: skip
    """Return the rows of each k-means cluster, without empty clusters."""
    single = np.dtype(np.float32)
    count = min(_BRANCHES, -(-2 * rows.size // size))
    drawn = np.sort(rng.choice(rows, min(rows.size, _SAMPLE * count), replace=False))
    sample = points.work(drawn, single)
    centres = kmeans(sample, min(count, drawn.size), rng, max_iter=_ITERATIONS)[1]
    half = np.einsum("ij,ij->i", centres, centres) / 2

    def nearest(begin: int) -> NDArray[np.intp]:
        block = points.work(rows[begin : begin + points.block], single)
        return (block @ centres.T - half).argmax(axis=1)

    label = np.concatenate(list(pool.map(nearest, range(0, rows.size, points.block))))
    order = np.argsort(label, kind="stable")
    clusters = np.split(rows[order], np.cumsum(np.bincount(label, minlength=len(centres)))[:-1])
    return [cluster for cluster in clusters if cluster.size]


class _Cells:
    """Cells and their picks so far."""

    def __init__(
        self, x: NDArray[np.floating], members: list[NDArray[np.int64]], *,
        centres: NDArray[np.int64], ties: NDArray[np.uint64], metric: Metric,
        pool: ThreadPoolExecutor,
    ) -> None:  # fmt: skip
        self.x, self.members, self.centres = x, members, centres
        self.ties, self.metric, self.pool = ties, metric, pool
        self.near_ties = 0
        self._rows = [np.empty(0, np.int64) for _ in members]
        self._distance = [np.empty(0) for _ in members]

    def first(
        self, k: int, constraint: Constraint | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the first `k` rows under a constraint, and their distances.

        Rows that are put back follow the others.
        """
        if constraint is None or constraint.empty:
            return self.order(k)
        n = sum(part.size for part in self.members)
        depth = k
        while True:
            rows, distance = self.order(depth)
            admitted = constraint.open(self.centres).admit(rows)
            if admitted.size >= k or depth == n:
                break
            depth = min(2 * depth, n)
        put_back = ~np.isin(rows, admitted)
        order = np.concatenate([np.flatnonzero(~put_back), np.flatnonzero(put_back)])[:k]
        return rows[order], distance[order]

    def order(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the first `k` rows of all cells, farthest first, and their distances."""
        while unfinished := self._unfinished(k):
            picks = self.pool.map(self._extend, unfinished)
            for number, more in zip(unfinished, picks, strict=True):
                self._rows[number] = np.append(self._rows[number], more.rows)
                self._distance[number] = np.append(self._distance[number], more.distance)
                self.near_ties += more.near_ties
        rows, distance = np.concatenate(self._rows), np.concatenate(self._distance)
        order = np.lexsort((rows, self.ties[rows], -distance))[:k]
        return rows[order], distance[order]

    def _unfinished(self, k: int) -> list[int]:
        """Return the cells whose next picks may be among the first `k` rows."""
        last = np.array([
            -np.inf if rows.size == part.size else distance[-1] if rows.size else np.inf
            for part, rows, distance in zip(
                self.members, self._rows, self._distance, strict=True
            )
        ])  # fmt: skip
        # The distance of a row that is not picked is at most that of the last pick of its cell.
        known = np.concatenate(self._distance)
        threshold = np.median(last[last >= 0]) if known.size < k else np.partition(known, -k)[-k]
        return np.flatnonzero((last >= threshold) & (last >= 0)).tolist()

    def _extend(self, number: int) -> KCenter:
        """Return as many further picks of a cell as it has picks, and at least `_STEP`."""
        picked = self._rows[number]
        left = self.members[number]
        left = left[~np.isin(left, picked)]
        centres = np.concatenate([self.centres, picked])
        rows = np.concatenate([centres, left])
        more = min(left.size, max(_STEP, picked.size))
        result = kcenter_greedy(
            np.asarray(self.x[rows]), more, ties=self.ties[rows],
            given=np.arange(centres.size), metric=self.metric, holders=Holders(1),
        )  # fmt: skip
        return KCenter(rows[result.rows], result.distance, result.passes, result.near_ties)
