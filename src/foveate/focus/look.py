"""`look`: select the regions of one image that a frozen model needs, and predict from them.

HCS ("Advancing Complex Wide-Area Scene Understanding with Hierarchical Coresets Selection"),
section 4, after a pass of the overview: every result contains the prediction from the whole image
downsampled to the model's input.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import BudgetError, DataError, ParameterError
from foveate.focus.allowance import Allowance, budget_limits, make_allowance, tile_count
from foveate.focus.config import (
    FocusConfig,
    Goal,
    Mode,
    SearchConfig,
    check_loss,
    check_query,
    find_goal,
)
from foveate.focus.encode import CropEncoder, standard_encoder
from foveate.focus.learned import LearnedScorer
from foveate.focus.levels import refinement_of
from foveate.focus.partition import areas, cell_count, check_image_size, significant, uniform
from foveate.focus.pyramid import PyramidStrategy, first_glance, names_its_target, view_sides
from foveate.focus.question import (
    Prediction,
    answers,
    asked_model,
    make_question,
    predict_surest,
    predict_vector,
    predicted_labels,
)
from foveate.focus.repool import RepoolStrategy, check_overview, pooled_overview, pools_apart
from foveate.focus.results import Look
from foveate.focus.strategies import (
    SMALL,
    FeatureStrategy,
    WindowStrategy,
    ZoomStrategy,
    check_sizes,
    hint_fewer_cells,
    no_valid_cells,
    second_view,
    valid_cells,
)
from foveate.grid import Grid, Tiles, Window
from foveate.models.capabilities import EmbedsText, TakesSizes, TokenSums, need
from foveate.models.embed import bind
from foveate.pool.folder import open_pool
from foveate.pool.pool import Pool, Scene
from foveate.raster import Source, given_source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.focus.config import Answer
    from foveate.focus.feature_cache import WindowCache
    from foveate.focus.question import FocusQuestion
    from foveate.focus.refine import State
    from foveate.focus.strategies import Strategy
    from foveate.models.base import ModelHandle
    from foveate.models.capabilities import Model
    from foveate.models.heads import Head, LabelsGiven

    Tokens = NDArray[np.float32] | TokenSums | None  # tokens of an overview, or their sums


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
    search: SearchConfig | None = None,
    scorer: LearnedScorer | str | Path | None = None,
    **config: Any,
) -> Look:
    """Select the regions of one image that a frozen model needs, and predict from them.

    Args:
        image: A file, a `Source`, or an array (c, h, w) of any dtype.
        model: From `load_model`, or a model that embeds.
        labels: Names of the classes, for a model that embeds text or scores answers; the latter
            scores the names as answers, see `foveate.models.answer_head`.
        head: Classifier instead of labels, e.g. a probe.
        query: Text to search for.
        target: True class, if known: the loss is then the loss of that class.
        goal: Objective: a name in `GOALS`, or a `Goal`. None: "query" with a query, else
            "balanced".
        mode: "zoom", "window" or "feature".
        budget: Any of ``{"regions": 8, "passes": 24, "area": "10%"}``; "tiles" is a synonym of
            regions. Without passes: a third of the passes of tiling, at least 24; 0 passes: no
            limit.
        templates: Sentences around labels and query.
        search: Configuration of the search; regions and area of the budget override it.
        scorer: From `train_scorer`, or its folder: predicts the scores, which saves the passes of
            the robustness. It must have been trained with the same model, goal, mode and question.
        config: Other attributes of `FocusConfig`: cells, crop, partition, robust, min_valid,
            batch_size.

    Returns:
        Regions, scores and predictions: ``look.prediction``, ``look.windows``,
        ``look.selection``.

    Raises:
        MissingCapabilityError: The model does not have a required capability.
        BudgetError: A unit of the budget is unknown, or the budget is too small.
        ParameterError: A value is invalid.
        DataError: The image cannot be read or is too small, or the scorer was trained with
            another encoder.
    """
    pool = _single_image_pool(image)
    bound = bind(model, pool)
    if goal is None:
        goal = "query" if query.strip() else "balanced"
    objective = goal if isinstance(goal, Goal) else find_goal(str(goal))
    if target is not None:
        if query:
            raise ParameterError("a query and a target", "Only one of them is allowed.")
        objective = _supervised_goal(objective)
    asked = asked_model(bound, labels, query) if head is None else None
    if asked is not None:
        (bound, head), labels = asked, None
    question = make_question(
        bound, labels=labels, head=head, query=query, templates=templates, target=target
    )
    limits, passes = budget_limits(budget)
    search = replace(search or SearchConfig(), **limits)
    scene = pool.scenes[0]
    return look_at(
        scene.source, bound, question,
        FocusConfig(objective, mode=mode, search=search, passes=passes, **config),
        scene=scene.scene_id,
        scorer=LearnedScorer.load(scorer) if isinstance(scorer, str | Path) else scorer,
    )  # fmt: skip


def _supervised_goal(goal: Goal) -> Goal:
    return replace(goal, losses={"label": 1.0}, bare={"label": 1.0})


def _single_image_pool(image: str | Path | Source | np.ndarray[Any, Any]) -> Pool:
    """Return a pool of the one image, from which bands and value range are derived."""
    if isinstance(image, str | Path):
        pool = open_pool(image, split=(1, 1), measure=False)
        if len(pool.scenes) != 1:
            raise DataError(
                f"{len(pool.scenes)} images in {str(image)!r}",
                "look() takes a single image.",
                "For a folder: foveate.focus.LookJob(images=[...]).run(out).",
            )
        return pool
    source = given_source(image)
    tiles = Grid.split(source.info.shape, 1, 1).tiles("image")
    return Pool(ids=tiles.tile_id, scenes=(Scene("image", source),), tiles=tiles)


def look_at(
    source: Source,
    model: Model,
    question: FocusQuestion,
    config: FocusConfig,
    *,
    scene: str = "image",
    cache: WindowCache | None = None,
    scorer: LearnedScorer | None = None,
    watch: Callable[[State], None] | None = None,
) -> Look:
    """Run a look at one image with a model that embeds.

    Args:
        source: The image, of any size; it is read by windows.
        model: A bound model.
        question: Classes and query.
        config: Configuration of the look.
        scene: Name of the image, for ids.
        cache: Features of earlier looks.
        scorer: Trained scorer that predicts the scores.
        watch: Called with every scored state of the search.

    Returns:
        The regions, their scores, and the predictions.

    Raises:
        MissingCapabilityError: The model lacks a capability that the mode needs; the message
            names a mode that works.
        BudgetError: The passes are fewer than the first partition needs.
        ParameterError: The scorer was trained with another goal, mode or question.
        DataError: The image is too small or has no valid pixel, or the scorer was trained with
            another encoder.
    """
    need(model, "embed", "foveate focus")
    if scorer is not None:
        scorer.check(model.spec, question, config)
    allowance = look_allowance(source.info.shape, model, config, scorer)
    encoder = CropEncoder(
        source, model, allowance.ledger(), min_valid=config.min_valid, batch_size=config.batch_size,
        seed=config.search.seed, disturb=config.disturb, cache=cache, inputs=question.inputs,
    )  # fmt: skip
    _check_model(encoder, config, question)
    goal, robust, notes = _weighted_goal(config, scorer)
    if goal.coarse == "pyramid" and not pyramidal(config, model, scorer):
        goal = replace(goal, coarse="whole")
    overview, tokens = _overview(encoder, config)
    first = _first_partition(source.info.shape, tokens, config, encoder, scene)
    tiles = valid_cells(first, encoder)
    if not len(tiles):
        raise no_valid_cells(encoder)
    mode = _strategy(encoder, config, tokens, goal, robust=robust)
    _check_affordable(encoder, mode, tiles, config)
    refinement = refinement_of(goal)(
        mode, encoder, goal, config.search, question.head, question.target, question.text,
        scorer, watch,
    )  # fmt: skip
    result = refinement.run(tiles)
    state = result.state
    predictions: dict[str, Prediction] = {}
    labels = None
    if question.head is not None:
        area, chosen = areas(state.tiles), state.chosen
        aggregated: dict[Answer, Prediction] = answers(
            question.head, state.features.x, area, chosen.rows,
            chosen.weight if chosen.drawn else None, even=refinement.samples_evenly,
        )  # fmt: skip
        predictions = {
            "full": predict_vector(question.head, overview),
            "tile": predict_surest(question.head, state.features.x, np.arange(len(area))),
            **aggregated,
        }
        labels = predicted_labels(question.head, state.features.x)
    return Look(
        scene, source.info, result, encoder.work, allowance, (*question.notes, *notes),
        goal, config.mode, mode.removal, predictions, question.query, labels,
        question.fit(state.features.x), question.full_fit(overview),
    )  # fmt: skip


def _check_model(encoder: CropEncoder, config: FocusConfig, question: FocusQuestion) -> None:
    """Check model, image and goal before the first pass."""
    shape = encoder.source.info.shape
    if config.mode == "feature" or config.partition == "significance":
        compared = question.head is not None or question.text is not None
        check_overview(encoder.model, classes=compared and config.mode == "feature")
    if config.mode == "window":
        check_sizes(encoder)
    if config.mode == "zoom":
        check_image_size(shape, config.crop_side(encoder.standard.shape))
    if not encoder.valid_shares([Window(0, 0, *shape)])[0]:
        raise no_valid_cells(encoder)
    check_query(config.goal, question.query)
    check_loss(config.goal, classes=question.head is not None)


def _weighted_goal(
    config: FocusConfig, scorer: LearnedScorer | None = None
) -> tuple[Goal, bool, list[str]]:
    """Set the weight of the robustness to 0 if it is neither computed nor predicted.

    Returns:
        The goal, whether the robustness is computed, and notes.
    """
    goal, notes = config.goal, []
    if scorer is not None:
        notes = scorer.notes(config)
        if not (scorer.gives("robustness") and config.robust is None):
            goal = replace(goal, weights=replace(goal.weights, robustness=0.0))
        return goal, False, notes
    weighted = goal.weights.robustness > 0
    default = config.mode != "zoom" or goal.name == "paper"  # the paper needs all four scores
    robust = weighted and (default if config.robust is None else config.robust)
    if weighted and not robust:
        goal = replace(goal, weights=replace(goal.weights, robustness=0.0))
        cost = "a second view" if config.mode == "feature" else "twice as many passes"
        notes.append(f"The robustness was not computed: it takes {cost}.")
    return goal, robust, notes


def _overview(encoder: CropEncoder, config: FocusConfig) -> tuple[NDArray[np.float32], Tokens]:
    """Encode the whole image: its vector, and its tokens or their sums if they are needed."""
    whole = Window(0, 0, *encoder.source.info.shape)
    if config.mode == "feature" and pools_apart(encoder.model):
        sums = encoder.token_sums(whole)
        return encoder.as_inputs(pooled_overview(encoder, sums)), sums
    if config.mode != "feature" and config.partition == "uniform":
        return encoder.embed([whole])[0], None
    tokens = encoder.tokens(whole)
    model: Any = encoder.model
    if model.token_spec.pooled or config.mode == "feature":
        return encoder.as_inputs(tokens.mean(axis=(0, 1))), tokens
    # The embedding is not the mean of the tokens: the partition "significance" needs both.
    return encoder.embed([whole])[0], tokens


def _first_partition(
    shape: tuple[int, int],
    tokens: Tokens,
    config: FocusConfig,
    encoder: CropEncoder,
    scene: str,
) -> Tiles:
    crop = config.crop_side(encoder.standard.shape) if config.mode == "zoom" else None
    count = cell_count(shape, config.cells, crop)
    if config.partition == "significance" and tokens is not None:
        values = tokens.values if isinstance(tokens, TokenSums) else tokens
        return significant(shape, values, count, scene, least=1 if crop is None else crop // 2)
    return uniform(shape, count, scene)


def look_allowance(
    shape: tuple[int, int],
    model: Model,
    config: FocusConfig,
    scorer: LearnedScorer | None = None,
) -> Allowance:
    """Return the limits of a look at an image of ``(height, width)`` pixels.

    Args:
        shape: Size of the image.
        model: A bound model.
        config: Configuration of the look. The default number of passes is a third of the passes
            of tiling, at least 24, and at least that of the overview and the first cells.
        scorer: Trained scorer; no second view is encoded with it.
    """
    sized, (height, width) = standard_encoder(model), shape
    side = config.crop_side(sized.shape)
    tiling = tile_count(shape, side) * sized.passes(
        Window(0, 0, min(side, height), min(side, width))
    )
    whole = sized.passes(Window(0, 0, side, side))
    views = 1 + _weighted_goal(config, scorer)[1]
    each = sized.each
    if config.mode == "feature":
        resizable = not sized.fixed or isinstance(model, TakesSizes)
        second = (views - 1) * (1 / SMALL**2 if resizable else 1.0)
        return make_allowance(config.passes, tiling, crop=whole, first=1 + second, most=1 + second)
    if config.mode == "window":
        whole, glance = each / config.cells**2, 0.0
    elif pyramidal(config, model, scorer):
        whole = glance = first_glance(model, sized, side)
    else:
        downsampled = config.goal.coarse != "native"
        resizable = not sized.fixed or isinstance(model, TakesSizes)
        glance = each * (0.25 if resizable else 1.0) * downsampled
    least = min(whole, glance) if glance else whole
    count = cell_count(shape, config.cells, side if config.mode == "zoom" else None)
    first = each + count * max(whole, glance) * views
    return make_allowance(config.passes, tiling, crop=least, first=first)


def pyramidal(config: FocusConfig, model: Model, scorer: LearnedScorer | None = None) -> bool:
    """Return whether a look uses successive halving over resolutions.

    The goal has to request it. The robustness, a depth and a trained scorer exclude it, because
    they refer to cells that are refined and scored level by level. The model has to take smaller
    inputs at a lower cost. Goals without a named target compare features by cosine, for which
    models that embed text are trained; with other models novelty at `coarse="whole"` finds more.
    """
    sized, search = standard_encoder(model), config.search
    smaller = view_sides(model, sized, config.crop_side(sized.shape))
    return (
        config.mode == "zoom" and config.goal.coarse == "pyramid" and scorer is None
        and not _weighted_goal(config)[1]
        and search.depth is None and search.persist is not False
        and bool(smaller) and not hasattr(model, "passes_each")
        and (names_its_target(config.goal) or isinstance(model, EmbedsText))
    )  # fmt: skip


def _strategy(
    encoder: CropEncoder,
    config: FocusConfig,
    tokens: Tokens,
    goal: Goal,
    *,
    robust: bool,
) -> Strategy:
    if config.mode == "feature":
        assert tokens is not None  # noqa: S101  (`_overview` made them)
        if robust and not encoder.ledger.can(passes=second_view(encoder)):
            raise BudgetError(
                f"a budget of {encoder.ledger.limits['passes']:g} passes",
                f"The overview takes 1, and its second view for the robustness "
                f"{second_view(encoder):.3g}.",
                "Type --passes 2, or --no-robust.",
            )
        if isinstance(tokens, TokenSums):
            return RepoolStrategy(encoder, tokens, config.search.branch, robust=robust)
        return FeatureStrategy(encoder, tokens, config.search.branch, robust=robust)
    if config.mode == "window":
        return WindowStrategy(encoder, config.cells, config.search.branch, robust=robust)
    crop = config.crop_side(encoder.standard.shape)
    if goal.coarse == "pyramid":
        return PyramidStrategy(encoder, crop, config.search.branch)
    return ZoomStrategy(encoder, crop, goal.coarse, config.search.branch, robust=robust)


def _check_affordable(
    encoder: CropEncoder, mode: Strategy, tiles: Tiles, config: FocusConfig
) -> None:
    """Check that the budget covers the first partition.

    Raises:
        BudgetError: The first partition costs more.
    """
    price = float(mode.price(tiles).sum())
    # The limit on crops never excludes the first cells: the look cannot run without them.
    crops = encoder.work.images + mode.images(tiles)
    if encoder.ledger.limits.get("crops", crops) < crops:
        encoder.ledger.limits["crops"] = float(crops)
    if not encoder.ledger.can(passes=price):
        needed = encoder.work.passes + price
        raise BudgetError(
            f"a budget of {encoder.ledger.limits['passes']:g} passes",
            f"The overview and the first {len(tiles)} cells take {needed:.4g}.",
            f"Type --passes {np.ceil(needed):.0f}" + hint_fewer_cells(config.cells) + ".",
        )
