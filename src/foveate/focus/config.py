"""Configuration of a look: what it is for (`Goal`), how it is paid and searched, what it may cost.

Paper: "Advancing Complex Wide-Area Scene Understanding with Hierarchical Coresets Selection"
(HCS), section 4.1. The goal "paper" has the letter of Eq. 3 to 7, of appendix D and of the search
of section 4.2 (`foveate.focus.levels`). docs/focus.md says where the letter picks the wrong
regions, and why the other goals have other forms and another search.

Where the user states no passes, a look may spend a third of those that tiling takes: with fewer,
a wide image is a lottery; with more, all of it can be shown. Passes count pixels, so that crops
of few pixels cost next to nothing and passes do not limit their number; each is read, shown and
compared all the same. Hence a second limit, on crops: as many as the passes would pay for if each
were a whole crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from foveate.budget import Budget, Ledger
from foveate.errors import BudgetError, ParameterError, UnknownNameError
from foveate.focus.importance import GUARD, perturb
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.focus.importance import Perturbation


Utility = Literal["signed", "one_sided", "two_sided"]

Divergence = Literal["forward", "reverse", "js"]

Density = Literal["words", "kde", "samples"]

Synergy = Literal["marginal", "paper", "text"]

Answer = Literal["vote", "fused", "confident", "first"]

Coarse = Literal["native", "whole", "pyramid"]

PARTS = ("utility", "representativeness", "robustness", "synergy")


_UNITS = ("regions", "tiles", "passes", "area")


@dataclass(frozen=True)
class Weights:
    """Weights of the scores in Eq. 7, and of the area in Eq. 3.

    Attributes:
        area: lambda of Eq. 3.
        representativeness: lambda_re of Eq. 7; 0 where it is not measured.
        robustness: lambda_ro of Eq. 7; 0 saves the passes that measuring it takes.
        synergy: lambda_sy of Eq. 7.
    """

    area: float = 0.7
    representativeness: float = 0.7
    robustness: float = 0.65
    synergy: float = 0.8

    def __post_init__(self) -> None:
        """Check that no weight is negative."""
        for name, value in vars(self).items():
            if not (isinstance(value, int | float) and 0 <= value < float("inf")):
                raise ParameterError(f"a weight {name}={value!r}", "Weights are numbers from 0.")


@dataclass(frozen=True)
class Goal:
    """Objective of a look: losses, forms of the scores, weights, kind of answer.

    Attributes:
        name: "balanced", "rare", ...
        losses: Name of a loss (see `foveate.focus.losses.LOSSES`) -> its share. Names that need
            classes are left out where there are none; see `bare`.
        bare: The same for a model without classes.
        utility: Form of Eq. 3. "signed": a lower loss than the whole image's is better still;
            "one_sided": only a higher one is worse; "two_sided": any difference is (the paper).
        divergence: Direction of Eq. 4. "forward": KL(region || image), the paper's; "reverse"
            punishes what a region lacks; "js" is the symmetric one.
        density: What Eq. 4 compares: histograms of visual "words", a kernel density ("kde"), or its
            values at all "samples" (appendix D).
        synergy: Form of Eq. 6. "marginal": what a region adds once its neighbour is gone;
            "paper": the formula; "text": the sentence below it.
        weights: See `Weights`.
        answer: What the prediction is made of. "vote": every tile that was seen votes, and
            divides its vote among the classes, see `foveate.focus.question.answers`; "fused": the
            mean of the chosen regions; "confident": the chosen region whose label is the surest;
            "first": the most important region.
        coarse: How the mode "zoom" goes from coarse to fine. "native": one crop at native
            resolution stands for a cell that is larger; "whole": all of it, squeezed; "pyramid":
            cells of the size of a crop are all seen, at a quarter of the side of the model's
            input, and the best of them sharper: see `foveate.focus.pyramid`.
        guard: Added to L(X) where losses are relative to it, so that nothing is divided by 0; see
            `foveate.focus.importance.utility`. 0 in the goal "paper", whose formulas have none:
            it is refused where L(X) always is 0, that is, without classes.
    """

    name: str
    losses: Mapping[str, float]
    bare: Mapping[str, float]
    utility: Utility = "signed"
    divergence: Divergence = "forward"
    density: Density = "words"
    synergy: Synergy = "marginal"
    weights: Weights = field(default_factory=Weights)
    answer: Answer = "vote"
    coarse: Coarse = "native"
    guard: float = GUARD

    def __post_init__(self) -> None:
        """Check the guard.

        Raises:
            ParameterError: It is no number from 0.
        """
        if not (isinstance(self.guard, int | float) and 0 <= self.guard < float("inf")):
            raise ParameterError(f"guard={self.guard!r}", "A guard is a loss: a number from 0.")

    def with_options(self, **options: Any) -> Goal:
        """Return the goal with some of its forms replaced; None leaves one as it is.

        Args:
            options: Any of `utility`, `divergence`, `density`, `synergy`, `answer`, `coarse` and
                `guard`; `weights` as a mapping of names to numbers.

        Raises:
            ParameterError: No such form or weight.
        """
        given = {name: value for name, value in options.items() if value is not None}
        weights = given.pop("weights", None) or {}
        for name, value in given.items():
            if name not in (*_FORMS, "guard"):
                raise ParameterError(
                    f"a goal has no {name!r}", f"It has: {', '.join(_FORMS)}, guard."
                )
            if name in _FORMS and value not in _FORMS[name]:
                raise ParameterError(f"{name}={value!r}", f"Allowed: {', '.join(_FORMS[name])}.")
        known = vars(self.weights)
        for name in weights:
            if name not in known:
                raise ParameterError(f"a weight {name!r}", f"Allowed: {', '.join(known)}.")
        return replace(self, weights=replace(self.weights, **weights), **given)


_FORMS: dict[str, tuple[str, ...]] = {
    "utility": get_args(Utility),
    "divergence": get_args(Divergence),
    "density": get_args(Density),
    "synergy": get_args(Synergy),
    "answer": get_args(Answer),
    "coarse": get_args(Coarse),
}
# What is looked for is not what is typical of the scene, and need not complete its neighbours.
_SEARCH = Weights(representativeness=0.0, synergy=0.0)

GOALS: dict[str, Goal] = {
    "balanced": Goal("balanced", {"soft_label": 1.0, "entropy": 0.5}, {"likeness": 1.0}),
    "rare": Goal(
        "rare", {"novelty": 1.0, "entropy": 0.5}, {"novelty": 1.0},
        weights=_SEARCH, answer="first", coarse="pyramid",
    ),
    "dominant": Goal("dominant", {"soft_label": 1.0}, {"likeness": 1.0}),
    "query": Goal(
        "query", {"query": 1.0}, {"query": 1.0},
        weights=_SEARCH, answer="first", coarse="pyramid",
    ),
    "paper": Goal(
        "paper", {"pseudo_label": 1.0}, {"likeness": 1.0}, utility="two_sided",
        density="samples", synergy="paper", answer="fused", coarse="whole", guard=0.0,
    ),
}  # fmt: skip

"""Goal by name; what each is good for stands in docs/focus.md."""


def missing_query() -> ParameterError:
    """Return the error of a goal that has nothing to look for."""
    return ParameterError("the goal 'query' without a text", "", 'Type --query "storage tank".')


def check_query(goal: Goal, query: str) -> None:
    """Refuse the goal "query" without a query.

    Raises:
        ParameterError: There is none.
    """
    if goal.name == "query" and not query.strip():
        raise missing_query()


def check_loss(goal: Goal, *, classes: bool) -> None:
    """Refuse a goal whose relative losses would be divided by an L(X) that always is 0.

    Raises:
        ParameterError: The likeness to the image itself, and no guard.
    """
    losses = goal.losses if classes else goal.bare
    if not goal.guard and set(losses) == {"likeness"}:
        raise ParameterError(
            f"the goal {goal.name!r} without classes",
            "Its loss then is the likeness to the image, which is 0 for the image itself, and "
            "Eq. 3 divides by that.",
            "Type --labels or --probe; or state what stands in its place, which is not the "
            "paper's: --option guard=0.05.",
        )


def find_goal(name: str) -> Goal:
    """Return a goal by name.

    Raises:
        UnknownNameError: There is no such goal, with a suggestion.
    """
    if name not in GOALS:
        raise UnknownNameError(
            f"there is no goal {name!r}", f"Goals: {', '.join(GOALS)}.", suggest(name, GOALS)
        )
    return GOALS[name]


@dataclass(frozen=True)
class SearchConfig:
    """Configuration of the search for regions.

    Attributes:
        regions: Largest number of chosen regions, K.
        area: Largest area of them as a share of the valid image.
        method: See `foveate.focus.search.choose`.
        neighbours: Which regions Eq. 6 calls neighbours.
        epsilon: Limit of the coreset check.
        one_sided: Whether a lower loss than the image's always meets it.
        branch: Children of a cell per side.
        explore: Share of the passes up to which the largest cells are cut first, then the most
            important of all. Only where refining goes on until the passes are spent. None for 1
            where a look takes an even sample (`foveate.focus.refine`), else 0.75. In a pyramid
            the rest is kept for crops at native resolution.
        depth: Levels below the first partition; None for as many as the stopping rules allow.
        persist: Whether refining goes on although it no longer raises the importance; None for
            what the mode does.
        seed: Of ties, k-means and samples.
    """

    regions: int = 8
    area: float = 1.0
    method: SearchMethod = "top"
    neighbours: Neighbours = "adjacent"
    epsilon: float = 0.98
    one_sided: bool = False
    branch: int = 2
    explore: float | None = None
    depth: int | None = None
    persist: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            BudgetError: No region, or no area.
            ParameterError: A value that cannot be.
        """
        if self.regions < 1:
            raise BudgetError(f"{self.regions} regions", "One or more can be chosen.")
        if not 0 < self.area <= 1:
            raise BudgetError(f"an area of {self.area:.4g}", "A share is above 0 and at most 1.")
        for name, allowed in (("method", SEARCH_METHODS), ("neighbours", NEIGHBOURS)):
            if getattr(self, name) not in allowed:
                raise ParameterError(
                    f"{name}={getattr(self, name)!r}", f"Allowed: {', '.join(allowed)}."
                )
        for name, least in (("branch", 2), ("depth", 0), ("epsilon", 0), ("explore", 0)):
            number = getattr(self, name)
            if number is not None and not number >= least:
                raise ParameterError(f"{name}={number}", f"It is {least} or more.")


