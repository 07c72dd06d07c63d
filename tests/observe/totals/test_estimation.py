"""Totals from a sample: the draw, the estimator, and what both are worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import DataError, ParameterError
from foveate.observe.totals.designs import Design, compare, design, evaluate_design
from foveate.observe.totals.estimation import estimate

N = 400


def population(seed=0):
    """Return what tiles hold, mostly nothing, and how likely each is to hold something."""
    random = np.random.default_rng(seed)
    p = random.beta(0.4, 2, N)
    return (random.random(N) < p) * random.gamma(4, 1, N), p


def test_the_estimate_looks_at_drawn_tiles_alone_and_once():
    held, p = population()
    asked = []

    def look(rows):
        asked.append(rows)
        return held[rows]

    found = estimate(np.sqrt(p), 60, look, expected=p, seed=3)
    assert len(asked) == 1
    assert len(set(asked[0].tolist())) == 60
    plan = design(np.sqrt(p), 60, expected=p)
    assert np.array_equal(asked[0], plan.draw(3))
    assert found == plan.total(asked[0], held[asked[0]])
    assert not np.array_equal(plan.draw(3), plan.draw(4))
    assert not np.array_equal(plan.draw(3), plan.draw(3, 1))


@given(seed=st.integers(0, 50), floor=st.floats(0.01, 1), n=st.integers(2, N))
def test_every_tile_can_be_drawn(seed, floor, n):
    size = np.random.default_rng(seed).pareto(1, N) * (np.arange(N) % 3 > 0)
    plan = design(size, n, floor=floor)
    assert plan.probabilities.min() >= floor * n / N * (1 - 1e-9)
    assert plan.probabilities.sum() == pytest.approx(n)
    assert plan.n == n == len(plan.draw(seed))


def test_a_floor_of_one_and_sizes_of_nothing_are_an_even_draw():
    for plan in (design(np.arange(N), 40, floor=1.0), design(np.zeros(N), 40)):
        assert np.allclose(plan.probabilities, 40 / N)


@pytest.mark.parametrize("expected", ["good", "none", "wrong", "nothing"])
def test_intervals_cover_the_truth_for_any_expected_values(expected):
    held, p = population()
    guess = {"good": p, "none": None, "wrong": p[::-1].copy(), "nothing": np.zeros(N)}[expected]
    found = evaluate_design(design(np.sqrt(p), 80, expected=guess), held, 300)
    assert found.coverage > 0.88
    assert abs(found.bias) < 0.04
    assert found.relative_width == pytest.approx(2 * found.relative_error, rel=0.25)


def test_prior_information_saves_tiles():
    held, p = population()
    found = compare(design(np.sqrt(p), 80, expected=p), held, 200)
    assert found["variance_ratio"] > 1.8
    assert found["even"]["repeats"] == 200
    assert found["even"]["mean_square_error"] > found["design"]["mean_square_error"]
    misled = compare(design(np.sqrt(p[::-1]), 80, expected=p[::-1]), held, 200)
    assert misled["variance_ratio"] < 1
    assert misled["design"]["coverage"] > 0.85  # the interval knows


@given(scale=st.floats(0.01, 100), seed=st.integers(0, 20))
def test_expected_values_count_by_their_proportions(scale, seed):
    held, p = population(seed)
    rows = design(p, 50).draw(seed)
    one, other = (design(p, 50, expected=x).total(rows, held[rows]) for x in (p, scale * p))
    assert other.total == pytest.approx(one.total)
    assert other.standard_error == pytest.approx(one.standard_error)
    exact = design(np.ones(N), 50, expected=p).total(rows, 7 * p[rows])
    assert exact.total == pytest.approx(7 * p.sum())
    assert exact.standard_error == pytest.approx(0, abs=1e-6)


def test_all_tiles_give_the_truth():
    held, p = population()
    found = compare(design(p, N, expected=p), held, 3)
    assert found["design"]["coverage"] == 1
    assert found["design"]["relative_error"] == pytest.approx(0, abs=1e-12)


def test_nothing_to_find_has_no_relative_error():
    found = evaluate_design(design(np.ones(N), 20), np.zeros(N), 5)
    assert (found.coverage, found.relative_error, found.bias) == (1, None, None)
    assert compare(design(np.ones(N), 20), np.zeros(N), 2)["variance_ratio"] is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": 1}, ParameterError, "1 of 400 tiles"),
        ({"n": N + 1}, ParameterError, "401 of 400"),
        ({"floor": 0.0}, ParameterError, "a floor of 0.0"),
        ({"floor": 1.5}, ParameterError, "a floor of 1.5"),
        ({"size": -np.ones(N)}, DataError, "a size of -1"),
        ({"size": np.full(N, np.nan)}, DataError, "NaN"),
        ({"expected": -np.ones(N)}, DataError, "an expected value of -1"),
        ({"expected": np.ones(3)}, DataError, "shape"),
    ],
)
def test_impossible_designs_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        design(**({"size": np.ones(N), "n": 20} | change))


def test_values_and_truths_have_to_fit():
    plan = design(np.ones(N), 20)
    rows = plan.draw(0)
    with pytest.raises(DataError, match="values"):
        plan.total(rows, np.ones(19))
    with pytest.raises(DataError, match="NaN"):
        plan.total(rows, np.full(20, np.nan))
    with pytest.raises(ParameterError, match="confidence"):
        plan.total(rows, np.ones(20), confidence=1.0)
    with pytest.raises(DataError, match="true values"):
        evaluate_design(plan, np.ones(3), 5)
    with pytest.raises(ParameterError, match="0 repeats"):
        evaluate_design(plan, np.ones(N), 0)
    assert isinstance(plan, Design)


@given(seed=st.integers(0, 50), of=st.sampled_from(["tiles", "area", "count"]))
def test_an_interval_holds_possible_totals_alone(seed, of):
    random = np.random.default_rng(seed)
    ground = np.ones(N) if of == "tiles" else random.uniform(1, 3, N)
    held = ground * (random.random(N) < random.choice([0, 0.02, 0.5, 0.97, 1]))
    most = np.full(N, np.inf) if of == "count" else ground
    p = random.beta(0.4, 2, N)
    plan = design(np.sqrt(p), 25, expected=p, most=most)
    rows = plan.draw(seed)
    found = plan.total(rows, held[rows])
    seen, left = held[rows].sum(), np.delete(most, rows).sum()
    assert seen * (1 - 1e-9) <= found.low <= found.total <= found.high
    assert found.high <= (seen + left) * (1 + 1e-9)


@pytest.mark.parametrize("full", [False, True])
def test_tiles_that_are_all_alike_leave_room_for_others(full):
    held = np.full(N, float(full))
    held[:8] = not full  # a draw of 30 of 400 misses all eight in every second case
    plan = design(np.ones(N), 30, most=np.ones(N))
    missed = [rows for rows in map(plan.draw, range(40)) if not (rows < 8).any()]
    assert len(missed) > 10
    for rows in missed:
        found = plan.total(rows, held[rows])
        assert found.low <= held.sum() <= found.high
        # No more than what such a draw misses in 5 % of all cases.
        hidden = N - found.low if full else found.high
        assert (1 - 30 / N) ** hidden >= 0.05 > (1 - 30 / N) ** (hidden + 1)
    errors = evaluate_design(plan, held, 200)
    assert errors.coverage > 0.9


def test_nothing_is_said_about_objects_that_were_missed():
    plan = design(np.ones(N), 30, most=np.full(N, np.inf))
    found = plan.total(plan.draw(0), np.zeros(30))
    assert (found.total, found.low, found.high) == (0, 0, 0)
