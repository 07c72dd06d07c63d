"""Policies that sort by one number of each tile: what a network predicts, or the truth.

The networks read LR alone, and are trained elsewhere: a sampler regresses a form of the supervision
target (`foveate.observe.supervision.TARGETS`), PatchDrop learns by reward. The oracle sees HR: no
policy that reads LR can be expected to do better at the value that it sorts by.
"""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import Any

from foveate.observe.methods.base import Policy
from foveate.observe.supervision import TARGETS
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking


def _by(name: str, title: str, source: str, need: str = "") -> Policy:
    """Return a policy that ranks by a column, highest first.

    Args:
        name: Of the policy.
        title: For reports.
        source: Paper and section.
        need: Name of the column; that of the policy when empty.
    """
    column = need or name.replace("-", "_")

    def rank(**given: Any) -> Ranking:
        ids, values = given["ids"], given[column]
        rows = order_by_score(values, tie_keys(ids, given["seed"]))
        return Ranking(rows, values[rows], len(ids))

    # A policy is asked which arrays it takes.
    taken = ("ids", column, "seed", "progress")
    rank.__signature__ = Signature([Parameter(n, Parameter.KEYWORD_ONLY) for n in taken])  # ty: ignore[missing-attribute]
    return Policy(name, title, source, rank, (column,))


def _predicted(form: str) -> Policy:
    """Return a policy that ranks by what a sampler of a form of supervision predicts."""
    return _by(form, f"{TARGETS[form].title}, predicted", TARGETS[form].source)


_BOUND = "not in the paper; the bound of a benchmark"

STRUCTURAL = _predicted("structural")
SEMANTIC = _predicted("semantic")
ADDITIVE = _predicted("additive")
PRODUCT = _predicted("product")
TASK_DELTA = _predicted("task-delta")
SURPRISE = _predicted("surprise")
BLEND = _predicted("blend")
LEARNED = _by("learned", "Learned sampler", "cross-scale paper, section 4.2")
DESIGN = _by(
    "design", "Learned sampler, spread by a design", "Krause, Singh and Guestrin 2008, section 3"
)
PATCHDROP = _by(
    "patchdrop", "Reinforced policy (PatchDrop)", "Uzkent and Ermon 2020, PatchDrop, section 4"
)
ORACLE_GAIN = _by("oracle-gain", "Oracle: true gain", _BOUND, "gain")
ORACLE_GREEDY = _by("oracle-greedy", "Oracle: true gain, spread by a design", _BOUND, "greedy")
