"""What a model is shown of chosen regions: sizes, places, pixels and sentences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.focus.prompt_layout import (
    arrange_canvas,
    describe_position,
    fit_size,
    layout_prompt,
    mask_outside,
    paint_canvas,
)
from foveate.grid import Grid, Window

SHAPE = (400, 600)


@st.composite
def regions(draw):
    """Cells of a grid over 400 x 600 pixels, some of them, in any order."""
    rows, cols = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    tiles = Grid.split(SHAPE, rows, cols).tiles()
    count = draw(st.integers(1, min(6, len(tiles))))
    chosen = draw(st.permutations(range(len(tiles))))[:count]
    return [tiles.window(i) for i in chosen]


def test_an_image_is_shrunk_to_the_side_and_never_enlarged():
    assert fit_size((4000, 2000), 1000) == (1000, 500)
    assert fit_size((40, 20), 1000) == (40, 20)
    assert fit_size((4000, 2), 100) == (100, 1)


@given(regions(), st.floats(100, 400_000))
def test_regions_on_a_canvas_keep_their_order_and_never_overlap(windows, most):
    canvas = arrange_canvas(windows, (40, 60), most)
    count = np.zeros(canvas.shape, int)
    parts = [*canvas.places, *([canvas.overview] if canvas.overview else [])]
    for part in parts:
        count[part.y : part.y + part.h, part.x : part.x + part.w] += 1
    assert count.max() == 1
    assert count.sum() == sum(part.h * part.w for part in parts)
    assert canvas.shape[0] * canvas.shape[1] <= most
    for one, at in zip(windows, canvas.places, strict=True):
        for other, there in zip(windows, canvas.places, strict=True):
            assert one.y + one.h > other.y or at.y + at.h <= there.y
            assert one.x + one.w > other.x or at.x + at.w <= there.x


@given(regions())
def test_with_room_regions_keep_their_size_and_what_touches_touches(windows):
    canvas = arrange_canvas(windows, (40, 60), 10**9)
    assert canvas.overview == Window(0, 0, 40, 60)
    for one, at in zip(windows, canvas.places, strict=True):
        assert (at.h, at.w) == (one.h, one.w)
        for other, there in zip(windows, canvas.places, strict=True):
            if one.y == other.y and one.x + one.w == other.x:
                assert (at.y, at.x + at.w) == (there.y, there.x)


def test_rows_and_columns_without_regions_are_taken_out():
    windows = [Window(300, 500, 50, 60), Window(0, 100, 50, 60), Window(300, 100, 50, 60)]
    canvas = arrange_canvas(windows, (40, 60), 50 * 400)
    assert canvas.shape == (140, 120)  # two rows of 50 below an overview of 40
    assert canvas.places == (Window(90, 60, 50, 60), Window(40, 0, 50, 60), Window(90, 0, 50, 60))
    column = arrange_canvas(windows[1:], (40, 60), 10**6)
    assert column.shape == (100, 120)  # the overview stands to the left of a column
    assert column.places == (Window(0, 60, 50, 60), Window(50, 60, 50, 60))


def test_the_overview_is_left_out_where_it_has_no_room():
    canvas = arrange_canvas([Window(0, 0, 50, 60)], (40, 60), 50 * 60)
    assert (canvas.shape, canvas.overview) == ((50, 60), None)


def test_a_canvas_holds_the_pixels_of_its_parts_and_black():
    canvas = arrange_canvas([Window(0, 0, 2, 2), Window(10, 10, 2, 2)], (1, 2), 1000)
    overview = np.full((1, 1, 2), 9, np.uint16)
    crops = [np.full((1, 2, 2), value, np.uint16) for value in (5, 7)]
    image = paint_canvas(canvas, crops, overview, [3.0])
    assert image.dtype == np.uint16
    assert image[0].tolist() == [
        [9, 9, 3, 3], [5, 5, 3, 3], [5, 5, 3, 3], [3, 3, 7, 7], [3, 3, 7, 7]
    ]  # fmt: skip


def test_a_mask_is_black_outside_of_the_regions():
    overview = np.arange(1, 17, dtype=np.uint8).reshape(1, 4, 4)
    # Pixels of 10: a region of 5 to 15 covers a part of two.
    image = mask_outside(overview, [Window(5, 30, 10, 10)], (40, 40), [0.0])
    expected = np.zeros((4, 4), int)
    expected[:2, 3] = (4, 8)
    assert image[0].tolist() == expected.tolist()
    tiny = mask_outside(overview, [Window(39, 39, 1, 1)], (40, 40), [0.0])
    assert tiny[0].tolist() == [[0] * 4] * 3 + [[0, 0, 0, 16]]


@pytest.mark.parametrize(
    ("window", "text"),
    [
        (Window(0, 0, 100, 150), "x 0-25 %, y 0-25 % (upper left)"),
        (Window(150, 225, 100, 150), "x 37.5-62.5 %, y 37.5-62.5 % (centre)"),
        (Window(399, 300, 1, 1), "x 50-50.2 %, y 99.8-100 % (lower centre)"),
        (Window(0, 0, 400, 600), "x 0-100 %, y 0-100 % (centre)"),
    ],
)
def test_positions_are_described(window, text):
    assert describe_position(window, SHAPE) == text


def test_the_prompt_tells_what_each_image_shows():
    windows = [Window(0, 0, 100, 150), Window(300, 450, 100, 150)]
    assert layout_prompt("overview+crops", "How many?", windows, SHAPE) == (
        "Image 1 shows a whole scene. "
        "Image 2 shows its region x 0-25 %, y 0-25 % (upper left). "
        "Image 3 shows its region x 75-100 %, y 75-100 % (lower right). How many?"
    )
    canvas = arrange_canvas(windows, (100, 150), 10**6)
    assert layout_prompt("canvas", "How many?", windows, SHAPE, canvas) == (
        "The image is put together from parts of one scene. "
        "Part x 0-50 %, y 0-33.3 %: the whole scene, shrunk. "
        "Part x 0-50 %, y 33.3-66.7 %: region x 0-25 %, y 0-25 % (upper left) of the scene. "
        "Part x 50-100 %, y 66.7-100 %: region x 75-100 %, y 75-100 % (lower right) of the scene. "
        "How many?"
    )
    assert layout_prompt("mask", "How many?", windows, SHAPE) == "How many?"
