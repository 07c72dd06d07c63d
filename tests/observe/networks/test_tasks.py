"""The tasks in the training loop: what they train, what they learn, and going on after a stop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foveate.errors import ParameterError
from foveate.models.fit import FitSettings, fit
from foveate.models.weights import random_weights
from foveate.observe.networks.sizes import Shape, architecture_of
from foveate.observe.networks.tasks import random_masks, sampled_masks

torch = pytest.importorskip("torch")
tasks = pytest.importorskip("foveate.observe.networks.tasks")
fills = pytest.importorskip("foveate.observe.networks.lr_fill")
layout = pytest.importorskip("foveate.observe.networks.lr_fill")
representation_loss = tasks.representation_loss

CPU = torch.device("cpu")
SHAPE = Shape(4, 6, 1, 2, 1, 16, 1, 2, sampler=8, ensemble=2, dropout=0.1)
STILL = replace(SHAPE, dropout=0.0)
SETTINGS = FitSettings(epochs=3, batch_size=4, learning_rate=0.01, checkpoint_seconds=0)


def data(n=8, rows=3, cols=4, seed=0, shape=SHAPE):
    """Scenes with a few tiles gone; HR is a linear map of LR with something of the scene's own."""
    draw = torch.Generator().manual_seed(seed)
    r, k = shape.lr_side, shape.hr_side
    lr = torch.randn(n, rows * r, cols * r, shape.lr_dim, generator=draw)
    given = torch.randn(shape.lr_dim, shape.hr_dim, generator=torch.Generator().manual_seed(9))
    own = torch.randn(n, 1, 1, shape.hr_dim, generator=draw)
    hr = layout.repeat(layout.pooled(lr, r) @ given, k) / 2 + own
    here = np.random.default_rng(seed).random((n, rows, cols)) < 0.9
    return tasks.Data(lr.half(), hr.half(), hr.half(), here)


def solved(net, train):
    fills.solve(net, train.lr, train.hr, train.valid, 0.1)
    return net


def predictor(train, name="kriged", shape=STILL, seed=0):
    net = tasks.new_predictor(shape, architecture_of(name), conv_fill=True, seed=seed)
    if net.fill is not None:
        solved(net.fill, train)
    return net


def weights(net):
    return {name: tensor.numpy().tobytes() for name, tensor in net.state_dict().items()}


def make(kind):
    """Return a task of a kind, anew from the same start."""
    train, val = data(), data(4, seed=1)
    if kind == "fill":
        net = solved(random_weights(lambda: fills.Fill(SHAPE, conv=True)), train)
        return tasks.FillTask(net, train, val, CPU)
    if kind == "sampler":
        worth = tuple(d.lr[..., 0].float().sigmoid().numpy() for d in (train, val))
        filled = (train.hr, val.hr)
        net = tasks.new_sampler(SHAPE, 0)
        return tasks.SamplerTask(net, train, val, filled, worth, CPU)
    net = predictor(train, "plain" if kind == "plain" else "kriged", SHAPE)
    scores = train.lr[..., 0].float().numpy() if kind == "stage two" else None
    return tasks.PredictorTask(net, train, val, CPU, scores=scores, kriging=kind == "kriging")


KINDS = ["fill", "kriging", "stage one", "stage two", "plain", "sampler"]


