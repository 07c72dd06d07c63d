"""Maps, outlines and line charts of observe pages."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveate.report.observed_draw import board, coloured, grid_boxes, heat, to_grid
from foveate.report.observed_lines import Level, Line, chart


def test_large_maps_are_thinned():
    drawn = heat("x", np.ones((1300, 700)), (0, 1))
    assert not drawn.tips
    with Image.open(io.BytesIO(base64.b64decode(drawn.picture.partition(",")[2]))) as image:
        assert max(image.size) <= 512


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 1e4), st.floats(0.1, 1e4))
def test_drawings_keep_to_their_box(rows, cols, height, width):
    values = np.arange(rows * cols, dtype=float).reshape(rows, cols)
    drawn = heat("x", values, (0, max(rows * cols - 1, 1)), shape=(height, width))
    assert max(drawn.width, drawn.height) == pytest.approx(1000)
    for tip in drawn.tips:
        assert tip.x + tip.w <= drawn.width + 0.2
        assert tip.y + tip.h <= drawn.height + 0.2
    assert board("e", "n", (height, width), [], []).outline == ""


@given(st.lists(st.floats(-10, 10) | st.just(math.nan), min_size=1, max_size=8))
def test_charts_draw_what_is_known(y):
    drawn = chart([Line("a", list(range(1, len(y) + 1)), y, "k0")], "a", levels=[Level("l", 0.5)])
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
    with Image.open(io.BytesIO(base64.b64decode(coloured(grid, 1, 2).partition(",")[2]))) as image:
        assert np.asarray(image)[..., 3].ravel().tolist() == [255, 0, 0, 0, 0, 255]


def test_many_outlines_are_joined_to_runs():
    every = grid_boxes((50, 60), 1000, 1000)
    drawn = board("e", "n", (50, 60), every, ["first"])
    assert drawn.outline.count("z") == 50
    assert "3,000 outlined tiles" in drawn.label
    assert [tip.text for tip in drawn.tips] == ["first"]


def test_a_smallest_span_keeps_noise_flat():
    line = Line("a", [1, 2], [0.5, 0.501], "k0")
    assert "M0.00 93.10L100.00 6.90" in str(chart([line], "a"))
    assert "M0.00 50.04L100.00 49.96" in str(chart([line], "a", least=1.0))
