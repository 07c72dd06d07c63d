"""What is measured on a scene, against answers worked out by hand and by pixels."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.bench.focus import measures as of
from foveate.grid import Window

SQUARE = Window(10, 10, 10, 10)


def test_top_k_counts_ties_by_chance():
    p = np.array([0.1, 0.4, 0.3, 0.2])
    assert [of.top_k(p, 3, k) for k in (1, 2, 3, 4)] == [0, 0, 1, 1]
    alike = np.array([0.5, 0.1, 0.1, 0.1, 0.1])
    assert of.top_k(alike, 0, 1) == 1
    assert of.top_k(alike, 2, 3) == pytest.approx(2 / 4)  # two places left for four
    assert of.top_k(alike, 2, 9) == 1
    assert math.isnan(of.top_k(np.array([np.nan, 1.0]), 1, 1))


boxes = st.lists(
    st.tuples(*[st.integers(0, 11)] * 2, *[st.integers(1, 6)] * 2).map(lambda b: Window(*b)),
    max_size=5,
)


@given(boxes, boxes)
def test_areas_of_unions_are_those_of_pixels(own, other):
    masks = []
    for group in (own, other):
        mask = np.zeros((20, 20), bool)
        for w in group:
            mask[w.y : w.y + w.h, w.x : w.x + w.w] = True
        masks.append(mask)
    expected = masks[0].sum(), masks[1].sum(), (masks[0] & masks[1]).sum()
    assert of.covered(own, other) == expected


def test_recall_counts_regions_up_to_k_times_the_planted_area():
    far = Window(50, 50, 10, 10)
    assert of.recall([far, SQUARE], [SQUARE], 2) == 1
    assert of.recall([far, SQUARE], [SQUARE], 1) == 0
    assert of.recall([Window(0, 0, 100, 100)], [SQUARE], 8) == 0  # all of it is no finding
    assert of.recall([Window(10, 10, 10, 5)], [SQUARE], 1) == 1  # half is enough
    assert of.recall([Window(10, 10, 10, 4)], [SQUARE], 1) == 0
    assert of.recall([SQUARE], [SQUARE, far], 8) == 0.5
    quarters = [Window(y, x, 10, 10) for y in (5, 15) for x in (5, 15)]
    assert of.recall(quarters[:1], [SQUARE], 8) == 0
    assert of.recall(quarters, [SQUARE], 8) == 1
    assert of.recall([], [SQUARE], 8) == 0
    assert math.isnan(of.recall([SQUARE], [], 8))


def test_iou_of_regions_and_planted():
    assert of.mask_iou([Window(10, 10, 10, 20)], [SQUARE]) == 0.5
    assert of.mask_iou([], [SQUARE]) == 0
    assert math.isnan(of.mask_iou([SQUARE], []))


def test_pointing_looks_at_the_centre_of_the_most_important_cell():
    cells = [Window(0, 0, 10, 10), Window(12, 12, 4, 4), SQUARE]
    assert of.pointing(cells, np.array([1.0, 3.0, 2.0]), [SQUARE]) == 1
    assert of.pointing(cells, np.array([3.0, 1.0, 2.0]), [SQUARE]) == 0
    assert of.pointing(cells, np.array([3.0, 3.0, 2.0]), [SQUARE]) == 0.5
    edge = [Window(15, 15, 10, 10)]  # its centre is the first pixel outside
    assert of.pointing(edge, np.ones(1), [SQUARE]) == 0
    assert math.isnan(of.pointing(cells, None, [SQUARE]))
    assert math.isnan(of.pointing(cells, np.ones(3), []))


def test_curves_have_both_ends_and_true_shares():
    """One band of 4 pixels, the label's probability is the mean; cells of 1, 1 and 2 pixels."""
    image, substrate = np.array([[[1.0, 0.0, 0.5, 0.5]]]), np.zeros((1, 1, 4))
    cells = [Window(0, 0, 1, 1), Window(0, 1, 1, 1), Window(0, 2, 1, 2)]
    masks = of.order_maps((1, 4), (1, 4), cells, np.array([3.0, 1.0, 2.0]))
    assert [m.mean() for m in masks] == [0, 0.25, 0.75, 1]

    def score(images):
        return images.mean(axis=(1, 2, 3))

    put_in, taken = of.insertion_deletion(image, substrate, masks, score)
    # Heights 0, .25, .5, .5 at shares 0, .25, .75, 1; deleted: .5, .25, 0, 0.
    assert put_in == pytest.approx(0.25 * 0.125 + 0.5 * 0.375 + 0.25 * 0.5)
    assert taken == pytest.approx(0.25 * 0.375 + 0.5 * 0.125)


@given(st.integers(1, 7), st.integers(0, 3), st.data())
def test_maps_of_an_order_grow_from_none_to_all(side, seed, data):
    draw = np.random.default_rng(seed)
    cells = [Window(y * 8, x * 8, 8, 8) for y in range(side) for x in range(side)]
    kept = data.draw(st.integers(1, len(cells)))
    masks = of.order_maps((side * 8, side * 8), (13, 13), cells[:kept], draw.random(kept), steps=5)
    assert not masks[0].any()
    assert masks[-1].all()
    assert all((b | ~a).all() for a, b in pairwise(masks))


def test_substrates_keep_means():
    image = np.random.default_rng(0).random((3, 32, 32))
    assert np.allclose(of.mean_substrate(image)[:, 0, 0], image.mean(axis=(1, 2)))
    blurred = of.blur_substrate(image)
    assert blurred.std() < image.std() / 3
    assert np.allclose(of.blur_substrate(np.full((1, 9, 9), 4.0)), 4)
