"""Boxes as prompts: one form, checked once."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import DataError
from foveate.models.preprocess import check_boxes

BATCH = np.zeros((2, 3, 20, 30), np.uint8)
BOX = (2.0, 3.0, 12.0, 18.0)


def test_boxes_are_float32_inside_their_image():
    found = check_boxes([[BOX, (0, 0, 30, 20)], [BOX, (29.5, 0, 30.0005, 20)]], BATCH)
    assert found.shape == (2, 2, 4)
    assert found.dtype == np.float32
    assert found[..., 2].max() == 30


@pytest.mark.parametrize(
    "boxes",
    [
        [BOX, BOX],
        [[BOX]],
        [[BOX]] * 3,
        np.zeros((2, 0, 4)),
        np.ones((2, 1, 3)),
        np.zeros((0, 1, 4)),
    ],
)
def test_other_shapes(boxes):
    with pytest.raises(DataError, match=r"boxes of shape .*Expected \(2, k, 4\) with k >= 1"):
        check_boxes(boxes, BATCH)


@pytest.mark.parametrize("boxes", ["all", [[BOX], [BOX, BOX]], [[None] * 4] * 2])
def test_what_holds_no_numbers(boxes):
    with pytest.raises(DataError, match="boxes"):
        check_boxes(boxes, BATCH)


@pytest.mark.parametrize(
    "box",
    [
        (12, 3, 2, 18),
        (2, 18, 12, 3),
        (2, 3, 2, 18),
        (2, 3, np.nan, 18),
        (2, 3, np.inf, 18),
        (-1, 3, 12, 18),
        (2, 3, 31, 18),
        (2, 3, 12, 21),
        (40, 30, 50, 40),
    ],
)
def test_what_is_no_box_of_its_image(box):
    with pytest.raises(DataError, match=r"box 1 of image 1 is \(.*30 x 20 pixels.*1 of 4 boxes"):
        check_boxes([[BOX, BOX], [BOX, box]], BATCH)
