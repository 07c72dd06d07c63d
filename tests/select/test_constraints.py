"""Constraints, compared with loops that apply them literally."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.select.balance import TOLERANCE, balance_greedy
from foveate.select.constraints import Constraint
from foveate.select.kcenter import kcenter_greedy
from foveate.select.sampling import round_robin


@st.composite
def constraints(draw, largest=24):
    """Random pairs between groups of rows, in one direction or both, and rows put back at once."""
    n = draw(st.integers(1, largest))
    m = draw(st.integers(1, n))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    group = np.concatenate([np.arange(m), rng.integers(0, m, n - m)])
    density = draw(st.sampled_from([0.0, 0.05, 0.2, 0.6]))
    pick, other = np.nonzero((rng.random((m, m)) < density) & ~np.eye(m, dtype=bool))
    made = Constraint.of(pick, other, n, group=rng.permutation(group))
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    return replace(made, last=np.flatnonzero(rng.random(n) < share)), rng


def forbids(constraint):
    """Convert a constraint to the set of forbidden rows of each row."""
    if not constraint.rules:
        return [set() for _ in range(len(constraint))]
    (constraint,) = constraint.rules
    edges = {}
    for g, (a, b) in enumerate(zip(constraint.start[:-1], constraint.start[1:], strict=True)):
        edges[g] = {g, *constraint.forbidden[a:b].tolist()}
    group = constraint.group.tolist()
    return [
        {r for r, other in enumerate(group) if other in edges[g] and r != row}
        for row, g in enumerate(group)
    ]


def by_hand(best, constraint):
    """Pick the row that `best` chooses, until none is left; then repeat for the forbidden rows."""
    edges, waiting, taken = forbids(constraint), set(constraint.last.tolist()), []
    left = set(range(len(constraint))) - waiting
    for turn in range(2):
        while left:
            row = best(taken, left)
            taken.append(row)
            left.discard(row)
            if turn == 0:
                waiting |= left & edges[row]
                left -= edges[row]
        left = waiting
    return taken


def ties_of(rng, n):
    return rng.permutation(n).astype(np.uint64)


@given(constraints())
def test_apply_equals_literal_loop(made):
    constraint, rng = made
    order = rng.permutation(len(constraint))
    place = order.tolist().index
    found = constraint.apply(order)
    assert found.tolist() == by_hand(lambda _, left: min(left, key=place), constraint)
    edges = forbids(constraint)
    for k in range(len(order) + 1):
        kept = constraint.open().admit(found[:k]).tolist()
        blocked = set(constraint.last.tolist()).union(*(edges[row] for row in kept)) - set(kept)
        assert constraint.count(found[:k]) == len(blocked)


@given(constraints())
def test_take_permutes_the_constraint(made):
    constraint, rng = made
    rows = rng.permutation(len(constraint))
    place = np.argsort(rows)
    moved = [{int(place[r]) for r in forbids(constraint)[row]} for row in rows]
    taken = constraint.take(rows)
    assert forbids(taken) == moved
    assert rows[taken.last].tolist() == sorted(
        constraint.last.tolist(), key=place.tolist().__getitem__
    )


def test_empty_constraint_forbids_nothing():
    assert Constraint.of([], [], 3).empty
    assert not Constraint.of([0], [1], 3).empty
    assert not Constraint.of([], [], 3, group=[0, 1, 0]).empty
    assert Constraint.of([], [], 0).empty
    last = replace(Constraint.of([], [], 3), last=np.array([1]))
    assert last.fixed
    assert not last.empty


@given(constraints(), st.integers(1, 5), st.sampled_from(["auto", "always", "never"]))
def test_class_balance_with_constraint_equals_literal_loop(made, classes, screening):
    constraint, rng = made
    n = len(constraint)
    counts = rng.choice([0, 0, 1, 2, 5, 10], (n, classes))
    ties = ties_of(rng, n)
    columns = counts.any(axis=0)

    def best(taken, left):
        filled = {r for r in left if counts[r].any()}
        if not filled or columns.sum() < 2:
            return min(filled or left, key=lambda r: ties[r])
        mix = counts[taken].sum(axis=0)
        heights = {}
        for row in filled:
            shares = (mix + counts[row])[columns] / (mix + counts[row]).sum()
            shares = shares[shares > 0]
            heights[row] = -(shares * np.log(shares)).sum() / np.log(columns.sum())
        top = max(heights.values()) - TOLERANCE
        return min((r for r in filled if heights[r] >= top), key=lambda r: ties[r])

    found = balance_greedy(counts, ties=ties, constraint=constraint, screening=screening)
    assert found.rows.tolist() == by_hand(best, constraint)
    k = int(rng.integers(0, n + 1))
    short = balance_greedy(counts, k, ties=ties, constraint=constraint, screening=screening)
    assert short.rows.tolist() == found.rows[:k].tolist()


@pytest.mark.parametrize("screening", ["always", "never"])
def test_class_balance_of_many_rows_does_not_depend_on_screening(screening):
    rng = np.random.default_rng(1)
    n = 600
    counts = rng.multinomial(64, rng.dirichlet(np.full(5, 0.4), n).mean(axis=0), n)
    counts[::3] = np.eye(5, dtype=int)[rng.integers(0, 5, n)][::3] * 64
    pick, other = rng.integers(0, n, (2, 2 * n))
    apart = pick != other
    constraint = Constraint.of(pick[apart], other[apart], n)
    ties = ties_of(rng, n)
    expected = balance_greedy(counts, ties=ties, constraint=constraint).rows
    found = balance_greedy(counts, ties=ties, constraint=constraint, screening=screening).rows
    assert found.tolist() == expected.tolist()
    first = n - constraint.count(found)
    assert constraint.open().admit(found).tolist() == found[:first].tolist()


@given(constraints(), st.integers(2, 9), st.integers(2, 9))
def test_kcenter_with_constraint_equals_literal_loop(made, block, candidates):
    constraint, rng = made
    n = len(constraint)
    x = rng.integers(0, 4, (n, 2)).astype(np.float64)
    ties, free = ties_of(rng, n), np.flatnonzero(constraint.open().free)
    start = int(rng.choice(free if free.size else n))

    def best(taken, left):
        if not taken:
            return start
        gap = {r: min(((x[r] - x[c]) ** 2).sum() for c in taken) for r in left}
        top = max(gap.values())
        return min((r for r in left if gap[r] == top), key=lambda r: ties[r])

    options = {
        "ties": ties, "start": start, "constraint": constraint, "block": block,
        "candidates": candidates,
    }  # fmt: skip
    found = kcenter_greedy(x, n, **options)
    assert found.rows.tolist() == by_hand(best, constraint)
    for i in range(1, n):
        gap = np.sqrt(((x[found.rows[i]] - x[found.rows[:i]]) ** 2).sum(axis=1).min())
        assert found.distance[i] == pytest.approx(gap)
    k = int(rng.integers(1, n + 1))
    assert kcenter_greedy(x, k, **options).rows.tolist() == found.rows[:k].tolist()


@given(constraints())
def test_given_rows_forbid_others(made):
    constraint, rng = made
    n = len(constraint)
    given_rows = rng.permutation(n)[: int(rng.integers(1, n + 1))]
    ties = ties_of(rng, n)
    options = {"ties": ties, "given": given_rows, "constraint": constraint}
    counts = rng.integers(1, 5, (n, 3))
    k = n - len(given_rows)
    for rows in (
        balance_greedy(counts, **options).rows,
        kcenter_greedy(counts.astype(np.float32), k, **options).rows,
    ):
        assert sorted([*rows.tolist(), *given_rows.tolist()]) == list(range(n))
        taken = constraint.open(given_rows).admit(rows).tolist()
        assert rows[: len(taken)].tolist() == taken


@given(constraints(), st.integers(1, 4))
def test_round_robin_skips_forbidden_rows(made, k):
    constraint, rng = made
    n = len(constraint)
    groups = rng.integers(0, k, n)
    within = np.empty(n, np.int64)
    for group in range(k):
        members = np.flatnonzero(groups == group)
        within[members] = rng.permutation(members.size)
    per_turn = rng.integers(1, 3, k)
    found = round_robin(groups, within, per_turn, constraint)
    edges = forbids(constraint)

    def turns(left, *, keep):
        taken, waiting = [], set()
        while left:
            for group in range(k):
                for _ in range(per_turn[group]):
                    mine = [r for r in left if groups[r] == group]
                    if mine:
                        row = min(mine, key=lambda r: within[r])
                        taken.append(row)
                        left.discard(row)
                        waiting |= left & edges[row] if keep else set()
                        left -= edges[row] if keep else set()
        return taken, waiting

    last = set(constraint.last.tolist())
    first, rest = turns(set(range(n)) - last, keep=True)
    assert found.tolist() == first + turns(rest | last, keep=False)[0]


def test_repeated_pairs_count_once():
    twice = Constraint.of([0, 2, 0, 0], [1, 1, 1, 1], 3)
    once = Constraint.of([0, 2], [1, 1], 3)
    for rule, expected in zip(twice.rules, once.rules, strict=True):
        np.testing.assert_array_equal(rule.forbidden, expected.forbidden)
        np.testing.assert_array_equal(rule.start, expected.start)
    assert twice.open([0]).free.tolist() == once.open([0]).free.tolist()
