"""Built-in recipes.

They are examples, not recommendations: run a benchmark on your pool (`bench curate`) to compare
them with methods and with random.
"""

from __future__ import annotations

from foveate.curate.methods.base import METHODS
from foveate.curate.recipes.method import recipe_method
from foveate.curate.recipes.recipe import Recipe
from foveate.curate.recipes.strategy import Strategy
from foveate.errors import UnknownNameError
from foveate.registry import Registry, suggest

RECIPES: Registry[Recipe] = Registry("recipe", {
    # Tiles that represent the pool, with balanced classes. Needs masks.
    "cover-balance": Recipe("cover-balance", (
        Strategy(kind="coverage"), Strategy(kind="balance"),
    )),
    # Tiles that represent the pool and differ from each other. Needs no masks.
    "cover-diverse": Recipe("cover-diverse", (
        Strategy(kind="coverage"), Strategy(kind="diversity", weight=0.5),
    )),
    # Tiles far from each other with balanced classes: the product of the sum of squared distances
    # and of the class balance of the set. Needs masks.
    "diverse-balance": Recipe("diverse-balance", (
        Strategy(kind="diversity", options={"power": 2.0}),
        Strategy(kind="balance", options={"form": "divergence"}),
    ), combine="product", scale="total"),
    # The mean of the ranks by FA, CB and facility location. Needs masks.
    "fa-cb-facility": Recipe("fa-cb-facility", (
        Strategy(method="fa"), Strategy(method="cb"), Strategy(method="facility"),
    )),
})  # fmt: skip

COVER_BALANCE = recipe_method(RECIPES.get("cover-balance"))
COVER_DIVERSE = recipe_method(RECIPES.get("cover-diverse"))
DIVERSE_BALANCE = recipe_method(RECIPES.get("diverse-balance"))
FA_CB_FACILITY = recipe_method(RECIPES.get("fa-cb-facility"))


def get_recipe(name: str) -> Recipe:
    """Return a recipe by name; for the name of a method, a recipe with that method alone.

    Raises:
        UnknownNameError: Neither a recipe nor a method has the name.
    """
    if name in RECIPES:
        return RECIPES.get(name)
    if name in METHODS:
        return Recipe(name, (Strategy(method=name),))
    known = [*RECIPES, *(method for method in METHODS if method not in RECIPES)]
    raise UnknownNameError(
        f"unknown recipe {name!r}", f"Recipes and methods: {', '.join(known)}.",
        suggest(name, known) or "For a file, include the suffix: recipe.toml.",
    )  # fmt: skip
