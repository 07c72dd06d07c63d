"""Confident learning: examples by hand, and the share of a group by maximum likelihood."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.select.label_errors import (
    confident_joint,
    kept_shares,
    thresholds,
    wrong,
    wrong_shares,
)

# Two classes; three examples labelled 0, two labelled 1.
P = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9]])
Y = np.array([0, 0, 0, 1, 1])


def test_thresholds_and_joint_by_hand():
    # 0: (.9 + .7 + .2) / 3; 1: (.6 + .9) / 2.
    np.testing.assert_allclose(thresholds(P, Y), [0.6, 0.75])
    # Labelled 0: two confidently 0, one confidently 1 (.8 >= .75). Labelled 1: .6 < .75 and
    # .4 < .6 count nowhere, .9 is confidently 1, and stands for both.
    np.testing.assert_allclose(confident_joint(P, Y), [[2, 1], [0, 2]])


def test_calibration_matches_the_labels():
    # Of three labelled 0 only two count, one each way: 1.5 and 1.5.
    p = np.array([[0.95, 0.05], [0.1, 0.9], [0.5, 0.5], [0.3, 0.7], [0.2, 0.8]])
    limits = [(0.95 + 0.1 + 0.5) / 3, 0.75]
    np.testing.assert_allclose(thresholds(p, Y), limits)
    np.testing.assert_allclose(confident_joint(p, Y), [[1.5, 1.5], [0, 2]])


def test_class_without_examples_is_never_confident():
    p = np.array([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    y = np.array([0, 0])
    assert thresholds(p, y)[1:].tolist() == [np.inf, np.inf]
    assert confident_joint(p, y)[0].tolist() == [2, 0, 0]


def test_kept_shares_by_hand():
    # A third of the labels of truth 1 say 0, no other is wrong: T = [[1, 1/3], [0, 2/3]].
    joint = np.array([[2.0, 1.0], [0.0, 2.0]])
    p = np.array([[0.6, 0.4], [0.6, 0.4]])
    # truth = (.4, .6): .4 + .6 / 3 = .6. A label 0 is right in .4 of .6; a label 1 always.
    found = kept_shares(p, np.array([0, 1]), joint)
    np.testing.assert_allclose(found, [2 / 3, 1], atol=2e-3)


@given(st.integers(2, 5), st.integers(0, 999))
def test_without_confusion_every_label_is_kept(classes, seed):
    draw = np.random.default_rng(seed)
    p, y = draw.dirichlet(np.ones(classes), 20), draw.integers(0, classes, 20)
    np.testing.assert_allclose(kept_shares(p, y, np.diag(np.arange(1.0, classes + 1))), 1)
    some = kept_shares(p, y, confident_joint(p, y))
    assert ((some >= 0) & (some <= 1 + 1e-9)).all()


def test_labels_of_unknown_classes_are_kept():
    p = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert kept_shares(p, np.array([1, 0]), np.eye(2))[0] == 1


def test_wrong_is_bayes_rule():
    # Three classes, half of the labels wrong: .5 * (1 - .8) / 2 against .5 * .8.
    assert wrong(np.array(0.8), np.array(0.5), 3) == pytest.approx(0.05 / (0.4 + 0.05))


@given(st.integers(2, 5), st.integers(0, 999))
def test_share_maximises_the_likelihood(classes, seed):
    draw = np.random.default_rng(seed)
    p = draw.dirichlet(np.full(classes, 0.5), (1, 6))
    counts = draw.integers(0, 9, (1, 6, classes))
    counts[0, 0, 0] += 1
    grid = np.linspace(0, 1, 2001)[:, None, None]
    chance = (1 - grid) * p + grid * (1 - p) / (classes - 1)
    fit = (counts * np.log(np.maximum(chance, 1e-300))).sum(axis=(1, 2))
    share = wrong_shares(p, counts, classes)
    own = (1 - share[0]) * p + share[0] * (1 - p) / (classes - 1)
    reached = (counts * np.log(np.maximum(own, 1e-300))).sum()
    assert 0 <= share[0] <= 1
    assert reached >= fit.max() - 0.01 * counts.sum()


def test_ambiguous_classes_follow_the_labels():
    # The probe cannot tell 0 from 1, and excludes 2; the patch is labelled 0 throughout, or 2.
    p = np.broadcast_to(np.array([0.49, 0.49, 0.02]), (2, 8, 3))
    counts = np.zeros((2, 8, 3), int)
    counts[0, :, 0] = counts[1, :, 2] = 8
    mix = np.array([0.4, 0.4, 0.2])
    plain, own = wrong_shares(p, counts, 3), wrong_shares(p, counts, 3, mix)
    assert own[0] < 0.05
    assert own[0] <= plain[0]
    assert own[1] > 0.5


def test_scores_of_right_wrong_and_missing_labels():
    p = np.broadcast_to(np.array([0.999, 0.001]), (4, 3, 2))
    counts = np.zeros((4, 3, 2), np.uint32)
    counts[0, :, 0] = counts[1, :, 1] = counts[2] = 10
    found = wrong_shares(p, counts, 2)
    np.testing.assert_allclose(found[:3], [0, 1, 0.5], atol=0.01)
    assert np.isnan(found[3])
    assert np.nan_to_num(wrong_shares(p[..., :1] * 0 + 1, counts[..., :1], 1), nan=-1).tolist() == [
        0, -1, 0, -1,
    ]  # fmt: skip
