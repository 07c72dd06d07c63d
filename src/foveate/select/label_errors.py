"""Confident learning (Northcutt, Jiang and Chuang 2021), and shares of wrong labels by group.

Examples are labelled pixels with out-of-fold probabilities of a classifier. The classifier was
fitted to the given labels, including wrong ones, so its probability of class i is

    p(label = i | x) = sum_j T_ij p(truth = j | x),    T_ij = p(label = i | truth = j),

with T from the confident joint (their Eq. 1 and 2). `kept_shares` inverts this for each example and
returns the probability that its label is correct: the weights for fitting the classifier again.

`wrong_shares` estimates one share for each group of examples, here a patch, because label errors
are clustered in patches. A share r of the labels of a patch is wrong, and wrong labels are
uniformly distributed over the other classes:

    p(label = i | x, patch) = (1 - r) p_i + r (1 - p_i) / (C - 1),

and r is the maximum-likelihood estimate from the labels of the patch. Class frequencies also differ
between patches: p is adjusted from the mean frequencies of the classifier to frequencies halfway to
those of the labels of the patch that are correct by the estimate (Saerens, Latinne and Decaestecker
2002). Counting disagreements, as in confident learning, treats all labels as wrong that the
classifier does not distinguish; here labels with a medium probability have little influence, and
labels with a very low probability a large one.

Deviations from the paper: examples are pixels, counted by cell; labels are weighted instead of
removed, and the estimate is by patch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INVERT = 30  # number of updates of the inversion; more would fit noise
_STEPS = 60  # steps of expectation and maximisation
_START = 0.25
_TINY = 1e-12


def thresholds(p: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the probability above which each class is confidently present (their Eq. 2).

    Args:
        p: (m, C) out-of-fold probabilities.
        y: (m,) labels.

    Returns:
        (C,) mean probability of a class over the examples with its label; inf without examples.
    """
    count = np.bincount(y, minlength=p.shape[1])
    total = np.bincount(y, p[np.arange(y.size), y], minlength=p.shape[1])
    return np.where(count > 0, total / np.maximum(count, 1), np.inf)


def confident_joint(p: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Estimate the joint distribution of labels and true classes (their Eq. 1, then calibrated).

    An example counts for the class with the largest probability among those at or above their
    threshold, and is skipped if there are none. Rows are then scaled to the number of examples with
    that label; labels without counted examples are assumed to be correct.

    Args:
        p: (m, C) out-of-fold probabilities.
        y: (m,) labels.

    Returns:
        (C, C) float64, label in the rows, truth in the columns; sums to m.
    """
    classes = p.shape[1]
    reached = p >= thresholds(p, y)
    confident = reached.any(axis=1)
    truth = np.where(reached, p, -1.0).argmax(axis=1)
    pair = y[confident] * classes + truth[confident]
    joint = np.bincount(pair, minlength=classes**2).reshape(classes, classes).astype(np.float64)
    empty = ~joint.any(axis=1)
    joint[empty, empty] = 1.0
    count = np.bincount(y, minlength=classes)
    return joint * (count / joint.sum(axis=1))[:, None]


def kept_shares(
    p: NDArray[np.float64], y: NDArray[np.int64], joint: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the probability that each label is correct.

    The true class is estimated by the multiplicative updates of Richardson (1972) and Lucy (1974),
    which preserve probabilities.

    Args:
        p: (m, C) out-of-fold probabilities of labels.
        y: (m,) labels.
        joint: (C, C) of `confident_joint`.

    Returns:
        (m,) from 0 to 1; 1 if the classifier was not fitted to the class of the label.
    """
    flip = joint / np.maximum(joint.sum(axis=0), _TINY)
    truth = p.copy()
    for _ in range(_INVERT):
        truth *= (p / np.maximum(truth @ flip.T, _TINY)) @ flip
        truth /= np.maximum(truth.sum(axis=1, keepdims=True), _TINY)
    expected = np.einsum("mc,mc->m", truth, flip[y])
    correct = truth[np.arange(y.size), y] * flip[y, y]
    return np.where(p[np.arange(y.size), y] > 0, correct / np.maximum(expected, _TINY), 1.0)


def wrong(p: NDArray[np.float64], share: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """Return the probability that labels are wrong, given the share of wrong labels.

    Args:
        p: (...) probability of the label.
        share: (...) share of wrong labels in its group.
        classes: Number C of classes that labels can have.
    """
    other = share * (1 - p) / max(classes - 1, 1)
    return other / np.maximum((1 - share) * p + other, _TINY)


def wrong_shares(
    p: NDArray[np.float64], counts: NDArray[np.integer], classes: int,
    mix: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """Estimate the share of wrong labels of each group; see the module docstring.

    Args:
        p: (n, t, C) out-of-fold probabilities of cells.
        counts: (n, t, C) labelled pixels of cells by class.
        classes: Number of classes that labels can have; with one class, no label is wrong.
        mix: (C,) mean probabilities of the classifier; None to use `p` without adjustment.

    Returns:
        (n,) float64 from 0 to 1; NaN for groups without labels.
    """
    total = counts.sum(axis=(1, 2)).astype(np.float64)
    share = np.where(total > 0, _START, np.nan)
    if classes < 2:
        return share * 0.0
    weight, adjusted = counts / np.maximum(total, 1)[:, None, None], p
    for _ in range(_STEPS):
        bad = weight * wrong(adjusted, share[:, None, None], classes)
        share = bad.sum(axis=(1, 2))
        if mix is not None:
            correct = (weight - bad).sum(axis=1)
            correct = (correct + mix) / (correct.sum(axis=1, keepdims=True) + 1)
            adjusted = p * (correct / np.maximum(mix, _TINY))[:, None, :]
            adjusted /= np.maximum(adjusted.sum(axis=2, keepdims=True), _TINY)
    return np.where(total > 0, share, np.nan)
