"""The reduction against a singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import foveate.observe.projection
from foveate.errors import DataError
from foveate.observe.projection import Projection


def features(n=300, d=12, seed=0):
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(n, d)) * np.linspace(3, 0.1, d)) @ draw.normal(size=(d, d)) + 5


@given(d=st.integers(1, 10), dim=st.integers(1, 14), seed=st.integers(0, 50))
def test_it_is_the_principal_components_with_one_scale(d, dim, seed):
    x = features(60, d, seed)
    found = Projection.fit(x, dim)
    kept = min(d, dim)
    assert found.dim == kept
    assert np.allclose(found.basis.T @ found.basis, np.eye(kept), atol=1e-5)
    singular = np.linalg.svd(x - x.mean(0), compute_uv=False)[:kept]
    z = found(x)
    assert z.dtype == np.float32
    assert np.allclose(z.mean(0), 0, atol=1e-3)
    assert np.mean(z.astype(float) ** 2) == pytest.approx(1, rel=1e-3)
    variance = (z.astype(float) * found.scale).var(0) * len(x)
    assert np.allclose(variance, singular**2, rtol=1e-2, atol=1e-3 * singular[0] ** 2)


def test_with_every_component_nothing_is_lost():
    x = features()
    found = Projection.fit(x, 99)
    back = found(x) * found.scale @ found.basis.T + found.mean
    assert np.allclose(back, x, atol=1e-4)
    centred, z = x - x.mean(0), found(x).astype(float)
    lengths = np.linalg.norm(centred, axis=1) / found.scale
    assert np.allclose(np.linalg.norm(z, axis=1), lengths, rtol=1e-4)  # nothing is whitened


def test_axes_have_the_same_direction_whatever_the_solver_gives(monkeypatch):
    x, real = features(), np.linalg.eigh
    expected = Projection.fit(x, 5)

    def turned(cov):
        values, vectors = real(cov)
        return values, -vectors

    monkeypatch.setattr(np.linalg, "eigh", turned)
    assert np.array_equal(Projection.fit(x, 5).basis, expected.basis)


def test_leading_axes_are_kept_and_blocks_change_nothing(monkeypatch):
    x = features().reshape(10, 5, 6, 12).astype(np.float16)
    found = Projection.fit(x.reshape(-1, 12), 4)
    whole = found(x)
    assert whole.shape == (10, 5, 6, 4)
    monkeypatch.setattr(foveate.observe.projection, "_BLOCK", 7)
    assert np.allclose(found(x), whole, atol=1e-5)
    again = Projection.fit(x.reshape(-1, 12), 4)
    assert np.allclose(again.basis, found.basis, atol=1e-5)


def test_of_many_tokens_some_are_drawn_under_the_seed(monkeypatch, tmp_path):
    monkeypatch.setattr(foveate.observe.projection, "_MAX_TOKENS", 100)
    np.save(tmp_path / "x.npy", features().astype(np.float16))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    first, same, other = (Projection.fit(x, 3, seed=s) for s in (0, 0, 1))
    assert np.array_equal(first.basis, same.basis)
    assert not np.array_equal(first.mean, other.mean)
    assert np.allclose(first.mean, x[:].mean(0), atol=3)


@pytest.mark.parametrize("x", [np.ones((5, 3)), np.full((5, 3), np.nan), np.ones((0, 3))])
def test_features_that_say_nothing_are_refused(x):
    with pytest.raises(DataError, match="all equal, or not finite"):
        Projection.fit(x, 2)


def test_map_to_tokens_of_another_model():
    x = features(n=400)
    y = Projection.fit(x @ np.random.default_rng(3).normal(size=(12, 20)), 6)
    wanted = y(x @ np.random.default_rng(3).normal(size=(12, 20)))
    way = Projection.toward(x, wanted)
    assert way.dim == 6
    from sklearn.linear_model import Ridge

    peer = Ridge(alpha=1e-2 * x.var(axis=0).mean() * len(x)).fit(x, wanted)
    np.testing.assert_allclose(way(x), peer.predict(x), atol=1e-3)
    assert np.corrcoef(way(x).ravel(), wanted.ravel())[0, 1] > 0.9


def test_map_from_equal_tokens_is_refused():
    with pytest.raises(DataError, match="all equal"):
        Projection.toward(np.ones((5, 3)), np.zeros((5, 2)))
