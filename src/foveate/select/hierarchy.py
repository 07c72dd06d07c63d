"""Hierarchical k-means, and an order with equal shares of all branches of the tree.

Vo, Khalidov, Darcet, Moutakanni, Smetanin, Szafraniec, Touvron, Couprie, Oquab, Joulin, Jegou,
Labatut and Bojanowski 2024, "Automatic Data Curation for Self-Supervised Learning: A
Clustering-Based Approach": clusters of rows are clustered by their centres, repeatedly. The centres
of higher levels are distributed uniformly over the support of the data, instead of by their
density. A budget is divided equally over the branches at the top, and again at each lower level.

Deviations: the order is defined for every budget (one row of each branch in turn), and the levels
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
    """Cluster rows, then repeatedly the centres of the level below.

    Args:
        x: (n, d) float.
        sizes: Number of clusters of each level, from the finest to the coarsest.
        rng: Source of randomness of k-means.
        fit_rows: Largest number of rows that the finest k-means is fitted on; None for all.

    Returns:
        Parents of each level: (n,) int64 cluster of each row, then the cluster of each cluster;
        and the (k, d) centres of the finest level.
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
    """Return (n,) distances to the centre, divided by the largest and rounded to nine decimals."""
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
    """Order rows by selecting one row of each branch in turn, at every node.

    Args:
        tree: From `grow_tree`.
        leaf: (n,) int64 rows in the order of selection within clusters.
        keys: (n,) uint64; the branches of a node are visited in the order of their smallest key.
        constraint: Rows that an earlier row forbids are skipped, and the next row of the cluster is
            selected. Skipped rows follow after all others, also in turns.

    Returns:
        (n,) int64 rows in the order of selection.
    """
    state = None if constraint is None or constraint.empty else constraint.open()
    taken = np.fromiter(_take(tree, leaf, keys, state), np.int64)
    if state is None:
        return taken
    skipped = leaf[~np.isin(leaf, taken)]
    return np.concatenate([taken, np.fromiter(_take(tree, skipped, keys, None), np.int64)])


def _take(
    tree: list[NDArray[np.int64]], leaf: NDArray[np.int64], keys: NDArray[np.uint64],
    state: Open | None,
) -> Iterator[int]:  # fmt: skip
    """Yield rows of the whole tree in turn."""
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
    active = [rows for _, rows in sorted(branches, key=lambda branch: branch[0])]
    while active:
        remaining = []
        for rows in active:
            row = next(rows, None)
            if row is not None:
                yield row
                remaining.append(rows)
        active = remaining
