"""The order of a tree, compared with its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.select.constraints import Constraint
from foveate.select.hierarchy import from_centre, grow_tree, in_turns


def by_hand(rows, path, keys, depth):
    """Alternate between the branches of a node; `path` is the branch of each row at each level."""
    if depth == 0:
        return list(rows)
    branches = {}
    for row in rows:
        branches.setdefault(path[row][depth - 1], []).append(row)
    queues = [
        by_hand(part, path, keys, depth - 1)
        for part in sorted(branches.values(), key=lambda part: min(keys[r] for r in part))
    ]
    order = []
    while any(queues):
        order += [queue.pop(0) for queue in queues if queue]
    return order


@st.composite
def trees(draw):
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    n = draw(st.integers(1, 40))
    tree, size = [], n
    for _ in range(draw(st.integers(1, 3))):
        parents = draw(st.integers(1, size))
        tree.append(rng.integers(0, parents, size))
        size = parents
    return tree, rng.permutation(n), rng.permutation(n).astype(np.uint64)


@given(trees())
def test_branches_alternate_at_every_node(made):
    tree, leaf, keys = made
    path = {}
    for row in leaf.tolist():
        node, names = row, []
        for parents in tree:
            node = int(parents[node])
            names.append(node)
        path[row] = names
    assert in_turns(tree, leaf, keys).tolist() == by_hand(leaf.tolist(), path, keys, len(tree))


@given(trees(), st.integers(0, 99))
def test_forbidden_rows_come_last(made, seed):
    tree, leaf, keys = made
    n = leaf.size
    rng = np.random.default_rng(seed)
    pick, other = rng.integers(0, n, (2, n))
    constraint = Constraint.of(pick[pick != other], other[pick != other], n)
    rows = in_turns(tree, leaf, keys, constraint)
    assert sorted(rows.tolist()) == list(range(n))
    first = n - constraint.count(rows)
    assert constraint.open().admit(rows).tolist() == rows[:first].tolist()


def test_small_and_large_branches_get_equal_shares():
    rng = np.random.default_rng(0)
    sea, town = rng.normal(0, 1, (480, 4)), rng.normal(40, 1, (20, 4))
    x = np.concatenate([sea, town])
    tree, centres = grow_tree(x, [40, 2], rng, None)
    assert [labels.size for labels in tree] == [500, len(centres)]
    ties = rng.permutation(500).astype(np.uint64)
    rows = in_turns(tree, np.argsort(ties), ties)
    assert sorted(rows.tolist()) == list(range(500))
    assert (rows[:20] >= 480).sum() == 10  # half of the budget, of 4 % of the pool


def test_distances_to_centres():
    x = np.array([[0.0, 0], [3, 4], [6, 8]], np.float16)
    far = from_centre(x, np.zeros(3, np.int64), np.zeros((1, 2)))
    assert far == pytest.approx([0, 0.5, 1])
    assert from_centre(x[:1], np.zeros(1, np.int64), np.zeros((1, 2))).tolist() == [0]


def test_clusters_are_fitted_on_a_sample():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0, 0.1, (50, 3)), rng.normal(9, 0.1, (50, 3))])
    tree, _ = grow_tree(x, [2], rng, 10)
    assert set(tree[0][:50]) != set(tree[0][50:])
    assert len(set(tree[0][:50])) == 1
