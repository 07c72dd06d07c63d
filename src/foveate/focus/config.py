"""Configuration of a look: objective (`Goal`), mode and search. The budget is in `allowance`.

Paper: "Advancing Complex Wide-Area Scene Understanding with Hierarchical Coresets Selection"
(HCS), section 4.1. The goal "paper" implements Eq. 3 to 7, appendix D and the search of section
4.2 (`foveate.focus.levels`) literally. docs/focus.md explains where the literal formulas select
the wrong regions, and why the other goals use other forms and another search.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from foveate.errors import BudgetError, ParameterError
from foveate.focus.importance import GUARD, perturb
from foveate.registry import check_choice, unknown_name

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


@dataclass(frozen=True)
class Weights:
    """Weights of the scores in Eq. 7, and of the area in Eq. 3.

    Attributes:
        area: lambda of Eq. 3.
        representativeness: lambda_re of Eq. 7; 0 if the score is not computed.
        robustness: lambda_ro of Eq. 7; 0 saves the passes of the perturbed views.
        synergy: lambda_sy of Eq. 7.
    """

    area: float = 0.7
    representativeness: float = 0.7
    robustness: float = 0.65
    synergy: float = 0.8

    def __post_init__(self) -> None:
        """Check that all weights are finite and not negative."""
        for name, value in vars(self).items():
            if not (isinstance(value, int | float) and 0 <= value < float("inf")):
                raise ParameterError(
                    f"weights.{name}={value!r}", "Weights must be finite numbers of at least 0."
                )


@dataclass(frozen=True)
class Goal:
    """Objective of a look: losses, forms of the scores, weights, aggregation of predictions.

    Attributes:
        name: "balanced", "rare", ...
        losses: Weights of the losses by name (see `foveate.focus.losses.LOSSES`), for a model
            with classes.
        bare: Weights of the losses for a model without classes.
        utility: Form of Eq. 3. "signed": a loss below that of the whole image raises the score;
            "one_sided": only a higher loss lowers it; "two_sided": any difference lowers it (the
            paper).
        divergence: Direction of Eq. 4. "forward": KL(region || image), as in the paper; "reverse"
            penalises features that the region does not contain; "js" is Jensen-Shannon.
        density: Densities that Eq. 4 compares: histograms of visual "words", a kernel density
            ("kde"), or its values at all "samples" (appendix D).
        synergy: Form of Eq. 6. "marginal": the loss added by removing the region once its
            neighbour is removed; "paper": the formula; "text": the sentence below it.
        weights: See `Weights`.
        answer: Aggregation of the predictions. "vote": every encoded tile divides its vote among
            the classes, see `foveate.focus.question.answers`; "fused": mean feature of the
            selected regions; "confident": the selected region with the highest probability;
            "first": the most important region.
        coarse: View of cells larger than a crop in the mode "zoom". "native": one crop at native
            resolution; "whole": the whole cell, downsampled; "pyramid": all cells have the size
            of a crop and are encoded at a quarter of the side of the model's input, the best of
            them again at higher resolution: see `foveate.focus.pyramid`.
        guard: Added to L(X) in the denominator of relative losses to avoid a division by 0; see
            `foveate.focus.importance.utility`. 0 in the goal "paper", as in the formulas; that
            goal is rejected if L(X) always is 0, that is, without classes.
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
            ParameterError: It is not a finite number of at least 0.
        """
        if not (isinstance(self.guard, int | float) and 0 <= self.guard < float("inf")):
            raise ParameterError(
                f"guard={self.guard!r}", "It is a loss: a finite number of at least 0."
            )

    def with_options(self, **options: Any) -> Goal:
        """Return the goal with some of its options replaced; None keeps the current value.

        Args:
            options: Any of `utility`, `divergence`, `density`, `synergy`, `answer`, `coarse` and
                `guard`; `weights` as a mapping of names to numbers.

        Raises:
            ParameterError: An unknown option, form or weight.
        """
        given = {name: value for name, value in options.items() if value is not None}
        weights = given.pop("weights", None) or {}
        for name, value in given.items():
            if name not in (*_FORMS, "guard"):
                raise ParameterError(
                    f"unknown option {name!r} of a goal", f"Allowed: {', '.join(_FORMS)}, guard."
                )
            if name in _FORMS:
                check_choice(name, value, _FORMS[name])
        known = vars(self.weights)
        for name in weights:
            if name not in known:
                raise ParameterError(f"unknown weight {name!r}", f"Allowed: {', '.join(known)}.")
        return replace(self, weights=replace(self.weights, **weights), **given)


_FORMS: dict[str, tuple[str, ...]] = {
    "utility": get_args(Utility),
    "divergence": get_args(Divergence),
    "density": get_args(Density),
    "synergy": get_args(Synergy),
    "answer": get_args(Answer),
    "coarse": get_args(Coarse),
}
# The target of a search is not typical of the scene and need not complement its neighbours.
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

"""Goals by name; docs/focus.md describes their uses."""


def missing_query() -> ParameterError:
    """Return the error for the goal "query" without a query text."""
    return ParameterError("the goal 'query' needs a query", "", 'Type --query "storage tank".')


def check_query(goal: Goal, query: str) -> None:
    """Check that the goal "query" has a query.

    Raises:
        ParameterError: The query is empty.
    """
    if goal.name == "query" and not query.strip():
        raise missing_query()


def check_loss(goal: Goal, *, classes: bool) -> None:
    """Check that the relative losses of a goal are not divided by an L(X) that always is 0.

    Raises:
        ParameterError: The only loss is the likeness to the image, and the guard is 0.
    """
    losses = goal.losses if classes else goal.bare
    if not goal.guard and set(losses) == {"likeness"}:
        raise ParameterError(
            f"the goal {goal.name!r} needs classes",
            "Without classes its loss is the likeness to the image, which is 0 for the image "
            "itself, and Eq. 3 divides by it.",
            "Type --labels or --probe; or add a constant to the denominator, in deviation from "
            "the paper: --option guard=0.05.",
        )


def find_goal(name: str) -> Goal:
    """Return a goal by name.

    Raises:
        UnknownNameError: The goal is unknown; the error suggests a name.
    """
    if name not in GOALS:
        raise unknown_name("goal", name, GOALS, "Goals")
    return GOALS[name]


@dataclass(frozen=True)
class SearchConfig:
    """Configuration of the search for regions.

    Attributes:
        regions: Maximum number of selected regions, K.
        area: Maximum area of the selected regions as a share of the valid image.
        method: See `foveate.focus.search.choose`.
        neighbours: Definition of neighbours in Eq. 6.
        epsilon: Threshold of the coreset check.
        one_sided: Whether a loss below that of the image always passes the coreset check.
        branch: Children of a cell per side.
        explore: Share of the passes up to which the largest cells are refined first; after it,
            the most important ones. Used only if refinement continues until the passes are
            spent. None: 1 if the look takes an even sample (`foveate.focus.refine`), else 0.75.
            In a pyramid the remaining passes are reserved for crops at native resolution.
        depth: Maximum level below the first partition; None: limited by the stopping rules only.
        persist: Whether refinement continues after it no longer raises the importance; None: the
            default of the mode.
        seed: Seed of ties, k-means and samples.
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
            BudgetError: The regions are fewer than 1, or the area is not in (0, 1].
            ParameterError: Another value is invalid.
        """
        if self.regions < 1:
            raise BudgetError(f"regions={self.regions}", "It must be at least 1.")
        if not 0 < self.area <= 1:
            raise BudgetError(f"area={self.area:.4g}", "It must be above 0 and at most 1.")
        check_choice("method", self.method, SEARCH_METHODS)
        check_choice("neighbours", self.neighbours, NEIGHBOURS)
        for name, least in (("branch", 2), ("depth", 0), ("epsilon", 0), ("explore", 0)):
            number = getattr(self, name)
            if number is not None and not number >= least:
                raise ParameterError(f"{name}={number}", f"It must be at least {least}.")


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
        goal: Objective.
        mode: "zoom" (crops at native resolution), "window" (cells at the overview's
            resolution) or "feature" (the tokens of one overview).
        search: Configuration of the search, with the maximum number of regions.
        passes: Maximum number of passes of the model, including the overview; None: a third of
            the passes of tiling, at least 24 (see `foveate.focus.allowance`); 0: no limit.
        cells: N_p, cells of the first partition along the longer side of the image; 4 in the paper.
        partition: "uniform", or "significance": finer where the overview's tokens stand out.
        crop: Side of a crop in pixels of the image; None: that of the model's input.
        robust: Whether to compute the robustness of Eq. 5. None: only in the modes in which it
            is cheap, "feature" and "window", and for the goal "paper".
        min_valid: Minimum valid share of a cell.
        batch_size: Images per call of the model; results do not depend on it.
        disturb: Perturbation of Eq. 5.

    Raises:
        ParameterError: A value is invalid.
        BudgetError: The passes are fewer than 1.
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
        """Return the side of a crop for a model with an input of ``(height, width)`` pixels."""
        return self.crop or max(shape)

    def __post_init__(self) -> None:
        """Check the values."""
        check_choice("mode", self.mode, MODES)
        check_choice("partition", self.partition, PARTITIONS)
        for name, least in (("cells", 1), ("crop", 8), ("batch_size", 1)):
            number = getattr(self, name)
            if number is not None and number < least:
                raise ParameterError(f"{name}={number}", f"It must be at least {least}.")
        if not 0 <= self.min_valid <= 1:
            raise ParameterError(f"min_valid={self.min_valid}", "It must be 0 to 1.")
        if self.passes and not self.passes >= 1:
            raise BudgetError(
                f"a budget of {self.passes:g} passes",
                "It must be at least 1, for the overview; 0 means no limit.",
                "Type --passes 24, or omit it: the default depends on the size of the image.",
            )
