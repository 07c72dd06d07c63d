"""CoreSet: k-center greedy, the baseline of core-set paper, section IV-C (Sener and Savarese).

Each step selects the patch farthest from all picks so far, by Euclidean distance of the raw
embeddings. The start is not published: "random" is a seeded patch, "mean" the patch farthest from
the mean. Greedy k-center selects outliers first, so it is a weak baseline at small budgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate.methods.base import Method
from foveate.registry import check_choice
from foveate.seeds import rng, tie_keys
from foveate.select.cells import kcenter_in_cells
from foveate.select.kcenter import kcenter_greedy
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint
    from foveate.select.kcenter import Metric

_BLOCK = 8192


def kcenter(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    progress: ProgressFn | None = None,
    constraint: Constraint | None = None,
    initial: NDArray[np.int64] | None = None,
    start: str = "random",
    metric: Metric = "euclidean",
    depth: int | None = None,
    exact: int | None = None,
) -> Ranking:
    """Rank by k-center greedy.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; may be a memory map.
        seed: Chooses the start and breaks ties.
        progress: Called with ticks.
        constraint: Applied in each step.
        initial: Rows that are already selected; the first pick is the farthest from them, and they
            are not ranked.
        start: First pick if `initial` is empty: "random", or "mean" for the patch farthest from
            the mean.
        metric: "euclidean" or "cosine".
        depth: Number of patches to rank; None for all.
        exact: Number of first picks that are exact; later picks are made inside cells of at most
            that many patches (`select.cells`), for depths at which exact k-center takes hours.
            None for all.

    Returns:
        Ranking to `depth`; scores 1 - r / n. ``meta`` contains the distance of the last pick to
        the earlier ones (without a constraint, no patch is farther from a pick than that), the
        number of near-ties, and with `exact` the number of cells.

    Raises:
        ParameterError: `start` or `metric` is unknown, or `exact` is below 1.
    """
    n = len(ids)
    check_start(start)
    taken = 0 if initial is None else initial.size
    if n == taken:
        return Ranking(np.empty(0, np.int64), np.empty(0), n)
    free = None if constraint is None else constraint.open().free
    first = None if taken else first_row(ids, embeddings, seed, start, free)
    k = n - taken if depth is None else min(depth, n - taken)
    given: dict[str, Any] = {
        "ties": tie_keys(ids, seed), "start": first, "given": initial, "constraint": constraint,
        "metric": metric, "progress": progress,
    }  # fmt: skip
    meta: dict[str, Any] = {}
    if exact is None:
        found = kcenter_greedy(embeddings, k, **given)
    else:
        two = kcenter_in_cells(embeddings, k, exact=exact, rng=rng(seed, "kcenter/cells"), **given)
        found, meta["cells"] = two.found, two.cells
    meta |= {
        "last_distance": float(found.distance[-1]) if k and k + taken > 1 else None,
        "near_ties": int(found.near_ties),
        "passes": int(found.passes),
    }
    return Ranking(found.rows, 1 - np.arange(k) / n, n, meta=meta)


def first_row(
    ids: NDArray[np.str_], embeddings: NDArray[np.floating], seed: int, start: str,
    free: NDArray[np.bool_] | None = None,
) -> int:  # fmt: skip
    """Return the row of the first pick; `embeddings` must not be empty. See `kcenter`.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float.
        seed: Draws the row, or breaks ties.
        start: "random" or "mean".
        free: (n,) bool, rows that may be picked; None for all. If there are none, all may be.

    Raises:
        ParameterError: `start` is unknown.
    """
    check_start(start)
    if start == "random":
        drawn = int(rng(seed, "kcenter/start").integers(len(ids)))
        order = np.roll(np.arange(len(ids)), -drawn)
    else:
        order = np.lexsort((tie_keys(ids, seed), -_from_mean(embeddings)))
    return int(order[0] if free is None else order[free[order].argmax()])


def check_start(start: str) -> None:
    """Check the name of a start.

    Raises:
        ParameterError: `start` is unknown.
    """
    check_choice("start", start, ("random", "mean"))


def _from_mean(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the squared distance of each row to the mean, (n,) float64, reading `x` in blocks."""
    blocks = [slice(i, i + _BLOCK) for i in range(0, len(x), _BLOCK)]
    total = np.sum([x[b].sum(axis=0, dtype=np.float64) for b in blocks], axis=0)
    mean = total / len(x)
    return np.concatenate([np.square(x[b] - mean).sum(axis=1) for b in blocks])


METHOD = Method(
    name="kcenter",
    title="k-center greedy (CoreSet)",
    source="core-set paper, section IV-C; Sener and Savarese 2018",
    function=kcenter,
    needs=("embeddings",),
    greedy=True,
)
