"""Near-duplicates by their embeddings: which rows to keep, and of which each other one is a copy.

SemDeDup (Abbas, Tirumala, Simig, Ganguli and Morcos 2023): cluster the rows by k-means, compare by
cosine within each cluster, and of rows that are closer than a threshold keep the one that is least
like the centre of its cluster. Rows are compared here as points of unit length by their distance d,
``d^2 = 2 - 2 cos``. Deviations:

- One threshold suits no pool: with the features of `builtin`, two tiles of open water have a
  cosine of .99, a town and the same town 4 pixels further .95. `by_gap` needs none: a few rows are
  copies if they are closer to each other than to any other row by more than chance.
- `by_threshold` looks at the `NEIGHBOURS` nearest rows of each row only.
- Every row that is removed has a kept one closer than the threshold. (The public code of the paper
  removes whatever has a similar earlier row, kept or not.)
- Rows that are the same byte for byte are found first, wherever they lie.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.select.cluster import cells, one_thread

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
SAME = 1e-3  # distance of unit rows that float16 does not tell from none

_DIMENSIONS = 32.0
_CELL = 4096  # rows of a cell, on average
_FIT, _FIT_EACH = 20_000, 256  # rows that k-means is fitted on: at least, and per cell
_VALUES = 2**22  # distances held at a time: 16 MiB as float32
_ROWS = 8192
_ROUNDING = 1e-6  # of a number of rows


@dataclass(frozen=True)
class Pairs:
    """Rows that are near each other.

    Attributes:
        first: (p,) int64 row of each pair.
        second: (p,) int64 the other row, of the same cell; first < second.
        distance: (p,) float64 distance of the two as unit rows, rising.
        typical: (n,) float64 cosine of each row with the centre of its cell.
        spacing: (n,) float64 distance of each row to its eighth nearest; inf where there is none.
        half: (n,) float64 distance to its fourth nearest, likewise.
        same: (n,) int64, the row that stands for all that hold the same numbers. Only such rows are
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
    """Find the nearest rows of each row in its cell of some 4,096 rows.

    Args:
        x: (n, d) float; read in blocks and cell by cell.
        rng: Starts k-means; not used for pools of one cell.
        ties: (n,) uint64 keys: of rows that hold the same numbers the smallest stands for all.
        neighbours: How many nearest rows of each row.
    """
    same = _smallest(_copies(x), ties)
    unique = np.flatnonzero(same == np.arange(len(x)))
    count = -(-unique.size // _CELL)
    fit = max(_FIT, _FIT_EACH * count)
    labels = cells(x, count, rng, fit)[0][unique] if count > 1 else np.zeros(unique.size, np.int64)
    typical = np.zeros(len(x))
    found = []
    with one_thread():
        for label in range(int(labels.max(initial=-1)) + 1):
            members = unique[labels == label]
            rows = _unit(x, members)
            centre = rows.mean(axis=0, dtype=np.float64)
            length = float(np.linalg.norm(centre))
            typical[members] = rows @ (centre / length if length else centre)
            found.append(_nearest_of(members, rows, neighbours))
    typical = typical[same]
    pairs = np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), np.int64)
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
    """Group rows that are closer to each other than to all others, beyond chance.

    Among rows that lie at random in D dimensions, the nearest is within a share g of the distance
    of the second nearest with probability g^D (Facco, d'Errico, Rodriguez and Laio 2017, Eq. 3).
    With D of the pool (`dimension`), ``g = chance^(1 / D)``. Rows are joined from the nearest pair
    on (single linkage). A group of m rows, `copies` at most, that was joined over distances of at
    most ``g^(m - 1)`` times the distance to the nearest row outside is a group of near-duplicates;
    so are rows within `SAME`, however many, which count as one of the m.

    Args:
        pairs: From `near_pairs`.
        chance: Probability above, 0 to 1.
        copies: Most distinct rows of a group.

    Returns:
        (n,) int64 the first row of the group of each row; its own where it is alone.
    """
    gap = chance ** (1 / dimension(pairs))
    n = pairs.same.size
    parent = list(range(n))
    group = np.arange(n)
    members: dict[int, list[int]] = {}  # of what is joined; none of what is too large
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

    trail = zip(pairs.first.tolist(), pairs.second.tolist(), pairs.distance.tolist(), strict=True)
    for first, second, distance in trail:
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
    """Return the intrinsic dimension of the rows.

    In D dimensions the distances to the fourth and the eighth nearest row differ by a factor of
    2^(1 / D), here in the median over rows. 1 where no row has eight neighbours; 32 at most.
    """
    known = np.isfinite(pairs.spacing) & (pairs.half > 0)
    known &= pairs.same == np.arange(known.size)
    if not known.any():
        return 1.0
    growth = float(np.median(np.log(pairs.spacing[known] / pairs.half[known])))
    return min(float(np.log(2)) / max(growth, 1e-9), _DIMENSIONS)


