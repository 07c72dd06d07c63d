"""FD, feature diversity: core-set paper, section III-B.

Cluster the embeddings, then take one random patch of each cluster in turn. Deviations:

- The search for K is capped (``max_k``): without a cap, structureless data goes on to one
  cluster for every few patches. ``preset="paper"`` has no cap.
- K + 1 starts from the clusters of K (``warm``); the paper does not say.
- The Vendi score of a large cluster is that of 1024 of its patches (``vendi_rows``).
- ``preset="released"`` follows the public code: K from a 10 % sample, the mean change as the
  rule, one cluster more than was fitted, and clusters of many faces giving several patches per
  turn. Two of its slips are not reproduced: the network left in training mode, and pixel values
  of 0 to 255 where the weights expect 0 to 1.

The published FD lists are uncorrelated with all others: what the method does is stratified
random sampling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.seeds import rng
from foveate.select.cluster import kmeans, vendi_elbow
from foveate.select.sampling import round_robin
from foveate.select.vendi import vendi_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn


def fd(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    progress: ProgressFn | None = None,
    clusters: int | None = None,
    delta: float = 0.005,
    patience: int = 3,
    max_k: int | None = 64,
    k_sample: float = 1.0,
    vendi_rows: int | None = 1024,
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
        clusters: K by hand, or None to search.
        delta: Relative change of the mean Vendi score below which it counts as flat.
        patience: Flat changes that end the search.
        max_k: Largest K of the search; None for n.
        k_sample: Share of the rows that the search for K sees.
        vendi_rows: At most so many rows of a cluster enter its Vendi score; None for all.
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
    n = len(ids)
    x = np.asarray(embeddings, dtype=np.float32)
    search = x
    if k_sample < 1:
        size = min(n, max(3, int(n * k_sample)))
        search = x[np.sort(rng(seed, "fd/sample").choice(n, size, replace=False))]
    stream = rng(seed, "fd/kmeans")
    found = vendi_elbow(
        search, stream, clusters=clusters, delta=delta, patience=patience, max_k=max_k,
        vendi_rows=vendi_rows, warm=warm, stop=stop, progress=progress,
    )  # fmt: skip
    labels = found.labels if len(search) == n else kmeans(x, min(found.k, n), stream)[0]
    k = int(labels.max()) + 1 if n else 0
    cycle = (np.arange(k) - int(rng(seed, "fd/first").integers(max(k, 1)))) % max(k, 1)
    per_turn = np.ones(k, np.int64)
    if weights == "vendi":
        vendi = np.array([vendi_score(x[labels == c]) for c in range(k)])
        per_turn = np.maximum(1, (vendi / vendi.min()).astype(np.int64))
    rows = round_robin(cycle[labels], _shuffled_places(labels, seed), per_turn[np.argsort(cycle)])
    meta = {"clusters": k, "stopped": found.stopped, "mean_vendi": list(found.scores)}
    return Ranking(rows, np.linspace(1, 0, n), n, meta=meta)


def _shuffled_places(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A random place inside its cluster for each row: (n,) 0, 1, 2 ... per cluster."""
    shuffled = rng(seed, "fd/order").permutation(labels.size)
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels) if labels.size else np.zeros(0, np.int64)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.empty(labels.size, np.int64)
    place[order] = np.arange(labels.size) - starts
    return place


METHOD = Method(
    name="fd",
    title="Feature diversity (FD)",
    source="core-set paper, section III-B",
    function=fd,
    needs=("embeddings",),
    presets={
        "paper": {"max_k": None, "vendi_rows": None},
        "released": {
            "max_k": None, "vendi_rows": None, "k_sample": 0.1, "stop": "mean", "weights": "vendi",
        },
    },
)  # fmt: skip
