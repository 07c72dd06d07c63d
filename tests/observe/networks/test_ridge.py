"""Ridge regression from sums, against the same on all rows at once."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from foveate.observe.networks.lr_fill import Ridge, cross_validated_strength  # noqa: E402


def rows(n=60, inputs=5, outputs=2):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(n, inputs)) * [1, 10, 0.1, 1, 1] + 3
    return x, x @ draw.normal(size=(inputs, outputs)) + draw.normal(size=(n, outputs))


def summed(x, y, weights, inputs=5):
    ridge = Ridge(inputs, y.shape[1])
    for part, weight in zip(np.array_split(np.arange(len(x)), len(weights)), weights, strict=True):
        ridge.add(torch.from_numpy(x[part]), torch.from_numpy(y[part]), weight)
    return ridge


@pytest.mark.parametrize("weights", [[1], [1, 1, 1], [2, 0.5, 1, 3]])
@pytest.mark.parametrize("strength", [0.01, 3.0])
def test_it_is_that_of_all_rows_at_once(weights, strength):
    from sklearn.linear_model import Ridge as Peer

    x, y = rows()
    found, bias = summed(x, y, weights).solve(strength)
    each = np.repeat(weights, [len(p) for p in np.array_split(np.arange(len(x)), len(weights))])
    mean = np.average(x, axis=0, weights=each)
    variance = np.average((x - mean) ** 2, axis=0, weights=each)
    peer = Peer(alpha=strength * variance.mean() * each.sum())
    peer.fit(x, y, sample_weight=each)
    np.testing.assert_allclose(found.numpy(), peer.coef_, rtol=1e-8)
    np.testing.assert_allclose(bias.numpy(), peer.intercept_, rtol=1e-8)


def test_units_do_not_matter_where_each_input_has_its_own_penalty():
    x, y = rows()
    unit = np.array([1, 100, 0.01, 7, 1.0])
    (one, bias), (other, same) = (
        summed(x * by, y, [1, 1]).solve(0.3, "each") for by in (np.ones(5), unit)
    )
    np.testing.assert_allclose(one.numpy(), other.numpy() * unit, rtol=1e-8)
    np.testing.assert_allclose(bias.numpy(), same.numpy(), rtol=1e-8)


def test_an_input_that_never_changes_is_no_harm():
    x, y = rows()
    x[:, 2] = 4.0
    weight, bias = summed(x, y, [1]).solve(0.1, "each")
    assert weight.isfinite().all()
    assert bias.isfinite().all()


def test_sums_of_parts_are_those_of_the_whole():
    x, y = rows()
    whole, parts = (
        summed(x, y, [1, 1]),
        [summed(p, q, [1]) for p, q in ((x[:9], y[:9]), (x[9:], y[9:]))],
    )
    for one, other in zip(whole.solve(0.2), (parts[0] + parts[1]).solve(0.2), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-8)
    assert (parts[0] + parts[1]).weight == whole.weight == 60


def test_the_error_is_that_of_the_rows():
    x, y = rows()
    weight, bias = summed(x[:30], y[:30], [1]).solve(0.1)
    expected = np.square(y[30:] - x[30:] @ weight.numpy().T - bias.numpy()).sum()
    assert summed(x[30:], y[30:], [1]).error(weight, bias) == pytest.approx(expected)


@pytest.mark.parametrize("penalty", ["even", "each"])
def test_the_strength_is_the_best_by_cross_validation(penalty):
    x, y = rows(40)
    y = y + 30 * np.random.default_rng(1).normal(size=y.shape)
    strengths, folds = (0.001, 0.1, 10.0), np.arange(40) % 4
    errors = []
    for strength in strengths:
        error = 0.0
        for fold in range(4):
            rest = folds != fold
            weight, bias = summed(x[rest], y[rest], [1]).solve(strength, penalty)
            error += np.square(y[~rest] - x[~rest] @ weight.numpy().T - bias.numpy()).sum()
        errors.append(error)
    parts = [summed(x[folds == fold], y[folds == fold], [1]) for fold in range(4)]
    assert cross_validated_strength(parts, strengths, penalty) == strengths[int(np.argmin(errors))]
    assert cross_validated_strength(parts[:1], strengths) == 0.001
