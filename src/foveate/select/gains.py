"""Gains of rows given a set of picks, and fixed scores.

Each gain has a value for every row, and is updated after each pick. `select.combine` normalises and
combines gains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from foveate.errors import ParameterError
from foveate.registry import check_choice
from foveate.select._gains import EQUAL, NEAR, Similarity
from foveate.select._screen import TOLERANCE, entropy
from foveate.select._vectors import Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Balance", "Coverage", "Diversity", "Fixed", "Gain", "Vectors"]

_BLOCK = 8192
_ABSENT = 2.0**-33  # share of a class that is missing from the selection

BalanceForm = Literal["entropy", "concave", "divergence"]


class Gain(Protocol):
    """Gain of each row, given the picks.

    Attributes:
        fixed: Whether the values do not depend on picks; fixed values are from 0 to 1.
        resolution: Differences up to this are rounding.
        first: Preferred first row if all rows are tied, or None.
        known: Whether the values are defined; some need a first pick.
    """

    fixed: bool
    resolution: float
    first: int | None
    known: bool

    def values(self) -> NDArray[np.float64]:
        """Return the (n,) current gains; the array must not be changed."""
        ...

    def add(self, row: int) -> None:
        """Add a row to the picks."""
        ...


class Fixed:
    """A score for each row that does not depend on picks.

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
    """Gain in the coverage of reference rows, as a share of full coverage.

    As `select.coverage`, with one pass over the rows for each pick, restricted to the reference
    rows that the pick covers better than all earlier picks.

    Args:
        vectors: The rows.
        reference: (m,) int64 distinct rows to cover, at least one.
        sigma: Width of a Gaussian similarity, in the unit of the rows; None for 1 - (d / D)^2.
    """

    fixed, known = False, True
    first: int | None = None

    def __init__(
        self, vectors: Vectors, reference: NDArray[np.int64], sigma: float | None = None
    ) -> None:
        self._vectors, self._reference = vectors, reference
        self.resolution = EQUAL
        self._rows = vectors.of(reference)
        longest = float(np.square(self._rows).sum(axis=1).max())
        self._similar = (
            Similarity.squared(vectors.longest**2, longest)
            if sigma is None
            else Similarity.gaussian(sigma * vectors.scale)
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
        self.resolution = max(EQUAL * float(found.max(initial=0)), 1e-13)
        return found

    def add(self, row: int) -> None:
        """Add a row to the picks."""
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

    The values are undefined before the first pick.

    Args:
        vectors: The rows.
        first: Preferred first row.
        power: Exponent of the distance, above 0.
    """

    fixed, resolution = False, 1e-13

    def __init__(self, vectors: Vectors, first: int | None = None, power: float = 1.0) -> None:
        if not 0 < power < np.inf:
            raise ParameterError(f"power={power}", "It must be a finite number above 0.")
        self._vectors, self.first, self._power = vectors, first, power
        self._squared = np.full(len(vectors), np.inf)
        self.known = False

    def values(self) -> NDArray[np.float64]:
        """Return (n,) powers of the distance: scaled Euclidean, or 1 - cosine."""
        if not self.known:
            return np.ones(self._squared.size)
        if self._vectors.metric == "cosine":
            return (self._squared / 2) ** self._power
        return np.sqrt(self._squared) if self._power == 1 else self._squared ** (self._power / 2)

    def add(self, row: int) -> None:
        """Add a row to the picks."""
        self.known = True
        self._vectors.closer(row, self._squared)


class Balance:
    """Gain in the class balance of the selection.

    With "entropy": increase of the entropy of the class distribution, as a share of the maximum:
    CB, see `select.balance`. With "concave": increase of the mean over classes of
    ``sqrt(pixels in the selection / pixels in the pool)``, which never decreases. With
    "divergence": increase of ``1 / (1 + D)``, where D is the Kullback-Leibler divergence of equal
    shares from those of the selection to the base C, ``-mean(log(C * share)) / log(C)``. D is large
    if any class is rare, even if the others are balanced. A class without pixels has a share of
    2^-33.

    Args:
        counts: (n, C) pixels per class, integers of at least 0.
        form: "entropy", "concave" or "divergence".
    """

    fixed, resolution, known = False, TOLERANCE, True
    first: int | None = None

    def __init__(self, counts: NDArray[np.integer], form: BalanceForm = "entropy") -> None:
        check_choice("form", form, get_args(BalanceForm))
        self._counts, self._form = counts, form
        self._columns = np.flatnonzero(counts.any(axis=0))
        self._mix = np.zeros(self._columns.size)
        self._pool = counts.sum(axis=0, dtype=np.float64)[self._columns]

    def values(self) -> NDArray[np.float64]:
        """Return the (n,) current gains; 0 for rows without counted pixels."""
        found = np.zeros(len(self._counts))
        if self._columns.size == 0 or (self._form != "concave" and self._columns.size == 1):
            return found
        for begin in range(0, found.size, _BLOCK):
            part = slice(begin, begin + _BLOCK)
            union = self._counts[part, self._columns].T.astype(np.float64)
            union += self._mix[:, None]
            found[part] = self._objective(union)
        return found - self._objective(self._mix[:, None])[0]

    def add(self, row: int) -> None:
        """Add a row to the picks."""
        self._mix += self._counts[row, self._columns]

    def _objective(self, union: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the objective, 0 to 1, of each column of (C, m) pixels per class."""
        if self._form == "concave":
            return np.sqrt(union / self._pool[:, None]).mean(axis=0)
        pixels = union.sum(axis=0)
        shares = union / np.maximum(pixels, 1)
        if self._form == "entropy":
            return entropy(shares) / np.log(self._columns.size)
        # To the base C, the cross-entropy with equal shares is 1 + D.
        crossed = -np.log(np.maximum(shares, _ABSENT)).mean(axis=0) / np.log(self._columns.size)
        return np.where(pixels > 0, 1 / np.maximum(crossed, 1), 0)
