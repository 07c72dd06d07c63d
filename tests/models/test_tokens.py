"""Tokens on the grid of their image."""

from __future__ import annotations

import pytest

from foveate.models.preprocess import grid_of, is_mean, on_grid

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("n", "size", "grid"),
    [
        (49, (224, 224), (7, 7)),
        (98, (224, 448), (7, 14)),
        (6, (48, 32), (3, 2)),
        (256, (224, 224), (16, 16)),  # patches of 14
        (1, (8, 8), (1, 1)),
        (28, (230, 115), (7, 4)),  # patches of 32, the rest filled up
    ],
)
def test_the_grid_has_the_shape_of_the_image(n, size, grid):
    assert grid_of(n, size) == grid


@pytest.mark.parametrize(("n", "size"), [(50, (224, 224)), (47, (224, 224)), (0, (8, 8))])
def test_what_does_not_tile_the_image_is_refused(n, size):
    with pytest.raises(ValueError, match="do not tile"):
        grid_of(n, size)


def test_tokens_are_row_major():
    tokens = torch.arange(6.0).view(1, 6, 1)
    assert on_grid(tokens, (20, 30))[0, :, :, 0].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_mean_is_recognised_up_to_rounding():
    tokens = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    mean = tokens.mean(dim=(1, 2))
    assert is_mean(tokens, mean * (1 + 1e-6))
    assert not is_mean(tokens, mean * 1.01)
    assert not is_mean(tokens, mean[:, :4])
