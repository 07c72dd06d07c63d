import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import ParameterError
from foveate.stats import mean_average_precision
from foveate.stats import measures as measure
from foveate.stats.measures import Measure

GROUPS = np.array(["a", "a", "b", "b", "c", "c"])


def test_the_pseudo_values_of_a_mean_are_the_means_of_groups_of_one_size():
    values = np.array([1.0, 3.0, 5.0, 7.0, 0.0, 2.0])
    found = measure.ratio(values, np.ones(6), GROUPS)
    assert found.value == 3
    assert found.groups == pytest.approx({"a": 2, "b": 6, "c": 1})


def test_a_share_is_nan_where_nothing_is_below():
    found = measure.ratio(np.zeros(6), np.zeros(6), GROUPS)
    assert np.isnan(found.value)
    assert found.groups == {}


def test_no_rows_are_no_number():
    found = measure.ratio(np.empty(0), np.empty(0), np.empty(0, np.str_))
    assert np.isnan(found.value)


def test_one_group_has_the_number_itself():
    found = measure.ratio(np.arange(3.0), np.ones(3), np.array(["x"] * 3))
    assert found.groups == {"x": 1.0}


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_precision_is_that_of_stats_and_the_mean_of_its_groups(seed, count):
    random = np.random.default_rng(seed)
    scores, relevant = random.normal(size=(30, 3)), random.random((30, 3)) < 0.2
    groups = np.array([f"g{i % count}" for i in range(30)])
    found = measure.precision(scores, relevant, groups, k=10, seed=4)
    expected = mean_average_precision(scores, relevant, k=10, seed=4)
    np.testing.assert_array_equal(found.parts, expected.per_concept)
    if relevant.any():
        assert found.value == pytest.approx(expected.mean)
        assert np.mean(list(found.groups.values())) == pytest.approx(found.value)


def test_a_concept_of_one_group_does_not_spoil_the_others():
    relevant = np.zeros((6, 2), bool)
    relevant[0, 0] = relevant[[0, 2, 4], 1] = True
    found = measure.precision(np.arange(12.0).reshape(6, 2), relevant, GROUPS)
    assert np.isfinite(list(found.groups.values())).all()


def test_pooled_takes_the_best_or_the_mean_and_shows_what_any_row_shows():
    scores = np.array([[1.0], [5.0], [2.0]])
    relevant = np.array([[False], [True], [False]])
    number = np.array([7, 7, 9])
    best, shown, first = measure.pooled(scores, relevant, number, "max")
    assert best.tolist() == [[5], [2]]
    assert shown.tolist() == [[True], [False]]
    assert first.tolist() == [0, 2]
    assert measure.pooled(scores, relevant, number, "mean")[0].tolist() == [[3], [2]]
    with pytest.raises(ParameterError, match=r"how='maximum'\. Allowed: max, mean"):
        measure.pooled(scores, relevant, number, "maximum")


def test_the_area_of_a_constant_curve_is_its_height():
    flat = [Measure(0.4, [0.4, 0.4], {"a": 0.3, "b": 0.5})] * 3
    found = measure.area(flat, (0.1, 0.2, 0.5))
    assert found.value == pytest.approx(0.4)
    assert found.parts == pytest.approx([0.4, 0.4])
    assert found.groups == pytest.approx({"a": 0.3, "b": 0.5})


def test_draws_are_averaged():
    found = measure.mean_of([Measure(0.0, [0.0], {"a": 0.0}), Measure(1.0, [1.0], {"a": 3.0})])
    assert found == Measure(0.5, [0.5], {"a": 1.5})


def test_many_groups_are_joined_alike_under_every_seed():
    groups = [f"g{i:03d}" for i in range(100)]
    found = measure.group_names(groups)
    assert len(set(found)) == measure.BLOCKS
    assert measure.group_names(groups[::-1]) == found[::-1]
    assert measure.group_names(["b", "a"]) == ["b", "a"]
