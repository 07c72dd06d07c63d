"""What the model says: of the whole image, of the chosen regions, and of all that was seen.

Four ways from regions to one answer; which of them is the prediction is the goal's choice, and
all of them are in the result, beside what no selection and the best single tile would have said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.focus.goals import Answer
    from foveate.models.heads.base import Head

_TIE = 1e-3  # of a vote: what the mean probability may add, to decide between equal votes


@dataclass(frozen=True)
class Said:
    """One answer.

    Attributes:
        label: Name of the class.
        probability: The model's probability of it; for "vote" the share of the votes.
        ranking: Classes from the most to the least likely, with those numbers.
        row: The region that it is the answer of, or None for an answer of many.
    """

    label: str
    probability: float
    ranking: tuple[tuple[str, float], ...]
    row: int | None = None


def answers(
    head: Head,
    x: NDArray[np.floating],
    area: NDArray[np.floating],
    chosen: NDArray[np.integer],
    weight: NDArray[np.floating] | None = None,
) -> dict[Answer, Said]:
    """Return every answer.

    Args:
        head: Classes.
        x: (n, d) features of all cells.
        area: (n,) what each cell stands for; it votes with the square root.
        chosen: (k,) chosen rows, the most important first; k >= 1.
        weight: (k,) weights of the chosen ones in "fused"; equal ones when None.
    """
    chances = head.probabilities(np.asarray(x, np.float32)).astype(np.float64)
    # Cells that were cut because they matter are many: with equal votes they would outvote the
    # rest, with votes by area a few coarse ones decide. The root lies between bias and variance.
    share = np.sqrt(area) / np.sqrt(area).sum()
    votes = np.zeros(chances.shape[1])
    np.add.at(votes, head.logits(np.asarray(x, np.float32)).argmax(axis=1), share)
    decided = votes + _TIE * (share @ chances)
    return {
        "vote": _said(head, votes, order=decided),
        "fused": fused(head, x[chosen], weight),
        "confident": surest(head, x, chosen),
        "first": _of(head, chances, int(chosen[0])),
    }


def fused(head: Head, x: NDArray[np.floating], weight: NDArray[np.floating] | None = None) -> Said:
    """Return the answer of the weighted mean of features (n, d)."""
    share = np.full(len(x), 1 / len(x)) if weight is None else weight / weight.sum()
    return of_vector(head, share @ x)


def of_vector(head: Head, z: NDArray[np.floating]) -> Said:
    """Return the answer of one (d,) vector."""
    return _said(head, head.probabilities(np.asarray(z, np.float32)[None])[0].astype(np.float64))


def surest(head: Head, x: NDArray[np.floating], rows: NDArray[np.integer]) -> Said:
    """Return the answer of the row whose most likely class is the most probable."""
    chances = head.probabilities(np.asarray(x, np.float32)).astype(np.float64)
    return _of(head, chances, int(rows[chances[rows].max(axis=1).argmax()]))


def labels_of(head: Head, x: NDArray[np.floating]) -> tuple[list[str], list[float]]:
    """Return the most likely class of each row and its probability."""
    wide = np.asarray(x, np.float32)
    best, chances = head.logits(wide).argmax(axis=1), head.probabilities(wide)
    return [head.names[i] for i in best], chances[np.arange(len(best)), best].tolist()


def _of(head: Head, chances: NDArray[np.float64], row: int) -> Said:
    return _said(head, chances[row], row=row)


def _said(
    head: Head,
    value: NDArray[np.float64],
    *,
    order: NDArray[np.float64] | None = None,
    row: int | None = None,
) -> Said:
    ranked = np.argsort(-(value if order is None else order), kind="stable")
    ranking = tuple((head.names[i], float(value[i])) for i in ranked)
    return Said(ranking[0][0], ranking[0][1], ranking, row)
