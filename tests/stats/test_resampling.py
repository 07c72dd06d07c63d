import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from foveate.errors import DataError, ParameterError
from foveate.stats import bootstrap_mean, holm, paired_bootstrap, resampling


def values(seed, clusters, size, between):
    """Rows whose clusters have a mean of their own: (values, labels)."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(clusters), size)
    return rng.normal(0, between, clusters)[labels] + rng.normal(0, 1, labels.size), labels


def test_the_interval_of_independent_rows_is_that_of_the_normal_theory():
    x, _ = values(0, 400, 1, 0)
    found = bootstrap_mean(x, draws=4000)
    reach = norm.ppf(0.975) * x.std() / x.size**0.5
    assert found.mean == pytest.approx(x.mean())
    assert found.high - found.low == pytest.approx(2 * reach, rel=0.07)


def test_a_wider_interval_is_surer():
    x, _ = values(0, 50, 1, 0)
    wide, slim = bootstrap_mean(x, confidence=0.99), bootstrap_mean(x, confidence=0.5)
    assert wide.low < slim.low < slim.high < wide.high


def test_rows_that_are_copies_teach_nothing():
    x, _ = values(1, 60, 1, 0)
    one = bootstrap_mean(x, seed=4)
    copied = bootstrap_mean(np.repeat(x, 9), np.repeat(np.arange(60), 9), seed=4)
    assert (copied.low, copied.high) == pytest.approx((one.low, one.high))


def test_clusters_cover_their_mean_where_rows_do_not():
    hits = {True: 0, False: 0}
    for seed in range(200):
        x, labels = values(seed, 40, 8, 1)
        for clustered in hits:
            found = bootstrap_mean(x, labels if clustered else None, draws=300, seed=seed)
            hits[clustered] += found.low <= 0 <= found.high
    assert 180 <= hits[True] <= 198
    assert hits[False] < 140


def test_a_resample_of_clusters_is_a_mean_over_its_rows():
    x, labels = np.array([0.0, 0.0, 0.0, 4.0]), np.array(["a", "a", "a", "b"])
    means = resampling._means(x, labels, 2000, 0)
    assert set(means) == {0.0, 1.0, 4.0}
    assert np.mean(means == 1) == pytest.approx(0.5, abs=0.05)


def test_draws_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    x, labels = values(2, 7, 3, 1)
    whole = resampling._means(x, labels, 100, 0)
    monkeypatch.setattr(resampling, "_BLOCK", 7 * 33)
    assert resampling._means(x, labels, 100, 0) == pytest.approx(whole)
    monkeypatch.setattr(resampling, "_BLOCK", 1)
    assert resampling._means(x, labels, 100, 0) == pytest.approx(whole)


def test_a_difference_is_paired():
    x, labels = values(3, 30, 4, 3)
    found = paired_bootstrap(x + 0.1, x, labels)
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.p == pytest.approx(2 / 2001)


def test_no_difference_has_p_1_and_the_sign_follows_the_order():
    x, labels = values(3, 30, 4, 1)
    assert paired_bootstrap(x, x, labels).p == 1
    there, back = paired_bootstrap(x, 0 * x, labels), paired_bootstrap(0 * x, x, labels)
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert there.p == back.p


def test_p_agrees_with_the_interval():
    for seed in range(20):
        x, labels = values(seed, 25, 2, 0.5)
        found = paired_bootstrap(x + 0.4, np.zeros_like(x), labels, draws=999)
        if abs(found.p - 0.05) > 0.01:
            assert (found.low <= 0 <= found.high) == (found.p > 0.05)


def test_p_is_uniform_where_there_is_no_difference():
    found = [
        paired_bootstrap(
            values(seed, 60, 2, 1)[0], np.zeros(120), np.repeat(range(60), 2), draws=300
        )
        for seed in range(200)
    ]
    p = np.array([each.p for each in found])
    assert 0.01 <= (p < 0.05).mean() <= 0.1
    assert 0.4 <= (p < 0.5).mean() <= 0.6


def test_the_seed_decides():
    x, labels = values(0, 9, 3, 1)
    assert bootstrap_mean(x, labels, seed=1) == bootstrap_mean(x, labels, seed=1)
    assert bootstrap_mean(x, labels, seed=1) != bootstrap_mean(x, labels, seed=2)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_its_definition(p):
    order = sorted(range(len(p)), key=lambda i: p[i])
    expected, highest = [0.0] * len(p), 0.0
    for i, row in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - i) * p[row]))
        expected[row] = highest
    assert holm(p).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("p", [[-0.1], [1.1], [np.nan], [[0.5]]])
def test_p_values_that_are_none_are_an_error(p):
    with pytest.raises(DataError, match="p-values"):
        holm(p)


@pytest.mark.parametrize(
    ("a", "b", "clusters", "message"),
    [
        ([1, np.nan, np.inf], [1, 1, 1], None, "2 of 3 values are not finite"),
        ([1, 2], [1, 2, 3], None, r"shape must be \(2,\)"),
        ([[1, 2]], [1, 2], None, "one-dimensional array"),
        ([], [], None, "one-dimensional array"),
        ([1, 2], [1, 1], [1], "one label per value"),
        ([1, 2], [1, 1], ["s", "s"], "2 values of one cluster"),
        ([1], [1], None, "1 values of one cluster"),
    ],
)
def test_values_that_cannot_be_resampled_are_an_error(a, b, clusters, message):
    with pytest.raises(DataError, match=message):
        paired_bootstrap(a, b, clusters)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"draws": 0}, "0 draws"), ({"confidence": 95}, "confidence of 95"), ({"confidence": 0}, "0")],
)
def test_options_that_are_impossible_are_an_error(options, message):
    with pytest.raises(ParameterError, match=message):
        bootstrap_mean([1, 2, 3], **options)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """2,000 samples of 60 clusters whose rows share an effect: nominally 95 % hold the mean."""
    draw, held, naive = np.random.default_rng(5), 0, 0
    clusters = np.repeat(np.arange(60), 3)
    for seed in range(2000):
        effect = draw.normal(size=60)[clusters]
        values = 0.3 + effect + 0.5 * draw.normal(size=180)
        one = bootstrap_mean(values, clusters, draws=600, seed=seed)
        held += one.low <= 0.3 <= one.high
        if seed < 300:  # rows that are taken for independent claim too much
            other = bootstrap_mean(values, draws=600, seed=seed)
            naive += other.low <= 0.3 <= other.high
    assert 0.93 <= held / 2000 <= 0.97
    assert naive / 300 < 0.9
