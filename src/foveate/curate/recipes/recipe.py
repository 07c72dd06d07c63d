"""`Recipe`: a combination of strategies, validated when it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from foveate.budget import Amount, Budget
from foveate.curate.recipes.strategy import Strategy, check_number
from foveate.errors import BudgetError, ParameterError
from foveate.files import digest
from foveate.pool.rules import Rules
from foveate.registry import check_choice
from foveate.select.combine import Combine, Scale

if TYPE_CHECKING:
    from foveate.curate.methods.base import Method

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Stratified:
    """Select in turn from strata of equal width over the combined gain at the first step.

    Zheng, Liu, Lai and Prakash 2023, "Coverage-centric Coreset Selection for High Pruning Rates":
    the hardest tiles are left out, and the others are drawn equally from all strata. Deviation:
    the hardest tiles are not left out, but ranked last.

    Attributes:
        strata: Number of strata.
        drop: Share of the tiles that are ranked last, those with the largest combined gain.
        within: Order inside a stratum: "random", or "gain" for the largest combined gain first.

    Raises:
        ParameterError: One of them is out of range.
    """

    strata: int = 50
    drop: float = 0.0
    within: Literal["random", "gain"] = "random"

    def __post_init__(self) -> None:
        """Check the values."""
        if isinstance(self.strata, bool) or not isinstance(self.strata, int) or self.strata < 1:
            raise ParameterError(f"strata={self.strata!r}", "It must be a whole number above 0.")
        check_number("drop", self.drop)
        if not 0 <= self.drop < 1:
            raise ParameterError(
                f"drop={self.drop!r}", "It must be a share from 0 to below 1.", "drop=0.1"
            )
        check_choice("within", self.within, ("random", "gain"))


@dataclass(frozen=True)
class Within:
    """Rank the top tiles of another recipe first, in the order of this recipe; then the others.

    Attributes:
        recipe: The other recipe, its name, or the name of a method.
        keep: Share ("30%") or number of the top tiles of the other recipe.

    Raises:
        ParameterError: `keep` is invalid, or the other recipe has rules.
        UnknownNameError: The recipe or method is unknown.
    """

    recipe: Recipe | str
    keep: str | float = "50%"

    def __post_init__(self) -> None:
        """Find the recipe."""
        _check_inner(self)


@dataclass(frozen=True)
class After:
    """Take the first picks of another recipe, then continue with this recipe.

    Attributes:
        recipe: As for `Within`.
        keep: Share or number of picks of the other recipe.

    Raises:
        ParameterError: As for `Within`.
        UnknownNameError: As for `Within`.
    """

    recipe: Recipe | str
    keep: str | float = "1%"

    def __post_init__(self) -> None:
        """Find the recipe."""
        _check_inner(self)


Wrapper = Stratified | Within | After
WRAPPERS: dict[str, type[Wrapper]] = {"stratified": Stratified, "within": Within, "after": After}


@dataclass(frozen=True)
class Recipe:
    """A declarative combination of strategies, which ranks a pool like a method.

    Attributes:
        name: Name in runs and files: letters, digits, dots, hyphens and underscores.
        strategies: Strategies, at least one.
        combine: "sum" of weight times value, or "product" of values to the power of their weights.
        scale: Normalisation of gains, see `foveate.select.combine`: "step", "first", or for
            products "total".
        wrapper: Wrapper around the combination, or None.
        rules: Rules of its selections in addition to those of the run.

    Raises:
        ParameterError: There is no strategy, all weights are 0, a product has negative weights, a
            sum has the scale "total", or an argument is invalid.
    """

    name: str
    strategies: tuple[Strategy, ...]
    combine: Combine = "sum"
    scale: Scale = "step"
    wrapper: Wrapper | None = None
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        """Check the combination."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ParameterError(
                f"the recipe name {self.name!r}",
                "It must consist of letters, digits, dots, hyphens and underscores.",
                'For example name="balanced-cover".',
            )
        object.__setattr__(self, "strategies", tuple(self.strategies))
        if not self.strategies:
            raise ParameterError(
                f"the recipe {self.name!r} without a strategy", "At least one is required."
            )
        _check_types(self.strategies, Strategy, "strategies")
        _check_types([self.rules], Rules, "rules")
        if self.wrapper is not None:
            _check_types([self.wrapper], (Stratified, Within, After), "wrapper")
        check_choice("combine", self.combine, get_args(Combine))
        check_choice("scale", self.scale, get_args(Scale))
        if self.scale == "total" and self.combine == "sum":
            raise ParameterError(
                "scale='total' with combine='sum'",
                "Totals have different units, which only a product can combine.",
                "Use combine='product', or scale='first'.",
            )
        self._check_weights()

    def _check_weights(self) -> None:
        weights = [strategy.weight for strategy in self.strategies]
        if not any(weights):
            raise ParameterError(
                f"the recipe {self.name!r} with all weights 0",
                "At least one weight must differ from 0.",
            )
        if self.combine == "product" and min(weights) < 0:
            raise ParameterError(
                f"combine='product' with the weight {min(weights):g}",
                "The weights of a product are exponents and must be at least 0.",
                "Reverse the strategy (order, or its options), or use combine='sum'.",
            )

    def __hash__(self) -> int:
        """Return a hash of the content."""
        return hash(digest(self.to_dict()))

    @property
    def inner(self) -> Recipe | None:
        """The recipe of the wrapper, if there is one."""
        if not isinstance(self.wrapper, Within | After):
            return None
        found = self.wrapper.recipe
        return found if isinstance(found, Recipe) else None

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the arrays that its strategies need."""
        found = [need for one in self.strategies for need in one.source.needs]
        found += self.inner.needs if self.inner is not None else ()
        return tuple(dict.fromkeys(found))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that its strategies read."""
        found = [one.column for one in self.strategies if one.column]
        found += self.inner.columns if self.inner is not None else ()
        return tuple(dict.fromkeys(found))

    @cached_property
    def method(self) -> Method:
        """The recipe as a method of `curate`."""
        from foveate.curate.recipes.method import recipe_method

        return recipe_method(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the content, JSON-ready, for `foveate.curate.recipes.recipe_from`."""
        found: dict[str, Any] = {
            "name": self.name, "combine": self.combine, "scale": self.scale,
            "strategy": [one.to_dict() for one in self.strategies],
        }  # fmt: skip
        if self.wrapper is not None:
            kind = next(k for k, v in WRAPPERS.items() if isinstance(self.wrapper, v))
            stated = {**vars(self.wrapper), "kind": kind}
            if self.inner is not None:
                stated["recipe"] = self.inner.to_dict()
            found["wrapper"] = stated
        rules = {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in vars(self.rules).items() if value != getattr(Rules(), name)
        }  # fmt: skip
        return {**found, "rules": rules} if rules else found


def read_keep(keep: str | float) -> Amount:
    """Return the number of tiles that a wrapper keeps.

    Raises:
        ParameterError: It is neither a share nor a whole number.
    """
    try:
        found = Budget.parse({"tiles": str(keep)}).limits["tiles"]
    except BudgetError:
        found = Amount(0.5)
    if isinstance(keep, bool) or (not found.share and found.value != int(found.value)):
        raise ParameterError(
            f"keep={keep!r}", "It must be a share or a whole number of tiles.",
            'For example keep="30%", or keep=500.',
        )  # fmt: skip
    return found


def _check_types(values: Any, kind: type | tuple[type, ...], name: str) -> None:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    for value in values:
        if not isinstance(value, kinds):
            raise ParameterError(
                f"{name} contains {value!r}",
                f"Expected {' or '.join(one.__name__ for one in kinds)}.",
            )


def _check_inner(wrapper: Within | After) -> None:
    read_keep(wrapper.keep)
    found = wrapper.recipe
    if isinstance(found, str):
        from foveate.curate.recipes.builtin import get_recipe

        found = get_recipe(found)
        object.__setattr__(wrapper, "recipe", found)
    _check_types([found], Recipe, "recipe")
    if found.rules != Rules():
        raise ParameterError(
            f"the inner recipe {found.name!r} with rules",
            "Rules apply to a whole selection.",
            "Define them in the outer recipe, or for the run.",
        )
