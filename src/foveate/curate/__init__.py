"""`curate`: rank training patches, and select the best to keep or label.

The six core-set methods of Nogueira et al., "Core-Set Selection for Data-efficient Land Cover
Segmentation", their two baselines, further methods, and recipes that combine them.
"""

from foveate.curate.compare import Agreement, Comparison, agreement, compare
from foveate.curate.compare_job import CompareJob
from foveate.curate.job import CurateJob
from foveate.curate.methods import METHODS, Method, get_method
from foveate.curate.rank import Ranker, rank
from foveate.curate.recipes import (
    RECIPES,
    After,
    Recipe,
    Strategy,
    Stratified,
    Within,
    read_recipe,
    recipe_method,
)
from foveate.pool.rules import Rules

__all__ = [
    "METHODS",
    "RECIPES",
    "After",
    "Agreement",
    "CompareJob",
    "Comparison",
    "CurateJob",
    "Method",
    "Ranker",
    "Recipe",
    "Rules",
    "Strategy",
    "Stratified",
    "Within",
    "agreement",
    "compare",
    "get_method",
    "rank",
    "read_recipe",
    "recipe_method",
]
