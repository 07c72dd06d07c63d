"""Segmentation metrics from a confusion matrix.

One matrix is summed over all pixels of a test set, and metrics are computed from it at the end.
(The mean of the IoU of single images, with 0 for absent classes, is different: a perfect prediction
of images with 4.5 of 12 classes each has the value 0.375.)

Classes absent from the ground truth have no IoU and are excluded from the mean; pixels predicted as
such a class are errors of their true classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def confusion(truth: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Count pixels by true and predicted class.

    Args:
        truth: Class numbers of any shape; negative values are ignored.
        predicted: Class numbers of the same shape, 0 to `classes` - 1 where `truth` >= 0.
        classes: Number C of classes.

    Returns:
        (C, C) int64; row = true class, column = predicted class.

    Raises:
        DataError: Shapes differ, or a class number is too large.
    """
    a, b = np.asarray(truth), np.asarray(predicted)
    if a.shape != b.shape:
        raise DataError(f"masks of shape {a.shape} and {b.shape}", "The shapes must be equal.")
    labelled = a >= 0
    a, b = a[labelled].astype(np.int64), b[labelled].astype(np.int64)
    if a.size and (a.max() >= classes or b.max() >= classes or b.min() < 0):
        raise DataError(
            f"class numbers up to {max(a.max(), b.max())} for {classes} classes",
            f"Allowed: 0 to {classes - 1}, and negative values in the truth, which are ignored.",
        )
    return np.bincount(a * classes + b, minlength=classes**2).reshape(classes, classes)


def iou(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return the intersection over union (Jaccard index) of each class.

    Args:
        matrix: (..., C, C) counts, row = true class.

    Returns:
        (..., C) float64, 0 to 1; NaN for classes that are absent from the truth.
    """
    counts = _counts(matrix)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    truth, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    return _share(hits, truth + predicted - hits, truth)


def dice(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return the Dice coefficient (F1) of each class; shapes and absent classes as in `iou`."""
    counts = _counts(matrix)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    truth, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    return _share(2 * hits, truth + predicted, truth)


def mean_iou(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return the mean IoU over the classes that are present in the truth.

    Args:
        matrix: (..., C, C) counts, row = true class.

    Returns:
        (...) float64, 0 to 1; NaN if the truth has no pixels.
    """
    each = iou(matrix)
    present = np.isfinite(each)
    number = present.sum(axis=-1)
    total = np.where(present, each, 0.0).sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _counts(matrix: ArrayLike) -> NDArray[np.float64]:
    counts = np.asarray(matrix, np.float64)
    if counts.ndim < 2 or counts.shape[-1] != counts.shape[-2]:
        raise DataError(f"a confusion matrix of shape {counts.shape}", "Expected (..., C, C).")
    return counts


def _share(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], truth: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.where(truth > 0, numerator / np.maximum(denominator, 1), np.nan)
