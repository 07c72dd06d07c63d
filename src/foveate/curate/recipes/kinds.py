"""The kinds of strategies of a recipe, one function each.

Each has the arguments of a method and returns a gain of `select.gains` instead of a ranking. A
recipe with one of them alone is equivalent to a method: "coverage" to `facility` (with
kernel="gaussian" to `max-herding`), "diversity" to `kcenter`, "balance" to `cb`. "similarity" is
the method `similar` as a fixed score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate.methods.kcenter import first_row
from foveate.curate.methods.max_herding import median_sigma
from foveate.curate.methods.similar import similar
from foveate.errors import ParameterError
from foveate.registry import check_choice
from foveate.seeds import rng
from foveate.select.gains import Balance, Coverage, Diversity, Vectors
from foveate.select.method import Method, Methods
from foveate.select.sampling import draw_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select.gains import BalanceForm
    from foveate.select.kcenter import Metric

KINDS: Methods[Kind] = Methods("kind of strategy", ("counts", "embeddings"))


class Kind(Method):
    """A kind of strategy: its function returns a gain, or (not `greedy`) a ranking."""

    registry = KINDS

    def how_to_give(self, option: str) -> str:
        """Return a hint on how to give an option in a recipe."""
        return f"In a recipe: options = {{ {option} = ... }}"


def coverage(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
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
        kernel: "squared" for 1 - (d / D)^2, as in `facility`, or "gaussian", as in `max-herding`.
        sigma: Width of the Gaussian, in the unit of the embeddings; None for the median distance.
        reference: Size of the sample of tiles that represents the pool; None for the whole pool.
        metric: "euclidean" or "cosine".

    Returns:
        A `Coverage`.

    Raises:
        ParameterError: An option is out of range.
    """
    check_choice("kernel", kernel, ("squared", "gaussian"))
    if reference is not None and reference < 1:
        raise ParameterError(f"reference={reference}", "It must be at least 1 tile.")
    if sigma is not None and (kernel == "squared" or not 0 < sigma < np.inf):
        raise ParameterError(
            f"sigma={sigma} of the kernel {kernel!r}",
            "It must be a positive width of a Gaussian kernel.",
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
    start: str = "random",
    metric: Metric = "euclidean",
    power: float = 1.0,
) -> Any:
    """Distance to the nearest pick.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; may be a memory map.
        seed: Draws the start.
        start: As for `kcenter`; other strategies take precedence for the first pick.
        metric: "euclidean" or "cosine".
        power: Exponent of the distance; 2 gives distant tiles more weight in combinations.

    Returns:
        A `Diversity`.

    Raises:
        ParameterError: `start` or `metric` is unknown, or `power` is not positive.
    """
    return Diversity(Vectors(embeddings, metric), first_row(ids, embeddings, seed, start), power)


def balance(
    *,
    ids: NDArray[np.str_],  # noqa: ARG001  (only counts are used)
    counts: NDArray[np.int64],
    seed: int,  # noqa: ARG001  (nothing is drawn)
    form: BalanceForm = "entropy",
) -> Any:
    """Gain in the balance of classes.

    Args:
        ids: Not used.
        counts: (n, C) pixels per class.
        seed: Not used.
        form: "entropy" of the class shares of the selection, as in `cb`; "concave": the mean over
            classes of the square root of the selected share of the pixels of the class;
            "divergence": 1 / (1 + divergence of equal shares from those of the selection), see
            `Balance`.

    Returns:
        A `Balance`.

    Raises:
        ParameterError: `form` is unknown.
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
