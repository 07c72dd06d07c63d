"""Greedy choice by insertion and deletion: terms by hand, and cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from focus_tasks import TEXT, classes, planted, task_of
from hypothesis import given
from hypothesis import strategies as st

from foveate.bench.focus.methods import find_method
from foveate.bench.focus.methods.greedy import (
    LIMA,
    GreedyMasks,
    GreedyTiles,
    SetScore,
    SetWeights,
    angles,
    greedy,
    set_passes,
)
from foveate.errors import BudgetError

ONLY_INSERTION = SetWeights(0, 0, 1, 0)
ONLY_DELETION = SetWeights(0, 0, 0, 1)


class Sums:
    """Features of a set: the sum of its members'."""

    def __init__(self, x):
        self.x = np.asarray(x, float)

    def of(self, members):
        return members @ self.x


def score_of(x, weights=LIMA, head=None):
    return SetScore(Sums(x), lambda z: z[:, 0], head, weights, angles(np.asarray(x)))


def test_the_terms_by_hand():
    x = np.eye(3)
    score = score_of(x, head=classes().head)
    members = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]], bool)
    parts = score.parts(members)
    # One member is as far from the others as can be; members of an orthonormal set at pi / 2.
    assert parts[:, 1].tolist() == [1, 1, 1.5]
    assert parts[:, 2].tolist() == [1, 1, 1]
    assert parts[:, 3].tolist() == [1, 1, 1]  # nothing red is left
    assert parts[0, 0] == pytest.approx(1, abs=1e-6)  # sure
    assert parts[1, 0] == pytest.approx(1 - np.log(2) / np.log(3), abs=1e-5)
    assert parts[2, 0] == pytest.approx(0, abs=1e-6)  # one of three
    np.testing.assert_allclose(score.of(members), parts @ [0, 0.05, 20, 1])


@given(
    st.lists(st.floats(-1, 1, width=16), min_size=2, max_size=6, unique=True),
    st.integers(1, 6),
)
def test_of_a_sum_the_largest_members_are_chosen(values, most):
    x = np.stack([values, np.linspace(0.5, 1, len(values))], axis=1)
    order = np.argsort(-np.array(values), kind="stable")
    for weights in (ONLY_INSERTION, ONLY_DELETION):
        ties = np.argsort(order).astype(np.uint64)  # what is equal but for rounding
        rows, importance = greedy(score_of(x, weights), most, ties)
        assert rows.tolist() == order[:most].tolist()
        assert np.argsort(-importance, kind="stable")[: rows.size].tolist() == rows.tolist()
        rest = np.setdiff1d(np.arange(len(values)), rows)
        assert (importance[rest] <= 1).all()
        assert (importance[rows] > 1).all()


def test_effectiveness_spreads_a_set():
    # Two that are alike and better, one of another kind: with effectiveness it comes second.
    x = np.array([[1.0, 0], [0.9, 0.01], [0.8, 5]])
    ties = np.arange(3, dtype=np.uint64)
    assert greedy(score_of(x, ONLY_INSERTION), 2, ties)[0].tolist() == [0, 1]
    assert greedy(score_of(x, SetWeights(0, 5, 1, 0)), 2, ties)[0].tolist() == [0, 2]


@pytest.mark.parametrize("name", ["smdl/tiles/mean", "lima/tiles/features"])
@pytest.mark.parametrize("question", [classes("red"), TEXT])
def test_the_tile_that_is_looked_for_comes_first(name, question):
    image, window = planted()
    task, shown = task_of(image, question)
    found = find_method(name)(task)
    assert found.windows[0] == window
    assert found.importance.max() == found.importance[found.cells.index(window)] == 2
    assert len(shown.images) == task.encoder.work.passes == 24


def test_the_selection_predicts():
    # One red tile of 24: of two chosen tiles it is a half, of all 24 nothing.
    image, _ = planted()
    task, _ = task_of(image, classes("red"), regions=1)
    assert GreedyTiles(LIMA)(task).probabilities.argmax() == 0
    task, _ = task_of(image, classes("red"), regions=24)
    assert GreedyTiles(LIMA)(task).probabilities.argmax() == 1


# With the confidence of SMDL, sets that are surely green would come first among classes.
@pytest.mark.parametrize(
    ("name", "question"),
    [("smdl/masks/mean", TEXT), ("lima/masks/mean", TEXT), ("lima/masks/surest", classes("red"))],
)
def test_the_region_with_what_is_looked_for_comes_first(name, question):
    image, window = planted(rows=4, cols=4, at=(1, 3))
    # 16 sub-regions, which are the tiles: 2 (16 + 15 + 14 + 13) sets, an overview and crops.
    passes = 1 + set_passes(16, 4) + 4
    task, shown = task_of(image, question, passes=passes)
    found = find_method(name)(task)
    assert found.windows[0] == window
    assert len(shown.images) == task.encoder.work.passes == passes
    assert len(found.windows) == 4


def test_a_set_is_paid_once():
    image, _ = planted(rows=2, cols=2, at=(0, 1))
    task, shown = task_of(image, TEXT, passes=100, regions=2)
    GreedyMasks(ONLY_INSERTION, cells=2)(task)
    # The overview; {a}, {b} and their complements, which are {b} and {a}; {a, b} and nothing;
    # all four crops.
    assert len(shown.images) == 1 + 2 + 2 + 4


def test_passes_of_a_choice():
    assert set_passes(50, 50) == 50 * 51  # what the authors state for a full ranking
    assert set_passes(16, 1) == 32


def test_a_budget_without_two_regions_is_refused():
    task, _ = task_of(planted()[0], classes(), passes=5)
    with pytest.raises(BudgetError, match="two regions"):
        find_method("smdl/masks/mean")(task)
