"""LC/FD: core-set paper, section III-C.

The first m patches of FD, then LC's order without them: an exact concatenation. The paper sets
m = 770 for DFC2022 and the published ISPRS lists were made with m = 700, which is half of
Vaihingen; the default is 1 % of the pool. With a budget of at most m, LC/FD is FD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.curate.methods.fd import METHOD as FD
from foveate.curate.methods.lc import METHOD as LC
from foveate.errors import ParameterError
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from foveate.progress import ProgressFn


def lc_fd(
    *,
    ids: NDArray[np.str_],
    counts: NDArray[np.int64],
    embeddings: NDArray[np.floating],
    seed: int,
    progress: ProgressFn | None = None,
    m: float = 0.01,
    fd: Mapping[str, Any] | None = None,
    lc: Mapping[str, Any] | None = None,
) -> Ranking:
    """Rank the first `m` by FD, the rest by LC.

    Args:
        ids: (n,) str.
        counts: (n, C) pixels per class.
        embeddings: (n, d) float.
        seed: As in LC and FD: the parts are the very rankings that they give alone.
        progress: Called with ticks.
        m: Number of patches from FD (an int of at least 1), or a share of the pool (a float
            below 1; rounded, at least 1).
        fd: Options of FD.
        lc: Options of LC.

    Returns:
        Full ranking; scores fall evenly from 1 to 0.

    Raises:
        ParameterError: `m` is negative or not a whole number above 1.
    """
    n = len(ids)
    if m < 0 or (m >= 1 and m != int(m)):
        raise ParameterError(f"m={m}", "A whole number of patches, or a share below 1.", "m=0.01")
    cut = min(n, int(m) if m >= 1 else max(1, round(m * n)))
    diverse = FD.function(
        ids=ids, embeddings=embeddings, seed=seed, progress=progress, **FD.options("default", fd)
    )
    complex_ = LC.function(ids=ids, counts=counts, seed=seed, **LC.options("default", lc))
    head = diverse.rows[:cut]
    tail = complex_.rows[~np.isin(complex_.rows, head)]
    meta = {**diverse.meta, "m": cut}
    return Ranking(np.concatenate([head, tail]), np.linspace(1, 0, n), n, meta=meta)


METHOD = Method(
    name="lc-fd",
    title="Complexity/diversity hybrid (LC/FD)",
    source="core-set paper, section III-C",
    function=lc_fd,
    needs=("counts", "embeddings"),
    presets={
        "paper": {"m": 770, "fd": FD.presets["paper"]},
        "released": {"m": 700, "fd": FD.presets["released"], "lc": LC.presets["released"]},
    },
)
