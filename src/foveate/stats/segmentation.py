"""How well a segmentation agrees with its masks, from a confusion matrix.

One matrix is summed over all pixels of a test set; measures are made of it at the end. (An average
of the IoU of single images, with 0 for classes that an image does not have, is another number: a
perfect prediction of images that have 4.5 of 12 classes each scores .375.)

Classes absent from the truth have no IoU and are left out of the mean; pixels that are predicted
as such a class count as errors of the classes that they belong to.
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
        truth: Class numbers of any shape; those below 0 are ignored.
        predicted: Class numbers of the same shape, 0 to `classes` - 1 where the truth counts.
        classes: Number C of classes.

    Returns:
        (C, C) int64; row = true class, column = predicted class.

    Raises:
        DataError: Shapes differ, or a class number is too large.
    """
    a, b = np.asarray(truth), np.asarray(predicted)
    if a.shape != b.shape:
        raise DataError(
            f"masks of shape {a.shape} and {b.shape}", "There is one prediction a pixel."
        )
    counts = a >= 0
    a, b = a[counts].astype(np.int64), b[counts].astype(np.int64)
    if a.size and (a.max() >= classes or b.max() >= classes or b.min() < 0):
        raise DataError(
            f"class numbers up to {max(a.max(), b.max())} for {classes} classes",
            f"Classes are 0 to {classes - 1}; below 0 in the truth is ignored.",
        )
    return np.bincount(a * classes + b, minlength=classes**2).reshape(classes, classes)


def iou(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return the intersection over union (Jaccard index) of each class.

    Args:
        matrix: (..., C, C) counts, row = true class.

    Returns:
        (..., C) float64, 0 to 1; NaN for classes that the truth does not have.
    """
    found = _counts(matrix)
    hits = np.diagonal(found, axis1=-2, axis2=-1)
    truth, predicted = found.sum(axis=-1), found.sum(axis=-2)
    return _share(hits, truth + predicted - hits, truth)


def dice(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return the Dice coefficient (F1) of each class; shapes and absent classes as in `iou`."""
    found = _counts(matrix)
    hits = np.diagonal(found, axis1=-2, axis2=-1)
    truth, predicted = found.sum(axis=-1), found.sum(axis=-2)
    return _share(2 * hits, truth + predicted, truth)


def mean_iou(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return the mean IoU over the classes that the truth has.

    Args:
        matrix: (..., C, C) counts, row = true class.

    Returns:
        (...) float64, 0 to 1; NaN where the truth has no pixel.
    """
    each = iou(matrix)
    there = np.isfinite(each)
    number = there.sum(axis=-1)
    total = np.where(there, each, 0.0).sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _counts(matrix: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(matrix, np.float64)
    if found.ndim < 2 or found.shape[-1] != found.shape[-2]:
        raise DataError(f"a confusion matrix of shape {found.shape}", "Expected (..., C, C).")
    return found


def _share(
    above: NDArray[np.float64], below: NDArray[np.float64], truth: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.where(truth > 0, above / np.maximum(below, 1), np.nan)
