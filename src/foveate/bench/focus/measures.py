"""What a benchmark of `focus` measures on one scene, as plain functions of windows and numbers.

Windows are half-open pixel boxes. A measure that a scene cannot have (nothing is planted, the
method ranks nothing) is NaN, and the scene does not count in it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from foveate.grid import Window

FOUND = 0.5  # share of a planted window that has to be covered
STEPS = 16  # parts of the image that insertion and deletion go through


def top_k(probabilities: NDArray[np.floating], label: int, k: int) -> float:
    """Return whether a class is among the k most likely ones.

    Args:
        probabilities: (C,).
        label: The true class.
        k: How many; all classes where there are fewer.

    Returns:
        0 or 1; of equally likely classes at the k-th place the chance that a random order of them
        has the label there. NaN where a probability is NaN.
    """
    own = probabilities[label]
    if np.isnan(probabilities).any():
        return math.nan
    above = int((probabilities > own).sum())
    equal = int((probabilities == own).sum())
    return float(np.clip((k - above) / equal, 0.0, 1.0))


def covered(windows: Sequence[Window], planted: Sequence[Window]) -> tuple[int, int, int]:
    """Return the areas, in pixels, of the union of two sets of windows, and of what they share.

    Returns:
        Area of `windows`, area of `planted`, area of their intersection.
    """
    both = [*windows, *planted]
    if not both:
        return 0, 0, 0
    ys = np.unique([edge for w in both for edge in (w.y, w.y + w.h)])
    xs = np.unique([edge for w in both for edge in (w.x, w.x + w.w)])
    sizes = np.outer(np.diff(ys), np.diff(xs))
    masks = []
    for group in (windows, planted):
        mask = np.zeros(sizes.shape, bool)
        for w in group:
            rows = slice(*np.searchsorted(ys, (w.y, w.y + w.h)))
            mask[rows, slice(*np.searchsorted(xs, (w.x, w.x + w.w)))] = True
        masks.append(mask)
    own, other = masks
    return int(sizes[own].sum()), int(sizes[other].sum()), int(sizes[own & other].sum())


def recall(windows: Sequence[Window], planted: Sequence[Window], k: int) -> float:
    """Return the share of planted windows that the first regions find: recall@K.

    Regions count in their order as long as they have, together, no more than K times the area of a
    planted window, so that one large region does not find everything. A planted window is found
    where they cover `FOUND` of it.

    Args:
        windows: Chosen regions, the most important first.
        planted: What is to be found.
        k: K.

    Returns:
        0 to 1; NaN where nothing is planted.
    """
    if not planted:
        return math.nan
    room = k * float(np.mean([w.h * w.w for w in planted]))
    sizes = np.cumsum([w.h * w.w for w in windows])
    kept = windows[: int(np.searchsorted(sizes, room, side="right"))]
    shares = [covered(kept, [w])[2] / (w.h * w.w) for w in planted]
    return float(np.mean([share >= FOUND for share in shares]))


def mask_iou(windows: Sequence[Window], planted: Sequence[Window]) -> float:
    """Return the intersection over union of the regions and what is planted; NaN for nothing."""
    if not planted:
        return math.nan
    own, other, shared = covered(windows, planted)
    return shared / (own + other - shared)


def pointing(
    cells: Sequence[Window], importance: NDArray[np.floating] | None, planted: Sequence[Window]
) -> float:
    """Return whether the centre of the most important cell lies in a planted window.

    The pointing game (Zhang et al. 2018), on cells.

    Args:
        cells: k windows.
        importance: (k,), or None for a method that ranks nothing.
        planted: What is to be found.

    Returns:
        0 or 1; of equally important cells the share of those that hit. NaN without importance, or
        where nothing is planted.
    """
    if importance is None or not planted or not len(cells):
        return math.nan
    best = np.flatnonzero(importance == np.max(importance))
    hits = []
    for i in best.tolist():
        y, x = cells[i].y + cells[i].h / 2, cells[i].x + cells[i].w / 2
        hits.append(any(w.y <= y < w.y + w.h and w.x <= x < w.x + w.w for w in planted))
    return float(np.mean(hits))


def order_maps(
    shape: tuple[int, int],
    size: tuple[int, int],
    cells: Sequence[Window],
    importance: NDArray[np.floating],
    steps: int = STEPS,
) -> list[NDArray[np.bool_]]:
    """Return which pixels of a small image belong to the most important cells, step by step.

    Args:
        shape: ``(height, width)`` of the scene.
        size: ``(h, w)`` of the small image of it.
        cells: k windows of the scene; pixels of none come last.
        importance: (k,).
        steps: Steps at most; the cells are dealt to them in equal numbers.

    Returns:
        Masks (h, w), each with all pixels of the one before: none at first, all at the end.
    """
    place = np.full(size, len(cells), np.int64)
    order = np.argsort(-np.asarray(importance, np.float64), kind="stable")
    for rank in range(len(order) - 1, -1, -1):  # where cells overlap, the more important one counts
        w = cells[order[rank]]
        rows = _span(w.y, w.h, shape[0], size[0])
        place[rows, _span(w.x, w.w, shape[1], size[1])] = rank
    ends = np.unique(np.linspace(0, len(cells), min(steps, len(cells)) + 1).round().astype(int))
    masks = [place < end for end in ends.tolist()]
    return masks if masks[-1].all() else [*masks, np.ones(size, bool)]


def _span(start: int, length: int, whole: int, size: int) -> slice:
    first = round(start * size / whole)
    return slice(first, max(first + 1, round((start + length) * size / whole)))


def insertion_deletion(
    image: NDArray[np.floating],
    substrate: NDArray[np.floating],
    masks: Sequence[NDArray[np.bool_]],
    score: Callable[[NDArray[np.floating]], NDArray[np.float64]],
) -> tuple[float, float]:
    """Return the areas under the insertion and the deletion curve (RISE, Petsiuk et al. 2018).

    Args:
        image: (c, h, w).
        substrate: (c, h, w) what stands where nothing of the image does.
        masks: From `order_maps`: of no pixel, ..., of all.
        score: From (n, c, h, w) images to (n,) probabilities of a class.

    Returns:
        Insertion (the most important pixels come first; higher is better) and deletion (they go
        first; lower is better): trapezoids over the true shares of the area, both ends included.
    """
    shares = [float(mask.mean()) for mask in masks]
    put_in = np.stack([np.where(mask, image, substrate) for mask in masks])
    taken = np.stack([np.where(mask, substrate, image) for mask in masks])
    return (
        float(np.trapezoid(score(put_in), shares)),
        float(np.trapezoid(score(taken), shares)),
    )


def mean_substrate(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return an image (c, h, w) of the mean of each band."""
    return np.broadcast_to(image.mean(axis=(1, 2), keepdims=True), image.shape)


def blur_substrate(image: NDArray[np.floating], share: float = 1 / 16) -> NDArray[np.floating]:
    """Return an image (c, h, w), blurred: a Gaussian whose sigma is a share of the longer side."""
    from scipy.ndimage import gaussian_filter

    sigma = share * max(image.shape[1:])
    return np.stack([gaussian_filter(band, sigma, mode="nearest") for band in image])
