"""Near-duplicates: planted groups, and the rules compared with plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.select.duplicates import (
    by_gap,
    by_share,
    by_threshold,
    dimension,
    near_pairs,
    representatives,
)
from foveate.select.duplicates import distance_to as distances


def ties_of(n, seed=0):
    return np.random.default_rng(seed).permutation(n).astype(np.uint64)


def pairs_of(x, seed=0):
    return near_pairs(x, np.random.default_rng(seed), ties_of(len(x)))


def scattered(n=60, d=8, seed=1):
    return np.random.default_rng(seed).normal(size=(n, d))


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_pairs_are_the_nearest_rows():
    x = scattered(200)
    found = pairs_of(x)
    full = np.sqrt(np.maximum(2 - 2 * unit(x) @ unit(x).T, 0))
    np.fill_diagonal(full, np.inf)
    known = {(a, b) for a, b in zip(found.first.tolist(), found.second.tolist(), strict=True)}
    for row in range(200):
        for other in np.argsort(full[row])[:16].tolist():
            assert (min(row, other), max(row, other)) in known
    assert found.distance == pytest.approx(full[found.first, found.second], abs=1e-7)
    assert (np.diff(found.distance) >= 0).all()
    assert found.half == pytest.approx(np.sort(full, axis=1)[:, 3])
    assert found.spacing == pytest.approx(np.sort(full, axis=1)[:, 7])


def test_only_planted_copies_are_grouped():
    x = scattered()
    near = x[:5] + 0.01 * scattered(5, seed=2)
    both = np.concatenate([x, near, x[10:12]])
    group = by_gap(pairs_of(both))
    expected = np.arange(67)
    expected[60:65], expected[65:] = np.arange(5), [10, 11]
    assert len(set(group)) >= 59  # a chance of 5 % before the other row is asked, too
    assert all(group[i] == group[expected[i]] for i in range(67))


def test_number_of_copies_in_a_group_is_limited():
    x = scattered(40)
    three = np.concatenate([x, x[:1] + 0.01 * scattered(2, seed=4)])
    assert len(set(by_gap(pairs_of(three))[[0, 40, 41]])) == 1
    many = np.concatenate([x, x[:1] + 0.01 * scattered(9, seed=4)])
    assert len(set(by_gap(pairs_of(many), copies=10, chance=0.9)[[0, *range(40, 49)]])) == 1
    assert len(set(by_gap(pairs_of(many), chance=0.0))) == 49


@pytest.mark.parametrize("d", [3, 8, 20])
def test_random_rows_are_rarely_grouped(d):
    pairs = pairs_of(scattered(500, d))
    assert 0.6 * (d - 1) < dimension(pairs) <= d
    assert len(set(by_gap(pairs).tolist())) > 0.97 * 500


def test_any_number_of_identical_rows_is_grouped():
    x = np.concatenate([scattered(30), np.repeat(scattered(1, seed=9), 100, axis=0)])
    assert len(set(by_gap(pairs_of(x), chance=0.001).tolist())) == 31
    assert len(set(by_threshold(pairs_of(x), 0.0, np.arange(130)).tolist())) == 31


def test_two_rows_without_others_are_not_grouped():
    assert by_gap(pairs_of(scattered(2))).tolist() == [0, 1]


@given(st.integers(1, 16), st.floats(0, 2), st.integers(0, 99))
def test_by_threshold_equals_literal_loop(n, distance, seed):
    x = np.random.default_rng(seed).integers(-2, 3, (n, 3)).astype(float)
    pairs = pairs_of(x, seed)
    order = np.random.default_rng(seed).permutation(n)
    found = by_threshold(pairs, distance, order)
    near = {(a, b) for a, b, d in zip(pairs.first, pairs.second, pairs.distance, strict=True)
            if d <= distance}  # fmt: skip
    near |= {(b, a) for a, b in near}
    kept = []
    for row in order.tolist():
        if pairs.same[row] == row and not any((row, other) in near for other in kept):
            kept.append(row)
    assert sorted(set(found.tolist())) == sorted(kept)
    for row in range(n):
        own = pairs.same[row]
        assert found[row] == own or (own, found[row]) in near


def test_representative_is_least_similar_to_the_centre():
    x = scattered(50)
    both = np.concatenate([x, x[:6] + 0.02 * scattered(6, seed=5)])
    pairs = pairs_of(both)
    group = by_gap(pairs)
    kept = representatives(pairs, group, ties_of(56))
    for row in range(6):
        assert pairs.typical[kept[row]] == min(pairs.typical[[row, 50 + row]])
    assert (kept[kept] == kept).all()


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.9, 1.0])
def test_by_share_removes_copies_first(keep):
    x = scattered(80)
    both = np.concatenate([x, x[:20] + 0.001 * scattered(20, seed=6)])
    found = by_share(pairs_of(both), keep, ties_of(100))
    kept = int((found == np.arange(100)).sum())
    assert int(keep * 100) <= kept <= int(keep * 100) + 5
    if keep <= 0.8:
        assert all((found[i] == i) + (found[80 + i] == 80 + i) <= 1 for i in range(20))


@given(st.integers(0, 999), st.sampled_from([0.3, 0.5, 0.8]), st.integers(1, 5))
def test_by_share_keeps_the_share_of_each_part(seed, keep, count):
    draw = np.random.default_rng(seed)
    x = np.concatenate([scattered(60, seed=seed), scattered(60, seed=seed)[:10]])
    parts = draw.integers(0, 9, (70, count)) * (draw.random((70, count)) < 0.4)
    found = by_share(pairs_of(x), keep, ties_of(70), parts)
    kept = found == np.arange(70)
    copies = parts[60:].sum(axis=0)  # the same numbers once more: these go in any case
    assert (parts[kept].sum(axis=0) >= np.floor(keep * parts.sum(axis=0)) - copies).all()
    assert (found[found] == found).all()  # representatives are kept
    assert kept.sum() >= int(keep * 70)
    assert kept.sum() <= 60


def test_pools_with_several_cells(monkeypatch):
    monkeypatch.setattr("foveate.select.duplicates._CELL", 50)
    x = np.concatenate([scattered(300), scattered(300)[:40] * 3])  # other lengths
    pairs = near_pairs(x, np.random.default_rng(0), ties_of(340))
    # k-means is of rows as they are: a copy of another length may lie in another cell.
    exact = np.concatenate([scattered(300), scattered(300)[:40] + 1e-4])
    group = by_gap(near_pairs(exact, np.random.default_rng(0), ties_of(340)))
    assert (group[300:] == group[:40]).mean() > 0.9
    assert pairs.first.size > 0


def test_distances_of_rows_of_zeros():
    x = np.array([[0.0, 0], [0, 0], [0, 2]])
    assert distances(x, np.array([0, 0]), np.array([1, 2])).tolist() == [0, 1]