def by_threshold(pairs: Pairs, distance: float, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keep rows in an order, and leave out each that is near a kept one.

    Args:
        pairs: From `near_pairs`.
        distance: Rows at most so far apart are near-duplicates.
        order: (n,) int64 rows, those to keep first.

    Returns:
        (n,) int64 for each row the kept row that it is a copy of: the nearest one; its own where
        it is kept.
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
        # Kept is what has no earlier neighbour left; its neighbours are not.
        waits = np.zeros(n, bool)
        waits[late[undecided[early] | kept[early]]] = True
        new = undecided & ~waits
        kept |= new
        undecided &= ~new
        undecided[late[kept[early]]] = False
    copy_of = np.arange(n)
    pair = kept[early] & ~kept[late]
    copy_of[late[pair][::-1]] = early[pair][::-1]  # the nearest is written last
    return copy_of[pairs.same]


def by_share(
    pairs: Pairs, keep: float, ties: NDArray[np.uint64], parts: NDArray[np.number] | None = None
) -> NDArray[np.int64]:
    """Keep a share of the rows, rounded down; the nearest are left out first, wherever they are.

    Distances count in units of the smaller `spacing` of the two rows: one distance for all would
    thin out what is alike by nature and leave the rest. Pairs are looked at from the nearest on: of
    two that are kept the one with less space is left out, or the other, if that one stands for rows
    that were left out before or `parts` do not allow it. Only where that is not enough, rows that
    stand for others are left out, too, and these go to the other row of the pair.

    Args:
        pairs: From `near_pairs`.
        keep: Share of the rows to keep, above 0 and at most 1.
        ties: (n,) uint64 keys; among rows of equal spacing the smallest is kept.
        parts: (n, g) amounts of g parts in each row, not negative, such as pixels of rare classes:
            of each part `keep` of its sum stays, rounded down to a whole number.

    Returns:
        As `by_threshold`. More than asked for are kept where no pair is left.
    """
    n = pairs.same.size
    space = np.where(np.isfinite(pairs.spacing) & (pairs.spacing > 0), pairs.spacing, 1.0)
    relative = pairs.distance / np.minimum(space[pairs.first], space[pairs.second])
    place = np.empty(n, np.int64)
    place[np.lexsort((ties, -np.round(pairs.spacing, 9)))] = np.arange(n)
    amounts = np.zeros((n, 0)) if parts is None else np.asarray(parts)
    left = amounts.sum(axis=0, dtype=np.float64)
    least = np.floor(keep * left)
    # Rows that hold the same numbers are one: the other ones go first.
    copy_of, stands = pairs.same.copy(), np.zeros(n, bool)
    same = np.flatnonzero(copy_of != np.arange(n))
    stands[copy_of[same]] = True
    left = left - amounts[same].sum(axis=0, dtype=np.float64)
    # Rounded down as a budget is: a cut at the same share then leaves out nothing that is kept.
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
    """Return for each row the row that stands for its group: the one least like its cell's centre.

    Args:
        pairs: From `near_pairs`.
        group: (n,) int64, one number per group.
        ties: (n,) uint64 keys; among equals the smallest.
    """
    return _first_of_group(np.lexsort((ties, np.round(pairs.typical, 9), group)), group)


def distance_to(
    x: NDArray[np.floating], rows: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the distances of `rows` to `others`, (m,) each, as unit rows."""
    result = np.empty(rows.size)
    for begin in range(0, rows.size, _ROWS):
        part = np.s_[begin : begin + _ROWS]
        gap = _unit(x, rows[part], np.float64) - _unit(x, others[part], np.float64)
        result[part] = np.sqrt(np.square(gap).sum(axis=1))
    return result


def _nearest_of(
    members: NDArray[np.int64], rows: NDArray[np.float32], neighbours: int
) -> NDArray[np.int64]:
    """Return (p, 2) pairs of each of `members` with its nearest ones."""
    count = min(neighbours, members.size - 1)
    if count < 1:
        return np.empty((0, 2), np.int64)
    norms = np.einsum("ij,ij->i", rows, rows)
    step = max(16, _VALUES // members.size)
    found = []
    for begin in range(0, members.size, step):
        part = rows[begin : begin + step]
        squared = norms - 2 * part @ rows.T  # and the row's own, which orders nothing
        squared[np.arange(len(part)), begin + np.arange(len(part))] = np.inf
        near = np.argpartition(squared, count - 1, axis=1)[:, :count]
        own = np.repeat(members[begin : begin + step], count)
        pair = np.stack([own, members[near.ravel()]], axis=1)
        pair.sort(axis=1)
        found.append(pair)
    return np.concatenate(found)


def _distances_to(
    first: NDArray[np.int64], second: NDArray[np.int64], distance: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distances of each row to its fourth and its eighth nearest; inf for none."""
    rows = np.concatenate((first, second))
    far = np.concatenate((distance, distance))
    order = np.lexsort((far, rows))
    far = np.append(far[order], np.inf)
    bounds = np.searchsorted(rows[order], np.arange(n + 1))
    found = []
    for count in (4, 8):
        has = np.diff(bounds) >= count
        found.append(np.where(has, far[np.minimum(bounds[:-1] + count - 1, far.size - 1)], np.inf))
    return found[0], found[1]


def _unit(
    x: NDArray[np.floating], rows: NDArray[np.int64], dtype: type[np.floating] = np.float32
) -> NDArray:
    """Return rows of unit length; rows of zeros stay."""
    result = np.empty((rows.size, x.shape[1]), dtype)
    for begin in range(0, rows.size, _ROWS):
        part = np.array(x[rows[begin : begin + _ROWS]], dtype=np.float64, order="C")
        length = np.sqrt(np.square(part).sum(axis=1, keepdims=True))
        result[begin : begin + _ROWS] = part / np.where(length > 0, length, 1.0)
    return result


def _smallest(group: NDArray[np.int64], ties: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the row of the smallest key of the group of each row."""
    order = np.lexsort((ties, group))
    return _first_of_group(order, group)


def _first_of_group(order: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row the first row of its group in an order that is sorted by group."""
    first = np.ones(order.size, bool)
    first[1:] = group[order][1:] != group[order][:-1]
    result = np.empty(order.size, np.int64)
    result[order] = order[first][np.cumsum(first) - 1]
    return result


def _copies(x: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return for each row the first row that holds the same numbers."""
    seen: dict[bytes, int] = {}
    same = np.empty(len(x), np.int64)
    for begin in range(0, len(x), _ROWS):
        block = np.array(x[begin : begin + _ROWS], dtype=np.float64, order="C") + 0.0  # no -0
        for i, row in enumerate(block, begin):
            same[i] = seen.setdefault(hashlib.blake2b(row, digest_size=16).digest(), i)
    return same
