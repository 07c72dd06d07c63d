"""`observe`: selection of high-resolution tiles to acquire, given only a low-resolution overview.

Cost-aware cross-scale observation: a sampler scores the value of each tile from the overview, and a
predictor completes the scene in latent space from the acquired tiles.

Names are imported on first use (PEP 562): ``import foveate.observe`` does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveate.observe.build.job import BuildJob
    from foveate.observe.concepts import Concept, concepts_from
    from foveate.observe.jobs import CompleteJob, PrepareJob, SelectJob, TrainJob
    from foveate.observe.observer import Observer
    from foveate.observe.pairs import Pairs, open_pairs
    from foveate.observe.policies import POLICIES, Policy, apply_policy
    from foveate.observe.ranking import rank
    from foveate.observe.simulation import simulate
    from foveate.observe.statistics import StatsJob
    from foveate.observe.totals import EstimateJob
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
    "BuildJob": "build.job", "build_pairs": "verbs",
    "POLICIES": "policies", "CompleteJob": "jobs", "Concept": "concepts", "EstimateJob": "totals",
    "Observer": "observer", "Pairs": "pairs", "Policy": "policies", "PrepareJob": "jobs",
    "SelectJob": "jobs", "StatsJob": "statistics", "TrainJob": "jobs", "classify": "verbs",
    "complete": "verbs", "concepts_from": "concepts", "estimate": "verbs", "open_pairs": "pairs",
    "prepare": "verbs",
    "rank": "ranking", "apply_policy": "policies", "search": "verbs", "select": "verbs",
    "simulate": "simulation", "train": "verbs",
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
