"""Recipes: declarative combinations of strategies that rank a pool like a method.

A `Recipe` is made in Python, or read from a file (`read_recipe`: TOML, YAML or JSON)::

    name = "balanced-cover"
    combine = "sum"               # or "product"
    scale = "step"                # or "first", "total", see foveate.select.combine

    [[strategy]]
    kind = "coverage"             # a gain: coverage, diversity, balance; or similarity
    weight = 1.0
    options = { reference = 2048 }

    [[strategy]]
    method = "fa"                 # a method of curate, as a fixed score
    values = "rank"               # or "score"

    [[strategy]]
    column = "loss"               # a column of the pool, as a fixed score
    order = "low"                 # or "high"
    weight = -0.3                 # negative: penalise high scores

    [wrapper]
    kind = "within"               # or "after", "stratified"
    recipe = "other.toml"         # a file in the same folder, a recipe, or a method
    keep = "50%"

    [rules]
    quota = { scene = "20%" }
    min_distance = 100
"""

from foveate.curate.recipes.builtin import RECIPES, get_recipe
from foveate.curate.recipes.file import find_recipe, read_recipe, recipe_from
from foveate.curate.recipes.method import recipe_method
from foveate.curate.recipes.recipe import After, Recipe, Stratified, Within
from foveate.curate.recipes.strategy import Strategy

__all__ = [
    "RECIPES",
    "After",
    "Recipe",
    "Strategy",
    "Stratified",
    "Within",
    "find_recipe",
    "get_recipe",
    "read_recipe",
    "recipe_from",
    "recipe_method",
]
