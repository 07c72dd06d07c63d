import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from foveate.errors import DataError, ParameterError
from foveate.seeds import tie_keys
from foveate.stats import (
    average_precision,
    expected_average_precision,
    mean_average_precision,
    prevalence_corrected,
    top1,
)

# relevant at ranks 1, 3 and 6
SCORES = [9, 8, 7, 6, 5, 4]
RELEVANT = np.array([1, 0, 1, 0, 0, 1], bool)


def literal(scores, relevant, k, normaliser, ties):
    """AP@K as it is written."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], ties[i]))
    found, total = 0, 0.0
    for rank, row in enumerate(order[:k], start=1):
        if relevant[row]:
            found += 1
            total += found / rank
    if not any(relevant):
        return float("nan")
    many = sum(map(bool, relevant))
    z = {"min": min(k or len(scores), many), "hits": found, "relevant": many}[normaliser]
    return total / z if z else 0.0


@st.composite
def queries(draw):
    n = draw(st.integers(1, 15))
    scores = draw(st.lists(st.sampled_from([-np.inf, -1, -0.0, 0, 0.5, np.inf]), min_size=n))
    relevant = draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    return scores, np.array(relevant)


@pytest.mark.parametrize(
    ("k", "normaliser", "expected"),
    [
        (None, "min", (1 + 2 / 3 + 3 / 6) / 3),
        (None, "hits", (1 + 2 / 3 + 3 / 6) / 3),
        (None, "relevant", (1 + 2 / 3 + 3 / 6) / 3),
        (2, "min", 1 / 2),
        (2, "hits", 1),
        (2, "relevant", 1 / 3),
        (4, "min", (1 + 2 / 3) / 3),
        (4, "hits", (1 + 2 / 3) / 2),
        (99, "min", (1 + 2 / 3 + 3 / 6) / 3),
    ],
)
def test_average_precision_by_hand(k, normaliser, expected):
    assert average_precision(SCORES, RELEVANT, k=k, normaliser=normaliser) == pytest.approx(
        expected
    )


def test_a_perfect_list_has_1_and_nothing_relevant_nan():
    assert average_precision(SCORES, np.arange(6) < 4, k=3) == 1
    assert average_precision(SCORES, np.arange(6) < 4, k=3, normaliser="relevant") == 0.75
    assert np.isnan(average_precision(SCORES, np.zeros(6, bool)))
    assert np.isnan(average_precision([], np.zeros(0, bool)))


@pytest.mark.parametrize("normaliser", ["min", "hits", "relevant"])
def test_relevant_rows_that_are_all_missed_have_0(normaliser):
    assert average_precision(SCORES, np.arange(6) > 3, k=2, normaliser=normaliser) == 0


@given(
    queries(),
    st.one_of(st.none(), st.integers(1, 20)),
    st.sampled_from(["min", "hits", "relevant"]),
)
def test_average_precision_is_its_definition(query, k, normaliser):
    scores, relevant = query
    ties = tie_keys([str(i) for i in range(len(scores))], 3, "x")
    mine = average_precision(scores, relevant, k=k, normaliser=normaliser, ties=ties)
    expected = literal(scores, relevant, k, normaliser, ties)
    assert mine == pytest.approx(expected, nan_ok=True)
    assert np.isnan(mine) or 0 <= mine <= 1 + 1e-12


def test_without_ties_the_whole_list_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    for n in (1, 2, 30, 400):
        scores = rng.permutation(n).astype(float)
        relevant = rng.random(n) < 0.3
        relevant[0] = True
        assert average_precision(scores, relevant) == pytest.approx(
            average_precision_score(relevant, scores)
        )


def test_ties_follow_their_keys_whatever_the_order_of_the_rows():
    rng = np.random.default_rng(1)
    scores, relevant = rng.integers(0, 3, 50), rng.random(50) < 0.3
    keys = tie_keys([f"tile/{i}" for i in range(50)], 0)
    rows = rng.permutation(50)
    one = average_precision(scores, relevant, k=7, ties=keys)
    assert one == average_precision(scores[rows], relevant[rows], k=7, ties=keys[rows])


def test_ties_without_keys_are_broken_by_the_seed_and_not_by_the_row():
    first = np.arange(40) == 0
    found = [average_precision(np.zeros(40), first, seed=seed) for seed in range(8)]
    assert len(set(found)) > 4
    assert found[3] == average_precision(np.zeros(40), first, seed=3)


def test_mean_average_precision_leaves_out_concepts_without_a_relevant_row():
    scores = np.array([[3, 1, 0], [2, 2, 0], [1, 3, 0]])
    relevant = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0]], bool)
    each, mean = mean_average_precision(scores, relevant)
    assert each == pytest.approx([5 / 6, 1 / 3, np.nan], nan_ok=True)
    assert mean == pytest.approx((5 / 6 + 1 / 3) / 2)


def test_mean_average_precision_is_that_of_each_concept():
    rng = np.random.default_rng(2)
    scores, relevant = rng.integers(0, 5, (30, 4)), rng.random((30, 4)) < 0.4
    result = mean_average_precision(scores, relevant, k=6, normaliser="hits", seed=9)
    alone = [
        average_precision(scores[:, c], relevant[:, c], k=6, normaliser="hits", seed=9)
        for c in range(4)
    ]
    assert result.per_concept.tolist() == alone


def test_mean_average_precision_of_nothing_is_nan():
    assert np.isnan(mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2), bool)).mean)
    assert np.isnan(mean_average_precision(np.zeros((3, 0)), np.zeros((3, 0), bool)).mean)


@pytest.mark.parametrize("k", [None, 1, 3, 7, 99])
@pytest.mark.parametrize(("n", "m"), [(7, 1), (7, 3), (7, 7), (1, 1)])
def test_expected_average_precision_is_the_mean_over_all_orders(n, m, k):
    from itertools import combinations

    values = []
    for ranks in combinations(range(n), m):
        relevant = np.isin(np.arange(n), ranks)
        values.append(average_precision(-np.arange(n), relevant, k=k))
    assert expected_average_precision(n, m, k=k) == pytest.approx(np.mean(values))


def test_expected_average_precision_approaches_the_prevalence_and_needs_a_relevant_row():
    assert expected_average_precision(100_000, 30_000) == pytest.approx(0.3, abs=1e-3)
    assert np.isnan(expected_average_precision(5, 0))


@pytest.mark.parametrize(("n", "m"), [(0, 0), (3, 4), (3, -1)])
def test_expected_average_precision_of_impossible_numbers_is_an_error(n, m):
    with pytest.raises(ParameterError, match=f"{m} relevant of {n} rows"):
        expected_average_precision(n, m)


def test_prevalence_correction_by_hand():
    corrected = prevalence_corrected(
        [0.55, 1, 0.775, 0.1, np.nan, 1], [0.55, 0.55, 0.55, 0.2, 0, 1]
    )
    assert corrected == pytest.approx([0, 1, 0.5, -0.125, np.nan, np.nan], nan_ok=True)
    assert prevalence_corrected(0.6, 0.2) == pytest.approx(0.5)


@pytest.mark.parametrize("prevalence", [-0.1, 1.1])
def test_a_prevalence_that_is_no_share_is_an_error(prevalence):
    with pytest.raises(DataError, match="must be from 0 to 1"):
        prevalence_corrected([0.5], [prevalence])


def test_top1_by_hand_with_ties():
    logits = [[1, 2, 3], [5, 5, 1], [5, 5, 1], [0, 0, 0], [-np.inf, 0, np.inf]]
    assert top1(logits[:1], [2]) == 1
    assert top1(logits[:1], [0]) == 0
    assert top1(logits, [2, 0, 2, 1, 2]) == pytest.approx((1 + 1 / 2 + 0 + 1 / 3 + 1) / 5)


def test_top1_of_a_constant_model_is_chance():
    assert top1(np.zeros((8, 4)), [0] * 8) == 0.25


@pytest.mark.parametrize(
    ("logits", "truth", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), r"shape \(0, 2\)"),
        (np.zeros(3), np.zeros(3, int), r"shape \(3,\)"),
        (np.zeros((3, 2)), np.zeros(2, int), r"classes of shape \(2,\)"),
        (np.full((3, 2), np.nan), np.zeros(3, int), "6 of 6 logits are NaN"),
        (np.zeros((2, 2)), [0, 2], "0 to 1"),
        (np.zeros((2, 2)), [-1, 1], "from -1 to 1"),
        (np.zeros((2, 2)), [0.0, 1.0], "float64"),
    ],
)
def test_top1_says_what_is_wrong(logits, truth, message):
    with pytest.raises(DataError, match=message):
        top1(logits, truth)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scores": [1, np.nan, np.nan, 1, 1, 1]}, "2 of 6 scores are NaN"),
        ({"scores": np.zeros((6, 1))}, "for one query"),
        ({"relevant": RELEVANT[:4]}, "relevance of shape"),
        ({"relevant": RELEVANT.astype(float)}, "float64"),
        ({"ties": np.zeros(3, np.uint64)}, "keys for 6 rows"),
    ],
)
def test_rows_that_cannot_be_ranked_are_an_error(options, message):
    with pytest.raises(DataError, match=message):
        average_precision(**{"scores": SCORES, "relevant": RELEVANT, **options})


@pytest.mark.parametrize(
    ("options", "message"), [({"k": 0}, "k=0"), ({"normaliser": "mean"}, "min, hits, relevant")]
)
def test_options_that_are_none_are_an_error(options, message):
    with pytest.raises(ParameterError, match=message):
        average_precision(SCORES, RELEVANT, **options)


def test_mean_average_precision_needs_concepts():
    with pytest.raises(DataError, match=r"\(rows, concepts\)"):
        mean_average_precision(SCORES, RELEVANT)
