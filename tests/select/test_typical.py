"""Typicality, compared with its formula."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.select import typical
from foveate.select.typical import spread


def by_hand(x, labels, neighbours):
    result = np.zeros(len(x))
    for row in range(len(x)):
        others = [r for r in np.flatnonzero(labels == labels[row]) if r != row]
        far = np.sort(np.linalg.norm(x[others] - x[row], axis=1))[:neighbours]
        result[row] = far.mean() if far.size else 0
    return result


@pytest.mark.parametrize("neighbours", [1, 3, 50])
def test_typicality_equals_its_formula(neighbours):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(5, 1, (60, 4)), rng.integers(0, 5, 60)
    labels[0] = 9  # alone
    found = spread(x, labels, neighbours, rng)
    expected = by_hand(x, labels, neighbours)
    for label in set(labels.tolist()):
        mine = labels == label
        width = np.sqrt(np.square(x[mine] - x[mine].mean(axis=0)).sum(axis=1).mean()) or 1
        assert found[mine] * width == pytest.approx(expected[mine], abs=1e-7)


def test_identical_rows_have_equal_typicality():
    rng = np.random.default_rng(1)
    x = np.repeat(rng.normal(100, 1, (4, 7)), 6, axis=0).astype(np.float16)
    found = spread(x, np.zeros(24, np.int64), 5, rng)
    assert found.tolist() == [0] * 24
    assert spread(np.ones((3, 2)), np.zeros(3, np.int64), 2, rng).tolist() == [0, 0, 0]


def test_large_clusters_are_searched_on_a_sample(monkeypatch):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 3))
    whole = spread(x, np.zeros(400, np.int64), 5, rng)
    monkeypatch.setattr(typical, "MEMBERS", 200)
    part = spread(x, np.zeros(400, np.int64), 5, rng)
    assert np.corrcoef(whole, part)[0, 1] > 0.8
    assert part.min() > 0
