"""Recipes by name.

They are examples of sensible combinations, not recommendations: whether one is better than a
method, or than random, a benchmark of your pool has to say (`bench curate`).
"""

from __future__ import annotations

from foveate.curate.methods.base import METHODS
from foveate.curate.recipes.method import recipe_method
from foveate.curate.recipes.recipe import Recipe
from foveate.curate.recipes.strategy import Strategy
from foveate.errors import UnknownNameError
from foveate.registry import Registry, suggest

RECIPES: Registry[Recipe] = Registry("recipe", {
    # Tiles that stand for the pool, of evenly many pixels of each class. Needs masks.
    "cover-balance": Recipe("cover-balance", (
        Strategy(kind="coverage"), Strategy(kind="balance"),
    )),
    # Tiles that stand for the pool, and differ from each other. Needs no masks.
    "cover-diverse": Recipe("cover-diverse", (
        Strategy(kind="coverage"), Strategy(kind="diversity", weight=0.5),
    )),
    # Tiles far from each other whose union is of evenly many pixels of each class: the product of
    # the sum of squared distances and of the balance of the set. Needs masks.
    "diverse-balance": Recipe("diverse-balance", (
        Strategy(kind="diversity", options={"power": 2.0}),
        Strategy(kind="balance", options={"form": "divergence"}),
    ), combine="product", scale="total"),
    # The mean of three places: FA/CB with facility location, each ranked by itself. Needs masks.
    "fa-cb-facility": Recipe("fa-cb-facility", (
        Strategy(method="fa"), Strategy(method="cb"), Strategy(method="facility"),
    )),
})  # fmt: skip

COVER_BALANCE = recipe_method(RECIPES.get("cover-balance"))
COVER_DIVERSE = recipe_method(RECIPES.get("cover-diverse"))
DIVERSE_BALANCE = recipe_method(RECIPES.get("diverse-balance"))
FA_CB_FACILITY = recipe_method(RECIPES.get("fa-cb-facility"))


def get_recipe(name: str) -> Recipe:
    """Return a recipe by name; of a method, the recipe with this strategy alone.

    Raises:
        UnknownNameError: There is neither.
    """
    if name in RECIPES:
        return RECIPES.get(name)
    if name in METHODS:
        return Recipe(name, (Strategy(method=name),))
    known = [*RECIPES, *(method for method in METHODS if method not in RECIPES)]
    raise UnknownNameError(
        f"unknown recipe {name!r}", f"Recipes and methods: {', '.join(known)}.",
        suggest(name, known) or "For a file, name it with its ending: recipe.toml.",
    )  # fmt: skip
