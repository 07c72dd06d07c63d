"""What the networks of `observe` are trained to (Eq. 8 and 9, and the sampler's regression)."""

from __future__ import annotations

import torch
from torch.nn import functional

_SMALL = 1e-6


def centred_cosine(found: torch.Tensor, target: torch.Tensor, mu: torch.Tensor) -> torch.Tensor:
    """Return the cosine of tokens around the running mean of the targets (inside Eq. 8).

    Args:
        found: (..., d).
        target: (..., d).
        mu: (d,).

    Returns:
        (...), -1 to 1; the mean of the targets itself has 0.
    """
    return functional.cosine_similarity(found - mu, target - mu, dim=-1, eps=_SMALL)


def representation_loss(
    found: torch.Tensor,
    target: torch.Tensor,
    mu: torch.Tensor,
    weight: torch.Tensor,
    *,
    norm: float = 0.5,
) -> torch.Tensor:
    """Return the loss of completed tokens (Eq. 8), with a term for what a cosine leaves open.

    A cosine says nothing of length, and heads read lengths. The second term is the mean absolute
    error where it is large and half the squared error where it is small, in standard deviations of
    the targets: the features are scaled so that they have one of about 1.

    Args:
        found: (..., d).
        target: (..., d).
        mu: (d,) running mean of the targets.
        weight: (...) of each token, at least 0; 0 leaves it out.
        norm: Weight of the second term. Eq. 8 is 0, with a weight of 1 for every token.

    Returns:
        Scalar.
    """
    loss = 1 - centred_cosine(found, target, mu)
    if norm:
        loss = loss + norm * functional.smooth_l1_loss(found, target, reduction="none").mean(-1)
    return (weight * loss).sum() / weight.sum().clamp(min=_SMALL)


def sampler_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, *, ranking: float = 0.1
) -> torch.Tensor:
    """Return the loss of scores: cross-entropy with soft targets, and their order in a scene.

    Cross-entropy has its minimum where a score is the mean of the targets. The second term is the
    logistic loss of random pairs of tiles of one scene, weighted by how much their targets differ.

    Args:
        logits: (b, p) of the tiles of b scenes.
        target: (b, p) 0 to 1.
        weight: (b, p) at least 0; 0 for tiles that there are not.
        ranking: Weight of the second term.

    Returns:
        Scalar.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    loss = (weight * entropy).sum() / weight.sum().clamp(min=_SMALL)
    if not ranking:
        return loss
    other = torch.randperm(logits.shape[1], device=logits.device)
    more = target - target[:, other]
    pair = functional.softplus(-more.sign() * (logits - logits[:, other]))
    share = weight * weight[:, other] * more.abs()
    return loss + ranking * (share * pair).sum() / share.sum().clamp(min=_SMALL)


def regression_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Return the mean squared error of scores (L_sam: the paper says "regress", and no more).

    Args:
        logits: (b, p) of the tiles of b scenes.
        target: (b, p) 0 to 1.
        weight: (b, p) at least 0; 0 for tiles that there are not.

    Returns:
        Scalar.
    """
    return (weight * (logits.sigmoid() - target).square()).sum() / weight.sum().clamp(min=_SMALL)


def alignment_loss(logits: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """Return the sigmoid loss of scenes and texts (Eq. 9), divided by the number of scenes.

    The paper's ``y_ij = -1`` for every other text of a batch would make scenes that share a concept
    push each other away; here a text matches each scene that has its concept.

    Args:
        logits: (b, K).
        match: (b, K) bool.
    """
    sign = 2.0 * match.to(logits.dtype) - 1.0
    return -functional.logsigmoid(sign * logits).sum() / len(logits)
