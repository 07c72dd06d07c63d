"""`ask`: a question about one image to a generative model, with and without chosen regions.

The model answers from the shrunk image first; that is the prediction without selection, and also
what regions are judged by: L(r) is the loss of that answer, word by word, when the model sees the
region alone. Nothing but the model's own answer is needed, and a wrong one confirms itself. With
a query the loss is that of "Yes" to whether it is there; or another model chooses the regions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.budget import Ledger
from foveate.errors import BudgetError, DataError
from foveate.focus.config import Allowance, make_allowance, tile_count
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


_HALF = 0.5  # likelihood of "Yes"

_EXISTS, _YES = "Is there {query} in this image? Answer yes or no.", "Yes"

_MEANING = {
    "balanced": "Regions are those that bear out the model's first answer, right or wrong.",
    "rare": "Rare is what the answer to the whole image does not fit; so are empty regions.",
    "query": "The loss of a region is that of 'Yes' to whether the query is in it.",
    "paper": "The model's first answer stands in the place of the label, right or wrong.",
}


@dataclass(frozen=True)
class RegionSelection:
    """Regions that a model or a selector has chosen.

    Attributes:
        goal: What for.
        mode: How it was paid.
        removal: What it means that a region is taken away.
        result: Frontier, scores, regions, and how the search ended.
        notes: What the reader should know.
        overview_loss: L of the overview, in nats; None with a selector.
        losses: (n,) L of the cells of the frontier, in nats; None with a selector.
        fit: (n,) how well the cells fit the query; None without one.
        full_fit: The same of the whole image.
        unit: Of both: "probability" or "cosine".
        selector: Name of the model that chose, or "".
        selector_passes: Its passes.
        query_found: Whether the query is in the image, as far as this can be said; see
            `foveate.focus.look.Look.query_found`. Of the generative model itself: whether it
            finds "Yes" more likely for a region than not.
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
    """Choose regions by the losses that the generative model gives.

    Args:
        encoder: Its ledger holds what the search may take.
        session: Shows regions to the model.
        inquiry: What is asked.
        config: How regions are chosen.
        plan: Where representativeness and robustness come from.
        full: The model's answer to the overview.
        tiles: The first cells, with measured shares of valid pixels.

    Raises:
        BudgetError: The passes do not reach for the first cells.
        DataError: The answer is empty.
    """
    goal = loss_goal(plan.goal)
    prompt, answer = inquiry.prompt, full.strip()
    if goal.name == "query":
        prompt, answer = _EXISTS.format(query=inquiry.query.strip()), _YES
    if not answer:
        raise DataError(
            f"{encoder.model.spec.name} has nothing to say of the overview",
            "Its own answer is what regions are judged by.",
            'Ask in other words, look for something: --query "storage tank", or let another '
            "model choose: --selector MODEL.",
        )
    overview_loss = float(session.judge([session.whole], prompt, answer)[0])
    known: dict[Window, float] = {}

    def judge(windows: Sequence[Window]) -> NDArray[np.float64]:
        losses = session.judge(windows, prompt, answer)
        known.update(zip(windows, losses.tolist(), strict=True))
        # What is rare contradicts what is said of the whole: there its likelihood is low.
        return np.exp(-losses) if goal.name == "rare" else losses

    crop, branch = config.crop or session.crop, config.search.branch
    views = plan.open(encoder, crop, branch)
    strategy = CropLossStrategy(crop, branch, session.prices, judge, views)
    found = refinement_of(goal, grow=False)(strategy, encoder, goal, config.search).run(tiles)
    losses = np.array([known[window] for window in found.state.features.windows])
    sought = goal.name == "query"
    surest = float(np.exp(-losses[found.state.chosen.rows].min()))
    return RegionSelection(
        goal, strategy.name, strategy.removal, found,
        (*filter(None, [plan.note]), _MEANING[goal.name]),
        overview_loss=overview_loss, losses=losses,
        fit=np.exp(-losses) if sought else None,
        full_fit=float(np.exp(-overview_loss)) if sought else None,
        query_found=surest > _HALF if sought else None,
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
    """Choose regions with another model, which embeds.

    Args:
        encoder: Its ledger holds what the search may take; it is told what was taken.
        selector: A bound model that embeds.
        question: Classes and query.
        config: How regions are chosen.
        scene: Name of the image.
        cache: Vectors of earlier looks.

    Raises:
        FoveateError: What `foveate.focus.look.look_at` raises.
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
            f"{error.allowed} That is what the answers leave of {config.passes or 0:g} passes.",
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


LEAST_ASKED = 48  # passes of a question, where none are stated


@dataclass(frozen=True, repr=False)
class AskResult(ImageResult):
    """Result of a question about one image.

    Attributes:
        inquiry: What was asked.
        choice: The regions, and how they were chosen.
        prediction: The answer with the regions, by the feed.
        prediction_full: The answer from the overview alone.
        prediction_tile: The answer from the most important region alone; None where the passes
            did not reach for it.
        shown: ``(height, width)`` of the images of the feed, in pixels.
        prompt: The prompt of the feed.
        generated: Answers that were generated.
        judged: Losses of answers that were computed.
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
        """Return the result, ready to be stored."""
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
        return StoredResult(
            self.scene, self.info, choice.goal, choice.mode, choice.removal, self.result, self.work,
            facts, columns, self.notes,
        )  # fmt: skip


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
        source: The image, of any size: it is read by windows.
        model: A bound model that answers; one that cannot judge answers needs a selector.
        inquiry: What is asked, and how the regions are shown.
        config: How regions are chosen. Its passes are those of all models together. Without a
            selector the mode is "zoom"; representativeness and robustness are measured as
            `foveate.focus.views` says.
        selector: A bound model that embeds and chooses the regions, or None for `model` itself.
        question: Classes and query for the selector.
        scene: Name of the image, for ids.
        cache: Vectors of earlier looks of the selector.

    Returns:
        The answers with and without regions, and the regions.

    Raises:
        MissingCapabilityError: The model cannot do what is asked; the message says what works.
        BudgetError: The passes do not reach, what the last answer takes included; or the area
            holds no region.
        ParameterError: A value that cannot be.
        DataError: The image is too small to choose from, or the model has nothing to say.
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
        (_pass_note(session, choice), *choice.notes), inquiry, choice, answer, full, tile,
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
    """Return what a question about one image may cost, all models together.

    Where the user states none, 48 passes, or what the first cells and the last answer need if
    that is more: a pass of a generative model is long, and answers to every tile of a wide image
    are no answer about it. What a selector has is that of a look, a third of the passes that
    tiling takes, on top of the answers.

    Args:
        source: The image.
        model: A bound model that answers.
        inquiry: What is asked.
        config: How regions are chosen.
        selector: A bound model that chooses them, or None for `model` itself.
    """
    shape, encoder = source.info.shape, CropEncoder(source, model, Ledger({}))
    session = VLMSession(encoder, inquiry.side)
    reserve = _reserve(session, inquiry.feed, config.search.regions)
    overview = float(session.prices([session.whole])[0])
    if selector is not None:
        own = look_allowance(shape, selector, replace(config, passes=None))
        ends = overview + reserve
        allowance = make_allowance(
            config.passes, own.tiling, least=LEAST_ASKED, first=own.passes + ends
        )
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
    """Return the most that the last answer can take, in passes."""
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
    # No dearer than overview and crops apart.
    most = small[0] * small[1] + len(windows) * session.standard[0] * session.standard[1]
    canvas = arrange_canvas(windows, small, most)
    crops = [
        session.read(window, (at.h, at.w))
        for window, at in zip(windows, canvas.places, strict=True)
    ]
    image = paint_canvas(canvas, crops, overview, session.black)
    return [image], layout_prompt("canvas", inquiry.prompt, windows, shape, canvas)


def _pass_note(session: VLMSession, choice: RegionSelection) -> str:
    """Say what a pass is here."""
    height, width = session.standard
    what = f"A pass is an image of {height} x {width} pixels shown to the generative model"
    if choice.selector:
        what += f", or one at the input size of the selector {choice.selector}"
    return f"{what}."
