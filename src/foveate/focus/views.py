"""Features of cells whose losses come from elsewhere: what Eq. 4 and 5 compare.

A generative model judges a region by an answer, a segmenter by a mask; both also have a vision
encoder. Representativeness and robustness are computed from what that encoder makes of the cells,
in one of two ways. From the tokens of one overview, where the model gives tokens: a pass, and one
more view for the robustness, whatever the number of cells. Or from the vectors of the cells, where
it only embeds: a pass for each cell, and another for the robustness; so much only on demand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from foveate.focus.strategies import SMALL, FeatureStrategy, ZoomStrategy
from foveate.grid import Window
from foveate.models.capabilities import Embeds, GivesTokens, TakesSizes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from foveate.focus.config import FocusConfig, Goal
    from foveate.focus.encode import CropEncoder, SizedEncoder
    from foveate.focus.strategies import Strategy
    from foveate.models.capabilities import Model

Views = Literal["tokens", "crops", "none"]

_SIDE = 32  # most tokens along a side: the density of Eq. 4 compares each with all others


@dataclass(frozen=True)
class ViewPlan:
    """How the features of judged cells are obtained, decided before anything is paid.

    Attributes:
        kind: "tokens" of one overview, "crops" of the cells, or "none".
        goal: The goal with weight 0 for what is not measured.
        robust: Whether the robustness is measured.
        note: What the reader of the result should know; "" where neither score has a weight.
    """

    kind: Views
    goal: Goal
    robust: bool
    note: str

    @property
    def each(self) -> int:
        """Passes that each cell takes besides its loss, if it is as large as a crop."""
        return (1 + self.robust) * (self.kind == "crops")

    def first(self, sized: SizedEncoder) -> float:
        """Return the most passes that are paid before the first cell.

        Args:
            sized: The model at its standard size.
        """
        if self.kind != "tokens":
            return 0.0
        able = not sized.fixed or isinstance(sized.model, TakesSizes)
        return 1.0 + self.robust * (1 / SMALL**2 if able else 1.0)

    def open(self, encoder: CropEncoder, crop: int, branch: int) -> Strategy | None:
        """Return what gives the features of cells; None where none are measured.

        Args:
            encoder: Pays the overview, and later the cells.
            crop: Side of a crop in pixels of the image.
            branch: Children of a cell per side.

        Raises:
            BudgetError: The passes of the overview are not there.
        """
        if self.kind == "none":
            return None
        if self.kind == "crops":
            return ZoomStrategy(encoder, crop, "whole", branch, robust=self.robust)
        tokens = encoder.tokens(Window(0, 0, *encoder.source.info.shape))
        return FeatureStrategy(encoder, _at_most(tokens), branch, robust=self.robust)


def plan_views(model: Model, config: FocusConfig) -> ViewPlan:
    """Decide from what representativeness and robustness are computed.

    Args:
        model: A bound model; its losses come from answers or masks.
        config: Says what has a weight, and whether the robustness is wanted whatever it costs.
    """
    weights = config.goal.weights
    wanted = weights.representativeness > 0, weights.robustness > 0 and config.robust is not False
    at_any_cost = config.robust or config.goal.name == "paper"
    kind: Views = "none"
    if any(wanted) and isinstance(model, GivesTokens):
        kind = "tokens"
    elif any(wanted) and at_any_cost and isinstance(model, Embeds):
        kind = "crops"
    shown = wanted if kind != "none" else (False, False)
    goal = replace(
        config.goal,
        weights=replace(
            weights,
            representativeness=weights.representativeness * shown[0],
            robustness=weights.robustness * shown[1],
        ),
    )
    return ViewPlan(kind, goal, shown[1], _note(model, config.goal, kind, shown))


_NAMES = ("representativeness", "robustness")


def _note(model: Model, goal: Goal, kind: Views, shown: tuple[bool, bool]) -> str:
    """Say where the two scores come from, or why they were not measured."""
    weighed = (goal.weights.representativeness > 0, goal.weights.robustness > 0)
    there = [name for name, is_shown in zip(_NAMES, shown, strict=True) if is_shown]
    missing = [n for n, w, s in zip(_NAMES, weighed, shown, strict=True) if w and not s]
    source = {
        "tokens": "the tokens of one overview",
        "crops": "the embeddings of the cells, each with a pass of its own",
    }
    why = f"{model.spec.name} does not embed"
    if kind != "none":
        why = "it was not asked for"
    elif isinstance(model, Embeds):
        why = (
            f"{model.spec.name} has no tokens, and its embeddings take more passes for each cell "
            "(--robust)"
        )
    parts = [
        f"{' and '.join(there)} compare {source[kind]}" if there else "",
        f"{' and '.join(missing)} not measured: {why}" if missing else "",
    ]
    text = "; ".join(part for part in parts if part)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _at_most(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average (gh, gw, d) tokens of a fine grid in equal blocks, to about 32 along a side."""
    for axis in (0, 1):
        side = tokens.shape[axis]
        least = -(-side // _SIDE)
        # Blocks of other sizes at the end would not lie where the cells expect them.
        step = next((n for n in range(least, 2 * least + 1) if side % n == 0), 1)
        shape = (*tokens.shape[:axis], side // step, step, *tokens.shape[axis + 1 :])
        tokens = tokens.reshape(shape).mean(axis=axis + 1)
    return tokens
