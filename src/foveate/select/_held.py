"""Vectors divided among holders: validation, and a common shift and scale.

The shift and scale of `Points` depend on all rows. So each holder checks its rows first, and then
gets the values of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.select._distance import Points, Seen, sampled
from foveate.select.holders import opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select.holders import Crew, Mapped


class HeldRows:
    """Some rows, one after the other in the matrix.

    Args:
        x: (n, d) rows, or where they are.
        begin: Number of the first in the matrix.
        metric: "euclidean" or "cosine".
        block: Rows read at a time.
    """

    points: Points  # from `frame` on

    def __init__(
        self, x: NDArray[np.floating] | Mapped, begin: int, *, metric: str, block: int
    ) -> None:
        self.x = opened(x)
        self.begin, self.metric, self.block = begin, metric, block

    def look(self) -> Seen:
        """Read and check all rows."""
        self.seen = Seen.of(self.x, self.metric, self.block)
        return Seen(
            self.seen.largest, None, self.begin + self.seen.bad, self.begin + self.seen.zero
        )

    def frame(self, largest: float, sample: NDArray[np.floating]) -> None:
        """Set the shift and scale of all rows; see `Points.framed`."""
        self.points = Points.framed(
            self.x, self.metric, self.block, largest=largest, sample=sample, norm=self.seen.norm
        )

    def fetch(self, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return rows as stored."""
        return np.asarray(self.x[rows - self.begin])

    def inside(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows of the matrix are here."""
        return (rows >= self.begin) & (rows < self.begin + len(self.x))


def survey(crew: Crew, x: Any, n: int, metric: str, block: int) -> Points:
    """Check all rows, send shift and scale to the holders, and return the rows as points.

    Raises:
        DataError: Rows contain NaN or infinity, or (cosine) are all zero.
    """
    seen = Seen.merged(crew.each("look"))
    seen.refuse(n)
    sample = np.asarray(x[sampled(n)])
    crew.each("frame", seen.largest, sample)
    return Points.framed(x, metric, block, largest=seen.largest, sample=sample)


class Known:
    """Rows of holders in other processes, indexed like a matrix; missing rows are requested.

    Args:
        crew: The holders.
        dtype: Type of the numbers.
    """

    def __init__(self, crew: Crew, dtype: np.dtype[Any]) -> None:
        self.crew, self.dtype = crew, dtype
        self._ends = np.array([rows.stop for rows in crew.ranges])
        self._vectors: dict[int, NDArray[Any]] = {}

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return (m, d) rows as stored."""
        missing = np.array([r for r in rows.tolist() if r not in self._vectors], np.int64)
        found: dict[int, NDArray[Any]] = {}
        if missing.size:
            holder = np.searchsorted(self._ends, missing, side="right")
            for number in np.unique(holder).tolist():
                part = missing[holder == number]
                found |= zip(part.tolist(), self.crew.one(number, "fetch", part), strict=True)
        every = [found[r] if r in found else self._vectors[r] for r in rows.tolist()]
        return np.stack(every) if every else np.empty((0, 0), self.dtype)

    def keep(
        self, rows: NDArray[np.int64], vectors: NDArray[Any] | None, others: NDArray[np.int64]
    ) -> None:
        """Keep rows that were sent, and others that are known already; drop the rest."""
        held = {r: self._vectors[r] for r in others.tolist() if r in self._vectors}
        sent = () if vectors is None else vectors
        self._vectors = held | dict(zip(rows.tolist(), sent, strict=True))
