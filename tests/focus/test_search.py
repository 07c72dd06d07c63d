"""Searches against exhaustive ones, and the weights of Theorem 5.1 against many draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest

from foveate.focus.config import GOALS, Weights
from foveate.focus.score import AdditiveModel, Scorer
from foveate.focus.search import choose, coreset_weights
from foveate.seeds import rng, tie_keys


def ties(n):
    return tie_keys([f"r{i}" for i in range(n)], 0)


def random_scorer(n, seed=0, **weights):
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((n, 3))
    model = AdditiveModel(x, draw.uniform(1, 5, n), lambda z: (z**2).sum(axis=1))
    near = np.triu(draw.random((n, n)) < 0.5, 1)
    goal = replace(GOALS["balanced"], weights=Weights(representativeness=0, **weights))
    return Scorer(model, goal, near | near.T, shift=draw.random(n))


@dataclass(frozen=True)
class Modular:
    """A scorer whose sets are worth the sum of their regions; the loss of a set is its worth."""

    worth: np.ndarray
    area: np.ndarray

    @property
    def model(self):
        return self

    def __len__(self):
        return len(self.worth)

    @property
    def sizes(self):
        return self.area

    @property
    def single_importance(self):
        return self.worth

    def importance(self, members):
        return members @ self.worth

    def weighted_epsilon(self, rows, weight):
        return float(weight @ self.worth[rows] / self.worth.mean() - 1)

    def epsilon(self, members):
        return (members @ self.worth - self.worth.sum()) / self.worth.sum()


def modular(worth, area=None):
    worth = np.array(worth, float)
    return Modular(worth, np.ones(len(worth)) if area is None else np.array(area, float))


def sets_of(n, k):
    return [np.isin(np.arange(n), rows) for rows in combinations(range(n), k)]


def test_top_takes_the_best_and_breaks_ties_by_key():
    found = choose(modular([0.1, 0.9, 0.5, 0.9]), 3, np.array([0, 7, 1, 3], np.uint64))
    assert found.rows.tolist() == [3, 1, 2]
    assert found.weight is None
    assert found.epsilon == pytest.approx(-0.1 / 2.4)
    assert found.ok


@pytest.mark.parametrize("search", ["top", "prefix", "greedy"])
def test_more_than_there_are(search):
    found = choose(modular([0.1, 0.9, 0.5]), 99, ties(3), method=search)
    assert found.rows.tolist() == [1, 2, 0]


@pytest.mark.parametrize("seed", range(6))
def test_greedy_is_what_a_plain_loop_finds(seed):
    scorer = random_scorer(8, seed)
    rows = []
    for _ in range(4):
        worth = {}
        for row in set(range(8)) - set(rows):
            members = np.isin(np.arange(8), [*rows, row])
            worth[row] = float(scorer.importance(members[None])[0])
        rows.append(max(worth, key=worth.get))
    assert choose(scorer, 4, ties(8), method="greedy").rows.tolist() == rows


@pytest.mark.parametrize("n", [3, 5, 8])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_greedy_is_exhaustive_where_worth_adds_up(n, k):
    scorer = modular(np.random.default_rng(n + k).random(n))
    best = max(sets_of(n, k), key=lambda m: float(scorer.importance(m[None])[0]))
    for search in ("greedy", "top"):
        assert set(choose(scorer, k, ties(n), method=search).rows) == set(np.flatnonzero(best))


@pytest.mark.parametrize("n", [4, 8])
def test_greedy_is_exhaustive_where_only_the_area_counts(n):
    draw = np.random.default_rng(n)
    model = AdditiveModel(np.zeros((n, 1)), draw.permutation(n) + 1.0, lambda z: np.ones(len(z)))
    weights = Weights(area=1.0, representativeness=0, robustness=0, synergy=0)
    scorer = Scorer(model, replace(GOALS["balanced"], weights=weights), np.zeros((n, n), bool))
    best = max(sets_of(n, 3), key=lambda m: float(scorer.importance(m[None])[0]))
    found = choose(scorer, 3, ties(n), method="greedy").rows
    assert set(found) == set(np.flatnonzero(best))


def test_a_region_that_does_not_fit_is_passed_over():
    scorer = modular([0.9, 0.8, 0.7, 0.6], area=[4, 7, 3, 3])
    assert choose(scorer, 4, ties(4), method="greedy", area=10).rows.tolist() == [0, 2, 3]
    assert choose(scorer, 4, ties(4), area=10).rows.tolist() == [0, 2, 3]
    assert choose(scorer, 4, ties(4), area=11).rows.tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(6))
def test_the_prefix_is_the_best_one(seed):
    scorer = random_scorer(7, seed, area=2.0)
    order = np.argsort(-scorer.single_importance, kind="stable")
    worth = [
        float(scorer.importance(np.isin(np.arange(7), order[:k])[None])[0]) for k in range(1, 8)
    ]
    found = choose(scorer, 7, ties(7), method="prefix", epsilon=np.inf).rows
    assert found.tolist() == order[: int(np.argmax(worth)) + 1].tolist()
    shorter = choose(scorer, 3, ties(7), method="prefix", epsilon=np.inf).rows
    assert shorter.tolist() == order[: int(np.argmax(worth[:3])) + 1].tolist()


def test_a_prefix_is_extended_to_the_limit():
    model = AdditiveModel(np.array([[5.0], [1.0], [0.0]]), np.ones(3), lambda z: z[:, 0])
    weights = Weights(area=9.0, representativeness=0, robustness=0, synergy=0)
    goal = replace(GOALS["balanced"], weights=weights, utility="one_sided")
    scorer = Scorer(model, goal, np.zeros((3, 3), bool))
    # The order is 2, 1, 0: losses of its prefixes 0, 1/2 and 2 of an image of 2.
    assert choose(scorer, 3, ties(3), method="prefix", epsilon=1.0).rows.tolist() == [2]
    found = choose(scorer, 3, ties(3), method="prefix", epsilon=0.8)
    assert found.rows.tolist() == [2, 1]
    assert found.ok
    assert found.epsilon == pytest.approx(-0.75)
    one_sided = choose(scorer, 3, ties(3), method="prefix", epsilon=0.8, one_sided=True)
    assert one_sided.rows.tolist() == [2]
    assert one_sided.ok
    missed = choose(scorer, 2, ties(3), method="prefix", epsilon=0.1)
    assert missed.rows.tolist() == [2]
    assert not missed.ok


def test_only_allowed_regions():
    allowed = np.array([True, False, True, False])
    for search in ("top", "greedy", "prefix"):
        found = choose(modular([1, 9, 2, 8]), 4, ties(4), method=search, allowed=allowed)
        assert found.rows.tolist() == [2, 0]
    found = choose(
        modular([1, 9, 2, 8]), 50, ties(4), method="importance", allowed=allowed, rng=rng(0, "t")
    )
    assert set(found.rows) == {0, 2}


def test_weights_by_hand():
    # S = 2 * 0.5 + 4 * 0.5 = 3; two draws: 3 / (2 * 2) and 3 / (2 * 4)
    assert coreset_weights(np.array([2.0, 4.0]), np.array([0.5, 0.5]), 2).tolist() == [0.75, 0.375]


def estimates(scorer, value, m, draws):
    """Weighted sums of many samples."""
    found = []
    for i in range(draws):
        chosen = choose(scorer, m, ties(len(value)), method="importance", rng=rng(i, "test/draw"))
        assert len(set(chosen.rows)) == len(chosen.rows) == len(chosen.weight)
        found.append(float(chosen.weight @ value[chosen.rows]))
    return np.array(found)


def test_a_weighted_sample_is_unbiased():
    scorer = random_scorer(12, 4)
    value = np.random.default_rng(8).uniform(0, 1, 12) ** 3
    measure = scorer.model.area / scorer.model.area.sum()
    truth = float(value @ measure)
    found = estimates(scorer, value, 4, 800)
    assert abs(found.mean() - truth) < 3 * found.std() / np.sqrt(len(found))
    # Weights of all draws sum to 1 on average: the estimate of a constant.
    ones = estimates(scorer, np.ones(12), 4, 800)
    assert abs(ones.mean() - 1) < 3 * ones.std() / np.sqrt(len(ones))


def test_the_sensitivity_is_one_more_than_the_importance():
    scorer = random_scorer(6, 2)
    measure = scorer.model.area / scorer.model.area.sum()
    chosen = choose(scorer, 5, ties(6), method="importance", rng=rng(0, "test/draw"))
    one = coreset_weights(1 + scorer.single_importance, measure, 5)[chosen.rows]
    times = chosen.weight / one
    assert times == pytest.approx(times.round())
    assert times.sum() == pytest.approx(5)


def test_the_same_weights_on_the_best_are_biased():
    scorer = random_scorer(12, 4)
    measure = scorer.model.area / scorer.model.area.sum()
    value = scorer.single_importance  # what is important is what counts
    truth = float(value @ measure)
    weight = coreset_weights(1 + scorer.single_importance, measure, 4)
    top = choose(scorer, 4, ties(12)).rows
    found = estimates(scorer, value, 4, 400)
    assert abs(found.mean() - truth) < 3 * found.std() / np.sqrt(len(found))
    assert float(weight[top] @ value[top]) - truth > 10 * found.std() / np.sqrt(len(found))


def test_draws_are_repeatable():
    scorer = random_scorer(9)
    one, other = (choose(scorer, 5, ties(9), method="importance", rng=rng(3, "t")) for _ in "ab")
    assert one.rows.tolist() == other.rows.tolist()
    assert one.weight.tolist() == other.weight.tolist()


@pytest.mark.parametrize("search", ["top", "prefix", "greedy", "importance"])
def test_an_area_smaller_than_any_region(search):
    found = choose(random_scorer(5), 3, ties(5), method=search, area=0.1, rng=rng(0, "t"))
    assert len(found.rows) >= 1
