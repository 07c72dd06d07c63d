"""k-means with a growing number of clusters, and the elbow of the mean Vendi score.

Core-set paper, section III-B: K increases from 2 until the mean within-cluster Vendi score changes
by less than delta three times. According to the text, K "minimises" this mean. The mean decreases
almost monotonically to 1 at K = n, so the rule is an elbow, not a minimum.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError
from foveate.progress import Meter, ProgressFn
from foveate.registry import check_choice
from foveate.select._distance import double
from foveate.select._rows import positive
from foveate.select.holders import Holders, opened
from foveate.select.threads import one_thread
from foveate.select.vendi import vendi_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select.holders import Mapped


AXES_ROWS = 10_000  # largest number of rows to compute the main axes from
_BLOCK = 8192  # rows in float64 at a time
_VALUES = 2**20  # values in float64 at a time, of each holder
_DISTANCES = 2**22  # distances to centres in float64 at a time
_TIE = 1e-9  # relative differences of squared distances below this are rounding


@dataclass(frozen=True)
class Elbow:
    """Clusters found by `vendi_elbow`.

    Attributes:
        labels: (n,) int64 cluster of each row, 0 to k - 1, without empty clusters.
        scores: Mean Vendi score of each K of the search, from 2 on.
        centres: (k, d) centres of the fit.
        stopped: Reason for the end of the search: "delta", "max_k", "n" (as many clusters as
            distinct rows) or "given".
    """

    labels: NDArray[np.int64]
    centres: NDArray[np.floating]
    scores: tuple[float, ...]
    stopped: str

    @property
    def k(self) -> int:
        """Number of clusters of the fit."""
        return len(self.centres)


def kmeans(
    x: NDArray[np.floating], k: int, rng: np.random.Generator, start: NDArray | None = None,
    max_iter: int = 300,
) -> tuple[NDArray[np.int64], NDArray[np.floating], NDArray[np.float64]]:  # fmt: skip
    """Cluster rows with Lloyd's algorithm, independent of the number of threads.

    Args:
        x: (n, d) float32 or float64.
        k: Number of clusters.
        rng: Source of randomness of k-means++ if `start` is None.
        start: (k, d) initial centres, or None.
        max_iter: Largest number of iterations.

    Returns:
        Labels (n,) int64 without gaps, centres (k', d), and the squared distance of each row to
        its centre (n,). k' < k if rows coincide.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    seed = int(rng.integers(2**31))
    model = KMeans(
        k, init="k-means++" if start is None else start, n_init=1, random_state=seed,
        max_iter=max_iter,
    )  # fmt: skip
    with one_thread(), warnings.catch_warnings():
        # Coinciding rows give fewer clusters, which the caller sees from the centres.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = model.fit_predict(x)
    used, labels = np.unique(labels, return_inverse=True)
    centres = model.cluster_centers_[used]
    gap = np.empty(len(x))
    for begin in range(0, len(x), _BLOCK):
        part = np.s_[begin : begin + _BLOCK]
        gap[part] = ((x[part] - centres[labels[part]]).astype(np.float64) ** 2).sum(axis=1)
    return labels.astype(np.int64), centres, gap


def vendi_elbow(
    x: NDArray[np.floating],
    rng: np.random.Generator,
    *,
    clusters: int | None = None,
    delta: float = 0.005,
    patience: int = 3,
    max_k: int | None = 64,
    vendi_rows: int | None = 1024,
    warm: bool = True,
    stop: str = "consecutive",
    progress: ProgressFn | None = None,
) -> Elbow:
    """Find K by the elbow of the mean Vendi score, and cluster the rows.

    Args:
        x: (n, d) embeddings.
        rng: Source of randomness.
        clusters: K, or None to search for it.
        delta: Relative changes of the mean Vendi score below this count as flat.
        patience: Number of flat changes that end the search.
        max_k: Largest K; None for n.
        vendi_rows: Largest number of rows of a cluster for its Vendi score; None for all.
        warm: Whether to initialise K + 1 with the centres of K and one row of the worst cluster; a
            search then costs little more than one fit.
        stop: "consecutive": the last `patience` changes are all below delta (the paper's text);
            "mean": the mean of these changes, relative to the best score so far, is at most delta,
            and K is one more than in the last fit (the code released with the challenge).
        progress: Called with ticks.

    Returns:
        The clusters of the last fit.

    Raises:
        ParameterError: An option is out of range.
    """
    check_choice("stop", stop, ("consecutive", "mean"))
    if not (delta > 0 and patience >= 1 and (max_k is None or max_k >= 2)):
        raise ParameterError(
            f"delta={delta}, patience={patience}, max_k={max_k}",
            "delta must be above 0, patience at least 1, and max_k at least 2.",
        )
    n = len(x)
    positive("vendi_rows", vendi_rows, n)
    rows = np.ascontiguousarray(x, dtype=np.float32)
    cap = n if max_k is None else min(n, max_k)
    if clusters is not None:
        if not 1 <= clusters <= n:
            raise ParameterError(f"clusters={clusters}", f"Allowed: 1 to {n}, the number of rows.")
        labels, centres, _ = kmeans(rows, clusters, rng)
        return Elbow(labels, centres, (), "given")
    if n < 3:
        return Elbow(np.arange(n), rows, (), "n")
    sampler = np.random.default_rng(rng.integers(2**63))
    scores: list[float] = []
    start = None
    stopped = "max_k" if cap < n else "n"
    labels, centres = np.zeros(n, np.int64), rows[:1]
    with Meter(progress, "searching the number of clusters") as meter:
        for k in range(2, cap + 1):
            labels, centres, gap = kmeans(rows, k, rng, start)
            scores.append(_mean_vendi(rows, labels, vendi_rows, sampler))
            meter.advance()
            if len(centres) < k:
                stopped = "n"
                break
            if _flat(scores, delta, patience, stop):
                stopped = "delta"
                if stop == "mean" and k < n:
                    labels, centres, _ = kmeans(rows, k + 1, rng, _grow(rows, labels, centres, gap))
                break
            start = _grow(rows, labels, centres, gap) if warm else None
    return Elbow(labels, centres, tuple(scores), stopped)


def cells(
    x: NDArray[np.floating], k: int, rng: np.random.Generator, fit_rows: int | None = 50_000
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Cluster rows that may not fit into memory: fit on a sample, assign others to the nearest.

    Args:
        x: (n, d) float; may be a memory map.
        k: Number of clusters.
        rng: Source of randomness of the sample and of k-means.
        fit_rows: Largest number of rows that k-means is fitted on, copied as float32; None for
            all.

    Returns:
        Labels (n,) int64, and centres (k', d), k' < k if rows coincide. Clusters may be empty.

    Raises:
        ParameterError: `fit_rows` is below 1.
    """
    n = len(x)
    fitted = positive("fit_rows", fit_rows, n)
    if n <= fitted:
        rows = np.ascontiguousarray(x, dtype=np.float32)
        labels, centres, _ = kmeans(rows, min(k, n), rng)
        return labels, centres
    sample = np.sort(rng.choice(n, fitted, replace=False))
    rows = np.ascontiguousarray(x[sample], dtype=np.float32)
    centres = kmeans(rows, min(k, len(rows)), rng)[1]
    return nearest(x, centres), centres


def nearest(
    x: NDArray[np.floating], centres: NDArray[np.floating], holders: Holders | None = None
) -> NDArray[np.int64]:
    """Return the nearest centre of each row, (n,) int64; `x` is read in blocks.

    Args:
        x: (n, d) float; may be a memory map.
        centres: (k, d) float.
        holders: How rows are divided; None for threads. It does not change the result.

    Raises:
        DataError: Holders are in other processes and the matrix is not a file.
        StorageError: A holder in another process ended.
    """
    how = Holders() if holders is None else holders
    block = max(256, min(_VALUES // max(x.shape[1], 1), _DISTANCES // max(len(centres), 1)))
    ranges = how.ranges(*x.shape, block)
    parts = [{"x": how.part(x, rows), "block": block} for rows in ranges]
    with one_thread(), how.open(_Rows, ranges, parts) as crew:
        return np.concatenate([np.empty(0, np.int64), *crew.each("nearest", centres)])


class _Rows:
    """Some rows of a matrix, or where they are."""

    def __init__(self, x: NDArray[np.floating] | Mapped, block: int) -> None:
        self.x, self.block = opened(x), block

    def nearest(self, centres: NDArray[np.floating]) -> NDArray[np.int32]:
        labels = np.empty(len(self.x), np.int32)
        turned = 2 * centres.astype(np.float64).T
        norms = (centres.astype(np.float64) ** 2).sum(axis=1)
        for begin in range(0, len(labels), self.block):
            part = slice(begin, begin + self.block)
            rows = double(np.asarray(self.x[part]))
            labels[part] = (norms - rows @ turned).argmin(axis=1)
        return labels


def main_axes(x: NDArray[np.floating], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the right singular vectors with the largest singular values.

    Rows are not centred, so that projected rows approximate lengths and angles, as needed for
    k-means and Vendi scores. Randomised (Halko, Martinsson and Tropp 2011), on at most `AXES_ROWS`
    rows.

    Args:
        x: (n, d) float; may be a memory map.
        count: Number of axes, below d.
        rng: Source of randomness of the sample and of the algorithm.

    Returns:
        (d, q) float32 with orthonormal columns, q = min(count, n).
    """
    from sklearn.utils.extmath import randomized_svd

    sample = np.arange(len(x))
    if len(x) > AXES_ROWS:
        sample = np.sort(rng.choice(len(x), AXES_ROWS, replace=False))
    rows = np.asarray(x[sample], dtype=np.float32)
    with one_thread():
        _, _, axes = randomized_svd(
            rows, min(count, len(rows)), n_iter=3, random_state=int(rng.integers(2**31))
        )
    return np.ascontiguousarray(axes.T, dtype=np.float32)


def _flat(scores: list[float], delta: float, patience: int, stop: str) -> bool:
    if stop == "mean":
        best = np.minimum.accumulate(scores)
        changes = [abs(best[i - 1] - scores[i]) / scores[i] for i in range(1, len(scores))]
        return bool(changes) and float(np.mean(changes[-patience:])) <= delta
    changes = [abs(scores[i] - scores[i - 1]) / scores[i - 1] for i in range(1, len(scores))]
    return len(changes) >= patience and max(changes[-patience:]) < delta


def _grow(
    x: NDArray[np.floating],
    labels: NDArray[np.int64],
    centres: NDArray[np.floating],
    gap: NDArray[np.float64],
) -> NDArray[np.floating]:
    """Add a centre: the farthest row of the cluster with the largest sum of squares.

    Ties up to rounding go to the first row, for example in a cluster of two rows, which are equally
    far from their mean.
    """
    worst = int(np.bincount(labels, weights=gap).argmax())
    members = np.flatnonzero(labels == worst)
    rows = x[members].astype(np.float64)
    far = np.square(rows - rows.mean(axis=0)).sum(axis=1)
    return np.vstack([centres, x[members[int((far >= far.max() * (1 - _TIE)).argmax())]]])


def _mean_vendi(
    x: NDArray[np.floating],
    labels: NDArray[np.int64],
    limit: int | None,
    rng: np.random.Generator,
) -> float:
    """Return the mean over clusters, not weighted by size, as in the paper."""
    values = []
    with one_thread():
        for cluster in range(int(labels.max()) + 1):
            members = np.flatnonzero(labels == cluster)
            if limit is not None and members.size > limit:
                members = np.sort(rng.choice(members, limit, replace=False))
            values.append(vendi_score(x[members]))
    return float(np.mean(values))