class Stops:
    """A task that is killed in the middle."""

    def __init__(self, task, after):
        self.task, self.left = task, after
        self.net, self.rows, self.validate = task.net, task.rows, task.validate

    def loss(self, rows, draw):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return self.task.loss(rows, draw)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_was_killed_goes_on_to_the_same_weights(tmp_path, kind):
    whole, resumed = make(kind), make(kind)
    start = weights(whole.net)
    expected = fit(whole, SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        fit(Stops(make(kind), 3), SETTINGS, checkpoint=tmp_path / "c.pt")
    found = fit(resumed, SETTINGS, checkpoint=tmp_path / "c.pt")
    assert weights(resumed.net) == weights(whole.net) != start
    assert found == expected


@pytest.mark.parametrize("kind", KINDS)
def test_validation_gives_the_same_each_time_and_changes_nothing(kind):
    task = make(kind)
    task.net.eval()
    before = weights(task.net)
    with torch.no_grad():
        torch.rand(3)
        first = task.validate()
        assert task.validate() == first == make_evaluated(kind)
    assert weights(task.net) == before
    assert -1 <= first["score"] <= 1


def make_evaluated(kind):
    task = make(kind)
    task.net.eval()
    return task.validate()


@pytest.mark.parametrize("kind", ["stage one", "stage two"])
def test_the_fill_stays_as_it_is(kind):
    task = make(kind)
    before = weights(task.net.fill)
    blocks = weights(task.net.blocks)
    fit(task, SETTINGS)
    assert weights(task.net.fill) == before
    assert weights(task.net.blocks) != blocks
    assert weights(task.net.kriging) != weights(make(kind).net.kriging)


def test_kriging_trains_nothing_else():
    task = make("kriging")
    before = weights(task.net)
    fit(task, SETTINGS)
    changed = {name for name, value in weights(task.net).items() if value != before[name]}
    assert "kriging.gate" in changed
    assert all(name.startswith("kriging.") or name == "mu" for name in changed)
    again = tasks.PredictorTask(task.net, data(), data(4, seed=1), CPU)
    assert all(p.requires_grad for p in again.net.blocks.parameters())
    with pytest.raises(ParameterError, match="without kriging"):
        tasks.PredictorTask(predictor(data(), "residual"), data(), data(), CPU, kriging=True)


def test_the_loss_of_a_step_by_hand():
    train, rows = data(), np.array([5, 0, 2])
    task = tasks.PredictorTask(predictor(train), train, train, CPU, norm=0.3)
    found = float(task.loss(rows, np.random.default_rng(7)).detach())
    masks = random_masks(train.valid[rows], np.random.default_rng(7))
    lr, hr, target = train.batch(rows, CPU)
    with torch.no_grad():
        tokens = task.net(lr, hr, torch.from_numpy(masks)).tokens
    weight = np.where(masks, 0.25, 1.0) * train.valid[rows]  # what is known counts less
    weight = torch.from_numpy(weight.repeat(2, 1).repeat(2, 2))
    there = layout.repeat(torch.from_numpy(train.valid[rows]), 2)
    mu = 0.01 * target[there].mean(0)  # the first step of the running mean
    expected = representation_loss(tokens, target, mu, weight, norm=0.3)
    assert 0.3 < masks.mean() < 0.7
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_a_step_leaves_dropout_out_of_the_fill_and_takes_its_own_scores(monkeypatch):
    task, rows = make("stage two"), np.array([6, 1])
    task.net.train()
    given = []

    def masks(here, scores, draw):
        given.append(scores)
        return sampled_masks(here, scores, draw)

    monkeypatch.setattr(tasks, "sampled_masks", masks)
    task.loss(rows, np.random.default_rng(0))
    assert np.array_equal(given[0], data().lr[rows][..., 0].float().numpy())
    assert task.net.blocks.training
    assert not any(part.training for part in task.net.fill.modules())


def test_kriging_learns_what_a_scene_has_of_its_own():
    train, val = data(24), data(8, seed=1)
    task = tasks.PredictorTask(predictor(train), train, val, CPU, kriging=True)
    task.net.eval()
    with torch.no_grad():
        before = task.validate()["score"]
    after = fit(task, replace(SETTINGS, epochs=10, learning_rate=0.03)).epochs[-1]["score"]
    assert after > before + 0.1


@pytest.mark.parametrize("name", ["kriged", "literal"])
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 4), (2, 1)])
def test_small_grids_can_be_trained(name, rows, cols):
    train, val = data(4, rows, cols), data(4, rows, cols, 1)
    val.valid[:] = True
    train.valid[:3] = False  # a batch may have no tiles at all
    task = tasks.PredictorTask(
        tasks.new_predictor(STILL, architecture_of(name), conv_fill=False, seed=0), train, val, CPU
    )
    history = fit(task, replace(SETTINGS, batch_size=1))
    assert np.isfinite(history.epochs[-1]["spread"])
    assert task.net.mu.isfinite().all()


def test_a_collapsed_predictor_shows_no_spread():
    train = data()
    net = predictor(train, "literal")
    torch.nn.init.zeros_(net.outlet.weight)
    task = tasks.PredictorTask(net.eval(), train, data(4, seed=1), CPU)
    with torch.no_grad():
        assert task.validate()["spread"] < 1e-3
        net.mu.copy_(net.outlet.bias)  # at the mean, where a constant has nothing to say
        assert task.validate()["score"] == pytest.approx(0, abs=1e-6)


def test_the_fill_learns_what_is_not_linear():
    shape = replace(STILL, hr_side=1, sampler=16)

    def planted(n, seed):
        d = data(n, 4, 4, seed, shape)
        hr = torch.cat([d.lr.abs() - 0.8, d.lr[..., :2] * d.lr[..., 2:]], dim=-1)
        return replace(d, hr=hr, target=hr)

    train, val = planted(48, 0), planted(8, 1)
    net = solved(random_weights(lambda: fills.Fill(shape, conv=True)), train)
    task = tasks.FillTask(net, train, val, CPU)
    with torch.no_grad():
        linear = task.validate()["score"]
    history = fit(task, replace(SETTINGS, epochs=25, batch_size=8, learning_rate=0.02))
    assert linear < 0.3
    assert history.epochs[-1]["score"] > linear + 0.3


