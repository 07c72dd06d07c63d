"""Facility location: greedy coverage of the pool by the nearest pick.

Mirchandani and Francis 1990; greedy by Nemhauser, Wolsey and Fisher 1978. Each step selects the
patch that reduces the squared distances of all patches to their nearest pick most. It differs from
k-center by using the mean distance instead of the largest. The first pick is the patch with the
smallest mean squared distance. Deviation: coverage is computed on a sample of the pool
(`reference`); see `select.coverage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.seeds import rng, tie_keys
from foveate.select.coverage import coverage_greedy
from foveate.select.sampling import draw_rows
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint
    from foveate.select.kcenter import Metric


def facility(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    progress: ProgressFn | None = None,
    constraint: Constraint | None = None,
    initial: NDArray[np.int64] | None = None,
    reference: int | None = 4096,
    metric: Metric = "euclidean",
    depth: int | None = None,
) -> Ranking:
    """Rank by greedy facility location.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; may be a memory map.
        seed: Draws the reference patches and breaks ties.
        progress: Called with ticks.
        constraint: Applied in each step.
        initial: Rows that are already selected; they count for the coverage, and are not ranked.
        reference: Size of the sample of patches that represents the pool; None for the whole pool.
            Time and memory increase with it.
        metric: "euclidean" or "cosine".
        depth: Number of patches to rank; None for all.

    Returns:
        Ranking to `depth`; scores 1 - r / n. ``meta`` contains the final coverage, 0 to 1.

    Raises:
        ParameterError: An option is out of range.
    """
    return cover(
        "facility", ids, embeddings, seed, reference=reference, sigma=None, metric=metric,
        depth=depth, constraint=constraint, initial=initial, progress=progress,
    )  # fmt: skip


def cover(
    name: str, ids: NDArray[np.str_], embeddings: NDArray[np.floating], seed: int, *,
    reference: int | None, sigma: float | None, metric: Metric, depth: int | None,
    constraint: Constraint | None, initial: NDArray[np.int64] | None,
    progress: ProgressFn | None,
) -> Ranking:  # fmt: skip
    """Rank by greedy coverage, for `facility` and `max-herding`."""
    if reference is not None and reference < 1:
        raise ParameterError(f"reference={reference}", "It must be at least 1 patch.")
    n = len(ids)
    left = n - (0 if initial is None else initial.size)
    if left == 0:
        return Ranking(np.empty(0, np.int64), np.empty(0), n)
    k = left if depth is None else min(depth, left)
    found = coverage_greedy(
        embeddings, k, reference=draw_rows(n, reference, rng(seed, f"{name}/reference")),
        ties=tie_keys(ids, seed), sigma=sigma, metric=metric, given=initial,
        constraint=constraint, progress=progress,
    )  # fmt: skip
    meta = {"covered": found.covered, "passes": found.passes}
    return Ranking(found.rows, 1 - np.arange(k) / n, n, meta=meta)


METHOD = Method(
    name="facility",
    title="Facility location",
    source="Mirchandani and Francis 1990; Nemhauser, Wolsey and Fisher 1978",
    function=facility,
    needs=("embeddings",),
    greedy=True,
)
