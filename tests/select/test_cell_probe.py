"""Probes of cells: components in any unit, and sampling of pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.select.cell_probe import CellProbe, Components, draw_pixels, totals


@given(st.integers(0, 99), st.sampled_from(["even", "balanced"]))
def test_drawn_pixels_equal_draws_from_the_flattened_counts(seed, how):
    draw = np.random.default_rng(seed)
    counts = draw.integers(0, 9, (600, 4, 3)) * (draw.random((600, 4, 3)) < 0.4)
    counts[[0, 7, 599]] = 0
    rows = np.flatnonzero(draw.random(600) < 0.7)
    weight = np.ones(3) if how == "even" else 1 / np.maximum(totals(counts, rows), 1)
    drawn = draw_pixels(counts, rows, weight, 200, np.random.default_rng(1))
    chance = np.cumsum((counts[rows] * weight).ravel())
    place = np.searchsorted(chance, np.random.default_rng(1).random(200) * chance[-1], "right")
    assert (counts[rows[drawn[0]], drawn[1], drawn[2]] > 0).all()
    np.testing.assert_array_equal(drawn, np.unravel_index(place, counts[rows].shape))


@pytest.mark.parametrize("unit", [2.0**-40, 1.0, 2.0**40])
def test_components_are_whitened_in_any_unit(unit):
    draw = np.random.default_rng(0)
    x = (draw.normal(size=(50, 9, 4)) * [1, 5, 0.1, 0] * unit).astype(np.float32)
    z = Components.fit(x, np.arange(50), np.random.default_rng(0)).of(x).reshape(-1, 4)
    np.testing.assert_allclose(z.std(axis=0)[:3], 1, atol=0.05)
    assert np.abs(z[:, 3]).max() < 0.1


@pytest.mark.parametrize("classes", [1, 2])
def test_probe_of_no_cells(classes):
    """A fold may have no labelled cell."""
    probe = CellProbe.fit(np.eye(2, dtype=np.float32), np.arange(2) % classes)
    none = np.empty((0, 2), np.float32)
    assert probe.probabilities(none, 3).shape == (0, 3)
    assert probe.predict(none).shape == (0,)


def test_probe_predicts_only_fitted_classes():
    x = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    y = np.repeat([0, 2, 4], 20)
    probe = CellProbe.fit(x, y)
    p = probe.probabilities(x, 6)
    assert probe.predict(x).tolist() == y.tolist()
    assert (p[:, [1, 3, 5]] == 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1)
    single = CellProbe.fit(x, y, np.where(y == 2, 1.0, 0.0))
    assert single.predict(x).tolist() == [2] * 60
    assert single.probabilities(x[:1], 6).tolist() == [[0, 0, 1, 0, 0, 0]]
    none = CellProbe.fit(x, y, np.zeros(60))
    assert none.probabilities(x[:1], 6).tolist() == [[0.0] * 6]
