"""Strata: shares of the picks by value, in every prefix and by every method."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruled import features, pool_of, ranked

from foveate.curate import METHODS, CurateJob, rank
from foveate.errors import DataError, ParameterError
from foveate.pool import Pool
from foveate.pool.rules import Rules, check_strata, read_strata, strata_of
from foveate.select.constraints import Constraint, Quota
from foveate.select.strata import Strata

NONE = np.empty(0, np.int64)


@st.composite
def strata(draw, largest=40):
    """Rows in up to six strata, shares in proportion to their sizes or drawn."""
    n, v = draw(st.integers(1, largest)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    code = rng.integers(0, v, n)
    sizes = np.bincount(code, minlength=v)
    share = sizes / n if draw(st.booleans()) else rng.dirichlet(np.ones(v))
    return Strata("c", tuple("abcdef"[:v]), code, share), rng


def assert_shares(found, counts, k):
    """Each share of k is rounded down or up."""
    assert counts.sum() == k
    assert (counts >= np.floor(found.share * k + 1e-9)).all()
    assert (counts <= np.ceil(found.share * k - 1e-9)).all()


@given(strata())
def test_each_prefix_has_each_share_rounded_down_or_up(made):
    found, rng = made
    n = found.code.size
    order = Constraint(n, strata=found).apply(rng.permutation(n))
    room, short = found.room(n, NONE)
    assert room == n or short >= 0
    for k in range(1, room + 1):
        assert_shares(found, found.sizes(order[:k]), k)
        assert_shares(found, found.counts(k, NONE), k)


@given(strata())
def test_inside_a_stratum_the_order_stays(made):
    found, rng = made
    n = found.code.size
    order = rng.permutation(n)
    constraint = Constraint(n, strata=found)
    applied = constraint.apply(order)
    for value in range(found.size):
        assert applied[found.code[applied] == value].tolist() == (
            order[found.code[order] == value].tolist()
        )
    assert constraint.apply(applied).tolist() == applied.tolist()
    assert constraint.count(applied) == int((found.share[found.code] == 0).sum())


@given(strata(), st.integers(1, 3), st.floats(0, 0.3))
def test_turns_go_with_other_rules_as_by_hand(made, most, density):
    found, rng = made
    n = found.code.size
    pick, other = np.nonzero(rng.random((n, n)) < density)
    city = rng.integers(0, 4, n)
    given_rows = rng.permutation(n)[: rng.integers(0, min(3, n))]
    constraint = Constraint(
        n, Constraint.of(pick, other, n).rules, (Quota("q", city, most=most),),
        np.sort(given_rows), found,
    )  # fmt: skip
    order = rng.permutation(n)
    forbidden = {row: set(other[pick == row].tolist()) for row in range(n)}
    taken, begun = [], given_rows.tolist()
    while True:
        every = begun + taken
        blocked = set(every).union(*(forbidden[row] for row in every))
        used = found.sizes(np.array(every, np.int64))
        fits = [row for row in order.tolist() if row not in blocked
                and sum(city[t] == city[row] for t in every) < most
                and found.share[found.code[row]] > 0]  # fmt: skip
        if not fits:
            break
        k = len(every) + 1

        def claim(row, used=used, k=k):
            own = found.code[row]
            behind = used[own] < found.share[own] * k - 1e-9
            return behind, round(found.share[own] / (used[own] + 1), 12)

        best = max(map(claim, fits))
        taken.append(next(row for row in fits if claim(row) == best))
    applied = constraint.apply(order).tolist()
    assert applied[: len(taken)] == taken


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("text", ["city", "city=equal", "city=a:40%"])
def test_every_method_keeps_strata(name, text):
    pool = pool_of()
    found = ranked(pool, name, strata=text)
    assert sorted(found.rows.tolist()) == list(range(len(pool)))
    wanted = strata_of(pool, text)
    room, _ = wanted.room(len(pool), NONE)
    for k in range(1, room + 1):
        assert_shares(wanted, wanted.sizes(found.rows[:k]), k)


@pytest.mark.parametrize("name", [n for n in METHODS if METHODS.get(n).greedy])
def test_a_greedy_method_that_stops_early_keeps_strata(name):
    pool = pool_of()
    rules = Rules(strata="city")
    found = rank(pool, name, embeddings=features(pool), depth=7, max_overlap=1.0, rules=rules)
    wanted = strata_of(pool, "city")
    assert_shares(wanted, wanted.sizes(found.rows), 7)


def test_what_is_picked_already_counts():
    pool = Pool.from_arrays(n=12, attributes={"c": ["a"] * 6 + ["b"] * 6})
    found = rank(pool, "random", rules=Rules(strata="c"), picked=pool.ids[:3])
    assert (found.rows[:3] >= 6).all()


def test_shares_of_all_forms():
    pool = Pool.from_arrays(
        n=8, attributes={"c": ["a", "a", "a", "b", "b", "d", "", ""]},
        counts=[[9, 0], [9, 1], [2, 3], [0, 4], [0, 4], [0, 4], [0, 4], [0, 0]],
    )  # fmt: skip
    found = {text: strata_of(pool, text) for text in ("c", "c=equal", "c=a:50%,b:20%", "class")}
    share = {text: dict(zip(one.values, one.share, strict=True)) for text, one in found.items()}
    assert share["c"]["a"] == pytest.approx(3 / 8)
    assert share["c=equal"]["b"] == pytest.approx(share["c=equal"]["a"])
    assert share["c=a:50%,b:20%"]["a"] == pytest.approx(0.5)
    for one in share.values():
        assert sum(one.values()) == pytest.approx(1)
    assert found["class"].sizes().tolist() == [2, 5, 1]


@pytest.mark.parametrize("text", ["", "=", "c=", "c=a", "c=a:x", "c=a:5", "c=a:60%,b:60%", "c=:5%",
                                  "c=a:5%,a:5%"])  # fmt: skip
def test_other_forms_are_refused(text):
    with pytest.raises(ParameterError):
        read_strata(text)
    with pytest.raises(ParameterError):
        CurateJob(images=["x"], strata=text).rules()


def test_impossible_strata_raise_with_hint():
    pool = Pool.from_arrays(n=10, attributes={"c": ["a"] * 8 + ["b"] * 2})
    with pytest.raises(ParameterError, match="no value 'x'"):
        strata_of(pool, "c=x:50%")
    with pytest.raises(ParameterError, match="no other value"):
        strata_of(pool, "c=a:50%,b:20%")
    with pytest.raises(ParameterError, match="without masks"):
        strata_of(pool, "class")
    with pytest.raises(ParameterError, match="column"):
        strata_of(pool, "nothing")
    constraint = Rules(strata="c=b:50%").constraint(pool)
    check_strata(constraint, 4)
    with pytest.raises(ParameterError, match=r"require 50 % of .* 'b'") as caught:
        check_strata(constraint, 8)
    hinted = int(caught.value.hint.split("budget of ")[1].split()[0])
    check_strata(constraint, hinted)
    assert math.ceil(hinted / 2) >= 2
    with pytest.raises(ParameterError, match="strata of 'c' and of 'c'"):
        constraint.joined(constraint)


def test_run_is_stratified_and_reports_it(tmp_path):
    from labelled import write_labelled

    write_labelled(tmp_path, n=4, side=32, classes=3)
    job = {"images": [str(tmp_path / "images")], "masks": [str(tmp_path / "masks")], "tile": 8}
    run = CurateJob(**job, methods="cb", budget="25%", strata="scene").run(tmp_path / "out")
    import pyarrow.parquet as pq

    picks = pq.read_table(tmp_path / "out/selection/cb.parquet").to_pandas()
    assert picks.scene.value_counts().tolist() == [4, 4, 4, 4]
    assert run.record["summary"]["strata"] == "scene"
    with pytest.raises((ParameterError, DataError), match="require 90 %"):
        CurateJob(**job, methods="cb", budget="50%", strata="scene=s0_0:90%").run(tmp_path / "no")
