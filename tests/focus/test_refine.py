"""Refinement: the frontier stays exact, and every search ends by the rule that it names."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looks import Sized, colour_head, colour_model, cover, land, look

from foveate.focus.config import GOALS
from foveate.focus.losses import LOSSES, LossInputs
from foveate.focus.partition import areas
from foveate.focus.question import FocusQuestion
from foveate.focus.refine import STOPS, _centred, _near_ties

MODES = {
    "zoom": {"mode": "zoom", "crop": 32},
    "native": {"mode": "zoom", "crop": 32, "goal": "balanced"},
    "window": {"mode": "window", "robust": False},
    "feature": {"mode": "feature", "robust": False},
}


def found(image=None, model=None, search=None, **given):
    image = land(256, 256, patch=(100, 40, 24, 24)) if image is None else image
    return look(image, model or colour_model(tokens=8)[0], search=search, **given)


def repeated():
    """An image that is not of one value, and whose cells are all alike."""
    return np.tile(np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8), (1, 32, 32))


def check_frontier(result, shape, valid=None):
    """The cells that are left cover the valid image once; their areas are their valid pixels."""
    tiles = result.result.state.tiles
    count = cover(tiles, shape)
    assert count.max() == 1
    if valid is None:
        assert (count == 1).all()
        assert areas(tiles).sum() == shape[0] * shape[1]
    assert result.result.state.scorer.model.area == pytest.approx(areas(tiles))
    assert (np.lexsort((tiles.x, tiles.y)) == np.arange(len(tiles))).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(256, 256), (200, 333), (333, 97)])
def test_the_frontier_covers_the_image(mode, shape):
    result = found(land(*shape), **MODES[mode], passes=0)
    check_frontier(result, shape)
    assert result.result.stop in STOPS
    assert len(result.result.state.tiles) > 16 * min(shape) // max(shape)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("passes", [2.3, 2.6, 3])
def test_the_frontier_covers_the_image_whenever_it_stops(mode, passes):
    result = found(**MODES[mode], passes=passes, search={"regions": 3, "persist": True})
    check_frontier(result, (256, 256))
    assert result.passes <= passes


@pytest.mark.parametrize("mode", MODES)
def test_rounds_record_the_search(mode):
    result = found(**MODES[mode])
    rounds = result.result.rounds
    assert [r.cells for r in rounds] == sorted(r.cells for r in rounds)
    assert [r.passes for r in rounds] == sorted(r.passes for r in rounds)
    state = result.result.state
    assert rounds[-1].cells == len(state.tiles)
    assert rounds[-1].importance == state.importance
    assert rounds[-1].epsilon == state.chosen.epsilon
    assert rounds[-1].passes <= result.passes


@pytest.mark.parametrize("mode", MODES)
def test_stop_at_a_depth(mode):
    none = found(**MODES[mode], passes=0, search={"depth": 0})
    assert none.result.stop == "depth"
    assert len(none.result.state.tiles) == 16
    assert len(none.result.rounds) == 1
    one = found(**MODES[mode], passes=0, search={"depth": 1})
    assert one.result.state.tiles.level.max() == 1


def test_stop_where_nothing_can_be_cut():
    for mode in ("zoom", "native"):
        result = found(**MODES[mode], passes=0)
        assert result.result.stop == "resolution"
        assert result.result.state.tiles.pixels.max() <= (1.5 * 32) ** 2
    # The modes that do not persist end when what is chosen cannot be cut.
    result = found(**MODES["window"], passes=0)
    assert result.result.stop in ("resolution", "gain")


def test_stop_when_the_passes_are_spent():
    model = Sized(32)
    result = found(model=model, mode="zoom", goal="balanced", passes=20)
    assert result.result.stop == "passes"
    assert result.passes == 20
    assert len(result.result.state.tiles) == 19  # the overview is one; a cut shows one cell more


def test_stop_without_gain():
    # Nothing to gain: every cell looks the same.
    flat = repeated()
    goal = GOALS["balanced"].with_options(
        weights={"area": 0, "representativeness": 0, "robustness": 0, "synergy": 0}
    )
    for mode in ("window", "feature"):
        result = found(flat, goal=goal, mode=mode)
        assert result.result.stop == "gain"
        assert len(result.result.state.tiles) == 16
    persistent = found(flat, goal=goal, mode="feature", search={"persist": True})
    assert len(persistent.result.state.tiles) == 64


def test_what_is_chosen_gets_better_or_the_search_stops():
    for seed in range(4):
        image = land(256, 256, seed=seed, patch=(40 * seed, 100, 30, 30))
        for mode in ("window", "feature"):
            rounds = found(image, **MODES[mode]).result.rounds
            assert (np.diff([r.importance for r in rounds]) > 0).all()


def test_the_largest_cells_are_cut_first():
    # 16 first cells, each cut once before any is cut twice.
    model = Sized(32)
    image = land(512, 512, patch=(100, 40, 40, 40))
    early = found(image, model, mode="zoom", goal="balanced", passes=33, search={"explore": 1.0})
    assert set(early.result.state.tiles.level.tolist()) == {1}
    late = found(image, Sized(32), mode="zoom", goal="balanced", passes=33, search={"explore": 0.0})
    assert late.result.state.tiles.level.max() > 1


@settings(max_examples=8)
@given(
    passes=st.integers(17, 70),
    seed=st.integers(0, 5),
    goal=st.sampled_from(["balanced", "dominant"]),
)
def test_a_look_for_the_whole_scene_is_an_even_sample(passes, seed, goal):
    # As many crops as a sample without a look has of the passes that the overview leaves, spread
    # evenly, and the same ones whatever the image shows.
    model = colour_model(size=(32, 32))[0]
    told = {"mode": "zoom", "crop": 32, "goal": goal, "passes": passes,
            "search": {"seed": seed}, "question": FocusQuestion(colour_head())}  # fmt: skip
    first = found(land(256, 256, patch=(100, 40, 24, 24)), model, **told)
    state = first.result.state
    assert len(set(state.features.windows)) == len(state.tiles) == min(64, passes - 1)
    area = areas(state.tiles)
    assert area.max() <= 2 * area.min()
    assert {(w.h, w.w) for w in state.features.windows} == {(32, 32)}
    other = found(land(256, 256, seed=9), model, **told)
    assert set(other.result.state.features.windows) == set(state.features.windows)
    assert set(first.windows) <= set(state.features.windows)


@pytest.mark.parametrize(("goal", "classes"), [
    (GOALS["rare"], True),
    (GOALS["balanced"], False),
    (replace(GOALS["balanced"], losses={"label": 1.0}), True),
])  # fmt: skip
def test_a_search_is_guided_by_content(goal, classes):
    goal, model = goal.with_options(coarse="native"), colour_model(size=(32, 32))[0]
    question = FocusQuestion(colour_head(), target=0) if classes else FocusQuestion()
    told = {"mode": "zoom", "crop": 32, "passes": 24, "goal": goal, "question": question}
    seen = [
        set(found(land(256, 256, seed=seed), model, **told).result.state.features.windows)
        for seed in range(4)
    ]
    assert any(one != seen[0] for one in seen[1:])


def test_crops_are_the_regions_where_there_are_any():
    result = found(model=Sized(32), mode="zoom", goal="rare", passes=12)
    state = result.result.state
    assert (state.features.scale < 0).any()
    assert (state.features.scale > -1).any()
    assert (state.features.scale[state.chosen.rows] == -1).all()


def test_novelty_is_among_cells_of_one_scale():
    # Cells of scale 0 differ from the others in the first feature, whatever they show.
    draw = np.random.default_rng(0)
    x, scale = draw.standard_normal((9, 3)), np.repeat([0, -1, 1], 3)
    x[scale == 0, 0] += 40
    area = draw.uniform(1, 5, 9)
    centred = _centred(SimpleNamespace(x=x, scale=scale), area)
    mean = area @ x / area.sum()
    for one in (0, -1, 1):
        rows = scale == one
        np.testing.assert_allclose(area[rows] @ centred[rows] / area[rows].sum(), mean)
        np.testing.assert_allclose(np.diff(centred[rows], axis=0), np.diff(x[rows], axis=0))


def test_cells_are_centred_where_novelty_counts():
    given = {"model": Sized(32), "mode": "zoom", "passes": 12}
    goal = GOALS["rare"].with_options(coarse="whole")
    state = found(**given, goal=goal).result.state
    model, scale = state.scorer.model, state.features.scale
    mean = model.area @ model.x / model.area.sum()
    for one in np.unique(scale):
        rows = scale == one
        own = model.area[rows] @ model.x[rows] / model.area[rows].sum()
        np.testing.assert_allclose(own, mean, atol=1e-6)
    assert np.unique(scale).size > 1
    other = found(**given, goal=GOALS["dominant"].with_options(coarse="whole")).result.state
    np.testing.assert_allclose(other.scorer.model.x, other.features.x)


def test_valid_pixels_are_the_areas():
    valid = np.ones((256, 256), bool)
    valid[:70, :90] = False
    for mode in MODES.values():
        result = found(valid=valid, **mode)
        check_frontier(result, (256, 256), valid)
        tiles = result.result.state.tiles
        for i in range(len(tiles)):
            y, x, h, w = tiles.window(i)
            assert tiles.valid_share[i] == pytest.approx(valid[y : y + h, x : x + w].mean())
        assert (tiles.valid_share >= 0.5).all()


def test_the_loss_is_the_goal_s():
    question = FocusQuestion(colour_head())
    result = found(mode="feature", goal="balanced", robust=False, question=question)
    model = result.result.state.scorer.model
    known = LossInputs(model.x, model.area, question.head)
    expected = LOSSES["soft_label"](known)(model.x) + 0.5 * LOSSES["entropy"](known)(model.x)
    assert model.of(np.eye(len(model), dtype=bool)) == pytest.approx(expected)


def test_near_ties_are_counted():
    flat = repeated()
    given = {"mode": "feature", "robust": False, "goal": "rare"}
    assert found(flat, search={"regions": 3, "depth": 0}, **given).result.near_ties == 3
    assert found(search={"regions": 3, "depth": 0}, **given).result.near_ties == 0


def test_near_ties_are_of_what_may_be_chosen():
    # Three squeezed cells with equal scores; of three crops the best two are chosen.
    score = np.array([0.9, 0.9, 0.9, 0.5, 0.4, 0.3])
    state = SimpleNamespace(
        scorer=SimpleNamespace(single_importance=score),
        chosen=SimpleNamespace(rows=np.array([3, 4])),
    )
    assert _near_ties(state, np.array([0, 0, 0, 1, 1, 1], bool)) == 0
    assert _near_ties(state, None) == 2


def test_depth_is_below_the_first_partition():
    given = {"mode": "feature", "robust": False, "partition": "significance", "passes": 0}
    first = found(search={"depth": 0, "persist": True}, **given).result
    assert len(first.rounds) == 1
    deeper = found(search={"depth": 1, "persist": True, "regions": 99}, **given).result
    able = first.state.tiles.h >= 64  # two tokens of 32 pixels
    assert len(deeper.state.tiles) == len(first.state.tiles) + 3 * int(able.sum())


def test_a_depth_that_is_not_reached_stops_nothing():
    given = MODES["feature"]
    assert found(**given).result.stop == "resolution"
    deep = found(**given, search={"depth": 5}).result
    assert deep.state.tiles.level.max() == 1
    assert deep.stop == "resolution"
