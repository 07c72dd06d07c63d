"""What rows add to a set of picks: scores that stay, and gains that each pick changes.

Each gain has a value for every row, and is told of each pick. Which of them a run adds up, and how
they are brought to one scale, is said by `select.combine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from foveate.errors import ParameterError
from foveate.registry import suggest
from foveate.select._screen import TOLERANCE, entropy
from foveate.select._vectors import Vectors, gaussian, squared_to_one

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Balance", "Coverage", "Diversity", "Fixed", "Gain", "Vectors"]

NEAR = 2.0**-22  # of full coverage: less is rounding, as in `select.coverage`
_EQUAL = 1e-9  # relative difference of gains of coverage that is rounding
_BLOCK = 8192
_ABSENT = 2.0**-33  # share of a class that the union has not

BalanceForm = Literal["entropy", "concave", "divergence"]


class Gain(Protocol):
    """What each row adds to the picks.

    Attributes:
        fixed: Whether picks change nothing; the values are then from 0 to 1 already.
        resolution: Differences up to it are rounding.
        first: Row with which it would begin where it makes no difference between rows; or None.
        known: Whether the values mean anything yet.
    """

    fixed: bool
    resolution: float
    first: int | None
    known: bool

    def values(self) -> NDArray[np.float64]:
        """Return (n,) what each row adds now; not to be written to."""
        ...

    def add(self, row: int) -> None:
        """Take a row into the set."""
        ...


class Fixed:
    """A score for each row that no pick changes.

    Args:
        score: (n,) float64 from 0 to 1.
    """

    fixed, resolution, known = True, 1e-12, True
    first: int | None = None

    def __init__(self, score: NDArray[np.float64]) -> None:
        self._score = score

    def values(self) -> NDArray[np.float64]:
        """Return the scores."""
        return self._score

    def add(self, row: int) -> None:
        """Do nothing."""


class Coverage:
    """What a row adds to the coverage of reference rows, as a share of full coverage.

    As `select.coverage` in one pass over the rows for each pick, with those reference rows alone
    that the pick covers better than any before it.

    Args:
        vectors: The rows.
        reference: (m,) int64 distinct rows that are to be covered, at least one.
        sigma: Width of a Gaussian similarity, in the unit of the rows; None for 1 - (d / D)^2.
    """

    fixed, known = False, True
    first: int | None = None

    def __init__(
        self, vectors: Vectors, reference: NDArray[np.int64], sigma: float | None = None
    ) -> None:
        self._vectors, self._reference = vectors, reference
        self.resolution = _EQUAL
        self._rows = vectors.of(reference)
        bound = vectors.longest + np.sqrt(np.square(self._rows).sum(axis=1).max())
        self._similar = (
            squared_to_one(bound**2 * (1 + 1e-6))  # beyond rounding
            if sigma is None
            else gaussian(sigma * vectors.scale)
        )
        self._best = np.zeros(reference.size)
        self._gain = np.zeros(len(vectors))
        self._weight = len(vectors) / reference.size
        for part, squared in vectors.squared_to(self._rows):
            self._gain[part] = self._similar(squared).sum(axis=1)

    def values(self) -> NDArray[np.float64]:
        """Return (n,) shares of full coverage; what is rounding is 0."""
        found = self._gain * self._weight
        # A row stands for itself once, not for as many rows as a reference row does.
        found[self._reference] -= (self._weight - 1) * (1 - self._best)
        found /= self._weight * self._reference.size
        found[found <= NEAR] = 0
        self.resolution = max(_EQUAL * float(found.max(initial=0)), 1e-13)
        return found

    def add(self, row: int) -> None:
        """Cover by a row."""
        _, squared = next(self._vectors.squared_to(self._rows, slice(row, row + 1)))
        new = self._similar(squared)[0]
        new[self._reference == row] = 1.0
        moved = np.flatnonzero(new > self._best)
        if not moved.size:
            return
        low, high = self._best[moved], new[moved]
        for part, squared in self._vectors.squared_to(self._rows[moved]):
            change = np.clip(self._similar(squared), low, high)
            change -= low
            self._gain[part] -= change.sum(axis=1)
        self._best[moved] = high


class Diversity:
    """Distance of a row to the nearest pick: k-center, see `select.kcenter`.

    Before the first pick nothing is known.

    Args:
        vectors: The rows.
        first: Row to begin with.
        power: Of the distance, above 0: 2 counts what is far away for more.
    """

    fixed, resolution = False, 1e-13

    def __init__(self, vectors: Vectors, first: int | None = None, power: float = 1.0) -> None:
        if not 0 < power < np.inf:
            raise ParameterError(f"power={power}", "A power above 0 of the distance.")
        self._vectors, self.first, self._power = vectors, first, power
        self._squared = np.full(len(vectors), np.inf)
        self.known = False

    def values(self) -> NDArray[np.float64]:
        """Return (n,) distances to the power: Euclidean in a unit of its own, or 1 - cosine."""
        if not self.known:
            return np.ones(self._squared.size)
        if self._vectors.metric == "cosine":
            return (self._squared / 2) ** self._power
        return np.sqrt(self._squared) if self._power == 1 else self._squared ** (self._power / 2)

    def add(self, row: int) -> None:
        """Take a row into the set."""
        self.known = True
        self._vectors.closer(row, self._squared)


class Balance:
    """What a row adds to the balance of classes in the union.

    With "entropy" the rise of the entropy of the class distribution, as a share of the largest
    possible: CB, see `select.balance`. With "concave" the rise of the mean over classes of
    ``sqrt(pixels in the union / pixels in the pool)``, which never falls. With "divergence" the
    rise of ``1 / (1 + D)``, D the Kullback-Leibler divergence of equal shares from those of the
    union to the base C, ``-mean(log(C * share)) / log(C)``: D is large as long as any class is
    rare, however even the others are. A class without a pixel counts as one in 2^33.

    Args:
        counts: (n, C) pixels per class, integers of at least 0.
        form: "entropy", "concave" or "divergence".
    """

    fixed, resolution, known = False, TOLERANCE, True
    first: int | None = None

    def __init__(self, counts: NDArray[np.integer], form: BalanceForm = "entropy") -> None:
        if form not in get_args(BalanceForm):
            raise ParameterError(
                f"form={form!r}", f"Allowed: {', '.join(get_args(BalanceForm))}.",
                suggest(form, get_args(BalanceForm)),
            )  # fmt: skip
        self._counts, self._form = counts, form
        self._columns = np.flatnonzero(counts.any(axis=0))
        self._mix = np.zeros(self._columns.size)
        self._pool = counts.sum(axis=0, dtype=np.float64)[self._columns]

    def values(self) -> NDArray[np.float64]:
        """Return (n,) rises; a row without any counted pixel adds nothing."""
        found = np.zeros(len(self._counts))
        if self._columns.size == 0 or (self._form != "concave" and self._columns.size == 1):
            return found
        for begin in range(0, found.size, _BLOCK):
            part = slice(begin, begin + _BLOCK)
            own = self._counts[part, self._columns].T.astype(np.float64)
            own += self._mix[:, None]
            found[part] = self._height(own)
        return found - self._height(self._mix[:, None])[0]

    def add(self, row: int) -> None:
        """Take a row into the union."""
        self._mix += self._counts[row, self._columns]

    def _height(self, union: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each column, pixels per class of a union, has reached; 0 to 1."""
        if self._form == "concave":
            return np.sqrt(union / self._pool[:, None]).mean(axis=0)
        pixels = union.sum(axis=0)
        shares = union / np.maximum(pixels, 1)
        if self._form == "entropy":
            return entropy(shares) / np.log(self._columns.size)
        # To the base C, cross-entropy with equal shares is 1 + D.
        crossed = -np.log(np.maximum(shares, _ABSENT)).mean(axis=0) / np.log(self._columns.size)
        return np.where(pixels > 0, 1 / np.maximum(crossed, 1), 0)
