"""Class balance against brute force, over kinds of counts and all screening modes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.select.balance import TOLERANCE, balance_greedy
from foveate.select.holders import Holders

KINDS = ("dense", "patches", "small", "equal", "one class", "lopsided", "unmet")


def brute_force(counts, k, ties, held=()):
    """Evaluate every union in every step, from the definition."""
    counts = counts[:, counts.any(axis=0)].astype(object).astype(float)
    classes = counts.shape[1]
    order = np.lexsort((np.arange(len(counts)), ties))
    left = [i for i in order if i not in set(held) and counts[i].sum() > 0]
    empty = [i for i in order if i not in set(held) and counts[i].sum() == 0]
    union = counts[list(held)].sum(axis=0) if len(held) else np.zeros(classes)

    def entropy(totals):
        if classes < 2 or not np.any(totals):
            return np.zeros(totals.shape[:-1])
        shares = totals / totals.sum(axis=-1, keepdims=True)
        logs = np.log(np.where(shares > 0, shares, 1))
        return -(shares * logs).sum(axis=-1) / np.log(classes)

    rows, heights = [], []
    while left and len(rows) < k:
        reached = entropy(union + counts[left])
        best = left.pop(int(np.flatnonzero(reached >= reached.max() - TOLERANCE)[0]))
        rows.append(best)
        union = union + counts[best]
        heights.append(float(entropy(union)))
    rest = empty[: k - len(rows)]
    return rows + rest, heights + [float(entropy(union))] * len(rest)


def data(kind, n, c, rng):
    if kind == "dense":
        shares = rng.dirichlet(np.linspace(0.1, 1, c), n)
        return np.array([rng.multinomial(65536, p) for p in shares])
    if kind == "patches":  # land cover: one to three classes, most patches of one
        counts = np.zeros((n, c), int)
        for row in counts:
            some = rng.choice(c, min(c, rng.integers(1, 4)), replace=False)
            row[some] = 65536 // some.size
        return counts
    if kind == "unmet":  # a class that is met late, by a few pixels
        counts = rng.integers(0, 2, (n, c)) * 1000
        counts[:, 0] = 0
        counts[: max(n // 9, 1)] = [2] + [60_000] * (c > 1) + [0] * (c - 2)
        return counts
    return {
        "small": rng.integers(0, 4, (n, c)),
        "equal": np.tile(rng.integers(0, 9, c), (n, 1)),
        "one class": np.eye(c, dtype=int)[rng.integers(0, c, n)] * 65536,
        # Totals over six orders of magnitude.
        "lopsided": (10.0 ** rng.uniform(0, 6, (n, 1)) * rng.dirichlet(np.ones(c), n)).astype(int),
    }[kind]


@given(
    kind=st.sampled_from(KINDS),
    n=st.integers(1, 50),
    c=st.integers(1, 7),
    seed=st.integers(0, 2**16),
    held=st.integers(0, 4),
    few_keys=st.booleans(),
    dtype=st.sampled_from(["i8", "u4", "i4"]),
    candidates=st.integers(1, 20),
    holders=st.integers(1, 7),
)
def test_equals_brute_force(kind, n, c, seed, held, few_keys, dtype, candidates, holders):
    rng = np.random.default_rng(seed)
    counts = data(kind, n, c, rng).astype(dtype)
    counts[rng.random(n) < 0.1] = 0
    ties = rng.integers(0, 3 if few_keys else 2**63, n).astype(np.uint64)
    held = rng.permutation(n)[:held]
    k = int(rng.integers(0, n - held.size + 1))
    rows, heights = brute_force(counts, k, ties, held)
    for screening in ("auto", "always", "never"):
        found = balance_greedy(counts, k, ties=ties, given=held, screening=screening)
        assert found.rows.tolist() == rows
        np.testing.assert_allclose(found.entropy, heights, atol=1e-13)
    options = {"candidates": candidates, "holders": Holders(holders)}
    found = balance_greedy(counts, k, ties=ties, given=held, screening="always", **options)
    assert found.rows.tolist() == rows


@pytest.mark.parametrize("kind", KINDS)
def test_equals_brute_force_in_full(kind):
    rng = np.random.default_rng(2)
    counts = data(kind, 300, 6, rng)
    ties = rng.integers(0, 2**63, 300).astype(np.uint64)
    rows, heights = brute_force(counts, 300, ties)
    for screening, candidates in (("auto", 16), ("auto", None), ("always", 40), ("never", None)):
        found = balance_greedy(counts, ties=ties, screening=screening, candidates=candidates)
        assert found.rows.tolist() == rows
        np.testing.assert_allclose(found.entropy, heights, atol=1e-13)
