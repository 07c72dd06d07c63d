"""What each row adds to a coverage: the part of `coverage` that reads all rows, among holders.

All gains are in units of one row: each of m reference rows stands for ``weight = n / m`` rows, and
for itself as a candidate once. Squared distances are in the scaled unit of `Points`.

A gain is a sum over reference rows, computed from a block of rows that is the same however many
holders there are. So gains are the same bytes for any number of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.select._held import HeldRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.select.holders import Mapped

NEAR = 2.0**-22  # of full coverage
EQUAL = 1e-9  # relative difference of gains in float64 that is rounding

_NARROWEST = 1e-30  # square of a width at which copies alone are similar; fits float32


@dataclass(frozen=True)
class Similarity:
    """A similarity as a function of squared distances.

    Attributes:
        width: What squared distances are divided by, above 0.
        linear: Whether it is ``1 - squared / width``, instead of ``exp(-squared / width)``.
    """

    width: float
    linear: bool

    @classmethod
    def gaussian(cls, sigma: float) -> Similarity:
        """Return ``exp(-squared / sigma^2)``."""
        return cls(max(float(sigma) ** 2, _NARROWEST), linear=False)

    @classmethod
    def squared(cls, longest: float, reference: float) -> Similarity:
        """Return 1 - squared / D, where D is a bound on all squared distances.

        Args:
            longest: Largest squared length of a row.
            reference: Of a reference row.
        """
        bound = float((np.sqrt(longest) + np.sqrt(reference)) ** 2 * (1 + 1e-6))  # beyond rounding
        return cls(bound or 1.0, linear=True)  # all rows coincide

    def __call__(self, squared: NDArray[Any]) -> NDArray[Any]:
        """Return the similarities; overwrites what it is given."""
        squared *= squared.dtype.type(-1 / self.width)
        if not self.linear:
            return np.exp(squared, out=squared)
        squared += 1
        return squared


@dataclass(frozen=True)
class Reference:
    """The rows to be covered.

    Attributes:
        rows: (m,) int64 rows of the matrix.
        vectors: (m, d) float32 coordinates.
        weight: How many rows each stands for.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    weight: float


@dataclass(frozen=True)
class Update:
    """Changes since the last call of a holder.

    Attributes:
        covered: Numbers of the reference rows whose coverage has increased.
        coverage: (as `covered`) float32, their coverage.
        changed: Rows of the matrix that became free, or are no longer free.
    """

    covered: NDArray[np.int64]
    coverage: NDArray[np.float32]
    changed: NDArray[np.int64]


@dataclass(frozen=True)
class Front:
    """The free rows of the largest gains, of one holder or of all.

    Attributes:
        above: int64, rows of the matrix of gains clearly above an edge.
        equal: int64, rows at the edge, the first in the order of ties.
        gain: float64 gains of `equal`.
        others: Largest gain of the other free rows; -inf where there are none.
    """

    above: NDArray[np.int64]
    equal: NDArray[np.int64]
    gain: NDArray[np.float64]
    others: float

    @classmethod
    def merged(cls, parts: list[Front], rank: NDArray[np.int64], width: int) -> Front:
        """Return the `width` first of several, the largest and then those at the edge.

        Args:
            parts: With the same edge, the `width`-th largest gain of all free rows.
            rank: (n,) place of each row in the order of ties.
            width: How many.
        """
        above, equal, gain = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("above", "equal", "gain")
        )
        order = np.argsort(rank[equal])
        equal, gain = equal[order], gain[order]
        room = width - above.size
        others = max(part.others for part in parts)
        left = float(gain[room:].max(initial=-np.inf))
        return cls(above, equal[:room], gain[:room], max(others, left))


