"""From the additive model to Eq. 7: the paper's goal worked out by hand, and limit cases."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import numpy as np
import pytest

from foveate.focus.config import GOALS, Weights
from foveate.focus.density import VisualWords
from foveate.focus.score import AdditiveModel, Scorer, neighbours
from foveate.grid import Tiles

ROW = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)  # three regions side by side
WORDS = VisualWords(np.array([[1.0, 0], [0, 1], [1, 1]]))  # image: half and half
SHIFT = np.array([0.1, 0.2, 0.2])


def first(z):
    return z[:, 0]


def scorer(losses=(1.0, 3.0, 2.0), goal="paper", **given):
    """Areas 1, 1, 2: the losses add up to an image's of 2, as in Eq. 1."""
    model = AdditiveModel(np.array(losses)[:, None], np.array([1.0, 1, 2]), first)
    goal = replace(GOALS[goal] if isinstance(goal, str) else goal, name="test")
    return Scorer(model, goal, **{"near": ROW, "density": WORDS, "shift": SHIFT, **given})


def test_the_paper_s_scores_by_hand():
    found = scorer().singles
    # (3): |L(X) - L(r)| / L(X) = 1/2, 1/2, 0; 0.7 * (1 - A(r) / A(X)) = 0.525, 0.525, 0.35
    np.testing.assert_allclose(found[:, 0], [exp(-0.5) + 0.525, exp(-0.5) + 0.525, 1.35])
    # (4): KL = ln 2, ln 2, 0; D_max = ln 4, ln 4, ln 2
    np.testing.assert_allclose(found[:, 1], [exp(-0.5), exp(-0.5), 1])
    # (5): delta_max = 0.2
    np.testing.assert_allclose(found[:, 2], [exp(-0.5), exp(-1), exp(-1)])
    # (6): L(X \ r) = 7/3, 5/3, 2; of pairs (0, 1): 2, (1, 2): 1.
    #   r0 with 1: (2 - 2) / (2 - 5/3) = 0
    #   r1 with 0: 0; with 2: (2 - 1) / (2 - 2), capped at 50
    #   r2 with 1: (2 - 1) / (2 - 5/3) = 3
    np.testing.assert_allclose(found[:, 3], [1, (1 + exp(-50)) / 2, exp(-3)])
    # Their weighted sum (7):
    np.testing.assert_allclose(
        scorer().single_importance,
        [
            exp(-0.5) + 0.525 + 0.7 * exp(-0.5) + 0.65 * exp(-0.5) + 0.8,
            exp(-0.5) + 0.525 + 0.7 * exp(-0.5) + 0.65 * exp(-1) + 0.4,
            1.35 + 0.7 + 0.65 * exp(-1) + 0.8 * exp(-3),
        ],
    )


def test_a_set_by_hand():
    # {0, 1}: loss 2 = L(X), half the area; words as the image; neighbour 2: L(X \ 2) = 2,
    # nothing left of X \ {0, 1, 2}, a mixture of nothing: q = 2 / 0, capped.
    found = scorer().parts(np.array([[True, True, False]]))[0]
    np.testing.assert_allclose(found, [1.35, 1, (exp(-0.5) + exp(-1)) / 2, exp(-50)], atol=1e-12)


@pytest.mark.parametrize("form", ["signed", "one_sided", "two_sided"])
@pytest.mark.parametrize("synergy", ["marginal", "paper", "text"])
@pytest.mark.parametrize("losses", [(0.0, 0, 0), (1.0, 1, 1), (0.0, 0, 4), (1e-17, 1e9, 0)])
def test_scores_are_finite_and_bounded(form, synergy, losses):
    goal = GOALS["paper"].with_options(utility=form, synergy=synergy)
    every = np.array([[bool(s >> i & 1) for i in range(3)] for s in range(1, 8)])
    found = scorer(losses, goal).parts(every)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= [1.7, 1, 1, 1]).all()


