"""k-center: arguments, bad data, memory maps, and the error bound that certifies picks."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError
from foveate.select._distance import Points, eta, squared, tiny
from foveate.select.kcenter import kcenter_greedy


def keys(n):
    return np.arange(n, dtype=np.uint64)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_start_is_the_first_pick():
    x = np.array([[0.0], [1.0], [5.0], [9.0]])
    found = kcenter_greedy(x, 4, ties=keys(4), start=1)
    assert found.rows.tolist() == [1, 3, 2, 0]
    assert found.distance.tolist() == [np.inf, 8.0, 4.0, 1.0]
    assert found.rows.dtype == np.int64
    assert found.near_ties == 0


def test_given_rows_cover_and_are_not_picked():
    x = np.array([[0.0], [1.0], [5.0], [9.0]])
    found = kcenter_greedy(x, 2, ties=keys(4), given=[3, 0])
    assert found.rows.tolist() == [2, 1]
    assert found.distance.tolist() == [4.0, 1.0]


def test_many_given_rows_are_entered_block_by_block(rng):
    x = rng.standard_normal((200, 3))
    one = kcenter_greedy(x, 20, ties=keys(200), given=np.arange(100), block=7)
    other = kcenter_greedy(x, 20, ties=keys(200), given=np.arange(100))
    assert one.rows.tolist() == other.rows.tolist()
    assert one.passes > other.passes == 2


def test_equal_distances_go_to_the_smallest_key():
    x = np.eye(5)
    ties = np.array([9, 4, 7, 1, 1], np.uint64)
    found = kcenter_greedy(x, 5, ties=ties, start=0)
    assert found.rows.tolist() == [0, 3, 4, 1, 2]
    assert found.near_ties == 3


def test_copies_come_last_by_key():
    x = np.array([[0.0], [0.0], [0.0], [2.0]])
    found = kcenter_greedy(x, 4, ties=np.array([3, 2, 1, 0], np.uint64), start=1)
    assert found.rows.tolist() == [1, 3, 2, 0]
    assert found.distance.tolist() == [np.inf, 2.0, 0.0, 0.0]
    assert found.near_ties == 1


def test_cosine_is_one_minus_the_cosine():
    x = np.array([[2.0, 0.0], [0.0, 3.0], [-5.0, 0.0], [1.0, 1.0]])
    found = kcenter_greedy(x, 4, ties=keys(4), start=0, metric="cosine")
    assert found.rows.tolist() == [0, 2, 1, 3]
    np.testing.assert_allclose(found.distance, [np.inf, 2, 1, 1 - np.sqrt(0.5)], rtol=1e-15)


def test_cosine_ignores_lengths_even_extreme_ones(rng):
    x = rng.standard_normal((50, 4))
    lengths = 2.0 ** rng.integers(-900, 900, 50)[:, None]
    one = kcenter_greedy(x, 50, ties=keys(50), start=0, metric="cosine")
    other = kcenter_greedy(x * lengths, 50, ties=keys(50), start=0, metric="cosine")
    assert one.rows.tolist() == other.rows.tolist()


@pytest.mark.parametrize("factor", [2.0**-1000, 2.0**-140, 2.0**140, 2.0**990])
def test_units_do_not_matter(rng, factor):
    x = rng.standard_normal((60, 5))
    one = kcenter_greedy(x, 60, ties=keys(60), start=0)
    other = kcenter_greedy(x * factor, 60, ties=keys(60), start=0)
    assert one.rows.tolist() == other.rows.tolist()
    np.testing.assert_array_equal(one.distance * factor, other.distance)


def test_float32_at_the_ends_of_its_range(rng):
    x = rng.standard_normal((60, 5)).astype(np.float32)
    one = kcenter_greedy(x, 60, ties=keys(60), start=0)
    for factor in (2.0**-100, 2.0**120):
        other = kcenter_greedy(x * np.float32(factor), 60, ties=keys(60), start=0)
        assert one.rows.tolist() == other.rows.tolist()


def test_coarse_products_are_replaced_by_float64(rng):
    # Two clusters so far apart that float32 products say nothing about their insides.
    x = rng.choice([-1e4, 1e4], (1500, 1)) + rng.standard_normal((1500, 8))
    one = kcenter_greedy(x, 150, ties=keys(1500), start=0, candidates=100)
    other = kcenter_greedy(x, 150, ties=keys(1500), start=0, block=111, candidates=1500)
    assert one.rows.tolist() == other.rows.tolist()
    assert one.near_ties == other.near_ties


def test_all_values_of_zero():
    found = kcenter_greedy(np.zeros((3, 2)), 3, ties=np.array([2, 1, 0], np.uint64), start=0)
    assert found.rows.tolist() == [0, 2, 1]
    assert found.distance.tolist() == [np.inf, 0, 0]


def test_rows_without_columns():
    found = kcenter_greedy(np.zeros((3, 0)), 3, ties=keys(3), start=2)
    assert found.rows.tolist() == [2, 0, 1]


def test_nothing_to_pick():
    for n in (0, 3):
        found = kcenter_greedy(np.zeros((n, 2)), 0, ties=keys(n))
        assert found.rows.shape == found.distance.shape == (0,)
        assert (found.passes, found.near_ties) == (0, 0)
    assert kcenter_greedy(np.zeros((1, 2)), 1, ties=keys(1), start=0).rows.tolist() == [0]


def test_memory_map_of_float16_is_not_copied(tmp_path, rng):
    n, d = 40_000, 64
    x = rng.standard_normal((n, d)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    ties = rng.integers(0, 2**63, n).astype(np.uint64)
    options = {"ties": ties, "start": 0, "block": 1000, "candidates": 1000}
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    tracemalloc.start()
    found = kcenter_greedy(mapped, 50, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes  # a float32 copy would be twice this
    assert found.rows.tolist() == kcenter_greedy(x, 50, **options).rows.tolist()
    assert found.passes < 10


def test_progress_ends_at_k(rng):
    ticks = []
    kcenter_greedy(rng.random((9, 2)), 5, ties=keys(9), start=0, progress=ticks.append)
    assert (ticks[-1].step, ticks[-1].done, ticks[-1].total) == ("k-center", 5, 5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_bad_values_are_named(dtype):
    x = np.ones((600, 3), dtype)
    x[[3, 400], 1] = np.nan
    x[500, 0] = -np.inf
    with pytest.raises(DataError, match=r"3 of 600 rows contain NaN or infinity.*\[3, 400, 500\]"):
        kcenter_greedy(x, 2, ties=keys(600), start=0, block=100)


def test_rows_of_zeros_have_no_direction():
    x = np.ones((4, 2))
    x[2] = 0
    with pytest.raises(DataError, match=r"1 of 4 rows are all zero, the first are rows \[2\]"):
        kcenter_greedy(x, 2, ties=keys(4), start=0, metric="cosine")


@pytest.mark.parametrize("x", [np.ones(3), np.ones((3, 2), int), np.ones((3, 2), "f4").astype("O")])
def test_other_arrays_are_refused(x):
    with pytest.raises(DataError, match="float16, float32 or float64"):
        kcenter_greedy(x, 1, ties=keys(3), start=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": -1}, r"k=-1.*Allowed: 0 to 4"),
        ({"k": 5}, r"k=5.*Allowed: 0 to 4"),
        ({"k": 4, "given": [0], "start": None}, r"Allowed: 0 to 3 .4 rows, 1 given"),
        ({"start": None}, "neither start nor given"),
        ({"start": 4}, "start=4.*0 to 3"),
        ({"start": -1}, "start=-1.*0 to 3"),
        ({"given": [1]}, "start=0 and 1 given"),
        ({"given": [4], "start": None}, "1 rows outside the data, the first is 4"),
        ({"given": [-1], "start": None}, "1 rows outside the data, the first is -1"),
        ({"given": [1, 1], "start": None}, "more than once"),
        ({"given": [True] * 4, "start": None}, "np.flatnonzero"),
        ({"given": [[1]], "start": None}, "list of row numbers"),
        ({"metric": "manhattan"}, "'manhattan'.*euclidean, cosine"),
        ({"block": 0}, "block=0"),
        ({"candidates": 0}, "candidates=0"),
        ({"ties": np.arange(3, dtype=np.uint64)}, "one uint64 key per row"),
        ({"ties": np.arange(4)}, "one uint64 key per row"),
    ],
)
def test_arguments_that_cannot_be_used(options, message):
    options = {"k": 2, "ties": keys(4), "start": 0} | options
    with pytest.raises(ParameterError, match=message):
        kcenter_greedy(np.eye(4), **options)


def test_the_deciding_numbers_do_not_depend_on_company(rng):
    x = rng.standard_normal((300, 77))
    together = squared(x, x[:1])
    alone = [float(squared(x[i : i + 1], x[:1])[0]) for i in range(300)]
    assert together.tolist() == alone
    np.testing.assert_allclose(together, ((x - x[0]) ** 2).sum(axis=1), rtol=1e-14)


@pytest.mark.parametrize("work", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_error_bound_holds(rng, dtype, metric, work):
    # Heavy tails and an offset: norms and distances over many orders of magnitude.
    x = (100 + rng.standard_t(2, (120, 130)) * 10.0 ** rng.uniform(-3, 1, (120, 1))).astype(dtype)
    points = Points.survey(x, metric, 50)
    a = points.work(np.arange(120), np.dtype(work))
    q = (a.astype(float) ** 2).sum(axis=1)
    product = q[:, None] + q - 2 * (a @ a.T).astype(float)
    i, j = np.indices((120, 120)).reshape(2, -1)
    exact = points.pairs(i, j).reshape(120, 120)
    allowed = eta(130, np.dtype(work)) * (q[:, None] + q) + tiny(130)
    assert (np.abs(product - exact) <= allowed).all()
    assert q.max() <= 1
