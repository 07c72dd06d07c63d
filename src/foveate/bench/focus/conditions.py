"""One way to look at scenes: a method with its settings, a budget, a model and a set of scenes."""

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
    """What is measured.

    Attributes:
        method: Name of the method.
        passes: Most passes; infinity for no limit.
        told: Whether the method is told what to find: the label of the scene.
        options: Settings of a look that are replaced, as JSON: see `condition`.
        model: Number of the model.
        scenes: Number of the set of scenes.
        part: Scenes that count: all, or every other one for choosing settings and for testing.
        curves: Whether insertion and deletion are measured: more passes than the method has.
        instead: What stands for its regions: windows of the same number and sizes, at random or
            where the overview is salient; "" for the regions themselves.
        hidden: Share of an image that is set to 0, in the table segmentation.
    """

    method: str
    passes: float = math.inf
    told: bool = False
    options: str = "{}"
    model: int = 0
    scenes: int = 0
    part: Part = "all"
    curves: bool = False
    instead: Instead = ""
    hidden: float = 0.0

    @property
    def work(self) -> str:
        """Tells apart what is done with a scene."""
        parts = [
            f"scenes-{self.scenes}", f"model-{self.model}", self.method, f"{self.passes:g}",
            "told" if self.told else "", "" if self.options == "{}" else self.options,
            "curves" if self.curves else "", self.instead,
            f"hidden-{self.hidden:g}" if self.hidden else "",
        ]  # fmt: skip
        return " ".join(part for part in parts if part)

    @property
    def name(self) -> str:
        """Tells conditions apart."""
        return self.work if self.part == "all" else f"{self.work} {self.part}"

    def function(self) -> Method:
        """Return what is called with a task."""
        options = json.loads(self.options)
        return with_options(self.method, options) if options else find_method(self.method)

    def counts(self, number: int) -> bool:
        """Say whether the scene of a number is among those that count."""
        return self.part == "all" or (number % 2 == 0) == (self.part == "val")


def options_of(**options: Any) -> str:
    """Return settings of a look as a condition holds them."""
    return json.dumps(options, sort_keys=True)
