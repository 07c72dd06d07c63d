"""MaxHerding: greedy coverage with a Gaussian kernel (Bae, Oliveira and Sutherland 2024).

"Generalized Coverage for More Robust Low-Budget Active Learning": each step selects the patch that
increases the mean over the pool of ``max over picks s of exp(-(|x - s| / sigma)^2)`` most. Patches
at more than a few sigma from every pick are not covered, so that an outlier adds its own coverage
only. Deviations: the default of sigma is the median distance between patches of the pool (1 in the
paper, for the scale of its embeddings); coverage is computed on a sample of the pool
(`reference`), see `select.coverage`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from foveate.curate.methods.base import Method
from foveate.curate.methods.facility import cover
from foveate.seeds import rng
from foveate.select.coverage import median_distance
from foveate.select.sampling import draw_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint
    from foveate.select.kcenter import Metric
    from foveate.selection import Ranking

_PAIRS_OF = 1024  # number of patches for the median distance


def max_herding(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    progress: ProgressFn | None = None,
    constraint: Constraint | None = None,
    initial: NDArray[np.int64] | None = None,
    sigma: float | None = None,
    reference: int | None = 4096,
    metric: Metric = "euclidean",
    depth: int | None = None,
) -> Ranking:
    """Rank by greedy coverage with a Gaussian kernel.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; may be a memory map.
        seed: Draws the reference patches and breaks ties.
        progress: Called with ticks.
        constraint: Applied in each step.
        initial: Rows that are already selected; they count for the coverage, and are not ranked.
        sigma: Width of the kernel, in the unit of the embeddings; None for the median distance
            between distinct patches in a sample of 1,024.
        reference: Size of the sample of patches that represents the pool; None for the whole pool.
        metric: "euclidean", or "cosine" for distances between embeddings of unit length.
        depth: Number of patches to rank; None for all.

    Returns:
        Ranking to `depth`; scores 1 - r / n. ``meta`` contains sigma and the final coverage.

    Raises:
        ParameterError: An option is out of range.
    """
    n = len(ids)
    if sigma is None and n:
        sigma = median_sigma(embeddings, seed, metric)
    found = cover(
        "max-herding", ids, embeddings, seed, reference=reference, sigma=sigma, metric=metric,
        depth=depth, constraint=constraint, initial=initial, progress=progress,
    )  # fmt: skip
    return replace(found, meta={**found.meta, "sigma": sigma})


def median_sigma(embeddings: NDArray[np.floating], seed: int, metric: Metric) -> float:
    """Return the default of sigma: the median distance in a random sample of rows."""
    sample = draw_rows(len(embeddings), _PAIRS_OF, rng(seed, "max-herding/sigma"))
    return median_distance(embeddings, sample, metric)


METHOD = Method(
    name="max-herding",
    title="MaxHerding",
    source="Bae, Oliveira and Sutherland 2024",
    function=max_herding,
    needs=("embeddings",),
    greedy=True,
)
