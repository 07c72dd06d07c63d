"""`observe`: which high-resolution tiles to acquire, seeing only the low-resolution overview.

Cost-aware cross-scale observation: a sampler says from the overview what each tile is worth, and a
predictor completes the scene in latent space from the few tiles that were bought.
"""

from foveate.observe.complete import CompleteJob
from foveate.observe.concepts import Concept, concepts_from
from foveate.observe.job import run
from foveate.observe.methods import POLICIES, Policy, rank_tiles
from foveate.observe.observer import Observer
from foveate.observe.pairs import Pairs, open_pairs
from foveate.observe.prepare import PrepareJob
from foveate.observe.ranking import rank
from foveate.observe.select_settings import SelectJob
from foveate.observe.settings import TrainJob
from foveate.observe.simulate import simulate

load = Observer.load

__all__ = [
    "POLICIES",
    "CompleteJob",
    "Concept",
    "Observer",
    "Pairs",
    "Policy",
    "PrepareJob",
    "SelectJob",
    "TrainJob",
    "concepts_from",
    "load",
    "open_pairs",
    "rank",
    "rank_tiles",
    "run",
    "simulate",
]
