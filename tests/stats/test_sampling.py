from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import t as student

from foveate.errors import DataError, ParameterError
from foveate.stats.sampling import draw, inclusion_probabilities, total, total_difference

SIZES = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e3)), min_size=1, max_size=30)


def world(seed=0, n=300):
    """Sizes, values about in proportion to them, and a prediction that sees more: (3, n)."""
    rng = np.random.default_rng(seed)
    size = rng.lognormal(0, 0.7, n)
    value = size * rng.gamma(4, 0.25, n)
    return size, value, value * rng.normal(1, 0.1, n) + 0.3


def simulate(estimate, truth, pi, runs=2000):
    """Relative bias in standard errors of the simulation, coverage, and true over stated error."""
    rng = np.random.default_rng(7)
    found = [estimate(draw(pi, rng)) for _ in range(runs)]
    totals = np.array([each.total for each in found])
    bias = (totals.mean() - truth) / (totals.std() / runs**0.5)
    covered = np.mean([each.low <= truth <= each.high for each in found])
    stated = np.mean([each.standard_error**2 for each in found]) ** 0.5
    return bias, covered, totals.std() / stated


def test_probabilities_by_hand():
    assert inclusion_probabilities([1, 2, 1], 2).tolist() == [0.5, 1, 0.5]
    assert inclusion_probabilities([1, 1, 8], 2).tolist() == [0.5, 0.5, 1]
    assert inclusion_probabilities([1, 1, 0], 1).tolist() == [0.5, 0.5, 0]
    assert inclusion_probabilities([5, 7], 2).tolist() == [1, 1]
    floored = inclusion_probabilities([0, 1, 9], 1, floor=0.2)
    assert floored.tolist() == pytest.approx([0.2, 0.2, 0.6])


def test_rows_of_no_size_share_what_the_others_leave():
    assert inclusion_probabilities([0, 0, 0, 0], 1, floor=0.1).tolist() == [0.25] * 4
    assert inclusion_probabilities([3, 9, 0, 0], 3, floor=0.1).tolist() == [1, 1, 0.5, 0.5]
    assert inclusion_probabilities([3, 9, 0], 2).tolist() == [1, 1, 0]


@given(SIZES, st.integers(1, 30), st.floats(0, 1))
def test_probabilities_have_their_sum_and_bounds_and_are_proportional_between(sizes, n, part):
    size = np.array(sizes)
    floor = part * min(n, size.size) / size.size
    reach = size.size if floor > 0 else int((size > 0).sum())
    if not 1 <= n <= reach:
        with pytest.raises(ParameterError, match="rows to draw"):
            inclusion_probabilities(size, n, floor=floor)
        return
    pi = inclusion_probabilities(size, n, floor=floor)
    assert pi.sum() == pytest.approx(n)
    assert (pi >= floor).all()
    assert (pi <= 1).all()
    order = np.argsort(size)
    assert (np.diff(pi[order]) >= -1e-12).all()
    between = (pi > floor * (1 + 1e-6) + 1e-12) & (pi < 1 - 1e-6) & (size > 0)
    if between.any():
        ratio = pi[between] / size[between]
        assert ratio == pytest.approx(np.full(ratio.size, ratio[0]))


@given(SIZES, st.integers(1, 30), st.integers(0, 9))
def test_a_draw_has_its_number_of_different_rows(sizes, n, seed):
    n = min(n, len(sizes))
    pi = inclusion_probabilities(sizes, n, floor=0.01 * n / len(sizes))
    rows = draw(pi, np.random.default_rng(seed))
    assert rows.dtype == np.int64
    assert rows.size == n
    assert (np.diff(rows) > 0).all()
    assert np.isin(np.flatnonzero(pi == 1), rows).all()


def test_rows_are_drawn_as_often_as_they_should():
    pi = inclusion_probabilities([0, 1, 2, 3, 4, 5, 60], 4)
    assert pi[0] == 0
    rng = np.random.default_rng(0)
    runs = 20_000
    times = sum(np.bincount(draw(pi, rng), minlength=7) for _ in range(runs))
    assert times[0] == 0
    assert times[-1] == runs
    assert np.abs(times / runs - pi).max() < 4 * 0.5 / runs**0.5


def test_a_floor_of_n_by_rows_is_a_simple_sample_despite_rounding():
    for rows in range(1, 200):
        for n in (1, 3, 7):
            if n <= rows:
                pi = inclusion_probabilities(np.arange(rows), n, floor=n / rows)
                assert pi == pytest.approx(np.full(rows, n / rows))