SearchMethod = Literal["top", "prefix", "greedy", "importance"]

SEARCH_METHODS: tuple[SearchMethod, ...] = get_args(SearchMethod)

Neighbours = Literal["adjacent", "all"]

NEIGHBOURS: tuple[Neighbours, ...] = get_args(Neighbours)

Mode = Literal["zoom", "window", "feature"]

Partition = Literal["uniform", "significance"]

MODES: tuple[Mode, ...] = get_args(Mode)

PARTITIONS: tuple[Partition, ...] = get_args(Partition)


@dataclass(frozen=True)
class FocusConfig:
    """Configuration of a look at an image.

    Attributes:
        goal: What for.
        mode: "zoom" (crops at native resolution), "window" (cells at the overview's
            resolution) or "feature" (the tokens of one overview).
        search: How the search goes, and how many regions it may choose.
        passes: Most passes of the model, the overview included; None for a third of those that
            tiling takes, 24 at least (see `foveate.focus.config`); 0 for no limit.
        cells: N_p, cells of the first partition along the longer side of the image; 4 in the paper.
        partition: "uniform", or "significance": finer where the overview's tokens stand out.
        crop: Side of a crop in pixels of the image; None for that of the model's input.
        robust: Whether to measure the robustness of Eq. 5. None for the modes in which it is
            cheap, "feature" and "window", and for the goal "paper".
        min_valid: Smallest valid share of a cell.
        batch_size: Images per call of the model; no result depends on it.
        disturb: The perturbation of Eq. 5.

    Raises:
        ParameterError: A value that cannot be.
        BudgetError: Less than one pass, or no region.
    """

    goal: Goal
    mode: Mode = "zoom"
    search: SearchConfig = field(default_factory=SearchConfig)
    passes: float | None = None
    cells: int = 4
    partition: Partition = "uniform"
    crop: int | None = None
    robust: bool | None = None
    min_valid: float = 0.5
    batch_size: int = 32
    disturb: Perturbation = perturb

    def crop_side(self, shape: tuple[int, int]) -> int:
        """Return the side of a crop, for a model whose input has that ``(height, width)``."""
        return self.crop or max(shape)

    def __post_init__(self) -> None:
        """Check the values."""
        for name, value, allowed in (
            ("mode", self.mode, MODES), ("partition", self.partition, PARTITIONS)
        ):  # fmt: skip
            if value not in allowed:
                raise ParameterError(f"{name}={value!r}", f"Allowed: {', '.join(allowed)}.")
        for name, least in (("cells", 1), ("crop", 8), ("batch_size", 1)):
            number = getattr(self, name)
            if number is not None and number < least:
                raise ParameterError(f"{name}={number}", f"It is {least} or more.")
        if not 0 <= self.min_valid <= 1:
            raise ParameterError(f"min_valid={self.min_valid}", "A share is 0 to 1.")
        if self.passes and not self.passes >= 1:
            raise BudgetError(
                f"a budget of {self.passes:g} passes",
                "The overview alone takes one; 0 stands for no limit.",
                "Type --passes 24, or leave it out: then it follows from the size of the image.",
            )


