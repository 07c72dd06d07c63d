"""The closed form of the additive model against sums over the regions that are kept."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import DataError
from foveate.focus import score as sets
from foveate.focus.score import AdditiveModel


def square(z):
    return (z**2).sum(axis=1)


def brute(x, area, kept, loss=square):
    """Loss of the mean over the kept regions, summed one by one."""
    total, weight = np.zeros(x.shape[1]), 0.0
    for row in np.flatnonzero(kept):
        total, weight = total + area[row] * x[row], weight + area[row]
    return float(loss((total / weight if weight else total)[None])[0])


@pytest.fixture
def model():
    draw = np.random.default_rng(5)
    return AdditiveModel(draw.standard_normal((6, 4)), draw.uniform(0.5, 90, 6), square)


def test_by_hand():
    # Areas 1, 1, 2 with features 1, 3, 2: the image is (1 + 3 + 4) / 4 = 2.
    model = AdditiveModel(np.array([[1.0], [3.0], [2.0]]), np.array([1, 1, 2]), lambda z: z[:, 0])
    eye = np.eye(3, dtype=bool)
    assert model.whole == 2
    assert model.of(eye).tolist() == [1, 3, 2]
    assert model.without(eye) == pytest.approx([7 / 3, 5 / 3, 2])
    assert model.without(eye, np.array([1, 2, 0])) == pytest.approx([2, 1, 3])


def test_leave_one_pair_and_set_out(model):
    n = len(model)
    eye = np.eye(n, dtype=bool)
    np.testing.assert_allclose(
        model.without(eye), [brute(model.x, model.area, ~row) for row in eye], atol=1e-6
    )
    one, other = np.nonzero(~eye)
    kept = ~(eye[one] | eye[other])
    np.testing.assert_allclose(
        model.without(eye[one], other), [brute(model.x, model.area, k) for k in kept], atol=1e-6
    )
    every = np.array([[bool(s >> i & 1) for i in range(n)] for s in range(2**n)])
    np.testing.assert_allclose(
        model.of(every), [brute(model.x, model.area, k) for k in every], atol=1e-6
    )
    np.testing.assert_allclose(
        model.without(every), [brute(model.x, model.area, ~k) for k in every], atol=1e-6
    )


def test_blocks_change_nothing(model, monkeypatch):
    eye = np.eye(len(model), dtype=bool)
    also = np.roll(np.arange(len(model)), 1)
    expected = model.without(eye), model.without(eye, also)
    monkeypatch.setattr(sets, "_SETS_AT_ONCE", 4)
    assert model.without(eye).tolist() == expected[0].tolist()
    assert model.without(eye, also).tolist() == expected[1].tolist()


def test_nothing_left_is_a_mixture_of_nothing():
    seen = []

    def loss(z):
        seen.append(z)
        return np.ones(len(z))

    model = AdditiveModel(np.full((3, 2), 0.1), np.array([0.1, 0.2, 0.3]), loss)
    model.without(np.ones((1, 3), bool))
    model.without(np.array([[True, False, True]]), np.array([1]))
    model.of(np.zeros((1, 3), bool))
    assert [z.tolist() for z in seen] == [[[0, 0]]] * 3


@pytest.mark.parametrize(
    ("x", "area"),
    [
        (np.zeros((0, 2)), np.zeros(0)),
        (np.zeros((2, 2)), np.ones(3)),
        (np.zeros(2), np.ones(2)),
        (np.zeros((2, 2)), np.array([1.0, 0.0])),
        (np.zeros((2, 2)), np.array([1.0, np.nan])),
        (np.array([[1.0, np.nan], [0, 0]]), np.ones(2)),
        (np.array([[1.0, np.inf], [0, 0]]), np.ones(2)),
    ],
)
def test_what_is_no_model(x, area):
    with pytest.raises(DataError):
        AdditiveModel(x, area, square)
