"""Class balance: the order that keeps the class distribution of the union most even.

Section III-E of "Core-Set Selection for Data-efficient Land Cover Segmentation" (Nogueira et al.
2025): in each step the patch is taken whose union with the patches taken so far has the class
distribution of largest entropy. The paper leaves open what is counted and how ties fall; here
pixels are counted (the union of pixels, read literally), rows without any counted pixel come
last, and ties are broken by a seeded key.

The order is exact whatever the screening (see `_screen`), which only decides how many rows are
evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.progress import Meter
from foveate.select._course import Certain, Course
from foveate.select._rows import check_given, check_k, check_ties, positive
from foveate.select._screen import TOLERANCE, Greedy, entropy
from foveate.select._tally import Found, Tally
from foveate.select.holders import Holders, Mapped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from foveate.progress import ProgressFn
    from foveate.select._tally import Looked
    from foveate.select.constraints import Constraint, Open
    from foveate.select.holders import Crew

__all__ = ["TOLERANCE", "Balance", "Screening", "balance_greedy"]

Screening = Literal["auto", "always", "never"]

_EXACT_INTEGERS = 2**53  # every integer up to here is a float64
_CHUNK = 16_384  # rows at a time where a (rows, C) temporary is needed
_BLOCK_VALUES = 2**18  # counts in a block of rows, of which holders have whole ones
_CANDIDATES = 2**18
_SHARE = 20  # of the patterns one is a candidate, or more
_EXTRA = 1024  # candidates of each holder beyond twice its share
_EARLY = 8  # steps in which no bound serves
_SETTLED = 64  # steps before which more candidates do not help
_PAYS = 12  # candidates per pattern that the steps after a pass must have looked at


@dataclass(frozen=True)
class Balance:
    """An order of rows by class balance.

    Attributes:
        rows: (k,) int64, rows of `counts` in the order of choice; rows that were given are not
            among them.
        entropy: (k,) float64 in [0, 1], entropy of the class distribution of the union after
            each pick (given rows included), divided by log C. C is the number of classes that
            occur anywhere in `counts`: a class that never occurs changes neither order nor
            entropy. 0 when C < 2.
        exact: How many times the entropy of the union with a row (or with a whole group of rows
            whose counts are the same) was evaluated. The plain loop needs about ``n * k``.
        passes: Passes over all rows, the one that checks them not included.
    """

    rows: NDArray[np.int64]
    entropy: NDArray[np.float64]
    exact: int
    passes: int


def balance_greedy(
    counts: NDArray[np.integer],
    k: int | None = None,
    *,
    ties: NDArray[np.uint64],
    given: ArrayLike | None = None,
    constraint: Constraint | None = None,
    screening: Screening = "auto",
    candidates: int | None = None,
    holders: Holders | None = None,
    progress: ProgressFn | None = None,
) -> Balance:
    """Order rows so that the union of the first ones is as balanced as a greedy choice allows.

    Each step takes the row that maximises the entropy of the class distribution of the union.
    Among the rows whose normalised entropy is within `TOLERANCE` (1e-12, absolute) of the
    maximum, the one with the smallest key wins, then the smallest row.

    Rows without any counted pixel leave the entropy unchanged and teach nothing: they come last,
    in the order of their keys.

    Args:
        counts: (n, C) non-negative integers, pixels per class over valid pixels; may be a memory
            map. Ignored classes must have been removed by the caller.
        k: How many rows to take, 0 to n less the given ones; None for all.
        ties: (n,) uint64 keys, see `foveate.seeds.tie_keys`.
        given: Rows that are in the set already: they count, and are not taken again.
        constraint: Rows that a row of the set forbids come last, after all others, in an order
            that is made in the same way.
        screening: "always" bounds all rows and evaluates those that could win, "never" evaluates
            every row in every step, "auto" changes between the two by what pays. The order does
            not depend on it.
        candidates: Rows that are looked at between passes over all, at first: there will be more
            if they serve too few steps. None for 262,144, or a twentieth of the rows if that is
            more. The order does not depend on it.
        holders: How rows are divided; None for threads. It does not change the order.
        progress: Called with the number of rows taken.

    Returns:
        The order, the entropies and the number of evaluations.

    Raises:
        DataError: `counts` is not a matrix of non-negative integers, or holds 2^53 or more pixels.
            Or holders in other processes are to read counts that are not a file.
        ParameterError: `k`, `ties`, `given`, `screening` or `candidates` cannot be used.
        StorageError: A holder in another process ended.

    >>> counts = np.array([[4, 0], [3, 1], [0, 4]])
    >>> balance_greedy(counts, ties=np.arange(3, dtype=np.uint64)).rows.tolist()
    [1, 2, 0]
    """
    check_counts(counts)
    n, classes = counts.shape
    check_ties(ties, n)
    if screening not in get_args(Screening):
        raise ParameterError(
            f"screening={screening!r}", f"Allowed are {', '.join(map(repr, get_args(Screening)))}."
        )
    held = check_given(given, n)
    k = n - held.size if k is None else k
    check_k(k, n, held.size)
    positive("candidates", candidates, _CANDIDATES)

    how = Holders() if holders is None else holders
    # Place of each row in the order of ties: one integer to compare, and no two are equal.
    order = np.lexsort((np.arange(n), ties))
    ranks = np.empty(n, np.int64)
    ranks[order] = np.arange(n)
    ranges = how.ranges(n, classes, max(1, _BLOCK_VALUES // max(classes, 1)))
    parts = [
        {
            "counts": Mapped.of(counts, rows.start, rows.stop) if how.remote else counts[rows],
            "begin": rows.start, "ranks": ranks[rows],
        }
        for rows in ranges
    ]  # fmt: skip
    with how.open(Tally, ranges, parts) as crew, Meter(progress, "class balance", k) as meter:
        looked = crew.each("look")
        _refuse(looked, n)
        columns = np.flatnonzero(np.any([np.zeros(classes, bool), *(one.any for one in looked)], 0))
        filled = np.concatenate([np.zeros(0, bool), *(one.filled for one in looked)])
        loop = _Loop(crew, columns, candidates, screening)
        start = loop.mix = loop.counts(held).sum(axis=0)
        left = np.ones(n, bool)
        left[held] = False
        state = None if constraint is None or constraint.empty else constraint.open(held)
        while len(loop.rows) < k:
            free = left if state is None else left & state.free
            if columns.size > 1:
                loop.run(free & filled, k, state, meter)
            else:
                loop.append(order[(free & filled)[order]], k, state)
            loop.append(order[(free & ~filled)[order]], k, state)
            left[loop.rows] = False  # what is left is forbidden
            state = None
        meter.advance(k - meter.done)
        rows = np.array(loop.rows, np.int64)
        entropy = _union_entropy(loop, rows, start)
    return Balance(rows, entropy, loop.exact, loop.passes)


class _Loop:
    """Rows in the order of their choice, among holders.

    Args:
        crew: Holders of the counts.
        columns: (C,) classes that occur.
        width: Candidates between passes, at first; None for as many as usually pay.
        screening: As for `balance_greedy`.

    Attributes:
        mix: (C,) int64 pixels of the set.
        rows: What was taken.
        exact: Evaluations.
        passes: Passes over all rows.
    """

    def __init__(
        self, crew: Crew, columns: NDArray[np.intp], width: int | None, screening: Screening
    ) -> None:
        self.crew, self.columns, self.screening = crew, columns, screening
        self.mix = np.zeros(columns.size, np.int64)
        self.rows: list[int] = []
        self.exact = self.passes = 0
        self._width = width
        self._ends = np.array([rows.stop for rows in crew.ranges])

    def counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the (m, C) counts of rows."""
        found = np.empty((rows.size, self.columns.size), np.int64)
        owner = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(owner).tolist():
            mine = np.flatnonzero(owner == number)
            found[mine] = self.crew.one(number, "fetch", rows[mine])[:, self.columns]
        return found

    def run(self, left: NDArray[np.bool_], k: int, state: Open | None, meter: Meter) -> None:
        """Take rows of those that are left, all with pixels, up to k in all."""
        patterns = sum(self.crew.each("group", self.columns, left))
        width = patterns if self.screening == "never" else self._width
        width = max(patterns // _SHARE, _CANDIDATES) if width is None else width
        course = Course()
        gone = np.empty(0, np.int64)
        empty = False
        while len(self.rows) < k and not empty:
            before = len(self.rows)
            if (before < _EARLY and width < patterns) or not self.mix.any():
                gone, empty = self._plain(gone, course, state, meter)
                continue
            frame = course.frame(self.mix.astype(np.float64))
            share = min(width, 2 * width // len(self.crew.ranges) + _EXTRA)
            found = Found.merged(self.crew.each("refresh", frame, gone, share), frame, width)
            self.passes += 1
            if not found.rows.size:
                return
            certain = None if found.base.size == patterns else Certain(frame, found, course)
            greedy = Greedy(found.patterns(), self.mix, state, certain)
            taken = greedy.run(k - before, self.screening, meter)
            self.exact += greedy.exact
            self.rows += taken.tolist()
            self.mix = np.rint(greedy.mix).astype(np.int64)
            gone = np.concatenate((taken, *greedy.gone))
            if not taken.size:
                gone, empty = self._plain(gone, course, state, meter)
            # No pass lasts until the set is twice as large; one that serves few steps for want
            # of candidates costs more than these.
            few = taken.size < before // 4 and taken.size * width < _PAYS * patterns
            if few and before > _SETTLED:
                width *= 2

    def append(self, rows: NDArray[np.int64], k: int, state: Open | None) -> None:
        """Take rows that are in order, up to k in all."""
        if len(self.rows) < k:
            rows = rows if state is None else state.admit(rows)
            self.rows += rows[: k - len(self.rows)].tolist()

    def _plain(
        self, gone: NDArray[np.int64], course: Course, state: Open | None, meter: Meter
    ) -> tuple[NDArray[np.int64], bool]:
        """Take one row, evaluating all; return what is gone by it, and whether none was left."""
        mix = self.mix.astype(np.float64)
        tolerance = TOLERANCE * float(np.log(mix.size))
        parts = self.crew.each("best", mix, gone, tolerance)
        self.passes += 1
        self.exact += sum(part[3] for part in parts)
        heights, ranks, rows = (np.concatenate([part[i] for part in parts]) for i in range(3))
        if not rows.size:
            return rows, True
        tied = np.flatnonzero(heights >= heights.max() - tolerance)
        row = int(rows[tied[ranks[tied].argmin()]])
        if self.mix.any():
            shares = mix / mix.sum()
            course.add(mix, float(heights.max() - entropy(shares[:, None])[0]))
        self.rows.append(row)
        self.mix = self.mix + self.counts(np.array([row]))[0]
        meter.advance()
        forbidden = np.empty(0, np.int64) if state is None else state.pick(row)
        return np.append(forbidden, row), False


def _union_entropy(
    loop: _Loop, rows: NDArray[np.int64], mix: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the normalised entropy of the union after each of `rows`.

    The totals are exact integers, so the numbers do not depend on how the order was found.
    """
    result = np.zeros(rows.size)
    if loop.columns.size < 2:
        return result
    for begin in range(0, rows.size, _CHUNK):
        part = rows[begin : begin + _CHUNK]
        sums = np.cumsum(loop.counts(part), axis=0) + mix
        mix = sums[-1]
        totals = np.maximum(sums.sum(axis=1), 1)
        result[begin : begin + part.size] = entropy((sums / totals[:, None]).T)
    return np.clip(result / np.log(loop.columns.size), 0.0, 1.0)


def check_counts(counts: NDArray[np.integer]) -> None:
    """Refuse what is no matrix of integers.

    Raises:
        DataError: It is none.
    """
    if counts.ndim != 2 or not np.issubdtype(counts.dtype, np.integer):
        raise DataError(
            f"class counts of shape {counts.shape} and dtype {counts.dtype}",
            "Allowed is an integer array (n, C): pixels per class.",
            "Pass counts, not shares.",
        )


def _refuse(looked: list[Looked], n: int) -> None:
    negative = np.concatenate([np.empty(0, np.int64), *(one.negative for one in looked)])
    if negative.size:
        raise DataError(
            f"{negative.size} of {n} rows have negative class counts, "
            f"the first are {negative[:5].tolist()}",
            "A count is the number of pixels of a class: 0 or more.",
        )
    pixels = sum(one.pixels for one in looked)
    if pixels >= _EXACT_INTEGERS:
        raise DataError(
            f"the class counts add up to {pixels:.3g} pixels",
            "Allowed are fewer than 2^53 (9e15): beyond, sums are no longer exact.",
        )
