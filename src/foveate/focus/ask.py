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
from foveate.focus.config import Allowance, allow, tiles_of
from foveate.focus.encode import Eye
from foveate.focus.judged import (
    UNMEASURED,
    CropField,
    by_losses,
    fewer,
    first_cells,
    release,
    set_aside,
)
from foveate.focus.look import look_allowance, look_at
from foveate.focus.partition import cell_count, windows_of
from foveate.focus.prompt_layout import Feed, arranged, masked, painted, told
from foveate.focus.question import Asked
from foveate.focus.refine import Refinement
from foveate.focus.results import Outcome
from foveate.focus.strategies import fewer_cells, need_room
from foveate.focus.vlm import Inquiry, Viewer, check_vlm, check_vlm_config
from foveate.grid import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.focus.config import Goal, Plan
    from foveate.focus.encode import Memory, Work
    from foveate.focus.refine import Found
    from foveate.grid import Tiles
    from foveate.models.capabilities import Model
    from foveate.raster import Source, SourceInfo


_HALF = 0.5  # likelihood of "Yes"

_EXISTS, _YES = "Is there {query} in this image? Answer yes or no.", "Yes"

_MEANING = {
    "balanced": "Regions are those that bear out the model's first answer, right or wrong.",
    "rare": "Rare is what the answer to the whole image does not fit; so are empty regions.",
    "query": "The loss of a region is that of 'Yes' to whether the query is in it.",
}


@dataclass(frozen=True)
class Choice:
    """Regions, whoever chose them.

    Attributes:
        goal: What for.
        mode: How it was paid.
        removal: What it means that a region is taken away.
        found: Frontier, scores, regions, and how the search ended.
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
    found: Found
    notes: tuple[str, ...]
    overview_loss: float | None = None
    losses: NDArray[np.float64] | None = None
    fit: NDArray[np.float64] | None = None
    full_fit: float | None = None
    unit: str = "probability"
    selector: str = ""
    selector_passes: float = 0.0
    query_found: bool | None = None


def by_answers(
    eye: Eye, viewer: Viewer, inquiry: Inquiry, plan: Plan, *, full: str, tiles: Tiles
) -> Choice:
    """Choose regions by the losses that the generative model gives.

    Args:
        eye: Its ledger holds what the search may take.
        viewer: Shows regions to the model.
        inquiry: What is asked.
        plan: How regions are chosen.
        full: The model's answer to the overview.
        tiles: The first cells, with measured shares of valid pixels.

    Raises:
        BudgetError: The passes do not reach for the first cells.
        DataError: The answer is empty.
    """
    goal = by_losses(plan.goal)
    prompt, answer = inquiry.prompt, full.strip()
    if goal.name == "query":
        prompt, answer = _EXISTS.format(query=inquiry.query.strip()), _YES
    if not answer:
        raise DataError(
            f"{eye.model.spec.name} has nothing to say of the overview",
            "Its own answer is what regions are judged by.",
            'Ask in other words, look for something: --query "storage tank", or let another '
            "model choose: --selector MODEL.",
        )
    overview_loss = float(viewer.judge([viewer.whole], prompt, answer)[0])
    known: dict[Window, float] = {}

    def judge(windows: Sequence[Window]) -> NDArray[np.float64]:
        losses = viewer.judge(windows, prompt, answer)
        known.update(zip(windows, losses.tolist(), strict=True))
        # What is rare contradicts what is said of the whole: there its likelihood is low.
        return np.exp(-losses) if goal.name == "rare" else losses

    field = CropField(plan.crop or viewer.crop, plan.rules.branch, viewer.prices, judge)
    found = Refinement(field, eye, goal, plan.rules).run(tiles)
    losses = np.array([known[window] for window in found.state.seen.windows])
    sought = goal.name == "query"
    surest = float(np.exp(-losses[found.state.chosen.rows].min()))
    return Choice(
        goal, field.name, field.removal, found, (UNMEASURED, _MEANING[goal.name]),
        overview_loss=overview_loss, losses=losses,
        fit=np.exp(-losses) if sought else None,
        full_fit=float(np.exp(-overview_loss)) if sought else None,
        query_found=surest > _HALF if sought else None,
    )  # fmt: skip


def by_selector(
    eye: Eye, selector: Model, asked: Asked, plan: Plan, *, scene: str, memory: Memory | None
) -> Choice:
    """Choose regions with another model, which embeds.

    Args:
        eye: Its ledger holds what the search may take; it is told what was taken.
        selector: A bound model that embeds.
        asked: Classes and query.
        plan: How regions are chosen.
        scene: Name of the image.
        memory: Vectors of earlier looks.

    Raises:
        FoveateError: What `foveate.focus.look.look_at` raises.
    """
    left = eye.ledger.left("passes")
    left = left if math.isfinite(left) else 0
    first = look_allowance(eye.source.info.shape, selector, plan).first
    try:
        look = look_at(
            eye.source, selector, asked, replace(plan, passes=left), scene=scene, memory=memory
        )
    except BudgetError as error:
        raise BudgetError(
            error.given,
            f"{error.allowed} That is what the answers leave of {plan.passes or 0:g} passes.",
            f"Type --passes {math.ceil((plan.passes or 0) - left + first)}"
            + fewer_cells(plan.cells)
            + ".",
        ) from error
    eye.pay(look.work.passes, look.work.images)
    for name in ("calls", "seconds", "remembered"):
        setattr(eye.work, name, getattr(eye.work, name) + getattr(look.work, name))
    return Choice(
        look.goal, look.mode, look.removal, look.found, look.notes,
        fit=look.fit, full_fit=look.full_fit, unit="probability" if look.said else "cosine",
        selector=selector.spec.name, selector_passes=look.passes, query_found=look.query_found,
    )  # fmt: skip


LEAST_ASKED = 48  # passes of a question, where none are stated


@dataclass(frozen=True)
class Asking:
    """What a question came to.

    Attributes:
        inquiry: What was asked.
        choice: The regions, and how they were chosen.
        prediction: The answer with the regions, by the feed.
        prediction_full: The answer from the overview alone.
        prediction_tile: The answer from the most important region alone; None where the passes
            did not reach for it.
        shown: ``(height, width)`` of the images of the feed, in pixels.
        told: The prompt of the feed.
        generated: Answers that were generated.
        judged: Losses of answers that were computed.
        work: What the models had to do.
        allowance: What they might do, and what judging every crop would take.
        notes: What the reader should know.
    """

    inquiry: Inquiry
    choice: Choice
    prediction: str
    prediction_full: str
    prediction_tile: str | None
    shown: tuple[tuple[int, int], ...]
    told: str
    generated: int
    judged: int
    work: Work
    allowance: Allowance
    notes: tuple[str, ...]

    @property
    def passes(self) -> float:
        """Passes of all models; see `foveate.focus.viewer`."""
        return self.work.passes

    @property
    def epsilon(self) -> float:
        """Relative difference of the loss of the regions from the image's, with its sign."""
        return self.choice.found.state.chosen.epsilon

    @property
    def windows(self) -> tuple[Window, ...]:
        """The chosen regions, the most important first."""
        return self.choice.found.windows


