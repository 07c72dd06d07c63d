"""The predictor: what reaches what, what it starts from, and any grid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.models.weights import random_weights
from foveate.observe.networks.sizes import ARCHITECTURES, SIZES, Shape, architecture_of, shape_of

torch = pytest.importorskip("torch")
networks = pytest.importorskip("foveate.observe.networks.predictor")
layout = pytest.importorskip("foveate.observe.networks.lr_fill")

SMALL = Shape(5, 8, 2, 2, 1, 16, 2, 4, sampler=8, dropout=0.0)
POOLED = Shape(5, 8, 2, 4, 2, 16, 2, 4, sampler=8, dropout=0.0)
FULL = Shape(5, 8, 2, 14, 7, 24, 2, 6, sampler=8, dropout=0.0)  # "full", scaled down
RESIDUAL = [name for name, form in ARCHITECTURES.items() if form.fill]


def new(name="kriged", shape=SMALL, *, conv_fill=True):
    build = networks.Predictor
    return random_weights(lambda: build(shape, architecture_of(name), conv_fill=conv_fill)).eval()


def opened(name="kriged", shape=SMALL):
    """A predictor whose outlets and gate are no longer at nothing."""
    net = new(name, shape)
    draw = torch.Generator().manual_seed(1)
    torch.nn.init.normal_(net.outlet.weight, std=0.3, generator=draw)
    if net.fill is not None:
        torch.nn.init.normal_(net.fill.outlet.weight, std=0.3, generator=draw)
    if net.kriging is not None:
        torch.nn.init.constant_(net.kriging.gate, 0.2)
    return net


def scenes(n=2, rows=3, cols=4, shape=SMALL, *, share=0.4):
    draw = torch.Generator().manual_seed(0)
    r, k = shape.lr_side, shape.hr_side
    lr = torch.randn(n, rows * r, cols * r, shape.lr_dim, generator=draw)
    hr = torch.randn(n, rows * k, cols * k, shape.hr_dim, generator=draw)
    return lr, hr, torch.rand(n, rows, cols, generator=draw) < share


def reached(net, shape=SMALL):
    """Per tile, whether another content of the one observed tile (0, 0) changes its tokens."""
    lr, hr, _ = scenes(1, 5, 6, shape)
    seen = torch.zeros(1, 5, 6, dtype=torch.bool)
    seen[0, 0, 0] = True
    other = hr.clone()
    k = shape.hr_side
    other[:, :k, :k] += 1
    with torch.no_grad():
        change = net(lr, hr, seen).tokens != net(lr, other, seen).tokens
    return layout.to_tiles(change, k).any(-1)[0]


def train(net, steps=4):
    """Take a few steps of an optimiser from the seeded start."""
    lr, hr, seen = scenes()
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.01)
    for _ in range(steps):
        loss = (net(lr, hr, seen).tokens - hr).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@pytest.mark.parametrize("name", ["kriged", "residual", "plain"])
@pytest.mark.parametrize("shape", [SMALL, POOLED])
def test_observed_tiles_reach_every_tile(name, shape):
    assert reached(opened(name, shape), shape).all()


@pytest.mark.parametrize("name", ["kriged", "residual"])
def test_observed_tiles_reach_every_tile_after_training(name):
    net = new(name)
    assert not reached(net).any()  # at the start it is the fill
    train(net)
    assert reached(net).all()


@pytest.mark.parametrize(
    ("name", "shape"),
    [("literal", SMALL), ("literal", POOLED), ("literal", FULL), ("cross", SMALL)],
)
def test_without_self_attention_it_reaches_its_own_tile_alone(name, shape):
    net = opened(name, shape)
    found = reached(net, shape)
    assert found[0, 0]
    assert found.sum() == 1
    if shape is SMALL:
        train(net)
        assert reached(net).sum() == 1


def test_smooth_upsampling_reaches_the_neighbours():
    found = reached(opened("cross", POOLED), POOLED)
    assert found[:2, :2].all()
    assert found.sum() == 4


@pytest.mark.parametrize("name", RESIDUAL)
@pytest.mark.parametrize("shape", [SMALL, POOLED, FULL])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_residual_forms_start_as_the_fill(name, shape, share):
    net = new(name, shape)
    torch.nn.init.normal_(net.fill.outlet.weight)  # a fill that was trained
    lr, hr, seen = scenes(shape=shape, share=share)
    with torch.no_grad():
        found, fill = net(lr, hr, seen), net.fill(lr)
    assert torch.equal(found.tokens, fill)
    assert torch.equal(found.fill, fill)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_passthrough_and_the_extremes(name, share):
    net = opened(name)
    lr, hr, seen = scenes(share=share)
    where = layout.repeat(seen, 2)
    with torch.no_grad():
        found = net(lr, hr, seen, passthrough=True)
        free = net(lr, hr, seen)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = net(lr, hr, seen, passthrough=True)
    assert torch.equal(found.tokens[where], hr[where])
    assert torch.equal(mixed.tokens[where], hr[where])
    assert torch.equal(found.tokens[~where], free.tokens[~where])
    assert found.tokens.isfinite().all()
    assert found.doubt.shape == seen.shape
    assert found.doubt.min() >= 0
    assert found.doubt.max() <= 1
    if share == 0:
        assert torch.equal(found.doubt, torch.ones_like(found.doubt))


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_unobserved_hr_makes_no_difference(name, share):
    lr, hr, seen = scenes(share=share)
    hidden = ~layout.repeat(seen, 2)[..., None]
    results = []
    for value in (0.0, 7.0, torch.nan, torch.inf):
        net = opened(name)
        done = net(lr, hr.masked_fill(hidden, value), seen, passthrough=True)
        (done.tokens.square().mean() + done.doubt.mean()).backward()
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        assert all(g.isfinite().all() for g in gradients)
        results.append([done.tokens.detach(), done.doubt.detach(), *gradients])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@given(
    name=st.sampled_from(list(ARCHITECTURES)), rows=st.integers(1, 4), cols=st.integers(1, 5),
    shape=st.sampled_from([SMALL, POOLED, FULL]),
)  # fmt: skip
def test_grids_of_any_size(name, rows, cols, shape):
    net = opened(name, shape)
    lr, hr, seen = scenes(2, rows, cols, shape)
    found = net(lr, hr, seen)
    assert found.tokens.shape == found.fill.shape == hr.shape
    assert found.tokens.isfinite().all()
    found.tokens.square().mean().backward()


@pytest.mark.parametrize("size", [size for size in SIZES if size != "full"])
@pytest.mark.parametrize("dims", [(3, 1), (7, 5), (16, 12)])
def test_sizes_by_name_with_features_of_any_length(size, dims):
    shape = shape_of(size, *dims)
    net = new(shape=shape)
    lr, hr, seen = scenes(1, 2, 3, shape)
    with torch.no_grad():
        assert torch.equal(net(lr, hr, seen).tokens, net.fill(lr))


def test_permuting_scenes_permutes_results():
    net = opened()
    lr, hr, seen = scenes(4)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        found, permuted = net(lr, hr, seen), net(lr[order], hr[order], seen[order])
    assert torch.allclose(found.tokens[order], permuted.tokens, atol=1e-4)
    assert torch.allclose(found.doubt[order], permuted.doubt, atol=1e-5)


@pytest.mark.parametrize("name", ["residual", "plain"])
def test_the_distance_to_an_observation_counts(name):
    net = opened(name)
    lr, hr, seen = torch.zeros(1, 6, 8, 5), torch.ones(1, 6, 8, 8), torch.zeros(1, 3, 4).bool()
    seen[0, 0, 0] = True
    with torch.no_grad():
        found = net(lr, hr, seen)
    tokens = (found.tokens - found.fill)[0].flatten(0, 1)
    same = (tokens[:, None] - tokens).abs().amax(
        -1
    ) < 1e-5  # overviews and masks are: places are not
    assert torch.equal(same, torch.eye(len(tokens)).bool())


def test_running_mean_updates_only_on_request():
    net = opened().train()
    lr, hr, seen = scenes()
    net(lr, hr, seen).tokens.mean().backward()
    assert not net.mu.any()
    net.update_mean(torch.full((3, 8), 2.0))
    assert net.mu.tolist() == pytest.approx([0.02] * 8)
    net.update_mean(torch.zeros(0, 8))  # a batch without tiles says nothing
    assert net.mu.tolist() == pytest.approx([0.02] * 8)
    state = net.state_dict()
    other = new()
    other.load_state_dict(state)
    assert torch.equal(other.mu, net.mu)
    assert "mu" not in dict(net.named_parameters())
    for _ in range(2000):
        net.update_mean(torch.full((1, 8), -1.0))
    assert net.mu.tolist() == pytest.approx([-1.0] * 8, abs=1e-3)
