"""`Recipe`: several strategies combined, stated once and checked when it is made."""

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
from foveate.registry import suggest
from foveate.select.combine import Combine, Scale

if TYPE_CHECKING:
    from foveate.curate.methods.base import Method

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Stratified:
    """Strata of equal width over the combined gain at the first step, which give a tile in turn.

    Zheng, Liu, Lai and Prakash 2023, "Coverage-centric Coreset Selection for High Pruning Rates":
    the hardest are left out, the rest is drawn evenly from all strata. Here the hardest come last.

    Attributes:
        strata: How many strata.
        drop: Share of the tiles, those of the largest combined gain, that come last.
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
            raise ParameterError(f"strata={self.strata!r}", "A whole number, at least 1.")
        check_number("drop", self.drop)
        if not 0 <= self.drop < 1:
            raise ParameterError(f"drop={self.drop!r}", "A share from 0 to below 1.", "drop=0.1")
        if self.within not in ("random", "gain"):
            raise ParameterError(f"within={self.within!r}", "Allowed: random, gain.")


@dataclass(frozen=True)
class Within:
    """First the tiles that another recipe ranks first, in the order of this one; then the rest.

    Attributes:
        recipe: The other recipe, the name of one, or the name of a method.
        keep: Share ("30%") or number of the tiles that it lets through.

    Raises:
        ParameterError: `keep` is neither, or the recipe has rules of its own.
        UnknownNameError: No such recipe or method.
    """

    recipe: Recipe | str
    keep: str | float = "50%"

    def __post_init__(self) -> None:
        """Find the recipe."""
        _check_inner(self)


@dataclass(frozen=True)
class After:
    """First the picks of another recipe, as many as stated; then this one goes on from them.

    Attributes:
        recipe: As for `Within`.
        keep: Share or number of tiles that it picks.

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
        name: Its name in runs and files: letters, digits, dots, hyphens and underscores.
        strategies: At least one.
        combine: "sum" of weight times value, or "product" of values to the power of their weights.
        scale: How gains are made comparable, see `foveate.select.combine`: "step", "first", or of
            a product "total".
        wrapper: What is done around the combination; None for nothing.
        rules: Rules that its selections keep besides those of the run.

    Raises:
        ParameterError: No strategy, all weights 0, a product with negative weights, a sum on the
            scale "total", or something that cannot be used.
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
                f"a recipe called {self.name!r}",
                "A name has letters, digits, dots, hyphens and underscores.",
                'For example name="balanced-cover".',
            )
        object.__setattr__(self, "strategies", tuple(self.strategies))
        if not self.strategies:
            raise ParameterError(
                f"the recipe {self.name!r} without a strategy", "At least one is combined."
            )
        _check_types(self.strategies, Strategy, "strategies")
        _check_types([self.rules], Rules, "rules")
        if self.wrapper is not None:
            _check_types([self.wrapper], (Stratified, Within, After), "wrapper")
        for name, allowed in (("combine", get_args(Combine)), ("scale", get_args(Scale))):
            if getattr(self, name) not in allowed:
                raise ParameterError(
                    f"{name}={getattr(self, name)!r}", f"Allowed: {', '.join(allowed)}.",
                    suggest(str(getattr(self, name)), allowed),
                )  # fmt: skip
        if self.scale == "total" and self.combine == "sum":
            raise ParameterError(
                "scale='total' with combine='sum'",
                "Totals have units of their own, which only a product leaves out.",
                "Use combine='product', or scale='first'.",
            )
        self._check_weights()

    def _check_weights(self) -> None:
        weights = [strategy.weight for strategy in self.strategies]
        if not any(weights):
            raise ParameterError(
                f"the recipe {self.name!r}, in which all weights are 0",
                "At least one strategy has to count.",
            )
        if self.combine == "product" and min(weights) < 0:
            raise ParameterError(
                f"combine='product' with the weight {min(weights):g}",
                "The weights of a product are powers of values from 0 to 1: at least 0.",
                "Turn the strategy round (order, or its options), or use combine='sum'.",
            )

    def __hash__(self) -> int:
        """Hash what it states."""
        return hash(digest(self.to_dict()))

    @property
    def inner(self) -> Recipe | None:
        """The recipe that its wrapper names, if there is one."""
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
        """Return what it states, JSON-ready; `foveate.curate.recipes.recipe_from` reads it."""
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
    """Return how many tiles a recipe in a wrapper lets through.

    Raises:
        ParameterError: It is no share and no whole number.
    """
    try:
        found = Budget.parse({"tiles": str(keep)}).limits["tiles"]
    except BudgetError:
        found = Amount(0.5)
    if isinstance(keep, bool) or (not found.share and found.value != int(found.value)):
        raise ParameterError(
            f"keep={keep!r}", "A share of the tiles, or a whole number of them.",
            'For example keep="30%", or keep=500.',
        )  # fmt: skip
    return found


def _check_types(values: Any, kind: type | tuple[type, ...], name: str) -> None:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    for value in values:
        if not isinstance(value, kinds):
            raise ParameterError(
                f"{name} holds {value!r}",
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
            f"the recipe {found.name!r} inside another one, with rules",
            "Rules hold for a whole selection.",
            "State them in the outer recipe, or for the run.",
        )