class Gains(HeldRows):
    """Some rows, one after the other in the matrix, and what each adds.

    Args:
        x: (n, d) rows, or where they are.
        begin: Number of the first in the matrix.
        ranks: (n,) int64, places in the order of ties.
        metric: "euclidean" or "cosine".
        block: Rows read at a time.
    """

    def __init__(
        self, x: NDArray[np.floating] | Mapped, begin: int, ranks: NDArray[np.int64], *,
        metric: str, block: int,
    ) -> None:  # fmt: skip
        super().__init__(x, begin, metric=metric, block=block)
        self.ranks = ranks
        self._free = np.ones(len(self.x), bool)
        self._gain = np.zeros(len(self.x))

    def set_reference(self, reference: Reference) -> None:
        """Set the reference rows."""
        self._reference = reference
        self._covered = np.zeros(reference.rows.size, np.float32)  # as `_gain` knows it
        self._places = np.flatnonzero(self.inside(reference.rows))  # of those that are here

    def sum_distances(self, total: NDArray[np.float64], norms: float) -> float:
        """Sum the squared distances of each row to the reference rows.

        Args:
            total: (d,) sum of the reference rows.
            norms: Sum of their squared lengths.

        Returns:
            The largest squared length of a row.
        """
        longest = 0.0
        for part in self.points.blocks():
            single = self.points.work(part, np.dtype(np.float32))
            longest = max(longest, float(np.einsum("ij,ij->i", single, single).max()))
            rows = single.astype(np.float64)
            own = np.einsum("ij,ij->i", rows, rows)
            self._gain[part] = own * self._covered.size - 2 * (rows @ total) + norms
        return longest

    def set_similarity(self, similarity: Similarity) -> None:
        """Compute the gain of each row without picks; a linear one needs `sum_distances` first."""
        self._similarity = similarity
        if similarity.linear:
            self._gain = self._covered.size + similarity(self._gain) - 1
            return
        for part, similar in self._pass(np.arange(self._covered.size)):
            self._gain[part] = similar.sum(axis=1)

    def refresh(self, update: Update, count: int) -> NDArray[np.float64]:
        """Bring all rows up to date; return the `count` largest gains of free rows, or all."""
        if update.covered.size:
            low, high = self._covered[update.covered], update.coverage
            for part, similar in self._pass(update.covered):
                np.maximum(similar, low, out=similar)
                np.minimum(similar, high, out=similar)
                np.subtract(similar, low, out=similar)
                self._gain[part] -= similar.sum(axis=1)
            self._covered[update.covered] = high
        here = update.changed[self.inside(update.changed)] - self.begin
        self._free[here] = ~self._free[here]
        gain = self._weighted()[self._free]
        return gain if gain.size <= count else np.partition(gain, gain.size - count)[-count:]

    def front(self, edge: float, near: float, width: int) -> Front:
        """Return the free rows of the largest gains.

        Args:
            edge: Smallest gain that has room.
            near: Gains within this of the edge are equal.
            width: How many rows are returned of the equal ones.
        """
        gain = self._weighted()
        above = self._free & (gain > edge + near)
        equal = np.flatnonzero(self._free & ~above & (gain >= edge - near))
        equal = equal[np.argsort(self.ranks[equal])][:width]
        others = self._free & ~above
        others[equal] = False
        return Front(
            self.begin + np.flatnonzero(above), self.begin + equal, gain[equal],
            float(gain[others].max(initial=-np.inf)),
        )  # fmt: skip

    def _weighted(self) -> NDArray[np.float64]:
        """Return (n,) what each row adds, in units of one row."""
        gain = self._gain * self._reference.weight
        here = self._reference.rows[self._places] - self.begin
        missing = 1 - self._covered[self._places].astype(np.float64)
        gain[here] -= (self._reference.weight - 1) * missing
        return gain

    def _pass(self, some: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Read all rows in blocks; yield similarities to some reference rows, to be overwritten."""
        reference = self._reference.vectors[some]
        norms = np.einsum("ij,ij->i", reference, reference)
        reference *= -2
        for part in self.points.blocks():
            rows = np.ascontiguousarray(self.points.work(part, np.dtype(np.float32)))
            yield part, self._similarity(squared_distances(rows, reference, norms))


def squared_distances(
    a: NDArray[Any], b: NDArray[Any], norms: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return (len(a), len(b)) squared distances, at least 0.

    Args:
        a: Rows.
        b: Rows; where `norms` are given, -2 times the rows.
        norms: Squared lengths of the rows of `b`.
    """
    if norms is None:
        norms, b = np.einsum("ij,ij->i", b, b), -2 * b
    found = a @ b.T
    found += np.einsum("ij,ij->i", a, a)[:, None]
    found += norms
    return np.maximum(found, 0, out=found)
