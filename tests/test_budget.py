import numpy as np
import pytest
import shapely

from foveate.budget import Amount, Budget, Ledger, affordable, ceiling, geodesic_area
from foveate.errors import BudgetError, DataError


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("500", {"tiles": Amount(500)}),
        (500, {"tiles": Amount(500)}),
        (np.int64(5), {"tiles": Amount(5)}),
        ("10%", {"tiles": Amount(0.1, share=True)}),
        (" 12.5 % ", {"tiles": Amount(0.125, share=True)}),
        ("1_000", {"tiles": Amount(1000)}),
        ("pixels=1e9", {"pixels": Amount(1e9)}),
        ("tiles: 8, passes = 24", {"tiles": Amount(8), "passes": Amount(24)}),
        ("tiles=8,", {"tiles": Amount(8)}),
        ("eo:cloud_cover=60", {"eo:cloud_cover": Amount(60)}),
        ("Größe in ha = 5%, a-b: 3", {"Größe in ha": Amount(0.05, share=True), "a-b": Amount(3)}),
        ({"tiles": 8, "area": "25%"}, {"tiles": Amount(8), "area": Amount(0.25, share=True)}),
    ],
)
def test_a_budget_is_read_from_what_one_types(text, limits):
    assert Budget.parse(text).limits == limits


def test_a_budget_is_returned_as_it_is():
    budget = Budget.parse("10%")
    assert Budget.parse(budget) is budget


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty budget"),
        ({}, "an empty budget"),
        ("many", "'many' is not a budget"),
        ("tiles=", "'tiles=' is not a budget"),
        ("5%%", "'5%%' is not a budget"),
        ("a:b:3", "'a:b:3' is not a budget"),
        ("a=b=3", "'a=b=3' is not a budget"),
        ("nan", "'nan' is not a budget"),
        (True, "'True' is not a budget"),
        (None, "'None' is not a budget"),
        ("0", "a budget of 0 tiles. A budget must be finite and positive"),
        ("-3%", "a budget of -3% tiles"),
        ("inf", "a budget of inf tiles. A budget must be finite and positive"),
        ("110%", "a budget of 110% of the tiles. A share must be at most 100%"),
        ("5, tiles=6", "two limits on tiles in '5, tiles=6'. One limit per unit"),
    ],
)
def test_what_is_no_budget_says_what_to_type(text, message):
    with pytest.raises(BudgetError) as caught:
        Budget.parse(text)
    assert str(caught.value).startswith(message)
    assert "--budget 500" in str(caught.value) or "percent sign" in str(caught.value)


@pytest.mark.parametrize("text", ["500", "10%", "7%", "pixels=12345678901", "tiles=8, passes=24"])
def test_a_budget_is_written_as_one_types_it(text):
    assert str(Budget.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "n", "limit"), [("10%", 57, 5), ("29%", 100, 29), ("100%", 7, 7), ("2.9", 5, 2)]
)
def test_shares_of_tiles_round_down(text, n, limit):
    assert Budget.parse(text).resolve({"tiles": np.ones(n)}) == {"tiles": limit}


def test_a_share_is_of_its_own_unit_and_fractions_stay():
    costs = {"area": np.array([1.5, 2.0, 4.0]), "tiles": np.ones(3)}
    assert Budget.parse("area=50%, tiles=2").resolve(costs) == {"area": 3.75, "tiles": 2.0}


def test_a_large_budget_of_whole_numbers_is_kept_to_the_last_one():
    assert Budget.parse("pixels=1e9").resolve({"pixels": np.ones(3)}) == {"pixels": 1e9}
    assert affordable(np.arange(2), {"p": np.array([1e9, 1.0])}, {"p": 1e9}) == 1


def test_more_than_the_pool_buys_everything():
    assert Budget.parse("500").resolve({"tiles": np.ones(3)}) == {"tiles": 500}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1%",
            (
                "a budget of 1% of the tiles is less than one tile. One of the pool's 30 "
                "tiles is 3.334% of it. Use at least --budget 1, or 3.334%."
            ),
        ),
        (
            "area=0.5",
            (
                "a budget of 0.5 area is less than one tile. The cheapest of the pool's 30 "
                "tiles costs 2.5, 3.334% of it. Use at least area=2.5, or area=3.334%."
            ),
        ),
    ],
)
def test_less_than_one_tile_says_what_one_tile_is(text, message):
    with pytest.raises(BudgetError) as caught:
        Budget.parse(text).resolve({"tiles": np.ones(30), "area": np.full(30, 2.5)})
    assert str(caught.value) == message


def test_an_unknown_unit_lists_the_known_ones():
    with pytest.raises(BudgetError, match=r"a budget in 'money'. This pool has costs in: a, tiles"):
        Budget.parse("money=3").resolve({"tiles": np.ones(3), "a": np.ones(3)})


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_costs_that_are_no_costs_are_refused(bad):
    with pytest.raises(DataError, match="negative or missing costs in 'area'"):
        Budget.parse("area=50%").resolve({"area": np.array([1.0, bad])})


