"""Class balance: arguments, degenerate pools, ties, and the bound of the screening."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError
from foveate.select._course import Trajectory
from foveate.select._screen import Greedy
from foveate.select._tally import Tally
from foveate.select.balance import balance_greedy
from foveate.select.constraints import Constraint
from foveate.select.holders import Holders


def keys(n):
    return np.arange(n, dtype=np.uint64)


def test_example_by_hand():
    counts = np.array([[4, 0], [3, 1], [0, 4], [2, 2]])
    found = balance_greedy(counts, ties=keys(4))
    assert found.rows.tolist() == [3, 1, 2, 0]
    half = [1, 5 / 8, 5 / 12, 9 / 16]
    wanted = [-(p * np.log2(p) + (1 - p) * np.log2(1 - p)) if p < 1 else 0 for p in half]
    wanted[0] = 1.0
    np.testing.assert_allclose(found.entropy, wanted, atol=1e-15)
    assert found.rows.dtype == np.int64


def test_smaller_k_gives_a_prefix():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, (60, 4))
    full = balance_greedy(counts, ties=keys(60))
    for k in (0, 1, 7, 59):
        part = balance_greedy(counts, k, ties=keys(60))
        assert part.rows.tolist() == full.rows[:k].tolist()
        assert part.entropy.tolist() == full.entropy[:k].tolist()


def test_given_rows_count_and_are_not_picked():
    counts = np.array([[4, 0], [4, 0], [0, 4], [0, 4]])
    found = balance_greedy(counts, ties=keys(4), given=[0, 1])
    assert found.rows.tolist() == [2, 3]
    np.testing.assert_allclose(found.entropy, [0.9182958340544896, 1.0])


def test_identical_rows_are_ordered_by_keys():
    counts = np.full((4, 3), 5)
    found = balance_greedy(counts, ties=np.array([7, 2, 7, 0], np.uint64))
    assert found.rows.tolist() == [3, 1, 0, 2]
    np.testing.assert_allclose(found.entropy, 1)


def test_proportional_rows_are_ties():
    counts = np.array([[3, 3], [1, 1], [2, 2]])
    found = balance_greedy(counts, ties=np.array([2, 1, 0], np.uint64))
    assert found.rows.tolist() == [2, 1, 0]


def test_rows_without_pixels_come_last():
    counts = np.array([[0, 0], [0, 4], [0, 0], [4, 0], [9, 0]])
    found = balance_greedy(counts, ties=np.array([4, 3, 2, 1, 0], np.uint64))
    assert found.rows.tolist() == [4, 1, 3, 2, 0]
    assert found.entropy[2] == found.entropy[3] == found.entropy[4]


@pytest.mark.parametrize("screening", ["auto", "always", "never"])
def test_absent_classes_do_not_change_the_result(screening):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, (300, 4))
    wide = np.zeros((300, 9), int)
    wide[:, [1, 2, 5, 7]] = counts
    first = balance_greedy(counts, ties=keys(300), screening=screening)
    other = balance_greedy(wide, ties=keys(300), screening=screening)
    assert first.rows.tolist() == other.rows.tolist()
    assert first.entropy.tolist() == other.entropy.tolist()


@pytest.mark.parametrize("counts", [np.full((3, 1), 4), np.array([[0, 1], [0, 2], [0, 3]])])
def test_single_class_is_ordered_by_keys(counts):
    found = balance_greedy(counts, ties=np.array([1, 2, 0], np.uint64))
    assert found.rows.tolist() == [2, 0, 1]
    assert found.entropy.tolist() == [0, 0, 0]
    assert found.exact == 0


@pytest.mark.parametrize("shape", [(0, 3), (0, 0), (4, 0), (1, 3)])
def test_empty_pools(shape):
    found = balance_greedy(np.zeros(shape, int), ties=keys(shape[0]))
    assert found.rows.tolist() == list(range(shape[0]))
    assert not found.entropy.any()


def test_screening_evaluates_few_rows():
    rng = np.random.default_rng(0)
    counts = np.array([rng.multinomial(65536, p) for p in rng.dirichlet(np.ones(6), 1500)])
    all_of_them = balance_greedy(counts, ties=keys(1500), screening="never")
    screened = balance_greedy(counts, ties=keys(1500))
    assert screened.rows.tolist() == all_of_them.rows.tolist()
    assert screened.exact < all_of_them.exact / 10


def test_more_rows_than_one_chunk():
    counts = np.tile([[4, 0], [0, 4]], (10_000, 1))
    found = balance_greedy(counts, ties=keys(20_000))
    assert found.entropy[-1] == 1
    assert np.array_equal(np.sort(found.rows), np.arange(20_000))


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)
    counts = np.array([rng.multinomial(4096, p) for p in rng.dirichlet(np.ones(4) / 2, n)])
    counts[rng.random(n) < 0.2] = counts[0]  # twins
    return counts.astype(np.int32), rng.integers(0, 2**63, n).astype(np.uint64)


@pytest.mark.parametrize("holders", [1, 2, 3, 7])
def test_order_does_not_depend_on_holders_and_candidates(holders, monkeypatch):
    monkeypatch.setattr("foveate.select.balance._BLOCK_VALUES", 400)
    counts, ties = drawn(2000)
    expected = balance_greedy(counts, 400, ties=ties, screening="never")
    found = balance_greedy(counts, 400, ties=ties, candidates=300, holders=Holders(holders))
    assert found.rows.tolist() == expected.rows.tolist()
    assert found.entropy.tolist() == expected.entropy.tolist()
    assert found.passes < 60  # fewer passes than steps
    assert found.exact < expected.exact / 10


def test_forbidden_rows_among_candidates(monkeypatch):
    monkeypatch.setattr("foveate.select.balance._BLOCK_VALUES", 400)
    counts, ties = drawn(600, 1)
    rng = np.random.default_rng(2)
    pick, forbidden = rng.integers(0, 600, (2, 900))
    options = {"ties": ties, "constraint": Constraint.of(pick, forbidden, 600)}
    expected = balance_greedy(counts, screening="never", **options)
    found = balance_greedy(counts, candidates=64, holders=Holders(3), **options)
    assert found.rows.tolist() == expected.rows.tolist()


@pytest.mark.slow
def test_processes_give_the_same_order(tmp_path, monkeypatch):
    monkeypatch.setattr("foveate.select.balance._BLOCK_VALUES", 400)
    counts, ties = drawn(500, 3)
    np.save(tmp_path / "counts.npy", counts)
    mapped = np.load(tmp_path / "counts.npy", mmap_mode="r")
    expected = balance_greedy(counts, 60, ties=ties)
    found = balance_greedy(mapped, 60, ties=ties, candidates=100, holders=Holders(2, "processes"))
    assert found.rows.tolist() == expected.rows.tolist()
    with pytest.raises(DataError, match="a whole memory map"):
        balance_greedy(counts, 60, ties=ties, holders=Holders(2, "processes"))


def test_progress_ends_at_k():
    ticks = []
    balance_greedy(np.eye(3, dtype=int), 2, ties=keys(3), progress=ticks.append)
    assert (ticks[-1].step, ticks[-1].done, ticks[-1].total) == ("class balance", 2, 2)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.ones((3, 2)), "integer array"),
        (np.ones(3, int), "integer array"),
        (np.array([[1, 2], [3, -1], [1, 1]]), r"1 of 3 rows have negative.*\[1\]"),
        (np.full((3, 2), 2**51), "2\\^53"),
    ],
)
def test_invalid_counts_raise(counts, message):
    with pytest.raises(DataError, match=message):
        balance_greedy(counts, ties=keys(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": -1}, "k=-1.*0 to 4"),
        ({"k": 4, "given": [2]}, "k=4.*0 to 3"),
        ({"given": [4]}, "outside the data"),
        ({"given": [0, 0]}, "more than once"),
        ({"ties": np.arange(4)}, "one uint64 key per row"),
        ({"candidates": 0}, "candidates=0.*at least 1"),
        ({"screening": "maybe"}, "'maybe'.*'auto', 'always', 'never'"),
    ],
)
def test_invalid_arguments_raise(options, message):
    with pytest.raises(ParameterError, match=message):
        balance_greedy(np.eye(4, dtype=int), **({"ties": keys(4)} | options))


def test_gains_do_not_exceed_the_bound():
    rng = np.random.default_rng(0)
    counts = (10.0 ** rng.uniform(0, 5, (80, 5))).astype(int) * (rng.random((80, 5)) < 0.6)
    counts[:, 4] = 0
    counts[:3, 4] = 5  # a class that is not in the set
    order = np.flatnonzero(counts.any(axis=1))
    left = np.zeros(80, bool)
    left[order] = True
    tally = Tally(counts, 0, np.arange(80))
    tally.group(np.arange(5), left)
    mix = counts[10:14].sum(axis=0)
    frame = Trajectory().frame(mix.astype(float))
    greedy = Greedy(tally.refresh(frame, np.empty(0, np.int64), 80).patterns(), mix)
    pats = greedy.patterns
    base, present = greedy.mix.copy(), greedy.mix > 0
    terms = greedy._terms(greedy._evaluate(pats.p, pats.t))
    for added in (0, 10, 11, 12, 13, 14):
        greedy.mix += counts[added + 5] * (added > 0) * present
        greedy.total = float(greedy.mix.sum())
        h, w = greedy._prices()
        ratio = float((base[present] / greedy.mix[present]).min())
        bound = (greedy._weights(w - h, ratio) @ terms).astype(float)
        gain = (greedy._evaluate(pats.p, pats.t) - h) * (greedy.total + pats.t)
        assert (gain <= bound + 1e-6 * np.abs(bound)).all()
        if not added:  # with new remainders, the bound is tight except for the term of t squared
            slack = np.square(pats.t) / (2 * greedy.total)
            assert (bound - gain <= slack + 1e-3 * pats.t + 1e-3).all()
