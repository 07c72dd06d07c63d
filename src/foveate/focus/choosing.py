"""Who chooses the regions of a question: the generative model by its losses, or a selector."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import BudgetError, DataError
from foveate.focus.looking import look_allowance, look_at
from foveate.focus.modes.base import fewer_cells
from foveate.focus.modes.judged import UNMEASURED, CropField, by_losses
from foveate.focus.refine import Refinement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.focus.eye import Eye
    from foveate.focus.goals import Goal
    from foveate.focus.inquiry import Inquiry
    from foveate.focus.memory import Memory
    from foveate.focus.plan import Plan
    from foveate.focus.question import Asked
    from foveate.focus.refine import Found
    from foveate.focus.viewer import Viewer
    from foveate.grid import Tiles, Window
    from foveate.models.capabilities import Model

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
            `foveate.focus.looking.Look.query_found`. Of the generative model itself: whether it
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
        FoveateError: What `foveate.focus.looking.look_at` raises.
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
