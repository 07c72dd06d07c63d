"""Losses of the networks of `observe` (Eq. 8 and 9, and the regression of the sampler)."""

from __future__ import annotations

import torch
from torch.nn import functional

_EPS = 1e-6


def centred_cosine(found: torch.Tensor, target: torch.Tensor, mu: torch.Tensor) -> torch.Tensor:
    """Return the cosine of tokens centred by the running mean of the targets (part of Eq. 8).

    Args:
        found: (..., d) predicted tokens.
        target: (..., d) true tokens.
        mu: (d,) running mean of the targets.

    Returns:
        (...), -1 to 1; 0 for a prediction of `mu`.
    """
    return functional.cosine_similarity(found - mu, target - mu, dim=-1, eps=_EPS)


def representation_loss(
    found: torch.Tensor,
    target: torch.Tensor,
    mu: torch.Tensor,
    weight: torch.Tensor,
    *,
    norm: float = 0.5,
) -> torch.Tensor:
    """Return the loss of completed tokens: Eq. 8 and a smooth L1 term.

    The cosine is invariant to the norm of tokens, but the outputs of heads depend on it. The second
    term is the smooth L1 error, in standard deviations of the targets: features are scaled to a
    standard deviation of about 1.

    Args:
        found: (..., d) predicted tokens.
        target: (..., d) true tokens.
        mu: (d,) running mean of the targets.
        weight: (...) weight of each token, >= 0; tokens of weight 0 are ignored.
        norm: Weight of the second term. Eq. 8 is 0, with a weight of 1 for every token.

    Returns:
        Scalar.
    """
    loss = 1 - centred_cosine(found, target, mu)
    if norm:
        loss = loss + norm * functional.smooth_l1_loss(found, target, reduction="none").mean(-1)
    return (weight * loss).sum() / weight.sum().clamp(min=_EPS)


def sampler_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, *, ranking: float = 0.1
) -> torch.Tensor:
    """Return the loss of scores: cross-entropy with soft targets, and a pairwise ranking loss.

    The minimum of the cross-entropy is at the mean of the targets. The second term is the logistic
    loss of random pairs of tiles of one scene, weighted by the difference of their targets.

    Args:
        logits: (b, p) logits of the tiles of b scenes.
        target: (b, p) targets, 0 to 1.
        weight: (b, p) weights, >= 0; 0 for missing tiles.
        ranking: Weight of the second term.

    Returns:
        Scalar.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    loss = (weight * entropy).sum() / weight.sum().clamp(min=_EPS)
    if not ranking:
        return loss
    other = torch.randperm(logits.shape[1], device=logits.device)
    difference = target - target[:, other]
    pair = functional.softplus(-difference.sign() * (logits - logits[:, other]))
    share = weight * weight[:, other] * difference.abs()
    return loss + ranking * (share * pair).sum() / share.sum().clamp(min=_EPS)


def regression_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Return the mean squared error of scores (L_sam; the paper only states "regress").

    Args:
        logits: (b, p) logits of the tiles of b scenes.
        target: (b, p) targets, 0 to 1.
        weight: (b, p) weights, >= 0; 0 for missing tiles.

    Returns:
        Scalar.
    """
    return (weight * (logits.sigmoid() - target).square()).sum() / weight.sum().clamp(min=_EPS)


def alignment_loss(logits: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """Return the sigmoid loss of scenes and texts (Eq. 9), divided by the number of scenes.

    In the paper ``y_ij = -1`` for every other text of a batch, so scenes with the same concept
    would be negatives of each other; here a text matches every scene with its concept.

    Args:
        logits: (b, K) logits.
        match: (b, K) bool, whether a scene has a concept.
    """
    sign = 2.0 * match.to(logits.dtype) - 1.0
    return -functional.logsigmoid(sign * logits).sum() / len(logits)
