"""SemDeDup: near-duplicates last (Abbas, Tirumala, Simig, Ganguli and Morcos 2023).

"SemDeDup: Data-efficient learning at web-scale through semantic deduplication". Of each group of
near-duplicates the patch that is least like the centre of its k-means cell is kept (with `keep`:
the one with more space around it). Kept patches
come first, in a random order: the method says what to leave out, not what to prefer. Duplicates
follow, those that are least like their kept patch first. What counts as a near-duplicate, and the
deviations: `select.duplicates`.
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

    from foveate.progress import ProgressFn

PARTS = 16  # clusters of a pool without masks, each of which keeps its share


def semdedup(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one pass)
    counts: NDArray[np.integer] | None = None,
    threshold: float | None = None,
    keep: float | None = None,
    chance: float = 0.05,
    copies: int = 4,
) -> Ranking:
    """Rank near-duplicates last.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; may be a memory map.
        seed: Starts k-means (pools of more than 4,096 patches), orders what is kept, breaks ties.
        progress: Not used.
        counts: (n, C) pixels of each class, where there are masks, for `keep`: of each class that
            has less than the mean of all, no more is left out than of the pool. Without them that
            holds for `PARTS` clusters.
        threshold: Cosine from which two patches are near-duplicates, -1 to 1 (the paper); None
            for the rule of `chance`, or for what `keep` asks for.
        keep: Share of the pool to keep, above 0 and at most 1. Patches are left out from the
            nearest pairs on, relative to how far apart patches are around them.
        chance: Two patches are near-duplicates if they are so much closer to each other than to
            any other patch as only this share of patches would be by chance, 0 to 1.
        copies: Most patches of such a group, at least 2; exact copies count once.

    Returns:
        Full ranking; score 1 for what is kept, and half the distance to the kept patch (as points
        of unit length) for its duplicates. ``meta`` has the number of patches that are kept.

    Raises:
        ParameterError: An option is out of range, or `threshold` and `keep` are both given.
    """
    _check(threshold, keep, chance, copies)
    n = len(ids)
    ties = tie_keys(ids, seed)
    pairs = near_pairs(embeddings, rng(seed, "semdedup/kmeans"), ties)
    if threshold is not None:
        order = np.lexsort((ties, np.round(pairs.typical, 9)))
        kept = by_threshold(pairs, float(np.sqrt(2 - 2 * threshold)), order)
    elif keep is not None:
        kept = by_share(pairs, keep, ties, _parts(embeddings, counts, seed))
    else:
        kept = representatives(pairs, by_gap(pairs, chance, copies), ties)
    score = np.ones(n)
    copy = np.flatnonzero(kept != np.arange(n))
    score[copy] = np.round(distance_to(embeddings, copy, kept[copy]) / 2, 9)
    copies_last = np.zeros(n, bool)
    copies_last[copy] = True
    rows = np.lexsort((ties, -score, copies_last))
    return Ranking(rows, score[rows], n, meta={"kept": int(n - copy.size)})


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


def _check(threshold: float | None, keep: float | None, chance: float, copies: int) -> None:
    if threshold is not None and keep is not None:
        raise ParameterError(
            f"threshold={threshold} and keep={keep}", "One of them says what is a duplicate."
        )
    if threshold is not None and not -1 <= threshold <= 1:
        raise ParameterError(f"threshold={threshold}", "A cosine is from -1 to 1.")
    if keep is not None and not 0 < keep <= 1:
        raise ParameterError(f"keep={keep}", "A share above 0 and at most 1.", "keep=0.5")
    if not 0 <= chance <= 1:
        raise ParameterError(f"chance={chance}", "A probability from 0 to 1.")
    if copies < 2:
        raise ParameterError(f"copies={copies}", "Near-duplicates are at least 2 patches.")


METHOD = Method(
    name="semdedup",
    title="SemDeDup",
    source="Abbas, Tirumala, Simig, Ganguli and Morcos 2023",
    function=semdedup,
    needs=("embeddings",),
)
