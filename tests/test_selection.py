from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from foveate.errors import BudgetError, DataError
from foveate.selection import Ranking, Selection

IDS = np.array(["a", "b", "c", "d"])


def ranking(rows=(2, 0, 3, 1), score=(4, 3, 2, 1), n=4, **rest):
    return Ranking(np.array(rows), np.array(score), n, **rest)


def test_a_budget_buys_a_prefix_and_reports_what_is_left():
    chosen = ranking(ids=IDS, meta={"method": "lc"}).at("60%")
    assert chosen.rows.tolist() == [2, 0]
    assert chosen.values.tolist() == ["c", "a"]
    assert chosen.score.tolist() == [4, 3]
    assert chosen.spent == {"tiles": 2}
    assert chosen.unspent == {"tiles": 0}
    assert chosen.nested
    assert chosen.meta == {"method": "lc", "budget": "60%"}
    assert chosen.mask().tolist() == [True, False, True, False]
    assert len(chosen) == 2


def test_several_units_hold_at_once_and_all_are_reported():
    area = np.array([1.0, 2.0, 3.0, 4.0])
    chosen = ranking(costs={"area": area}).at({"tiles": 3, "area": 5})
    assert chosen.rows.tolist() == [2, 0]
    assert chosen.spent == {"tiles": 2, "area": 4}
    assert chosen.unspent == {"tiles": 1, "area": 1}


def test_more_than_the_pool_buys_the_pool():
    assert ranking().at(100).rows.tolist() == [2, 0, 3, 1]
    assert ranking().at("100%").unspent == {"tiles": 0}


def test_positions_are_those_of_the_order_and_n_where_there_is_none():
    assert ranking().position().tolist() == [1, 3, 0, 2]
    partial = ranking(rows=(2, 0), score=(2, 1))
    assert partial.position().tolist() == [1, 4, 0, 4]
    assert (partial.depth, partial.full) == (2, False)
    assert ranking().full


def test_a_ranking_to_a_depth_says_when_the_budget_reaches_below():
    partial = ranking(rows=(2, 0), score=(2, 1), meta={"method": "kcenter"})
    assert partial.at(1).rows.tolist() == [2]
    assert partial.at(2).rows.tolist() == [2, 0]
    with pytest.raises(BudgetError) as caught:
        partial.at(3)
    assert str(caught.value) == (
        "a budget of 3 needs more than the 2 rows that 'kcenter' has ranked. The depth of the "
        "ranking is 2 of 4 rows. Rank again with a larger depth, or use a smaller budget."
    )


def test_a_depth_is_enough_when_nothing_below_it_could_be_bought():
    area = np.array([1.0, 5.0, 1.0, 9.0])
    partial = ranking(rows=(2, 0), score=(2, 1), costs={"area": area})
    assert partial.at("area=6.5").rows.tolist() == [2, 0]
    with pytest.raises(BudgetError, match="needs more than the 2 rows"):
        partial.at("area=7")


def test_a_budget_below_the_first_choice_says_its_price():
    costs = {"area": np.array([1.0, 1.0, 8.0, 1.0])}
    with pytest.raises(BudgetError) as caught:
        ranking(costs=costs).at("area=2, tiles=3")
    assert str(caught.value) == (
        "a budget of area=2, tiles=3 is less than the cost of the first tile, area=8, tiles=1. "
        "A selection is a prefix of the ranking; a cheaper tile of lower rank is not selected "
        "instead. Use at least area=8, tiles=1."
    )


def test_an_empty_pool_has_nothing_to_buy():
    with pytest.raises(BudgetError, match="a budget of 5 for an empty pool"):
        ranking(rows=(), score=(), n=0).at(5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rows": (2, 0, 2, 1)}, "rows are repeated. Rows must be unique."),
        ({"rows": (2, 0, 4, 1)}, "rows outside a pool of 4. Allowed: 0 to 3."),
        ({"rows": (2, 0, -1, 1)}, "rows outside a pool of 4. Allowed: 0 to 3."),
        ({"rows": (0,), "score": (1,), "n": 0}, "rows outside a pool of 0. The pool has no rows."),
        ({"rows": (0.5,), "score": (1,)}, "rows of shape (1,) and dtype float64. Rows must"),
        ({"rows": 3, "score": 3}, "rows of shape () and dtype int64. Rows must"),
        ({"score": (1, 2)}, "2 scores for 4 rows. Expected one score per row."),
        ({"score": (1, np.nan, 2, np.nan)}, "a row without a score (NaN) is ranked before a row"),
        ({"ids": ["a"]}, "1 ids for a pool of 4. Expected one id per row."),
        ({"costs": {"area": [1.0]}}, "costs in 'area' of shape (1,) for a pool of 4"),
    ],
)
def test_what_is_no_order_is_refused(given, message):
    with pytest.raises(DataError) as caught:
        ranking(**given)
    assert str(caught.value).startswith(message)


def test_unscored_rows_come_last():
    assert ranking(score=(1, 0.5, np.nan, np.nan)).depth == 4


def test_a_ranking_does_not_change_with_the_arrays_of_the_caller():
    rows, score = np.array([2, 0, 1]), np.array([3.0, 2.0, 1.0])
    ranking = Ranking(rows, score, 3)
    rows[0], score[0] = 1, np.nan
    assert (ranking.rows.tolist(), ranking.score.tolist()) == ([2, 0, 1], [3.0, 2.0, 1.0])
    for array in (ranking.rows, ranking.score):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    selection = ranking.at(2)
    assert np.shares_memory(selection.rows, ranking.rows)  # large rankings are not copied again
    assert np.shares_memory(replace(ranking, meta={"seed": 1}).score, ranking.score)
    assert Selection([0], 1, score=[0.5]).score.dtype == np.float64


def test_a_mask_is_not_taken_for_rows():
    with pytest.raises(DataError, match=r"Use np\.flatnonzero\(mask\) for a mask"):
        Selection(np.array([True, False]), 2)


def test_a_selection_without_ids_speaks_of_rows():
    chosen = Selection([3, 1], 4)
    assert chosen.values.tolist() == [3, 1]
    assert Selection([3, 1], 4, ids=["a", "b", "c", "d"]).values.tolist() == ["d", "b"]


@pytest.mark.parametrize("name", ["score", "weight"])
def test_columns_of_a_selection_have_one_value_per_row(name):
    with pytest.raises(DataError, match=rf"{name} of shape \(3,\) for 2 rows"):
        Selection([3, 1], 4, **{name: np.ones(3)})
    with pytest.raises(DataError, match="1 ids for a pool of 4"):
        Selection([3, 1], 4, ids=["a"])


def test_arrow_has_rank_from_1_row_id_score_and_weight():
    table = pa.table(ranking(ids=IDS))
    assert table.to_pydict() == {
        "rank": [1, 2, 3, 4],
        "row": [2, 0, 3, 1],
        "tile_id": ["c", "a", "d", "b"],
        "score": [4, 3, 2, 1],
    }
    weighted = pa.table(Selection([1], 4, weight=np.array([0.5])))
    assert weighted.to_pydict() == {"rank": [1], "row": [1], "weight": [0.5]}
