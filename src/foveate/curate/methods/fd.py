"""FD, feature diversity: core-set paper, section III-B.

Cluster the embeddings, then select one random patch of each cluster in turn. Deviations:

- The search for K is limited (``max_k``): without a limit, data without structure end with one
  cluster for every few patches. ``preset="paper"`` has no limit.
- K + 1 is initialised with the clusters of K (``warm``); the paper does not specify it.
- The Vendi score of a large cluster is computed on 1024 of its patches (``vendi_rows``).
- k-means is fitted on at most 100,000 patches (``fit_rows``); the others are assigned to the
  nearest centre.
- If features have more than 256 columns, their 256 main axes are clustered (``axes``).

``preset="paper"`` has none of these. ``preset="released"`` follows the public code: K from a 10 %
sample, the mean change as the stopping rule, one cluster more than was fitted, and several patches
per turn from diverse clusters. It does not reproduce errors and arbitrary behaviour of that code:
the network in training mode, pixel values of 0 to 255 for weights that expect 0 to 1, K = 1 as the
first fit, clusters in the order of their labels, and 1 / N as the last score.

The published FD lists are uncorrelated with all others: the method is stratified random sampling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.registry import check_choice
from foveate.seeds import rng
from foveate.select.cluster import kmeans, main_axes, nearest, vendi_elbow
from foveate.select.sampling import round_robin
from foveate.select.threads import one_thread
from foveate.select.vendi import vendi_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint


_ROUNDING = 1e-9  # tolerance, so that a ratio of 2 is not rounded down to 1


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
    """Rank by selecting from clusters in turn.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float.
        seed: Seed of k-means, of the first cluster, and of the order inside clusters.
        progress: Called with ticks.
        constraint: Applied in each turn: the next patch of a cluster that is allowed is selected.
        clusters: K, or None to search for it.
        delta: Smallest relative change of the mean Vendi score; smaller changes count as flat.
        patience: Number of flat changes that end the search.
        max_k: Largest K of the search; None for n.
        k_sample: Share of the rows for the search for K; k-means is then fitted on all rows.
        fit_rows: Largest number of rows that k-means is fitted on; None for all.
        vendi_rows: Largest number of rows of a cluster for its Vendi score in the choice of k;
            None for all. Weights (``weights="vendi"``) are always computed from all rows.
        axes: Largest number of main axes that are clustered; None for all features.
        warm: Whether to initialise K + 1 with the centres of K.
        stop: "consecutive" (paper) or "mean" (released); see `vendi_elbow`.
        weights: "equal", one patch per turn (paper), or "vendi", a number of patches in proportion
            to the Vendi score of the cluster, 1 for the smallest (released).

    Returns:
        Full ranking; scores decrease linearly from 1 to 0. ``meta`` contains K and the reason for
        the end of the search.

    Raises:
        ParameterError: An option is out of range.
    """
    check_choice("weights", weights, ("equal", "vendi"))
    if not 0 < k_sample <= 1:
        raise ParameterError(f"k_sample={k_sample}", "It must be above 0 and at most 1.")
    if fit_rows is not None and fit_rows < 3:
        raise ParameterError(f"fit_rows={fit_rows}", "It must be at least 3.")
    if axes is not None and axes < 1:
        raise ParameterError(f"axes={axes}", "It must be at least 1.", "axes=256")
    n = len(ids)
    fitted = _sample(n, n if fit_rows is None else fit_rows, seed, "fd/fit")
    x = np.asarray(embeddings[fitted], dtype=np.float32)
    basis = None
    if axes is not None and x.shape[1] > axes:
        basis = main_axes(x, axes, rng(seed, "fd/axes"))
        with one_thread():
            x = x @ basis
    sample = _sample(len(x), max(3, int(len(x) * k_sample)), seed, "fd/sample")
    stream = rng(seed, "fd/kmeans")
    found = vendi_elbow(
        x[sample], stream, clusters=clusters, delta=delta, patience=patience, max_k=max_k,
        vendi_rows=vendi_rows, warm=warm, stop=stop, progress=progress,
    )  # fmt: skip
    labels, centres = found.labels, found.centres
    if len(found.labels) < len(x):
        labels, centres, _ = kmeans(x, found.k, stream)
    if len(x) < n:
        # The axes are orthogonal, so the nearest centre is the same in the original space.
        labels = nearest(embeddings, centres if basis is None else centres @ basis.T)
    k = len(centres)
    cycle = (np.arange(k) - int(rng(seed, "fd/first").integers(max(k, 1)))) % max(k, 1)
    per_turn = np.ones(k, np.int64)
    if weights == "vendi":
        with one_thread():
            vendi = np.array([vendi_score(embeddings[labels == c]) for c in range(k)])
        vendi = np.maximum(vendi, 1.0)  # empty clusters have a score of 0
        per_turn = np.maximum(1, np.floor(vendi / vendi.min() + _ROUNDING).astype(np.int64))
    rows = round_robin(
        cycle[labels], _shuffled_places(labels, seed), per_turn[np.argsort(cycle)], constraint
    )
    meta = {"clusters": k, "stopped": found.stopped, "mean_vendi": list(found.scores)}
    return Ranking(rows, np.linspace(1, 0, n), n, meta=meta)


def _sample(n: int, size: int, seed: int, name: str) -> NDArray[np.int64] | slice:
    """Return a sorted random sample of rows, or a slice of all rows if there are not more."""
    if size >= n:
        return slice(None)
    return np.sort(rng(seed, name).choice(n, size, replace=False))


def _shuffled_places(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return a random position of each row inside its cluster: (n,) 0, 1, 2 ... per cluster."""
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
