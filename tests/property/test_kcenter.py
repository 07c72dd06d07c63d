"""k-center against the textbook loop in float64, over block sizes, candidates and metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.select.kcenter import NEAR, kcenter_greedy

KINDS = ("normal", "grid", "one-hot", "copies", "offset", "far clusters", "constant", "outlier")


def fold(terms):
    """Sum columns by halving, as documented in `_distance`."""
    terms = terms.copy()
    width = terms.shape[1]
    while width > 1:
        half = width // 2
        terms[:, :half] += terms[:, half : 2 * half]
        if width % 2:
            terms[:, 0] += terms[:, width - 1]
        width = half
    return terms[:, 0]


def textbook(x, k, ties, *, start=None, held=(), metric="euclidean"):
    y = x.astype(np.float64)
    if metric == "cosine":
        y = y / np.sqrt(fold(y * y))[:, None]
    n = len(y)
    rank = np.empty(n, int)
    rank[np.lexsort((np.arange(n), ties))] = np.arange(n)
    smallest = np.full(n, np.inf)
    free = np.ones(n, bool)
    rows, squares, near = [], [], 0

    def add(centre):
        free[centre] = False
        np.minimum(smallest, fold((y - y[centre]) ** 2), out=smallest)

    for centre in held:
        add(centre)
    if not len(held) and k:
        rows, squares = [start], [np.inf]
        add(start)
    while len(rows) < k:
        best = smallest[free].max()
        equal = np.flatnonzero(free & (smallest == best))
        near += int((smallest[free] >= best * (1 - NEAR)).sum() > 1)
        rows.append(int(equal[rank[equal].argmin()]))
        squares.append(best)
        add(rows[-1])
    distance = np.sqrt(squares) if metric == "euclidean" else np.array(squares) / 2
    return rows, distance, near


def data(kind, n, d, rng):
    x = rng.standard_normal((n, d))
    if kind == "grid":
        x = rng.integers(0, 3, (n, d)) * 0.1
    elif kind == "one-hot":
        x = np.eye(d)[rng.integers(0, d, n)] / 3
    elif kind == "copies":
        x = x[rng.integers(0, max(n // 4, 1), n)]
    elif kind == "offset":
        x = 1e4 + 0.1 * x
    elif kind == "far clusters":
        x = rng.choice([-1e4, 1e4], (n, 1)) + 0.1 * x
    elif kind == "constant":
        x = np.full((n, d), 0.3)
    elif kind == "outlier":
        x[0] *= 1e4
    return x + 5 if kind in ("grid", "one-hot") else x


@given(
    kind=st.sampled_from(KINDS),
    n=st.integers(1, 60),
    d=st.integers(1, 9),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from(["f2", "f4", "f8"]),
    metric=st.sampled_from(["euclidean", "cosine"]),
    block=st.integers(1, 70),
    candidates=st.integers(1, 70),
    held=st.integers(0, 5),
    few_keys=st.booleans(),
)
def test_equals_the_textbook_loop(
    kind, n, d, seed, dtype, metric, block, candidates, held, few_keys
):
    rng = np.random.default_rng(seed)
    x = np.clip(data(kind, n, d, rng), -6e4, 6e4).astype(dtype)
    x[(x == 0).all(axis=1)] = 1  # the cosine of a row of zeros is undefined
    ties = rng.integers(0, 3 if few_keys else 2**63, n).astype(np.uint64)
    held = rng.permutation(n)[:held]
    k = int(rng.integers(0, n - held.size + 1))
    start = None if held.size else int(rng.integers(n))
    rows, distance, near = textbook(x, k, ties, start=start, held=held, metric=metric)
    found = kcenter_greedy(
        x,
        k,
        ties=ties,
        start=start,
        given=held,
        metric=metric,
        block=block,
        candidates=candidates,
    )
    assert found.rows.tolist() == rows
    assert found.near_ties == near
    np.testing.assert_allclose(found.distance, distance, rtol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_textbook_loop_in_full(kind):
    rng = np.random.default_rng(1)
    x = data(kind, 300, 24, rng).astype(np.float32)
    ties = rng.integers(0, 2**63, 300).astype(np.uint64)
    rows, distance, near = textbook(x, 300, ties, start=3)
    for block, candidates in ((300, 300), (64, 50), (1000, 7)):
        found = kcenter_greedy(x, 300, ties=ties, start=3, block=block, candidates=candidates)
        assert found.rows.tolist() == rows
        assert found.near_ties == near
        np.testing.assert_array_equal(found.distance, distance)
