"""SAR, scale-aware recognition: Revankar et al. 2025, the disagreement of two models on LR.

A student that was distilled from the HR model and a model that was trained on LR both read LR;
where they disagree, HR is thought to tell more than LR does. Only concepts that need HR count: the
paper lets a language model say which, here the caller does. Deviation: disagreement is the mean
absolute difference of probabilities, so that tiles have an order at any budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.observe.methods._concepts import weights_of
from foveate.observe.methods.base import Policy
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.progress import ProgressFn


def sar(
    *,
    ids: NDArray[np.str_],
    student: NDArray[np.float64],
    teacher: NDArray[np.float64],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one sort)
    weights: Sequence[float] | None = None,
    needs_hr: Sequence[bool] | None = None,
) -> Ranking:
    """Rank by the disagreement of two models on LR.

    Args:
        ids: (n,) str.
        student: (n, K) probabilities of a student of the HR model, from LR.
        teacher: (n, K) probabilities of the LR model.
        seed: Breaks ties.
        progress: Not used.
        weights: (K,) weight of each concept, >= 0; ones when None.
        needs_hr: (K,) False where LR suffices for a concept: it does not count. All need HR when
            None.

    Returns:
        Full ranking; scores in [0, 1], all 0 where no concept counts.

    Raises:
        DataError: The models know different numbers of concepts, or options are not of K.
        ParameterError: A negative weight.
    """
    if student.shape != teacher.shape:
        raise DataError(
            f"a student of {student.shape[1]} concepts and a teacher of {teacher.shape[1]}",
            "Both say something of the same concepts, in the same order.",
        )
    concepts = student.shape[1]
    w = weights_of(weights, concepts)
    if needs_hr is not None:
        counted = np.asarray(needs_hr)
        if counted.shape != (concepts,) or counted.dtype != bool:
            raise DataError(
                f"needs_hr of shape {counted.shape} and dtype {counted.dtype}",
                f"Expected True or False for each of {concepts} concepts.",
            )
        w = w * counted
    score = (np.abs(teacher - student) * w).sum(axis=1) / (w.sum() or 1)
    rows = order_by_score(score, tie_keys(ids, seed))
    return Ranking(rows, score[rows], len(ids))


POLICY = Policy(
    name="sar",
    title="Disagreement of two models (SAR)",
    source="Revankar et al. 2025, scale-aware recognition",
    function=sar,
    needs=("student", "teacher"),
)
