"""MaxHerding: greedy coverage with a Gaussian kernel (Bae, Oliveira and Sutherland 2024).

"Generalized Coverage for More Robust Low-Budget Active Learning": each step takes the patch that
raises the mean over the pool of ``max over picks s of exp(-(|x - s| / sigma)^2)`` most. A patch
farther than some sigma from every pick counts as not covered at all, so that outliers are worth one
patch each and no more. Deviations: sigma is the median distance between patches of the pool by
default (the paper has 1, for embeddings of its own scale); the coverage is that of a sample of the
pool (`reference`), see `select.coverage`.
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

_PAIRS_OF = 1024  # patches whose distances give the median


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
        constraint: Kept in each step.
        initial: Rows that are taken already: they cover, and are not ranked.
        sigma: Width of the kernel, in the unit of the embeddings; None for the median distance
            between distinct patches, of 1,024 that are drawn.
        reference: How many patches stand for the pool; None for all of it.
        metric: "euclidean", or "cosine" for distances between embeddings of unit length.
        depth: Stop after so many patches; None ranks all.

    Returns:
        Ranking to `depth`; scores 1 - r / n. ``meta`` has sigma and the coverage that is reached.

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
    """Return the default of sigma: the median distance of some rows that are drawn."""
    some = draw_rows(len(embeddings), _PAIRS_OF, rng(seed, "max-herding/sigma"))
    return median_distance(embeddings, some, metric)


METHOD = Method(
    name="max-herding",
    title="MaxHerding",
    source="Bae, Oliveira and Sutherland 2024",
    function=max_herding,
    needs=("embeddings",),
    greedy=True,
)
