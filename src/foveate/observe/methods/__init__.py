"""The policies of `observe`: in which order tiles are worth to be seen in high resolution.

One file a family. A policy is a function ``(*, ids, seed, progress, <needed arrays>, <options>) ->
Ranking`` wrapped in a `Policy`, the `Method` of this verb; `rank_tiles` is the door to all.
"""

from foveate.observe.methods.base import NEEDS, POLICIES, Need, Policy, get_policy
from foveate.observe.methods.rank import rank_tiles

__all__ = ["NEEDS", "POLICIES", "Need", "Policy", "get_policy", "rank_tiles"]
