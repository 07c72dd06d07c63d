"""SemDeDup: near-duplicates last (Abbas, Tirumala, Simig, Ganguli and Morcos 2023).

"SemDeDup: Data-efficient learning at web-scale through semantic deduplication". Where there is
imagery, patches that are near by their embeddings are near-duplicates only if their pixels say so,
which is not in the paper. Of each group of near-duplicates the patch that is least like the centre
of its k-means cell is kept (with `keep`: the one with more space around it). Kept patches come
first, in a random order: the method says what to leave out, not what to prefer. Duplicates follow,
those that are least like their kept patch first. What counts as a near-duplicate, and the
deviations: `select.duplicates`, `pool.pictures`.
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
PARTS = 16  # clusters of a pool without masks, each of which keeps its share


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
        seed: Starts k-means (pools of more than 4,096 patches), orders what is kept, breaks ties.
        progress: Called with ticks while pixels are read and compared.
        counts: (n, C) pixels of each class, where there are masks, for `keep`: of each class that
            has less than the mean of all, no more is left out than of the pool. Without them that
            holds for `PARTS` clusters.
        threshold: Cosine from which two patches are near-duplicates, -1 to 1 (the paper); None
            for the rule of `chance`, or for what `keep` asks for.
        keep: Share of the pool to keep, above 0 and at most 1. Patches are left out from the
            nearest pairs on, relative to how far apart patches are around them.
        chance: Two patches are near-duplicates if they are so much closer to each other than to
            any other patch as only this share of patches would be by chance, 0 to 1; None for
            0.05, and for the pixels where there are any.
        copies: Most patches of such a group, at least 2; exact copies count once. None for 4, and
            for the pixels.
        pictures: The pixels, where the pool has imagery: unless another rule is stated, patches
            that are near by their embeddings are near-duplicates if they are copies, see
            `foveate.pool.pictures`.

    Returns:
        Full ranking; score 1 for what is kept, and half the distance to the kept patch (as points
        of unit length) for its duplicates. ``meta`` has the number of patches that are kept, and
        what was compared, "pixels" or "embeddings".

    Raises:
        ParameterError: An option is out of range, or two rules are stated.
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
    """Return what must not lose more than its part: pixels of rare classes, or clusters."""
    if counts is not None:
        total = counts.sum(axis=0)
        return counts[:, (total > 0) & (total <= total[total > 0].mean())] if total.any() else (
            counts[:, :0]
        )  # fmt: skip
    label, centres = cells(embeddings, PARTS, rng(seed, "semdedup/parts"))
    return (label[:, None] == np.arange(len(centres))).astype(np.uint8)


def _by_pixels(pairs: Pairs, pictures: Pictures, progress: ProgressFn | None) -> NDArray[np.int64]:
    """Return a number for each patch, the same for those that are copies of each other."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # Patches of the same embedding need not be copies: a model may not see what they differ in.
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
            "One rule says what is a near-duplicate: threshold, keep, or chance with copies.",
            "Leave the others out.",
        )
    if threshold is not None and not -1 <= threshold <= 1:
        raise ParameterError(f"threshold={threshold}", "A cosine is from -1 to 1.")
    if keep is not None and not 0 < keep <= 1:
        raise ParameterError(f"keep={keep}", "A share above 0 and at most 1.", "keep=0.5")
    if chance is not None and not 0 <= chance <= 1:
        raise ParameterError(f"chance={chance}", "A probability from 0 to 1.")
    if copies is not None and copies < 2:
        raise ParameterError(f"copies={copies}", "Near-duplicates are at least 2 patches.")


METHOD = Method(
    name="semdedup",
    title="SemDeDup",
    source="Abbas, Tirumala, Simig, Ganguli and Morcos 2023",
    function=semdedup,
    needs=("embeddings",),
)
