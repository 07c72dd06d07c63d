"""CB, class balance: core-set paper, section III-E, Eq. 3.

Greedy: each step adds the patch that makes the class shares of the selection most uniform
(largest entropy). Choices that the paper does not specify: shares are of pixel counts over valid
pixels; ties are broken by a seeded hash of the id; r in s = 1 - r / N starts at 0, as in the
published lists. Late ranks are "least harmful", not "least useful": the order after about half of
the pool contains little information. Patches without a counted pixel come last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.seeds import tie_keys
from foveate.select.balance import balance_greedy
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint


def cb(
    *,
    ids: NDArray[np.str_],
    counts: NDArray[np.int64],
    seed: int,
    progress: ProgressFn | None = None,
    constraint: Constraint | None = None,
    initial: NDArray[np.int64] | None = None,
    depth: int | None = None,
) -> Ranking:
    """Rank by greedy class balance.

    Args:
        ids: (n,) str.
        counts: (n, C) pixels per class.
        seed: Breaks ties.
        progress: Called with ticks.
        constraint: Applied in each step; patches moved to the end do not count for the balance.
        initial: Rows that are already selected; their pixels count, and they are not ranked.
        depth: Number of patches to rank; None for all.

    Returns:
        Ranking to `depth`; scores 1 - r / n with r = 0, 1, 2 ...
    """
    n = len(ids)
    left = n if initial is None else n - initial.size
    k = left if depth is None else min(depth, left)
    found = balance_greedy(
        counts, k, ties=tie_keys(ids, seed), given=initial, constraint=constraint,
        progress=progress,
    )  # fmt: skip
    meta = {"entropy_at_end": float(found.entropy[-1]) if k else 0.0}
    return Ranking(found.rows, 1 - np.arange(k) / max(n, 1), n, meta=meta)


METHOD = Method(
    name="cb",
    title="Class balance (CB)",
    source="core-set paper, section III-E, Eq. 3",
    function=cb,
    needs=("counts",),
    greedy=True,
)
