"""What a look may cost: a third of tiling, what stands in its place, and how many crops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looks import Sized, colour_head, colour_model, land, look

from foveate import focus
from foveate.errors import BudgetError
from foveate.focus.allowance import MOST_CROPS, announcement, make_allowance, tile_count
from foveate.focus.config import GOALS, FocusConfig
from foveate.focus.look import look_allowance
from foveate.focus.question import FocusQuestion


def may(shape, model, goal="rare", **config):
    return look_allowance(shape, model, FocusConfig(GOALS[goal], **config))


def test_a_third_of_tiling_and_no_less_than_24():
    # 24 x 24 tiles of 32 pixels are 576 passes; 8 x 8 are 64, a third of which is 21.3.
    assert may((768, 768), Sized(32)).passes == 192
    assert may((768, 768), Sized(32)).tiling == 576
    assert may((760, 740), Sized(32)).tiling == 576  # the last tiles are cut
    assert may((256, 256), Sized(32)).passes == 24
    assert may((768, 768), Sized(32), passes=7).passes == 7
    assert may((768, 768), Sized(32), passes=0).passes == math.inf


def test_crops_of_another_side():
    # Of a model that takes any size a pass has 256 x 256 pixels: 144 crops of 64 are 9 passes.
    model, _ = colour_model()
    assert may((768, 768), model, crop=64).tiling == 9
    assert may((5120, 5120), model, crop=64).passes == math.ceil(80 * 80 / 16 / 3)


def test_the_default_reaches_for_the_first_cells():
    # All four scores, each of 16 cells twice, for a model of one size: 33 with the overview.
    model = colour_model(size=(32, 32))[0]
    one = may((256, 256), model, goal="paper")
    assert one.passes == one.first == 33
    result = look(land(256, 256), model, goal="paper", question=FocusQuestion(colour_head()))
    assert result.passes <= 33
    assert look(land(512, 512), Sized(32), cells=8, goal="balanced").passes <= 86


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("cells", [1, 7])
@pytest.mark.parametrize("size", [None, 32])
def test_no_default_is_refused(goal, robust, cells, size):
    model = colour_model(size=size and (size, size), texts=True)[0]
    given = {"query": "red"} if goal == "query" else {}
    labels = ["red", "green", "blue"]
    result = focus.look(
        land(200, 280), model, labels=labels, goal=goal, crop=32, robust=robust, cells=cells,
        templates="none", **given,
    )  # fmt: skip
    assert result.passes <= result.allowance.passes


def test_where_tiling_is_advised():
    assert may((256, 256), Sized(32), passes=64).tiling_advised
    assert not may((256, 256), Sized(32), passes=63).tiling_advised
    assert may((96, 96), Sized(32)).tiling_advised  # 9 tiles, and a look may take 24
    assert not may((768, 768), Sized(32)).tiling_advised
    assert may((768, 768), Sized(32), passes=0).tiling_advised
    # One overview costs less than tiling, whatever the budget.
    model = colour_model(tokens=8)[0]
    assert not may((1024, 1024), model, mode="feature", passes=90).tiling_advised
    assert may((256, 256), model, mode="feature").tiling_advised


def test_it_is_in_the_result():
    result = look(land(512, 512), Sized(32))
    facts = result.allowance.facts()
    assert facts == {"passes_budget": 86.0, "passes_tiling": 256.0, "tiling_advised": False}
    assert result.passes_tiling == 256
    assert result.passes <= 86
    assert look(land(256, 256), Sized(32), passes=0).allowance.facts()["passes_budget"] is None


def test_announcement():
    wide, small = make_allowance(None, 580.0), make_allowance(None, 9.0)
    assert announcement({"a": wide}, "foveate embed") == (
        "a: up to 194 passes; tiling takes 580 passes."
    )
    assert announcement({"a": small}, "foveate embed --tile 32").endswith(
        "9 passes, no more than the look: foveate embed --tile 32 encodes every crop."
    )
    assert announcement({"a": small}).endswith("no more than the look.")
    both = announcement({"a": wide, "b": small}, "foveate embed")
    assert both.startswith("2 images: up to 218 passes; tiling takes 589")
    assert "no more than the look for 1 of them" in both
    assert "no limit on passes" in announcement({"a": make_allowance(0, 9.0)})


@pytest.mark.parametrize("shape", [(1, 20_000), (6000, 2)])
@pytest.mark.parametrize("goal", ["rare", "balanced"])
def test_thin_crops_are_counted_too(shape, goal):
    # A crop of 1 x 64 pixels is a thousandth of a pass: passes alone would allow 24,000 of them.
    model, shown = colour_model()
    result = look(land(*shape, cell=8), model, goal=goal, crop=16)
    whole = 24 * (256 / 16) ** 2
    assert len(shown.images) == result.work.images <= min(whole, MOST_CROPS)
    few, shown = colour_model()
    look(land(*shape, cell=8), few, goal=goal, crop=64, passes=2)
    assert len(shown.images) <= 2 * (256 / 64) ** 2 + 1


def test_the_search_says_that_crops_ended_it():
    model, _ = colour_model()
    result = look(land(1, 20_000, cell=8), model, goal="balanced", crop=64, passes=2)
    assert result.result.stop == "crops"
    assert result.passes < 2
    free, shown = colour_model()
    result = look(land(1, 5000, cell=8), free, goal="balanced", crop=64, passes=0)
    assert result.result.stop == "resolution"
    assert len(shown.images) > 5000 / (1.5 * 64)


@given(st.floats(1, 1e5), st.floats(1e-6, 4), st.floats(0, 1e6))
def test_crops_that_cost_a_pass_are_limited_by_passes_alone(passes, crop, tiling):
    one = make_allowance(passes, tiling, crop=crop)
    assert one.passes == passes
    assert one.crops >= math.ceil(passes)
    assert one.crops <= max(math.ceil(passes), MOST_CROPS)
    if crop >= 1:
        assert one.crops == math.ceil(passes)


def test_tiles():
    assert tile_count((1, 100_000), 64) == 1563
    assert tile_count((64, 65), 64) == 2


@pytest.mark.parametrize("budget", [{"passes": None}, {}, None, {"regions": 3}])
def test_no_stated_passes_are_the_default(budget):
    assert focus.look(land(512, 512), Sized(32), budget=budget).allowance.passes == 86


def test_no_passes_are_no_limit():
    result = focus.look(land(256, 256), Sized(32), budget={"passes": 0, "regions": 2})
    assert result.allowance.passes == math.inf
    assert result.result.stop == "resolution"
    with pytest.raises(BudgetError):
        focus.look(land(256, 256), Sized(32), budget={"passes": -1})
    assert np.isfinite(result.passes)
