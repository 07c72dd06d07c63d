import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chisquare

from foveate.errors import ParameterError
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score, round_robin, weighted_order


def keys(n, seed=0):
    return tie_keys([f"s/{i}" for i in range(n)], seed)


def test_higher_scores_come_first_and_nan_last():
    assert order_by_score([0.5, np.nan, 2, -np.inf, np.inf], keys(5)).tolist() == [4, 2, 0, 3, 1]


def test_equal_scores_are_ordered_by_keys():
    ties = np.array([3, 1, 2, 0], np.uint64)
    assert order_by_score([0.0, -0.0, 0.0, 1.0], ties).tolist() == [3, 1, 2, 0]
    assert order_by_score([np.nan] * 4, ties).tolist() == [3, 1, 2, 0]


def test_order_of_ties_depends_on_the_seed():
    orders = {tuple(order_by_score(np.zeros(8), keys(8, seed))) for seed in range(5)}
    assert len(orders) == 5
    assert tuple(range(8)) not in orders


@given(hnp.arrays(float, st.integers(0, 40), elements=st.sampled_from([0, 1, 2.5, np.nan, np.inf])))
def test_order_by_score_is_a_descending_permutation(score):
    order = order_by_score(score, keys(score.size))
    assert sorted(order) == list(range(score.size))
    sorted_score = score[order]
    known = sorted_score[~np.isnan(sorted_score)]
    assert (known[1:] <= known[:-1]).all()
    assert np.isnan(sorted_score[known.size :]).all()


@given(hnp.arrays(float, st.integers(0, 40), elements=st.floats(1e-300, 1e300)))
def test_weighted_order_is_a_permutation(weight):
    order = weighted_order(weight, np.random.default_rng(0))
    assert sorted(order) == list(range(weight.size))


def test_first_draws_follow_the_weights():
    weight = np.array([1.0, 2.0, 3.0, 4.0])
    rng = np.random.default_rng(0)
    first = [weighted_order(weight, rng)[0] for _ in range(4000)]
    assert chisquare(np.bincount(first, minlength=4), weight / 10 * 4000).pvalue > 0.001


def test_second_draws_follow_the_remaining_weights():
    weight = np.array([5.0, 1.0, 3.0])
    rng = np.random.default_rng(1)
    orders = [weighted_order(weight, rng) for _ in range(6000)]
    second = [o[1] for o in orders if o[0] == 0]
    expected = np.array([1, 3]) / 4 * len(second)
    assert chisquare(np.bincount(second, minlength=3)[1:], expected).pvalue > 0.001


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_invalid_weights_raise(bad):
    with pytest.raises(ParameterError, match="weights that are not positive"):
        weighted_order([1.0, bad], np.random.default_rng(0))


def test_round_robin_alternates_between_groups():
    groups = np.array([0, 0, 0, 1, 2, 2])
    within = np.array([0, 1, 2, 0, 1, 0])
    assert round_robin(groups, within, np.ones(3, int)).tolist() == [0, 3, 5, 1, 4, 2]


def test_round_robin_with_several_rows_per_turn():
    groups = np.array([0, 0, 0, 1, 1])
    within = np.array([0, 1, 2, 0, 1])
    assert round_robin(groups, within, np.array([2, 1])).tolist() == [0, 1, 3, 2, 4]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.data())
def test_round_robin_is_a_permutation_starting_with_each_group(groups, data):
    names, codes = np.unique(groups, return_inverse=True)
    k = names.size
    within = np.array([(codes[:i] == c).sum() for i, c in enumerate(codes)])
    order = round_robin(codes, within, np.ones(k, int))
    assert sorted(order) == list(range(len(groups)))
    assert codes[order[:k]].tolist() == list(range(k))
    taken = np.array([(codes[order] == c).cumsum() for c in range(k)])
    sizes = np.bincount(codes)[:, None]
    # No group is more than one turn behind another, unless it has run out.
    assert ((taken >= taken.max(axis=0) - 1) | (taken == sizes)).all()
