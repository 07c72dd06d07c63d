"""The kinds of strategies of a recipe, one function each.

Each takes what a method takes and returns a gain of `select.gains` instead of a ranking. With one
of them alone a recipe picks as the method of the same idea does: "coverage" as `facility` (with
kernel="gaussian" as `max-herding`), "diversity" as `kcenter`, "balance" as `cb`. "similarity" is
the method `similar` as a fixed score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate.methods.kcenter import first_row
from foveate.curate.methods.max_herding import median_sigma
from foveate.curate.methods.similar import similar
from foveate.errors import ParameterError
from foveate.seeds import rng
from foveate.select.gains import Balance, Coverage, Diversity, Vectors
from foveate.select.method import Method, Methods
from foveate.select.sampling import draw_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn
    from foveate.select.gains import BalanceForm
    from foveate.select.kcenter import Metric

KINDS: Methods[Kind] = Methods("kind of strategy", ("counts", "embeddings"))


class Kind(Method):
    """A kind of strategy: its function returns a gain, or (not `greedy`) a ranking."""

    registry = KINDS

    def how_to_give(self, option: str) -> str:
        """Say how an option is given: in a recipe."""
        return f"In a recipe options = {{ {option} = ... }}"


def coverage(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one pass)
    kernel: str = "squared",
    sigma: float | None = None,
    reference: int | None = 4096,
    metric: Metric = "euclidean",
) -> Any:
    """Gain in coverage of the pool.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; may be a memory map.
        seed: Draws the reference tiles.
        progress: Not used.
        kernel: "squared" for 1 - (d / D)^2, as `facility`, or "gaussian", as `max-herding`.
        sigma: Width of the Gaussian, in the unit of the embeddings; None for the median distance.
        reference: How many tiles stand for the pool; None for all of it.
        metric: "euclidean" or "cosine".

    Returns:
        A `Coverage`.

    Raises:
        ParameterError: An option is out of range.
    """
    if kernel not in ("squared", "gaussian"):
        raise ParameterError(f"kernel={kernel!r}", "Allowed: squared, gaussian.")
    if reference is not None and reference < 1:
        raise ParameterError(f"reference={reference}", "At least 1 tile stands for the pool.")
    if sigma is not None and (kernel == "squared" or not 0 < sigma < np.inf):
        raise ParameterError(
            f"sigma={sigma} of the kernel {kernel!r}", "A width above 0 of a Gaussian.",
            'kernel="gaussian"' if kernel == "squared" else "",
        )  # fmt: skip
    name = "facility" if kernel == "squared" else "max-herding"
    if kernel == "gaussian" and sigma is None:
        sigma = median_sigma(embeddings, seed, metric)
    rows = draw_rows(len(ids), reference, rng(seed, f"{name}/reference"))
    return Coverage(Vectors(embeddings, metric), rows, sigma)


def diversity(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one pass)
    start: str = "random",
    metric: Metric = "euclidean",
    power: float = 1.0,
) -> Any:
    """Distance to the nearest pick.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; may be a memory map.
        seed: Draws the start.
        progress: Not used.
        start: As for `kcenter`; a strategy that prefers some tile decides the first pick.
        metric: "euclidean" or "cosine".
        power: Of the distance: 2 counts what is far away for more, where gains are combined.

    Returns:
        A `Diversity`.

    Raises:
        ParameterError: Unknown `start` or `metric`, or a power of 0 or less.
    """
    return Diversity(Vectors(embeddings, metric), first_row(ids, embeddings, seed, start), power)


def balance(
    *,
    ids: NDArray[np.str_],  # noqa: ARG001  (counts are all)
    counts: NDArray[np.int64],
    seed: int,  # noqa: ARG001  (nothing is drawn)
    progress: ProgressFn | None = None,  # noqa: ARG001  (no pass)
    form: BalanceForm = "entropy",
) -> Any:
    """Gain in the balance of classes.

    Args:
        ids: Not used.
        counts: (n, C) pixels per class.
        seed: Not used.
        progress: Not used.
        form: "entropy" of the class shares of the union, as `cb`; "concave": the mean over
            classes of the root of the share of the pool's pixels that is picked; "divergence":
            1 / (1 + divergence of equal shares from those of the union), see `Balance`.

    Returns:
        A `Balance`.

    Raises:
        ParameterError: Unknown `form`.
    """
    return Balance(counts, form)


for _kind in (
    Kind("coverage", "Coverage", "see facility, max-herding", coverage, ("embeddings",),
         greedy=True),
    Kind("diversity", "Diversity", "see kcenter", diversity, ("embeddings",), greedy=True),
    Kind("balance", "Class balance", "see cb", balance, ("counts",), greedy=True),
    Kind("similarity", "Similarity", "see similar", similar, ("embeddings",),
         requires=("toward", "away")),
):  # fmt: skip
    KINDS.register(_kind.name, _kind)
