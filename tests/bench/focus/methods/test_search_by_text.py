"""Hierarchical search by text: paths down the tree that are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from focus_tasks import SIDE, TEXT, classes, planted, task_of
from looks import land

from foveate.bench.focus.methods import find_method
from foveate.bench.focus.methods.search_by_text import CropTree, ZoomEye, ZoomSearch
from foveate.errors import MissingCapabilityError
from foveate.grid import Window


def run(method, image, question, **given):
    task, shown = task_of(image, question, **given)
    return (find_method(method) if isinstance(method, str) else method)(task), task, shown


@pytest.mark.parametrize("at", [(0, 0), (3, 5), (6, 2), (7, 7)])
@pytest.mark.parametrize("question", [classes("red"), TEXT])
def test_zoomeye_goes_straight_to_a_patch_that_every_level_shows(at, question):
    image, window = planted(rows=8, cols=8, at=at)
    found, task, _ = run(ZoomEye(threshold=0.95), image, question)
    assert found.windows[0] == window
    # The scene, and the quarters of each of three levels.
    assert task.encoder.work.passes == 1 + 3 * 4
    # All crops that were not cut cover the scene.
    assert len(found.cells) == 3 + 3 + 4
    assert sum(w.h * w.w for w in found.cells) == (8 * SIDE) ** 2
    assert found.cells[int(found.importance.argmax())] == window
    if question.head is not None:
        assert found.probabilities.argmax() == 0


def test_zoomeye_ends_where_a_crop_is_good_enough():
    # A quarter of the scene is red: it answers, and nothing in it is looked at.
    image = land(64, 64, spread=6)
    image[:, :32, 32:] = np.array([220, 20, 20])[:, None, None]
    found, task, _ = run("zoomeye", image, classes("red"))
    assert found.windows[0] == Window(0, 32, 32, 32)
    assert task.encoder.work.passes == 1 + 4
    # Nothing but grassland is looked for: the overview would do, but it never ends the search.
    found, task, _ = run("zoomeye", image, classes("green"))
    assert task.encoder.work.passes == 1 + 4


def test_zoomeye_lowers_its_threshold():
    # Nothing is blue: the threshold falls to 0 before the tree is seen whole.
    image, _ = planted(rows=16, cols=16)
    found, task, _ = run("zoomeye", image, classes("blue"))
    assert 1 + 4 * 4 <= task.encoder.work.passes < 100
    assert len(found.windows) == 4


def test_zoomeye_stops_with_the_budget():
    image, _ = planted(rows=8, cols=8)
    found, task, _ = run("zoomeye", image, classes("red"), passes=8)
    assert task.encoder.work.passes == 5
    assert len(found.cells) == 4
    found, task, _ = run("zoomeye", image, classes("red"), passes=1)
    assert found.windows == (Window(0, 0, 128, 128),)


def test_zoomsearch_follows_what_stands_out():
    image, window = planted(rows=9, cols=9, at=(4, 7), spread=1)
    found, task, _ = run("zoomsearch", image, TEXT)
    assert found.windows[0] == window
    assert task.encoder.work.passes >= 1 + 9 + 9


def test_zoomsearch_follows_several_branches():
    image, first = planted(rows=9, cols=9, at=(0, 0), spread=0)
    second = Window(8 * SIDE, 8 * SIDE, SIDE, SIDE)
    image[:, 8 * SIDE :, 8 * SIDE :] = image[:, :SIDE, :SIDE]
    found, *_ = run("zoomsearch", image, TEXT, regions=8)
    assert set(found.windows[:2]) == {first, second}


def test_what_stands_out_by_hand():
    task, _ = task_of(planted()[0], TEXT)
    tree = CropTree(task, 3)
    nodes = tree.grow(tree.root)
    for node, fit in zip(nodes, [0.9, 0.5, 0.52, 0.5, 0.8, 0.5, 0.5, 0.5, 0.5], strict=True):
        node.fit = fit
    # The mean is 0.58; sigmoid(5 gap) > 0.6 for gaps above 0.0811.
    assert ZoomSearch()._stand_out(tree, nodes) == [nodes[0], nodes[4]]
    assert ZoomSearch(most=1)._stand_out(tree, nodes) == [nodes[0]]
    for node in nodes:
        node.fit = 0.5
    assert len(ZoomSearch()._stand_out(tree, nodes)) == 1


def test_a_strip_is_cut_across():
    image = land(SIDE, 8 * SIDE, cell=SIDE)
    task, _ = task_of(image, TEXT)
    tree = CropTree(task, 2)
    assert [node.window for node in tree.grow(tree.root)] == [
        Window(0, 0, 16, 64), Window(0, 64, 16, 64)
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["zoomeye", "zoomsearch"])
def test_a_search_needs_a_target(name):
    with pytest.raises(MissingCapabilityError, match="query or classes"):
        run(name, planted()[0], None)
