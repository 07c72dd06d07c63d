"""The most likely class and the second, against a full sort."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.classify import predict
from foveate.models.probe import Probe


def head(classes, seed=0):
    draw = np.random.default_rng(seed)
    names = tuple(f"c{i}" for i in range(classes))
    return Probe(names, draw.normal(size=(classes, 4)).astype(np.float32),
                 draw.normal(size=classes).astype(np.float32))  # fmt: skip


@pytest.mark.parametrize("n", [1, 50, 20_000])
def test_it_equals_a_full_sort(n):
    x = np.random.default_rng(1).normal(size=(n, 4)).astype(np.float16)
    probe = head(5)
    found = predict(x, probe)
    chance = probe.probabilities(x)
    order = np.argsort(-probe.logits(x), axis=1, kind="stable")
    np.testing.assert_array_equal(found.first, order[:, 0])
    np.testing.assert_array_equal(found.second, order[:, 1])
    np.testing.assert_allclose(found.probability, np.sort(chance, axis=1)[:, -1], rtol=1e-5)
    assert found.counts().sum() == n


def test_scores_decide_where_probabilities_are_equal():
    probe = Probe(("a", "b", "c"), np.array([[1], [60], [61]], np.float32), np.zeros(3, np.float32))
    found = predict(np.array([[10.0]]), probe)
    assert (found.first[0], found.second[0]) == (2, 1)


def test_of_equal_scores_the_first_label_wins():
    found = predict(np.zeros((2, 4)), Probe(("a", "b"), np.zeros((2, 4)), np.zeros(2)))
    np.testing.assert_array_equal(found.first, [0, 0])
    np.testing.assert_array_equal(found.second, [1, 1])
