"""The network of a trained scorer: what it is shown, its scales, its loss and its measure."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from foveate.models.scorer_net import (  # noqa: E402
    ScoredCells,
    ScorerNet,
    ScorerTask,
    correlation,
    inputs_of,
)

WEIGHTS = np.array([1.0, 0.5, 0.0, 0.0])


def cells(seed, n=12):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, 3)).astype(np.float32)
    parts = np.stack([x[:, 0], x[:, 1], np.full(n, np.nan), np.zeros(n)], axis=1)
    share = draw.uniform(1, 2, n)
    return ScoredCells(x, share / share.sum(), draw.integers(0, 3, n), parts)


def task(train, equal=1e-4):
    return ScorerTask(
        train, [cells(9)], weights=WEIGHTS, equal=equal, seed=0, device=torch.device("cpu")
    )


def test_inputs_are_feature_image_area_and_level():
    x = np.float32([[1, 0], [0, 3]])
    found = inputs_of(x, np.array([0.25, 0.75]), np.array([0, 2]))
    log = np.log([0.25, 0.75])
    expected = [[1, 0, 0.25, 2.25, log[0], 0], [0, 3, 0.25, 2.25, log[1], 2]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32


def test_scores_come_back_in_the_scale_of_the_training():
    train = [cells(seed) for seed in range(4)]
    net = ScorerNet(3)
    net.standardise(train)
    with torch.no_grad():
        for parameter in net.layers[-1].parameters():
            parameter.zero_()  # z-scores of 0: the means
    means = np.concatenate([one.parts for one in train]).mean(axis=0)
    found = net.scores(train[0].inputs())
    np.testing.assert_allclose(found, np.tile(np.nan_to_num(means), (12, 1)), atol=1e-6)


def test_parts_that_were_not_measured_are_no_loss():
    train = [cells(seed) for seed in range(3)]
    one = task(train)
    rows = np.arange(3)
    before = float(one.loss(rows, np.random.default_rng(0)).detach())
    with torch.no_grad():
        one.net.layers[-1].bias[2] += 50
    assert float(one.loss(rows, np.random.default_rng(0)).detach()) == before


def test_pairs_that_are_equal_are_not_ranked():
    train = [cells(seed) for seed in range(3)]
    ranked, unranked = task(train), task(train, equal=1e6)
    losses = [float(t.loss(np.arange(3), np.random.default_rng(0)).detach())
              for t in (ranked, unranked)]  # fmt: skip
    inputs = torch.from_numpy(np.concatenate([one.inputs() for one in train]))
    parts = torch.from_numpy(np.nan_to_num(np.concatenate([one.parts for one in train])))
    net = unranked.net
    with torch.no_grad():
        z = (parts.float() - net.part_mean) / net.part_std
        error = ((net(inputs) - z) ** 2)[:, [0, 1, 3]].mean()
    assert losses[1] == pytest.approx(float(error), rel=1e-4)
    assert losses[0] > losses[1] + 0.1


def test_the_correlation_is_of_ranks_of_the_importance():
    parts = cells(0).parts
    assert correlation(parts, parts, WEIGHTS) == pytest.approx(1)
    assert correlation(3 * parts - 1, parts, WEIGHTS) == pytest.approx(1)
    assert correlation(-parts, parts, WEIGHTS) == pytest.approx(-1)
    assert correlation(np.zeros_like(parts), parts, WEIGHTS) == 0
