"""Random order: the baseline of all commands that rank.

The order is by a seeded hash of the ids, so the relative order of items does not change if the pool
grows or is listed in another order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.seeds import tie_keys
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select.constraints import Constraint


def shuffled(
    *,
    ids: NDArray[np.str_],
    seed: int,
    constraint: Constraint | None = None,
) -> Ranking:
    """Rank at random.

    Args:
        ids: (n,) str.
        seed: Seed of the order.
        constraint: Rows that it forbids are moved to the end.

    Returns:
        Full ranking; scores 1 - r / n.
    """
    n = len(ids)
    rows = np.argsort(tie_keys(ids, seed, "random"), kind="stable")
    rows = rows if constraint is None else constraint.apply(rows)
    return Ranking(rows, 1 - np.arange(n) / max(n, 1), n)
