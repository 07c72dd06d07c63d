"""LC/FD: core-set paper, section III-C.

The first m patches of FD, followed by the other patches in the order of LC. The paper uses m = 770
for DFC2022, and the published ISPRS lists were made with m = 700, which is half of Vaihingen; the
default is 1 % of the pool. With a budget of at most m, LC/FD is FD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.select.constraints import Constraint


def lc_fd(
    *,
    ids: NDArray[np.str_],
    parts: Mapping[str, Ranking],
    seed: int,  # noqa: ARG001  (the parts have used it)
    constraint: Constraint | None = None,
    m: float = 0.01,
) -> Ranking:
    """Rank the first `m` by FD, the others by LC.

    Args:
        ids: (n,) str.
        parts: Full rankings "fd", with the constraint, and "lc", without it.
        seed: Not used.
        constraint: Patches that it forbids are moved to the end.
        m: Number of patches from FD (a whole number of at least 1), or a share of the pool (below
            1; rounded, at least one patch).

    Returns:
        Full ranking; scores decrease linearly from 1 to 0.

    Raises:
        ParameterError: `m` is neither a share between 0 and 1 nor a whole number.
    """
    n = len(ids)
    if not (0 < m < 1 or (1 <= m < np.inf and m == int(m))):
        raise ParameterError(
            f"m={m}", "It must be a whole number of patches, or a share below 1.", "m=0.01"
        )
    cut = min(n, int(m) if m >= 1 else max(1, round(m * n)))
    head = parts["fd"].rows[:cut]
    by_complexity = parts["lc"].rows
    tail = by_complexity[~np.isin(by_complexity, head)]
    rows = np.concatenate([head, tail])
    rows = rows if constraint is None else constraint.apply(rows)
    meta = {**parts["fd"].meta, "m": cut}
    return Ranking(rows, np.linspace(1, 0, n), n, meta=meta)


METHOD = Method(
    name="lc-fd",
    title="Complexity/diversity hybrid (LC/FD)",
    source="core-set paper, section III-C",
    function=lc_fd,
    needs=("counts", "embeddings"),
    parts=("fd", "lc"),
    constrained_parts=("fd",),  # so that its first m patches break no rule
    presets={"paper": {"m": 770}, "released": {"m": 700}},
)