LEAST_PASSES = 24  # passes: below that the first cells and a few crops do not find room

TILING_SHARE = 3  # of the passes that tiling takes, the part that a look may spend

MOST_CROPS = 4096  # of crops that cost less than a pass: comparing them takes time and memory


@dataclass(frozen=True)
class Allowance:
    """Limits on passes and crops of a look.

    Attributes:
        passes: Most passes; infinity for no limit.
        crops: Most images that are shown to the model; infinity for no limit.
        tiling: Passes that showing the model every crop of the image would take.
        first: Passes that the overview and the first cells take at most.
        most: Passes that the look cannot exceed whatever its budget; infinity where nothing but
            the budget limits it.
    """

    passes: float
    crops: float
    tiling: float
    first: float = 0.0
    most: float = math.inf

    @property
    def tiling_advised(self) -> bool:
        """Whether showing the model every crop costs no more than the look may."""
        return self.tiling <= min(self.passes, self.most)

    def ledger(self) -> Ledger:
        """Open the ledger of the look."""
        limits = {"passes": self.passes, "crops": self.crops}
        return Ledger({unit: limit for unit, limit in limits.items() if math.isfinite(limit)})

    def facts(self) -> dict[str, Any]:
        """Return the result's "passes_budget", "passes_tiling" and "tiling_advised"."""
        return {
            "passes_budget": round(self.passes, 6) if math.isfinite(self.passes) else None,
            "passes_tiling": round(self.tiling, 6),
            "tiling_advised": self.tiling_advised,
        }


