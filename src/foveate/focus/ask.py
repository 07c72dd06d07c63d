"""`ask`: a question about one image to a generative model, with and without selected regions.

The model first answers from the downsampled image. This answer is the prediction without
selection and the reference of the regions: L(r) is the loss of its tokens when the model sees the
region r alone. No label is needed, but a wrong answer confirms itself. With a query, L(r) is the
loss of "Yes" to the question whether the query is in the region. Alternatively another model
selects the regions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.budget import Ledger
from foveate.errors import BudgetError, DataError
from foveate.focus.allowance import Allowance, make_allowance, tile_count
from foveate.focus.encode import CropEncoder
from foveate.focus.judged import (
    CropLossStrategy,
    first_cells,
    hint_fewer,
    loss_goal,
    release_reserve,
    reserve_passes,
)
from foveate.focus.levels import refinement_of
from foveate.focus.look import look_allowance, look_at
from foveate.focus.partition import cell_count, check_image_size, windows_of
from foveate.focus.prompt_layout import (
    Feed,
    arrange_canvas,
    layout_prompt,
    mask_outside,
    paint_canvas,
)
from foveate.focus.question import FocusQuestion
from foveate.focus.results import ImageResult, StoredResult
from foveate.focus.strategies import hint_fewer_cells
from foveate.focus.views import ViewPlan, plan_views
from foveate.focus.vlm import Inquiry, VLMSession, check_vlm, check_vlm_config
from foveate.grid import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.focus.config import FocusConfig, Goal
    from foveate.focus.feature_cache import FeatureCache
    from foveate.focus.refine import SearchResult
    from foveate.grid import Tiles
    from foveate.models.capabilities import Model
    from foveate.raster import Source


_HALF = 0.5  # likelihood of "Yes" above which the query is found

_EXISTS, _YES = "Is there {query} in this image? Answer yes or no.", "Yes"

_MEANING = {
    "balanced": "Regions are selected that support the model's first answer, right or wrong.",
    "rare": "Regions are rare if the answer to the whole image does not fit them; empty ones too.",
    "query": "The loss of a region is that of 'Yes' to whether the query is in it.",
    "paper": "The model's first answer replaces the label, right or wrong.",
}


@dataclass(frozen=True)
class RegionSelection:
    """Regions selected by the generative model itself or by a selector.

    Attributes:
        goal: Objective.
        mode: Mode of the look.
        removal: Definition of the removal of a region.
        result: Frontier, scores, regions, and the end of the search.
        notes: Notes for the reader.
        overview_loss: L of the overview, in nats; None with a selector.
        losses: (n,) L of the cells of the frontier, in nats; None with a selector.
        fit: (n,) match of the cells with the query; None without a query.
        full_fit: Match of the whole image with the query.
        unit: Unit of both: "probability" or "cosine".
        selector: Name of the selector, or "".
        selector_passes: Passes of the selector.
        query_found: Whether the query is in the image, or None if this cannot be decided; see
            `foveate.focus.look.Look.query_found`. Without a selector: whether the likelihood of
            "Yes" is above 0.5 for a region.
    """

    goal: Goal
    mode: str
    removal: str
    result: SearchResult
    notes: tuple[str, ...]
    overview_loss: float | None = None
    losses: NDArray[np.float64] | None = None
    fit: NDArray[np.float64] | None = None
    full_fit: float | None = None
    unit: str = "probability"
    selector: str = ""
    selector_passes: float = 0.0
    query_found: bool | None = None


def select_by_answers(
    encoder: CropEncoder,
    session: VLMSession,
    inquiry: Inquiry,
    config: FocusConfig,
    *,
    plan: ViewPlan,
    full: str,
    tiles: Tiles,
) -> RegionSelection:
    """Select regions by the losses of the generative model.

    Args:
        encoder: Its ledger holds the limits of the search.
        session: Runs the model on regions.
        inquiry: The question.
        config: Configuration of the selection.
        plan: Source of representativeness and robustness.
        full: Answer of the model to the overview.
        tiles: The first cells, with computed valid shares.

    Raises:
        BudgetError: The passes are fewer than the first cells need.
        DataError: The answer is empty.
    """
    goal = loss_goal(plan.goal)
    prompt, answer = inquiry.prompt, full.strip()
    if goal.name == "query":
        prompt, answer = _EXISTS.format(query=inquiry.query.strip()), _YES
    if not answer:
        raise DataError(
            f"{encoder.model.spec.name} gave an empty answer to the overview",
            "Regions are scored by the loss of that answer.",
            'Rephrase the prompt, search for a text: --query "storage tank", or select the '
            "regions with another model: --selector MODEL.",
        )
    overview_loss = float(session.answer_losses([session.whole], prompt, answer)[0])
    known: dict[Window, float] = {}

    def cell_losses(windows: Sequence[Window]) -> NDArray[np.float64]:
        losses = session.answer_losses(windows, prompt, answer)
        known.update(zip(windows, losses.tolist(), strict=True))
        # Rare regions contradict the answer to the whole image: its likelihood is low there.
        return np.exp(-losses) if goal.name == "rare" else losses

    crop, branch = config.crop or session.crop, config.search.branch
    views = plan.open(encoder, crop, branch)
    strategy = CropLossStrategy(crop, branch, session.prices, cell_losses, views)
    result = refinement_of(goal, grow=False)(strategy, encoder, goal, config.search).run(tiles)
    losses = np.array([known[window] for window in result.state.features.windows])
    has_query = goal.name == "query"
    best = float(np.exp(-losses[result.state.chosen.rows].min()))
    return RegionSelection(
        goal, strategy.name, strategy.removal, result,
        (*filter(None, [plan.note]), _MEANING[goal.name]),
        overview_loss=overview_loss, losses=losses,
        fit=np.exp(-losses) if has_query else None,
        full_fit=float(np.exp(-overview_loss)) if has_query else None,
        query_found=best > _HALF if has_query else None,
    )  # fmt: skip


def select_with_selector(
    encoder: CropEncoder,
    selector: Model,
    question: FocusQuestion,
    config: FocusConfig,
    *,
    scene: str,
    cache: FeatureCache | None,
) -> RegionSelection:
    """Select regions with another model, which embeds.

    Args:
        encoder: Its ledger holds the limits of the search and books its cost.
        selector: A bound model that embeds.
        question: Classes and query.
        config: Configuration of the selection.
        scene: Name of the image.
        cache: Features of earlier looks.

    Raises:
        FoveateError: See `foveate.focus.look.look_at`.
    """
    left = encoder.ledger.left("passes")
    left = left if math.isfinite(left) else 0
    first = look_allowance(encoder.source.info.shape, selector, config).first
    try:
        look = look_at(
            encoder.source,
            selector,
            question,
            replace(config, passes=left),
            scene=scene,
            cache=cache,
        )
    except BudgetError as error:
        raise BudgetError(
            error.given,
            f"{error.allowed} The answers take the other passes of {config.passes or 0:g}.",
            f"Type --passes {math.ceil((config.passes or 0) - left + first)}"
            + hint_fewer_cells(config.cells)
            + ".",
        ) from error
    encoder.pay(look.work.passes, look.work.images)
    for name in ("calls", "seconds", "remembered"):
        setattr(encoder.work, name, getattr(encoder.work, name) + getattr(look.work, name))
    return RegionSelection(
        look.goal, look.mode, look.removal, look.result, look.notes,
        fit=look.fit, full_fit=look.full_fit, unit="probability" if look.predictions else "cosine",
        selector=selector.spec.name, selector_passes=look.passes, query_found=look.query_found,
    )  # fmt: skip


LEAST_ASKED = 48  # minimum of the default passes of a question


@dataclass(frozen=True, repr=False)
class AskResult(ImageResult):
    """Result of a question about one image.

    Attributes:
        inquiry: The question.
        choice: The selected regions.
        prediction: Answer with the regions, in the layout of the feed.
        prediction_full: Answer from the overview alone.
        prediction_tile: Answer from the most important region alone; None if the passes were
            spent.
        shown: ``(height, width)`` of the images of the feed, in pixels.
        prompt: Prompt of the feed.
        generated: Number of generated answers.
        judged: Number of computed losses of answers.
    """

    inquiry: Inquiry
    choice: RegionSelection
    prediction: str
    prediction_full: str
    prediction_tile: str | None
    shown: tuple[tuple[int, int], ...]
    prompt: str
    generated: int
    judged: int

    def stored(self) -> StoredResult:
        """Return the result in its stored form."""
        choice = self.choice
        facts: dict[str, Any] = {
            "prediction": self.prediction,
            "prediction_full": self.prediction_full,
            "prediction_tile": self.prediction_tile,
            "prompt": self.inquiry.prompt,
            "feed": self.inquiry.feed,
            "feed_prompt": self.prompt,
            "feed_images": [list(shape) for shape in self.shown],
            "generated": self.generated,
            "judged": self.judged,
            "overview_loss": choice.overview_loss,
            "selector": choice.selector or None,
            "selector_passes": round(choice.selector_passes, 6),
            **self.allowance.facts(),
        }
        columns: dict[str, list[Any]] = {}
        if choice.losses is not None:
            columns["loss"] = choice.losses.tolist()
        if choice.fit is not None:
            columns["fit"] = choice.fit.tolist()
            best = float(choice.fit[choice.result.state.chosen.rows].max())
            facts["query"] = {
                "text": self.inquiry.query, "full": choice.full_fit, "best": best,
                "unit": choice.unit,
            }  # fmt: skip
            facts["query_found"] = choice.query_found
        return self._stored(facts, columns)


def ask_image(
    source: Source,
    model: Model,
    inquiry: Inquiry,
    config: FocusConfig,
    *,
    selector: Model | None = None,
    question: FocusQuestion | None = None,
    scene: str = "image",
    cache: FeatureCache | None = None,
) -> AskResult:
    """Ask a generative model about one image.

    Args:
        source: The image, of any size; it is read by windows.
        model: A bound generative model; if it cannot score answers, a selector is required.
        inquiry: The question, and the layout of the regions.
        config: Configuration of the selection. Its passes are those of all models together.
            Without a selector the mode is "zoom"; `foveate.focus.views` describes the source of
            representativeness and robustness.
        selector: A bound model that embeds and selects the regions, or None for `model` itself.
        question: Classes and query for the selector.
        scene: Name of the image, for ids.
        cache: Features of earlier looks of the selector.

    Returns:
        The answers with and without regions, and the regions.

    Raises:
        MissingCapabilityError: The model lacks a required capability; the message names
            alternatives.
        BudgetError: The passes are too few, including those of the last answer; or no region
            fits the area.
        ParameterError: A value is invalid.
        DataError: The image is too small, or the answer of the model is empty.
    """
    check_vlm_config(inquiry, config, selector is not None)
    check_vlm(model, selector is not None)
    encoder = CropEncoder(
        source, model, Ledger({}), min_valid=config.min_valid, batch_size=config.batch_size,
        seed=config.search.seed, disturb=config.disturb,
    )  # fmt: skip
    session, plan = VLMSession(encoder, inquiry.side), plan_views(model, config)
    allowance = ask_allowance(source, model, inquiry, config, selector=selector)
    first, end = float(session.prices([session.whole])[0]), "the last answer with the regions"
    reserve = _reserve(session, inquiry.feed, config.search.regions)
    if selector is None:
        crop = config.crop or session.crop
        check_image_size(source.info.shape, crop)
        tiles = first_cells(encoder, config, scene, crop)
        views = plan.first(encoder.standard) + plan.each * len(tiles)
        first = 2 * first + views + float(session.prices(windows_of(tiles)).sum())
        start = f"An answer from the overview, its loss and those of {len(tiles)} cells"
        start += ", with their features," if views else ""
        hint = hint_fewer(config.cells, config.search.regions)
    else:
        first += 1
        start, hint = (
            "An answer from the overview and that of the selector",
            hint_fewer(1, config.search.regions),
        )
    reserve_passes(encoder, allowance, reserve, first=first, start=start, end=end, hint=hint)
    overview = session.read(session.whole)
    full = session.answer([overview], inquiry.prompt, inquiry.max_tokens)
    if selector is None:
        choice = select_by_answers(
            encoder, session, inquiry, config, plan=plan, full=full, tiles=tiles
        )
    else:
        choice = select_with_selector(
            encoder, selector, question or FocusQuestion(), config, scene=scene, cache=cache
        )
    release_reserve(encoder, allowance)
    windows = choice.result.windows
    images, prompt = _layout(session, inquiry, windows, overview)
    answer = session.answer(images, prompt, inquiry.max_tokens)
    tile = None
    if encoder.ledger.can(passes=float(session.prices(windows[:1])[0])):
        tile = session.answer([session.read(windows[0])], inquiry.prompt, inquiry.max_tokens)
    return AskResult(
        scene, source.info, choice.result, encoder.work, allowance,
        (_pass_note(session, choice), *choice.notes), choice.goal, choice.mode, choice.removal,
        inquiry, choice, answer, full, tile,
        tuple((int(image.shape[1]), int(image.shape[2])) for image in images), prompt,
        session.generated, session.judged,
    )  # fmt: skip


def ask_allowance(
    source: Source,
    model: Model,
    inquiry: Inquiry,
    config: FocusConfig,
    *,
    selector: Model | None = None,
) -> Allowance:
    """Return the limits of a question about one image, for all models together.

    The default is 48 passes, or those of the first cells and the last answer if these are more:
    passes of a generative model are slow, and answers to every tile of a wide image do not add up
    to an answer about the image. A selector has the default of a look, a third of the passes of
    tiling, in addition to the answers.

    Args:
        source: The image.
        model: A bound generative model.
        inquiry: The question.
        config: Configuration of the selection.
        selector: A bound model that selects the regions, or None for `model` itself.
    """
    shape, encoder = source.info.shape, CropEncoder(source, model, Ledger({}))
    session = VLMSession(encoder, inquiry.side)
    reserve = _reserve(session, inquiry.feed, config.search.regions)
    overview = float(session.prices([session.whole])[0])
    if selector is not None:
        search = look_allowance(shape, selector, replace(config, passes=None))
        first = search.passes + overview + reserve
        allowance = make_allowance(config.passes, search.tiling, least=LEAST_ASKED, first=first)
        return replace(allowance, crops=math.inf)  # the look of the selector limits them
    side = config.crop or session.crop
    crop = float(session.prices([Window(0, 0, side, side)])[0])
    thin = float(session.prices([Window(0, 0, *(min(side, length) for length in shape))])[0])
    plan = plan_views(model, config)
    cell = _largest_price(session) + plan.each
    first = 2 * overview + plan.first(encoder.standard) + reserve
    first += cell_count(shape, config.cells, side) * cell
    stated = config.passes
    if stated is None:
        stated = float(max(LEAST_ASKED, math.ceil(first)))
    return make_allowance(stated, tile_count(shape, side) * thin, crop=crop)


def _reserve(session: VLMSession, feed: Feed, regions: int) -> float:
    """Return the maximum cost of the last answer, in passes."""
    largest = _largest_price(session)
    overview = float(session.prices([session.whole])[0])
    return overview if feed == "mask" else overview + regions * largest


def _largest_price(session: VLMSession) -> float:
    return session.price((session.side, session.side))


def _layout(
    session: VLMSession, inquiry: Inquiry, windows: Sequence[Window], overview: NDArray[Any]
) -> tuple[list[NDArray[Any]], str]:
    """Return the images of the feed and its prompt."""
    shape = (session.whole.h, session.whole.w)
    if inquiry.feed == "mask":
        images = [mask_outside(overview, windows, shape, session.black)]
        return images, layout_prompt("mask", inquiry.prompt, windows, shape)
    if inquiry.feed == "overview+crops":
        images = [overview, *(session.read(window) for window in windows)]
        return images, layout_prompt("overview+crops", inquiry.prompt, windows, shape)
    small = (int(overview.shape[1]), int(overview.shape[2]))
    # The canvas costs at most as much as separate images of overview and crops.
    max_pixels = small[0] * small[1] + len(windows) * session.standard[0] * session.standard[1]
    canvas = arrange_canvas(windows, small, max_pixels)
    crops = [
        session.read(window, (at.h, at.w))
        for window, at in zip(windows, canvas.places, strict=True)
    ]
    image = paint_canvas(canvas, crops, overview, session.black)
    return [image], layout_prompt("canvas", inquiry.prompt, windows, shape, canvas)


def _pass_note(session: VLMSession, choice: RegionSelection) -> str:
    height, width = session.standard
    note = f"A pass is an image of {height} x {width} pixels in the generative model"
    if choice.selector:
        note += f", or one at the input size of the selector {choice.selector}"
    return f"{note}."
