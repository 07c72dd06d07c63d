"""Near-duplicates by embeddings: the rows to keep, and the kept row of each duplicate.

SemDeDup (Abbas, Tirumala, Simig, Ganguli and Morcos 2023): cluster the rows by k-means, compare
them by cosine within each cluster, and from rows closer than a threshold keep the one least similar
to the centre of its cluster. Here rows are normalised to unit length and compared by their
distance d, ``d^2 = 2 - 2 cos``. Deviations:

- A fixed threshold does not work for all pools: with the features of `builtin`, two tiles of open
  water have a cosine of 0.99, and a town and the same town shifted by 4 pixels 0.95. `by_gap` needs
  no threshold: a few rows are copies if they are closer to each other than to any other row by more
  than chance.
- `by_threshold` uses the `NEIGHBOURS` nearest rows of each row only.
- Every removed row is closer than the threshold to a kept row. (The public code of the paper
  removes every row with a similar earlier row, kept or not.)
- Rows with identical values are detected first, also across clusters.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.select.cluster import cells
from foveate.select.threads import one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "NEIGHBOURS",
    "SAME",
    "Pairs",
    "by_gap",
    "by_share",
    "by_threshold",
    "dimension",
    "distance_to",
    "near_pairs",
    "representatives",
]

NEIGHBOURS = 16
SAME = 1e-3  # smaller distances of unit rows are within the rounding of float16

_DIMENSIONS = 32.0
_CELL = 4096  # rows per cell, on average
_FIT, _FIT_EACH = 20_000, 256  # rows that k-means is fitted on: minimum, and per cell
_VALUES = 2**22  # distances in memory at a time: 16 MiB as float32
_ROWS = 8192
_ROUNDING = 1e-6  # tolerance of a number of rows


@dataclass(frozen=True)
class Pairs:
    """Pairs of neighbouring rows.

    Attributes:
        first: (p,) int64 row of each pair.
        second: (p,) int64 the other row, of the same cell; first < second.
        distance: (p,) float64 distance between the two unit rows, ascending.
        typical: (n,) float64 cosine of each row with the centre of its cell.
        spacing: (n,) float64 distance of each row to its eighth nearest; inf if there is none.
        half: (n,) float64 distance of each row to its fourth nearest; inf if there is none.
        same: (n,) int64 representative of all rows with identical values. Only representatives are
            in pairs.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.float64]
    typical: NDArray[np.float64]
    spacing: NDArray[np.float64]
    half: NDArray[np.float64]
    same: NDArray[np.int64]


