"""Scales, charts, maps and outlines."""

from __future__ import annotations

import base64
import io
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveate.report.assets import heat
from foveate.report.marks import grid_boxes, outlines, path, size, tips
from foveate.report.pages.observe_parts import heat_map, overview
from foveate.report.read_observe import to_grid
from foveate.report.svg import Line, Scale, lines, tag


def test_large_maps_are_thinned():
    drawn = heat_map("x", np.ones((1300, 700)), 1.0)
    assert not drawn.marks
    with Image.open(io.BytesIO(base64.b64decode(drawn.picture.partition(",")[2]))) as image:
        assert max(image.size) <= 512


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 1e4), st.floats(0.1, 1e4))
def test_drawings_keep_to_their_box(rows, cols, height, width):
    drawn = size((height, width))
    assert max(drawn) == pytest.approx(1000)
    for x, y, w, h in grid_boxes((rows, cols), *drawn):
        assert x + w <= drawn[0] + 0.2
        assert y + h <= drawn[1] + 0.2
    assert overview("t", "n", (height, width), [], [], "", "e", "").marks == ""


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(3, 6))
def test_ticks_are_round_few_and_on_the_scale(low, span, gaps):
    scale = Scale(low, low + span)
    found = scale.ticks(gaps)
    assert 1 <= len(found) <= gaps + 1
    assert all(-1e-3 <= scale(v) <= 100 + 1e-3 for v in found)


def test_elements_escape_what_is_not_markup():
    drawn = tag("text", "<b>", tag("i", "x"), ["&", tag("u")], aria_label='"', x=None)
    assert drawn == '<text aria-label="&#34;">&lt;b&gt;<i>x</i>&amp;<u/></text>'


def test_an_interval_around_a_line_is_a_band():
    line = Line("a", [1, 2, 3], [0.5, 0.6, math.nan], "k0", band=[(0.4, 0.6), (0.5, 0.7),
                                                                (math.nan, math.nan)])  # fmt: skip
    drawn = str(lines([line], "a"))
    assert drawn.count('class="band k0"') == 1
    assert drawn.index("band") < drawn.index('class="line k0"')


@given(st.lists(st.floats(-10, 10) | st.just(math.nan), min_size=1, max_size=8))
def test_charts_draw_what_is_known(y):
    drawn = lines([Line("a", list(range(1, len(y) + 1)), y, "k0")], "a", levels=[("l", 0.5)])
    if not np.isfinite(y).any():
        assert drawn is None
        return
    assert str(drawn).count("<circle") == np.isfinite(y).sum()
    assert "nan" not in str(drawn)
    assert '"-0' not in str(drawn)


def test_unknown_values_are_see_through_and_grids_have_holes():
    grid = to_grid(np.array([[0, 0], [1, 2]]), np.array([1.0, 2.0]))
    assert grid.shape == (2, 3)
    assert np.isnan(grid).sum() == 4
    with Image.open(io.BytesIO(base64.b64decode(heat(grid, 1, 2).partition(",")[2]))) as image:
        assert np.asarray(image)[..., 3].ravel().tolist() == [255, 0, 0, 0, 0, 255]


def test_many_outlines_are_joined_to_runs():
    every = grid_boxes((50, 60), 1000, 1000)
    assert path(every).count("z") == 50
    drawn = overview("t", "n", (50, 60), every, ["first"], "", "e", "")
    assert "3,000 outlined tiles" in drawn.alt
    assert drawn.marks.count("<title>") == 1
    assert outlines([]) == tips([], []) == ""


def test_a_smallest_span_keeps_noise_flat():
    line = Line("a", [1, 2], [0.5, 0.501], "k0")
    assert "M0.00 93.10L100.00 6.90" in str(lines([line], "a"))
    assert "M0.00 50.04L100.00 49.96" in str(lines([line], "a", least=1.0))


def test_names_of_near_levels_do_not_meet():
    line = Line("a", [1, 2], [0.2, 0.9], "k0")
    for levels in ([("low", 0.887), ("high", 0.899)], [("high", 0.31), ("low", 0.3)]):
        drawn = str(lines([line], "a", levels=levels))
        below = {
            name: int(re.search(rf'dy="(-?\d+)"[^>]*>{name}<', drawn)[1])
            for name in ("low", "high")
        }
        assert below["high"] < 0 < below["low"]
