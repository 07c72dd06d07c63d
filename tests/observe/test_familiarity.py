"""Distances to the training, against the definition, and scenes that are unlike it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.observe.familiarity import Familiarity, caution, unfamiliar
from foveate.observe.projection import Projection


def distance(found, projection, x):
    return found.distance(projection, x, projection(x))


def tokens(n=400, d=12, seed=0, rank=4):
    """Return tokens near a subspace, as features of real imagery are."""
    draw = np.random.default_rng(seed)
    axes = np.random.default_rng(1).normal(size=(rank, d))
    return draw.normal(size=(n, rank)) @ axes + 0.1 * draw.normal(size=(n, d)) + 5


@given(dim=st.integers(1, 12), seed=st.integers(0, 50))
def test_distances_are_those_of_the_gaussian(dim, seed):
    train = tokens(seed=seed)
    projection = Projection.fit(train, dim)
    found = Familiarity.fit(projection, train, train[:20, None])
    basis = projection.basis.astype(np.float64)
    values = np.maximum((((train - train.mean(0)) @ basis) ** 2).mean(0), 0)
    rest = ((train - train.mean(0)) ** 2).sum(1).mean() - values.sum()
    noise = rest / max(1, 12 - dim)
    outside = np.eye(12) - basis @ basis.T
    precision = (basis / values) @ basis.T + (outside / noise if dim < 12 else 0)
    x = tokens(8, seed=seed + 100)[:, None]
    centred = x[:, 0] - train.mean(0)
    expected = np.einsum("nd,de,ne->n", centred, precision, centred)
    assert distance(found, projection, x) == pytest.approx(expected, rel=1e-2)


def test_the_limit_is_the_largest_distance_of_the_validation_tiles():
    train, held_out = tokens(), tokens(60, seed=1).reshape(15, 4, 12)
    projection = Projection.fit(train, 4)
    found = Familiarity.fit(projection, train, held_out)
    assert found.limit == distance(found, projection, held_out).max()


@pytest.mark.parametrize("dim", [4, 12])
def test_tokens_of_another_kind_are_beyond_the_limit(dim):
    train = tokens()
    projection = Projection.fit(train, dim)
    found = Familiarity.fit(projection, train, tokens(40, seed=1)[:, None])
    strange = 5 + np.random.default_rng(2).normal(size=(3, 5, 1, 12))
    assert (distance(found, projection, strange) > found.limit).all()
    usual = distance(found, projection, tokens(200, seed=3)[:, None])
    assert (usual > found.limit).mean() < 0.1


def test_it_is_restored_from_its_arrays():
    train = tokens()
    projection = Projection.fit(train, 5)
    found = Familiarity.fit(projection, train, train[:20, None])
    again = Familiarity.from_arrays(found.to_arrays())
    x = tokens(9, seed=4)[:, None]
    assert again.limit == found.limit
    assert distance(again, projection, x).tolist() == distance(found, projection, x).tolist()


def test_constant_directions_are_no_distance():
    train = tokens()
    train[:, 0] = 1
    projection = Projection.fit(train, 12)
    found = Familiarity.fit(projection, train, train[:20, None])
    assert np.isfinite(distance(found, projection, train[:, None])).all()


def test_a_scene_is_unfamiliar_if_most_of_its_tiles_are():
    scene = np.array(["a", "b", "a", "b", "a", "c"])
    beyond = np.array([True, True, True, False, False, False])
    assert unfamiliar(scene, beyond).tolist() == [True, False, True, False, True, False]
    assert caution(scene, beyond).startswith("1 of 3 overviews is unlike all overviews")
    assert caution(scene, np.ones(6, bool)).startswith("All 3 overviews are unlike")
    assert not caution(scene, np.zeros(6, bool))
    assert caution(np.zeros(2, int), np.ones(2, bool)).startswith("The overview is unlike")