def test_the_sampler_learns_a_planted_signal():
    train, val = data(32, 4, 4, shape=STILL), data(8, 4, 4, seed=1, shape=STILL)
    worth = tuple((3 * d.lr[..., 1].float()).sigmoid().numpy() for d in (train, val))
    nothing = (torch.zeros_like(train.hr), torch.zeros_like(val.hr))
    task = tasks.SamplerTask(tasks.new_sampler(STILL, 0), train, val, nothing, worth, CPU)
    found = worth[1][val.valid]
    ideal = np.cumsum(np.sort(found)[::-1]) / found.sum()
    best = np.mean([ideal[int(share * found.size) - 1] for share in tasks.VALIDATED])
    history = fit(task, replace(SETTINGS, epochs=12, learning_rate=0.02))
    assert history.epochs[-1]["score"] > 0.9 * best
    with torch.no_grad():
        scores = task.net(val.lr.float(), nothing[1].float()).sigmoid().mean(-1).numpy()
    assert np.corrcoef(scores[val.valid], found)[0, 1] > 0.9


def test_the_linear_part_of_a_sampler_is_a_ridge_on_the_draw_of_each_head():
    from sklearn.linear_model import Ridge

    train = data(30)
    worth = train.lr[..., 0].float().sigmoid().numpy()
    net = tasks.new_sampler(SHAPE, 0)
    task = tasks.SamplerTask(net, train, train, (train.hr,) * 2, (worth,) * 2, CPU)
    assert task.solve([0.2], np.arange(30) % 3) == 0.2
    x = net.evidence(train.hr.float(), train.valid.shape[1]).numpy()
    with torch.no_grad():
        found = net(train.lr.float(), train.hr.float()).numpy()

    def peer(share):
        weight = np.broadcast_to(share[:, None, None], worth.shape)[train.valid]
        rows = x[train.valid].astype(np.float64)
        mean = np.average(rows, axis=0, weights=weight)
        unit = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weight))
        fitted = Ridge(alpha=0.2 * weight.sum())
        fitted.fit(rows / unit, worth[train.valid], sample_weight=weight)
        return 4 * (fitted.predict(rows / unit) - 0.5)

    heads = np.stack([peer(share) for share in task._weights.T], axis=1)
    whole = peer(np.ones(30))
    np.testing.assert_allclose(found[train.valid].mean(axis=1), whole, atol=1e-4)
    expected = heads - heads.mean(axis=1, keepdims=True) + whole[:, None]
    np.testing.assert_allclose(found[train.valid], expected, atol=1e-4)


def test_what_scenes_capture_sums_to_the_score():
    train, val = data(), data(5, seed=1)
    worth = [d.lr[..., 0].float().sigmoid().numpy() for d in (train, val)]
    task = tasks.SamplerTask(
        tasks.new_sampler(SHAPE, 0), train, val, (train.hr, val.hr), worth, CPU
    )
    task.net.eval()
    each = task.captured()
    assert each.shape == (5,)
    assert each.sum() == pytest.approx(task.validate()["score"])
    scores = task._logits(val, val.hr, np.arange(5)).sigmoid().mean(-1).detach().numpy()
    chosen = np.argsort(-scores[val.valid].astype(float), kind="stable")
    expected = [
        worth[1][val.valid][chosen[: max(1, int(share * len(chosen)))]].sum()
        / worth[1][val.valid].sum()
        for share in tasks.VALIDATED
    ]
    assert each.sum() == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("members", [1, 3])
def test_each_head_of_a_sampler_has_its_own_draw_of_the_scenes(members):
    shape, train = replace(SHAPE, ensemble=members), data(40)
    worth = np.zeros(train.valid.shape)
    task = tasks.SamplerTask(
        tasks.new_sampler(shape, 0), train, train, (train.hr,) * 2, (worth,) * 2, CPU
    )
    if members == 1:
        assert (task._weights == 1).all()  # one head sees every scene once
    else:
        assert np.unique(task._weights, axis=1).shape[1] == members
        assert task._weights.mean() == pytest.approx(1, abs=0.2)


def test_no_head_is_left_without_a_scene():
    shape, train = replace(SHAPE, ensemble=40), data(1)
    worth = np.zeros(train.valid.shape)
    task = tasks.SamplerTask(
        tasks.new_sampler(shape, 0), train, train, (train.hr,) * 2, (worth,) * 2, CPU
    )
    assert (task._weights.sum(axis=0) > 0).all()


def test_taking_scenes_takes_them_all_along():
    whole = data()
    part = whole.take(np.array([5, 2]))
    assert len(part) == 2
    assert torch.equal(part.hr, whole.hr[[5, 2]])
    assert np.array_equal(part.valid, whole.valid[[5, 2]])
    lr, hr, target = part.batch(np.array([1]), CPU)
    assert lr.dtype == hr.dtype == target.dtype == torch.float32
    weight = part.weight(np.array([1]), 2, CPU)
    assert weight.shape == hr.shape[:3]
    assert float(weight.sum()) == 4 * whole.valid[2].sum()


def test_first_weights_are_seeded():
    form = architecture_of("kriged")
    one, same, other = (tasks.new_predictor(SHAPE, form, conv_fill=True, seed=s) for s in (0, 0, 1))
    assert weights(one) == weights(same) != weights(other)
    assert weights(tasks.new_sampler(SHAPE, 3)) == weights(tasks.new_sampler(SHAPE, 3))