def ask_image(
    source: Source,
    model: Model,
    inquiry: Inquiry,
    plan: Plan,
    *,
    selector: Model | None = None,
    asked: Asked | None = None,
    scene: str = "image",
    memory: Memory | None = None,
) -> Asking:
    """Ask a generative model about one image.

    Args:
        source: The image, of any size: it is read by windows.
        model: A bound model that answers; one that cannot judge answers needs a selector.
        inquiry: What is asked, and how the regions are shown.
        plan: How regions are chosen. Its passes are those of all models together. Without a
            selector the mode is "zoom"; representativeness and robustness are not measured.
        selector: A bound model that embeds and chooses the regions, or None for `model` itself.
        asked: Classes and query for the selector.
        scene: Name of the image, for ids.
        memory: Vectors of earlier looks of the selector.

    Returns:
        The answers with and without regions, and the regions.

    Raises:
        MissingCapabilityError: The model cannot do what is asked; the message says what works.
        BudgetError: The passes do not reach, what the last answer takes included; or the area
            holds no region.
        ParameterError: A value that cannot be.
        DataError: The image is too small to choose from, or the model has nothing to say.
    """
    check_vlm_config(inquiry, plan, selector is not None)
    check_vlm(model, selector is not None)
    eye = Eye(
        source, model, Ledger({}), min_valid=plan.min_valid, batch_size=plan.batch_size,
        seed=plan.rules.seed,
    )  # fmt: skip
    viewer = Viewer(eye, inquiry.side)
    may = ask_allowance(source, model, inquiry, plan, selector=selector)
    first, end = float(viewer.prices([viewer.whole])[0]), "the last answer with the regions"
    reserve = _reserve(viewer, inquiry.feed, plan.rules.regions)
    if selector is None:
        crop = plan.crop or viewer.crop
        need_room(source.info.shape, crop)
        tiles = first_cells(eye, plan, scene, crop)
        first = 2 * first + float(viewer.prices(windows_of(tiles)).sum())
        start = f"An answer from the overview, its loss and those of {len(tiles)} cells"
        hint = fewer(plan.cells, plan.rules.regions)
    else:
        first += 1
        start, hint = (
            "An answer from the overview and that of the selector",
            fewer(1, plan.rules.regions),
        )
    set_aside(eye, may, reserve, first=first, start=start, end=end, hint=hint)
    overview = viewer.read(viewer.whole)
    full = viewer.answer([overview], inquiry.prompt, inquiry.max_tokens)
    if selector is None:
        choice = by_answers(eye, viewer, inquiry, plan, full=full, tiles=tiles)
    else:
        choice = by_selector(eye, selector, asked or Asked(), plan, scene=scene, memory=memory)
    release(eye, may)
    windows = choice.found.windows
    images, prompt = _fed(viewer, inquiry, windows, overview)
    said = viewer.answer(images, prompt, inquiry.max_tokens)
    tile = None
    if eye.ledger.can(passes=float(viewer.prices(windows[:1])[0])):
        tile = viewer.answer([viewer.read(windows[0])], inquiry.prompt, inquiry.max_tokens)
    return Asking(
        inquiry, choice, said, full, tile,
        tuple((int(image.shape[1]), int(image.shape[2])) for image in images), prompt,
        viewer.generated, viewer.judged, eye.work, may, (_pass_note(viewer, choice), *choice.notes),
    )  # fmt: skip


