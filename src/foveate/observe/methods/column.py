"""Policies that sort by one number of each tile: what a network predicts, or the truth.

The networks read LR alone, and are trained elsewhere: a sampler regresses a form of the supervision
target (`foveate.observe.supervision.FORMS`), PatchDrop learns by reward. The oracle sees HR: no
policy that reads LR can be expected to do better at the value that it sorts by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.observe.methods.base import Policy
from foveate.observe.supervision import FORMS
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn


def sort_by(
    ids: NDArray[np.str_],
    column: NDArray[np.float64],
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one sort)
) -> Ranking:
    """Rank by a column, highest first.

    Args:
        ids: (n,) str.
        column: (n,) the scores.
        seed: Breaks ties.
        progress: Not used.

    Returns:
        Full ranking; scores as given.
    """
    rows = order_by_score(column, tie_keys(ids, seed))
    return Ranking(rows, column[rows], len(ids))


STRUCTURAL = Policy(
    "structural", f"{FORMS['structural'].title}, predicted", FORMS["structural"].source,
    lambda *, ids, structural, seed, progress: sort_by(ids, structural, seed, progress),
    ("structural",),
)  # fmt: skip
SEMANTIC = Policy(
    "semantic", f"{FORMS['semantic'].title}, predicted", FORMS["semantic"].source,
    lambda *, ids, semantic, seed, progress: sort_by(ids, semantic, seed, progress),
    ("semantic",),
)  # fmt: skip
ADDITIVE = Policy(
    "additive", f"{FORMS['additive'].title}, predicted", FORMS["additive"].source,
    lambda *, ids, additive, seed, progress: sort_by(ids, additive, seed, progress),
    ("additive",),
)  # fmt: skip
PRODUCT = Policy(
    "product", f"{FORMS['product'].title}, predicted", FORMS["product"].source,
    lambda *, ids, product, seed, progress: sort_by(ids, product, seed, progress),
    ("product",),
)  # fmt: skip
TASK_DELTA = Policy(
    "task-delta", f"{FORMS['task-delta'].title}, predicted", FORMS["task-delta"].source,
    lambda *, ids, task_delta, seed, progress: sort_by(ids, task_delta, seed, progress),
    ("task_delta",),
)  # fmt: skip
SURPRISE = Policy(
    "surprise", f"{FORMS['surprise'].title}, predicted", FORMS["surprise"].source,
    lambda *, ids, surprise, seed, progress: sort_by(ids, surprise, seed, progress),
    ("surprise",),
)  # fmt: skip
BLEND = Policy(
    "blend", f"{FORMS['blend'].title}, predicted", FORMS["blend"].source,
    lambda *, ids, blend, seed, progress: sort_by(ids, blend, seed, progress),
    ("blend",),
)  # fmt: skip
LEARNED = Policy(
    "learned", "Learned sampler", "cross-scale paper, section 4.2",
    lambda *, ids, learned, seed, progress: sort_by(ids, learned, seed, progress),
    ("learned",),
)  # fmt: skip
DESIGN = Policy(
    "design", "Learned sampler, spread by a design", "Krause, Singh and Guestrin 2008, section 3",
    lambda *, ids, design, seed, progress: sort_by(ids, design, seed, progress),
    ("design",),
)  # fmt: skip
PATCHDROP = Policy(
    "patchdrop", "Reinforced policy (PatchDrop)", "Uzkent and Ermon 2020, PatchDrop, section 4",
    lambda *, ids, patchdrop, seed, progress: sort_by(ids, patchdrop, seed, progress),
    ("patchdrop",),
)  # fmt: skip
ORACLE_GAIN = Policy(
    "oracle-gain", "Oracle: true gain", "not in the paper; the bound of a benchmark",
    lambda *, ids, gain, seed, progress: sort_by(ids, gain, seed, progress),
    ("gain",),
)  # fmt: skip
ORACLE_GREEDY = Policy(
    "oracle-greedy", "Oracle: true gain, spread by a design",
    "not in the paper; the bound of a benchmark",
    lambda *, ids, greedy, seed, progress: sort_by(ids, greedy, seed, progress),
    ("greedy",),
)  # fmt: skip
