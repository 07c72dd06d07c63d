"""Rules of distance, groups and quotas, against loops that keep them literally."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from ruled import features, pool_of, ranked

from foveate.curate import METHODS, rank
from foveate.errors import DataError, ParameterError
from foveate.pool import Pool
from foveate.pool.rules import Rules, check_quotas, read_quota


def metres(pool):
    """Distances by haversine, which a sphere has."""
    points = shapely.centroid(pool.footprints())
    lon, lat = np.radians([shapely.get_x(points), shapely.get_y(points)])
    d = np.sin((lat[:, None] - lat) / 2) ** 2
    d += np.cos(lat)[:, None] * np.cos(lat) * np.sin((lon[:, None] - lon) / 2) ** 2
    return 2 * 6378137 * np.arcsin(np.sqrt(d))


@pytest.mark.parametrize("name", list(METHODS))
def test_no_method_picks_within_the_distance(name):
    pool = pool_of()
    found, apart = ranked(pool, name, min_distance=2500), metres(pool)
    first = found.rows[: found.first_put_back]
    assert found.full
    assert 1 < first.size < len(pool)
    between = apart[np.ix_(first, first)][~np.eye(first.size, dtype=bool)]
    assert between.min() > 2500 * 0.99
    rest = found.rows[found.first_put_back :]
    assert (apart[np.ix_(rest, first)].min(axis=1) < 2500 * 1.01).all()


@pytest.mark.parametrize("name", list(METHODS))
def test_one_of_each_group_goes_ahead(name):
    pool = pool_of()
    found = ranked(pool, name, groups="city")
    first = pool.attributes["city"][found.rows[: found.first_put_back]]
    assert sorted(first) == sorted(set(pool.attributes["city"]))


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("amount", ["30%", "2"])
def test_every_prefix_keeps_its_quota(name, amount):
    pool = pool_of()
    found = ranked(pool, name, quota={"city": amount})
    assert sorted(found.rows.tolist()) == list(range(len(pool)))
    cities, first = pool.attributes["city"][found.rows], found.first_put_back
    for k in range(1, first + 1):
        most = max(1, math.ceil(0.3 * k - 1e-9)) if amount == "30%" else 2
        assert np.unique(cities[:k], return_counts=True)[1].max() <= most
    if first < len(pool):  # whatever came next would break it
        most = max(1, math.ceil(0.3 * (first + 1) - 1e-9)) if amount == "30%" else 2
        for city in set(cities[first:]):
            assert (cities[:first] == city).sum() + 1 > most


@given(st.integers(0, 99), st.sampled_from([0.2, 0.34, 0.5, 0.75]), st.booleans())
def test_an_order_waits_for_its_quota_as_by_hand(seed, share, spread):
    pool = pool_of(16, seed)
    rules = Rules(quota={"city": f"{100 * share}%"}, min_distance=2000 if spread else None)
    constraint = rules.constraint(pool)
    order = np.random.default_rng(seed).permutation(16)
    cities, apart = pool.attributes["city"], metres(pool)
    # The sphere of this test and the ellipsoid differ by less than 1 %.
    assume(not spread or not (np.abs(apart - 2000) < 20).any())
    left, taken = order.tolist(), []
    while True:
        most = max(1, math.ceil(share * (len(taken) + 1) - 1e-9))
        fits = [row for row in left
                if sum(cities[t] == cities[row] for t in taken) < most
                and not (spread and any(apart[row, t] < 2000 for t in taken))]  # fmt: skip
        if not fits:
            break
        taken.append(fits[0])
        left.remove(fits[0])
    found = constraint.apply(order)
    assert found.tolist() == taken + left
    assert constraint.count(found) == len(left)
    assert constraint.apply(found).tolist() == found.tolist()


def test_a_value_that_is_missing_is_in_no_group_and_under_no_quota():
    import pyarrow as pa

    from foveate.pool.attributes import Attributes

    known = Attributes(pa.table({"c": ["a", None, None, "a"]}))
    pool = Pool.from_arrays(n=4, attributes=known)
    assert rank(pool, "random", rules=Rules(groups="c")).meta["put_back"] == 1
    assert rank(pool, "random", rules=Rules(quota={"c": 1})).meta["put_back"] == 1


@pytest.mark.parametrize("name", ["kcenter", "cb"])
def test_a_greedy_method_that_stops_keeps_its_quota(name):
    pool = pool_of()
    x = features(pool)
    for depth in (5, 10):
        found = rank(pool, name, embeddings=x, depth=depth, max_overlap=1,
                     rules=Rules(quota={"city": "30%"}))  # fmt: skip
        assert found.depth == depth
        cities = pool.attributes["city"][found.rows]
        for k in range(1, min(depth, found.first_put_back) + 1):
            most = max(1, math.ceil(0.3 * k - 1e-9))
            assert np.unique(cities[:k], return_counts=True)[1].max() <= most
        assert found.first_put_back >= 5


def test_outlines_that_share_ground_are_put_back():
    shapes = [shapely.box(0, 0, 1, 1), shapely.box(0.4, 0, 1.4, 1), shapely.box(1, 0, 2, 1),
              shapely.box(1.4, 0, 2.4, 1)]  # fmt: skip
    pool = Pool.from_arrays(n=4, outlines=shapes, attributes={"v": [4, 3, 2, 1]})

    def tail(share):
        found = rank(pool, "column", max_overlap=share)
        return sorted(found.rows[found.first_put_back :].tolist())

    assert tail(0.5) == [1, 3]
    assert tail(0.7) == []
    assert tail(0.0) == [1, 3]
    assert rank(pool, "column", max_overlap=1, rules=Rules(groups="place")).meta["put_back"] == 2


def test_rules_that_the_pool_has_no_ground_for():
    pool = Pool.from_arrays(n=3, attributes={"v": [1, 2, 3]})
    with pytest.raises(DataError, match=r"Distances in metres require.*--no-overlap"):
        rank(pool, "random", rules=Rules(min_distance=5))
    with pytest.raises(DataError, match=r"same ground.*--groups COLUMN"):
        rank(pool, "random", rules=Rules(groups="place"))
    with pytest.raises(ParameterError, match=r"no column 'w'.*Columns of the pool: v"):
        rank(pool, "random", rules=Rules(quota={"w": "1"}))
    for bad in ("0%", "x", "2.5", "200%", "-1"):
        with pytest.raises(ParameterError, match=r"scene=20%"):
            read_quota("scene", bad)
    with pytest.raises(ParameterError, match="positive number of metres"):
        Rules(min_distance=0)


def test_impossible_quota_raises_with_hint():
    pool = Pool.from_arrays(n=9, attributes={"c": list("aaabbbccc")})
    tight = Rules(quota={"c": "20%"}).constraint(pool)
    with pytest.raises(
        ParameterError, match=r"c=20%.*allows only 3 of 4 .*at least c=50%, or a bud.* 3"
    ):
        check_quotas(tight, 4)
    check_quotas(tight, 3)
    with pytest.raises(ParameterError, match=r"c=1.*3 of 6.*at least c=2"):
        check_quotas(Rules(quota={"c": 1}).constraint(pool), 6)