def ask_allowance(
    source: Source, model: Model, inquiry: Inquiry, plan: Plan, *, selector: Model | None = None
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
        plan: How regions are chosen.
        selector: A bound model that chooses them, or None for `model` itself.
    """
    viewer, shape = Viewer(Eye(source, model, Ledger({})), inquiry.side), source.info.shape
    reserve = _reserve(viewer, inquiry.feed, plan.rules.regions)
    overview = float(viewer.prices([viewer.whole])[0])
    if selector is not None:
        own = look_allowance(shape, selector, replace(plan, passes=None))
        ends = overview + reserve
        may = allow(plan.passes, own.tiling, least=LEAST_ASKED, first=own.passes + ends)
        return replace(may, crops=math.inf)  # the look of the selector limits them
    side = plan.crop or viewer.crop
    crop = float(viewer.prices([Window(0, 0, side, side)])[0])
    thin = float(viewer.prices([Window(0, 0, *(min(side, length) for length in shape))])[0])
    first = 2 * overview + cell_count(shape, plan.cells, side) * _dearest(viewer) + reserve
    stated = plan.passes
    if stated is None:
        stated = float(max(LEAST_ASKED, math.ceil(first)))
    return allow(stated, tiles_of(shape, side) * thin, crop=crop)


def of_asking(asking: Asking, scene: str, info: SourceInfo) -> Outcome:
    """Return the outcome of `ask_image`."""
    choice = asking.choice
    facts: dict[str, Any] = {
        "prediction": asking.prediction,
        "prediction_full": asking.prediction_full,
        "prediction_tile": asking.prediction_tile,
        "prompt": asking.inquiry.prompt,
        "feed": asking.inquiry.feed,
        "feed_prompt": asking.told,
        "feed_images": [list(shape) for shape in asking.shown],
        "generated": asking.generated,
        "judged": asking.judged,
        "overview_loss": choice.overview_loss,
        "selector": choice.selector or None,
        "selector_passes": round(choice.selector_passes, 6),
        **asking.allowance.facts(),
    }
    columns: dict[str, list[Any]] = {}
    if choice.losses is not None:
        columns["loss"] = choice.losses.tolist()
    if choice.fit is not None:
        columns["fit"] = choice.fit.tolist()
        best = float(choice.fit[choice.found.state.chosen.rows].max())
        facts["query"] = {
            "text": asking.inquiry.query, "full": choice.full_fit, "best": best,
            "unit": choice.unit,
        }  # fmt: skip
        facts["query_found"] = choice.query_found
    return Outcome(
        scene, info, choice.goal, choice.mode, choice.removal, choice.found, asking.work, facts,
        columns, asking.notes,
    )  # fmt: skip


def _reserve(viewer: Viewer, feed: Feed, regions: int) -> float:
    """Return the most that the last answer can take, in passes."""
    largest = _dearest(viewer)
    overview = float(viewer.prices([viewer.whole])[0])
    return overview if feed == "mask" else overview + regions * largest


def _dearest(viewer: Viewer) -> float:
    """Return the most that one image can take, in passes."""
    return viewer.price((viewer.side, viewer.side))


def _fed(
    viewer: Viewer, inquiry: Inquiry, windows: Sequence[Window], overview: NDArray[Any]
) -> tuple[list[NDArray[Any]], str]:
    """Return the images of the feed and its prompt."""
    shape = (viewer.whole.h, viewer.whole.w)
    if inquiry.feed == "mask":
        images = [masked(overview, windows, shape, viewer.black)]
        return images, told("mask", inquiry.prompt, windows, shape)
    if inquiry.feed == "overview+crops":
        images = [overview, *(viewer.read(window) for window in windows)]
        return images, told("overview+crops", inquiry.prompt, windows, shape)
    small = (int(overview.shape[1]), int(overview.shape[2]))
    # No dearer than overview and crops apart.
    most = small[0] * small[1] + len(windows) * viewer.standard[0] * viewer.standard[1]
    canvas = arranged(windows, small, most)
    crops = [
        viewer.read(window, (at.h, at.w)) for window, at in zip(windows, canvas.places, strict=True)
    ]
    image = painted(canvas, crops, overview, viewer.black)
    return [image], told("canvas", inquiry.prompt, windows, shape, canvas)


def _pass_note(viewer: Viewer, choice: Choice) -> str:
    """Say what a pass is here."""
    height, width = viewer.standard
    what = f"A pass is an image of {height} x {width} pixels shown to the generative model"
    if choice.selector:
        what += f", or one at the input size of the selector {choice.selector}"
    return f"{what}."
