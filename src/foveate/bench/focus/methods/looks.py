"""Looks as methods of `bench focus`: one per goal, with optional settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.bench.focus.methods.base import Method, Outcome
from foveate.errors import MissingCapabilityError, ParameterError
from foveate.focus.config import (
    GOALS,
    FocusConfig,
    Goal,
    SearchConfig,
    check_loss,
    check_query,
    find_goal,
)
from foveate.focus.look import look_allowance, look_at
from foveate.focus.partition import windows_of
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.bench.focus.methods.base import Task
    from foveate.focus.config import Mode
    from foveate.focus.results import Look
    from foveate.models.heads import Head

Perturbed = Literal["none", "weights", "regions"]
SCALED, REPLACED = 0.7, 0.1  # Fig. 5b: factor of weights above the median, share of masked regions


@dataclass(frozen=True)
class LookOutcome(Outcome):
    """Result of a look at a scene.

    Attributes:
        epsilon: Signed relative difference of the losses of the regions and the image.
        depth: Levels below the first cells.
    """

    epsilon: float = math.nan
    depth: int = 0


def look(
    task: Task,
    goal: str = "balanced",
    *,
    weights: Mapping[str, float] | None = None,
    forms: Mapping[str, Any] | None = None,
    search: Mapping[str, Any] | None = None,
    mode: Mode = "zoom",
    cells: int | None = None,
    robust: bool | None = None,
    perturbed: Perturbed | None = None,
) -> Outcome:
    """Run a look at a scene.

    Args:
        task: Scene, model and budget.
        goal: A name in `GOALS`.
        weights: Weights that replace those of the goal; see `Weights`.
        forms: Forms that replace those of the goal; see `Goal`.
        search: Settings that replace those of the search; see `SearchConfig`.
        mode: "zoom", "window" or "feature".
        cells: First cells along the longer side; None for 4, or 2 if the passes do not cover 4.
        robust: Whether to compute the robustness; None for only where it is cheap.
        perturbed: Prediction as in Fig. 5b, from the mean of the selected regions weighted by
            their importance: "none", "weights" (those above the median are scaled by 0.7) or
            "regions" (10 % of the selected ones are masked). None for the prediction of the goal.

    Raises:
        BudgetError: The passes do not cover the first cells.
        MissingCapabilityError: The model lacks a capability that the mode needs, or the goal needs
            a query or classes.
        DataError: The scene is not larger than a crop, or has no valid cell.
    """
    objective = find_goal(goal).with_options(weights=weights, **(forms or {}))
    _check(objective, task)
    config = FocusConfig(
        objective, mode=mode, passes=0 if math.isinf(task.passes) else task.passes,
        search=replace(SearchConfig(regions=task.regions, seed=task.seed), **(search or {})),
        crop=task.crop, robust=robust, batch_size=task.encoder.batch_size,
    )  # fmt: skip
    encoder = task.encoder
    config = replace(config, cells=cells or _cells(task, config))
    result = look_at(encoder.source, encoder.model, task.question, config, cache=encoder.cache)
    encoder.pay(result.work.passes, result.work.images)
    encoder.work.seconds += result.work.seconds
    return _outcome(task, result, objective, perturbed)


def _check(goal: Goal, task: Task) -> None:
    """Check that the task has the query and classes of a goal."""
    try:
        check_query(goal, task.question.query)
        check_loss(goal, classes=task.question.head is not None)
    except ParameterError as error:
        raise MissingCapabilityError(error.given, error.allowed, error.hint) from error


def _cells(task: Task, config: FocusConfig) -> int:
    """Return N_p of the paper, or half of it if the passes do not cover so many cells."""
    return 4 if look_allowance(task.shape, task.encoder.model, config).first <= task.passes else 2


def _outcome(task: Task, look: Look, goal: Goal, perturbed: Perturbed | None) -> LookOutcome:
    state, head = look.result.state, task.question.head
    probabilities = None
    if head is not None:
        probabilities = (
            in_order(head, look.predictions[goal.answer].ranking)
            if perturbed is None
            else _weighted(task, look, head, perturbed)
        )
    # The search of the paper keeps K regions of each level; the outcome has the first K of all.
    return LookOutcome(
        look.windows[: task.regions], probabilities, state.scorer.single_importance,
        tuple(windows_of(state.tiles)), look.epsilon, int(state.tiles.level.max()),
    )  # fmt: skip


def in_order(head: Head, ranking: tuple[tuple[str, float], ...]) -> NDArray[np.float64]:
    """Return the (C,) values of a ranking in the order of the head's names.

    Equal votes are frequent; a negligible amount is added to preserve the order of the ranking.
    """
    index = {name: i for i, name in enumerate(head.names)}
    values = np.empty(len(ranking))
    for rank, (name, value) in enumerate(ranking):
        values[index[name]] = value + 1e-9 * (len(ranking) - rank)
    return values / values.sum()


def _weighted(task: Task, look: Look, head: Head, perturbed: Perturbed) -> NDArray[np.float64]:
    """Return probabilities for the weighted mean of the regions, perturbed as in Fig. 5b."""
    state = look.result.state
    rows = state.chosen.rows
    weight = state.scorer.single_importance[rows].astype(np.float64)
    weight = weight - min(weight.min(), 0.0) + 1e-6
    x = np.array(state.features.x[rows], np.float32)
    if perturbed == "weights":
        weight = np.where(weight > np.median(weight), SCALED * weight, weight)
    if perturbed == "regions":
        draw = rng(task.seed, f"bench/focus/perturb/{look.windows[0]}")
        masked = draw.choice(len(rows), math.ceil(REPLACED * len(rows)), replace=False)
        x[masked] = _masked(task)
    mean = (weight / weight.sum()) @ x
    return head.probabilities(mean[None].astype(np.float32))[0].astype(np.float64)


def _masked(task: Task) -> NDArray[np.float32]:
    """Return the feature of a black region, the mask of the paper."""
    encoder = task.encoder
    model: Any = encoder.model
    height, width = encoder.standard.shape
    dtype = encoder.source.info.dtype
    black = np.zeros((1, len(model.spec.bands), height, width), dtype)
    return encoder.as_inputs(np.asarray(encoder.timed(model.embed, black), np.float32)[0])


def look_name(goal: str) -> str:
    """Return the method name of a look with a goal."""
    return f"look-{goal}"


LOOKS: dict[str, Method] = {look_name(goal): partial(look, goal=goal) for goal in GOALS}

SAYS = {look_name(goal): f"A look with the goal {goal}." for goal in GOALS}


def with_options(name: str, options: Mapping[str, Any]) -> Method:
    """Return a look by name with settings.

    Raises:
        MissingCapabilityError: The method is not a look.
    """
    if name not in LOOKS:
        raise MissingCapabilityError(
            f"settings of the method {name!r}", "Only looks have settings.", "Use a look."
        )
    return partial(LOOKS[name], **options)
