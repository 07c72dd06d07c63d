"""What every method of `bench focus` keeps to, whatever it does."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace

import numpy as np
import pytest
from focus_tasks import SIDE, TEXT, classes, overlaps, planted, task_of
from looks import colour_head, land

from foveate.bench.focus.methods import METHODS, find_method
from foveate.bench.focus.methods.looks import LOOKS
from foveate.errors import BudgetError, DataError, MissingCapabilityError, UnknownNameError
from foveate.focus.question import FocusQuestion
from foveate.models.heads import TextHead

NAMES = list(METHODS)
# A look refuses a scene in which there is nothing to choose from.
OTHERS = [name for name in NAMES if name not in LOOKS]
QUESTIONS = {
    "both": classes("red"), "classes": classes(), "query": TEXT, "nothing": FocusQuestion(),
}  # fmt: skip
SCENES = {
    "tiles": planted()[0],
    "uneven": land(70, 131, patch=(20, 90, 18, 18), cell=8),
    "small": land(11, 14, cell=4),
    "strip": land(9, 150, cell=8),
}


def outcome(name, scene, question, **given):
    """Return what a method makes of a scene, or None where it says why it makes nothing."""
    task, _ = task_of(scene, question, **given)
    try:
        found = find_method(name)(task)
    except (BudgetError, MissingCapabilityError):
        found = None
    assert task.encoder.work.passes <= task.passes * (1 + 1e-9)
    return found, task


def check(found, task):
    height, width = task.shape
    assert 1 <= len(found.windows) <= task.regions
    assert len(set(found.windows)) == len(found.windows)
    for y, x, h, w in (*found.windows, *found.cells):
        assert min(y, x) >= 0 < min(h, w)
        assert y + h <= height
        assert x + w <= width
    if found.importance is not None:
        assert found.importance.shape == (len(found.cells),)
        assert found.importance.dtype == np.float64
        assert np.isfinite(found.importance).all()
    assert not any(overlaps(a, b) for a, b in itertools.combinations(found.cells, 2))
    head = task.question.head
    assert (found.probabilities is None) == (head is None)
    if head is not None:
        assert found.probabilities.shape == (len(head.names),)
        assert found.probabilities.dtype == np.float64
        assert found.probabilities.sum() == pytest.approx(1)
        assert found.probabilities.min() >= 0


@pytest.mark.parametrize("name", OTHERS)
def test_with_passes_enough_all_methods_answer(name):
    for scene in SCENES.values():
        found, task = outcome(name, scene, QUESTIONS["both"], passes=120)
        assert found is not None
        check(found, task)


@pytest.mark.parametrize("name", NAMES)
def test_methods_end_without_a_limit(name):
    found, task = outcome(name, SCENES["small"], QUESTIONS["both"], crop=8)
    assert found is not None
    check(found, task)


@pytest.mark.parametrize("name", NAMES)
def test_the_outcome_keeps_its_form_for_every_question(name):
    for question in QUESTIONS.values():
        found, task = outcome(name, SCENES["uneven"], question, passes=60)
        if found is not None:
            check(found, task)


@pytest.mark.parametrize("name", NAMES)
def test_a_budget_is_never_exceeded(name):
    for passes, question in itertools.product((0.5, 1, 2, 7, 24), ("both", "query")):
        found, task = outcome(name, SCENES["tiles"], QUESTIONS[question], passes=passes)
        if found is not None:
            check(found, task)
        assert passes >= 1 or found is None


@pytest.mark.parametrize("name", NAMES)
def test_the_passes_of_the_task_hold_without_a_ledger(name):
    task, _ = task_of(SCENES["tiles"], QUESTIONS["both"])
    task = replace(task, passes=9.0)
    with contextlib.suppress(BudgetError):
        find_method(name)(task)
    assert task.encoder.work.passes <= 9


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_said_before_a_pass_is_spent(name):
    models = ({"tokens": None}, {"space": "backbone"})
    for model, question in itertools.product(models, QUESTIONS.values()):
        task, _ = task_of(SCENES["tiles"], question, passes=40, **model)
        try:
            check(find_method(name)(task), task)
        except MissingCapabilityError:
            assert task.encoder.work.passes == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_any_size_costs_parts_of_passes(name):
    # A crop of 16 pixels is a 256th of a pass of 256 x 256.
    found, task = outcome(name, SCENES["uneven"], QUESTIONS["both"], passes=0.5, size=None)
    if found is not None:
        check(found, task)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same(name):
    first, _ = outcome(name, SCENES["uneven"], QUESTIONS["both"], passes=30, seed=3)
    again, _ = outcome(name, SCENES["uneven"], QUESTIONS["both"], passes=30, seed=3)
    assert first is not None
    assert first.windows == again.windows
    assert first.cells == again.cells
    for one, other in (
        (first.probabilities, again.probabilities), (first.importance, again.importance)
    ):  # fmt: skip
        assert (one is None) == (other is None)
        assert one is None or (one == other).all()


@pytest.mark.parametrize("name", NAMES)
def test_nodata_is_not_looked_at(name):
    valid = np.ones(SCENES["tiles"].shape[1:], bool)
    valid[:, 3 * SIDE :] = False
    found, task = outcome(name, SCENES["tiles"], QUESTIONS["both"], passes=60, valid=valid)
    assert found is not None
    check(found, task)
    for window in (*found.windows, *found.cells):
        assert task.encoder.valid_shares([window])[0] >= 0.5


@pytest.mark.parametrize("name", OTHERS)
def test_one_tile_of_data_is_enough(name):
    valid = np.zeros(SCENES["tiles"].shape[1:], bool)
    valid[SIDE : 2 * SIDE, SIDE : 2 * SIDE] = True
    found, task = outcome(name, SCENES["tiles"], QUESTIONS["both"], passes=60, valid=valid)
    assert found is not None
    assert task.encoder.work.passes > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_of_nodata_is_refused(name):
    valid = np.zeros(SCENES["tiles"].shape[1:], bool)
    task, _ = task_of(SCENES["tiles"], QUESTIONS["both"], valid=valid)
    with pytest.raises(DataError, match="enough valid pixels"):
        find_method(name)(task)


@pytest.mark.parametrize("name", NAMES)
def test_an_order_of_classes_changes_nothing_else(name):
    turned = [2, 0, 1]
    head = colour_head()
    names = tuple(head.names[i] for i in turned)
    other = TextHead(names, head.weight[turned], head.scale, head.bias, head.head)
    first, _ = outcome(name, SCENES["uneven"], classes("red"), passes=30)
    second, _ = outcome(
        name, SCENES["uneven"], FocusQuestion(other, "red", names.index("red")), passes=30
    )
    assert first is not None
    assert first.windows == second.windows
    np.testing.assert_allclose(second.probabilities, first.probabilities[turned], atol=1e-5)


def test_unknown_names_raise_with_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'random/vote'"):
        find_method("random/votes")
    assert all(entry.says.endswith(".") for entry in METHODS.values())
