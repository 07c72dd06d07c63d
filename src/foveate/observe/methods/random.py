"""Random tiles: the baseline of cross-scale paper, section 5.4.1.

The order is that of a seeded hash of the ids: a tile keeps its place beside the others when the
pool grows. It does not depend on scenes, so at a budget some get more tiles than others; `uniform`
spreads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.observe.methods.base import Policy
from foveate.seeds import tie_keys
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn


def random(
    *,
    ids: NDArray[np.str_],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one sort)
) -> Ranking:
    """Rank at random.

    Args:
        ids: (n,) str.
        seed: Another seed, another order.
        progress: Not used.

    Returns:
        Full ranking; scores 1 - r / n.
    """
    n = len(ids)
    rows = np.argsort(tie_keys(ids, seed, "random"), kind="stable")
    return Ranking(rows, 1 - np.arange(n) / max(n, 1), n)


POLICY = Policy(
    name="random", title="Random", source="cross-scale paper, section 5.4.1", function=random
)