def test_probabilities_are_those_of_a_root_finder():
    rng = np.random.default_rng(0)
    for n in (1, 20, 150, 199):
        size = rng.lognormal(0, 3, 200)
        floor = 0.3 * n / 200

        def missing(log_c, size=size, floor=floor, n=n):
            return np.clip(np.exp(log_c) * size, floor, 1).sum() - n

        c = np.exp(brentq(missing, -60, 60, xtol=1e-13))
        expected = np.clip(c * size, floor, 1)
        assert inclusion_probabilities(size, n, floor=floor) == pytest.approx(expected)


def test_every_pair_of_rows_can_be_drawn():
    pi = inclusion_probabilities([1, 1, 2, 2, 3], 2)
    rng = np.random.default_rng(0)
    assert len({tuple(draw(pi, rng)) for _ in range(500)}) == 10


class Top:
    """The highest start that a generator can give."""

    def random(self):
        return np.nextafter(1, 0)

    def permutation(self, rows):
        return rows


def test_the_last_tooth_finds_the_last_row():
    assert draw(np.full(10_000, 0.1), Top())[-1] == 9999
    assert draw([0, 1, 0], Top()).tolist() == [1]


@pytest.mark.parametrize("pi", [[0.5, 0.7], [1.5, 0.5], [-0.5, 0.5]])
def test_probabilities_that_cannot_be_drawn_are_an_error(pi):
    with pytest.raises(DataError, match="the number of rows to draw"):
        draw(pi, np.random.default_rng(0))


def test_the_total_of_a_simple_sample_is_that_of_the_textbook():
    y = np.array([3.0, 5.0, 10.0, 2.0])
    found = total(y, np.full(4, 0.2))  # 4 of 20
    error = 20 * (1 - 0.2) ** 0.5 * y.std(ddof=1) / 2
    assert found.total == pytest.approx(100)
    assert found.standard_error == pytest.approx(error)
    assert found.high - found.total == pytest.approx(student.ppf(0.975, 3) * error)
    assert found.low == pytest.approx(2 * found.total - found.high)
    ratio = total(y, np.full(4, 0.2), population=20)
    assert ratio.total == pytest.approx(found.total)
    assert ratio.standard_error == pytest.approx(found.standard_error)


def test_values_in_proportion_to_the_probabilities_leave_no_doubt():
    pi = inclusion_probabilities(np.arange(1, 50), 9)
    rows = draw(pi, np.random.default_rng(0))
    found = total(pi[rows] * 7, pi[rows])
    assert found.total == pytest.approx(63)
    assert found.standard_error == pytest.approx(0, abs=1e-9)


def test_equal_values_leave_no_doubt_if_the_population_is_counted():
    pi = inclusion_probabilities(np.arange(1, 50), 9)
    rows = draw(pi, np.random.default_rng(0))
    found = total(np.full(9, 3.0), pi[rows], population=49)
    assert found.total == pytest.approx(147)
    assert found.standard_error == pytest.approx(0, abs=1e-9)
    assert total(np.full(9, 3.0), pi[rows]).standard_error > 1


def test_rows_that_are_certain_add_no_variance():
    assert astuple(total([1, 2, 4], [1, 1, 1])) == (7, 7, 7, 0)
    sure = total([1, 2, 4, 100], [0.5, 0.5, 0.5, 1])
    without = total([1, 2, 4], [0.5, 0.5, 0.5])
    assert sure.standard_error == pytest.approx(without.standard_error)
    assert sure.total == pytest.approx(without.total + 100)
    assert total([1, 2], [1, 1], population=2).total == 3


def test_totals_are_unbiased_and_their_intervals_cover():
    size, value, _ = world()
    pi = inclusion_probabilities(size, 30)
    bias, covered, error = simulate(lambda rows: total(value[rows], pi[rows]), value.sum(), pi)
    assert abs(bias) < 3.5
    assert 0.9 <= covered <= 0.98
    assert error == pytest.approx(1, abs=0.1)


def test_totals_with_certain_rows_and_a_floor_are_unbiased_and_cover():
    size, value, _ = world(1)
    size[:20] = 0
    size[20:25] = 300
    pi = inclusion_probabilities(size, 60, floor=0.05)
    assert (pi == 1).sum() >= 5
    bias, covered, error = simulate(lambda rows: total(value[rows], pi[rows]), value.sum(), pi)
    assert abs(bias) < 3.5
    assert 0.9 <= covered <= 0.98
    assert error == pytest.approx(1, abs=0.1)


