"""FD, feature diversity: core-set paper, section III-B.

Cluster the embeddings, then take one random patch of each cluster in turn. Deviations:

- The search for K is capped (``max_k``): without a cap, structureless data goes on to one
  cluster for every few patches. ``preset="paper"`` has no cap.
- K + 1 starts from the clusters of K (``warm``); the paper does not say.
- The Vendi score of a large cluster is that of 1024 of its patches (``vendi_rows``).
- k-means is fitted on at most 100,000 patches (``fit_rows``); the others join the nearest centre.
- Of features of more than 256 columns the 256 main axes are clustered (``axes``).

``preset="paper"`` has none of these. ``preset="released"`` follows the public code: K from a 10 %
sample, the mean change as the rule, one cluster more than was fitted, and clusters of many faces
giving several patches per turn. It does not reproduce what the code does by slip or by chance:
the network left in training mode, pixel values of 0 to 255 where the weights expect 0 to 1,
K = 1 as the first fit, clusters in the order of their labels, and 1 / N as the last score.

The published FD lists are uncorrelated with all others: what the method does is stratified
random sampling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.seeds import rng
from foveate.select.cluster import kmeans, main_axes, nearest, one_thread, vendi_elbow
from foveate.select.sampling import round_robin
from foveate.select.vendi import vendi_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint


_ROUNDING = 1e-9  # twice the smallest score must not become once by the last bit


def fd(  # noqa: PLR0913  (keyword-only options)
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    progress: ProgressFn | None = None,
    constraint: Constraint | None = None,
    clusters: int | None = None,
    delta: float = 0.005,
    patience: int = 3,
    max_k: int | None = 64,
    k_sample: float = 1.0,
    fit_rows: int | None = 100_000,
    vendi_rows: int | None = 1024,
    axes: int | None = 256,
    warm: bool = True,
    stop: str = "consecutive",
    weights: str = "equal",
) -> Ranking:
    """Rank by taking clusters in turn.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float.
        seed: Starts k-means, chooses the first cluster and the order inside clusters.
        progress: Called with ticks.
        constraint: Kept in each turn: a cluster gives its next patch that is not forbidden.
        clusters: K by hand, or None to search.
        delta: Relative change of the mean Vendi score below which it counts as flat.
        patience: Flat changes that end the search.
        max_k: Largest K of the search; None for n.
        k_sample: Share of the rows that the search for K sees; k-means is then fitted on all.
        fit_rows: k-means is fitted on at most so many rows; None for all.
        vendi_rows: At most so many rows of a cluster enter its Vendi score; None for all.
        axes: Features of more columns are clustered by so many of their main axes; None for all.
        warm: Start K + 1 from the centres of K.
        stop: "consecutive" (paper) or "mean" (released); see `vendi_elbow`.
        weights: "equal", one patch per turn (paper), or "vendi", as many as the cluster's Vendi
            score is times the smallest (released).

    Returns:
        Full ranking; scores fall evenly from 1 to 0. ``meta`` has K and why the search stopped.

    Raises:
        ParameterError: An option is out of range.
    """
    if weights not in ("equal", "vendi"):
        raise ParameterError(f"weights={weights!r}", "Allowed: equal, vendi.")
    if not 0 < k_sample <= 1:
        raise ParameterError(f"k_sample={k_sample}", "A share above 0 and at most 1.")
    if fit_rows is not None and fit_rows < 3:
        raise ParameterError(f"fit_rows={fit_rows}", "At least 3 rows are needed.")
    if axes is not None and axes < 1:
        raise ParameterError(f"axes={axes}", "At least 1.", "axes=256")
    n = len(ids)
    fitted = _sample(n, n if fit_rows is None else fit_rows, seed, "fd/fit")
    x = np.asarray(embeddings[fitted], dtype=np.float32)
    basis = None
    if axes is not None and x.shape[1] > axes:
        basis = main_axes(x, axes, rng(seed, "fd/axes"))
        with one_thread():
            x = x @ basis
    seen = _sample(len(x), max(3, int(len(x) * k_sample)), seed, "fd/sample")
    stream = rng(seed, "fd/kmeans")
    found = vendi_elbow(
        x[seen], stream, clusters=clusters, delta=delta, patience=patience, max_k=max_k,
        vendi_rows=vendi_rows, warm=warm, stop=stop, progress=progress,
    )  # fmt: skip
    labels, centres = found.labels, found.centres
    if len(found.labels) < len(x):
        labels, centres, _ = kmeans(x, found.k, stream)
    if len(x) < n:
        # The axes are orthogonal: distances to what they span are those to the centres in it.
        labels = nearest(embeddings, centres if basis is None else centres @ basis.T)
    k = len(centres)
    cycle = (np.arange(k) - int(rng(seed, "fd/first").integers(max(k, 1)))) % max(k, 1)
    per_turn = np.ones(k, np.int64)
    if weights == "vendi":
        with one_thread():
            vendi = np.array([vendi_score(embeddings[labels == c]) for c in range(k)])
        vendi = np.maximum(vendi, 1.0)  # of a cluster that got no row: 0
        per_turn = np.maximum(1, np.floor(vendi / vendi.min() + _ROUNDING).astype(np.int64))
    rows = round_robin(
        cycle[labels], _shuffled_places(labels, seed), per_turn[np.argsort(cycle)], constraint
    )
    meta = {"clusters": k, "stopped": found.stopped, "mean_vendi": list(found.scores)}
    return Ranking(rows, np.linspace(1, 0, n), n, meta=meta)


def _sample(n: int, size: int, seed: int, name: str) -> NDArray[np.int64] | slice:
    """A sorted random sample of rows; all of them, uncopied, when it would be the whole."""
    if size >= n:
        return slice(None)
    return np.sort(rng(seed, name).choice(n, size, replace=False))


def _shuffled_places(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A random place inside its cluster for each row: (n,) 0, 1, 2 ... per cluster."""
    shuffled = rng(seed, "fd/order").permutation(labels.size)
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels) if labels.size else np.zeros(0, np.int64)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.empty(labels.size, np.int64)
    place[order] = np.arange(labels.size) - starts
    return place


_LITERAL = {"max_k": None, "vendi_rows": None, "fit_rows": None, "axes": None, "warm": False}

METHOD = Method(
    name="fd",
    title="Feature diversity (FD)",
    source="core-set paper, section III-B",
    function=fd,
    needs=("embeddings",),
    presets={
        "paper": _LITERAL,
        "released": _LITERAL | {"k_sample": 0.1, "stop": "mean", "weights": "vendi"},
    },
)
