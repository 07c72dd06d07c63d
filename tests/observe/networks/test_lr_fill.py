"""The LR fill: its closed form is ridge regression, its convolutional part starts at nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from foveate.errors import DataError
from foveate.models.weights import random_weights
from foveate.observe.networks.sizes import Shape

torch = pytest.importorskip("torch")
networks = pytest.importorskip("foveate.observe.networks.lr_fill")

SHAPE = Shape(3, 4, 2, 2, 1, 8, 1, 2, sampler=8, dropout=0.0)


def scenes(n=3, rows=4, cols=3, shape=SHAPE, seed=0):
    draw = torch.Generator().manual_seed(seed)
    r, k = shape.lr_side, shape.hr_side
    lr = torch.randn(n, rows * r, cols * r, shape.lr_dim, generator=draw)
    hr = torch.randn(n, rows * k, cols * k, shape.hr_dim, generator=draw)
    here = torch.rand(n, rows, cols, generator=draw) < 0.8
    return lr, hr, here


def new(shape=SHAPE, *, conv=False):
    return random_weights(lambda: networks.Fill(shape, conv=conv)).eval()


@pytest.mark.parametrize("strength", [0.01, 1.0, 30.0])
def test_the_closed_form_is_ridge_regression(strength):
    lr, hr, here = scenes()
    fill = new()
    networks.solve(fill, lr, hr, here, strength)
    x = networks.context(lr, SHAPE)[here].double().numpy()
    y = networks.to_tiles(hr, 2)[here].double().numpy()
    ridge = Ridge(alpha=strength * len(x) * x.var(axis=0).mean()).fit(x, y)
    assert np.allclose(fill.linear.weight.detach().numpy(), ridge.coef_, atol=1e-5)
    assert np.allclose(fill.linear.bias.detach().numpy(), ridge.intercept_, atol=1e-5)
    with torch.no_grad():
        found = networks.to_tiles(fill(lr), 2)[here].numpy()
    assert np.allclose(found, ridge.predict(x), atol=1e-4)


def test_missing_tiles_do_not_change_the_fit():
    lr, hr, here = scenes()
    first, second = new(), new()
    networks.solve(first, lr, hr, here, 0.1)
    gone = ~networks.to_tokens(here[..., None].repeat(1, 1, 1, 4), 2)
    networks.solve(second, lr, hr.masked_fill(gone, torch.nan), here.numpy(), 0.1)
    assert torch.equal(first.linear.weight, second.linear.weight)
    assert torch.equal(first.linear.bias, second.linear.bias)
    with pytest.raises(DataError, match="no tiles"):
        networks.solve(first, lr, hr, torch.zeros_like(here), 0.1)


def test_a_linear_map_is_found():
    lr, _, here = scenes(8)
    known = new()
    with torch.no_grad():
        hr = known(lr)
    found = new()
    networks.solve(found, lr, hr, here, 1e-9)
    with torch.no_grad():
        assert torch.allclose(found(lr), hr, atol=1e-3)


def test_equal_features_have_a_solution():
    lr, hr, here = scenes()
    fill = new()
    networks.solve(fill, torch.ones_like(lr), hr, here, 0.1)
    mean = networks.to_tiles(hr, 2)[here].mean(0)
    with torch.no_grad():
        found = networks.to_tiles(fill(torch.ones_like(lr)), 2)[0, 0, 0]
    assert torch.allclose(found, mean, atol=1e-3)


@given(rows=st.integers(1, 4), cols=st.integers(1, 4), side=st.integers(1, 3))
def test_convolutional_part_starts_at_zero_on_any_grid(rows, cols, side):
    shape = Shape(3, 4, side, 2, 1, 8, 1, 2, sampler=8)
    fill = new(shape, conv=True)
    lr, _, _ = scenes(2, rows, cols, shape)
    filled = fill(lr)
    assert filled.shape == (2, rows * 2, cols * 2, 4)
    linear = fill.linear(networks.context(lr, shape))
    assert torch.equal(filled, networks.to_tokens(linear, 2))
    filled.square().mean().backward()
    assert fill.outlet.weight.grad.abs().sum() > 0  # and leaves it at the first step


def test_the_convolutional_part_sees_neighbours_and_the_whole_scene():
    fill = new(conv=True)
    torch.nn.init.normal_(fill.outlet.weight, generator=torch.Generator().manual_seed(0))
    torch.nn.init.zeros_(fill.linear.weight)
    lr, _, _ = scenes(1, 9, 9)
    other = lr.clone()
    other[:, :2, :2] *= -1  # the first tile: its norm keeps that, and takes off any shift
    with torch.no_grad():
        change = (networks.to_tiles(fill(other) - fill(lr), 2) ** 2).sum(-1)[0]
    assert change[0, 0] > change[0, 1] > change[8, 8] > 0
