"""An even grid: the baseline that needs no score, at any budget.

Every prefix is even. Within a scene, tiles come in the order of frac(row / p + col / p^2 + shift),
p the plastic number (1.3247): the tiles under any threshold of such a mask lie evenly (Roberts
2018, the R2 sequence as a dither mask), on grids of any size. Across scenes, the tile of place r
among a scene's n tiles stands at (r + u) / n, with u spread evenly over the scenes: a budget that
buys a share of all tiles buys that share of each scene, to one tile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.observe.methods.base import Policy
from foveate.seeds import rng, tie_keys
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn

_PLASTIC = 1.324717957244746  # the real root of p^3 = p + 1


def uniform(
    *,
    ids: NDArray[np.str_],
    place: NDArray[np.int64],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (two sorts)
) -> Ranking:
    """Rank so that every prefix is spread evenly.

    Args:
        ids: (n,) str.
        place: (n, 3) int64 scene number, row, column.
        seed: Where the mask of each scene begins, which scene comes first, and ties.
        progress: Not used.

    Returns:
        Full ranking; scores 1 - r / n.
    """
    n = len(ids)
    scene, row, col = place.T
    scenes = int(scene.max(initial=-1)) + 1
    shift = rng(seed, "uniform/shift").random(scenes)
    turn = (rng(seed, "uniform/scenes").permutation(scenes) + 0.5) / max(scenes, 1)
    mask = np.mod(row / _PLASTIC + col / _PLASTIC**2 + shift[scene], 1)
    ties = tie_keys(ids, seed)
    inside = np.lexsort((ties, mask, scene))
    size = np.bincount(scene, minlength=scenes)
    first = np.cumsum(size) - size
    within = np.empty(n, np.int64)
    within[inside] = np.arange(n) - first[scene[inside]]
    rows = np.lexsort((ties, (within + turn[scene]) / size[scene]))
    return Ranking(rows, 1 - np.arange(n) / max(n, 1), n)


POLICY = Policy(
    name="uniform",
    title="Even grid",
    source="not in the paper; Roberts 2018, R2 as a dither mask",
    function=uniform,
    needs=("place",),
)
