"""Whatever the order and the costs: prefixes, nested, within every limit."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from foveate.budget import Budget
from foveate.errors import BudgetError
from foveate.selection import Ranking


@st.composite
def rankings(draw):
    n = draw(st.integers(1, 30))
    rows = draw(st.permutations(range(n)))
    area = draw(st.lists(st.integers(1, 500), min_size=n, max_size=n))
    unscored = draw(st.integers(0, n))
    score = np.where(np.arange(n) < n - unscored, -np.arange(n), np.nan)
    depth = draw(st.integers(1, n))
    costs = {"area": np.array(area) / 100}
    return Ranking(np.array(rows)[:depth], score[:depth], n, costs=costs)


BUDGETS = st.builds(
    lambda tiles, area: Budget.parse({"tiles": tiles, "area": area / 100}),
    st.integers(1, 40),
    st.integers(500, 20_000),
)


def bought(ranking, budget):
    try:
        return ranking.at(budget)
    except BudgetError:
        return None


@given(rankings(), BUDGETS)
def test_no_limit_is_exceeded_and_the_next_row_would_not_fit(ranking, budget):
    chosen = bought(ranking, budget)
    assume(chosen)
    tiles, area = (budget.limits[unit].value for unit in ("tiles", "area"))
    cents = np.rint(ranking.costs["area"] * 100).astype(int)
    assert len(chosen) <= tiles
    assert cents[chosen.rows].sum() <= round(area * 100)
    assert chosen.rows.tolist() == ranking.rows[: len(chosen)].tolist()
    if len(chosen) < ranking.depth:
        following = cents[ranking.rows[: len(chosen) + 1]].sum()
        assert len(chosen) + 1 > tiles or following > round(area * 100)
    limits = budget.resolve(ranking.costs)  # where all costs are whole numbers, limits are, too
    for unit, left in chosen.unspent.items():
        assert left >= 0
        assert abs(chosen.spent[unit] + left - limits[unit]) < 1e-6


@given(rankings(), BUDGETS, BUDGETS)
def test_a_budget_that_is_larger_in_every_unit_keeps_what_the_smaller_one_had(ranking, a, b):
    larger = {u: max(a.limits[u].value, b.limits[u].value) for u in a.limits}
    small, large = bought(ranking, a), bought(ranking, larger)
    assume(small is not None and large is not None)
    assert large.rows[: len(small)].tolist() == small.rows.tolist()


@given(rankings(), BUDGETS)
def test_a_cut_ranking_buys_the_same_as_the_full_one_or_says_that_it_cannot(ranking, budget):
    rest = np.setdiff1d(np.arange(ranking.n), ranking.rows)
    rows = np.concatenate([ranking.rows, rest])
    full = Ranking(rows, -np.arange(ranking.n), ranking.n, costs=ranking.costs)
    chosen = bought(ranking, budget)
    if chosen is not None:
        assert full.at(budget).rows.tolist() == chosen.rows.tolist()


@given(rankings())
def test_positions_invert_the_order(ranking):
    place = ranking.position()
    assert place[ranking.rows].tolist() == list(range(ranking.depth))
    assert (place == ranking.n).sum() == ranking.n - ranking.depth
