"""Conditions of the benchmark: method with settings, budget, model and set of scenes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from foveate.bench.focus.methods import find_method
from foveate.bench.focus.methods.base import Method  # noqa: TC001
from foveate.bench.focus.methods.looks import with_options

Part = Literal["all", "val", "test"]
Instead = Literal["", "random", "salient"]


@dataclass(frozen=True)
class Condition:
    """A condition of a table.

    Attributes:
        method: Name of the method.
        passes: Maximum number of passes; infinity for no limit.
        with_query: Whether the method gets a query: the label of the scene.
        options: Settings that replace those of a look, as JSON: see `options_of`.
        model: Index of the model.
        scenes: Index of the set of scenes.
        part: Evaluated scenes: all, or every other one for validation and test.
        curves: Whether to compute insertion and deletion, with further passes.
        instead: Replacement of the regions by windows of the same number and sizes, at random or
            where the overview is salient; "" for no replacement.
        hidden: Share of an image that is set to 0, in the table segmentation.
    """

    method: str
    passes: float = math.inf
    with_query: bool = False
    options: str = "{}"
    model: int = 0
    scenes: int = 0
    part: Part = "all"
    curves: bool = False
    instead: Instead = ""
    hidden: float = 0.0

    @property
    def work(self) -> str:
        """Identifier of the processing of a scene."""
        parts = [
            f"scenes-{self.scenes}", f"model-{self.model}", self.method, f"{self.passes:g}",
            "told" if self.with_query else "", "" if self.options == "{}" else self.options,
            "curves" if self.curves else "", self.instead,
            f"hidden-{self.hidden:g}" if self.hidden else "",
        ]  # fmt: skip
        return " ".join(part for part in parts if part)

    @property
    def name(self) -> str:
        """Identifier of the condition."""
        return self.work if self.part == "all" else f"{self.work} {self.part}"

    def function(self) -> Method:
        """Return the method with its settings."""
        options = json.loads(self.options)
        return with_options(self.method, options) if options else find_method(self.method)

    def counts(self, number: int) -> bool:
        """Return whether the scene of an index is evaluated."""
        return self.part == "all" or (number % 2 == 0) == (self.part == "val")


def options_of(**options: Any) -> str:
    """Return settings of a look in the form of `Condition.options`."""
    return json.dumps(options, sort_keys=True)
