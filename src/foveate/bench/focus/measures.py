"""Measures of a benchmark of `focus` on one scene, as pure functions of windows and numbers.

Windows are half-open pixel boxes. Undefined measures (nothing is planted, the method gives no
ranking) are NaN, and the scene is excluded from their means.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from foveate.grid import Window

FOUND = 0.5  # minimum covered share of a found planted window
STEPS = 16  # steps of the insertion and deletion curves


def top_k(probabilities: NDArray[np.floating], label: int, k: int) -> float:
    """Return whether a class is among the k most likely ones.

    Args:
        probabilities: (C,).
        label: Index of the true class.
        k: Number of classes.

    Returns:
        0 or 1; for ties at rank k, the probability that the label is among the first k in random
        order. NaN if a probability is NaN.
    """
    value = probabilities[label]
    if np.isnan(probabilities).any():
        return math.nan
    above = int((probabilities > value).sum())
    equal = int((probabilities == value).sum())
    return float(np.clip((k - above) / equal, 0.0, 1.0))


def covered(windows: Sequence[Window], planted: Sequence[Window]) -> tuple[int, int, int]:
    """Return the areas of the unions of two sets of windows and of their intersection, in pixels.

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
    a, b = masks
    return int(sizes[a].sum()), int(sizes[b].sum()), int(sizes[a & b].sum())


def recall(windows: Sequence[Window], planted: Sequence[Window], k: int) -> float:
    """Return the share of planted windows found by the first regions: recall@K.

    Regions count in order up to a total area of K planted windows, so that one large region does
    not find everything. A planted window is found if they cover a share of at least `FOUND`.

    Args:
        windows: Selected regions, the most important first.
        planted: Planted windows.
        k: K.

    Returns:
        0 to 1; NaN if nothing is planted.
    """
    if not planted:
        return math.nan
    room = k * float(np.mean([w.h * w.w for w in planted]))
    sizes = np.cumsum([w.h * w.w for w in windows])
    kept = windows[: int(np.searchsorted(sizes, room, side="right"))]
    shares = [covered(kept, [w])[2] / (w.h * w.w) for w in planted]
    return float(np.mean([share >= FOUND for share in shares]))


def mask_iou(windows: Sequence[Window], planted: Sequence[Window]) -> float:
    """Return the intersection over union of regions and planted windows; NaN without any."""
    if not planted:
        return math.nan
    area, planted_area, shared = covered(windows, planted)
    return shared / (area + planted_area - shared)


def pointing(
    cells: Sequence[Window], importance: NDArray[np.floating] | None, planted: Sequence[Window]
) -> float:
    """Return whether the centre of the most important cell lies in a planted window.

    The pointing game (Zhang et al. 2018), on cells.

    Args:
        cells: k windows.
        importance: (k,), or None for a method without a ranking.
        planted: Planted windows.

    Returns:
        0 or 1; for ties, the share of the cells that hit. NaN without importance or planted
        windows.
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
    """Return masks of the most important cells of a downsampled image, step by step.

    Args:
        shape: ``(height, width)`` of the scene.
        size: ``(h, w)`` of the downsampled image.
        cells: k windows of the scene; pixels outside of all cells come last.
        importance: (k,).
        steps: Maximum number of steps, with equal numbers of cells.

    Returns:
        Nested masks (h, w), from no pixel to all.
    """
    place = np.full(size, len(cells), np.int64)
    order = np.argsort(-np.asarray(importance, np.float64), kind="stable")
    for rank in range(len(order) - 1, -1, -1):  # more important cells overwrite overlapping ones
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
        substrate: (c, h, w) replacement of removed pixels.
        masks: From `order_maps`, from no pixel to all.
        score: Maps (n, c, h, w) images to (n,) probabilities of a class.

    Returns:
        Insertion (the most important pixels are added first; higher is better) and deletion (they
        are removed first; lower is better): trapezoids over the shares of the area, from 0 to 1.
    """
    shares = [float(mask.mean()) for mask in masks]
    inserted = np.stack([np.where(mask, image, substrate) for mask in masks])
    deleted = np.stack([np.where(mask, substrate, image) for mask in masks])
    return (
        float(np.trapezoid(score(inserted), shares)),
        float(np.trapezoid(score(deleted), shares)),
    )


def mean_substrate(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return an image (c, h, w) with the mean of each band."""
    return np.broadcast_to(image.mean(axis=(1, 2), keepdims=True), image.shape)


def blur_substrate(image: NDArray[np.floating], share: float = 1 / 16) -> NDArray[np.floating]:
    """Return a blurred image (c, h, w); sigma of the Gaussian is a share of the longer side."""
    from scipy.ndimage import gaussian_filter

    sigma = share * max(image.shape[1:])
    return np.stack([gaussian_filter(band, sigma, mode="nearest") for band in image])
