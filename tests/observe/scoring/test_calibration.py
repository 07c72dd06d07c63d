"""Calibrated scores, thresholds and what they spend."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foveate.errors import DataError, ParameterError
from foveate.observe.scoring.calibration import (
    PAPER_POINTS,
    Calibration,
    drift,
    over,
    threshold_for,
)

UNIT = st.floats(0, 1, allow_subnormal=False)
TIED = arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([0, 0.2, 0.5, 0.9, 1]))
SCORES = TIED | arrays(np.float64, st.integers(1, 40), elements=UNIT)
RAW = arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e3, 1e3, allow_subnormal=False))
RHO = st.floats(0, 1) | st.sampled_from([0.12, 0.29, 0.5])


def share_over(scores, tau, costs=1.0):
    """Share of all costs that a threshold selects."""
    cost = np.broadcast_to(costs, len(scores))
    return float(cost[over(scores, tau)].sum() / cost.sum())


def costs_for(n, seed):
    return np.random.default_rng(seed).uniform(0.1, 3, n)


def test_a_score_becomes_the_share_below_it_with_ties_counted_half():
    fitted = Calibration.fit([3, 1, 1, 2])
    assert fitted([1, 2, 3]).tolist() == [0.25, 0.625, 0.875]
    assert fitted([0, 1.5, 9]).tolist() == [0, 0.4375, 1]  # below, between, above
    assert Calibration.fit([5.0])([4, 5, 6]).tolist() == [0, 0.5, 1]


def test_shares_are_of_cost_where_costs_are_given():
    fitted = Calibration.fit([1, 2], costs=[3, 1])
    assert fitted([1, 2]).tolist() == [0.375, 0.875]


def test_a_large_set_is_stored_in_few_knots_and_survives_json():
    scores = np.random.default_rng(0).normal(size=20_000)
    scores[:8000] = 0.25  # zero-inflated
    fitted = Calibration.fit(scores)
    assert fitted.knots.size <= 1001
    exact = (np.searchsorted(np.sort(scores), scores) + np.searchsorted(
        np.sort(scores), scores, side="right")) / 2 / scores.size  # fmt: skip
    assert np.abs(fitted(scores) - exact)[:8000].max() < 1e-9  # the atom is a knot
    assert np.quantile(np.abs(fitted(scores) - exact), 0.99) < 1e-3
    again = Calibration.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert (again(scores) == fitted(scores)).all()


@pytest.mark.parametrize("rho", [0.02, 0.12, 0.5])
def test_one_less_the_budget_is_the_threshold(rho):
    rng = np.random.default_rng(1)
    scores, area = rng.gamma(2, size=5000), rng.uniform(0.5, 2, 5000)
    by_area = Calibration.fit(scores, costs=area)(scores)
    assert share_over(by_area, 1 - rho, costs=area) == pytest.approx(rho, abs=1e-3)
    assert share_over(Calibration.fit(scores)(scores), 1 - rho) == pytest.approx(rho, abs=1e-3)


@given(RAW)
def test_calibration_keeps_the_order_and_stays_in_range(scores):
    mapped = Calibration.fit(scores)(scores)
    assert (np.diff(mapped[np.argsort(scores, kind="stable")]) >= 0).all()
    assert 0 < mapped.min() <= mapped.max() < 1


@given(SCORES, st.integers(0, 9))
def test_permuting_the_set_changes_nothing(scores, seed):
    order = np.random.default_rng(seed).permutation(scores.size)
    a, b = Calibration.fit(scores)(scores)[order], Calibration.fit(scores[order])(scores[order])
    assert a.tolist() == b.tolist()


@given(SCORES, RHO, st.none() | st.integers(0, 9))
def test_a_threshold_comes_as_close_to_the_budget_as_ties_allow(scores, rho, seed):
    costs = np.ones(scores.size) if seed is None else costs_for(scores.size, seed)
    tau = threshold_for(rho, scores, costs=costs)
    chosen = over(scores, tau)
    assert (chosen == (scores > tau)).all()
    assert share_over(scores, tau, costs=costs) <= rho * (1 + 1e-8)
    if not chosen.all():
        level = scores[~chosen].max()
        assert costs[scores >= level].sum() > rho * costs.sum()


@given(RAW, RHO)
def test_thresholds_of_raw_scores_keep_the_budget_too(scores, rho):
    assert (scores > threshold_for(rho, scores)).mean() <= rho * (1 + 1e-8)


@given(SCORES, UNIT, UNIT)
def test_a_higher_threshold_selects_a_subset(scores, a, b):
    low, high = sorted([a, b])
    assert not (over(scores, high) & ~over(scores, low)).any()


def test_both_ends_of_the_threshold():
    scores = np.array([0, 0.5, 1])
    assert over(scores, 0).tolist() == [True, True, True]
    assert over(scores, 1).tolist() == [False, False, False]
    assert over(scores, 0.5).tolist() == [False, False, True]
    assert over(scores.reshape(1, 3), -1).shape == (1, 3)
    with pytest.raises(ParameterError, match="tau=nan"):
        over(scores, np.nan)


def test_thresholds_of_awkward_scores():
    assert threshold_for(1, [0.3, 0.6]) == 0
    assert threshold_for(1, [0.0, 0.6]) <= 0
    assert threshold_for(0, [0.3, 0.6]) == 1
    assert threshold_for(0.4, [7.0, 7.0]) == 7
    assert threshold_for(0.5, [0.2, 0.6]) == pytest.approx(0.4)
    near = np.nextafter(0.5, 1)
    assert over([0.5, near], threshold_for(0.5, [0.5, near])).tolist() == [False, True]
    assert (np.arange(100) / 100 > threshold_for(0.29, np.arange(100) / 100)).sum() == 29


def test_drift_is_relative():
    assert drift(0.132, 0.12) == pytest.approx(0.1)
    assert drift(0, 0.12) == -1
    assert drift(0, 0) == 0
    with pytest.raises(ParameterError, match="expected share of 0"):
        drift(0.1, 0)


def test_the_points_of_the_paper_fall():
    assert list(PAPER_POINTS.values()) == sorted(PAPER_POINTS.values(), reverse=True)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: Calibration.fit([]), DataError, "no scores to calibrate"),
        (lambda: Calibration.fit([[1.0]]), DataError, r"shape \(1, 1\).*Expected.*\(any,\)"),
        (lambda: Calibration.fit(["a"]), DataError, "dtype <U1"),
        (lambda: Calibration.fit([1, np.nan, np.inf]), DataError, "2 rows, first 1, 2"),
        (lambda: Calibration.fit([1, 2], costs=[1]), DataError, r"costs of shape \(1,\).*\(2,\)"),
        (lambda: Calibration.fit([1, 2], costs=[1, -1]), DataError, "costs from -1 to 1"),
        (lambda: Calibration.fit([1, 2], costs=[0, 0]), DataError, "costs from 0 to 0"),
        (lambda: Calibration.fit([1.0])([np.nan]), DataError, "1 scores are NaN"),
        (lambda: threshold_for(1.2, [1.0]), ParameterError, "rho=1.2"),
        (lambda: threshold_for(0.2, []), DataError, "no scores to set"),
    ],
)
def test_errors_name_what_was_given(call, error, text):
    with pytest.raises(error, match=text):
        call()