def make_allowance(
    stated: float | None,
    tiling: float,
    *,
    crop: float = 1.0,
    least: float = LEAST_PASSES,
    extra: float = 0.0,
    first: float = 0.0,
    most: float = math.inf,
) -> Allowance:
    """Decide what a look may spend.

    Args:
        stated: Passes that the user stated; 0 for no limit, None for a third of `tiling`.
        tiling: Passes that tiling takes.
        crop: Passes that a whole, square crop takes.
        least: Passes that there are at least where the user states none.
        extra: Passes that are spent on something else than the search, besides that third.
        first: Passes without which there is no look.
        most: See `Allowance`.
    """
    if stated == 0:
        return Allowance(math.inf, math.inf, tiling, first, most)
    passes = stated
    if passes is None:
        passes = float(max(least, math.ceil(tiling / TILING_SHARE + extra), math.ceil(first)))
    crops = math.ceil(passes / min(crop, 1.0))
    return Allowance(passes, max(math.ceil(passes), min(crops, MOST_CROPS)), tiling, first, most)


def tile_count(shape: tuple[int, int], side: int) -> int:
    """Return the number of crops of a side that cover an image of ``(height, width)``."""
    return -(-shape[0] // side) * -(-shape[1] // side)


def announcement(allowances: Mapping[str, Allowance], instead: str = "") -> str:
    """Say what looks may cost before they start.

    Args:
        allowances: Image -> what its look may spend; one at least.
        instead: The command that shows all of an image, or "".
    """
    may = sum(one.passes for one in allowances.values())
    tiling = sum(one.tiling for one in allowances.values())
    many = len(allowances) > 1
    name = f"{len(allowances)} images" if many else next(iter(allowances))
    limit = f"up to {_count(may)}" if math.isfinite(may) else "no limit of passes"
    text = f"{name}: {limit}; showing the model every crop takes {_count(tiling)}"
    advised = [name for name, one in allowances.items() if one.tiling_advised]
    if not advised:
        return f"{text}."
    what = "no more than that" if not many else f"no more than the look at {len(advised)} of them"
    return f"{text}, {what}" + (f": {instead} shows it all." if instead else ".")


def _count(passes: float) -> str:
    number = f"{passes:,.4g}" if passes < 1000 else f"{passes:,.0f}"
    return f"{number} pass" if number == "1" else f"{number} passes"


def budget_limits(
    budget: Mapping[str, float | str | None] | None,
) -> tuple[dict[str, Any], float | None]:
    """Read a budget: what the search gets of it, and the passes.

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
