"""Typicality of rows in their cluster: TypiClust (Hacohen, Dekel and Weinshall 2022, Eq. 4).

The typicality of a row is the inverse of its mean distance to its K nearest rows in the cluster.
Deviation: in clusters of more than `MEMBERS` rows, the nearest are searched in a sample of that
size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.select.threads import one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MEMBERS", "spread"]

MEMBERS = 8192

_VALUES = 2**21  # distances in memory at a time: 16 MiB as float64
_NOTHING = 1e-12  # ratios of squared distance to squared lengths below this are rounding
_DIGITS = 9  # decimals of a mean distance


def spread(
    x: NDArray[np.floating], labels: NDArray[np.int64], neighbours: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the inverse of the typicality of each row; smaller values are more typical.

    Args:
        x: (n, d) float; read cluster by cluster.
        labels: (n,) int64 cluster of each row.
        neighbours: K; in clusters with fewer other rows, all of them.
        rng: Source of randomness of the samples.

    Returns:
        (n,) float64 mean distance to the nearest rows, divided by the width of the cluster and
        rounded to nine decimals; 0 for a cluster of one row.
    """
    result = np.zeros(len(x))
    order = np.argsort(labels, kind="stable")
    with one_thread():
        for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
            if members.size > 1:
                result[members] = _of_cluster(x, members, neighbours, rng)
    return result


def _of_cluster(
    x: NDArray[np.floating], members: NDArray[np.int64], neighbours: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    among = np.arange(members.size)
    if members.size > MEMBERS:
        among = np.sort(rng.choice(members.size, MEMBERS, replace=False))
    others = np.array(x[members[among]], dtype=np.float64, order="C")
    shift = others.mean(axis=0)
    others -= shift
    norms = np.square(others).sum(axis=1)
    width = float(np.sqrt(norms.mean()))
    if width == 0:
        return np.zeros(members.size)
    count = min(neighbours, among.size - 1)
    column = np.full(members.size, -1)
    column[among] = np.arange(among.size)
    result = np.empty(members.size)
    step = max(1, _VALUES // max(among.size, x.shape[1]))
    for begin in range(0, members.size, step):
        part = np.array(x[members[begin : begin + step]], dtype=np.float64, order="C") - shift
        lengths = np.square(part).sum(axis=1)[:, None]
        squared = lengths + norms - 2 * part @ others.T
        squared[squared < _NOTHING * (lengths + norms)] = 0.0
        place = column[begin : begin + step]
        inside = np.flatnonzero(place >= 0)
        squared[inside, place[inside]] = np.inf  # exclude the row itself
        near = np.sort(np.partition(squared, count - 1, axis=1)[:, :count], axis=1)
        result[begin : begin + step] = np.sqrt(near).mean(axis=1)
    return np.round(result / width, _DIGITS)
