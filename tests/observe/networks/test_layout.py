"""Grids of tokens and of tiles: inverses, means against loops, and codes of places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.observe import dense

torch = pytest.importorskip("torch")
layout = pytest.importorskip("foveate.observe.networks.lr_fill")

GRIDS = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))


def tokens(rows, cols, side, d, seed=0):
    return torch.randn(
        2, rows * side, cols * side, d, generator=torch.Generator().manual_seed(seed)
    )


@given(GRIDS)
def test_tiles_and_tokens_are_inverses_and_agree_with_the_arrays(grid):
    rows, cols, side, d = grid
    x = tokens(*grid)
    tiles = layout.to_tiles(x, side)
    assert tiles.shape == (2, rows, cols, side * side * d)
    assert torch.equal(layout.to_tokens(tiles, side), x)
    gathered = dense.to_tiles(x.numpy(), side)
    assert np.array_equal(tiles.numpy(), gathered.reshape(2, rows, cols, -1))
    y, x0 = rows - 1, cols - 1  # the tokens of the last tile, row by row
    part = x[:, y * side :, x0 * side :].reshape(2, -1)
    assert torch.equal(tiles[:, y, x0], part)


@given(GRIDS)
def test_a_repeated_value_has_itself_as_mean(grid):
    rows, cols, side, d = grid
    tiles = tokens(rows, cols, 1, d)
    wide = layout.repeat(tiles, side)
    assert wide.shape == (2, rows * side, cols * side, d)
    assert torch.equal(layout.to_tiles(wide, side), tiles.repeat(1, 1, 1, side * side))
    assert torch.allclose(layout.pooled(wide, side), tiles, atol=1e-6)
    mask = tiles[..., 0] > 0
    assert torch.equal(layout.repeat(mask, side), layout.repeat(tiles, side)[..., 0] > 0)


@given(GRIDS)
def test_means_equal_loops(grid):
    rows, cols, side, _ = grid
    x = tokens(*grid).double()
    mean = layout.pooled(x, side)
    near = layout.around(mean)
    for i in range(rows):
        for j in range(cols):
            part = x[:, i * side : (i + 1) * side, j * side : (j + 1) * side]
            assert torch.allclose(mean[:, i, j], part.mean((1, 2)))
            window = mean[:, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
            assert torch.allclose(near[:, i, j], window.mean((1, 2)))


@pytest.mark.parametrize("width", [4, 6, 8, 17, 64])
def test_one_place_has_one_code_at_every_resolution(width):
    device = torch.device("cpu")
    coarse = layout.code(layout.places(3, 5, 1, device), width)
    fine = layout.code(layout.places(3, 5, 3, device), width)
    assert coarse.shape == (3, 5, width)
    assert fine.shape == (9, 15, width)
    assert torch.allclose(fine[1::3, 1::3], coarse, atol=1e-4)  # the token amid each tile


@pytest.mark.parametrize(("width", "side"), [(4, 1), (5, 1), (8, 2), (16, 3), (64, 4)])
def test_places_have_different_codes(width, side):
    code = layout.code(layout.places(7, 20, side, torch.device("cpu")), width).reshape(-1, width)
    distance = torch.cdist(code, code) + 9 * torch.eye(len(code))
    assert distance.min() > 1e-3
    assert code.abs().max() <= 1


def test_a_width_below_four_has_an_empty_code():
    assert not layout.code(layout.places(2, 2, 1, torch.device("cpu")), 3).any()
