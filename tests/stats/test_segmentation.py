"""Agreement of masks: against sklearn, by hand, and with classes that are not there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score

from foveate.errors import DataError
from foveate.stats import confusion, dice, iou, mean_iou


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_equal_to_scikit_learn(seed, classes):
    draw = np.random.default_rng(seed)
    truth, predicted = draw.integers(0, classes, (2, 60))
    found = confusion(truth, predicted, classes)
    labels = np.arange(classes)
    np.testing.assert_array_equal(found, confusion_matrix(truth, predicted, labels=labels))
    there = np.unique(truth)
    expected = jaccard_score(truth, predicted, labels=there, average=None, zero_division=0)
    np.testing.assert_allclose(iou(found)[there], expected)
    expected = f1_score(truth, predicted, labels=there, average=None, zero_division=0)
    np.testing.assert_allclose(dice(found)[there], expected)


def test_ignored_pixels_and_absent_classes_are_left_out():
    truth = np.array([[0, 0, 1, 1, -1, -1]])
    predicted = np.array([[0, 2, 1, 1, 2, 0]])
    found = confusion(truth, predicted, 4)
    assert found.sum() == 4
    np.testing.assert_allclose(iou(found), [0.5, 1, np.nan, np.nan])
    # Of class 0 one of two pixels is right; the other counts as its error, though there is no 2.
    assert mean_iou(found) == pytest.approx(0.75)


def test_no_pixel_is_no_number():
    assert np.isnan(mean_iou(np.zeros((3, 3))))


def test_stacks_of_matrices():
    many = np.random.default_rng(0).integers(0, 9, (2, 3, 4, 4))
    assert iou(many).shape == (2, 3, 4)
    np.testing.assert_allclose(mean_iou(many)[1, 2], mean_iou(many[1, 2]))


@pytest.mark.parametrize(
    ("truth", "predicted"), [([0, 1], [0]), ([0, 3], [0, 1]), ([0, 1], [0, -1])]
)
def test_bad_masks_raise(truth, predicted):
    with pytest.raises(DataError):
        confusion(truth, predicted, 3)


def test_bad_matrices_raise():
    with pytest.raises(DataError):
        iou(np.zeros((2, 3)))
