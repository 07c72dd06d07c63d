"""Crops that are chosen without looking, and whole tiling: cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from focus_tasks import SIDE, TEXT, classes, planted, task_of
from hypothesis import given
from hypothesis import strategies as st
from looks import land

from foveate.bench.focus.methods import find_method
from foveate.bench.focus.methods.answers import FUSIONS, JOINS, join, rank, weighted_answer
from foveate.bench.focus.methods.crops import native_tiles, room
from foveate.bench.focus.methods.tiles import (
    WholeTiling,
    grid_order,
    shared_area,
    stratified_order,
    z_order,
)
from foveate.errors import BudgetError, MissingCapabilityError
from foveate.grid import Window

ORDERS = ("random", "stratified", "grid", "k-center")


def run(name, image, question=None, **given):
    task, shown = task_of(image, question, **given)
    return find_method(name)(task), task, shown


def best(found):
    return ("red", "green", "blue")[int(found.probabilities.argmax())]


# Joining


def test_ways_of_joining_by_hand():
    # Two crops are a little green, one is red: the head sees unit vectors.
    x = np.array([[0.6, 0.8, 0], [0.6, 0.8, 0], [1, 0, 0]], np.float32)
    ties = np.arange(3, dtype=np.uint64)
    said = {how: join(classes("blue"), x, how, ties) for how in JOINS}
    label = {how: int(found.probabilities.argmax()) for how, found in said.items()}
    assert label["vote"] == 1  # two votes of three
    assert label["features"] == 0  # the mean is (0.73, 0.53, 0)
    assert label["mean"] == 1
    assert label["surest"] == label["newest"] == 0  # the third crop
    assert said["vote"].probabilities == pytest.approx([1 / 3, 2 / 3, 0], abs=1e-3)
    assert said["surest"].value.argmax() == said["newest"].value.argmax() == 2
    # No crop is blue; the one that is least unlike it answers.
    assert (said["query"].value < 0.01).all()


def test_weights_count_in_an_answer():
    x = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    for how in FUSIONS:
        heavy = weighted_answer(classes(), x, np.array([1.0, 3.0]), how)
        assert heavy.argmax() == 1
        assert heavy.sum() == pytest.approx(1)
        assert weighted_answer(TEXT, x, np.ones(2), how) is None
    mean = weighted_answer(classes(), x, np.array([1.0, 3.0]), "mean")
    assert mean == pytest.approx([0.25, 0.75, 0], abs=1e-6)


def test_equal_votes_are_decided_by_the_probabilities():
    x = np.array([[1, 0, 0], [0.6, 0.8, 0]], np.float32)
    found = join(classes(), x, "vote", np.arange(2, dtype=np.uint64))
    assert found.probabilities.argmax() == 0


def test_aggregation_without_classes():
    x = np.eye(3, dtype=np.float32)
    ties = np.arange(3, dtype=np.uint64)
    assert join(TEXT, x, "query", ties).value.argmax() == 0
    assert join(TEXT, x, "mean", ties).value is None
    with pytest.raises(MissingCapabilityError, match="needs classes"):
        join(TEXT, x, "surest", ties)
    with pytest.raises(MissingCapabilityError, match="needs a query"):
        join(classes(), x, "query", ties)


def test_equal_values_are_decided_by_keys():
    ties = np.array([5, 1, 3], np.uint64)
    assert rank(np.array([1.0, 1.0 + 1e-9, 2.0]), ties).tolist() == [2, 1, 0]
    assert rank(np.full(3, 0.7), ties).tolist() == [1, 2, 0]
    assert rank(np.array([1e-9, 3e-9, 2e-9]), ties).tolist() == [1, 2, 0]


# Tiles


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("how", ["surest", "newest", "query"])
def test_one_of_all_tiles_finds_what_is_planted(order, how):
    image, window = planted()
    found, task, _ = run(f"{order}/{how}", image, classes("red"), regions=2)
    assert found.windows[0] == window
    assert found.cells[int(found.importance.argmax())] == window
    assert best(found) == "red"
    assert task.encoder.work.passes == 24 + (order == "k-center")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("how", ["vote", "mean", "features"])
def test_the_vote_predicts_the_land_cover(order, how):
    found, _, _ = run(f"{order}/{how}", planted()[0], classes())
    assert best(found) == "green"


@pytest.mark.parametrize("order", ORDERS)
def test_tiles_are_as_many_as_the_passes(order):
    _, task, shown = run(f"{order}/mean", planted()[0], classes(), passes=9)
    assert task.encoder.work.passes == 9
    assert len(shown.images) == 9


def test_k_center_looks_where_the_overview_differs():
    # Two tokens a tile: the second tile that is shown is the planted one, wherever it starts.
    image, window = planted(rows=4, cols=4, at=(1, 2))
    for seed in range(4):
        found, *_ = run("k-center/mean", image, passes=3, seed=seed)
        assert window in found.windows


def test_k_center_needs_tokens():
    with pytest.raises(MissingCapabilityError, match="tokens"):
        run("k-center/mean", planted()[0], classes(), tokens=None)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 81), st.integers(0, 5))
def test_stratified_tiles_lie_in_every_stretch(rows, cols, count, seed):
    image = np.zeros((3, rows * SIDE, cols * SIDE), np.uint8)
    task, _ = task_of(image, passes=count, seed=seed)
    tiles = native_tiles(task)
    found = stratified_order(task, tiles)
    n, count = rows * cols, min(count, rows * cols)
    assert sorted(found) == list(range(n))
    assert room(task, tiles) == count
    place = np.argsort(np.argsort(z_order(tiles.row, tiles.col)))[found[:count]]
    edges = np.arange(count + 1) * n // count
    stretch = np.searchsorted(edges, place, side="right") - 1
    assert sorted(stretch) == list(range(count))


def test_z_order_by_hand():
    row, col = (a.ravel() for a in np.mgrid[:2, :4])
    assert z_order(row, col).tolist() == [0, 1, 4, 5, 2, 3, 6, 7]


def test_a_grid_of_four_takes_the_middle_of_each_quarter():
    task, _ = task_of(np.zeros((3, 6 * SIDE, 6 * SIDE), np.uint8), passes=4)
    tiles = native_tiles(task)
    rows = grid_order(task, tiles)[:4]
    found = zip(tiles.row[rows].tolist(), tiles.col[rows].tolist(), strict=True)
    assert list(found) == [(1, 1), (1, 4), (4, 1), (4, 4)]


@given(st.integers(1, 90), st.integers(1, 90))
def test_tiles_are_about_a_crop(height, width):
    task, _ = task_of(np.zeros((3, height, width), np.uint8))
    tiles = native_tiles(task)
    assert tiles.pixels.sum() == height * width
    for sides, length in ((tiles.h, height), (tiles.w, width)):
        assert sides.max() <= 1.5 * SIDE
        assert sides.min() >= min(length, 2 * SIDE / 3 - 1)


# Others


def test_the_whole_image_is_one_pass():
    image, _ = planted()
    found, task, _ = run("whole-image", image, classes("red"))
    assert found.windows == (Window(0, 0, 64, 96),)
    assert best(found) == "green"
    assert found.importance is None
    assert task.encoder.work.passes == 1
    with pytest.raises(BudgetError, match=r"0\.5"):
        run("whole-image", image, passes=0.5)


def test_the_most_probable_tiles_are_chosen_and_averaged():
    image, window = planted()
    found, *_ = run("max-probability", image, classes(), regions=1)
    assert found.windows == (window,)
    assert best(found) == "red"
    many, *_ = run("max-probability", image, classes(), regions=24)
    assert best(many) == "green"


def test_random_regions_find_what_chance_finds():
    image, window = planted(rows=8, cols=8)
    hits = 0
    for seed in range(60):
        found, task, _ = run("random-regions", image, classes(), seed=seed, regions=4)
        assert len(found.windows) == task.encoder.work.passes == 4
        hits += any(shared_area([w], [window])[0, 0] >= SIDE**2 / 2 for w in found.windows)
    # A crop that shares half of the tile has about 1 % of all places, of which there are four.
    assert hits <= 12


# Whole tiling


def test_whole_tiling_shows_every_crop_once():
    image, window = planted()
    found, task, _ = run("tiling/query", image, classes("red"), regions=2)
    # Crops of 16 in steps of 13: 5 in 64 pixels and 8 in 96, the last ones moved back.
    assert task.encoder.work.passes == 5 * 8
    assert found.cells[int(found.importance.argmax())] == window
    assert (
        shared_area(found.windows[:1], [window])[0, 0]
        == shared_area(
            [Window(y, x, 16, 16) for y in (0, 13, 26, 39, 48) for x in (*range(0, 79, 13), 80)],
            [window],
        ).max()
    )
    assert best(found) == "red"
    assert best(run("tiling/vote", image, classes())[0]) == "green"


def test_crops_that_match_a_better_one_are_merged():
    windows = [Window(0, 0, 10, 10), Window(0, 4, 10, 10), Window(0, 6, 10, 10)]
    assert WholeTiling("mean")._merged(windows, 9) == (windows[0], windows[2])
    assert WholeTiling("mean", match=0.3)._merged(windows, 9) == (windows[0],)
    assert WholeTiling("mean", match=0.7)._merged(windows, 2) == tuple(windows[:2])


def test_a_part_of_a_tiling_is_a_sample_of_it():
    found, task, _ = run("tiling/mean", land(128, 128, cell=16), classes(), passes=10)
    assert task.encoder.work.passes == 10
    assert len(found.windows) == 4
