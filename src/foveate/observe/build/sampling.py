"""Select the candidates to fetch, and group them by spatial blocks.

The paper subsamples "class-aware" (appendix A.4) without details. Here, the next candidate is
always one of the concept with the fewest selected candidates. So all candidates of rare concepts
are kept, and frequent concepts share the rest. The order is nested: a smaller limit selects a
prefix.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

import numpy as np

from foveate.seeds import tie_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KM_PER_DEGREE = 111.32  # at the equator


def rare_first(ids: NDArray[np.str_], shows: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """Return (n,) rows sorted by the frequency of their rarest concept; ties by a seeded hash.

    Args:
        ids: (n,) names.
        shows: (n, K) bool: concepts of each candidate.
        seed: Seed for ties.
    """
    frequency = shows.sum(axis=0)
    rarest = np.where(shows, frequency, ids.size + 1).min(axis=1, initial=ids.size + 1)
    return np.lexsort((tie_keys(ids, seed, "build/thin"), rarest))


def class_aware(
    ids: NDArray[np.str_], shows: NDArray[np.bool_], limit: int | None, seed: int
) -> NDArray[np.int64]:
    """Return the rows of at most `limit` candidates in the order of selection.

    Args:
        ids: (n,) names.
        shows: (n, K) bool: concepts of each candidate, at least one.
        limit: Maximum number of candidates; None for all.
        seed: Seed for the order of the candidates of a concept.
    """
    size = ids.size if limit is None else min(limit, ids.size)
    order = np.argsort(tie_keys(ids, seed, "build/limit"), kind="stable")
    queues = [iter(order[shows[order, k]].tolist()) for k in range(shows.shape[1])]
    turns = [(0, k) for k in range(len(queues))]
    counts = np.zeros(len(queues), np.int64)
    taken = np.zeros(ids.size, bool)
    selected: list[int] = []
    while turns and len(selected) < size:
        count, k = heapq.heappop(turns)
        if count != counts[k]:  # increased by candidates with several concepts
            heapq.heappush(turns, (int(counts[k]), k))
            continue
        row = next((row for row in queues[k] if not taken[row]), None)
        if row is None:
            continue
        taken[row] = True
        selected.append(row)
        counts += shows[row]
        heapq.heappush(turns, (int(counts[k]), k))
    return np.array(selected, np.int64)


def blocks(
    lon: NDArray[np.float64], lat: NDArray[np.float64], kilometres: float
) -> NDArray[np.str_]:
    """Return the name of the square block of each location, (n,), for example "n0046_e0012".

    Pairs of one block are never split between training and test.

    Args:
        lon: (n,) degrees.
        lat: (n,) degrees.
        kilometres: Side of a block; the width is exact at its central latitude.
    """
    band = np.floor(lat * _KM_PER_DEGREE / kilometres).astype(np.int64)
    middle = np.minimum(np.abs((band + 0.5) * kilometres / _KM_PER_DEGREE), 89.0)
    km_per_degree_lon = _KM_PER_DEGREE * np.cos(np.radians(middle))
    column = np.floor(lon * km_per_degree_lon / kilometres).astype(np.int64)
    width = max(4, math.ceil(math.log10(20_100 / min(kilometres, 1000.0))))
    return np.array(
        [
            f"{'n' if b >= 0 else 's'}{abs(b):0{width}d}_{'e' if c >= 0 else 'w'}{abs(c):0{width}d}"
            for b, c in zip(band.tolist(), column.tolist(), strict=True)
        ],
        np.str_,
    )
