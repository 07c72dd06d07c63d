"""`observe`: selection of high-resolution tiles to acquire, given only a low-resolution overview.

Cost-aware cross-scale observation: a sampler scores the value of each tile from the overview, and a
predictor completes the scene in latent space from the acquired tiles. `verbs.py` has a function for
each command, and `jobs.py` their options; each folder is one part of the way of the data:

    data, build -> networks, scoring -> training -> selection -> completion, totals

Names are imported on first use (PEP 562): ``import foveate.observe`` does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveate.observe.build.job import BuildJob
    from foveate.observe.data.concepts import Concept, concepts_from
    from foveate.observe.data.pairs import Pairs, open_pairs
    from foveate.observe.data.simulation import simulate
    from foveate.observe.jobs import CompleteJob, PrepareJob, SelectJob, TrainJob
    from foveate.observe.observer import Observer
    from foveate.observe.scoring.policies import POLICIES, Policy, apply_policy
    from foveate.observe.selection.ranking import rank
    from foveate.observe.totals.estimation import EstimateJob
    from foveate.observe.totals.statistics import StatsJob
    from foveate.observe.verbs import (
        build_pairs,
        classify,
        complete,
        estimate,
        prepare,
        search,
        select,
        train,
    )  # fmt: skip

_HOME = {
    "BuildJob": "build.job", "CompleteJob": "jobs", "EstimateJob": "totals.estimation",
    "PrepareJob": "jobs", "SelectJob": "jobs", "StatsJob": "totals.statistics", "TrainJob": "jobs",
    "Concept": "data.concepts", "concepts_from": "data.concepts", "simulate": "data.simulation",
    "Pairs": "data.pairs", "open_pairs": "data.pairs", "Observer": "observer",
    "POLICIES": "scoring.policies", "Policy": "scoring.policies",
    "apply_policy": "scoring.policies", "rank": "selection.ranking",
    "build_pairs": "verbs", "prepare": "verbs", "train": "verbs", "select": "verbs",
    "complete": "verbs", "search": "verbs", "classify": "verbs", "estimate": "verbs",
}  # fmt: skip

__all__ = [
    "POLICIES",
    "BuildJob",
    "CompleteJob",
    "Concept",
    "EstimateJob",
    "Observer",
    "Pairs",
    "Policy",
    "PrepareJob",
    "SelectJob",
    "StatsJob",
    "TrainJob",
    "apply_policy",
    "build_pairs",
    "classify",
    "complete",
    "concepts_from",
    "estimate",
    "load",
    "open_pairs",
    "prepare",
    "rank",
    "search",
    "select",
    "simulate",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "load":
        return importlib.import_module("foveate.observe.observer").Observer.load
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"foveate.observe.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
