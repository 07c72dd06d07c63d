"""A random order: the baseline of every verb that ranks.

The order is that of a seeded hash of the ids, so an item keeps its place relative to the others
when the pool grows or is listed in another order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.seeds import tie_keys
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint


def shuffled(
    *,
    ids: NDArray[np.str_],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one sort)
    constraint: Constraint | None = None,
) -> Ranking:
    """Rank at random.

    Args:
        ids: (n,) str.
        seed: Another seed, another order.
        progress: Not used.
        constraint: Puts back what an earlier row forbids.

    Returns:
        Full ranking; scores 1 - r / n.
    """
    n = len(ids)
    rows = np.argsort(tie_keys(ids, seed, "random"), kind="stable")
    rows = rows if constraint is None else constraint.apply(rows)
    return Ranking(rows, 1 - np.arange(n) / max(n, 1), n)
