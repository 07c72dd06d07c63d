"""TypiClust: the most typical patch of each cluster (Hacohen, Dekel and Weinshall 2022).

"Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets": cluster the patches
into as many clusters as the budget has patches, and select from each cluster the patch with the
largest typicality, the inverse of the mean distance to its K nearest neighbours (Eq. 4).
Deviations, because one ranking is made for all budgets:

- The number of clusters does not depend on the budget: one per twenty patches, at most 500.
- Clusters are visited in turn, the largest first, and the most typical remaining patch is selected.
  The paper leaves out clusters of fewer than five patches; here they come last in each turn.
- Neighbours are searched within the cluster, K = 20.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.seeds import rng, tie_keys
from foveate.select.cluster import cells
from foveate.select.sampling import round_robin
from foveate.select.typical import spread
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select.constraints import Constraint

_PER_CLUSTER, _MOST = 20, 500


def typiclust(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    constraint: Constraint | None = None,
    clusters: int | None = None,
    neighbours: int = 20,
    fit_rows: int | None = 50_000,
) -> Ranking:
    """Rank by selecting the most typical patch of each cluster in turn.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; may be a memory map.
        seed: Seed of k-means; breaks ties.
        constraint: Applied in each turn: the next patch of a cluster that is allowed is selected.
        clusters: Number of clusters; None for n / 20, at most 500.
        neighbours: K, the number of nearest patches whose mean distance defines the typicality.
        fit_rows: Largest number of patches that k-means is fitted on; None for all.

    Returns:
        Full ranking; scores 1 - r / n. ``meta`` contains the number of clusters.

    Raises:
        ParameterError: An option is out of range.
    """
    n = len(ids)
    if neighbours < 1:
        raise ParameterError(f"neighbours={neighbours}", "It must be at least 1.")
    if clusters is not None and not 1 <= clusters <= max(n, 1):
        raise ParameterError(f"clusters={clusters}", f"Allowed: 1 to {n}, the number of patches.")
    if n == 0:
        return Ranking(np.empty(0, np.int64), np.empty(0), 0)
    k = min(_MOST, max(1, n // _PER_CLUSTER)) if clusters is None else clusters
    labels, _ = cells(embeddings, k, rng(seed, "typiclust/kmeans"), fit_rows)
    ties = tie_keys(ids, seed)
    apart = spread(embeddings, labels, neighbours, rng(seed, "typiclust/members"))
    found, labels, size = np.unique(labels, return_inverse=True, return_counts=True)
    # Largest first; ties are broken by the smallest key of a patch in the cluster.
    key = np.full(found.size, np.iinfo(np.uint64).max)
    np.minimum.at(key, labels, ties)
    turn = np.empty(found.size, np.int64)
    turn[np.lexsort((key, -size))] = np.arange(found.size)
    order = np.lexsort((ties, apart, labels))
    within = np.empty(n, np.int64)
    within[order] = np.arange(n) - np.repeat(np.cumsum(size) - size, size)
    rows = round_robin(turn[labels], within, np.ones(found.size, np.int64), constraint)
    return Ranking(rows, 1 - np.arange(n) / n, n, meta={"clusters": int(found.size)})


METHOD = Method(
    name="typiclust",
    title="TypiClust",
    source="Hacohen, Dekel and Weinshall 2022",
    function=typiclust,
    needs=("embeddings",),
)
