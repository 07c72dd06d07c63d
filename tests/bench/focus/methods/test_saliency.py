"""Maps of the overview, then crops: cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from focus_tasks import SIDE, TEXT, classes, planted, task_of
from hypothesis import given
from hypothesis import strategies as st

from foveate.bench.focus.methods import find_method
from foveate.bench.focus.methods.crops import native_tiles, pool, whole
from foveate.bench.focus.methods.masked import MaskedOverview
from foveate.bench.focus.methods.saliency import PixelWise, Rise, _interpolation
from foveate.errors import BudgetError, MissingCapabilityError
from foveate.focus.partition import uniform

KINDS = ("feature-norm", "overview-probability", "rise", "pixel-wise")


def run(name, image, question=None, **given):
    task, shown = task_of(image, question, **given)
    return find_method(name)(task), task, shown


# Masks


def test_what_is_hidden_takes_the_mean_colour():
    image, _ = planted(rows=2, cols=2, at=(0, 1))
    task, shown = task_of(image, size=2 * SIDE)
    view = MaskedOverview(task)
    none, half, every = np.zeros(view.shape), np.full(view.shape, 0.5), np.ones(view.shape)
    view.embed([none, half, every])
    overview = task.encoder.read(whole(task)).astype(float)
    mean = overview.mean(axis=(1, 2), keepdims=True)
    for image, expected in zip(
        shown.images, (mean, (overview + mean) / 2, overview), strict=True
    ):  # fmt: skip
        assert image.dtype == np.uint8
        assert np.abs(image - expected).max() <= 0.5
    assert task.encoder.work.passes == 3


def test_the_shares_of_cells_are_the_overview():
    task, _ = task_of(planted(rows=3, cols=5)[0])
    view = MaskedOverview(task)
    shares = list(view.shares(uniform(task.shape, 7)))
    assert len(shares) == 7
    np.testing.assert_allclose(np.sum(shares, axis=0), 1)


def test_a_budget_of_masks():
    task, _ = task_of(planted()[0], passes=10)
    view = MaskedOverview(task)
    assert view.room() == 10
    assert view.room(keep=3) == 7
    with pytest.raises(BudgetError):
        view.embed([np.ones(view.shape)] * 11)


# Maps


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_that_the_overview_shows_is_found(kind):
    # For the norm it is the brightest place, for the others the only red one.
    image, window = planted(rows=4, cols=6, at=(1, 4), colour=(250, 20, 20))
    question = classes("red") if kind == "overview-probability" else TEXT
    how = "query"
    for seed in range(3):
        found, task, _ = run(f"{kind}/{how}", image, question, passes=220, seed=seed)
        assert found.windows[0] == window
        assert found.cells[int(found.importance.argmax())] == window
        assert len(found.cells) == 24
        assert task.encoder.work.passes <= 220


def test_the_longest_tokens_are_those_of_the_brightest_tile():
    # Two by two tokens a tile.
    image, window = planted(rows=4, cols=4, at=(2, 1), colour=(255, 255, 255))
    found, task, _ = run("feature-norm/mean", image, classes(), passes=3, size=4 * SIDE)
    assert found.windows[0] == window
    assert task.encoder.work.passes == 3
    assert found.importance.max() == pytest.approx(np.sqrt(3), abs=1e-5)


def test_hiding_the_only_evidence_costs_most():
    image, window = planted(at=(0, 0))
    found, _, shown = run("pixel-wise/surest", image, classes("red"), passes=24 + 1 + 4, regions=4)
    # Of 29 passes one is the overview, four are crops and 24 hide a tile each.
    assert len(shown.images) == 29
    assert found.windows[0] == window
    rest = [v for v, cell in zip(found.importance, found.cells, strict=True) if cell != window]
    assert found.importance.max() > 10 * max(rest)
    assert found.probabilities.argmax() == 0


def test_random_masks_by_hand():
    # A model that is the red of the whole image gives every place its own share: the map of many
    # masks is highest where red is, and is flat elsewhere.
    image, window = planted(rows=4, cols=4, at=(3, 0), spread=0)
    found, *_ = run("rise/query", image, TEXT, passes=400)
    order = np.argsort(-found.importance)
    assert found.cells[order[0]] == window
    gaps = found.importance[order]
    assert gaps[0] - gaps[1] > 2 * (gaps[4] - gaps[-1]) / 3


@given(st.integers(1, 40), st.integers(1, 9), st.floats(0, 0.999))
def test_interpolated_masks_are_averages(length, cells, shift):
    weight = _interpolation(length, cells, shift)
    np.testing.assert_allclose(weight.sum(axis=1), 1)
    assert weight.shape == (length, cells + 1)


def test_a_share_of_masks_is_shown():
    task, _ = task_of(planted()[0])
    masks = np.stack(list(Rise("mean", shown=0.3)._masks(task, (40, 60), 300)))
    assert masks.mean() == pytest.approx(0.3, abs=0.01)
    assert masks.min() >= 0
    assert masks.max() <= 1


@given(st.integers(1, 40), st.integers(1, 40))
def test_the_finest_cells_of_any_scene_exist(height, width):
    count = PixelWise("mean")._most((height, width))
    assert len(uniform((height, width), count)) == count


@pytest.mark.parametrize("kind", ["rise", "pixel-wise"])
def test_a_budget_that_holds_no_map_is_refused(kind):
    with pytest.raises(BudgetError, match="crop take more"):
        run(f"{kind}/mean", planted()[0], classes(), passes=2)


def test_probabilities_want_tokens_in_the_space_of_classes():
    with pytest.raises(MissingCapabilityError, match="tokens"):
        run("overview-probability/mean", planted()[0], classes(), space="backbone")


def test_pooling_is_by_shared_area():
    task, _ = task_of(np.zeros((3, 2 * SIDE, 3 * SIDE), np.uint8))
    tiles = native_tiles(task)
    grid = np.array([[1.0, 2.0], [3.0, 4.0]])[:, :, None]
    assert pool(task, tiles, grid)[:, 0].tolist() == [1, 1.5, 2, 3, 3.5, 4]
