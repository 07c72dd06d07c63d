"""`focus`: which few regions of a wide-area image a frozen model should be shown.

Hierarchical coresets selection (HCS): cells of an image are scored by utility, representativeness,
robustness and synergy, the best are cut finer, and the model is shown what is left.
"""

from foveate.focus.config import GOALS, FocusConfig, Goal, SearchConfig, Weights
from foveate.focus.job import AskJob, FocusJob, LookJob, SegmentJob
from foveate.focus.look import look, look_at
from foveate.focus.question import FocusQuestion, make_question
from foveate.focus.results import Look

__all__ = [
    "GOALS",
    "AskJob",
    "FocusConfig",
    "FocusJob",
    "FocusQuestion",
    "Goal",
    "Look",
    "LookJob",
    "SearchConfig",
    "SegmentJob",
    "Weights",
    "look",
    "look_at",
    "make_question",
]
