"""Losses of mixtures of regions, the basis of the importance of a region.

Labels are not available at test time, so most losses need none (the paper does not define this).
Each loss is an assumption about the task; the goal selects the losses. All losses are >= 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import MissingCapabilityError, ParameterError
from foveate.focus.config import missing_query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from foveate.focus.score import Loss
    from foveate.models.heads import Head

_TINY = 1e-12
_ROUNDING = 1e-6  # relative to the norm of features: smaller variation is rounding


@dataclass(frozen=True)
class LossInputs:
    """Inputs of the losses.

    Attributes:
        x: (n, d) features of the encoded regions.
        area: (n,) > 0.
        head: Classifier of features, or None.
        target: Index of the true or queried class, or None.
        text: (d,) vector of a query without classes, or None.
        alike: (n, d) features with equal means at each scale, for the novelty in combination with
            losses of unchanged features: mixtures then have both, (m, 2 d). None if all losses
            use the same features.
        whole: (1, d) mixture of all regions, if it is not their mean.
    """

    x: NDArray[np.floating]
    area: NDArray[np.floating]
    head: Head | None = None
    target: int | None = None
    text: NDArray[np.floating] | None = None
    alike: NDArray[np.floating] | None = None
    whole: NDArray[np.floating] | None = None

    @property
    def mean(self) -> NDArray[np.float64]:
        """(1, d) mixture of all regions."""
        if self.whole is not None:
            return np.asarray(self.whole, np.float64)
        return (self.area @ self.x / self.area.sum())[None]

    def chances(self, z: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (m, C) probabilities of (m, d) mixtures, above 0."""
        if self.head is None:
            raise MissingCapabilityError(
                "the loss needs classes, and there are none",
                "Classes come from labels (for a model that embeds text) or from a probe.",
                "Type --labels or --probe, or choose a goal without classes.",
            )
        chances = self.head.probabilities(np.asarray(z, np.float32))
        return np.maximum(chances.astype(np.float64), _TINY)


def label(known: LossInputs) -> Loss:
    """Cross-entropy to the class `target`, in nats."""
    if known.target is None:
        raise ParameterError("the loss 'label' needs a class", "", "Set target='CLASS'.")
    target = known.target
    return lambda z: -np.log(known.chances(z)[:, target])


def query(known: LossInputs) -> Loss:
    """Mismatch with a text: cross-entropy if there are classes, else 1 - cosine."""
    if known.head is not None:
        return label(known)
    if known.text is None:
        raise missing_query()
    return _cosine_distance(known.text[None])


def pseudo_label(known: LossInputs) -> Loss:
    """Cross-entropy to the most likely class of the whole image, in nats.

    It is self-confirming: if that class is wrong, so is the selection.
    """
    target = int(known.chances(known.mean)[0].argmax())
    return lambda z: -np.log(known.chances(z)[:, target])


def soft_label(known: LossInputs) -> Loss:
    """Cross-entropy to the mean prediction of all regions, in nats.

    The target is the mean of two predictions: the area-weighted mean of the regions'
    probabilities, and the probabilities of their mixture.
    """
    shares = known.area / known.area.sum()
    apart, together = shares @ known.chances(known.x), known.chances(known.mean)[0]
    target = (apart + together) / 2
    target /= target.sum()  # independent classes (sigmoid) do not sum to 1
    return lambda z: -(np.log(known.chances(z)) @ target)


def entropy(known: LossInputs) -> Loss:
    """Entropy of the class probabilities, in nats."""

    def loss(z: NDArray[np.float64]) -> NDArray[np.float64]:
        p = known.chances(z)
        p = p / p.sum(axis=1, keepdims=True)
        return -(p * np.log(p)).sum(axis=1)

    return loss


def likeness(known: LossInputs) -> Loss:
    """1 - cosine to the mixture of all regions: for models without classes."""
    return _cosine_distance(known.mean)


def novelty(known: LossInputs) -> Loss:
    """1 for the mixture of all regions, 0 for the region with the largest novelty.

    Novelty is the squared distance to the mixture of all regions with each feature divided by its
    standard deviation (a diagonal Mahalanobis distance), relative to the largest of any region.
    In cosine distances, features with a high variance everywhere dominate the few features in
    which rare regions differ.
    """
    mean = known.mean
    spread = np.sqrt(known.area @ (known.x - mean) ** 2 / known.area.sum())
    length = np.sqrt((mean**2).sum() + (spread**2).sum())
    varies = spread > max(_ROUNDING * length, _TINY)
    gain = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)

    def distance(z: NDArray[np.floating]) -> NDArray[np.float64]:
        return (((z - mean) * gain) ** 2).mean(axis=1)

    largest = max(float(distance(known.x).max()), _TINY)
    return lambda z: np.maximum(1 - distance(z) / largest, 0.0)


def given(known: LossInputs) -> Loss:
    """Losses given as features: column 0; column 1 is 1.

    An empty mixture, a row of zeros, has the loss of the worst region.
    """
    worst = float(np.asarray(known.x)[:, 0].max())
    return lambda z: z[:, 0] + (1 - z[:, 1]) * worst


def _cosine_distance(reference: NDArray[np.floating]) -> Loss:
    target = _unit(np.asarray(reference, np.float64))[0]
    return lambda z: np.maximum(1 - _unit(np.asarray(z, np.float64)) @ target, 0.0)


def _unit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), _TINY)


LOSSES: dict[str, Callable[[LossInputs], Loss]] = {
    "label": label,
    "query": query,
    "pseudo_label": pseudo_label,
    "soft_label": soft_label,
    "entropy": entropy,
    "likeness": likeness,
    "novelty": novelty,
    "given": given,
}


def mixed(shares: Mapping[str, float], known: LossInputs) -> Loss:
    """Return the weighted sum of losses by name."""
    both, d = known.alike is not None, known.x.shape[1]
    levelled = known if known.alike is None else replace(known, x=known.alike, alike=None)
    parts = [
        (share, LOSSES[name](levelled if name == "novelty" else known),
         slice(d, None) if both and name == "novelty" else slice(None, d))
        for name, share in shares.items()
    ]  # fmt: skip

    def loss(z: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros(len(z))
        for share, part, columns in parts:
            total += share * part(z[:, columns])
        return total

    return loss
