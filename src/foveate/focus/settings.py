"""`FocusJob` and what the three commands add to it: the only configuration of a focus run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from foveate.budget import Budget
from foveate.errors import BudgetError, ParameterError
from foveate.focus.feed import Feed  # noqa: TC001  (pydantic reads it)
from foveate.focus.goals import Goal, find_goal, need_query
from foveate.focus.inquiry import Inquiry
from foveate.focus.plan import Mode, Partition, Plan
from foveate.focus.refine import Rules
from foveate.focus.score import Neighbours  # noqa: TC001  (pydantic reads it)
from foveate.focus.search import Search  # noqa: TC001  (pydantic reads it)
from foveate.models.load import load_model
from foveate.models.settings import ClassSettings
from foveate.pool.settings import PathText  # noqa: TC001  (pydantic reads it)

if TYPE_CHECKING:
    from foveate.models.base import ModelHandle

_NOT_OF_THE_RESULT = {"images", "workers", "batch_size", "device"}


class FocusJob(ClassSettings):
    """What all focus runs depend on; stored in ``run.json``.

    Images are looked at one by one; each may have any size.

    Attributes:
        tile: None: images are not cut beforehand.
        goal: What for; see `foveate.focus.goals.GOALS`.
        query: What is looked for, as a text.
        mode: How to pay: "zoom", "window" or "feature".
        regions: Most regions that are chosen.
        passes: Most passes of the model for one image; None for a third of those that tiling
            takes, 24 at least; 0 for no limit.
        area: Largest area of the regions, "10%" of the valid image; None without a limit.
        cells: Cells of the first partition along the longer side.
        crop: Side of a crop in pixels of the image; None for that of the model's input.
        partition: First partition, "uniform" or "significance".
        search: "top", "prefix", "greedy" or "importance".
        neighbours: Regions that Eq. 6 compares: "adjacent" or "all".
        branch: Children of a cell per side.
        depth: Levels below the first partition; None for as many as the rules allow.
        persist: Whether to go on when refining no longer helps; None for what the mode does.
        epsilon: Limit of the coreset check.
        one_sided: Whether a loss below the image's always passes it.
        robust: Whether to measure the robustness; None where it is cheap.
        forms: Forms of the goal to replace (utility, divergence, density, synergy, answer,
            coarse, guard), and ``weights.NAME``; see `foveate.focus.goals.Goal`.
    """

    task: ClassVar[str]
    # An image is looked at whole and without masks, in this process.
    absent = frozenset({
        "masks", "mask_suffix", "classes", "min_labelled", "skip_empty", "coordinates", "tile",
        "stride", "edge",
        "workers",
    })  # fmt: skip
    tile: None = None
    goal: str = "balanced"
    query: str = ""
    mode: Mode = "zoom"
    regions: int = Field(8, ge=1)
    passes: float | None = None
    area: str | None = None
    cells: int = Field(4, ge=1)
    crop: int | None = Field(None, ge=8)
    partition: Partition = "uniform"
    search: Search = "top"
    neighbours: Neighbours = "adjacent"
    branch: int = Field(2, ge=2)
    depth: int | None = Field(None, ge=0)
    persist: bool | None = None
    epsilon: float = Field(0.98, gt=0)
    one_sided: bool = False
    robust: bool | None = None
    forms: dict[str, Any] = Field(default_factory=dict)

    def found_goal(self) -> Goal:
        """Return the goal with its forms.

        Raises:
            UnknownNameError: No such goal.
            ParameterError: No such form or weight, or a query for a goal that asks for nothing.
        """
        goal = find_goal(self.goal)
        need_query(goal, self.query)
        weights = {
            name.removeprefix("weights."): value
            for name, value in self.forms.items()
            if name.startswith("weights.")
        }
        forms = {k: v for k, v in self.forms.items() if not k.startswith("weights.")}
        return goal.with_options(weights=weights, **forms)

    def plan(self) -> Plan:
        """Return how to look.

        Raises:
            FoveateError: A goal, form, budget or size that cannot be.
        """
        rules = Rules(
            regions=self.regions, area=_share(self.area), search=self.search,
            near=self.neighbours, epsilon=self.epsilon, one_sided=self.one_sided,
            branch=self.branch, depth=self.depth, persist=self.persist, seed=self.seed,
        )  # fmt: skip
        return Plan(
            self.found_goal(), mode=self.mode, rules=rules, passes=self.passes, cells=self.cells,
            partition=self.partition, crop=self.crop, robust=self.robust,
            min_valid=self.min_valid, batch_size=self.batch_size,
        )  # fmt: skip

    def of_the_result(self) -> dict[str, Any]:
        """Return what the result for one image depends on, besides its pixels and the model."""
        return self.model_dump(mode="json", exclude=_NOT_OF_THE_RESULT)


class LookJob(FocusJob):
    """A run of ``focus look``: classes or a query, and a model that embeds."""

    task = "look"


class AskJob(FocusJob):
    """A run of ``focus ask``: a question in words to a generative model.

    Attributes:
        model: One that answers; there is no default, as few models do.
        regions: Each is an image of the last question, so that there are few.
        passes: Of all models together; None for 48, or what is needed if that is more, and
            what a selector has on top.
        prompt: The question.
        feed: How the regions are shown: "overview+crops" (one image each), "canvas" (packed in
            one image) or "mask" (the image, black outside of them, as the authors do).
        max_tokens: Longest answer.
        side: Longest side of an image that is shown; None for the model's input.
        selector: Another model that chooses the regions, or None for the generative one.
        selector_weights: Its local weights.
    """

    task = "ask"
    model: str = ""
    regions: int = Field(4, ge=1)
    prompt: str
    feed: Feed = "overview+crops"
    max_tokens: int = Field(64, ge=1)
    side: int | None = Field(None, ge=8)
    selector: str | None = None
    selector_weights: PathText | None = None

    def inquiry(self) -> Inquiry:
        """Return what is asked.

        Raises:
            ParameterError: An empty prompt.
        """
        return Inquiry(
            self.prompt, feed=self.feed, query=self.query.strip(), max_tokens=self.max_tokens,
            side=self.side,
        )  # fmt: skip

    def selector_handle(self) -> ModelHandle | None:
        """Return the selector by name, or None; see `load_model` for what is wrong with a name.

        Raises:
            ParameterError: Weights without a selector.
        """
        if self.selector is None:
            if self.selector_weights is not None:
                raise ParameterError(
                    "weights of a selector without a selector", "", "Type --selector MODEL."
                )
            return None
        return load_model(
            self.selector, weights=self.selector_weights, bands=self.bands,
            scale=tuple(self.scale) or None, device=self.device,
        )  # fmt: skip


class SegmentJob(FocusJob):
    """A run of ``focus segment``: masks of a model that takes boxes.

    Attributes:
        model: One that makes masks for boxes; there is no default, as few models do.
        mode: "feature" chooses by the overview alone; "zoom" encodes each cell.
    """

    task = "segment"
    absent = FocusJob.absent | {"query", "robust", "templates"}
    model: str = ""
    mode: Mode = "feature"


def _share(text: str | None) -> float:
    """Read a share of the area."""
    if text is None:
        return 1.0
    amount = Budget.parse({"area": text}).limits["area"]
    if not amount.share:
        raise BudgetError(f"an area of {text}", "It is a share of the image.", "Type --area 10%.")
    return amount.value
