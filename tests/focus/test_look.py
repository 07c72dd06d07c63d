"""A look from pixels to regions: what it finds, what it costs, and what must not change it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from colour_words import colour_words
from looks import Sized, colour_head, colour_model, land, look, red_query
from scipy.stats import binom

from foveate.errors import BudgetError, DataError, MissingCapabilityError, ParameterError
from foveate.focus.config import GOALS, FocusConfig, SearchConfig
from foveate.focus.encode import STANDARD
from foveate.focus.feature_cache import FeatureCache
from foveate.focus.question import FocusQuestion, make_question
from foveate.models.heads import TextHead

PATCH = (100, 40, 24, 24)
MODES = {
    "zoom": {"mode": "zoom", "crop": 32},
    "window": {"mode": "window"},
    "feature": {"mode": "feature"},
}
EVERY = [*MODES.values(), {"mode": "zoom", "crop": 32, "robust": True}]


def planted(**given):
    return land(256, 256, patch=PATCH, **given)


def model_of(**given):
    return colour_model(**{"tokens": 8, **given})[0]


def regions(result):
    state = result.result.state
    return (
        [tuple(w) for w in result.windows],
        state.tiles.tile_id.tolist(),
        state.scorer.single_importance.tolist(),
        result.passes,
        result.result.stop,
    )


# What it finds


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("goal", ["rare", "query"])
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_patch_is_found(mode, goal, seed):
    question = red_query() if goal == "query" else None
    # On a 512 px image, so that a cell must be cut before it shows the patch.
    image = land(512, 512, seed=seed, patch=(200, 70, 60, 60))
    result = look(image, model_of(tokens=16), goal=goal, question=question, **MODES[mode], passes=0)
    y, x, h, w = result.windows[0]
    assert y < 260
    assert y + h > 200
    assert x < 130
    assert x + w > 70
    assert max(h, w) <= 64
    if goal == "query":
        assert result.fit[result.result.state.chosen.rows[0]] == result.fit.max()
        assert result.fit.max() > result.full_fit + 0.2


def test_a_query_among_classes():
    question = make_question(colour_words(), labels=["green"], query="red", templates="none")
    result = look(planted(), model_of(), goal="query", question=question, **MODES["zoom"], passes=0)
    assert result.query == "red"
    assert result.prediction == "red"
    assert result.prediction_full == "green"
    assert 0 <= result.full_fit < 0.5 < result.fit.max() <= 1


def test_a_random_model_finds_what_chance_finds():
    # The "planted" cell is noise like all others: K of n cells hold it by chance.
    hits, trials, k = 0, 120, 4
    for seed in range(trials):
        draw = np.random.default_rng(seed)
        image = draw.integers(0, 256, (3, 64, 64), dtype=np.uint8)
        matrix = draw.standard_normal((3 * 16 * 16, 8))

        def embed(batch, matrix=matrix):
            x = batch[:, :, :: -(-batch.shape[2] // 16), :: -(-batch.shape[3] // 16)]
            return x.reshape(len(x), -1).astype(float) @ matrix

        model = colour_model(embed=embed, dim=8)[0]
        result = look(
            image, model, mode="window", robust=False, passes=0,
            search={"regions": k, "depth": 0, "seed": seed},
        )  # fmt: skip
        tiles = result.result.state.tiles
        assert len(tiles) == 16
        hits += int(draw.integers(16)) in result.result.state.chosen.rows
    low, high = binom.interval(0.999, trials, k / 16)
    assert low <= hits <= high


def test_labels_of_every_cell():
    result = look(
        planted(), model_of(), question=FocusQuestion(colour_head()), mode="feature", passes=0
    )
    names, chances = result.labels
    assert len(names) == len(chances) == len(result.result.state.tiles)
    first = result.result.state.chosen.rows[0]
    assert names[first] == "red"
    assert result.prediction == "red"  # of the goal "rare": the first region's
    assert result.prediction_full == "green"
    assert set(result.predictions) == {"full", "tile", "vote", "fused", "confident", "first"}
    assert result.predictions["vote"].label == "green"
    assert result.predictions["confident"].label == "red"


def test_without_classes_there_is_no_prediction():
    result = look(planted(), model_of(), mode="feature")
    assert (result.prediction, result.prediction_full, result.predictions) == (None, None, {})
    assert (result.fit, result.full_fit, result.labels) == (None, None, None)


def test_the_selection():
    result = look(planted(), model_of(), mode="feature", search={"regions": 5})
    selection = result.selection
    assert selection.n == len(result.result.state.tiles)
    assert selection.rows.tolist() == result.result.state.chosen.rows.tolist()
    assert (np.diff(selection.score) <= 0).all()
    assert selection.spent["tiles"] == 5
    assert selection.spent["pixels"] == sum(w.h * w.w for w in result.windows)
    assert selection.spent["passes"] == result.passes


# Equivariance


def plain(goal):
    """The goal with kernels, which do not depend on the order of cells as k-means does."""
    return GOALS[goal].with_options(density="kde", coarse="whole")


@pytest.mark.parametrize("goal", ["paper", "rare", "balanced"])
@pytest.mark.parametrize(
    "mode", [{"mode": "window"}, {"mode": "zoom", "crop": 64}, {"mode": "feature"}]
)
def test_scores_move_with_the_image(goal, mode):
    image = land(256, 256, patch=(96, 32, 32, 32), seed=3, cell=32)
    question = FocusQuestion(colour_head())
    given = {
        "goal": plain(goal), "question": question, **mode, "passes": 0, "robust": False,
        "search": {"neighbours": "all", "depth": 0},
    }  # fmt: skip

    def scores(pixels):
        found = look(np.ascontiguousarray(pixels), model_of(), **given).result.state
        return found.scorer.single_importance.reshape(4, 4), found.chosen.rows

    base, rows = scores(image)
    for axes in ((1,), (2,), (1, 2)):
        moved, _ = scores(np.flip(image, axes))
        np.testing.assert_allclose(moved, np.flip(base, [a - 1 for a in axes]), atol=1e-5)
    turned, _ = scores(np.swapaxes(image, 1, 2))
    np.testing.assert_allclose(turned, base.T, atol=1e-5)
    shifted, other = scores(np.roll(image, (64, 128), (1, 2)))
    np.testing.assert_allclose(shifted, np.roll(base, (1, 2), (0, 1)), atol=1e-5)
    place = np.arange(16).reshape(4, 4)
    assert set(np.roll(place, (1, 2), (0, 1)).ravel()[other]) == set(rows)


def test_neighbours_flip_with_the_image():
    image = land(256, 256, patch=(96, 32, 32, 32), seed=3, cell=32)
    given = {"goal": plain("paper"), "question": FocusQuestion(colour_head()), "mode": "window",
             "robust": False, "passes": 0}  # fmt: skip
    one, other = (look(x, model_of(), **given) for x in (image, image[:, ::-1].copy()))
    a = one.result.state
    b = other.result.state
    flipped = {
        (256 - w.y - w.h, w.x, w.h, w.w): s
        for w, s in zip(b.features.windows, b.scorer.single_importance, strict=True)
    }
    for w, s in zip(a.features.windows, a.scorer.single_importance, strict=True):
        assert flipped[tuple(w)] == pytest.approx(s, abs=1e-5)


# What must not change it


@pytest.mark.parametrize("mode", EVERY)
@pytest.mark.parametrize("goal", ["rare", "balanced"])
def test_the_same_again_at_any_batch_size_and_with_a_memory(mode, goal, tmp_path):
    expected = regions(look(planted(), model_of(), goal=goal, **mode))
    for size in (1, 3):
        assert regions(look(planted(), model_of(), goal=goal, **mode, batch_size=size)) == expected
    cache = FeatureCache.open(tmp_path, "planted")
    assert regions(look(planted(), model_of(), goal=goal, **mode, cache=cache)) == expected
    cache.save()
    cache = FeatureCache.open(tmp_path, "planted")
    model, shown = colour_model(tokens=8)
    again = look(planted(), model, goal=goal, **mode, cache=cache)
    assert regions(again) == expected
    if mode["mode"] != "feature":
        assert not shown.calls
        assert again.work.remembered == pytest.approx(again.passes)


@pytest.mark.parametrize("mode", EVERY)
def test_model_and_world_are_not_modified(mode):
    image, model = planted(), model_of()
    before, known, spec = image.copy(), dict(vars(model)), model.spec
    state = np.random.get_state()  # noqa: NPY002  (that it is not touched is the point)
    look(image, model, **mode)
    assert (image == before).all()
    assert vars(model) == known
    assert model.spec is spec
    after = np.random.get_state()  # noqa: NPY002
    assert (state[1] == after[1]).all()
    assert state[2:] == after[2:]


def test_a_network_is_not_modified():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()

    def embed(batch):
        with torch.inference_mode():
            return net(torch.from_numpy(batch.astype(np.float32))).mean((2, 3)).numpy()

    look(planted(), colour_model(embed=embed, dim=4)[0], mode="window")
    assert all((value == before[name]).all() for name, value in net.state_dict().items())
    assert not net.training
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert (torch.get_rng_state() == state).all()


def test_the_seed_decides():
    given = {"goal": "balanced", "mode": "zoom", "crop": 32, "passes": 0}
    one, same, other = (
        look(planted(), model_of(), **given, search={"seed": s, "depth": 1}) for s in (0, 0, 1)
    )
    assert regions(one) == regions(same)
    assert one.windows != other.windows


# What it costs


@pytest.mark.parametrize("mode", EVERY)
@pytest.mark.parametrize("goal", GOALS)
def test_passes_are_the_pixels_that_the_model_saw(mode, goal):
    question = red_query() if goal == "query" else None
    model, shown = colour_model(tokens=8)
    result = look(planted(), model, goal=goal, question=question, **mode)
    assert result.passes == pytest.approx(shown.pixels / STANDARD**2)
    assert result.work.images == len(shown.images)
    assert result.work.calls == shown.calls
    assert result.passes <= 24


@pytest.mark.parametrize("mode", ["zoom", "window"])
def test_passes_of_a_model_with_an_input_size(mode):
    model = Sized(32)
    result = look(planted(), model, **MODES[mode], robust=True, passes=17)
    assert result.passes == model.shown.pixels / 32**2
    assert result.passes <= 17


def test_the_overview_comes_first():
    model, shown = colour_model()
    look(planted(), model, **MODES["zoom"])
    assert shown.images[0].shape == (3, 256, 256)
    assert max(image.shape[1] for image in shown.images[1:]) <= 128


@pytest.mark.parametrize("goal", ["rare", "balanced"])
@pytest.mark.parametrize("robust", [False, True])
def test_a_budget_below_the_first_cells(goal, robust):
    model = Sized(32)
    given = {"goal": goal, "mode": "zoom", "crop": 32, "robust": robust}
    with pytest.raises(BudgetError, match="--cells") as caught:
        look(planted(), model, **given, passes=1.5)
    assert len(model.shown.images) == 1  # the overview only
    enough = int(caught.value.hint.split()[2].strip(","))
    result = look(planted(), Sized(32), **given, passes=enough)
    assert enough - 1 < result.passes <= enough
    with pytest.raises(BudgetError):
        look(planted(), Sized(32), **given, passes=enough - 1)


def test_a_second_view_that_is_not_affordable():
    with pytest.raises(BudgetError, match="--no-robust"):
        look(planted(), model_of(), mode="feature", passes=1)
    assert look(planted(), model_of(), mode="feature", passes=1, robust=False).passes == 1


def test_what_costs_too_much_is_said():
    zoom = look(planted(), model_of(), **MODES["zoom"])
    assert zoom.goal.weights.robustness == 0
    assert any("robustness" in note for note in zoom.notes)
    assert np.isnan(zoom.result.state.scorer.singles[:, 2]).all()
    question = look(planted(), model_of(), **MODES["zoom"], robust=True)
    assert question.goal.weights.robustness == GOALS["rare"].weights.robustness
    assert not question.notes
    for mode in ("window", "feature"):
        assert not look(planted(), model_of(), **MODES[mode]).notes


def test_robustness_is_one_where_nothing_moves():
    given = {"mode": "window", "disturb": lambda image, draw: image}
    state = look(planted(), model_of(), **given).result.state
    assert (state.features.shift == 0).all()
    assert (state.scorer.singles[:, 2] == 1).all()


# Nodata


def sparse():
    """Valid but for a corner, where one pixel in five is: those are blue, the others magenta."""
    image, valid = planted(), np.ones((256, 256), bool)
    corner = np.s_[128:, 128:]
    valid[corner] = np.random.default_rng(0).random((128, 128)) < 0.2
    image[:, 128:, 128:] = np.array([0, 0, 255])[:, None, None]
    image[:, ~valid] = np.array([255, 0, 255])[:, None]
    return image, valid


@pytest.mark.parametrize("mode", EVERY)
@pytest.mark.parametrize("goal", ["rare", "balanced"])
def test_cells_of_nodata_are_not_shown(mode, goal):
    image, valid = sparse()
    model, shown = colour_model(tokens=8)
    result = look(image, model, goal=goal, valid=valid, **mode, passes=0)
    pixels = [batch.reshape(3, -1).T for batch in shown.images]
    # What lies under invalid pixels never reaches the model.
    assert not any(((p[:, 0] > 250) & (p[:, 2] > 250)).any() for p in pixels)
    views = 1 + (mode["mode"] == "feature")  # the overview, and its second view
    for p in pixels[views:]:
        assert p[:, 2].mean() < 200  # the corner is blue throughout
    tiles = result.result.state.tiles
    assert not ((tiles.y >= 128) & (tiles.x >= 128)).any()
    assert (tiles.valid_share >= 0.5).all()
    assert all(w.y < 128 or w.x < 128 for w in result.windows)


@pytest.mark.parametrize("mode", EVERY)
def test_valid_shares_weight_the_areas(mode):
    valid = np.ones((256, 256), bool)
    valid[:, :30] = False  # 53 % of the cells at the left edge are valid
    state = look(planted(), model_of(), valid=valid, **mode, search={"depth": 0}).result.state
    left = state.tiles.x == 0
    assert state.scorer.model.area[left] == pytest.approx(np.full(4, 34 * 64))
    assert state.scorer.model.area[~left] == pytest.approx(np.full(12, 64 * 64))
    # Eq. 3 counts area against what is valid.
    share = state.scorer.model.area / valid.sum()
    encoder = np.eye(16, dtype=bool)
    scores = [replace(state.scorer.goal, weights=replace(state.scorer.goal.weights, area=a))
              for a in (0.0, 1.0)]  # fmt: skip
    none, one = (replace(state.scorer, goal=goal).parts(encoder)[:, 0] for goal in scores)
    np.testing.assert_allclose(one - none, 1 - share)


@pytest.mark.parametrize("mode", EVERY)
def test_an_image_without_data(mode):
    with pytest.raises(DataError, match="--nodata"):
        look(planted(), model_of(), valid=np.zeros((256, 256), bool), **mode)


def test_an_image_without_data_is_not_shown():
    model, shown = colour_model()
    with pytest.raises(DataError):
        look(planted(), model, valid=np.zeros((256, 256), bool), **MODES["zoom"])
    assert not shown.calls


def test_floats_with_nan():
    image = planted().astype(np.float32)
    image[:, :64, :64] = np.nan
    image[0, 100, 200] = np.inf
    result = look(image, model_of(), mode="feature")
    assert np.isfinite(result.result.state.features.x).all()
    assert not ((result.result.state.tiles.y < 64) & (result.result.state.tiles.x < 64)).any()


def test_vectors_that_are_not_finite():
    model = colour_model(embed=lambda batch: np.full((len(batch), 3), np.nan))[0]
    with pytest.raises(DataError, match="NaN"):
        look(planted(), model, mode="window")


# Limit cases


@pytest.mark.parametrize("mode", EVERY)
@pytest.mark.parametrize("goal", ["rare", "balanced", "dominant", "paper"])
@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("value", [0, 90])
def test_a_constant_image_raises(mode, goal, classes, value):
    question = FocusQuestion(colour_head()) if classes else None
    flat = np.full((3, 256, 256), value, np.uint8)
    with pytest.raises(DataError, match=f"all pixels of the image are {value}.*nothing to select"):
        look(flat, model_of(), goal=goal, question=question, **mode)


@pytest.mark.parametrize("mode", EVERY)
@pytest.mark.parametrize("goal", ["rare", "balanced", "dominant", "paper"])
@pytest.mark.parametrize("classes", [False, True])
def test_an_image_whose_cells_are_alike(mode, goal, classes):
    question = FocusQuestion(colour_head()) if classes else None
    flat = np.tile(np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8), (1, 32, 32))
    result = look(flat, model_of(), goal=goal, question=question, **mode)
    state = result.result.state
    assert np.isfinite(state.scorer.single_importance).all()
    assert np.isfinite(state.importance)
    assert state.chosen.rows.size == 8
    # The weights of "paper" are those of regions whose scores differ by where they lie.
    assert result.epsilon == pytest.approx(0, abs=0.1 if goal == "paper" else 1e-3)
    assert result.result.all_alike


def test_one_pixel_is_a_difference():
    image = np.zeros((3, 256, 256), np.uint8)
    image[:, 200, 200] = 255
    result = look(image, model_of(), mode="zoom", crop=32, passes=0)
    y, x, h, w = result.windows[0]
    assert y <= 200 < y + h
    assert x <= 200 < x + w
    assert not result.result.all_alike


@pytest.mark.parametrize("search", ["top", "prefix", "greedy", "importance"])
@pytest.mark.parametrize("mode", MODES)
def test_every_search(search, mode):
    question = FocusQuestion(colour_head())
    result = look(
        planted(), model_of(), goal="balanced", question=question, **MODES[mode],
        search={"method": search, "regions": 5},
    )  # fmt: skip
    rows = result.result.state.chosen.rows
    assert 1 <= rows.size <= 5
    assert len(set(rows.tolist())) == rows.size
    assert (result.selection.weight is not None) == (search == "importance")


def test_more_regions_than_cells():
    result = look(planted(), model_of(), mode="feature", search={"regions": 999}, passes=0)
    state = result.result.state
    assert sorted(state.chosen.rows.tolist()) == list(range(len(state.tiles)))
    assert result.epsilon == pytest.approx(0, abs=1e-9)


def test_one_class_and_one_cell():
    head = TextHead(("green",), np.eye(1, 3, dtype=np.float32), 1.0, 0.0, "cosine")
    for goal in ("balanced", "paper", "dominant"):
        result = look(
            planted(), model_of(), goal=goal, question=FocusQuestion(head), mode="feature", cells=1
        )
        assert np.isfinite(result.result.state.scorer.single_importance).all()
        assert result.prediction == "green"


def test_a_long_image():
    image = land(24, 3000, patch=(0, 2000, 24, 30))
    result = look(image, model_of(), mode="zoom", crop=16, passes=0)
    assert any(1970 < w.x < 2030 for w in result.windows[:3])


def test_what_cannot_be_asked_for():
    for given in ({"mode": "zom"}, {"partition": "even"}, {"cells": 0}, {"crop": 4}):
        with pytest.raises(ParameterError):
            FocusConfig(GOALS["rare"], **given)
    for given in ({"passes": 0.5}, {"passes": float("nan")}):
        with pytest.raises(BudgetError):
            FocusConfig(GOALS["rare"], **given)
    with pytest.raises(ParameterError, match="--query"):
        look(planted(), model_of(), goal="query", mode="feature")
    with pytest.raises(DataError, match="--crop"):
        look(planted(), model_of(), mode="zoom", crop=200)
    with pytest.raises(MissingCapabilityError, match="tokens"):
        look(planted(), colour_model()[0], mode="feature")
    with pytest.raises(MissingCapabilityError, match="--mode zoom"):
        look(planted(), colour_model(size=(32, 32))[0], mode="window")
    with pytest.raises(MissingCapabilityError, match="--mode zoom"):
        look(
            planted(),
            model_of(space="backbone"),
            question=FocusQuestion(colour_head()),
            mode="feature",
        )


def test_goals_with_other_forms():
    goal = GOALS["paper"].with_options(synergy="text", weights={"area": 0.0}, utility=None)
    assert (goal.synergy, goal.utility, goal.weights.area) == ("text", "two_sided", 0.0)
    question = FocusQuestion(colour_head())
    assert look(planted(), model_of(), goal=goal, question=question, mode="feature").goal == goal
    for given in ({"utility": "both"}, {"form": "js"}, {"weights": {"size": 1}}):
        with pytest.raises(ParameterError):
            GOALS["paper"].with_options(**given)
    with pytest.raises(ParameterError):
        GOALS["paper"].with_options(weights={"area": -1})
    for guard in (-1, "none", float("nan")):
        with pytest.raises(ParameterError, match="guard"):
            GOALS["paper"].with_options(guard=guard)


# Known defects


def test_a_query_in_another_space_is_refused():
    model = model_of(space="backbone")
    with pytest.raises(MissingCapabilityError):
        look(planted(), model, goal="query", question=red_query(), mode="feature")


@pytest.mark.parametrize("mode", ["window", "feature"])
@pytest.mark.parametrize("search", ["top", "prefix"])
def test_an_area_below_the_first_cells(mode, search):
    result = look(
        planted(), model_of(), goal="balanced", question=FocusQuestion(colour_head()),
        **MODES[mode],
        search={"area": 0.05, "method": search}, passes=0,
    )  # fmt: skip
    assert result.windows


@pytest.mark.parametrize("goal", ["balanced", "dominant", "paper"])
def test_epsilon_without_classes_is_finite(goal):
    assert np.isfinite(look(planted(), model_of(), goal=goal, mode="feature").epsilon)


def test_significant_cells_are_no_smaller_than_half_a_crop():
    result = look(planted(), model_of(), mode="zoom", crop=32, partition="significance", passes=0)
    assert result.result.state.tiles.h.min() >= 16


def test_cells_along_the_longer_side():
    result = look(land(24, 3000), model_of(), mode="window", search={"depth": 0}, passes=0)
    assert len(result.result.state.tiles) >= 4


def test_an_image_of_fewer_pixels_than_tokens():
    valid = np.ones((6, 6), bool)
    valid[0, 0] = False
    model = colour_model(tokens=8, size=(32, 32))[0]
    assert look(land(6, 6), model, mode="feature", valid=valid).windows


@pytest.mark.parametrize("area", [0.0, -1.0, float("nan")])
def test_an_area_of_zero_raises(area):
    with pytest.raises((ParameterError, BudgetError)):
        FocusConfig(GOALS["rare"], search=SearchConfig(area=area))