def test_free_tiles_and_empty_pools_resolve():
    assert Budget.parse("area=10%").resolve({"area": np.zeros(3)}) == {"area": 0.0}
    assert Budget.parse("10%").resolve({"tiles": np.ones(0)}) == {"tiles": 0.0}


def test_ten_times_a_tenth_fits_into_one():
    costs = {"money": np.full(30, 0.1)}
    assert affordable(np.arange(30), costs, {"money": 1.0}) == 10


def test_the_prefix_ends_at_the_first_tile_that_does_not_fit():
    costs = {"area": np.array([1.0, 9.0, 1.0])}
    assert affordable(np.array([0, 1, 2]), costs, {"area": 2.5}) == 1
    assert affordable(np.array([0, 2, 1]), costs, {"area": 2.5}) == 2


def test_all_limits_hold_at_once():
    costs = {"a": np.ones(5), "b": np.full(5, 2.0)}
    assert affordable(np.arange(5), costs, {"a": 4, "b": 5}) == 2
    assert affordable(np.arange(5), costs, {}) == 5


def test_the_slack_for_rounding_is_less_than_the_cheapest_tile():
    assert ceiling(10.0, np.array([1.0, 3.0])) == 10.0
    assert ceiling(1e10, np.array([0.5, 2.0])) == 1e10 + 0.25
    assert ceiling(1.0, np.array([0.1, 0.0])) == 1 + 1e-9


def test_a_ledger_books_before_the_work_and_refuses_the_unit_too_many():
    ledger = Ledger.open(Budget.parse("tiles=2, passes=1.5"))
    ledger.spend(tiles=1, passes=1)
    with pytest.raises(BudgetError) as caught:
        ledger.spend(tiles=1, passes=1)
    assert str(caught.value) == (
        "spending 1 passes with 0.5 left of 1.5. A budget is never exceeded."
    )
    assert ledger.spent == {"tiles": 1, "passes": 1}
    assert not ledger.can(tiles=1, passes=1)
    assert ledger.can(tiles=1, passes=0.5)
    ledger.spend(tiles=1, passes=0.5)
    assert ledger.left("tiles") == ledger.left("passes") == 0


def test_a_ledger_counts_units_that_are_not_limited():
    ledger = Ledger.open(Budget.parse("2"))
    ledger.spend(seconds=7)
    assert ledger.left("seconds") == float("inf")
    assert ledger.spent == {"seconds": 7}


@pytest.mark.parametrize("amount", [-1, float("nan")])
def test_a_ledger_takes_nothing_back(amount):
    with pytest.raises(BudgetError, match=r"Amounts must be >= 0"):
        Ledger.open(Budget.parse("2")).spend(tiles=amount)


def test_a_ledger_spends_ten_tenths_of_one_but_no_whole_unit_too_many():
    money = Ledger({"money": 1.0})
    for _ in range(10):
        money.spend(money=0.1)
    assert money.left("money") == pytest.approx(0)
    assert not money.can(money=0.001)
    assert not Ledger({"pixels": 1e9}).can(pixels=1e9 + 1)


def test_a_share_needs_a_pool():
    with pytest.raises(BudgetError, match="A share needs a pool with a known total"):
        Ledger.open(Budget.parse("10%"))
    assert Ledger.open(Budget.parse("10%"), {"tiles": np.ones(50)}).limits == {"tiles": 5}


def test_area_on_the_ellipsoid():
    degree = shapely.box([0, 0], [0, 59], [1, 1], [1, 60])
    equator, north = geodesic_area(degree)
    assert equator == pytest.approx(12_308_778_361, rel=1e-6)
    assert 0.49 < north / equator < 0.53
    assert geodesic_area(shapely.reverse(degree)).tolist() == [equator, north]
    assert geodesic_area(np.array([], dtype=object)).shape == (0,)


@pytest.mark.parametrize(
    ("text", "units", "said", "unsaid"),
    [
        ("pixels=1e9", ["tiles"], "needs imagery. Use a number of tiles (--budget 500) or a share",
         "pixels=1e9"),
        ("area=1e9", ["tiles"], "(--budget 500) or a share (10%).", "pixels="),
        ("area=25%", ["tiles"], "georeferenced scenes. Use 25% instead.", "pixels="),
        ("area=25%", ["tiles", "pixels"], "Use pixels=25% instead.", "area=25%"),
        ("bytes=1e9", ["tiles", "area", "ha"], "(--budget 500), a share (10%) or area=25%.", "1e9"),
    ],
)  # fmt: skip
def test_the_hint_names_only_budgets_that_the_pool_has(text, units, said, unsaid):
    with pytest.raises(BudgetError) as error:
        Budget.parse(text).resolve({unit: np.ones(3) for unit in units})
    assert said in str(error.value)
    assert unsaid not in str(error.value)
