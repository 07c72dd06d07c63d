"""The sampler: logits of tiles from the overview alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foveate.models.weights import random_weights
from foveate.observe.networks.sizes import Shape

torch = pytest.importorskip("torch")
networks = pytest.importorskip("foveate.observe.networks.sampler")

SHAPE = Shape(5, 4, 2, 3, 1, 8, 1, 2, sampler=8, ensemble=3)


def scenes(n=3, rows=4, cols=3):
    draw = torch.Generator().manual_seed(0)
    lr = torch.randn(n, rows * 2, cols * 2, 5, generator=draw)
    return lr, torch.randn(n, rows * 3, cols * 3, 4, generator=draw)


def new(shape=SHAPE):
    return random_weights(lambda: networks.Sampler(shape)).eval()


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 5), (7, 2)])
@pytest.mark.parametrize("ensemble", [1, 4])
def test_every_tile_of_any_grid_has_a_logit_of_each_head(rows, cols, ensemble):
    net = new(replace(SHAPE, ensemble=ensemble))
    found = net(*scenes(2, rows, cols))
    assert found.shape == (2, rows, cols, ensemble)
    assert found.isfinite().all()


def test_a_scene_has_the_same_scores_in_every_batch():
    net, (lr, fill) = new(), scenes()
    with torch.no_grad():
        together = net(lr, fill)
        alone = torch.cat([net(lr[[i]], fill[[i]]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_it_sees_neighbours_the_scene_and_the_fill():
    net, (lr, fill) = new(), scenes(1, 9, 9)
    other = lr.clone()
    other[:, :2, :2] += 1  # the first tile
    with torch.no_grad():
        change = (net(other, fill) - net(lr, fill)).abs().sum(-1)[0]
        assert change[0, 0] > change[8, 8] > 0
        assert change[0, 1] > change[8, 8]
        assert not torch.equal(net(lr, fill + 1), net(lr, fill))


def test_heads_are_apart():
    net, (lr, fill) = new(), scenes()
    net(lr, fill)[..., 1].sum().backward()
    moved = {
        n.split(".")[1] for n, p in net.named_parameters() if "linear" not in n and p.grad.any()
    }
    assert moved == {"1"}
    assert net.linear.weight.grad.any(dim=1).tolist() == [False, True, False]


def test_it_hears_what_classifiers_say_of_the_fill():
    net, (_, fill) = new(replace(SHAPE, concepts=2)), scenes()
    weight, bias = np.array([[1, 0, 0, 0], [0, 2, 0, 0]], np.float32), np.array([0.5, -1], "f")
    net.set_concept_probe(weight, bias)
    seen = net.evidence(fill, 4).numpy()
    mean = fill.numpy().reshape(3, 4, 3, 3, 3, 4).mean(axis=(2, 4))
    p = 1 / (1 + np.exp(-(mean @ weight.T + bias)))
    np.testing.assert_allclose(seen[..., :4], mean, atol=1e-6)
    np.testing.assert_allclose(seen[..., 4:6], p, atol=1e-6)
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    np.testing.assert_allclose(seen[..., 6:8], entropy, atol=1e-6)
    np.testing.assert_allclose(seen[:, 1, 1, 8:10], p[:, :3, :3].mean(axis=(1, 2)), atol=1e-6)
    scene = np.broadcast_to(p.mean(axis=(1, 2), keepdims=True), p.shape)
    np.testing.assert_allclose(seen[..., 10:], scene, atol=1e-6)
    assert not any(p.requires_grad for p in net.told.parameters())


def test_without_concepts_it_sees_the_fill_alone():
    net, (_, fill) = new(), scenes()
    assert net.evidence(fill, 4).shape == (3, 4, 3, 4)
    net.set_concept_probe(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def test_a_linear_part_that_was_put_is_what_it_says():
    net, (lr, fill) = new(), scenes()
    weight, bias = torch.full((3, 4), 0.01), torch.tensor([0.4, 0.5, 0.6])
    net.set_linear(weight, bias)
    with torch.no_grad():
        told = (net.evidence(fill, 4) @ weight.T + bias).numpy()
        np.testing.assert_allclose(net(lr, fill).numpy(), 4 * (told - 0.5), atol=1e-5)
    net.outlets[1].bias.data.fill_(3)
    net.zero_residual()
    with torch.no_grad():
        np.testing.assert_allclose(net(lr, fill).numpy(), 4 * (told - 0.5), atol=1e-5)
