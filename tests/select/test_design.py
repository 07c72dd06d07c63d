"""The greedy design, compared with its formula, and limiting cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.select.design import greedy_design


def literal(kernel, worth, noise):
    """Literal greedy design: each step conditions on all previous picks at once."""
    n, picked, gains = len(worth), [], []
    while len(picked) < n:
        own = kernel.copy()
        if picked:
            known = kernel[np.ix_(picked, picked)] + noise * np.eye(len(picked))
            own = kernel - kernel[:, picked] @ np.linalg.solve(known, kernel[picked])
        best, most = -1, -np.inf
        for p in range(n):
            if p in picked:
                continue
            value = worth[p] * (own[p, p] + noise)
            for j in range(n):
                if j != p and j not in picked:
                    value += worth[j] * own[j, p] ** 2 / (own[p, p] + noise)
            if value > most + 1e-12:
                best, most = p, value
        picked.append(best)
        gains.append(most)
    return picked, gains


def problem(n, seed):
    draw = np.random.default_rng(seed)
    place = draw.normal(size=(n, 2))
    kernel = np.exp(-np.square(place[:, None] - place[None]).sum(-1))
    return kernel, draw.random(n) + 0.01


@given(st.integers(1, 8), st.integers(0, 999), st.floats(0.05, 2))
def test_design_equals_its_formula(n, seed, noise):
    kernel, worth = problem(n, seed)
    before = kernel.copy()
    order, gains = greedy_design(kernel, worth, noise)
    expected, values = literal(kernel, worth, noise)
    assert order.tolist() == expected
    np.testing.assert_allclose(gains, np.minimum.accumulate(values), rtol=1e-7)
    np.testing.assert_array_equal(kernel, before)


@given(st.integers(1, 8), st.integers(0, 999))
def test_first_item_reduces_the_variance_most(n, seed):
    kernel, worth = problem(n, seed)
    noise = 0.3
    doubt = worth @ (np.diagonal(kernel) + noise)
    left = []
    for p in range(n):  # what is not known once p is
        own = kernel - np.outer(kernel[:, p], kernel[p]) / (kernel[p, p] + noise)
        rest = worth * (np.diagonal(own) + noise)
        left.append(rest.sum() - rest[p])
    order, gains = greedy_design(kernel, worth, noise)
    assert left[order[0]] == pytest.approx(min(left))
    assert gains[0] == pytest.approx(doubt - min(left))


def test_independent_items_are_sorted_by_value():
    worth = np.array([0.3, 0.9, 0.1, 0.5])
    order, gains = greedy_design(np.eye(4), worth, 0.5)
    assert order.tolist() == [1, 3, 0, 2]
    np.testing.assert_allclose(gains, 1.5 * worth[order])


def test_duplicates_are_picked_late():
    kernel = np.eye(4)
    kernel[0, 1] = kernel[1, 0] = 1.0
    order, _ = greedy_design(kernel, np.array([1.0, 0.99, 0.8, 0.7]), 0.01)
    assert order.tolist() == [0, 2, 3, 1]


def test_gains_do_not_increase_and_items_are_unique():
    kernel, worth = problem(40, 3)
    worth[::3] = 0
    order, gains = greedy_design(kernel, worth, 0.1)
    assert sorted(order.tolist()) == list(range(40))
    assert (np.diff(gains) <= 0).all()
    assert (gains >= 0).all()


def test_empty_input_gives_an_empty_order():
    order, gains = greedy_design(np.zeros((0, 0)), np.zeros(0), 1.0)
    assert len(order) == len(gains) == 0
