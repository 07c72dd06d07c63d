"""First partitions: where cells lie, and how they overlap with tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looks import cover

from foveate.errors import DataError
from foveate.focus.partition import (
    apart,
    membership,
    moved_windows,
    overlap,
    significant,
    uniform,
)
from foveate.grid import Tiles, Window

windows = st.builds(
    Window, st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40)
)


def test_a_square_number_in_a_square_image():
    tiles = uniform((64, 64), 16, "scene")
    assert set(zip(tiles.h.tolist(), tiles.w.tolist(), strict=True)) == {(16, 16)}
    assert list(zip(tiles.row.tolist(), tiles.col.tolist(), strict=True)) == [
        (r, c) for r in range(4) for c in range(4)
    ]
    assert tiles.scenes == ("scene",)
    assert tiles.tile_id[5] == "scene/y000016_x000016_16x16"


def test_cells_of_a_long_image_are_square():
    tiles = uniform((100, 400), 4)
    assert tiles.w.tolist() == [100] * 4
    assert tiles.h.tolist() == [100] * 4
    assert uniform((400, 100), 4).h.tolist() == [100] * 4


def test_rows_differ_by_one_cell():
    tiles = uniform((120, 120), 11)
    assert np.bincount(tiles.row).tolist() == [3, 4, 4]
    assert (cover(tiles, (120, 120)) == 1).all()
    assert tiles.pixels.max() / tiles.pixels.min() < 1.1


def test_no_cell_of_a_small_image_is_empty():
    for height in range(1, 9):
        for width in range(1, 9):
            for count in range(1, 40):
                try:
                    tiles = uniform((height, width), count)
                except DataError:
                    continue
                assert len(tiles) == count
                assert (cover(tiles, (height, width)) == 1).all()
                assert min(tiles.h.min(), tiles.w.min()) >= 1


@pytest.mark.parametrize(("shape", "count"), [((3, 3), 16), ((1, 5), 6), ((2, 2), 5)])
def test_too_few_pixels(shape, count):
    with pytest.raises(DataError, match="--cells"):
        uniform(shape, count)


def test_significance_cuts_where_tokens_differ():
    tokens = np.zeros((8, 8, 3), np.float32)
    tokens[..., 0] = 1
    tokens[1, 6] = [0, 0, 1]
    tiles = significant((128, 128), tokens, 16, "scene")
    assert (cover(tiles, (128, 128)) == 1).all()
    assert 13 <= len(tiles) <= 16
    smallest = tiles.pixels == tiles.pixels.min()
    # All of the smallest cells lie in the quarter of the odd token (rows 16-32, columns 96-112).
    assert (tiles.y[smallest] < 64).all()
    assert (tiles.x[smallest] >= 64).all()
    on = (tiles.y < 32) & (tiles.y + tiles.h > 16) & (tiles.x < 112) & (tiles.x + tiles.w > 96)
    assert tiles.pixels[on].max() < tiles.pixels[~on].max()
    # In the order of the image, and the same again.
    assert (np.lexsort((tiles.x, tiles.y)) == np.arange(len(tiles))).all()
    again = significant((128, 128), tokens, 16, "scene")
    assert tiles.tile_id.tolist() == again.tile_id.tolist()


def test_significance_of_a_constant_image():
    tiles = significant((50, 70), np.ones((4, 4, 3), np.float32), 12)
    assert (cover(tiles, (50, 70)) == 1).all()
    assert 9 <= len(tiles) <= 12


def test_significance_stops_at_pixels():
    tokens = np.random.default_rng(0).standard_normal((2, 2, 3)).astype(np.float32)
    tiles = significant((3, 3), tokens, 30)
    assert (cover(tiles, (3, 3)) == 1).all()


def test_cells_between_tokens():
    # Two cells of 3 and 4 pixels on a grid of 2 tokens of 3.5 pixels.
    tiles = Tiles.of("s", [(0, 0, 3, 7), (3, 0, 4, 7)])
    found = membership(tiles, (7, 7), (2, 1))
    assert found[:, :, 0].tolist() == [[21, 0], [3.5, 24.5]]


def test_four_by_four_cells_on_seven_by_seven_tokens():
    tiles = uniform((224, 224), 16)
    found = membership(tiles, (224, 224), (7, 7))
    assert found.shape == (16, 7, 7)
    # 56 pixels are 1.75 tokens of 32: the first cell has 1, and 3/4 of the next.
    assert found[0, :3, :3].tolist() == [[1024, 768, 0], [768, 576, 0], [0, 0, 0]]
    np.testing.assert_allclose(found.sum(axis=(1, 2)), tiles.pixels)
    np.testing.assert_allclose(found.sum(axis=0), 1024)


def pixels(window, side=100):
    mask = np.zeros((side, side), bool)
    mask[window.y : window.y + window.h, window.x : window.x + window.w] = True
    return mask


@given(windows, windows)
def test_overlap_is_what_the_smaller_window_shares(a, b):
    one, two = pixels(a), pixels(b)
    expected = (one & two).sum() / min(one.sum(), two.sum())
    assert overlap(a, b) == pytest.approx(expected)
    assert overlap(a, b) == overlap(b, a)


@given(windows)
def test_moved_windows_stay_in_the_image_and_keep_their_size(window):
    moved = moved_windows(window, (100, 100))
    assert window not in moved
    assert len(set(moved)) == len(moved) <= 8
    for one in moved:
        assert one[2:] == window[2:]
        assert min(one.y, one.x) >= 0
        assert one.y + one.h <= 100
        assert one.x + one.w <= 100
        assert abs(one.y - window.y) <= window.h // 2
        assert abs(one.x - window.x) <= window.w // 2


@given(st.lists(windows, max_size=8))
def test_of_windows_that_show_the_same_the_first_stays(places):
    kept = apart(places, [Window(1000 * i, 0, 1, 1) for i in range(len(places))])
    expected = []
    for i, one in enumerate(places):
        if all(overlap(one, places[j]) <= 0.5 for j in expected):
            expected.append(i)
    assert kept.tolist() == expected