def near_pairs(
    x: NDArray[np.floating], rng: np.random.Generator, ties: NDArray[np.uint64],
    neighbours: int = NEIGHBOURS,
) -> Pairs:  # fmt: skip
    """Find the nearest rows of each row in its cell of about 4,096 rows.

    Args:
        x: (n, d) float; read in blocks and cell by cell.
        rng: Source of randomness of k-means; not used for pools of one cell.
        ties: (n,) uint64 keys; the row with the smallest key represents rows with identical values.
        neighbours: Number of nearest rows of each row.
    """
    same = _smallest(_copies(x), ties)
    unique = np.flatnonzero(same == np.arange(len(x)))
    count = -(-unique.size // _CELL)
    fit = max(_FIT, _FIT_EACH * count)
    labels = cells(x, count, rng, fit)[0][unique] if count > 1 else np.zeros(unique.size, np.int64)
    typical = np.zeros(len(x))
    neighbour_pairs = []
    with one_thread():
        for label in range(int(labels.max(initial=-1)) + 1):
            members = unique[labels == label]
            rows = _unit(x, members)
            centre = rows.mean(axis=0, dtype=np.float64)
            length = float(np.linalg.norm(centre))
            typical[members] = rows @ (centre / length if length else centre)
            neighbour_pairs.append(_nearest_of(members, rows, neighbours))
    typical = typical[same]
    pairs = np.empty((0, 2), np.int64)
    if neighbour_pairs:
        pairs = np.unique(np.concatenate(neighbour_pairs), axis=0)
    distance = np.empty(len(pairs))
    for begin in range(0, len(pairs), _ROWS):
        a, b = pairs[begin : begin + _ROWS].T
        gap = _unit(x, a, np.float64) - _unit(x, b, np.float64)
        distance[begin : begin + _ROWS] = np.sqrt(np.square(gap).sum(axis=1))
    order = np.lexsort((pairs[:, 1], pairs[:, 0], distance))
    first, second, distance = pairs[order, 0], pairs[order, 1], distance[order]
    half, spacing = _distances_to(first, second, distance, len(x))
    return Pairs(first, second, distance, typical, spacing[same], half[same], same)


def by_gap(pairs: Pairs, chance: float = 0.05, copies: int = 4) -> NDArray[np.int64]:
    """Group rows that are closer to each other than to all others by more than chance.

    Among random rows in D dimensions, the nearest row is within a share g of the distance of the
    second nearest with probability g^D (Facco, d'Errico, Rodriguez and Laio 2017, Eq. 3). With the
    dimension D of the pool (`dimension`), ``g = chance^(1 / D)``. Rows are joined by single
    linkage, the nearest pair first. A group of m rows, at most `copies`, is a group of
    near-duplicates if it was joined over distances of at most ``g^(m - 1)`` times the distance to
    the nearest row outside. Rows within `SAME`, in any number, are also near-duplicates and count
    as one of the m.

    Args:
        pairs: From `near_pairs`.
        chance: Probability of a group by chance, 0 to 1.
        copies: Largest number of distinct rows in a group.

    Returns:
        (n,) int64 the first row of the group of each row; the row itself if it is in no group.
    """
    gap = chance ** (1 / dimension(pairs))
    n = pairs.same.size
    parent = list(range(n))
    group = np.arange(n)
    members: dict[int, list[int]] = {}  # rows of each tree; empty for trees that are too large
    size: dict[int, int] = {}
    joined: dict[int, float] = {}

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    def close(tree: int, outside: float) -> None:
        count, rows = size.get(tree, 1), members.get(tree, [])
        if rows and joined[tree] <= gap ** (count - 1) * outside:
            group[rows] = min(rows)

    by_distance = zip(
        pairs.first.tolist(), pairs.second.tolist(), pairs.distance.tolist(), strict=True
    )
    for first, second, distance in by_distance:
        a, b = root(first), root(second)
        if a == b:
            continue
        alike = distance <= SAME
        if not alike:
            close(a, distance)
            close(b, distance)
        parts = members.pop(a, [a]), members.pop(b, [b])
        rows = parts[0] + parts[1] if all(parts) else []
        parent[b] = a
        joined[a] = distance
        size[a] = 1 if alike else size.get(a, 1) + size.get(b, 1)
        members[a] = rows if size[a] <= copies else []
        if alike:
            group[rows] = min(rows)
    return group[pairs.same]


def dimension(pairs: Pairs) -> float:
    """Return the intrinsic dimension of the rows, 1 to 32.

    In D dimensions, the ratio of the distances to the eighth and to the fourth nearest row is
    2^(1 / D); the median over rows is used. The dimension is 1 if no row has eight neighbours.
    """
    known = np.isfinite(pairs.spacing) & (pairs.half > 0)
    known &= pairs.same == np.arange(known.size)
    if not known.any():
        return 1.0
    growth = float(np.median(np.log(pairs.spacing[known] / pairs.half[known])))
    return min(float(np.log(2)) / max(growth, 1e-9), _DIMENSIONS)


def by_threshold(pairs: Pairs, distance: float, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keep rows in an order, and leave out rows near a kept one.

    Args:
        pairs: From `near_pairs`.
        distance: Largest distance of near-duplicates.
        order: (n,) int64 rows, in descending priority to be kept.

    Returns:
        (n,) int64 the nearest kept row of each duplicate; the row itself if it is kept.
    """
    n = order.size
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    near = int(np.searchsorted(pairs.distance, distance, side="right"))
    first, second = pairs.first[:near], pairs.second[:near]
    swap = place[first] > place[second]
    early, late = np.where(swap, second, first), np.where(swap, first, second)
    undecided = np.ones(n, bool)
    kept = np.zeros(n, bool)
    while undecided.any():
        # Keep rows without remaining earlier neighbours, and leave out the neighbours of these.
        waits = np.zeros(n, bool)
        waits[late[undecided[early] | kept[early]]] = True
        new = undecided & ~waits
        kept |= new
        undecided &= ~new
        undecided[late[kept[early]]] = False
    copy_of = np.arange(n)
    pair = kept[early] & ~kept[late]
    copy_of[late[pair][::-1]] = early[pair][::-1]  # the nearest is written last and remains
    return copy_of[pairs.same]


def by_share(
    pairs: Pairs, keep: float, ties: NDArray[np.uint64], parts: NDArray[np.number] | None = None
) -> NDArray[np.int64]:
    """Keep a share of the rows, rounded down; rows of the nearest pairs are left out first.

    Distances are relative to the smaller `spacing` of the two rows, because absolute distances
    would only thin out homogeneous content. Pairs are processed in ascending order: from two kept
    rows, the one with the smaller spacing is left out; if it represents rows that were left out
    before, or `parts` do not allow it, the other one. If that is not enough, rows that represent
    others are left out, too, and these are assigned to the other row of the pair.

    Args:
        pairs: From `near_pairs`.
        keep: Share of the rows to keep, above 0 and at most 1.
        ties: (n,) uint64 keys; among rows of equal spacing the smallest is kept.
        parts: (n, g) non-negative amounts of g parts in each row, such as pixels of rare classes;
            at least the share `keep` of each part is kept, rounded down to a whole number.

    Returns:
        As `by_threshold`. More rows than requested are kept if no pairs are left.
    """
    n = pairs.same.size
    space = np.where(np.isfinite(pairs.spacing) & (pairs.spacing > 0), pairs.spacing, 1.0)
    relative = pairs.distance / np.minimum(space[pairs.first], space[pairs.second])
    place = np.empty(n, np.int64)
    place[np.lexsort((ties, -np.round(pairs.spacing, 9)))] = np.arange(n)
    amounts = np.zeros((n, 0)) if parts is None else np.asarray(parts)
    left = amounts.sum(axis=0, dtype=np.float64)
    least = np.floor(keep * left)
    # Rows with identical values are left out first, except their representative.
    copy_of, stands = pairs.same.copy(), np.zeros(n, bool)
    same = np.flatnonzero(copy_of != np.arange(n))
    stands[copy_of[same]] = True
    left = left - amounts[same].sum(axis=0, dtype=np.float64)
    # Rounded down like budgets, so that a budget of the same share contains all kept rows.
    surplus = n - same.size - max(1, int(keep * n + _ROUNDING))
    kept = copy_of == np.arange(n)
    rank = np.argsort(relative, kind="stable")
    firsts, seconds = pairs.first[rank].tolist(), pairs.second[rank].tolist()
    for bound in (stands, np.zeros(n, bool)):
        for first, second in zip(firsts, seconds, strict=True):
            if surplus <= 0:
                break
            if not (kept[first] and kept[second]):
                continue
            both = (second, first) if place[first] < place[second] else (first, second)
            for row, other in (both, both[::-1]):
                if not bound[row] and (left - amounts[row] >= least).all():
                    kept[row], stands[other], copy_of[row] = False, True, other
                    left = left - amounts[row]
                    surplus -= 1
                    break
    while not kept[copy_of].all():
        copy_of = copy_of[copy_of]
    return copy_of


def representatives(
    pairs: Pairs, group: NDArray[np.int64], ties: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return the representative of the group of each row: the one least similar to its cell centre.

    Args:
        pairs: From `near_pairs`.
        group: (n,) int64 number of the group of each row.
        ties: (n,) uint64 keys; among equal rows the smallest wins.
    """
    return _first_of_group(np.lexsort((ties, np.round(pairs.typical, 9), group)), group)


def distance_to(
    x: NDArray[np.floating], rows: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the (m,) distances of `rows` to `others` as unit rows."""
    result = np.empty(rows.size)
    for begin in range(0, rows.size, _ROWS):
        block = np.s_[begin : begin + _ROWS]
        gap = _unit(x, rows[block], np.float64) - _unit(x, others[block], np.float64)
        result[block] = np.sqrt(np.square(gap).sum(axis=1))
    return result


def _nearest_of(
    members: NDArray[np.int64], rows: NDArray[np.float32], neighbours: int
) -> NDArray[np.int64]:
    """Return (p, 2) pairs of each member with its nearest members."""
    count = min(neighbours, members.size - 1)
    if count < 1:
        return np.empty((0, 2), np.int64)
    norms = np.einsum("ij,ij->i", rows, rows)
    step = max(16, _VALUES // members.size)
    pairs = []
    for begin in range(0, members.size, step):
        block = rows[begin : begin + step]
        squared = norms - 2 * block @ rows.T  # without the norm of the row, which is constant
        squared[np.arange(len(block)), begin + np.arange(len(block))] = np.inf
        near = np.argpartition(squared, count - 1, axis=1)[:, :count]
        repeated = np.repeat(members[begin : begin + step], count)
        pair = np.stack([repeated, members[near.ravel()]], axis=1)
        pair.sort(axis=1)
        pairs.append(pair)
    return np.concatenate(pairs)


def _distances_to(
    first: NDArray[np.int64], second: NDArray[np.int64], distance: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distances of each row to its fourth and eighth nearest; inf if there is none."""
    rows = np.concatenate((first, second))
    far = np.concatenate((distance, distance))
    order = np.lexsort((far, rows))
    far = np.append(far[order], np.inf)
    bounds = np.searchsorted(rows[order], np.arange(n + 1))
    result = []
    for count in (4, 8):
        has = np.diff(bounds) >= count
        result.append(np.where(has, far[np.minimum(bounds[:-1] + count - 1, far.size - 1)], np.inf))
    return result[0], result[1]


def _unit(
    x: NDArray[np.floating], rows: NDArray[np.int64], dtype: type[np.floating] = np.float32
) -> NDArray:
    """Return rows scaled to unit length; rows of zeros are unchanged."""
    result = np.empty((rows.size, x.shape[1]), dtype)
    for begin in range(0, rows.size, _ROWS):
        block = np.array(x[rows[begin : begin + _ROWS]], dtype=np.float64, order="C")
        length = np.sqrt(np.square(block).sum(axis=1, keepdims=True))
        result[begin : begin + _ROWS] = block / np.where(length > 0, length, 1.0)
    return result


def _smallest(group: NDArray[np.int64], ties: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the row with the smallest key in the group of each row."""
    order = np.lexsort((ties, group))
    return _first_of_group(order, group)


def _first_of_group(order: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first row of the group of each row, in an order sorted by group."""
    first = np.ones(order.size, bool)
    first[1:] = group[order][1:] != group[order][:-1]
    result = np.empty(order.size, np.int64)
    result[order] = order[first][np.cumsum(first) - 1]
    return result


def _copies(x: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the first row with identical values for each row."""
    seen: dict[bytes, int] = {}
    same = np.empty(len(x), np.int64)
    for begin in range(0, len(x), _ROWS):
        block = np.array(x[begin : begin + _ROWS], dtype=np.float64, order="C") + 0.0  # no -0
        for i, row in enumerate(block, begin):
            same[i] = seen.setdefault(hashlib.blake2b(row, digest_size=16).digest(), i)
    return same
