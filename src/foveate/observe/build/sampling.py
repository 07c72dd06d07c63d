"""Which candidates are fetched, and which of them belong together.

The paper subsamples "class-aware" (appendix A.4) and does not say how. Here the concept with the
fewest candidates so far has the next turn, so that rare concepts are kept whole and frequent ones
share what is left; the order is nested: a smaller limit takes the first of it.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

import numpy as np

from foveate.seeds import tie_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KILOMETRES = 111.32  # of a degree of the equator


def rare_first(ids: NDArray[np.str_], shows: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """Return rows by how rare the rarest of their concepts is, ties by a seeded hash.

    Args:
        ids: (n,) names.
        shows: (n, K) bool: which concepts each shows.
        seed: Of the ties.
    """
    often = shows.sum(axis=0)
    rarest = np.where(shows, often, ids.size + 1).min(axis=1, initial=ids.size + 1)
    return np.lexsort((tie_keys(ids, seed, "build/thin"), rarest))


def class_aware(
    ids: NDArray[np.str_], shows: NDArray[np.bool_], limit: int | None, seed: int
) -> NDArray[np.int64]:
    """Return the rows of at most `limit` candidates in the order in which they are taken.

    Args:
        ids: (n,) names.
        shows: (n, K) bool: which concepts each shows; at least one.
        limit: Most candidates; all when None.
        seed: Of the order among those of one concept.
    """
    size = ids.size if limit is None else min(limit, ids.size)
    order = np.argsort(tie_keys(ids, seed, "build/limit"), kind="stable")
    queues = [iter(order[shows[order, k]].tolist()) for k in range(shows.shape[1])]
    turns = [(0, k) for k in range(len(queues))]
    held = np.zeros(len(queues), np.int64)
    taken = np.zeros(ids.size, bool)
    found: list[int] = []
    while turns and len(found) < size:
        count, k = heapq.heappop(turns)
        if count != held[k]:  # it was served by others meanwhile
            heapq.heappush(turns, (int(held[k]), k))
            continue
        row = next((row for row in queues[k] if not taken[row]), None)
        if row is None:
            continue
        taken[row] = True
        found.append(row)
        held += shows[row]
        heapq.heappush(turns, (int(held[k]), k))
    return np.array(found, np.int64)


def blocks(
    lon: NDArray[np.float64], lat: NDArray[np.float64], kilometres: float
) -> NDArray[np.str_]:
    """Return the spatial block of each place, (n,): "n0046_e0012", squares of so many kilometres.

    Pairs of one block are never divided between training and test.

    Args:
        lon: (n,) degrees.
        lat: (n,) degrees.
        kilometres: Side of a block; its width is exact at the latitude of its middle.
    """
    band = np.floor(lat * _KILOMETRES / kilometres).astype(np.int64)
    middle = np.minimum(np.abs((band + 0.5) * kilometres / _KILOMETRES), 89.0)
    wide = _KILOMETRES * np.cos(np.radians(middle))
    column = np.floor(lon * wide / kilometres).astype(np.int64)
    width = max(4, math.ceil(math.log10(20_100 / min(kilometres, 1000.0))))
    return np.array(
        [
            f"{'n' if b >= 0 else 's'}{abs(b):0{width}d}_{'e' if c >= 0 else 'w'}{abs(c):0{width}d}"
            for b, c in zip(band.tolist(), column.tolist(), strict=True)
        ],
        np.str_,
    )
