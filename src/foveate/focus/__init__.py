"""`focus`: select the few regions of a wide-area image that a frozen model needs.

Hierarchical coresets selection (HCS): cells of an image are scored by utility, representativeness,
robustness and synergy, the best are refined, and the model predicts from the selected ones.
"""

from foveate.focus.config import GOALS, FocusConfig, Goal, SearchConfig, Weights
from foveate.focus.distil import train_scorer
from foveate.focus.job import AskJob, FocusJob, LookJob, SegmentJob
from foveate.focus.learned import LearnedScorer
from foveate.focus.look import look, look_at
from foveate.focus.question import FocusQuestion, make_question
from foveate.focus.results import Look
from foveate.focus.scorer_job import TrainScorerJob

__all__ = [
    "GOALS",
    "AskJob",
    "FocusConfig",
    "FocusJob",
    "FocusQuestion",
    "Goal",
    "LearnedScorer",
    "Look",
    "LookJob",
    "SearchConfig",
    "SegmentJob",
    "TrainScorerJob",
    "Weights",
    "look",
    "look_at",
    "make_question",
    "train_scorer",
]
