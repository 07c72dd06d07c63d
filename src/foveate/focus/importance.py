"""The four scores of a set of regions and their sum, Eq. 3 to 7 of HCS, as pure functions.

Every function takes arrays of any one shape and returns an array of that shape, finite in every
limit case. Losses are >= 0 and in any unit. The literal forms of the paper and those that this
project found to work stand side by side; `foveate.focus.config` says which goal uses which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import ParameterError
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from foveate.focus.config import Divergence, Synergy, Utility, Weights

    Perturbation = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]


GUARD = 0.05  # loss: not the paper's; see `utility`

LEAST = 1e-4  # a change of loss that counts as none

NONE = 1e-9  # a loss or a divergence below which there is rounding only

_MOST_RATIO = 50.0

NEUTRAL = 0.5  # synergy where there is nothing to compare


def utility(
    loss: ArrayLike,
    whole: float,
    share: ArrayLike,
    *,
    form: Utility = "signed",
    area_weight: float = 0.7,
    guard: float = GUARD,
) -> NDArray[np.float64]:
    """Score how well a set of regions stands for the image, and how little of it it is (Eq. 3).

    Args:
        loss: (...) L(X_s) of the sets.
        whole: L(X) of the image.
        share: (...) area of the sets relative to the image, 0 to 1.
        form: "two_sided", the paper's: ``exp(-|L(X) - L(X_s)| / L(X))``. "one_sided": only a
            loss above L(X) counts. "signed": ``exp(-clip(d, -1, 5)) / e`` with
            ``d = (L(X_s) - L(X)) / (L(X) + guard)``, so that a set that answers better than the
            whole image scores higher. The last two add the guard to the denominator.
        area_weight: lambda.
        guard: A loss so that nothing is divided by 0, where L(X) is 0 or nearly. The paper has
            none: with 0, "two_sided" is Eq. 3 and its limit where L(X) is 0 (1 for a set whose
            loss is 0 too, 0 for any other); above 0 it stands there in the place of L(X).

    Returns:
        (...) in [0, 1 + lambda].
    """
    loss, share = np.asarray(loss, np.float64), np.asarray(share, np.float64)
    gap = loss - whole
    if form == "two_sided":
        with np.errstate(divide="ignore", over="ignore"):
            ratio = np.abs(gap) / relative_to(whole, guard)
        score = np.exp(-ratio)
    else:
        ratio = gap / max(whole + guard, NONE)
        if form == "one_sided":
            score = np.exp(-np.maximum(ratio, 0))
        else:
            score = np.exp(-np.clip(ratio, -1, 5) - 1)
    return score + area_weight * (1 - share)


def relative_to(whole: float, guard: float = GUARD) -> float:
    """Return what differences from L(X) are relative to: L(X), or the guard where it is 0."""
    return whole if whole > NONE else max(guard, NONE)


def divergence(
    p: NDArray[np.float64], q: NDArray[np.float64], *, form: Divergence = "forward"
) -> NDArray[np.float64]:
    """Return the divergence of distributions p from q, in nats.

    Args:
        p: (..., k) rows that sum to 1: the sets.
        q: (k,) or (..., k): the image.
        form: "forward" KL(p || q), "reverse" KL(q || p), "js" Jensen-Shannon. A term with a
            zero first argument is 0; one with a zero second argument only is infinite.

    Returns:
        (...) >= 0.
    """
    if form == "js":
        middle = (p + q) / 2
        return (_kl(p, middle) + _kl(q, middle)) / 2
    return _kl(p, q) if form == "forward" else _kl(q, p)


def _kl(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0)
    return np.maximum(terms.sum(axis=-1), 0.0)  # rounding may leave -1e-17


def largest_divergence(share: ArrayLike, *, form: Divergence = "forward") -> NDArray[np.float64]:
    """Return D_max of Eq. 4, which the paper leaves open, in nats.

    The image is a mixture that holds the set with weight a, its share of the area: p_X >= a p_s,
    so KL(p_s || p_X) <= log(1 / a). The same serves as the scale of the reverse direction, which
    has no bound. Jensen-Shannon is at most log 2.

    Args:
        share: (...) area of the sets relative to the image, in (0, 1].
        form: See `divergence`.
    """
    a = np.asarray(share, np.float64)
    if form == "js":
        return np.full(a.shape, np.log(2.0))
    return np.log(1 / np.clip(a, np.finfo(float).tiny, 1.0))


def representativeness(found: ArrayLike, largest: ArrayLike) -> NDArray[np.float64]:
    """Score how like the image's the features of a set are distributed (Eq. 4).

    Args:
        found: (...) divergence of the set from the image, from `divergence`.
        largest: (...) from `largest_divergence`; 0 for a set that is the whole image.

    Returns:
        (...) in [0, 1].
    """
    found, largest = np.asarray(found, np.float64), np.asarray(largest, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(found <= NONE, 0.0, found / largest)
    return np.exp(-ratio)


def robustness(shift: ArrayLike, largest: float | None = None) -> NDArray[np.float64]:
    """Score how little the features of regions move under a small perturbation (Eq. 5).

    Args:
        shift: (...) distance between the features of a region, of norm 1, before and after.
        largest: delta_max. None for the largest of the given ones, so that scores lie in
            [1/e, 1]; 2 for the largest that there can be, comparable between images.

    Returns:
        (...) in [0, 1]; 1 where nothing moves.
    """
    moved = np.asarray(shift, np.float64)
    top = float(moved.max(initial=0.0)) if largest is None else largest
    return np.exp(-moved / top) if top > 0 else np.ones(moved.shape)


def synergy(
    whole: float,
    without_neighbour: ArrayLike,
    without_both: ArrayLike,
    *,
    form: Synergy = "marginal",
    scale: float = 0.0,
) -> NDArray[np.float64]:
    r"""Score what a set X_s adds next to a region r' outside of it (Eq. 6).

    Args:
        whole: L(X).
        without_neighbour: (...) L(X \ r').
        without_both: (...) L(X \ (X_s and r')).
        form: "paper": ``exp(-|q|)`` with ``q = (L(X) - L(X \ (X_s and r'))) / (L(X) - L(X \ r'))``.
            It is 1 where removing both changes nothing. "text": ``exp(-|q - 1|)``, 1 where
            removing both changes as much as removing r' alone, as the paper's sentence has it.
            "marginal": ``sigmoid((L(X \ (X_s and r')) - L(X \ r')) / scale)``, above 0.5 where
            the image loses by giving up X_s once r' is gone.
        scale: For "marginal": a typical change of the loss; 1e-4 is added to it.

    Returns:
        (...) in [0, 1]. "paper" and "text" are 0.5 where both changes are below 1e-4, because
        the quotient says nothing there; otherwise the denominator is at least 1e-4 and the
        quotient at most 50 in size.
    """
    alone = np.asarray(without_neighbour, np.float64)
    both = np.asarray(without_both, np.float64)
    if form == "marginal":
        z = np.clip((both - alone) / (abs(scale) + LEAST), -_MOST_RATIO, _MOST_RATIO)
        return 1 / (1 + np.exp(-z))
    over, under = whole - both, whole - alone
    sign = np.where(under < 0, -1.0, 1.0)
    q = np.clip(over / (sign * np.maximum(np.abs(under), LEAST)), -_MOST_RATIO, _MOST_RATIO)
    score = np.exp(-np.abs(q if form == "paper" else q - 1))
    nothing = (np.abs(over) < LEAST) & (np.abs(under) < LEAST)
    return np.where(nothing, NEUTRAL, score)


def importance(parts: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """Add the four scores up (Eq. 7).

    Args:
        parts: (..., 4) utility, representativeness, robustness, synergy.
        weights: Their weights; that of the utility is 1. A score of weight 0 may be NaN.

    Returns:
        (...) the importance S.

    Raises:
        ParameterError: A score that counts is NaN.
    """
    shares = np.array([1.0, weights.representativeness, weights.robustness, weights.synergy])
    counted = np.where(shares > 0, parts, 0.0)
    if np.isnan(counted).any():
        raise ParameterError(
            "a score that has a weight was not measured", "", "Give it the weight 0."
        )
    return counted @ shares


SPECKLE, GAIN = 0.05, 0.10


def perturb(image: NDArray[Any], draw: np.random.Generator) -> NDArray[Any]:
    """Return (c, h, w) pixels with speckle and gains, in their own dtype.

    Values beyond the range of an integer dtype are set to its end.
    """
    noise = 1 + SPECKLE * draw.standard_normal(image.shape[1:], dtype=np.float32)
    gain = draw.uniform(1 - GAIN, 1 + GAIN, (len(image), 1, 1)).astype(np.float32)
    found = image * (noise * gain)
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        # A float32 cannot hold the ends of the longer integers: the cast would wrap around.
        found = np.clip(np.rint(found.astype(np.float64)), limits.min, limits.max)
    return found.astype(image.dtype)


def perturb_window(
    image: NDArray[Any], name: str, seed: int, function: Perturbation = perturb
) -> NDArray[Any]:
    """Perturb an image by what its name and the seed say, whatever else is perturbed.

    Args:
        image: (c, h, w).
        name: Name of the window.
        seed: Seed of the run.
        function: From pixels and a generator to pixels of the same shape and dtype.
    """
    return function(image, rng(seed, f"focus/perturb/{name}"))
