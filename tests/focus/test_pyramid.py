"""Successive halving over resolutions: what is seen, what it costs, what is found."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looks import WORDS, Sized, colour_model, cover, land, look, red_query
from scipy.stats import entropy

from foveate.focus.config import GOALS, FocusConfig
from foveate.focus.look import look_allowance, pyramidal
from foveate.focus.partition import overlap
from foveate.focus.pyramid import isolation, surprise
from foveate.grid import Window
from foveate.models import TextSpec

CROP = 32
QUERIES = {"rare": None, "query": red_query()}

windows = st.builds(
    Window, st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40)
)


class Words(Sized):
    """Mean colours at an input size; texts lie among them."""

    text_spec = TextSpec(scale=20.0, bias=0.0, head="cosine", context=77)

    def at_size(self, side):
        return Words(side, self.shown)

    def embed_text(self, texts):
        return np.array([WORDS[text] for text in texts], np.float32)


def found(image, goal="rare", model=None, **more):
    given = {"mode": "zoom", "crop": CROP, "passes": 12, **more}
    return look(image, model or Words(CROP), goal=goal, question=QUERIES[goal], **given)


@given(st.lists(windows, min_size=1, max_size=12), st.integers(0, 99))
def test_isolation_is_the_distance_to_the_nearest_window_elsewhere(places, seed):
    x = np.random.default_rng(seed).normal(size=(len(places), 3)).astype(np.float32)
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    for i, own in enumerate(isolation(x, places)):
        others = [1 - z[i] @ z[j] for j in range(len(z)) if not overlap(places[i], places[j])]
        assert own == pytest.approx(min(others, default=0.0), abs=1e-5)


def test_isolation_of_vectors_of_zeros():
    places = [Window(0, 10 * i, 10, 10) for i in range(3)]
    assert isolation(np.array([[0, 0], [0, 0], [0, 2]]), places).tolist() == [0, 0, 0.5]


def test_surprise_is_a_divergence():
    chances = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.0, 0.0, 1.0]])
    expected = [entropy(row, chances.mean(axis=0)) for row in chances]
    np.testing.assert_allclose(surprise(chances), expected, atol=1e-6)


@pytest.mark.parametrize("goal", QUERIES)
@pytest.mark.parametrize("passes", [2, 3, 6, 12, 40])
@pytest.mark.parametrize("shape", [(256, 256), (200, 330), (640, 96)])
def test_a_look_keeps_its_budget_and_covers_the_image(goal, passes, shape):
    model = Words(CROP)
    result = found(land(*shape, patch=(40, 50, 24, 24)), goal, model, passes=passes)
    assert model.shown.pixels / CROP**2 == pytest.approx(result.passes)
    assert result.passes <= passes
    assert (cover(result.result.state.tiles, shape) == 1).all()
    native = result.result.state.features.scale < 0
    if native.any():
        assert native[result.result.state.chosen.rows].all()
    for one in result.windows:
        assert max(one.h, one.w) <= 1.5 * CROP or not native.any()
        assert one.y + one.h <= shape[0]
        assert one.x + one.w <= shape[1]


def test_views_rise_and_each_is_of_fewer_cells():
    model = Words(CROP)
    found(land(512, 512, patch=(200, 70, 32, 32)), model=model, passes=60)
    count = {
        side: sum(image.shape[-1] == side for image in model.shown.images) for side in (8, 16, 32)
    }
    assert count[8] == 256  # all leaves
    several = list(count.values())
    assert all(a > b for a, b in pairwise(several))
    assert len(model.shown.images) == sum(several)


def test_views_of_a_model_of_any_size_are_parts_of_a_crop():
    model, shown = colour_model(texts=True)
    result = found(land(512, 512, patch=(200, 70, 32, 32)), model=model, passes=2)
    sides = [image.shape[-1] for image in shown.images]
    assert {side: sides.count(side) for side in (8, 16)} == {8: 256, 16: sides.count(16)}
    assert sides.count(16) > sides.count(32) > 0
    assert shown.pixels / 256**2 == pytest.approx(result.passes)


@pytest.mark.parametrize("goal", QUERIES)
@pytest.mark.parametrize("place", [(64, 128), (80, 144), (70, 131)])  # on the grid and off it
@pytest.mark.parametrize("seed", range(3))
def test_a_patch_is_found_wherever_it_lies(goal, place, seed):
    patch = Window(*place, 32, 32)
    image = land(512, 512, seed=seed, patch=patch, spread=20)
    result = found(image, goal, passes=40)
    assert result.passes < 256 / 4
    assert overlap(result.windows[0], patch) > 0.55
    on_grid = place[0] % 32 == 0
    if on_grid:
        assert overlap(result.windows[0], patch) == 1


@pytest.mark.parametrize("passes", [0, 60])
def test_regions_do_not_show_the_same(passes):
    image = land(512, 512, patch=(80, 144, 32, 32), spread=20)
    shown = found(image, passes=passes).windows
    assert len(shown) > 2
    for i, one in enumerate(shown):
        assert all(overlap(one, other) <= 0.5 for other in shown[i + 1 :])


def test_few_passes_refine_the_important_cells():
    # 1,024 leaves take 64 passes at the smallest view; with 12 the search begins with larger cells.
    image = land(1024, 1024, patch=(512, 256, 128, 128))
    result = found(image, "query", passes=12)
    tiles = result.result.state.tiles
    assert np.unique(tiles.level).size > 1
    assert overlap(result.windows[0], Window(512, 256, 128, 128)) > 0.5


def test_the_single_one_is_rarer_than_one_of_four_kinds():
    # Each tile is far from the mean of all; only one has no like.
    draw = np.random.default_rng(0)
    colours = np.array([(200, 20, 20), (20, 200, 20), (20, 20, 200), (180, 180, 20)])
    kinds = draw.permutation(np.arange(64) % 4)
    kinds = colours[kinds].reshape(8, 8, 3)
    kinds[3, 5] = (120, 110, 100)
    image = np.moveaxis(kinds.repeat(32, 0).repeat(32, 1), -1, 0)
    image = np.clip(image + draw.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    assert tuple(found(image).windows[0]) == (96, 160, 32, 32)


def test_what_speaks_against_it():
    def config(name="rare", **more):
        return FocusConfig(GOALS[name], crop=CROP, **more)

    model = Words(CROP)
    assert pyramidal(config(), model)
    assert not pyramidal(config("balanced"), model)
    assert not pyramidal(config(robust=True), model)
    assert not pyramidal(config(mode="window"), model)
    assert not pyramidal(config(), Sized(CROP))  # no texts: what is rare is told by novelty
    assert pyramidal(config("query"), Sized(CROP))

    class Fixed:
        spec = model.spec

    assert not pyramidal(config(), Fixed())
    # First glances are cheap, so fewer passes are needed before anything is seen.
    few, more = (look_allowance((512, 512), model, config(robust=r)).first for r in (False, True))
    assert few == 1 + 16 / 16
    assert few < more


def test_what_can_all_be_seen_sharply_is():
    model = Words(CROP)
    result = found(land(128, 128, patch=(32, 64, 32, 32)), model=model, passes=26)
    assert {image.shape[-1] for image in model.shown.images} == {CROP}
    assert tuple(result.windows[0]) == (32, 64, 32, 32)
    assert 17 < result.passes <= 26  # the overview, 16 crops, and a second look around the find


def test_no_limit_shows_everything_at_native_resolution():
    model = Words(CROP)
    result = found(land(256, 256, patch=(64, 64, 32, 32)), model=model, passes=0)
    assert {image.shape[-1] for image in model.shown.images} == {CROP}
    assert result.result.stop == "resolution"
    assert tuple(result.windows[0]) == (64, 64, 32, 32)
