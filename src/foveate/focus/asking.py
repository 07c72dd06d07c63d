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

from foveate.budget import Ledger
from foveate.focus.allowance import Allowance, allow, tiles_of
from foveate.focus.choosing import by_answers, by_selector
from foveate.focus.eye import Eye
from foveate.focus.feed import Feed, arranged, masked, painted, told
from foveate.focus.inquiry import Inquiry, check_choice, need_answers
from foveate.focus.looking import look_allowance
from foveate.focus.modes.base import need_room, windows_of
from foveate.focus.modes.judged import fewer, first_cells, release, set_aside
from foveate.focus.outcome import Outcome
from foveate.focus.partition import cell_count
from foveate.focus.question import Asked
from foveate.focus.viewer import Viewer
from foveate.grid import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.focus.choosing import Choice
    from foveate.focus.eye import Work
    from foveate.focus.memory import Memory
    from foveate.focus.plan import Plan
    from foveate.models.capabilities import Model
    from foveate.raster import Source, SourceInfo

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
    check_choice(inquiry, plan, selector is not None)
    need_answers(model, selector is not None)
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
