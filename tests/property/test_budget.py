"""A budget is never exceeded, not by one tile, and loses nothing when written down."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.budget import Amount, Budget, Ledger, affordable
from foveate.errors import BudgetError

ABSOLUTE = st.floats(1e-9, 1e15, exclude_min=True).map(Amount)
SHARES = st.floats(0, 1, exclude_min=True).map(lambda v: Amount(v, share=True))
UNITS = st.sampled_from(["tiles", "pixels", "area", "money"])
BUDGETS = st.dictionaries(UNITS, ABSOLUTE | SHARES, min_size=1).map(Budget)
WHOLE = st.lists(st.integers(0, 10**10), min_size=1, max_size=30)
CENTS = st.lists(st.integers(1, 10**6), min_size=1, max_size=200)


@given(BUDGETS)
def test_a_budget_is_read_back_exactly_as_it_was_written(budget):
    assert Budget.parse(str(budget)) == budget


@given(WHOLE, st.integers(1, 10**11), st.randoms(use_true_random=False))
def test_whole_costs_keep_to_the_limit_exactly(costs, limit, random):
    order = list(range(len(costs)))
    random.shuffle(order)
    count = affordable(np.array(order), {"p": np.array(costs, float)}, {"p": limit})
    assert sum(costs[i] for i in order[:count]) <= limit
    assert count == len(order) or sum(costs[i] for i in order[: count + 1]) > limit


@given(CENTS, st.integers(1, 10**7))
def test_decimal_costs_buy_what_exact_arithmetic_buys(cents, limit):
    costs = {"money": np.array([c / 100 for c in cents])}
    count = affordable(np.arange(len(cents)), costs, {"money": limit / 100})
    exact = np.searchsorted(np.cumsum(cents), limit, side="right")
    assert count == exact


@given(st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=30), st.floats(1e-3, 1e13))
def test_costs_of_any_size_never_exceed_by_one_tile(costs, limit):
    count = affordable(np.arange(len(costs)), {"c": np.array(costs)}, {"c": limit})
    excess = sum(map(Fraction, costs[:count])) - Fraction(limit)
    assert excess < Fraction(min(costs))


@given(st.integers(1, 10**5), st.integers(1, 100_00))
def test_a_share_of_tiles_rounds_down(n, basis_points):
    budget = Budget.parse(f"{basis_points / 100}%")
    costs = {"tiles": np.ones(n)}
    exact = n * basis_points // 100_00
    if exact:
        assert budget.resolve(costs) == {"tiles": exact}
    else:
        with pytest.raises(BudgetError, match="is less than one tile"):
            budget.resolve(costs)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.floats(0, 1e7), st.floats(0, 1e7))
def test_a_larger_budget_buys_a_longer_prefix(costs, a, b):
    order, cost = np.arange(len(costs)), {"c": np.array(costs)}
    small, large = (affordable(order, cost, {"c": limit}) for limit in sorted((a, b)))
    assert small <= large


@given(
    st.dictionaries(UNITS, st.integers(1, 100), min_size=1),
    st.lists(st.dictionaries(UNITS, st.integers(0, 60)), max_size=20),
)
def test_a_ledger_never_overspends_and_refuses_all_or_nothing(limits, purchases):
    ledger = Ledger({unit: float(v) for unit, v in limits.items()})
    for amounts in purchases:
        before = dict(ledger.spent)
        if ledger.can(**amounts):
            ledger.spend(**amounts)
        else:
            with pytest.raises(BudgetError, match="A budget is never exceeded"):
                ledger.spend(**amounts)
            assert ledger.spent == before
        for unit, limit in limits.items():
            assert ledger.spent.get(unit, 0) <= limit
            assert ledger.left(unit) == limit - ledger.spent.get(unit, 0)
