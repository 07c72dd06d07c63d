"""What a look is for: a goal is a loss, the forms of the four scores, their weights, an answer.

Paper: "Advancing Complex Wide-Area Scene Understanding with Hierarchical Coresets Selection"
(HCS), section 4.1. The goal "paper" has the letter of Eq. 3, 5, 6 and 7, and Eq. 4 over an
estimate of its own; the search around them is ours. docs/focus.md says where it differs from the
paper's, where the letter picks the wrong regions, and why the other goals have other forms.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from foveate.errors import ParameterError, UnknownNameError
from foveate.focus.importance import GUARD
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

Utility = Literal["signed", "one_sided", "two_sided"]
Divergence = Literal["forward", "reverse", "js"]
Density = Literal["words", "kde"]
Synergy = Literal["marginal", "paper", "text"]
Answer = Literal["vote", "fused", "confident", "first"]
Coarse = Literal["native", "whole"]

PARTS = ("utility", "representativeness", "robustness", "synergy")


@dataclass(frozen=True)
class Weights:
    """How much each score counts in Eq. 7, and the area in Eq. 3.

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
    """What a look is for.

    Attributes:
        name: "balanced", "rare", ...
        losses: Name of a loss (see `foveate.focus.losses.LOSSES`) -> its share. Names that need
            classes are left out where there are none; see `bare`.
        bare: The same for a model without classes.
        utility: Form of Eq. 3. "signed": a lower loss than the whole image's is better still;
            "one_sided": only a higher one is worse; "two_sided": any difference is (the paper).
        divergence: Direction of Eq. 4. "forward": KL(region || image), the paper's; "reverse"
            punishes what a region lacks; "js" is the symmetric one.
        density: What Eq. 4 compares: histograms of visual "words", or a kernel density ("kde").
        synergy: Form of Eq. 6. "marginal": what a region adds once its neighbour is gone;
            "paper": the formula; "text": the sentence below it.
        weights: See `Weights`.
        answer: What the prediction is made of. "vote": every tile that was seen votes with the
            square root of the area that it stands for; "fused": the mean of the chosen regions;
            "confident": the chosen region whose label is the surest; "first": the most
            important region.
        coarse: How the mode "zoom" sees a cell that is larger than a crop: one crop of it at
            native resolution, or the "whole" of it, squeezed.
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
        weights=_SEARCH, answer="first", coarse="whole",
    ),
    "dominant": Goal("dominant", {"soft_label": 1.0}, {"likeness": 1.0}),
    "query": Goal(
        "query", {"query": 1.0}, {"query": 1.0},
        weights=_SEARCH, answer="first", coarse="whole",
    ),
    "paper": Goal(
        "paper", {"pseudo_label": 1.0}, {"likeness": 1.0}, utility="two_sided", density="kde",
        synergy="paper", answer="fused", coarse="whole", guard=0.0,
    ),
}  # fmt: skip
"""Goal by name; what each is good for stands in docs/focus.md."""


def no_query() -> ParameterError:
    """Return the error of a goal that has nothing to look for."""
    return ParameterError("the goal 'query' without a text", "", 'Type --query "storage tank".')


def need_query(goal: Goal, query: str) -> None:
    """Refuse the goal "query" without a query.

    Raises:
        ParameterError: There is none.
    """
    if goal.name == "query" and not query.strip():
        raise no_query()


def need_loss(goal: Goal, *, classes: bool) -> None:
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
