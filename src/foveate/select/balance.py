"""Class balance: order rows such that the class distribution of the union is most uniform.

Section III-E of "Core-Set Selection for Data-efficient Land Cover Segmentation" (Nogueira et al.
2025): each step picks the patch whose union with the previous picks has the class distribution of
largest entropy. The paper does not specify the unit of the counts nor ties. Here, pixels are
counted, rows without any counted pixel come last, and ties are broken by a seeded key.

The order is exact and does not depend on the screening (see `_screen`), which only reduces the
number of rows that are evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.progress import Meter
from foveate.select._course import CandidateBound, Trajectory
from foveate.select._rows import check_given, check_k, check_ties, positive
from foveate.select._screen import TOLERANCE, Greedy, entropy
from foveate.select._tally import Candidates, Tally
from foveate.select.holders import Holders

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from foveate.progress import ProgressFn
    from foveate.select._tally import Best, CountSummary
    from foveate.select.constraints import Constraint, Open
    from foveate.select.holders import Crew

__all__ = ["TOLERANCE", "Balance", "Screening", "balance_greedy"]

Screening = Literal["auto", "always", "never"]

_EXACT_INTEGERS = 2**53  # all integers up to this one are exact in float64
_CHUNK = 16_384  # rows at a time for (rows, C) temporaries
_BLOCK_VALUES = 2**18  # counts in a block of rows; the range of a holder is a multiple of a block
_CANDIDATES = 2**18
_SHARE = 20  # at least one of 20 patterns is a candidate
_EXTRA = 1024  # candidates of each holder beyond twice its share
_EARLY = 8  # initial steps, in which the bound is too loose
_SETTLED = 64  # initial steps, in which more candidates do not help
_PAYS = 12  # there are too few candidates if steps * candidates / patterns is smaller


@dataclass(frozen=True)
class Balance:
    """An order of rows by class balance.

    Attributes:
        rows: (k,) int64, rows of `counts` in the order of selection, without given rows.
        entropy: (k,) float64 in [0, 1], entropy of the class distribution of the union after
            each pick (including given rows), divided by log C. C is the number of classes that
            occur anywhere in `counts`: a class that never occurs changes neither order nor
            entropy. 0 if C < 2.
        exact: Number of evaluations of the entropy of the union with a row (or with a group of
            rows with identical counts). A plain loop needs about ``n * k``.
        passes: Number of passes over all rows, without the initial check.
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
    """Order rows greedily by the class balance of the union of the first rows.

    Each step picks the row that maximises the entropy of the class distribution of the union.
    Among rows whose normalised entropy is within `TOLERANCE` (1e-12, absolute) of the maximum, the
    one with the smallest key is picked, then the smallest row.

    Rows without any counted pixel do not change the entropy; they come last, in the order of their
    keys.

    Args:
        counts: (n, C) non-negative integers, valid pixels per class; may be a memory map. The
            caller must remove ignored classes.
        k: Number of rows to pick, 0 to n without given rows; None for all.
        ties: (n,) uint64 keys, see `foveate.seeds.tie_keys`.
        given: Rows that are already in the set; they count, and are not picked again.
        constraint: Rows forbidden by a row of the set come last, after all others, ordered by the
            same criterion.
        screening: "always" bounds all rows and evaluates only those that could win, "never"
            evaluates every row in every step, "auto" switches to the cheaper one. The order does
            not depend on it.
        candidates: Initial number of candidates between passes over all rows; increased if they
            last for too few steps. None for 262,144, or a twentieth of the rows if that is more.
            The order does not depend on it.
        holders: Division of the rows among threads or processes; None for threads. The order does
            not depend on it.
        progress: Called with the number of picked rows.

    Returns:
        The order, the entropies and the number of evaluations.

    Raises:
        DataError: `counts` is not a matrix of non-negative integers, or contains 2^53 or more
            pixels; or holders in other processes are used and `counts` is not a memory-mapped file.
        ParameterError: `k`, `ties`, `given`, `screening` or `candidates` is invalid.
        StorageError: A holder in another process ended unexpectedly.

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
    selected = check_given(given, n)
    k = n - selected.size if k is None else k
    check_k(k, n, selected.size)
    positive("candidates", candidates, _CANDIDATES)

    how = Holders() if holders is None else holders
    # Position of each row in the order of ties: unique integers are cheaper to compare.
    order = np.lexsort((np.arange(n), ties))
    ranks = np.empty(n, np.int64)
    ranks[order] = np.arange(n)
    ranges = how.ranges(n, classes, max(1, _BLOCK_VALUES // max(classes, 1)))
    parts = [
        {"counts": how.part(counts, rows), "begin": rows.start, "ranks": ranks[rows]}
        for rows in ranges
    ]
    with how.open(Tally, ranges, parts) as crew, Meter(progress, "class balance", k) as meter:
        summaries = crew.each("look")
        _check_values(summaries, n)
        columns = np.flatnonzero(np.any([np.zeros(classes, bool), *(s.any for s in summaries)], 0))
        filled = np.concatenate([np.zeros(0, bool), *(s.filled for s in summaries)])
        loop = _Loop(crew, columns, candidates, screening)
        start = loop.mix = loop.counts(selected).sum(axis=0)
        left = np.ones(n, bool)
        left[selected] = False
        state = None if constraint is None or constraint.empty else constraint.open(selected)
        while len(loop.rows) < k:
            free = left if state is None else left & state.free
            if columns.size > 1:
                loop.run(free & filled, k, state, meter)
            else:
                loop.append(order[(free & filled)[order]], k, state)
            loop.append(order[(free & ~filled)[order]], k, state)
            left[loop.rows] = False  # all remaining rows are forbidden
            state = None
        meter.advance(k - meter.done)
        rows = np.array(loop.rows, np.int64)
        entropy = _union_entropy(loop, rows, start)
    return Balance(rows, entropy, loop.exact, loop.passes)


class _Loop:
    """The greedy loop over rows that are divided among holders.

    Args:
        crew: Holders of the counts.
        columns: (C,) classes that occur.
        width: Initial number of candidates between passes; None for the default.
        screening: As for `balance_greedy`.

    Attributes:
        mix: (C,) int64 pixels per class of the set.
        rows: Picks, in order.
        exact: Number of evaluations.
        passes: Number of passes over all rows.
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
        counts = np.empty((rows.size, self.columns.size), np.int64)
        owner = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(owner).tolist():
            members = np.flatnonzero(owner == number)
            counts[members] = self.crew.one(number, "fetch", rows[members])[:, self.columns]
        return counts

    def run(self, left: NDArray[np.bool_], k: int, state: Open | None, meter: Meter) -> None:
        """Pick rows of `left`, which all have pixels, until there are k picks in total."""
        patterns = sum(self.crew.each("group", self.columns, left))
        width = patterns if self.screening == "never" else self._width
        width = max(patterns // _SHARE, _CANDIDATES) if width is None else width
        trajectory = Trajectory()
        gone = np.empty(0, np.int64)
        empty = False
        while len(self.rows) < k and not empty:
            before = len(self.rows)
            if (before < _EARLY and width < patterns) or not self.mix.any():
                gone, empty = self._plain(gone, trajectory, state, meter)
                continue
            frame = trajectory.frame(self.mix.astype(np.float64))
            share = min(width, 2 * width // len(self.crew.ranges) + _EXTRA)
            parts = self.crew.each("refresh", frame, gone, share)
            candidates = Candidates.merged(parts, frame, width)
            self.passes += 1
            if not candidates.rows.size:
                return
            complete = candidates.base.size == patterns
            bound = None if complete else CandidateBound(frame, candidates, trajectory)
            greedy = Greedy(candidates.patterns(), self.mix, state, bound)
            taken = greedy.run(k - before, self.screening, meter)
            self.exact += greedy.exact
            self.rows += taken.tolist()
            self.mix = np.rint(greedy.mix).astype(np.int64)
            gone = np.concatenate((taken, *greedy.gone))
            if not taken.size:
                gone, empty = self._plain(gone, trajectory, state, meter)
            # A pass never lasts until the set has doubled. If it lasts for few steps because there
            # are too few candidates, more candidates are cheaper than more passes.
            few = taken.size < before // 4 and taken.size * width < _PAYS * patterns
            if few and before > _SETTLED:
                width *= 2

    def append(self, rows: NDArray[np.int64], k: int, state: Open | None) -> None:
        """Pick rows in the given order until there are k picks in total."""
        if len(self.rows) < k:
            rows = rows if state is None else state.admit(rows)
            self.rows += rows[: k - len(self.rows)].tolist()

    def _plain(
        self, gone: NDArray[np.int64], trajectory: Trajectory, state: Open | None, meter: Meter
    ) -> tuple[NDArray[np.int64], bool]:
        """Pick one row after evaluating all rows.

        Returns:
            The picked row and the rows that it forbids; and whether no row was left.
        """
        mix = self.mix.astype(np.float64)
        tolerance = TOLERANCE * float(np.log(mix.size))
        parts: list[Best] = self.crew.each("best", mix, gone, tolerance)
        self.passes += 1
        self.exact += sum(part.evaluated for part in parts)
        heights = np.concatenate([part.heights for part in parts])
        ranks = np.concatenate([part.ranks for part in parts])
        rows = np.concatenate([part.rows for part in parts])
        if not rows.size:
            return rows, True
        tied = np.flatnonzero(heights >= heights.max() - tolerance)
        row = int(rows[tied[ranks[tied].argmin()]])
        if self.mix.any():
            shares = mix / mix.sum()
            trajectory.add(mix, float(heights.max() - entropy(shares[:, None])[0]))
        self.rows.append(row)
        self.mix = self.mix + self.counts(np.array([row]))[0]
        meter.advance()
        forbidden = np.empty(0, np.int64) if state is None else state.pick(row)
        return np.append(forbidden, row), False


def _union_entropy(
    loop: _Loop, rows: NDArray[np.int64], mix: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the normalised entropy of the union after each of `rows`.

    The totals are exact integers, so the result does not depend on the screening.
    """
    result = np.zeros(rows.size)
    if loop.columns.size < 2:
        return result
    for begin in range(0, rows.size, _CHUNK):
        chunk = rows[begin : begin + _CHUNK]
        sums = np.cumsum(loop.counts(chunk), axis=0) + mix
        mix = sums[-1]
        totals = np.maximum(sums.sum(axis=1), 1)
        result[begin : begin + chunk.size] = entropy((sums / totals[:, None]).T)
    return np.clip(result / np.log(loop.columns.size), 0.0, 1.0)


def check_counts(counts: NDArray[np.integer]) -> None:
    """Check that counts are a matrix of integers.

    Raises:
        DataError: They are not.
    """
    if counts.ndim != 2 or not np.issubdtype(counts.dtype, np.integer):
        raise DataError(
            f"class counts of shape {counts.shape} and dtype {counts.dtype}",
            "Allowed is an integer array (n, C): pixels per class.",
            "Pass counts, not shares.",
        )


def _check_values(summaries: list[CountSummary], n: int) -> None:
    negative = np.concatenate([np.empty(0, np.int64), *(s.negative for s in summaries)])
    if negative.size:
        raise DataError(
            f"{negative.size} of {n} rows have negative class counts, "
            f"the first are {negative[:5].tolist()}",
            "A count is the number of pixels of a class: 0 or more.",
        )
    pixels = sum(summary.pixels for summary in summaries)
    if pixels >= _EXACT_INTEGERS:
        raise DataError(
            f"the class counts add up to {pixels:.3g} pixels",
            "At most 2^53 - 1 (9e15) pixels are allowed, because larger sums are not exact.",
        )
