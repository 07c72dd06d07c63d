"""Hierarchical k-means, and an order that gives every branch of the tree its even share.

Vo, Khalidov, Darcet, Moutakanni, Smetanin, Szafraniec, Touvron, Couprie, Oquab, Joulin, Jegou,
Labatut and Bojanowski 2024, "Automatic Data Curation for Self-Supervised Learning: A
Clustering-Based Approach": clusters of rows are clustered by their centres, and those again. The
centres of a higher level spread evenly over what the data cover, not over where most of them lie.
A budget is divided evenly at the top, each part evenly at the next level, and so on down.

Deviations: the order is defined for every budget (branches give one row in turn), and the levels
are not refined by resampling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.select.cluster import cells, kmeans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.select.constraints import Constraint, Open

__all__ = ["from_centre", "grow_tree", "in_turns"]

_BLOCK = 4096


def grow_tree(
    x: NDArray[np.floating], sizes: list[int], rng: np.random.Generator, fit_rows: int | None
) -> tuple[list[NDArray[np.int64]], NDArray[np.floating]]:
    """Cluster rows, then the centres, then theirs.

    Args:
        x: (n, d) float.
        sizes: Clusters of each level, from the finest to the coarsest.
        rng: Starts k-means.
        fit_rows: The finest k-means is fitted on at most so many rows; None for all.

    Returns:
        Parents of each level: (n,) int64 cluster of each row, then the cluster of each cluster.
        And the (k, d) centres of the finest level.
    """
    labels, finest = cells(x, sizes[0], rng, fit_rows)
    tree, centres = [labels], finest
    for size in sizes[1:]:
        labels, centres, _ = kmeans(centres, min(size, len(centres)), rng)
        tree.append(labels)
    return tree, finest


def from_centre(
    x: NDArray[np.floating], labels: NDArray[np.int64], centres: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the distance of each row to its centre, (n,), over the largest, to nine decimals."""
    far = np.empty(len(x))
    for begin in range(0, len(x), _BLOCK):
        part = np.s_[begin : begin + _BLOCK]
        gap = np.array(x[part], dtype=np.float64, order="C") - centres[labels[part]]
        far[part] = np.sqrt(np.square(gap).sum(axis=1))
    return np.round(far / (far.max(initial=0) or 1.0), 9)


def in_turns(
    tree: list[NDArray[np.int64]], leaf: NDArray[np.int64], keys: NDArray[np.uint64],
    constraint: Constraint | None = None,
) -> NDArray[np.int64]:  # fmt: skip
    """Take rows so that at every node the branches give one row in turn, until all are taken.

    Args:
        tree: From `grow_tree`.
        leaf: (n,) int64 rows in the order in which a cluster gives its own.
        keys: (n,) uint64: the branches of a node take turns by the smallest key below them.
        constraint: A row that an earlier one forbids is passed over: its cluster gives the next.
            Such rows follow after all others, in turns of their own.

    Returns:
        (n,) int64 rows in the order taken.
    """
    state = None if constraint is None or constraint.empty else constraint.open()
    taken = np.fromiter(_take(tree, leaf, keys, state), np.int64)
    if state is None:
        return taken
    rest = leaf[~np.isin(leaf, taken)]
    return np.concatenate([taken, np.fromiter(_take(tree, rest, keys, None), np.int64)])


def _take(
    tree: list[NDArray[np.int64]], leaf: NDArray[np.int64], keys: NDArray[np.uint64],
    state: Open | None,
) -> Iterator[int]:  # fmt: skip
    """Yield rows from the root."""
    labels = tree[0][leaf]
    order = np.argsort(labels, kind="stable")
    parts = np.split(leaf[order], np.flatnonzero(np.diff(labels[order])) + 1) if leaf.size else []
    level = [
        (int(tree[0][part[0]]), int(keys[part].min()), _rows(part.tolist(), state))
        for part in parts
    ]
    for parents in tree[1:]:
        below: dict[int, list[tuple[int, Iterator[int]]]] = {}
        for node, key, rows in level:
            below.setdefault(int(parents[node]), []).append((key, rows))
        level = [(node, min(k for k, _ in of), _alternate(of)) for node, of in below.items()]
    return _alternate([(key, rows) for _, key, rows in level])


def _rows(rows: list[int], state: Open | None) -> Iterator[int]:
    for row in rows:
        if state is None:
            yield row
        elif state.free[row]:
            state.pick(row)
            yield row


def _alternate(branches: list[tuple[int, Iterator[int]]]) -> Iterator[int]:
    giving = [rows for _, rows in sorted(branches, key=lambda branch: branch[0])]
    while giving:
        left = []
        for rows in giving:
            row = next(rows, None)
            if row is not None:
                yield row
                left.append(rows)
        giving = left
