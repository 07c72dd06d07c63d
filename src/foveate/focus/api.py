"""`look` for people who write Python: one image, one call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.budget import Budget
from foveate.errors import BudgetError, DataError, ParameterError
from foveate.focus.goals import Goal, find_goal
from foveate.focus.looking import Look, look_at
from foveate.focus.plan import Mode, Plan
from foveate.focus.question import pose
from foveate.focus.refine import Rules
from foveate.grid import Grid
from foveate.models.binding import bind
from foveate.pool.folder import open_pool
from foveate.pool.pool import Pool, Scene
from foveate.raster import ArraySource, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.models.base import ModelHandle
    from foveate.models.capabilities import Model
    from foveate.models.heads.base import Head
    from foveate.models.heads.prompts import LabelsGiven

_UNITS = ("regions", "tiles", "passes", "area")


def look(
    image: str | Path | Source | np.ndarray[Any, Any],
    model: ModelHandle | Model,
    *,
    labels: LabelsGiven | None = None,
    head: Head | None = None,
    query: str = "",
    target: str | None = None,
    goal: str | Goal | None = None,
    mode: Mode = "zoom",
    budget: Mapping[str, float | str | None] | None = None,
    templates: str | Path | Sequence[str] = "rs",
    rules: Rules | None = None,
    **plan: Any,
) -> Look:
    """Choose the regions of one image that a frozen model should be shown, and ask it.

    Args:
        image: A file, a `Source`, or an array (c, h, w) of any dtype.
        model: From `load_model`, or a model that embeds.
        labels: Names of the classes, for a model that embeds text.
        head: Classes from elsewhere: a probe.
        query: What is looked for.
        target: The true class, where it is known: then that is what the loss compares with.
        goal: What for; a name in `GOALS`, or a `Goal`. None for "query" where there is one, else
            "balanced".
        mode: "zoom", "window" or "feature".
        budget: ``{"regions": 8, "passes": 24, "area": "10%"}``, or less of it; "tiles" is
            another word for regions. Without passes it has a third of those that tiling takes,
            24 at least; 0 passes stand for no limit.
        templates: Sentences around labels and query.
        rules: How the search goes; its regions and area are those of the budget, if it has any.
        plan: Anything else of `Plan`: cells, crop, partition, robust, min_valid, batch_size.

    Returns:
        Regions, scores and answers: ``look.prediction``, ``look.windows``, ``look.selection``.

    Raises:
        MissingCapabilityError: The model cannot do what is asked of it.
        BudgetError: A budget of another unit, or one that buys nothing.
        ParameterError: A value that cannot be.
        DataError: The image cannot be read, or is too small to choose from.
    """
    pool = _pool(image)
    bound = bind(model, pool)
    named = ("query" if query.strip() else "balanced") if goal is None else goal
    wanted = named if isinstance(named, Goal) else find_goal(str(named))
    if target is not None:
        if query:
            raise ParameterError("a query and a target", "One class is looked for.")
        wanted = _supervised(wanted)
    asked = pose(bound, labels=labels, head=head, query=query, templates=templates, target=target)
    limits, passes = _limits(budget)
    searched = replace(rules or Rules(), **limits)
    scene = pool.scenes[0]
    return look_at(
        scene.source, bound, asked,
        Plan(wanted, mode=mode, rules=searched, passes=passes, **plan), scene=scene.scene_id,
    )  # fmt: skip


def _supervised(goal: Goal) -> Goal:
    """Return the goal with the loss of the true class."""
    return replace(goal, losses={"label": 1.0}, bare={"label": 1.0})


def _limits(budget: Mapping[str, float | str | None] | None) -> tuple[dict[str, Any], float | None]:
    """Read a budget: what the rules get of it, and the passes.

    Raises:
        BudgetError: A unit that a look does not have, or a share where there is no total.
    """
    found: dict[str, Any] = {}
    passes: float | None = None
    given = {unit: amount for unit, amount in (budget or {}).items() if amount is not None}
    if given.get("passes") == 0:
        del given["passes"]
        passes = 0.0
    for unit, amount in Budget.parse(given).limits.items() if given else ():
        if unit not in _UNITS:
            raise BudgetError(
                f"a budget in {unit!r}", f"Allowed: {', '.join(_UNITS)}.", "{'passes': 24}"
            )
        if amount.share != (unit == "area"):
            raise BudgetError(
                f"a budget of {amount} {unit}",
                "The area is a share of the image, the others are numbers.",
                "{'regions': 8, 'passes': 24, 'area': '10%'}",
            )
        if unit == "passes":
            passes = amount.value
        elif unit == "area":
            found["area"] = amount.value
        elif amount.value != int(amount.value):
            raise BudgetError(f"{amount.value:g} {unit}", "Regions are whole.")
        else:
            found["regions"] = int(amount.value)
    return found, passes


def _pool(image: str | Path | Source | np.ndarray[Any, Any]) -> Pool:
    """Return a pool of the one image, which decides bands and range of values."""
    if isinstance(image, str | Path):
        pool = open_pool(image, split=(1, 1), measure=False)
        if len(pool.scenes) != 1:
            raise DataError(
                f"{len(pool.scenes)} images in {str(image)!r}",
                "look() takes one image.",
                "For a folder: foveate.focus.LookJob(images=[...]).run(out).",
            )
        return pool
    if isinstance(image, np.ndarray):
        if image.ndim != 3:
            raise DataError(f"an array of shape {image.shape}", "Expected (c, h, w).")
        image = ArraySource(image)
    tiles = Grid.split(image.info.shape, 1, 1).tiles("image")
    return Pool(ids=tiles.tile_id, scenes=(Scene("image", image),), tiles=tiles)
