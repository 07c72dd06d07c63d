"""Holders: the picks of one for any number of them, wherever they run, and clear ends."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveate.errors import DataError, ParameterError, StorageError
from foveate.select._cover import Holder
from foveate.select._distance import Points
from foveate.select.cluster import nearest
from foveate.select.constraints import Constraint
from foveate.select.coverage import coverage_greedy
from foveate.select.holders import Holders, Mapped
from foveate.select.kcenter import kcenter_greedy

COUNTS = (1, 2, 3, 7)


def same(one, other):
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.distance, other.distance)
    assert (one.near_ties, one.passes) == (other.near_ties, other.passes)


@settings(max_examples=10, deadline=None)
@given(
    n=st.integers(1, 60),
    d=st.integers(1, 6),
    seed=st.integers(0, 2**16),
    metric=st.sampled_from(["euclidean", "cosine"]),
    kind=st.sampled_from(["normal", "grid", "far"]),
    dtype=st.sampled_from(["f2", "f4", "f8"]),
    block=st.integers(1, 12),
    candidates=st.integers(2, 20),
    held=st.integers(0, 3),
    pairs=st.integers(0, 15),
    some=st.booleans(),
)
def test_any_number_of_holders_picks_the_same(
    n, d, seed, metric, kind, dtype, block, candidates, held, pairs, some
):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) + 2
    if kind == "grid":
        x = rng.integers(1, 3, (n, d)) * 1.0
    elif kind == "far":
        x += rng.choice([-1e4, 1e4], (n, 1))
    x = x.astype(dtype)
    x[(x == 0).all(axis=1)] = 1
    held = rng.permutation(n)[:held]
    among = rng.random(n) < 0.7 if some else np.ones(n, bool)
    among[held] = True
    start = None if held.size else int(rng.integers(n))
    if start is not None:
        among[start] = True
    options = {
        "ties": rng.integers(0, 4, n).astype(np.uint64), "start": start, "given": held,
        "constraint": Constraint.of(rng.integers(0, n, pairs), rng.integers(0, n, pairs), n),
        "metric": metric, "block": block, "candidates": candidates, "among": among,
    }  # fmt: skip
    k = int(among.sum()) - held.size
    one = kcenter_greedy(x, k, holders=Holders(1), **options)
    assert set(one.rows.tolist()) | set(held.tolist()) == set(np.flatnonzero(among).tolist())
    for count in COUNTS[1:]:
        same(one, kcenter_greedy(x, k, holders=Holders(count), **options))


def same_coverage(one, other):
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.gain, other.gain)
    assert (one.covered, one.passes) == (other.covered, other.passes)
    assert one.similarities == other.similarities


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 60),
    d=st.integers(1, 6),
    seed=st.integers(0, 2**16),
    metric=st.sampled_from(["euclidean", "cosine"]),
    kind=st.sampled_from(["normal", "grid", "copies"]),
    dtype=st.sampled_from(["f2", "f4", "f8"]),
    sigma=st.sampled_from([None, 0.5, 3.0]),
    block=st.integers(1, 12),
    candidates=st.integers(1, 20),
    held=st.integers(0, 3),
    pairs=st.integers(0, 15),
)
def test_any_number_of_holders_covers_the_same(
    n, d, seed, metric, kind, dtype, sigma, block, candidates, held, pairs
):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) + 2
    if kind == "grid":
        x = rng.integers(1, 3, (n, d)) * 1.0
    elif kind == "copies":
        x = x[rng.integers(0, min(n, 5), n)]
    x = x.astype(dtype)
    held = rng.permutation(n)[:held]
    options = {
        "reference": rng.permutation(n)[: int(rng.integers(1, n + 1))],
        "ties": rng.integers(0, 4, n).astype(np.uint64), "given": held, "sigma": sigma,
        "constraint": Constraint.of(rng.integers(0, n, pairs), rng.integers(0, n, pairs), n),
        "metric": metric, "block": block, "candidates": candidates,
    }  # fmt: skip
    k = n - held.size
    one = coverage_greedy(x, k, holders=Holders(1), **options)
    assert sorted([*one.rows.tolist(), *held.tolist()]) == list(range(n))
    for count in COUNTS[1:]:
        same_coverage(one, coverage_greedy(x, k, holders=Holders(count), **options))


@given(
    n=st.integers(0, 3000), k=st.integers(1, 40), d=st.integers(1, 5), seed=st.integers(0, 99),
    dtype=st.sampled_from(["f2", "f4", "f8"]),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_any_number_of_holders_finds_the_nearest_centre(n, k, d, seed, dtype):
    rng = np.random.default_rng(seed)
    x, centres = rng.integers(-9, 9, (n, d)).astype(dtype), rng.integers(-9, 9, (k, d)) * 1.0
    squared = np.square(x.astype(float)[:, None] - centres).sum(axis=2)
    expected = squared.argmin(axis=1) if n else np.empty(0)  # integers: exact, ties to the first
    for count in COUNTS:
        found = nearest(x, centres, Holders(count))
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.int64


@pytest.mark.parametrize("count", COUNTS)
def test_the_order_of_rows_does_not_matter(count):
    rng = np.random.default_rng(0)
    x, ties = rng.standard_normal((900, 8)), rng.permutation(900).astype(np.uint64)
    order = rng.permutation(900)
    one = kcenter_greedy(x, 300, ties=ties, start=int(order[4]), holders=Holders(1))
    other = kcenter_greedy(
        x[order], 300, ties=ties[order], start=4, block=50, holders=Holders(count)
    )
    np.testing.assert_array_equal(order[other.rows], one.rows)


def test_rows_that_are_left_out_are_neither_read_nor_picked():
    x = np.array([[0.0], [1.0], [5.0], [9.0], [50.0]])
    among = np.array([True, True, True, True, False])
    found = kcenter_greedy(x, 4, ties=np.arange(5, dtype=np.uint64), start=0, among=among)
    assert found.rows.tolist() == [0, 3, 2, 1]
    with pytest.raises(ParameterError, match="one bool per row"):
        kcenter_greedy(x, 1, ties=np.arange(5, dtype=np.uint64), start=0, among=among[:3])


def test_every_float16_is_read_as_it_is():
    values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = values[np.isfinite(values)].reshape(-1, 31)
    points = Points(values, 1.0, np.zeros(31), None, 1)
    np.testing.assert_array_equal(
        points.work(slice(None), np.dtype(np.float32)), values.astype(np.float32)
    )
    np.testing.assert_array_equal(points.exact(slice(None)), values.astype(np.float64))


def test_ranges_are_whole_blocks_and_cover_all_rows():
    for n, block, count in ((100, 7, 3), (5, 7, 3), (1, 1, 7), (4096 * 9, 4096, 7)):
        ranges = Holders(count).ranges(n, 4, block)
        assert len(ranges) <= count
        assert [r.start for r in ranges] == [0, *(r.stop for r in ranges[:-1])]
        assert ranges[-1].stop == n
        assert all(r.start % block == 0 for r in ranges)
    assert len(Holders().ranges(1000, 16, 100)) == 1  # too little to share


@pytest.fixture
def matrix(tmp_path):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((600, 16)).astype(np.float16)
    np.save(tmp_path / "matrix.npy", x)
    return np.load(tmp_path / "matrix.npy", mmap_mode="r")


def options():
    ties = np.random.default_rng(4).integers(0, 2**63, 600).astype(np.uint64)
    return {"ties": ties, "start": 9, "block": 64, "candidates": 40}


def test_holders_that_send_vectors_pick_the_same(matrix, monkeypatch):
    # As in other processes, in this one: messages alone, no row is read by the one that decides.
    for metric in ("euclidean", "cosine"):
        one = kcenter_greedy(np.asarray(matrix), 120, metric=metric, **options())
        with monkeypatch.context() as patch:
            patch.setattr(Holders, "remote", property(lambda _: True))
            same(one, kcenter_greedy(matrix, 120, metric=metric, holders=Holders(3), **options()))


def test_processes_pick_the_same_from_a_file(matrix):
    one = kcenter_greedy(np.asarray(matrix), 120, **options())
    same(one, kcenter_greedy(matrix, 120, holders=Holders(2, "processes"), **options()))


def covering(matrix, sigma, metric, holders):
    options_ = options() | {"reference": np.arange(0, 600, 3), "sigma": sigma, "metric": metric}
    del options_["start"]
    return coverage_greedy(matrix, 120, given=[7, 300], holders=holders, **options_)


@pytest.mark.parametrize(
    ("sigma", "metric"), [(None, "euclidean"), (None, "cosine"), (4.0, "euclidean")]
)
def test_coverage_by_messages_alone_is_the_same(matrix, monkeypatch, sigma, metric):
    one = covering(np.asarray(matrix), sigma, metric, Holders(1))
    monkeypatch.setattr(Holders, "remote", property(lambda _: True))
    same_coverage(one, covering(matrix, sigma, metric, Holders(3)))


def test_processes_cover_the_same_from_a_file(matrix):
    one = covering(np.asarray(matrix), None, "euclidean", Holders(1))
    same_coverage(one, covering(matrix, None, "euclidean", Holders(2, "processes")))
    near = nearest(np.asarray(matrix), matrix[:20], Holders(1))
    np.testing.assert_array_equal(near, nearest(matrix, matrix[:20], Holders(1, "processes")))


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_actors_cover_the_same_from_a_file(matrix):
    pytest.importorskip("ray")
    one = covering(np.asarray(matrix), 4.0, "cosine", Holders(1))
    same_coverage(one, covering(matrix, 4.0, "cosine", Holders(2, "ray")))
    near = nearest(np.asarray(matrix), matrix[:20], Holders(1))
    np.testing.assert_array_equal(near, nearest(matrix, matrix[:20], Holders(2, "ray")))


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_actors_pick_the_same_from_a_file(matrix):
    ray = pytest.importorskip("ray")
    one = kcenter_greedy(np.asarray(matrix), 120, **options())
    same(one, kcenter_greedy(matrix, 120, holders=Holders(2, "ray"), **options()))
    assert not ray.is_initialized()  # its cluster ends with it
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=300 << 20, log_to_driver=False,
        logging_level="error",
    )  # fmt: skip
    try:
        same(one, kcenter_greedy(matrix, 120, holders=Holders(2, "ray"), **options()))
        with pytest.raises(ParameterError, match="3 holders in a cluster of 2 processors"):
            kcenter_greedy(matrix, 120, holders=Holders(3, "ray"), **options())
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_process_that_is_killed_is_named(matrix):
    parts = [
        {"x": Mapped.of(matrix, a, b), "begin": a, "ties": options()["ties"][a:b],
         "metric": "euclidean", "block": 64}
        for a, b in ((0, 300), (300, 600))
    ]  # fmt: skip
    ranges = [slice(0, 300), slice(300, 600)]
    with Holders(2, "processes").open(Holder, ranges, parts) as crew:
        assert [seen.largest > 0 for seen in crew.each("look")] == [True, True]
        with pytest.raises(RuntimeError, match="AttributeError"):
            crew.one(0, "no_such_method")
        os.kill(crew.pids[1], signal.SIGKILL)
        with pytest.raises(StorageError, match=r"holder 2 of 2 \(rows 300 to 599\) ended"):
            crew.each("look")


def test_bad_rows_are_numbered_in_the_whole_matrix(matrix, tmp_path):
    x = np.array(matrix)
    x[[3, 501], 2] = np.nan
    np.save(tmp_path / "bad.npy", x)
    mapped = np.load(tmp_path / "bad.npy", mmap_mode="r")
    for given_ in (x, mapped):
        with pytest.raises(DataError, match=r"2 of 600 rows contain NaN .* \[3, 501\]"):
            kcenter_greedy(given_, 5, holders=Holders(7), **options())
        with pytest.raises(DataError, match=r"2 of 600 rows contain NaN .* \[3, 501\]"):
            covering(given_, None, "euclidean", Holders(7))


def test_what_cannot_be_is_refused(matrix, monkeypatch):
    with pytest.raises(ParameterError, match="threads, processes, ray"):
        Holders(2, "thread")  # ty: ignore[invalid-argument-type]
    with pytest.raises(ParameterError, match="0 holders"):
        Holders(0)
    with pytest.raises(ParameterError, match="Only actors of Ray"):
        Holders(2, address="localhost:1")
    for x in (np.asarray(matrix), matrix[:599]):
        with pytest.raises(DataError, match="a whole memory map"):
            nearest(x, np.eye(16), Holders(2, "processes"))
        with pytest.raises(DataError, match="a whole memory map"):
            Mapped.of(x, 0, 5)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ParameterError, match=r"pip install \"foveate\[dist\]\""):
        kcenter_greedy(matrix, 5, holders=Holders(2, "ray"), **options())


def test_a_file_that_is_gone_is_named(matrix, tmp_path):
    part = Mapped.of(matrix, 0, 5)
    (tmp_path / "matrix.npy").unlink()
    with pytest.raises(DataError, match="cannot be read by a holder"):
        part.open()
