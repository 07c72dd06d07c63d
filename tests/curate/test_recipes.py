"""Recipes: what they pick, alone and combined, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.curate import (
    METHODS,
    RECIPES,
    After,
    Recipe,
    Rules,
    Strategy,
    Stratified,
    Within,
    rank,
    recipe_method,
)
from foveate.curate.recipes import get_recipe, recipe_from
from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.pool import Pool
from foveate.testing import check_method

N = 40
RNG = np.random.default_rng(0)
X = RNG.gamma(1, size=(N, 6))
COUNTS = RNG.integers(0, 60, (N, 4)) * (RNG.random((N, 4)) < 0.5)
COUNTS[3] = 0
VALUES = RNG.random(N)
POOL = Pool.from_arrays(
    ids=[f"t{i:02d}" for i in range(N)], counts=COUNTS,
    attributes={"v": np.where(np.arange(N) == 5, np.nan, VALUES), "city": list("abcde" * 8)},
)  # fmt: skip


def ranked(recipe, **given):
    return rank(POOL, recipe, embeddings=X, **given)


def alone(**strategy):
    return Recipe("alone", (Strategy(**strategy),))


# --- one strategy -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "method", "options"),
    [
        ({"kind": "coverage"}, "facility", {}),
        ({"kind": "coverage", "options": {"reference": 9}}, "facility", {"reference": 9}),
        ({"kind": "coverage", "options": {"kernel": "gaussian"}}, "max-herding", {}),
        ({"kind": "coverage", "options": {"kernel": "gaussian", "sigma": 0.4, "metric": "cosine"}},
         "max-herding", {"sigma": 0.4, "metric": "cosine"}),
        ({"kind": "diversity"}, "kcenter", {}),
        ({"kind": "diversity", "options": {"start": "mean", "metric": "cosine"}},
         "kcenter", {"start": "mean", "metric": "cosine"}),
        ({"kind": "balance"}, "cb", {}),
        ({"kind": "similarity", "options": {"toward": ["t01", "t02"], "away": "t09"}},
         "similar", {"toward": ["t01", "t02"], "away": "t09"}),
        ({"column": "v"}, "column", {"name": "v"}),
        ({"column": "v", "order": "low", "values": "score"}, "column",
         {"name": "v", "order": "low"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("picked", [None, ["t00", "t07", "t31"]])
def test_one_strategy_picks_as_the_method_of_that_idea(strategy, method, options, picked):
    for weight in (1.0, 0.3):
        found = ranked(alone(weight=weight, **strategy), picked=picked, seed=3)
        expected = ranked(method, picked=picked, seed=3, **options)
        # Examples of likeness have no score: they are at the end, in an order of their own.
        k = expected.depth - 3 * (method == "similar")
        assert found.rows[:k].tolist() == expected.rows[:k].tolist()
        part = ranked(alone(**strategy), picked=picked, seed=3, depth=11)
        assert part.rows.tolist() == expected.rows[:11].tolist()


@pytest.mark.parametrize("name", [n for n in METHODS.ready() if n != "fd"])
@pytest.mark.parametrize("values", ["rank", "score"])
def test_a_method_alone_is_that_method(name, values):
    if values == "score" and name in ("lc-fd", "semdedup"):
        pytest.skip("its order is not that of its scores")
    found = ranked(alone(method=name, values=values), seed=2)
    assert found.rows.tolist() == ranked(name, seed=2).rows.tolist()


def test_a_negative_weight_turns_an_order_round():
    away = ranked(alone(column="v", weight=-1.0)).rows.tolist()
    low = ranked("column", name="v", order="low").rows.tolist()
    assert away[0] == 5  # the one without a value is worth least, and pushes away least
    assert away[1:] == [row for row in low if row != 5]


# --- several ------------------------------------------------------------------------------------


def test_equal_scores_share_their_places():
    pool = Pool.from_arrays(n=5, attributes={"a": [1, 0, 1, 0, 0], "b": [0, 0, 0, 1, np.nan]})
    recipe = Recipe("two", (Strategy(column="a"), Strategy(column="b", weight=0.5)))
    found = rank(pool, recipe)
    by_row = np.empty(5)
    by_row[found.rows] = found.score
    # Of a: 0 and 2 share the places 1 and 2, the others 3 to 5. Of b: 3 is first, 4 is last.
    assert by_row == pytest.approx(
        [0.9 + 0.3, 0.4 + 0.3, 0.9 + 0.3, 0.4 + 0.5, 0.4 + 0.1]
    )  # fmt: skip
    assert found.rows.tolist()[2:] == [3, 1, 4]


def test_a_mean_of_places_is_the_hybrid_by_rank():
    half = Recipe("half", (Strategy(method="fa", weight=0.5), Strategy(method="cb", weight=0.5)))
    expected = ranked("fa-cb", combine="rank", unlabelled="score", seed=1)
    found = ranked(half, seed=1)
    scores = np.empty((2, N))
    scores[0, found.rows], scores[1, expected.rows] = found.score, expected.score
    # But for scores of FA that are equal, which share their places here.
    assert scores[0] == pytest.approx(scores[1], abs=0.5 / N)
    assert (np.abs(scores[0] - scores[1]) < 1e-9).sum() > N - 4


def test_diversity_pushes_copies_of_the_best_apart():
    x = np.repeat(np.eye(4), 10, axis=0)
    value = np.repeat([0.9, 0.8, 0.7, 0.6], 10)
    pool = Pool.from_arrays(n=40, attributes={"v": value})
    recipe = Recipe("apart", (Strategy(column="v"), Strategy(kind="diversity")))
    picks = rank(pool, recipe, embeddings=x).rows[:4]
    assert (picks // 10).tolist() == [0, 1, 2, 3]
    assert set(rank(pool, "column").rows[:4] // 10) == {0}


def test_the_scale_of_each_step_keeps_gains_from_fading():
    """Coverage falls a hundredfold after some picks; by the first step the column then decides."""
    rng = np.random.default_rng(1)
    x, value = rng.normal(size=(200, 3)), rng.random(200)
    pool = Pool.from_arrays(n=200, attributes={"v": value})
    parts = (Strategy(kind="coverage"), Strategy(column="v", weight=0.2))
    first = rank(pool, Recipe("a", parts, scale="first"), embeddings=x).rows[:40]
    step = rank(pool, Recipe("b", parts), embeddings=x).rows[:40]
    assert value[first].mean() > value[step].mean() + 0.1


def test_products_want_all_of_it():
    x = np.zeros((3, 2))
    pool = Pool.from_arrays(n=3, attributes={"a": [9, 5, 0], "b": [0, 4, 9]})
    parts = (Strategy(column="a", values="score"), Strategy(column="b", values="score"))
    assert rank(pool, Recipe("p", parts, combine="product"), embeddings=x).rows[0] == 1


# --- wrappers -----------------------------------------------------------------------------------


def test_strata_take_turns_and_the_hardest_come_last():
    value = np.arange(100) / 100
    pool = Pool.from_arrays(n=100, attributes={"v": value})
    recipe = Recipe(
        "ccs", (Strategy(column="v", values="score"),), wrapper=Stratified(strata=9, drop=0.1)
    )
    rows = rank(pool, recipe).rows
    assert sorted(rows[90:].tolist()) == list(range(90, 100))
    assert (rows[:9] // 10).tolist() == list(range(8, -1, -1))
    assert (np.sort(rows[:18]) // 10).tolist() == np.repeat(np.arange(9), 2).tolist()
    other = rank(pool, recipe, seed=1).rows
    assert rows[:9].tolist() != other[:9].tolist()
    by_gain = Recipe("g", recipe.strategies, wrapper=Stratified(strata=10, within="gain"))
    assert rank(pool, by_gain).rows[:10].tolist() == list(range(99, 0, -10))


def test_small_strata_give_all_and_the_others_more():
    value = np.r_[np.zeros(50), np.ones(3)]
    pool = Pool.from_arrays(n=53, attributes={"v": value})
    recipe = Recipe("c", (Strategy(column="v", values="score"),), wrapper=Stratified(strata=50))
    rows = rank(pool, recipe).rows
    assert (value[rows[:10]] == 1).sum() == 3


def test_within_chooses_among_what_another_recipe_ranks_first():
    recipe = Recipe("w", (Strategy(kind="diversity"),), wrapper=Within("typiclust", "25%"))
    first = set(ranked("typiclust").rows[:10].tolist())
    found = ranked(recipe)
    assert set(found.rows[:10].tolist()) == first
    assert ranked(recipe, depth=4).rows.tolist() == found.rows[:4].tolist()


def test_after_goes_on_from_what_another_recipe_picks():
    recipe = Recipe("a", (Strategy(kind="diversity"),), wrapper=After("cb", 5))
    begun = ranked("cb").rows[:5]
    found = ranked(recipe).rows
    assert found[:5].tolist() == begun.tolist()
    ids = [POOL.ids[row] for row in begun]
    assert found[5:].tolist() == ranked("kcenter", picked=ids).rows.tolist()
    assert ranked(recipe, depth=3).rows.tolist() == begun[:3].tolist()


def test_recipes_are_wrapped_in_recipes():
    inner = Recipe("inner", (Strategy(column="v"),), wrapper=Within("cb", 20))
    outer = Recipe("outer", (Strategy(kind="coverage"),), wrapper=Within(inner, 6))
    assert outer.needs == ("embeddings", "attributes", "counts")
    assert outer.columns == ("v",)
    first = set(ranked(inner).rows[:6].tolist())
    assert set(ranked(outer).rows[:6].tolist()) == first
    assert first <= set(ranked("cb").rows[:20].tolist())


# --- as a method --------------------------------------------------------------------------------

EVERY = (
    Strategy(kind="coverage", options={"reference": 7}), Strategy(kind="diversity", weight=0.5),
    Strategy(kind="balance", weight=0.7), Strategy(method="fa", weight=-0.2),
    Strategy(column="value", weight=0.4, order="low"),
)  # fmt: skip
GAUSS = {"kernel": "gaussian", "metric": "euclidean"}
LABELS = Strategy(kind="balance", options={"form": "concave"})


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("every", EVERY),
        Recipe("first", EVERY, scale="first"),
        Recipe("labels", (LABELS,)),
        RECIPES.get("diverse-balance"),
        Recipe("product", (Strategy(kind="coverage", options=GAUSS), LABELS), combine="product"),
        Recipe("fixed", (Strategy(method="fa-cb"), Strategy(method="lc", values="score"))),
        Recipe("strata", EVERY[:3], wrapper=Stratified(strata=4, drop=0.2)),
        Recipe("in-strata", EVERY[:3], wrapper=Stratified(strata=3, within="gain")),
        Recipe("within", EVERY[:2], wrapper=Within("cb", "40%")),
        Recipe("after", EVERY[1:3], wrapper=After("lc", 4)),
        Recipe("minus", (Strategy(kind="coverage", weight=-1), Strategy(method="random"))),
    ],
    ids=lambda recipe: recipe.name,
)  # fmt: skip
def test_recipes_pass_the_suite(recipe):
    check_method(recipe_method(recipe), seed=3)


def test_recipes_are_methods_that_all_leaves_out():
    assert set(RECIPES) <= set(METHODS)
    for name in RECIPES:
        method = METHODS.get(name)
        assert method.definition == RECIPES.get(name).to_dict()
        assert ranked(name).rows.tolist() == ranked(RECIPES.get(name)).rows.tolist()
        assert name not in METHODS.ready()
    assert get_recipe("lc").strategies == (Strategy(method="lc"),)
    assert ranked("cover-diverse").meta["recipe"]["name"] == "cover-diverse"
    json.dumps(ranked("cover-balance").meta["recipe"])


def objective(rows, x, counts):
    """Product of the sum of squared distances, in the order of picks, and of the balance."""
    squared = np.square(x[rows][:, None] - x[rows]).sum(axis=-1)
    apart = sum(squared[i, :i].min() for i in range(1, len(rows)))
    shares = np.maximum(counts[rows].sum(axis=0) / max(counts[rows].sum(), 1), 2.0**-33)
    divergence = -np.log(shares * shares.size).mean() / np.log(shares.size)
    return apart / (1 + divergence)


@given(st.integers(0, 9999), st.integers(6, 30))
def test_diverse_balance_is_no_worse_than_random_in_its_objective(seed, n):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) * rng.gamma(1, size=(n, 1))
    counts = rng.integers(0, 60, (n, 3)) * (rng.random((n, 3)) < 0.6) + np.eye(3, dtype=int)[
        rng.integers(0, 3, n)
    ]  # fmt: skip
    pool = Pool.from_arrays(n=n, counts=counts)
    rows = rank(pool, "diverse-balance", embeddings=x, seed=seed).rows
    for k in (3, n // 2):
        drawn = [objective(rng.permutation(n)[:k], x, counts) for _ in range(50)]
        assert objective(rows[:k], x, counts) >= np.median(drawn)


@given(st.permutations(range(N)))
def test_diverse_balance_does_not_depend_on_the_order_of_the_pool(order):
    chosen = POOL.ids[ranked("diverse-balance").rows]
    mixed = Pool.from_arrays(ids=[str(POOL.ids[i]) for i in order], counts=COUNTS[order])
    found = mixed.ids[rank(mixed, "diverse-balance", embeddings=X[list(order)]).rows]
    assert found.tolist() == chosen.tolist()


def test_diverse_balance_takes_whole_classes_before_far_tiles_of_the_same():
    x = np.array([[0.0], [9.0], [0.5], [10.0], [0.1]])
    counts = np.array([[64, 0], [64, 0], [60, 4], [64, 0], [0, 64]])
    pool = Pool.from_arrays(n=5, counts=counts)
    plain = rank(pool, "kcenter", embeddings=x, picked=["0000000"]).rows
    both = rank(pool, "diverse-balance", embeddings=x, picked=["0000000"]).rows
    assert plain[0] == 3
    assert set(both[:2].tolist()) == {3, 4}


def test_a_recipe_needs_what_its_strategies_need_and_no_more():
    assert RECIPES.get("cover-diverse").needs == ("embeddings",)
    assert alone(kind="balance").needs == ("counts",)
    rank(POOL, alone(kind="balance"))  # without embeddings
    with pytest.raises(DataError, match="'cover-balance' needs embeddings"):
        rank(POOL, "cover-balance")
    with pytest.raises(DataError, match="'alone' needs attributes"):
        rank(Pool.from_arrays(n=3), alone(column="v"))
    with pytest.raises(ParameterError, match=r"column 'w'\. Columns of the pool: v, city"):
        ranked(alone(column="w"))
    with pytest.raises(ParameterError, match="'city' is not numeric"):
        ranked(alone(column="city"))


def test_rules_of_a_recipe_hold_besides_those_of_the_run():
    one = Recipe("q", (Strategy(kind="diversity"),), rules=Rules(quota={"city": 2}))
    found = ranked(one)
    cities = POOL.attributes["city"][found.rows[: found.first_put_back]]
    assert np.unique(cities, return_counts=True)[1].tolist() == [2] * 5
    both = ranked(one, rules=Rules(groups="city"))
    assert both.first_put_back == 5
    assert ranked("kcenter").meta["put_back"] == 0


# --- what is refused ----------------------------------------------------------------------------

SIMPLE = Strategy(kind="coverage")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (Strategy, "neither kind, method nor column"),
        (lambda: Strategy(kind="coverage", method="fa"), "kind='coverage' and method='fa'"),
        (lambda: Strategy(kind="coverage", weight="1"), "weight='1'"),
        (lambda: Strategy(kind="coverage", weight=True), "weight=True"),
        (lambda: Strategy(kind="coverage", weight=float("nan")), "weight=nan"),
        (lambda: Strategy(kind="coverage", options={"referense": 3}), "Did you mean 'reference'"),
        (lambda: Strategy(kind="coverage", options={"reference": "3"}), "coverage.reference='3'"),
        (lambda: Strategy(kind="coverage", options=3), "options=3"),
        (lambda: Strategy(kind="coverage", values="rank"), "argument of fixed scores"),
        (lambda: Strategy(method="fa", order="low"), "argument of columns"),
        (lambda: Strategy(method="fa", values="ranks"), "Did you mean 'rank'"),
        (lambda: Strategy(method="fa", options={"x": 1}), "no option 'x'"),
        (lambda: Strategy(column="v", order="up"), "order='up'"),
        (lambda: Strategy(column="v", options={"order": "low"}), "have no options"),
        (lambda: Strategy(column=3), "column=3"),
        (lambda: Strategy(kind="similarity"), r"In a recipe: options = \{ toward"),
        (lambda: Recipe("r", ()), "without a strategy"),
        (lambda: Recipe("a b", (SIMPLE,)), "name 'a b'"),
        (lambda: Recipe("r", (SIMPLE,), combine="mean"), "combine='mean'"),
        (lambda: Recipe("r", (SIMPLE,), scale="steps"), "Did you mean 'step'"),
        (lambda: Recipe("r", (SIMPLE,), scale="total"), "scale='total' with combine='sum'"),
        (lambda: Recipe("r", ("coverage",)), "strategies contains 'coverage'"),
        (lambda: Recipe("r", (SIMPLE,), wrapper="ccs"), "wrapper contains 'ccs'"),
        (lambda: Recipe("r", (Strategy(kind="balance", weight=0),)), "all weights 0"),
        (lambda: Recipe("r", (SIMPLE, Strategy(method="fa", weight=-1)), combine="product"),
         "combine='product' with the weight -1"),
        (lambda: Stratified(strata=0), "strata=0"),
        (lambda: Stratified(strata=2.5), "strata=2.5"),
        (lambda: Stratified(drop=1), "drop=1"),
        (lambda: Stratified(within="rank"), "within='rank'"),
        (lambda: Within("cb", keep="300%"), "keep='300%'"),
        (lambda: Within("cb", keep=2.5), "keep=2.5"),
        (lambda: Within(3), "recipe contains 3"),
        (lambda: After(Recipe("q", (SIMPLE,), rules=Rules(groups="v"))), "with rules"),
    ],
)  # fmt: skip
def test_invalid_arguments_are_rejected(make, text):
    with pytest.raises(ParameterError, match=text):
        make()


def test_unknown_names_are_named_with_those_there_are():
    with pytest.raises(UnknownNameError, match=r"'coverge'. Known: coverage, .*Did you mean"):
        Strategy(kind="coverge")
    with pytest.raises(UnknownNameError, match=r"unknown method 'fb'\. Known: lc, fd"):
        Strategy(method="fb")
    with pytest.raises(UnknownNameError, match=r"unknown recipe 'cover'.*cover-balance"):
        Within("cover")


def test_options_of_strategies_are_checked_when_they_rank():
    for options in ({"kernel": "box"}, {"sigma": 2.0}, {"reference": 0},
                    {"kernel": "gaussian", "sigma": -1.0}, {"metric": "city"}):  # fmt: skip
        with pytest.raises(ParameterError, match=next(reversed(options))):
            ranked(alone(kind="coverage", options=options))
    with pytest.raises(ParameterError, match="start='first'"):
        ranked(alone(kind="diversity", options={"start": "first"}))
    with pytest.raises(ParameterError, match="Leave out its option depth"):
        ranked(alone(method="cb", options={"depth": 3}))


def test_recipe_round_trips_through_its_description():
    inner = Recipe("i", (Strategy(method="fd", options={"clusters": 3}),))
    recipe = Recipe(
        "r", (*EVERY, Strategy(column="v", values="score")), scale="first",
        wrapper=Within(inner, "20%"), rules=Rules(quota={"city": "50%"}, min_distance=3.0),
    )  # fmt: skip
    again = recipe_from(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert recipe_method(again).function == recipe_method(recipe).function
    strata = Recipe("s", (SIMPLE,), combine="product", wrapper=Stratified(strata=3, drop=0.1))
    assert recipe_from(strata.to_dict()) == strata