def test_the_ratio_is_better_where_sizes_say_nothing():
    size, _, _ = world(2)
    value = np.random.default_rng(3).normal(10, 1, size.size)
    pi = inclusion_probabilities(size, 40, floor=0.03)
    rng = np.random.default_rng(4)
    plain, ratio = [], []
    for _ in range(2000):
        rows = draw(pi, rng)
        plain.append(total(value[rows], pi[rows]))
        ratio.append(total(value[rows], pi[rows], population=size.size))
    truth = value.sum()
    totals = np.array([each.total for each in ratio])
    assert totals.mean() == pytest.approx(truth, rel=0.002)
    assert totals.std() < 0.2 * np.std([each.total for each in plain])
    assert 0.9 <= np.mean([each.low <= truth <= each.high for each in ratio]) <= 0.98


def test_predictions_shorten_the_interval_and_leave_the_total_unbiased():
    size, value, predicted = world()
    pi = inclusion_probabilities(size, 30)

    def estimate(rows):
        return total_difference(value[rows], pi[rows], rows, predicted)

    bias, covered, _ = simulate(estimate, value.sum(), pi)
    assert abs(bias) < 3.5
    assert 0.9 <= covered <= 0.98
    rows = draw(pi, np.random.default_rng(0))
    plain = total(value[rows], pi[rows])
    assert estimate(rows).standard_error < 0.7 * plain.standard_error


def test_predictions_that_are_right_leave_no_doubt_and_none_change_nothing():
    size, value, _ = world()
    pi = inclusion_probabilities(size, 30)
    rows = draw(pi, np.random.default_rng(0))
    right = total_difference(value[rows], pi[rows], rows, value)
    assert (right.total, right.standard_error) == (pytest.approx(value.sum()), 0)
    none = total_difference(value[rows], pi[rows], rows, np.zeros(value.size))
    assert none == total(value[rows], pi[rows])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 1], "one integer per value"),
        ([0.0, 1.0, 2.0], "float64"),
        ([0, 1, 1], "2 different rows"),
        ([0, 1, 5], "0 to 4"),
        ([-1, 1, 2], "-1 to 2"),
    ],
)
def test_rows_that_are_not_of_the_population_are_an_error(rows, message):
    with pytest.raises(DataError, match=message):
        total_difference([1, 2, 3], [0.5] * 3, rows, np.zeros(5))


@pytest.mark.parametrize(
    ("y", "pi", "message"),
    [
        ([1, 2], [0.5], r"shape must be \(2,\)"),
        ([1, 2], [0, 0.5], "> 0 and <= 1"),
        ([1, 2], [1.1, 0.5], "> 0 and <= 1"),
        ([1, np.nan], [0.5, 0.5], "1 of 2 values"),
        ([1, 2], [1, 0.5], "one row drawn at random"),
    ],
)
def test_samples_that_say_no_total_are_an_error(y, pi, message):
    with pytest.raises(DataError, match=message):
        total(y, pi)


def test_a_population_is_no_smaller_than_its_sample():
    with pytest.raises(ParameterError, match="population of 2"):
        total([1, 2, 3], [0.5] * 3, population=2)


def test_a_confidence_is_a_share():
    with pytest.raises(ParameterError, match="confidence of 1"):
        total([1, 2, 3], [0.5] * 3, confidence=1)


@pytest.mark.parametrize(
    ("size", "n", "floor", "error", "message"),
    [
        ([1, -1], 1, 0, DataError, "size of -1"),
        ([1, np.nan], 1, 0, DataError, "1 of 2 sizes"),
        ([1, 0], 2, 0, ParameterError, "floor above 0"),
        ([0, 0], 1, 0, ParameterError, "0 with a size"),
        ([1, 1], 3, 0.1, ParameterError, "1 to 2 can be drawn"),
        ([1, 1], 0, 0, ParameterError, "0 rows"),
        ([1, 1], 1, 0.6, ParameterError, "0 to 0.5"),
        ([1, 1], 1, -0.1, ParameterError, "floor of -0.1"),
    ],
)
def test_probabilities_that_cannot_be_are_an_error(size, n, floor, error, message):
    with pytest.raises(error, match=message):
        inclusion_probabilities(size, n, floor=floor)
