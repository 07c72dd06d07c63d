"""`focus`: which few regions of a wide-area image a frozen model should be shown.

Hierarchical coresets selection (HCS): cells of an image are scored by utility, representativeness,
robustness and synergy, the best are cut finer, and the model is shown what is left.
"""

from foveate.focus.api import look
from foveate.focus.goals import GOALS, Goal, Weights
from foveate.focus.job import AskJob, FocusJob, LookJob, SegmentJob
from foveate.focus.looking import Look, look_at
from foveate.focus.plan import Plan
from foveate.focus.question import Asked, pose
from foveate.focus.refine import Rules

__all__ = [
    "GOALS",
    "AskJob",
    "Asked",
    "FocusJob",
    "Goal",
    "Look",
    "LookJob",
    "Plan",
    "Rules",
    "SegmentJob",
    "Weights",
    "look",
    "look_at",
    "pose",
]
