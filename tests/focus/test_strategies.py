"""The three modes of paying: what cells are made of, and what they cost."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looks import Sized, blocks, colour_model, cover, land

from foveate.budget import Ledger
from foveate.errors import DataError, MissingCapabilityError
from foveate.focus.encode import STANDARD, CropEncoder
from foveate.focus.partition import LEAF, SMALLEST, areas, check_image_size, uniform, windows_of
from foveate.focus.strategies import (
    CellFeatures,
    FeatureStrategy,
    WindowStrategy,
    ZoomStrategy,
    second_view,
    valid_cells,
)
from foveate.grid import Tiles, Window
from foveate.raster.sources import ArraySource


def eye_of(image, model=None, valid=None, **given):
    return CropEncoder(ArraySource(image, valid), model or colour_model()[0], Ledger({}), **given)


def seen(n, *, shift=True):
    windows = tuple(Window(i, 0, 1, 1) for i in range(n))
    return CellFeatures(np.eye(n, 3), windows, np.arange(n), np.arange(n) / 10 if shift else None)


def test_rows_of_features():
    part = seen(4).take(np.array([2, 0]))
    assert [w.y for w in part.windows] == [2, 0]
    assert part.scale.tolist() == [2, 0]
    assert part.shift.tolist() == [0.2, 0]
    both = part.join(seen(2))
    assert [w.y for w in both.windows] == [2, 0, 0, 1]
    assert both.shift.tolist() == [0.2, 0, 0, 0.1]
    assert both.x.shape == (4, 3)
    assert part.join(seen(2, shift=False)).shift is None
    assert seen(2, shift=False).take(np.array([1])).shift is None


def test_cells_with_enough_valid_pixels():
    valid = np.ones((32, 32), bool)
    valid[:16, :16] = False
    valid[:12, 16:] = False
    tiles = valid_cells(uniform((32, 32), 4), eye_of(land(32, 32), valid=valid))
    assert windows_of(tiles) == [Window(16, 0, 16, 16), Window(16, 16, 16, 16)]
    low = valid_cells(uniform((32, 32), 4), eye_of(land(32, 32), valid=valid, min_valid=0.0))
    assert areas(low).tolist() == [64, 256, 256]  # a cell without any is never seen


def test_room():
    check_image_size((10, 73), 48)
    with pytest.raises(DataError, match="--crop 18") as caught:
        check_image_size((10, 72), 48)
    check_image_size((10, 72), 18)
    assert "nothing to select" in str(caught.value)


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(8, 512))
def test_a_hint_of_a_smaller_crop_helps(height, width, crop):
    try:
        check_image_size((height, width), crop)
    except DataError as error:
        typed = re.search(r"--crop (\d+)", error.hint)
        if typed is None:
            with pytest.raises(DataError):
                check_image_size((height, width), SMALLEST)
        else:
            assert SMALLEST <= int(typed[1]) < crop
            check_image_size((height, width), int(typed[1]))


# feature


def feature(image, grid=8, valid=None, *, robust=False, size=None):
    model, shown = colour_model(tokens=grid, size=size)
    encoder = eye_of(image, model, valid)
    tokens = encoder.tokens(Window(0, 0, *image.shape[1:]))
    return FeatureStrategy(encoder, tokens, 2, robust=robust), encoder, tokens, shown


def test_cells_are_means_of_tokens():
    image = land(70, 84)
    strategy, encoder, tokens, _ = feature(image, grid=7)
    tiles = uniform((70, 84), 12)
    found = strategy.encode(tiles)
    for i, window in enumerate(found.windows):
        # Pixel by pixel: each has the token that it lies in.
        y = np.arange(window.y, window.y + window.h) * 7 // 70
        x = np.arange(window.x, window.x + window.w) * 7 // 84
        np.testing.assert_allclose(
            found.x[i], tokens[y][:, x].mean(axis=(0, 1), dtype=float), atol=1e-6
        )
    assert found.windows == tuple(windows_of(tiles))
    assert found.shift is None
    assert strategy.price(tiles).tolist() == [0] * 12
    assert encoder.work.images == 1


def test_the_mean_of_all_cells_is_the_embedding():
    image = land(64, 64)
    strategy, _, tokens, _ = feature(image)
    tiles = uniform((64, 64), 11)
    whole = areas(tiles) @ strategy.encode(tiles).x / areas(tiles).sum()
    np.testing.assert_allclose(whole, tokens.mean(axis=(0, 1)), atol=1e-6)
    np.testing.assert_allclose(whole, image.mean(axis=(1, 2)) / 255, atol=1e-6)


def test_points_are_tokens_with_their_areas():
    strategy, _, tokens, _ = feature(land(64, 64))
    tiles = uniform((64, 64), 5)
    points, share = strategy.points(tiles, strategy.encode(tiles))
    assert points.shape == (64, 3)
    np.testing.assert_allclose(share.sum(axis=1), tiles.pixels)
    np.testing.assert_allclose(share.sum(axis=0), 64)
    assert (points == tokens.reshape(64, 3)).all()


def test_tokens_without_valid_pixels_do_not_count():
    image = land(64, 64)
    valid = np.ones((64, 64), bool)
    valid[:, :8] = False  # one column of tokens of eight
    strategy, _, tokens, _ = feature(image, valid=valid)
    found = strategy.encode(uniform((64, 64), 4))
    np.testing.assert_allclose(found.x[0], tokens[:4, 1:4].mean(axis=(0, 1)), atol=1e-6)


def test_the_second_view():
    strategy, encoder, _, shown = feature(land(96, 96), robust=True)
    side = STANDARD // 3
    assert shown.images[1].shape == (3, side, side)
    assert second_view(encoder) == pytest.approx((side / STANDARD) ** 2)
    assert encoder.work.passes == pytest.approx((96**2 + side**2) / STANDARD**2)
    shift = strategy.encode(uniform((96, 96), 9)).shift
    assert shift.shape == (9,)
    assert (shift > 0).all()
    # A model of one size has no cheaper view than another full one.
    _, encoder, _, shown = feature(land(96, 96), robust=True, size=(32, 32))
    assert second_view(encoder) == 1
    assert encoder.work.passes == 2


def test_cells_of_two_tokens_may_be_cut():
    strategy, *_ = feature(land(64, 64))
    tiles = Tiles.of("s", [(0, 0, 16, 16), (0, 16, 15, 16), (16, 0, 64, 16), (0, 32, 8, 8)])
    assert strategy.can_refine(tiles).tolist() == [True, False, True, False]
    assert len(strategy.children(tiles.take([0]))) == 4


# window


def test_the_first_cells_cost_one_pass():
    model = Sized(64)
    encoder = eye_of(land(256, 256), model)
    strategy = WindowStrategy(encoder, 4, 2, robust=False)
    tiles = uniform((256, 256), 16)
    assert strategy.price(tiles).tolist() == [1 / 16] * 16
    found = strategy.encode(tiles)
    assert encoder.work.passes == 1
    assert {image.shape for image in model.shown.images} == {(3, 16, 16)}
    expected = blocks(land(256, 256)[None], 4)[0].reshape(16, 3)
    cosine = (found.x * expected).sum(axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine == pytest.approx(np.ones(16), abs=1e-4)
    children = strategy.children(tiles.take([3]))
    assert strategy.price(children).tolist() == [1 / 16] * 4
    assert strategy.encode(children).scale.tolist() == [found.scale[0] - 1] * 4


def test_robustness_doubles_the_price():
    encoder = eye_of(land(64, 64))
    strategy = WindowStrategy(encoder, 4, 2, robust=True)
    tiles = uniform((64, 64), 4)
    price = strategy.price(tiles)
    assert (strategy.encode(tiles).shift > 0).all()
    assert encoder.work.passes == pytest.approx(price.sum())
    assert price.sum() == pytest.approx(2 * 64 * 64 / STANDARD**2)
    assert strategy.price(tiles).tolist() == [0] * 4


def test_cells_are_cut_down_to_half_the_input():
    strategy = WindowStrategy(eye_of(land(256, 256), Sized(64)), 4, 2, robust=False)
    tiles = Tiles.of("s", [(0, 0, 16, 16), (0, 16, 15, 99), (0, 0, 17, 16)])
    assert strategy.can_refine(tiles).tolist() == [True, False, True]


def test_a_model_of_one_size_shows_no_small_cells():
    with pytest.raises(MissingCapabilityError, match="--mode zoom"):
        WindowStrategy(eye_of(land(64, 64), colour_model(size=(32, 32))[0]), 4, 2, robust=False)


# zoom


def zoom(image, model=None, *, crop=32, coarse="native", valid=None, robust=False, **given):
    encoder = eye_of(image, model, valid, **given)
    return ZoomStrategy(encoder, crop, coarse, 2, robust=robust), encoder


def test_a_leaf_represents_a_cell():
    strategy, encoder = zoom(land(256, 256))
    tiles = uniform((256, 256), 4)
    found = strategy.encode(tiles)
    assert found.scale.tolist() == [-1] * 4
    for cell, leaf in zip(windows_of(tiles), found.windows, strict=True):
        assert max(leaf.h, leaf.w) <= LEAF * 32
        assert cell.y <= leaf.y
        assert leaf.y + leaf.h <= cell.y + cell.h
        assert cell.x <= leaf.x
        assert leaf.x + leaf.w <= cell.x + cell.w
    assert strategy.encode(tiles).windows == found.windows
    assert encoder.work.images == 4


def test_a_cut_costs_one_leaf():
    strategy, _ = zoom(land(256, 200), colour_model(size=(32, 32))[0])
    todo = [uniform((256, 200), 2).take([i]) for i in range(2)]
    for cell in todo:
        leaf = strategy.encode(cell).windows[0]
        if strategy.can_refine(cell)[0]:
            halves = strategy.children(cell)
            assert (len(halves), sorted(strategy.price(halves).tolist())) == (2, [0, 1])
            assert leaf in strategy.encode(halves).windows
            todo.extend(halves.take([i]) for i in range(2))
    assert len(todo) > 50


def test_leaves_depend_on_the_seed():
    tiles = uniform((256, 256), 4)
    one, other = (zoom(land(256, 256), seed=s)[0].encode(tiles).windows for s in (0, 1))
    assert one != other


def test_leaves_avoid_nodata():
    valid = np.zeros((256, 256), bool)
    valid[100:140, 20:70] = True
    strategy, _ = zoom(land(256, 256), valid=valid, min_valid=0.02)
    leaf = strategy.encode(uniform((256, 256), 1)).windows[0]
    assert valid[leaf.y : leaf.y + leaf.h, leaf.x : leaf.x + leaf.w].mean() >= 0.02


def test_a_cell_without_a_valid_half_is_encoded_whole():
    # Half of it is valid, but in none of its halves more than half.
    valid = np.zeros((64, 64), bool)
    valid[::2] = True
    valid[31] = True
    valid[0] = False
    strategy, _ = zoom(land(64, 64), valid=valid, min_valid=0.51, crop=16)
    assert strategy.encode(uniform((64, 64), 1)).windows == (Window(0, 0, 64, 64),)


def test_whole_cells_cost_a_quarter():
    model = Sized(32)
    strategy, encoder = zoom(land(256, 256), model, coarse="whole")
    tiles = Tiles.of("s", [(0, 0, 128, 128), (0, 128, 48, 48), (128, 0, 49, 20)])
    assert strategy.price(tiles).tolist() == [0.25, 1, 0.25]
    found = strategy.encode(tiles)
    assert found.windows == tuple(windows_of(tiles))
    assert found.scale.tolist() == [7, -1, 6]
    shapes = [image.shape[1] for image in model.shown.images]
    assert sorted(shapes) == [16, 16, 32]
    assert encoder.work.passes == 1.5


def test_downsampled_cells_are_not_crops_for_models_of_one_size():
    strategy, _ = zoom(land(256, 256), colour_model(size=(32, 32))[0], coarse="whole")
    tiles = Tiles.of("s", [(0, 0, 128, 128), (0, 128, 48, 48)])
    assert strategy.encode(tiles).scale.tolist() == [7, -1]


@pytest.mark.parametrize("coarse", ["native", "whole"])
@pytest.mark.parametrize("shape", [(256, 256), (20, 900), (900, 7), (97, 96), (130, 500)])
def test_every_cell_can_be_cut_to_leaves(coarse, shape):
    strategy, _ = zoom(np.zeros((3, *shape), np.uint8), coarse=coarse, crop=16)
    tiles = uniform(shape, 2)
    while strategy.can_refine(tiles).any():
        able = strategy.can_refine(tiles)
        children = [strategy.children(tiles.take([i])) for i in np.flatnonzero(able)]
        tiles = Tiles.concat([tiles.take(~able), *children])
    assert (cover(tiles, shape) == 1).all()
    assert max(tiles.h.max(), tiles.w.max()) <= LEAF * 16
    assert tiles.h.min() >= min(shape[0], 8) // 2
    assert tiles.w.min() >= min(shape[1], 8) // 2


def test_zoom_measures_robustness_where_asked():
    strategy, encoder = zoom(land(128, 128), robust=True)
    tiles = uniform((128, 128), 4)
    price = strategy.price(tiles).sum()
    assert (strategy.encode(tiles).shift > 0).all()
    assert encoder.work.passes == pytest.approx(price)
    assert encoder.work.images == 8
