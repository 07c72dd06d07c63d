"""Hierarchical k-means sampling (Vo et al. 2024, section 3).

"Automatic Data Curation for Self-Supervised Learning: A Clustering-Based Approach": clusters of
clusters, and a budget that is divided equally over the branches of the tree from the top. From a
pool that is mostly ocean, as many patches of towns as of ocean are selected. Deviations: see
`select.hierarchy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.registry import check_choice
from foveate.seeds import rng, tie_keys
from foveate.select.hierarchy import from_centre, grow_tree, in_turns
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select.constraints import Constraint

_MOST = 2000  # clusters of the finest level


def hierarchical(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    constraint: Constraint | None = None,
    levels: int = 3,
    clusters: int | None = None,
    within: str = "random",
    fit_rows: int | None = 50_000,
) -> Ranking:
    """Rank by selecting from the branches of a tree of clusters in turn, at every level.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; may be a memory map.
        seed: Seed of k-means and of the order of branches and patches; breaks ties.
        constraint: Applied in each turn: the next patch of a cluster that is allowed is selected.
        levels: Number of levels of k-means, at least 1.
        clusters: Number k of clusters of the finest level; level l of L above it has
            k^(1 - l / L). None for n^(L / (L + 1)), at most 2,000.
        within: Order inside a finest cluster: "random", or "near" for the patch nearest to the
            centre first.
        fit_rows: Largest number of patches that the finest k-means is fitted on; None for all.

    Returns:
        Full ranking; scores 1 - r / n. ``meta`` contains the number of clusters of each level.

    Raises:
        ParameterError: An option is out of range.
    """
    n = len(ids)
    if levels < 1:
        raise ParameterError(f"levels={levels}", "It must be at least 1.")
    check_choice("within", within, ("random", "near"))
    if clusters is not None and not 1 <= clusters <= max(n, 1):
        raise ParameterError(f"clusters={clusters}", f"Allowed: 1 to {n}, the number of patches.")
    if n == 0:
        return Ranking(np.empty(0, np.int64), np.empty(0), 0)
    k = min(_MOST, round(n ** (levels / (levels + 1)))) if clusters is None else clusters
    sizes = [max(1, round(k ** (1 - level / levels))) for level in range(levels)]
    tree, centres = grow_tree(embeddings, sizes, rng(seed, "hierarchical/kmeans"), fit_rows)
    ties = tie_keys(ids, seed)
    far = from_centre(embeddings, tree[0], centres) if within == "near" else np.zeros(n)
    rows = in_turns(tree, np.lexsort((ties, far)), ties, constraint)
    counts = [int(np.unique(labels).size) for labels in tree]
    return Ranking(rows, 1 - np.arange(n) / n, n, meta={"clusters": counts})


METHOD = Method(
    name="hierarchical",
    title="Hierarchical k-means",
    source="Vo et al. 2024, section 3",
    function=hierarchical,
    needs=("embeddings",),
)
