"""k-center of very many picks: exact at first, then inside cells of rows that are alike.

Exact k-center computes a distance of every row to every pick: for 100,000 picks of ten million
rows that is hours. Here it makes the first picks. The other rows are then divided into cells of at
most as many rows, by k-means of k-means; in each cell the loop goes on by itself, from the first
picks; and what the cells pick is put into one order, the farthest first. So a pick costs the
distances of one cell.

The order is the same for every depth: the first picks and the cells do not depend on it, and
distances inside a cell only fall. And no row is farther from a pick than the last pick was from
those before it in its cell, because a row's own cell would have picked it.

What is lost: cells do not see each other's picks, so two of them may pick neighbours across their
border. Greedy k-center in parts, and of the parts' picks, is the two-round scheme of Malkomes et
al. 2015 ("Fast Distributed k-Center Clustering with Outliers on Massive Data"). Its second round
is left out: among a fixed share of the rows it made deep orders worse, and cost most of the time.
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
from foveate.select.cluster import kmeans, one_thread
from foveate.select.holders import Holders, usable_threads
from foveate.select.kcenter import KCenter, kcenter_greedy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from foveate.progress import ProgressFn
    from foveate.select._rows import Metric
    from foveate.select.constraints import Constraint

__all__ = ["InCells", "kcenter_in_cells"]

_BRANCHES = 128  # parts of a cell, at most
_SAMPLE = 64  # rows of each part that k-means is fitted on
_ITERATIONS = 10
_WHOLE = 0.9  # a cell of which one part has more than this share is left whole
_VALUES = 2**21  # of x in one block
_STEP = 32  # picks that a cell makes at once, at least


@dataclass(frozen=True)
class InCells:
    """What `kcenter_in_cells` found.

    Attributes:
        found: The order. The distance of a pick after the first `exact` is that to the nearest
            centre in its cell or among the first picks. `passes` are those of the first picks.
        cells: Number of cells; 0 where all picks are exact.
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
    """Pick `k` rows, the first of them as `kcenter_greedy` does, the others inside cells.

    Args:
        x: (n, d) float16, float32 or float64; may be a memory map.
        k: How many rows to pick.
        exact: How many are exact, and how many rows a cell has at most (more, where k-means does
            not divide them).
        ties: As for `kcenter_greedy`.
        rng: Draws the rows that k-means is fitted on, and starts it.
        start: As for `kcenter_greedy`.
        given: Rows that are centres already.
        constraint: Kept. After the first picks, a row that it puts back counts as picked in its
            own cell.
        metric: "euclidean", or "cosine".
        progress: Called with the number of rows picked.

    Returns:
        The order, and the number of cells.

    Raises:
        DataError: As for `kcenter_greedy`.
        ParameterError: One of the other arguments cannot be used.
    """
    if exact < 1:
        raise ParameterError(f"exact={exact}", "At least the first pick is exact.")
    before = check_given(given, len(x))
    check_k(k, len(x), before.size)
    first = kcenter_greedy(
        x, min(k, exact), ties=ties, start=start, given=given, constraint=constraint,
        metric=metric, progress=progress,
    )  # fmt: skip
    if k <= exact:
        return InCells(first, 0)
    centres = np.concatenate([before, first.rows])
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
    """Divide rows into cells of at most `size`, by k-means on a sample, again and again.

    Args:
        x: (n, d) float.
        rows: (m,) int64 rows that are divided, ascending.
        size: Largest number of rows; only rows that k-means does not tell apart stay together.
        rng: Draws samples, and starts k-means.
        metric: "euclidean" or "cosine".
        pool: Threads.

    Returns:
        Rows of each cell, ascending.
    """
    points = Points.survey(x, metric, max(256, _VALUES // max(x.shape[1], 1)))
    done, left = [], [rows]
    while left:
        whole = left.pop()
        parts = [whole] if whole.size <= size else _parts(points, whole, size, rng, pool)
        if max(part.size for part in parts) > _WHOLE * whole.size:
            done.append(whole)
        else:
            left.extend(reversed(parts))
    return done


def _parts(
    points: Points, rows: NDArray[np.int64], size: int, rng: np.random.Generator,
    pool: ThreadPoolExecutor,
) -> list[NDArray[np.int64]]:  # fmt: skip
    """Return the rows by their nearest centre, without empty parts."""
    single = np.dtype(np.float32)
    count = min(_BRANCHES, -(-2 * rows.size // size))
    some = np.sort(rng.choice(rows, min(rows.size, _SAMPLE * count), replace=False))
    sample = points.work(some, single)
    centres = kmeans(sample, min(count, some.size), rng, max_iter=_ITERATIONS)[1]
    half = np.einsum("ij,ij->i", centres, centres) / 2

    def nearest(begin: int) -> NDArray[np.intp]:
        block = points.work(rows[begin : begin + points.block], single)
        return (block @ centres.T - half).argmax(axis=1)

    label = np.concatenate(list(pool.map(nearest, range(0, rows.size, points.block))))
    order = np.argsort(label, kind="stable")
    parts = np.split(rows[order], np.cumsum(np.bincount(label, minlength=len(centres)))[:-1])
    return [part for part in parts if part.size]


class _Cells:
    """Cells, and what they have picked so far."""

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
        """Return the first `k` rows that may be picked, then those put back, and distances."""
        if constraint is None or constraint.empty:
            return self.order(k)
        n = sum(part.size for part in self.members)
        wanted = k
        while True:
            rows, distance = self.order(wanted)
            admitted = constraint.open(self.centres).admit(rows)
            if admitted.size >= k or wanted == n:
                break
            wanted = min(2 * wanted, n)
        back = ~np.isin(rows, admitted)
        order = np.concatenate([np.flatnonzero(~back), np.flatnonzero(back)])[:k]
        return rows[order], distance[order]

    def order(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the first `k` rows of all cells, the farthest first, and their distances."""
        while deeper := self._deeper(k):
            for number, found in zip(deeper, self.pool.map(self._more, deeper), strict=True):
                self._rows[number] = np.append(self._rows[number], found.rows)
                self._distance[number] = np.append(self._distance[number], found.distance)
                self.near_ties += found.near_ties
        rows, distance = np.concatenate(self._rows), np.concatenate(self._distance)
        order = np.lexsort((rows, self.ties[rows], -distance))[:k]
        return rows[order], distance[order]

    def _deeper(self, k: int) -> list[int]:
        """Return cells that may have more of the first `k` rows; none once all are known."""
        last = np.array([
            -np.inf if rows.size == part.size else distance[-1] if rows.size else np.inf
            for part, rows, distance in zip(
                self.members, self._rows, self._distance, strict=True
            )
        ])  # fmt: skip
        # A row that is not picked yet is at most as far as the last of its cell.
        found = np.concatenate(self._distance)
        edge = np.median(last[last >= 0]) if found.size < k else np.partition(found, -k)[-k]
        return np.flatnonzero((last >= edge) & (last >= 0)).tolist()

    def _more(self, number: int) -> KCenter:
        """Return further picks of a cell, as many as it has."""
        known = self._rows[number]
        left = self.members[number]
        left = left[~np.isin(left, known)]
        held = np.concatenate([self.centres, known])
        rows = np.concatenate([held, left])
        more = min(left.size, max(_STEP, known.size))
        found = kcenter_greedy(
            np.asarray(self.x[rows]), more, ties=self.ties[rows],
            given=np.arange(held.size), metric=self.metric, holders=Holders(1),
        )  # fmt: skip
        return KCenter(rows[found.rows], found.distance, found.passes, found.near_ties)
