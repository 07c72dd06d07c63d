"""Confident learning (Northcutt, Jiang and Chuang 2021), and shares of wrong labels by group.

Examples are labelled pixels with out-of-fold probabilities of a classifier. The classifier has
learned from the labels as they are, wrong ones included; what it says of class i is

    p(label = i | x) = sum_j T_ij p(truth = j | x),    T_ij = p(label = i | truth = j),

with T from the confident joint (their Eq. 1 and 2). `kept_shares` inverts this for each example and
returns how likely its label is right: what the classifier is fitted to again with.

`wrong_shares` estimates one share for each group of examples, here a patch: wrong labels come in
patches. A share r of a patch's labels is wrong and then, knowing no better, any other class:

    p(label = i | x, patch) = (1 - r) p_i + r (1 - p_i) / (C - 1),

and r is what makes the labels of the patch most likely. A patch has its own mix of classes, too: p
is brought from the classifier's mix to one that lies halfway to that of the patch's labels that
are right by the estimate (Saerens, Latinne and Decaestecker 2002). Counting disagreements, as
confident learning does, takes for wrong whatever the classifier cannot tell; here a label that it
can only half expect says little, and only what it excludes says much.

Deviations from the paper: examples are pixels, counted by cell; labels are weighted instead of
removed, and the estimate is by patch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INVERT = 30  # updates of the inversion: few, since many fit its noise
_STEPS = 60  # of expectation and maximisation
_START = 0.25
_TINY = 1e-12


def thresholds(p: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return from which probability each class is confidently present (their Eq. 2).

    Args:
        p: (m, C) out-of-fold probabilities.
        y: (m,) labels.

    Returns:
        (C,) mean probability of a class over the examples with its label; infinite without one.
    """
    count = np.bincount(y, minlength=p.shape[1])
    own = np.bincount(y, p[np.arange(y.size), y], minlength=p.shape[1])
    return np.where(count > 0, own / np.maximum(count, 1), np.inf)


def confident_joint(p: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Estimate how often which label stands on which true class (their Eq. 1, then calibrated).

    An example counts for the class with the largest probability among those that reach their
    threshold, and not at all where none does. Rows are then brought to the number of examples with
    that label; a label that never counts stands for itself.

    Args:
        p: (m, C) out-of-fold probabilities.
        y: (m,) labels.

    Returns:
        (C, C) float64, label in the rows, truth in the columns; sums to m.
    """
    classes = p.shape[1]
    reached = p >= thresholds(p, y)
    some = reached.any(axis=1)
    truth = np.where(reached, p, -1.0).argmax(axis=1)
    pair = y[some] * classes + truth[some]
    joint = np.bincount(pair, minlength=classes**2).reshape(classes, classes).astype(np.float64)
    empty = ~joint.any(axis=1)
    joint[empty, empty] = 1.0
    count = np.bincount(y, minlength=classes)
    return joint * (count / joint.sum(axis=1))[:, None]


def kept_shares(
    p: NDArray[np.float64], y: NDArray[np.int64], joint: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how likely each label is right.

    The truth is recovered by the multiplicative updates of Richardson (1972) and Lucy (1974), which
    keep it a probability.

    Args:
        p: (m, C) out-of-fold probabilities of labels.
        y: (m,) labels.
        joint: (C, C) of `confident_joint`.

    Returns:
        (m,) from 0 to 1; 1 where the classifier does not know the label's class.
    """
    flip = joint / np.maximum(joint.sum(axis=0), _TINY)
    truth = p.copy()
    for _ in range(_INVERT):
        truth *= (p / np.maximum(truth @ flip.T, _TINY)) @ flip
        truth /= np.maximum(truth.sum(axis=1, keepdims=True), _TINY)
    expected = np.einsum("mc,mc->m", truth, flip[y])
    right = truth[np.arange(y.size), y] * flip[y, y]
    return np.where(p[np.arange(y.size), y] > 0, right / np.maximum(expected, _TINY), 1.0)


def wrong(p: NDArray[np.float64], share: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """Return how likely labels are wrong, given the share of wrong ones among their like.

    Args:
        p: (...) probability of the label.
        share: (...) of wrong labels.
        classes: Number C of classes that labels can have.
    """
    other = share * (1 - p) / max(classes - 1, 1)
    return other / np.maximum((1 - share) * p + other, _TINY)


def wrong_shares(
    p: NDArray[np.float64], counts: NDArray[np.integer], classes: int,
    mix: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """Estimate the share of wrong labels of each group; see the head of this file.

    Args:
        p: (n, t, C) probabilities of cells, out of fold.
        counts: (n, t, C) labelled pixels of cells by class.
        classes: Number of classes that labels can have; with one none can be wrong.
        mix: (C,) mean of the classifier's probabilities; None to take `p` as it is.

    Returns:
        (n,) float64 from 0 to 1; NaN where there is no label.
    """
    total = counts.sum(axis=(1, 2)).astype(np.float64)
    share = np.where(total > 0, _START, np.nan)
    if classes < 2:
        return share * 0.0
    weight, own = counts / np.maximum(total, 1)[:, None, None], p
    for _ in range(_STEPS):
        bad = weight * wrong(own, share[:, None, None], classes)
        share = bad.sum(axis=(1, 2))
        if mix is not None:
            right = (weight - bad).sum(axis=1)
            right = (right + mix) / (right.sum(axis=1, keepdims=True) + 1)
            own = p * (right / np.maximum(mix, _TINY))[:, None, :]
            own /= np.maximum(own.sum(axis=2, keepdims=True), _TINY)
    return np.where(total > 0, share, np.nan)
