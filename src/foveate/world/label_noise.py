"""Simulated label noise, for testing methods that detect it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from foveate.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Kind = Literal["pixels", "blobs"]
BLOB = 5.0  # standard deviation of the smoothing that makes blobs, pixels


def flip_labels(
    labels: NDArray[np.integer], share: float, classes: Sequence[int], draw: np.random.Generator,
    kind: Kind = "pixels",
) -> NDArray[np.integer]:  # fmt: skip
    """Flip a share of the labels of a patch to another class.

    Args:
        labels: (h, w) classes.
        share: Of pixels that are flipped, 0 to 1. Blobs flip a little less: a pixel of a blob may
            have the new class already.
        classes: At least two, that labels are flipped to; pixels of other classes are unchanged.
        draw: Source of randomness.
        kind: "pixels" flips each independently to any other class with equal probability; "blobs"
            flips connected blobs, about ten pixels wide, to one class other than their most
            frequent one.

    Returns:
        The labels with flips: a copy.

    Raises:
        ParameterError: Unknown kind, or fewer than two classes.
    """
    known = np.unique(classes)
    if known.size < 2 or kind not in get_args(Kind):
        raise ParameterError(
            f"kind={kind!r} with {known.size} classes",
            f"Allowed: {', '.join(get_args(Kind))}; at least two classes.",
        )
    place = np.searchsorted(known, labels)
    place = np.where(known[np.minimum(place, known.size - 1)] == labels, place, -1)
    found = labels.copy()
    if kind == "pixels":
        chosen = (draw.random(labels.shape) < share) & (place >= 0)
        turn = draw.integers(1, known.size, int(chosen.sum()))
        found[chosen] = known[(place[chosen] + turn) % known.size]
        return found
    from scipy.ndimage import gaussian_filter, label

    field = gaussian_filter(draw.normal(size=labels.shape), BLOB, mode="wrap")
    blobs, count = label(field > np.quantile(field, 1 - share))
    for number in range(1, count + 1):
        inside = (blobs == number) & (place >= 0)
        if inside.any():
            common = np.bincount(place[inside]).argmax()
            found[inside] = known[(common + draw.integers(1, known.size)) % known.size]
    return found
