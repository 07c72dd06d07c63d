"""Kriging against a literal solve, and what a posterior must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.models.weights import random_weights
from foveate.observe.networks.sizes import Shape

torch = pytest.importorskip("torch")
networks = pytest.importorskip("foveate.observe.networks.predictor")

SHAPE = Shape(6, 4, 2, 2, 1, 8, 1, 2)


def new(noise=1.0, reach=2.0, gate=1.0):
    """A kriging whose gate lets a share of the posterior mean through."""
    net = random_weights(lambda: networks.Kriging(SHAPE))
    with torch.no_grad():
        net.log_noise.fill_(math.log(noise))
        net.log_reach.fill_(math.log(reach))
        net.mixture.copy_(torch.tensor([0.3, -0.2, 0.9]))
        net.gate.fill_(gate / networks._GATE)
    return net


def scenes(n=2, rows=3, cols=4, seed=0, share=0.4):
    draw = torch.Generator().manual_seed(seed)
    lr = torch.randn(n, rows * 2, cols * 2, 6, generator=draw)
    lack = torch.randn(n, rows, cols, 5, generator=draw)
    return lr, lack, torch.rand(n, rows, cols, generator=draw) < share


def literal(net, lr, lack, seen):
    """Posterior of one scene, solved on the observed tiles alone, in float64."""
    n, at = seen.numel(), seen.numpy().ravel()
    kernel = net.kernel(lr[None])[0].reshape(n, n).double().numpy()
    values = lack.reshape(n, -1).double().numpy()[at]
    noise = float(net.log_noise.exp())
    inner = kernel[np.ix_(at, at)] + noise * np.eye(at.sum())
    across = kernel[:, at]
    mean = across @ np.linalg.solve(inner, values) if at.any() else np.zeros((n, lack.shape[-1]))
    variance = 1 - (across * np.linalg.solve(inner, across.T).T).sum(1) if at.any() else np.ones(n)
    return mean.reshape(lack.shape), variance.reshape(seen.shape)


@given(
    rows=st.integers(1, 5), cols=st.integers(1, 5), seed=st.integers(0, 99),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]), noise=st.sampled_from([0.01, 0.3, 3.0]),
)  # fmt: skip
def test_the_posterior_is_that_of_the_observed_tiles(rows, cols, seed, share, noise):
    net = new(noise)
    lr, lack, seen = scenes(2, rows, cols, seed, share)
    unknown = lack.masked_fill(~seen[..., None], torch.nan)
    with torch.no_grad():
        mean, variance = net(lr, unknown, seen)
        for i in range(2):
            expected = literal(net, lr[i], lack[i], seen[i])
            assert np.allclose(mean[i], expected[0], atol=1e-3)
            assert np.allclose(variance[i], expected[1], atol=1e-3)
    assert variance.min() >= 0
    assert variance.max() <= 1


def test_the_kernel_is_that_of_the_formula():
    net = new(reach=1.5)
    lr, _, _ = scenes(1)
    with torch.no_grad():
        kernel = net.kernel(lr)[0]
    tiles = lr[0].numpy().reshape(3, 2, 4, 2, 6).transpose(0, 2, 1, 3, 4).reshape(3, 4, 24)
    normed = (tiles - tiles.mean(-1, keepdims=True)) / np.sqrt(tiles.var(-1, keepdims=True) + 1e-5)
    like = normed @ net.alike.weight.detach().numpy().T
    share = np.exp([0.3, -0.2, 0.9]) / np.exp([0.3, -0.2, 0.9]).sum()
    for a in np.ndindex(3, 4):
        for b in np.ndindex(3, 4):
            alike = np.exp(-((like[a] - like[b]) ** 2).sum() / 2)
            near = np.exp(-((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (2 * 1.5**2))
            expected = share[0] + share[1] * alike + share[2] * alike * near
            assert kernel[*a, *b] == pytest.approx(expected, abs=1e-5)
        assert kernel[*a, *a] == pytest.approx(1, abs=1e-6)


def test_with_little_noise_what_was_observed_comes_back():
    net = new(noise=1e-3)
    lr, lack, seen = scenes()
    with torch.no_grad():
        mean, variance = net(lr, lack, seen)
    assert (mean - lack)[seen].abs().max() < 0.02
    assert variance[seen].max() < 0.01


def test_more_observations_never_raise_the_variance():
    net = new(0.5)
    lr, lack, seen = scenes(share=0.2)
    more = seen | (torch.rand(seen.shape, generator=torch.Generator().manual_seed(1)) < 0.3)
    with torch.no_grad():
        few, many = net(lr, lack, seen)[1], net(lr, lack, more)[1]
    assert (many <= few + 1e-5).all()
    assert few[seen].max() < few[~seen].min()


def test_the_variance_grows_with_the_distance_from_an_observation():
    net = new(0.1)
    seen = torch.zeros(1, 1, 9, dtype=torch.bool)
    seen[0, 0, 0] = True
    with torch.no_grad():
        variance = net(torch.ones(1, 2, 18, 6), torch.ones(1, 1, 9, 5), seen)[1][0, 0]
    assert (variance[1:] - variance[:-1])[:6].min() > 0


def test_permuting_scenes_permutes_results():
    net = new()
    lr, lack, seen = scenes(5)
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        found = net(lr, lack, seen)
        permuted = net(lr[order], lack[order], seen[order])
    for one, other in zip(found, permuted, strict=True):
        assert torch.allclose(one[order], other, atol=1e-5)


def test_the_gate_starts_closed_and_learns():
    net = random_weights(lambda: networks.Kriging(SHAPE))
    lr, lack, seen = scenes()
    mean, _ = net(lr, lack, seen)
    assert not mean.any()
    (mean - lack).square().mean().backward()
    assert net.gate.grad < 0  # opening it helps at the observed tiles


def test_gradients_are_finite_with_tiles_that_are_equal():
    net = new()
    _, lack, seen = scenes()
    lr = torch.ones(2, 6, 8, 6)
    unknown = lack.masked_fill(~seen[..., None], torch.nan)
    mean, variance = net(lr, unknown, seen)
    (mean.square().mean() + variance.mean()).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_large_grids_and_vanishing_noise_work():
    net = new(noise=1e-12)
    lr, lack, seen = torch.ones(1, 60, 52, 6), torch.randn(1, 30, 26, 5), torch.ones(1, 30, 26)
    with torch.no_grad():
        mean, variance = net(lr, lack, seen.bool())
    assert mean.isfinite().all()
    assert variance.min() >= 0


def test_half_precision_around_it_changes_little():
    net = new()
    lr, lack, seen = scenes()
    with torch.no_grad():
        exact, _ = net(lr, lack, seen)
        with torch.autocast("cpu", torch.bfloat16):
            found, variance = net(lr, lack.bfloat16(), seen)
    assert torch.allclose(found.float(), exact, atol=0.05)
    assert variance.dtype == torch.float32
