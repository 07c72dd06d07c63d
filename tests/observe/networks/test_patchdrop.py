"""PatchDrop: what a policy learns by reward, its budget, and going on after a stop."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError
from foveate.models.fit import FitSettings, fit
from foveate.models.weights import random_weights
from foveate.observe.networks.heads import LabelHead
from foveate.observe.networks.sizes import Shape

torch = pytest.importorskip("torch")
policy = pytest.importorskip("foveate.bench.observe.baselines")
patchdrop = pytest.importorskip("foveate.bench.observe.baselines")
materials = pytest.importorskip("foveate.observe.training.dataset")
fills = pytest.importorskip("foveate.observe.networks.lr_fill")
tasks = pytest.importorskip("foveate.observe.networks.tasks")

CPU = torch.device("cpu")
SHAPE = Shape(6, 6, 1, 1, 1, 16, 1, 2, sampler=16, ensemble=3, dropout=0.0)
SETTINGS = FitSettings(epochs=30, batch_size=8, learning_rate=3e-3, weight_decay=0.0)


def scenes(n, seed, rows=6, cols=6):
    """Scenes in which a token of LR tells how likely LR is wrong; HR never is.

    Returns:
        The scenes, and (n, rows, cols) how likely.
    """
    random = np.random.default_rng(seed)
    lr = random.normal(size=(n, rows, cols, 6)).astype(np.float32)
    hard = 1 / (1 + np.exp(-(2 * lr[..., 1] - 2)))
    present = random.random((n, rows, cols, 1)) < 0.5
    wrong = random.random((n, rows, cols, 1)) < hard[..., None]
    return policy.Scenes(
        torch.from_numpy(lr), torch.zeros(n, rows, cols, 6), np.where(present ^ wrong, 0.9, 0.1),
        np.where(present, 0.9, 0.1), present, random.random((n, rows, cols)) < 0.95,
    ), hard  # fmt: skip


def task(obr=0.3, reward="tiles", n=40, **more):
    train, val = scenes(n, 0)[0], scenes(12, 1)[0]
    net = policy.new_patchdrop_net(SHAPE, 0, obr)
    weights = np.ones(1)
    return policy.PolicyTask(net, train, val, CPU, obr=obr, weights=weights, reward=reward, **more)


@pytest.mark.parametrize("obr", [0.12, 0.3])
def test_it_chooses_tiles_whose_hr_changes_the_answer_and_keeps_the_budget(obr):
    made = task(obr)
    history = fit(made, SETTINGS)
    val, hard = scenes(12, 1)
    with torch.no_grad():
        logits = made.net(val.lr, val.fill).numpy()
        found = made.validate()
    here = val.valid
    chosen = (logits > 0) & here
    assert abs(chosen.sum() / here.sum() - obr) < 0.03
    assert found["share"] == pytest.approx(chosen.sum() / here.sum())
    assert found["share"] == history.epochs[history.best - 1]["share"]
    assert hard[chosen].mean() > hard[here & ~chosen].mean() + 0.3
    assert np.corrcoef(logits[here], hard[here])[0, 1] > 0.75
    gain = val.gain(np.ones(1))
    assert gain[chosen].mean() > 2 * gain[here].mean()
    assert found["gain"] == pytest.approx(gain[chosen].sum() / here.sum())


def test_a_reward_of_whole_scenes_keeps_the_budget_too():
    made = task(0.3, "scene")
    fit(made, SETTINGS)
    with torch.no_grad():
        assert abs(made.validate()["share"] - 0.3) < 0.03


def test_the_gradient_by_hand():
    made = task(n=4)
    rows = np.array([2, 0])
    part = made._train
    here = part.valid[rows]
    with torch.no_grad():
        p = made.net(part.lr[rows], part.fill[rows]).sigmoid().numpy().astype(float)
    tried = 0.8 * p + 0.2 * (1 - p)
    action = np.random.default_rng(5).random(p.shape) < tried.astype(np.float32)
    loss = float(made.loss(rows, np.random.default_rng(5)).detach())
    least = 1 / (1 + np.exp(3))
    price = 0.1 * ((p[here] > 0.5).mean() - 0.3)
    assert float(made.net.price) == pytest.approx(price, abs=1e-6)
    cost = price + 4 * (p[here].mean() - (least + (1 - 2 * least) * 0.3))
    gain = part.gain(np.ones(1))
    advantage = (action * 1.0 - (p > 0.5)) * (gain[rows] / gain[part.valid].std() - cost)
    log = np.where(action, np.log(tried), np.log(1 - tried))
    credit = np.where(here, advantage * log, 0).sum(axis=(1, 2)) / here.sum(axis=(1, 2))
    assert loss == pytest.approx(-credit.mean(), rel=1e-4)


def test_what_is_not_there_has_no_say():
    made, other = task(n=4), task(n=4)
    away = ~made._train.valid
    assert away.any()
    other._train.high[away] = 0.5
    other._train.present[away] ^= True
    fresh = policy.PolicyTask(
        policy.new_patchdrop_net(SHAPE, 0, 0.3), other._train, other._val, CPU, obr=0.3,
        weights=np.ones(1),
    )  # fmt: skip
    rows = np.arange(4)
    one, same = (t.loss(rows, np.random.default_rng(1)) for t in (made, fresh))
    assert float(one.detach()) == float(same.detach())


class Stops:
    """A task that is killed in the middle."""

    def __init__(self, made, after):
        self.made, self.left = made, after
        self.net, self.rows, self.validate = made.net, made.rows, made.validate

    def loss(self, rows, draw):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return self.made.loss(rows, draw)


@pytest.mark.parametrize("reward", ["tiles", "scene"])
def test_a_training_that_was_killed_goes_on_with_its_price(tmp_path, reward):
    settings = FitSettings(epochs=3, batch_size=4, learning_rate=0.01, checkpoint_seconds=0)
    whole, resumed = task(0.2, reward, 8), task(0.2, reward, 8)
    expected = fit(whole, settings)
    with pytest.raises(KeyboardInterrupt):
        fit(Stops(task(0.2, reward, 8), 3), settings, checkpoint=tmp_path / "c.pt")
    assert fit(resumed, settings, checkpoint=tmp_path / "c.pt") == expected
    state = whole.net.state_dict()
    assert float(state["price"]) != 0
    assert all(torch.equal(v, state[k]) for k, v in resumed.net.state_dict().items())


def material(n=16):
    """A material whose LR tells in which tiles it is wrong."""
    shape = Shape(4, 2, 1, 1, 1, 8, 1, 2, sampler=8, ensemble=3, dropout=0.0)
    random = np.random.default_rng(0)
    lr = random.normal(size=(n, 4, 4, 4)).astype(np.float32)
    hidden = random.normal(size=(n, 4, 4)) * (lr[..., 1] > 0.5)  # only HR tells
    hr = np.stack([lr[..., 0] + 3 * hidden, hidden], axis=-1).astype(np.float32)
    place = np.argwhere(np.ones((n, 4, 4), bool))
    data = tasks.Data(
        torch.from_numpy(lr), torch.from_numpy(hr), torch.from_numpy(hr), np.ones((n, 4, 4), bool)
    )
    split = np.array(["train"] * (n - 4) + ["val"] * 4)
    found = SimpleNamespace(
        data=data, shape=shape, known=(hr[..., 0] > 0).reshape(-1, 1),
        labels=LabelHead(("a",), np.array([[4, 0]], np.float32), np.zeros(1, np.float32)),
        pairs=SimpleNamespace(place=place, groups=[str(i) for i in range(n)], shape=(4, 4)),
        scenes=lambda name: np.flatnonzero(split == name),
        tiles=lambda numbers: np.flatnonzero(np.isin(place[:, 0], numbers)),
        weights=lambda: np.ones(1),
    )  # fmt: skip
    found.places = partial(materials.TrainingData.places, found)
    return found, hidden


def test_a_policy_of_a_material():
    given, hidden = material()
    fill = random_weights(lambda: fills.Fill(given.shape, conv=False), 0)
    fills.solve(fill, given.data.lr, given.data.hr, given.data.valid, 0.1)
    net, history = patchdrop.train_patchdrop(
        given,
        0.3,
        CPU,
        0,
        fill=fill,
        settings=FitSettings(epochs=40, batch_size=4, learning_rate=0.01),
    )
    scores = patchdrop.patchdrop_scores(net, fill, given.data.lr)
    assert scores.shape == (16, 4, 4)
    assert ((scores > 0) & (scores < 1)).all()
    val = slice(12, None)
    assert scores[val][hidden[val] != 0].mean() > scores[val][hidden[val] == 0].mean() + 0.2
    assert net.shape.ensemble == 1
    best = history.epochs[history.best - 1]
    assert best["share"] == pytest.approx((scores[val] > 0.5).mean())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"obr": 0.0}, ParameterError, "obr=0.0"),
        ({"obr": 1.0}, ParameterError, "obr=1.0"),
        ({"alpha": 0.5}, ParameterError, "alpha=0.5"),
        ({"material": SimpleNamespace(labels=None, known=None)}, DataError, "without labels"),
    ],
)
def test_what_cannot_be_trained(change, error, message):
    given = {"material": material(6)[0], "obr": 0.3, "fill": None, "device": CPU} | change
    with pytest.raises(error, match=message):
        patchdrop.train_patchdrop(**given)