def test_all_regions_are_the_image():
    draw = np.random.default_rng(1)
    for n in range(1, 40):
        counts = draw.uniform(0, 1, (n, 5))
        area = counts.sum(axis=1)
        model = AdditiveModel(draw.random((n, 1)), area, first)
        every = Scorer(model, GOALS["paper"], ~np.eye(n, dtype=bool), VisualWords(counts))
        parts = every.parts(np.ones((1, n), bool))[0]
        assert parts[[0, 1, 3]] == pytest.approx([1, 1, 0.5])
        assert every.epsilon(np.ones((1, n), bool)) == pytest.approx([0], abs=1e-12)


def test_one_region():
    model = AdditiveModel(np.array([[2.0]]), np.ones(1), first)
    near = np.zeros((1, 1), bool)
    one = Scorer(model, GOALS["paper"], near, VisualWords(np.ones((1, 3))), np.zeros(1))
    assert one.singles.tolist() == [[1.0, 1.0, 1.0, 0.5]]


def test_scores_that_are_not_computed():
    bare = scorer(density=None, shift=None)
    assert np.isnan(bare.singles[:, 1:3]).all()
    weights = Weights(representativeness=0, robustness=0)
    assert np.isfinite(scorer(goal=replace(GOALS["paper"], weights=weights)).importance(ROW)).all()


def test_area_is_relative_to_the_whole_image():
    # The regions were 8 pixels once; half of that turned out to be nodata.
    half = scorer(total=8.0).singles[:, 0] - scorer().singles[:, 0]
    np.testing.assert_allclose(half, 0.7 * np.array([0.125, 0.125, 0.25]))


def test_marginal_synergy_is_scaled_by_what_one_region_changes():
    goal = GOALS["paper"].with_options(synergy="marginal")
    scale = (1 / 3 + 1 / 3 + 0) / 3 + 1e-4
    found = scorer(goal=goal).singles[:, 3]
    # r0: L(X \ {0, 1}) - L(X \ 1) = 2 - 5/3; r2: L(X \ {1, 2}) - L(X \ 1) = 1 - 5/3
    assert found[0] == pytest.approx(1 / (1 + exp(-(1 / 3) / scale)))
    assert found[2] == pytest.approx(1 / (1 + exp((2 / 3) / scale)))


def test_epsilon_has_a_sign():
    assert scorer().epsilon(np.eye(3, dtype=bool)) == pytest.approx([-0.5, 0.5, 0])
    assert scorer((0.0, 0, 0)).epsilon(np.eye(3, dtype=bool)).tolist() == [0, 0, 0]


def test_epsilon_of_an_image_that_costs_nothing_but_rounding():
    model = AdditiveModel(
        np.array([[1e-17], [0.0], [0.5]]), np.ones(3), lambda z: z[:, 0] // 0.4 / 2
    )
    tiny = AdditiveModel(np.array([[3e-17], [0.0], [0.0]]), np.ones(3), first)
    near = np.zeros((3, 3), bool)
    eye = np.eye(3, dtype=bool)
    guarded = GOALS["paper"].with_options(guard=0.05)
    assert Scorer(model, guarded, near).epsilon(eye).tolist() == [0, 0, 10]
    assert Scorer(tiny, GOALS["paper"], near).epsilon(eye) == pytest.approx(np.zeros(3), abs=1e-6)


def test_neighbours_share_an_edge():
    # A large cell, two small ones to its right, one that touches a corner only, one apart.
    tiles = Tiles.of("s", [(0, 0, 4, 4), (0, 4, 2, 2), (2, 4, 2, 2), (4, 4, 2, 2), (9, 9, 1, 1)])
    pairs = {(0, 1), (0, 2), (1, 2), (2, 3)}
    found = neighbours(tiles).toarray()
    assert {(i, j) for i, j in np.argwhere(found).tolist() if i < j} == pairs
    assert (found == found.T).all()
    assert not found.diagonal().any()
    assert neighbours(tiles, "all").sum() == 20
