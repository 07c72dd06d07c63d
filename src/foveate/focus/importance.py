"""The four scores of a set of regions and their sum, Eq. 3 to 7 of HCS, as pure functions.

Every function takes arrays of one shape and returns an array of that shape, finite in every limit
case. Losses are >= 0 and in any unit. Each score has the literal form of the paper and forms that
work better in practice; `foveate.focus.config` maps goals to forms.
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


GUARD = 0.05  # loss added to denominators, not in the paper; see `utility`

LEAST = 1e-4  # smaller changes of the loss are treated as 0

NONE = 1e-9  # smaller losses and divergences are rounding errors

_MAX_RATIO = 50.0

NEUTRAL = 0.5  # synergy of regions without neighbours, or if no loss changes


def utility(
    loss: ArrayLike,
    whole: float,
    share: ArrayLike,
    *,
    form: Utility = "signed",
    area_weight: float = 0.7,
    guard: float = GUARD,
) -> NDArray[np.float64]:
    """Return the utility of a set of regions: fidelity to the image plus small area (Eq. 3).

    Args:
        loss: (...) L(X_s) of the sets.
        whole: L(X) of the image.
        share: (...) area of the sets relative to the image, 0 to 1.
        form: "two_sided", as in the paper: ``exp(-|L(X) - L(X_s)| / L(X))``. "one_sided": only a
            loss above L(X) counts. "signed": ``exp(-clip(d, -1, 5)) / e`` with
            ``d = (L(X_s) - L(X)) / (L(X) + guard)``, so that a set with a lower loss than the
            whole image scores higher. The last two add the guard to the denominator.
        area_weight: lambda.
        guard: Loss that avoids a division by 0 if L(X) is 0 or nearly. The paper has none: with
            0, "two_sided" is Eq. 3, and its limit if L(X) is 0 (1 for a set whose loss is 0 too,
            else 0); a positive guard replaces L(X) in that case.

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
    """Return the denominator of relative losses: L(X), or the guard if L(X) is 0."""
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
    """Return D_max of Eq. 4, which the paper does not define, in nats.

    The image is a mixture that contains the set with weight a, its share of the area: p_X >= a p_s,
    so KL(p_s || p_X) <= log(1 / a). The reverse direction is unbounded and uses the same scale.
    Jensen-Shannon is at most log 2.

    Args:
        share: (...) area of the sets relative to the image, in (0, 1].
        form: See `divergence`.
    """
    a = np.asarray(share, np.float64)
    if form == "js":
        return np.full(a.shape, np.log(2.0))
    return np.log(1 / np.clip(a, np.finfo(float).tiny, 1.0))


def representativeness(distance: ArrayLike, largest: ArrayLike) -> NDArray[np.float64]:
    """Return the similarity of the feature distributions of a set and the image (Eq. 4).

    Args:
        distance: (...) divergence of the set from the image, from `divergence`.
        largest: (...) from `largest_divergence`; 0 for a set that is the whole image.

    Returns:
        (...) in [0, 1].
    """
    distance, largest = np.asarray(distance, np.float64), np.asarray(largest, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(distance <= NONE, 0.0, distance / largest)
    return np.exp(-ratio)


def robustness(shift: ArrayLike, largest: float | None = None) -> NDArray[np.float64]:
    """Return the stability of the features of regions under a small perturbation (Eq. 5).

    Args:
        shift: (...) distance between the unit-norm features of a region before and after it.
        largest: delta_max. None: the maximum of `shift`, so that scores are in [1/e, 1]; 2: the
            maximum possible distance, comparable between images.

    Returns:
        (...) in [0, 1]; 1 if no feature changes.
    """
    shift = np.asarray(shift, np.float64)
    top = float(shift.max(initial=0.0)) if largest is None else largest
    return np.exp(-shift / top) if top > 0 else np.ones(shift.shape)


def synergy(
    whole: float,
    without_neighbour: ArrayLike,
    without_both: ArrayLike,
    *,
    form: Synergy = "marginal",
    scale: float = 0.0,
) -> NDArray[np.float64]:
    r"""Return the synergy of a set X_s with a region r' outside of it (Eq. 6).

    Args:
        whole: L(X).
        without_neighbour: (...) L(X \ r').
        without_both: (...) L(X \ (X_s and r')).
        form: "paper": ``exp(-|q|)`` with ``q = (L(X) - L(X \ (X_s and r'))) / (L(X) - L(X \ r'))``.
            It is 1 if removing both does not change the loss. "text": ``exp(-|q - 1|)``, 1 if
            removing both changes the loss as much as removing r' alone, as the text of the paper
            requires. "marginal": ``sigmoid((L(X \ (X_s and r')) - L(X \ r')) / scale)``, above
            0.5 if removing X_s after r' raises the loss.
        scale: For "marginal": a typical change of the loss; 1e-4 is added to it.

    Returns:
        (...) in [0, 1]. "paper" and "text" are 0.5 if both changes are below 1e-4, because the
        quotient is uninformative; otherwise the denominator is at least 1e-4 and the absolute
        quotient at most 50.
    """
    alone = np.asarray(without_neighbour, np.float64)
    both = np.asarray(without_both, np.float64)
    if form == "marginal":
        z = np.clip((both - alone) / (abs(scale) + LEAST), -_MAX_RATIO, _MAX_RATIO)
        return 1 / (1 + np.exp(-z))
    over, under = whole - both, whole - alone
    sign = np.where(under < 0, -1.0, 1.0)
    q = np.clip(over / (sign * np.maximum(np.abs(under), LEAST)), -_MAX_RATIO, _MAX_RATIO)
    score = np.exp(-np.abs(q if form == "paper" else q - 1))
    unchanged = (np.abs(over) < LEAST) & (np.abs(under) < LEAST)
    return np.where(unchanged, NEUTRAL, score)


def importance(parts: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """Return the weighted sum of the four scores (Eq. 7).

    Args:
        parts: (..., 4) utility, representativeness, robustness, synergy.
        weights: Their weights; that of the utility is 1. A score of weight 0 may be NaN.

    Returns:
        (...) the importance S.

    Raises:
        ParameterError: A score with a positive weight is NaN.
    """
    shares = np.array([1.0, weights.representativeness, weights.robustness, weights.synergy])
    counted = np.where(shares > 0, parts, 0.0)
    if np.isnan(counted).any():
        raise ParameterError(
            "a score with a positive weight was not computed", "", "Set its weight to 0."
        )
    return counted @ shares


SPECKLE, GAIN = 0.05, 0.10


def perturb(image: NDArray[Any], draw: np.random.Generator) -> NDArray[Any]:
    """Return (c, h, w) pixels with speckle and random gains, in the same dtype.

    Values beyond the range of an integer dtype are clipped.
    """
    noise = 1 + SPECKLE * draw.standard_normal(image.shape[1:], dtype=np.float32)
    gain = draw.uniform(1 - GAIN, 1 + GAIN, (len(image), 1, 1)).astype(np.float32)
    perturbed = image * (noise * gain)
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        # float32 does not represent the limits of the longer integers: the cast would wrap around.
        perturbed = np.clip(np.rint(perturbed.astype(np.float64)), limits.min, limits.max)
    return perturbed.astype(image.dtype)


def perturb_window(
    image: NDArray[Any], name: str, seed: int, function: Perturbation = perturb
) -> NDArray[Any]:
    """Perturb an image with a generator that depends on its name and the seed only.

    Args:
        image: (c, h, w).
        name: Name of the window.
        seed: Seed of the run.
        function: Maps pixels and a generator to pixels of the same shape and dtype.
    """
    return function(image, rng(seed, f"focus/perturb/{name}"))
