"""How good an image-text model is: retrieval and zero-shot accuracy, as pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DEPTHS = (1, 5, 10)


def recalls(similarity: NDArray[np.floating], match: NDArray[np.bool_]) -> dict[str, float]:
    """Return recall at 1, 5 and 10, from images to texts and back.

    Recall at k is the share of queries that have a match among their first k answers, as usual
    for captions (Karpathy and Fei-Fei 2015). A query without any match does not count.

    Args:
        similarity: (n, m) of n images and m different texts.
        match: (n, m): text j was written for image i.

    Returns:
        "image_text_r1" ... "text_image_r10".
    """
    found = {}
    for name, scores, hits in (
        ("image_text", similarity, match),
        ("text_image", similarity.T, match.T),
    ):
        asked = hits.any(axis=1)
        order = np.argsort(-scores[asked], axis=1, kind="stable")[:, : max(DEPTHS)]
        hit = np.take_along_axis(hits[asked], order, axis=1)
        for k in DEPTHS:
            found[f"{name}_r{k}"] = float(hit[:, :k].any(axis=1).mean()) if asked.any() else 0.0
    return found


def accuracy(
    logits: NDArray[np.floating], truth: NDArray[np.integer], names: Sequence[str]
) -> dict[str, Any]:
    """Return top-1 accuracy, overall and per class.

    Args:
        logits: (n, C).
        truth: (n,) class numbers.
        names: The C classes.

    Returns:
        "images", "top1", "chance" (of guessing a class), "majority" (of always answering the most
        common class), "per_class" (name -> share right; a class without images is missing).
    """
    right = logits.argmax(axis=1) == truth
    times = np.bincount(truth[truth >= 0], minlength=len(names))
    per_class = {
        name: float(right[truth == c].mean()) for c, name in enumerate(names) if (truth == c).any()
    }
    return {
        "images": len(truth),
        "top1": float(right.mean()) if len(truth) else 0.0,
        "chance": 1 / len(names),
        "majority": float(times.max() / len(truth)) if len(truth) else 0.0,
        "per_class": per_class,
    }
