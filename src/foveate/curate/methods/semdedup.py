"""SemDeDup: near-duplicates last (Abbas, Tirumala, Simig, Ganguli and Morcos 2023).

"SemDeDup: Data-efficient learning at web-scale through semantic deduplication". For imagery,
patches with similar embeddings are near-duplicates only if their pixels are copies, which is not in
the paper. From each group of near-duplicates, the patch least similar to the centre of its k-means
cell is kept (with `keep`: the one with the larger distance to others). Kept patches come first, in
random order, because the method only decides which patches to leave out. Duplicates follow, those
least similar to their kept patch first. For the definition of near-duplicates and the deviations,
see `select.duplicates` and `pool.pictures`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.seeds import rng, tie_keys
from foveate.select.cluster import cells
from foveate.select.duplicates import (
    by_gap,
    by_share,
    by_threshold,
    distance_to,
    near_pairs,
    representatives,
)
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.pool.pictures import Pictures
    from foveate.progress import ProgressFn
    from foveate.select.duplicates import Pairs

_CHANCE, _COPIES = 0.05, 4
PARTS = 16  # number of clusters of a pool without masks, each of which keeps its share


def semdedup(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    progress: ProgressFn | None = None,
    counts: NDArray[np.integer] | None = None,
    threshold: float | None = None,
    keep: float | None = None,
    chance: float | None = None,
    copies: int | None = None,
    pictures: Pictures | None = None,
) -> Ranking:
    """Rank near-duplicates last.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; may be a memory map.
        seed: Seed of k-means (pools of more than 4,096 patches) and of the order of kept patches;
            breaks ties.
        progress: Called with ticks while pixels are read and compared.
        counts: (n, C) pixels of each class, if there are masks, for `keep`: of each class with
            fewer pixels than the mean class, at most the share of the pool is left out. Without
            masks, this holds for each of `PARTS` clusters.
        threshold: Smallest cosine of near-duplicates, -1 to 1 (the paper); None for the rule of
            `chance`, or of `keep`.
        keep: Share of the pool to keep, above 0 and at most 1. Patches of the nearest pairs are
            left out first; distances are relative to the spacing of patches around them.
        chance: Largest probability, 0 to 1, that two patches are by chance so much closer to each
            other than to any other patch; closer patches are near-duplicates. None for 0.05, or to
            compare pixels if there is imagery.
        copies: Largest number of patches in such a group, at least 2; exact copies count once.
            None for 4, or to compare pixels.
        pictures: The pixels, if the pool has imagery: unless another rule is given, patches with
            similar embeddings are near-duplicates if their pixels are copies, see
            `foveate.pool.pictures`.

    Returns:
        Full ranking; score 1 for kept patches, and for their duplicates half the distance to the
        kept patch (both with unit norm). ``meta`` contains the number of kept patches, and
        "compared": "pixels" or "embeddings".

    Raises:
        ParameterError: An option is out of range, or two rules are given.
    """
    _check(threshold, keep, chance, copies)
    by_pixels = pictures is not None and {threshold, keep, chance, copies} == {None}
    n = len(ids)
    ties = tie_keys(ids, seed)
    pairs = near_pairs(embeddings, rng(seed, "semdedup/kmeans"), ties)
    if threshold is not None:
        order = np.lexsort((ties, np.round(pairs.typical, 9)))
        kept = by_threshold(pairs, float(np.sqrt(2 - 2 * threshold)), order)
    elif keep is not None:
        kept = by_share(pairs, keep, ties, _parts(embeddings, counts, seed))
    else:
        group = (
            _by_pixels(pairs, pictures, progress) if by_pixels
            else by_gap(pairs, _CHANCE if chance is None else chance, copies or _COPIES)
        )  # fmt: skip
        kept = representatives(pairs, group, ties)
    score = np.ones(n)
    copy = np.flatnonzero(kept != np.arange(n))
    score[copy] = np.round(distance_to(embeddings, copy, kept[copy]) / 2, 9)
    copies_last = np.zeros(n, bool)
    copies_last[copy] = True
    rows = np.lexsort((ties, -score, copies_last))
    return Ranking(rows, score[rows], n, meta={
        "kept": int(n - copy.size), "compared": "pixels" if by_pixels else "embeddings",
    })  # fmt: skip


def _parts(
    embeddings: NDArray[np.floating], counts: NDArray[np.integer] | None, seed: int
) -> NDArray[np.number]:
    """Return (n, g) amounts of the parts that keep their share: rare classes, or clusters."""
    if counts is not None:
        total = counts.sum(axis=0)
        return counts[:, (total > 0) & (total <= total[total > 0].mean())] if total.any() else (
            counts[:, :0]
        )  # fmt: skip
    label, centres = cells(embeddings, PARTS, rng(seed, "semdedup/parts"))
    return (label[:, None] == np.arange(len(centres))).astype(np.uint8)


def _by_pixels(pairs: Pairs, pictures: Pictures, progress: ProgressFn | None) -> NDArray[np.int64]:
    """Return the number of the group of copies of each patch, (n,) int64."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # Patches with equal embeddings may differ in pixels that the model does not distinguish.
    alike = np.flatnonzero(pairs.same != np.arange(pairs.same.size))
    first = np.concatenate([pairs.first, pairs.same[alike]])
    second = np.concatenate([pairs.second, alike])
    copies = pictures.copies(first, second, progress)
    n, first, second = pairs.same.size, first[copies], second[copies]
    graph = coo_array((np.ones(first.size, bool), (first, second)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _check(
    threshold: float | None, keep: float | None, chance: float | None, copies: int | None
) -> None:
    rules = {"threshold": threshold, "keep": keep, "chance": chance, "copies": copies}
    stated = [name for name, value in rules.items() if value is not None]
    if len(stated) > 1 and stated != ["chance", "copies"]:
        raise ParameterError(
            " and ".join(f"{name}={rules[name]}" for name in stated),
            "Only one rule is allowed: threshold, keep, or chance with copies.",
            "Leave the others out.",
        )
    if threshold is not None and not -1 <= threshold <= 1:
        raise ParameterError(f"threshold={threshold}", "It must be a cosine from -1 to 1.")
    if keep is not None and not 0 < keep <= 1:
        raise ParameterError(f"keep={keep}", "It must be above 0 and at most 1.", "keep=0.5")
    if chance is not None and not 0 <= chance <= 1:
        raise ParameterError(f"chance={chance}", "It must be a probability from 0 to 1.")
    if copies is not None and copies < 2:
        raise ParameterError(f"copies={copies}", "It must be at least 2 patches.")


METHOD = Method(
    name="semdedup",
    title="SemDeDup",
    source="Abbas, Tirumala, Simig, Ganguli and Morcos 2023",
    function=semdedup,
    needs=("embeddings",),
)
