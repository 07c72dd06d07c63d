"""Rankings beside each other: taus, average ranks and what the first of them share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.curate import compare
from foveate.errors import DataError, ParameterError
from foveate.selection import Ranking


def ranking(rows, ids=None, n=None):
    rows = np.asarray(rows)
    size = n or (rows.size if ids is None else len(ids))
    return Ranking(rows, np.full(rows.size, np.nan), size, ids)


def by_hand():
    return compare({
        "a": ranking([0, 1, 2, 3], ["p", "q", "r", "s"]),
        "b": ranking([3, 0, 1, 2], ["p", "q", "r", "s"]),
        "c": ranking([2, 0], ["p", "q", "r", "s"]),
    })  # fmt: skip


def test_by_hand():
    found = by_hand()
    assert found.names == ("a", "b", "c")
    assert found.place.tolist() == [[1, 2, 3, 4], [2, 3, 4, 1], [2, 0, 1, 0]]
    assert found.full.tolist() == [True, True, False]
    assert found.depth().tolist() == [4, 4, 2]
    assert found.kendall[0, 1] == 0.0  # three pairs in order, three not
    assert math.isnan(found.kendall[0, 2])
    assert found.average.tolist() == [1.5, 2.5, 3.5, 2.5]
    assert found.spread.tolist() == [0.5, 0.5, 0.5, 1.5]
    assert found.ids[found.order].tolist() == ["p", "q", "s", "r"]
    assert found.overlap(2)[0, 1] == 0.5
    assert found.ids[found.agreed(2)].tolist() == ["p"]
    assert np.isnan(found.overlap(3)[:2, 2]).all()
    assert found.agreed(1).size == 0
    assert found.ids[found.agreed(4)].tolist() == ["p", "r"]


def test_the_spread_of_tau_by_chance():
    # Of the 4! orders of four patches: taus -1 to 1 have the variance 2 (2n + 5) / (9 n (n - 1)).
    from itertools import permutations

    taus = [compare({"a": ranking(range(4)), "b": ranking(order)}).kendall[0, 1]
            for order in permutations(range(4))]  # fmt: skip
    assert by_hand().kendall_sd == pytest.approx(np.std(taus))


def test_patches_that_only_one_pool_has_are_counted():
    found = compare({
        "a": ranking([2, 1, 0], ["p", "q", "r"]),
        "b": ranking([3, 0, 2, 1], ["o", "p", "q", "r"]),
    })  # fmt: skip
    assert found.ids.tolist() == ["p", "q", "r"]
    assert found.left_out == {"a": 0, "b": 1}
    assert found.place.tolist() == [[3, 2, 1], [3, 2, 1]]
    assert found.kendall[0, 1] == pytest.approx(1.0)


def test_what_cannot_be_compared():
    one = ranking([0, 1], ["p", "q"])
    with pytest.raises(DataError, match="1 ranking to compare"):
        compare({"a": one})
    with pytest.raises(DataError, match="no patch in common"):
        compare({"a": one, "b": ranking([0, 1], ["x", "y"])})
    with pytest.raises(DataError, match="without ids"):
        compare({"a": ranking([0, 1]), "b": ranking([0, 1, 2])})
    with pytest.raises(DataError, match="without ids"):
        compare({"a": ranking([0, 1]), "b": one})
    with pytest.raises(ParameterError, match="the first 5 of 4"):
        by_hand().first(5)


@st.composite
def pools(draw):
    """Two to four rankings, full or not, of pools that overlap."""
    names = [f"t{i}" for i in range(12)]
    common = draw(st.sets(st.sampled_from(names), min_size=2))
    found = []
    for _ in range(draw(st.integers(2, 4))):
        own = sorted(common | draw(st.sets(st.sampled_from(names))))
        order = draw(st.permutations(range(len(own))))
        depth = draw(st.sampled_from([len(own), len(own), draw(st.integers(0, len(own)))]))
        found.append((own, list(order)[:depth]))
    return found


@given(pools(), st.randoms())
def test_as_counting_one_by_one(found, random):
    """Places, averages, overlaps and what all agree on, counted without arrays."""
    result = compare({f"m{i}": ranking(rows, ids) for i, (ids, rows) in enumerate(found)})
    common = sorted(set.intersection(*(set(ids) for ids, _ in found)))
    assert result.ids.tolist() == common
    orders = [[ids[row] for row in rows if ids[row] in common] for ids, rows in found]
    full = [order for order in orders if len(order) == len(common)]
    for row, name in enumerate(common):
        for i, order in enumerate(orders):
            assert result.place[i, row] == (order.index(name) + 1 if name in order else 0)
        if full:
            places = [order.index(name) + 1 for order in full]
            assert result.average[row] == pytest.approx(np.mean(places))
            assert result.spread[row] == pytest.approx(np.std(places))
    for k in range(1, len(common) + 1):
        agreed = set.intersection(*(set(order[:k]) for order in orders))
        assert set(result.ids[result.agreed(k)].tolist()) == agreed
        if len(orders[0]) >= k <= len(orders[1]):
            shared = len(set(orders[0][:k]) & set(orders[1][:k]))
            assert result.overlap(k)[0, 1] == pytest.approx(shared / k)
    # The order of the rows of a pool says nothing.
    shuffled = {}
    for i, (ids, rows) in enumerate(found):
        place = list(range(len(ids)))
        random.shuffle(place)
        names = [""] * len(ids)
        for old, new in enumerate(place):
            names[new] = ids[old]
        shuffled[f"m{i}"] = ranking([place[row] for row in rows], names)
    other = compare(shuffled)
    np.testing.assert_array_equal(other.place, result.place)
    np.testing.assert_array_equal(other.order, result.order)
