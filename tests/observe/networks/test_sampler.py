"""The sampler: logits of tiles from the overview alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foveate.models.weights import random_weights
from foveate.observe.networks.shape import Shape

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
    moved = {name.split(".")[1] for name, p in net.named_parameters() if p.grad.any()}
    assert moved == {"1"}
