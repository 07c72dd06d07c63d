"""Greedy coverage against the textbook's loop with all similarities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from foveate.errors import DataError, ParameterError
from foveate.select.constraints import Constraint
from foveate.select.coverage import NEAR, coverage_greedy, median_distance

GRID = [0, 0.25, 0.5, 1, 1.5, 3, 7.75]


@st.composite
def made(draw, largest=30):
    """Rows on a grid (ties are exact), a reference, keys and a width."""
    n, d = draw(st.integers(1, largest)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    x = rng.choice(GRID, (n, d)).astype(draw(st.sampled_from([np.float16, np.float32, np.float64])))
    m = draw(st.sampled_from([n, max(1, n // 2), 1]))
    reference = np.sort(rng.choice(n, m, replace=False))
    sigma = draw(st.sampled_from([None, 1.0, 4.0]))
    return x, reference, rng.permutation(n).astype(np.uint64), sigma


def similarities(x, sigma, reference):
    squared = cdist(x.astype(float), x.astype(float), "sqeuclidean")
    if sigma is not None:
        return np.exp(-squared / sigma**2)
    far = np.linalg.norm(x.astype(float) - x.astype(float).mean(axis=0), axis=1)
    bound = (far.max() + far[reference].max()) ** 2
    return 1 - squared / bound if bound else np.ones_like(squared)


def gains(similar, reference, best, weight):
    """What each row adds: w of each reference row, but 1 of itself."""
    weights = np.full((len(similar), reference.size), weight)
    weights[reference, np.arange(reference.size)] = 1
    return (np.maximum(similar[:, reference] - best, 0) * weights).sum(axis=1)


def textbook(x, reference, ties, sigma):
    n, similar = len(x), similarities(x, sigma, reference)
    weight = n / reference.size
    best, order = np.zeros(reference.size), []
    while len(order) < n:
        gain = gains(similar, reference, best, weight)
        left = [i for i in range(n) if i not in order]
        top = max(gain[i] for i in left)
        row = min((i for i in left if gain[i] >= top - 1e-9), key=lambda i: ties[i])
        order.append(row)
        best = np.maximum(best, similar[row, reference])
    return order


@given(made())
def test_the_order_is_the_textbook_greedy(given_):
    x, reference, ties, sigma = given_
    found = coverage_greedy(x, len(x), reference=reference, ties=ties, sigma=sigma)
    assert found.rows.tolist() == textbook(x, reference, ties, sigma)


@given(made(), st.integers(1, 5), st.integers(1, 9))
def test_few_candidates_and_small_blocks_pick_as_well(given_, candidates, block):
    x, reference, ties, sigma = given_
    n, m = len(x), reference.size
    found = coverage_greedy(
        x, n, reference=reference, ties=ties, sigma=sigma, candidates=candidates, block=block
    )
    assert sorted(found.rows.tolist()) == list(range(n))
    similar, best = similarities(x, sigma, reference), np.zeros(m)
    near = 4 * NEAR * n
    for i, row in enumerate(found.rows):
        gain = gains(similar, reference, best, n / m)
        assert gain[row] >= gain[found.rows[i:]].max() - near
        best = np.maximum(best, similar[row, reference])
    k = n // 2
    short = coverage_greedy(
        x, k, reference=reference, ties=ties, sigma=sigma, candidates=candidates, block=block
    )
    assert short.rows.tolist() == found.rows[:k].tolist()


@pytest.mark.parametrize("sigma", [None, 8.0])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_many_rows_in_several_passes(sigma, metric):
    rng = np.random.default_rng(2)
    x = rng.normal(0, 3, (20, 16))[rng.integers(0, 20, 1500)] + rng.normal(size=(1500, 16))
    ties = rng.permutation(1500).astype(np.uint64)
    reference = np.sort(rng.choice(1500, 400, replace=False))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True) if metric == "cosine" else x
    sigma = None if sigma is None else sigma if metric == "euclidean" else 0.5
    options = {"reference": reference, "ties": ties, "sigma": sigma, "metric": metric}
    found = coverage_greedy(x.astype(np.float32), 60, **options, candidates=300)
    whole = coverage_greedy(x.astype(np.float32), 60, **options, candidates=1500)
    assert found.passes > whole.passes
    squared = cdist(unit, unit, "sqeuclidean")[reference]
    for rows in (found.rows, whole.rows):
        first = squared[:, rows[:1]]
        assert squared[:, rows].min(axis=1).mean() < 0.7 * first.mean()
    assert np.mean(found.rows == whole.rows) > 0.9
    if sigma is not None:
        covered = np.exp(-squared[:, found.rows].min(axis=1) / sigma**2).mean()
        assert found.covered == pytest.approx(covered, rel=1e-4)
    assert np.all(np.diff(found.gain[1:]) <= NEAR * 2)


def test_a_constraint_is_kept_in_each_step():
    rng = np.random.default_rng(0)
    for turn in range(20):
        n = 24
        x = rng.choice(GRID, (n, 2))
        pick, other = rng.integers(0, n, (2, 20))
        constraint = Constraint.of(pick[pick != other], other[pick != other], n)
        ties = rng.permutation(n).astype(np.uint64)
        found = coverage_greedy(
            x, n, reference=np.arange(n), ties=ties, constraint=constraint,
            candidates=3 if turn % 2 else None,
        )  # fmt: skip
        assert sorted(found.rows.tolist()) == list(range(n))
        state = constraint.open()
        first = n - constraint.count(found.rows)
        for row in found.rows[:first]:
            assert state.free[row]
            state.pick(row)
        assert not state.free.any()


def test_given_rows_cover_and_are_not_picked():
    x = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]])
    ties = np.arange(5, dtype=np.uint64)
    found = coverage_greedy(x, 3, reference=np.arange(5), ties=ties, given=[2])
    assert 2 not in found.rows
    assert found.rows[0] in (0, 1)
    everything = coverage_greedy(x, 0, reference=np.arange(5), ties=ties, given=[2])
    assert everything.rows.size == 0


def test_copies_are_picked_last_and_in_the_order_of_their_keys():
    x = np.repeat(np.eye(3), 40, axis=0)
    ties = np.random.default_rng(1).permutation(120).astype(np.uint64)
    found = coverage_greedy(x, 120, reference=np.arange(120), ties=ties, candidates=5)
    assert {row // 40 for row in found.rows[:3].tolist()} == {0, 1, 2}
    rest = found.rows[3:]
    assert ties[rest].tolist() == sorted(ties[rest].tolist())
    assert found.covered == pytest.approx(1)


def test_an_outlier_is_worth_one_row_to_a_gaussian_and_much_to_facility_location():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0, 1, (40, 2)), rng.normal(12, 1, (40, 2)), [[90.0, 90.0]]])
    ties = np.arange(81, dtype=np.uint64)
    options = {"reference": np.arange(81), "ties": ties}
    assert 80 in coverage_greedy(x, 3, **options).rows
    assert 80 not in coverage_greedy(x, 6, **options, sigma=2.0).rows


@pytest.mark.parametrize("sigma", [1e-200, 1e-25])
def test_a_width_near_0_makes_only_copies_similar(sigma):
    x = np.array([[0.0, 1.0], [0.0, 1.0], [2.0, 0.0], [5.0, 5.0]])
    ties = np.array([1, 0, 3, 2], np.uint64)
    found = coverage_greedy(x, 4, reference=np.arange(4), ties=ties, sigma=sigma)
    assert found.rows.tolist() == [1, 3, 2, 0]
    assert found.gain.tolist() == [0.5, 0.25, 0.25, 0]


def test_the_median_distance_leaves_out_copies():
    x = np.array([[0.0, 0], [0, 0], [3, 4], [3, 4]])
    assert median_distance(x, np.arange(4)) == pytest.approx(5)
    assert median_distance(np.zeros((3, 2)), np.arange(3)) == 1
    assert median_distance(x[:1], np.arange(1)) == 1


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"k": 9}, ParameterError, "k=9"),
        ({"metric": "city"}, ParameterError, "metric='city'"),
        ({"sigma": 0.0}, ParameterError, "sigma=0"),
        ({"sigma": float("nan")}, ParameterError, "sigma=nan"),
        ({"reference": np.empty(0, np.int64)}, ParameterError, "no reference"),
        ({"reference": [7]}, ParameterError, "outside"),
        ({"block": 0}, ParameterError, "block=0"),
        ({"candidates": 0}, ParameterError, "candidates=0"),
        ({"x": np.ones((3, 2), int)}, DataError, "dtype int64"),
        ({"x": np.array([[1.0], [np.nan], [2.0]])}, DataError, "NaN"),
        ({"x": np.zeros((3, 2)), "metric": "cosine"}, DataError, "zero"),
    ],
)
def test_impossible_arguments_are_refused(options, error, text):
    given_ = {
        "x": np.eye(3),
        "k": 2,
        "reference": np.arange(3),
        "ties": np.arange(3, dtype=np.uint64),
    }
    with pytest.raises(error, match=text):
        coverage_greedy(**{**given_, **options})
