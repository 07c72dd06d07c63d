"""`Strategy`: one part of a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from foveate.curate.methods.base import Method, get_method
from foveate.curate.recipes.kinds import KINDS, Kind
from foveate.errors import ParameterError
from foveate.registry import check_choice

Values = Literal["rank", "score"]
Order = Literal["high", "low"]


@dataclass(frozen=True)
class Strategy:
    """One part of a recipe: exactly one of a kind, a method, or a column.

    Attributes:
        kind: "coverage", "diversity", "balance" or "similarity", see `foveate.curate.recipes`.
        method: Name of a method of `curate`, whose ranking of the whole pool is a fixed score.
        column: Name of a numeric column, as a fixed score.
        weight: Weight in the combination; negative to penalise high scores.
        order: For columns: "high" for the largest first, "low" for the smallest.
        values: For methods and columns: "rank" for the place, 1 for the first and 1/n for the last
            (equal scores share their mean place), or "score" for the score from 0 to 1.
        options: Options of the kind or method.

    Raises:
        ParameterError: Not exactly one of the three is given, or an argument is invalid.
        UnknownNameError: The kind or method is unknown.
    """

    kind: str = ""
    method: str = ""
    column: str = ""
    weight: float = 1.0
    order: Order | None = None
    values: Values | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate the arguments, as far as possible without a pool."""
        named = {name: getattr(self, name) for name in ("kind", "method", "column")}
        for name, value in named.items():
            if not isinstance(value, str):
                raise ParameterError(f"{name}={value!r}", "Expected a name (str).")
        stated = [f"{name}={value!r}" for name, value in named.items() if value]
        if len(stated) != 1:
            raise ParameterError(
                "a strategy with " + (" and ".join(stated) or "neither kind, method nor column"),
                f"Exactly one of kind ({', '.join(KINDS)}), method or column is required.",
                "Split it into several strategies." if stated else 'For example kind="coverage".',
            )
        check_number("weight", self.weight)
        if not isinstance(self.options, Mapping):
            raise ParameterError(f"options={self.options!r}", "Expected option -> value.")
        self._check_fixed()
        if not self.column:
            self.chosen_options  # noqa: B018  (rejects unknown options)
        elif self.options:
            raise ParameterError(
                f"options={dict(self.options)!r} of the column {self.column!r}",
                "Columns have no options. Use order and values.",
            )

    def _check_fixed(self) -> None:
        """Reject arguments of fixed scores for other strategies."""
        for name, of, allowed in (
            ("order", bool(self.column), get_args(Order)),
            ("values", not self.gains, get_args(Values)),
        ):
            given = getattr(self, name)
            if given is not None and not of:
                raise ParameterError(
                    f"{name}={given!r} of {self.kind or self.method!r}",
                    f"It is an argument of {'columns' if name == 'order' else 'fixed scores'}.",
                    "Leave it out.",
                )
            if given is not None:
                check_choice(name, given, allowed)

    @property
    def gains(self) -> bool:
        """Whether its values change with each pick."""
        return bool(self.kind) and KINDS.get(self.kind).greedy

    @property
    def source(self) -> Kind | Method:
        """The kind or method of the strategy."""
        if self.kind:
            return KINDS.get(self.kind)
        return get_method(self.method or "column")

    @property
    def chosen_options(self) -> dict[str, Any]:
        """All options of the kind or method, defaults included."""
        if self.column:
            return {"name": self.column, "order": self.order or "high"}
        return self.source.options("default", self.options)

    def to_dict(self) -> dict[str, Any]:
        """Return the given arguments, JSON-ready."""
        found = {name: getattr(self, name) for name in ("kind", "method", "column") if
                 getattr(self, name)}  # fmt: skip
        found["weight"] = self.weight
        if self.order is not None:
            found["order"] = self.order
        if self.values is not None:
            found["values"] = self.values
        return {**found, "options": dict(self.options)} if self.options else found


def check_number(name: str, value: object) -> None:
    """Check that a value is a finite number.

    Raises:
        ParameterError: It is not a finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ParameterError(f"{name}={value!r}", "Expected a finite number.", f"{name}=0.5")
