"""k-center in cells: exact first picks, nested orders, and the covering radius."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveate.errors import ParameterError
from foveate.select import cells as module
from foveate.select.cells import divide, kcenter_in_cells
from foveate.select.constraints import Constraint
from foveate.select.kcenter import kcenter_greedy


def drawn(n, seed, *, d=4):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) + 6 * rng.standard_normal((5, d))[rng.integers(5, size=n)]
    return x, {"ties": rng.permutation(n).astype(np.uint64), "start": int(rng.integers(n))}


def picked(x, k, exact, options, **more):
    given = {**options, **more}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_STEP", 2)  # so that cells are asked again
        return kcenter_in_cells(x, k, exact=exact, rng=np.random.default_rng(7), **given)


def radius(x, rows):
    return np.linalg.norm(x[:, None] - x[rows][None], axis=2).min(axis=1).max()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as threads:
        yield threads


@settings(max_examples=8)
@given(n=st.integers(20, 40), exact=st.integers(1, 9), seed=st.integers(0, 99))
def test_order_is_nested_and_distances_bound_the_radius(n, exact, seed):
    x, options = drawn(n, seed)
    whole = picked(x, n, exact, options)
    assert sorted(whole.found.rows.tolist()) == list(range(n))
    first = kcenter_greedy(x, exact, **options)
    np.testing.assert_array_equal(whole.found.rows[:exact], first.rows)
    assert (np.diff(whole.found.distance[1:]) <= 0).all()
    for k in {exact + 1, n // 2}:
        found = picked(x, k, exact, options).found
        np.testing.assert_array_equal(found.rows, whole.found.rows[:k])
        if k > 1:
            assert radius(x, found.rows) <= found.distance[-1] * (1 + 1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_cells_continue_from_the_first_picks(pool, metric):
    x, options = drawn(90, 4)
    found = picked(x, 60, 9, options, metric=metric).found
    centres = found.rows[:9]
    rest = np.setdiff1d(np.arange(90), centres)
    y = x / np.linalg.norm(x, axis=1, keepdims=True) if metric == "cosine" else x
    order = []
    for cell in divide(x, rest, 9, np.random.default_rng(7), metric=metric, pool=pool):
        assert 1 <= cell.size <= 9
        held, left = list(centres), list(cell)
        while left:
            gaps = [np.square(y[row] - y[held]).sum(axis=1).min() for row in left]
            order.append((max(gaps), left[int(np.argmax(gaps))]))
            held.append(left.pop(int(np.argmax(gaps))))
    best = [row for _, row in sorted(order, reverse=True)]
    assert found.rows[9:].tolist() == best[:51]


def test_one_cell_equals_exact_k_center():
    x, options = drawn(60, 1)
    two = picked(x, 60, 40, options)
    assert two.cells == 1
    whole = kcenter_greedy(x, 60, **options)
    np.testing.assert_array_equal(two.found.rows, whole.rows)
    np.testing.assert_allclose(two.found.distance, whole.distance)
    assert picked(x, 10, 40, options).cells == 0


def test_constraint_and_given_rows_apply():
    x, options = drawn(100, 3)
    pairs = Constraint.of(np.arange(100), (np.arange(100) + 1) % 100, 100)
    held = {"given": [7, 8], "start": None, "constraint": pairs}
    whole = picked(x, 98, 6, options, **held).found.rows
    assert sorted([*whole.tolist(), 7, 8]) == list(range(100))
    free = pairs.open([7, 8])
    taken = free.admit(whole).size
    assert 30 < taken < 98
    # Those that may be taken are first, at every depth.
    assert pairs.open([7, 8]).admit(whole[:taken]).size == taken
    for k in (5, 20, taken, taken + 3):
        np.testing.assert_array_equal(picked(x, k, 6, options, **held).found.rows, whole[:k])


def test_cells_are_limited_in_size_except_for_identical_rows(pool):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.random((700, 3)), np.ones((300, 3))]).astype(np.float32)
    rows = np.arange(1000)
    cells = divide(x, rows, 50, np.random.default_rng(1), metric="euclidean", pool=pool)
    np.testing.assert_array_equal(np.sort(np.concatenate(cells)), rows)
    sizes = sorted(cell.size for cell in cells)
    assert sizes[-2] <= 50
    assert sizes[-1] >= 300
    assert len(divide(x, rows, 1000, np.random.default_rng(1), metric="euclidean", pool=pool)) == 1


def test_invalid_arguments_raise():
    x, options = drawn(30, 0)
    with pytest.raises(ParameterError, match="exact=0"):
        picked(x, 5, 0, options)
    with pytest.raises(ParameterError, match="k=31"):
        picked(x, 31, 5, options)
