"""Looks as methods of `bench focus`: each goal, with any of its settings replaced."""

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
SCALED, REPLACED = 0.7, 0.1  # Fig. 5b: of weights above the median, and the share of regions


@dataclass(frozen=True)
class LookOutcome(Outcome):
    """What a look made of a scene.

    Attributes:
        epsilon: Relative difference of the loss of the regions from the image's, with its sign.
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
    """Look at the scene.

    Args:
        task: Scene, model and budget.
        goal: A name in `GOALS`.
        weights: Weights of the scores that are replaced; see `Weights`.
        forms: Forms of the scores that are replaced; see `Goal`.
        search: Settings of the search that are replaced; see `SearchConfig`.
        mode: "zoom", "window" or "feature".
        cells: First cells along the longer side; None for 4, or 2 where the passes do not hold 4.
        robust: Whether to measure the robustness; None for where it is cheap.
        perturbed: For the answer of Fig. 5b, the mean of the chosen regions weighted by their
            importance: "none", "weights" (those above the median times .7) or "regions" (10 % of
            the chosen ones are masked). None for the answer of the goal.

    Raises:
        BudgetError: The passes do not hold the first cells.
        MissingCapabilityError: The model cannot do what the mode needs, or the goal needs a query
            or classes that there are not.
        DataError: There is nothing to choose from: the scene is no larger than a crop, or has not
            one cell of data.
    """
    wanted = find_goal(goal).with_options(weights=weights, **(forms or {}))
    _check(wanted, task)
    config = FocusConfig(
        wanted, mode=mode, passes=0 if math.isinf(task.passes) else task.passes,
        search=replace(SearchConfig(regions=task.regions, seed=task.seed), **(search or {})),
        crop=task.crop, robust=robust, batch_size=task.encoder.batch_size,
    )  # fmt: skip
    encoder = task.encoder
    config = replace(config, cells=cells or _cells(task, config))
    found = look_at(encoder.source, encoder.model, task.question, config, cache=encoder.cache)
    encoder.pay(found.work.passes, found.work.images)
    encoder.work.seconds += found.work.seconds
    return _outcome(task, found, wanted, perturbed)


def _check(goal: Goal, task: Task) -> None:
    """Refuse a goal for which something is missing, as all methods do."""
    try:
        check_query(goal, task.question.query)
        check_loss(goal, classes=task.question.head is not None)
    except ParameterError as error:
        raise MissingCapabilityError(error.given, error.allowed, error.hint) from error


def _cells(task: Task, config: FocusConfig) -> int:
    """Return N_p of the paper, or half of it where the passes do not hold so many cells."""
    return 4 if look_allowance(task.shape, task.encoder.model, config).first <= task.passes else 2


def _outcome(task: Task, found: Look, goal: Goal, perturbed: Perturbed | None) -> LookOutcome:
    state, head = found.result.state, task.question.head
    probabilities = None
    if head is not None:
        probabilities = (
            in_order(head, found.predictions[goal.answer].ranking)
            if perturbed is None
            else _weighted(task, found, head, perturbed)
        )
    # The search of the paper keeps K regions of each level: here the first K of all stand for them.
    return LookOutcome(
        found.windows[: task.regions], probabilities, state.scorer.single_importance,
        tuple(windows_of(state.tiles)), found.epsilon, int(state.tiles.level.max()),
    )  # fmt: skip


def in_order(head: Head, ranking: tuple[tuple[str, float], ...]) -> NDArray[np.float64]:
    """Return the (C,) numbers of a ranking in the order of the head's names.

    Votes are often equal, and the ranking has settled which class comes first: the earlier ones
    are raised by less than anything that is measured.
    """
    place = {name: i for i, name in enumerate(head.names)}
    found = np.empty(len(ranking))
    for rank, (name, value) in enumerate(ranking):
        found[place[name]] = value + 1e-9 * (len(ranking) - rank)
    return found / found.sum()


def _weighted(task: Task, found: Look, head: Head, perturbed: Perturbed) -> NDArray[np.float64]:
    """Return the classes of the weighted mean of the chosen regions, perturbed as in Fig. 5b."""
    state = found.result.state
    rows = state.chosen.rows
    weight = state.scorer.single_importance[rows].astype(np.float64)
    weight = weight - min(weight.min(), 0.0) + 1e-6
    x = np.array(state.features.x[rows], np.float32)
    if perturbed == "weights":
        weight = np.where(weight > np.median(weight), SCALED * weight, weight)
    if perturbed == "regions":
        draw = rng(task.seed, f"bench/focus/perturb/{found.windows[0]}")
        gone = draw.choice(len(rows), math.ceil(REPLACED * len(rows)), replace=False)
        x[gone] = _masked(task)
    mean = (weight / weight.sum()) @ x
    return head.probabilities(mean[None].astype(np.float32))[0].astype(np.float64)


def _masked(task: Task) -> NDArray[np.float32]:
    """Return what the model makes of a region of nothing: black, as the paper masks."""
    encoder = task.encoder
    model: Any = encoder.model
    height, width = encoder.standard.shape
    dtype = encoder.source.info.dtype
    black = np.zeros((1, len(model.spec.bands), height, width), dtype)
    return encoder.as_inputs(np.asarray(encoder.timed(model.embed, black), np.float32)[0])


def look_name(goal: str) -> str:
    """Return what a look with a goal is called among the methods."""
    return f"look-{goal}"


LOOKS: dict[str, Method] = {look_name(goal): partial(look, goal=goal) for goal in GOALS}

SAYS = {look_name(goal): f"A look with the goal {goal}." for goal in GOALS}


def with_options(name: str, options: Mapping[str, Any]) -> Method:
    """Return a look by name, with some of its settings replaced.

    Raises:
        MissingCapabilityError: A method that is no look.
    """
    if name not in LOOKS:
        raise MissingCapabilityError(
            f"settings of the method {name!r}", "Only looks have settings.", "Name a look."
        )
    return partial(LOOKS[name], **options)
