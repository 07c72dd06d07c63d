"""Features for Eq. 4 and 5 of cells whose losses are answers or masks.

The loss of a region is that of an answer (generative model) or a mask (segmenter). Both models
also have a vision encoder, whose features give representativeness and robustness, in one of two
ways. From the tokens of one overview, if the model gives tokens: one pass, and a second view for
the robustness, for any number of cells. From the embeddings of the cells, if the model only embeds:
one pass per cell, and another for the robustness; this is done on request only.
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

_SIDE = 32  # maximum tokens along a side: the density of Eq. 4 compares all pairs of tokens


@dataclass(frozen=True)
class ViewPlan:
    """Source of the features of cells, decided before the first pass.

    Attributes:
        kind: "tokens" of one overview, "crops" of the cells, or "none".
        goal: The goal with weight 0 for scores that are not computed.
        robust: Whether the robustness is computed.
        note: Note for the reader of the result; "" if neither score has a weight.
    """

    kind: Views
    goal: Goal
    robust: bool
    note: str

    @property
    def each(self) -> int:
        """Passes of each cell of the size of a crop, besides its loss."""
        return (1 + self.robust) * (self.kind == "crops")

    def first(self, sized: SizedEncoder) -> float:
        """Return the maximum number of passes before the first cell.

        Args:
            sized: The model at its standard size.
        """
        if self.kind != "tokens":
            return 0.0
        resizable = not sized.fixed or isinstance(sized.model, TakesSizes)
        return 1.0 + self.robust * (1 / SMALL**2 if resizable else 1.0)

    def open(self, encoder: CropEncoder, crop: int, branch: int) -> Strategy | None:
        """Return the strategy that encodes the features of cells; None if none are computed.

        Args:
            encoder: Encoder that books the overview, and later the cells.
            crop: Side of a crop in pixels of the image.
            branch: Children of a cell per side.

        Raises:
            BudgetError: The remaining passes do not cover the overview.
        """
        if self.kind == "none":
            return None
        if self.kind == "crops":
            return ZoomStrategy(encoder, crop, "whole", branch, robust=self.robust)
        tokens = encoder.tokens(Window(0, 0, *encoder.source.info.shape))
        return FeatureStrategy(encoder, _at_most(tokens), branch, robust=self.robust)


def plan_views(model: Model, config: FocusConfig) -> ViewPlan:
    """Select the source of representativeness and robustness.

    Args:
        model: A bound model; its losses come from answers or masks.
        config: Configuration with the weights, and with `robust` for per-cell passes on request.
    """
    weights = config.goal.weights
    needed = weights.representativeness > 0, weights.robustness > 0 and config.robust is not False
    at_any_cost = config.robust or config.goal.name == "paper"
    kind: Views = "none"
    if any(needed) and isinstance(model, GivesTokens):
        kind = "tokens"
    elif any(needed) and at_any_cost and isinstance(model, Embeds):
        kind = "crops"
    computed = needed if kind != "none" else (False, False)
    goal = replace(
        config.goal,
        weights=replace(
            weights,
            representativeness=weights.representativeness * computed[0],
            robustness=weights.robustness * computed[1],
        ),
    )
    return ViewPlan(kind, goal, computed[1], _note(model, config.goal, kind, computed))


_NAMES = ("representativeness", "robustness")


def _note(model: Model, goal: Goal, kind: Views, computed: tuple[bool, bool]) -> str:
    """Return the source of the two scores, or the reason why they were not computed."""
    weighted = (goal.weights.representativeness > 0, goal.weights.robustness > 0)
    present = [name for name, is_computed in zip(_NAMES, computed, strict=True) if is_computed]
    missing = [n for n, w, c in zip(_NAMES, weighted, computed, strict=True) if w and not c]
    source = {
        "tokens": "the tokens of one overview",
        "crops": "the embeddings of the cells, one pass per cell",
    }
    reason = f"{model.spec.name} does not embed"
    if kind != "none":
        reason = "disabled by --no-robust"
    elif isinstance(model, Embeds):
        reason = (
            f"{model.spec.name} has no tokens, and its embeddings take further passes for each "
            "cell (--robust)"
        )
    parts = [
        f"{' and '.join(present)} computed from {source[kind]}" if present else "",
        f"{' and '.join(missing)} not computed: {reason}" if missing else "",
    ]
    text = "; ".join(part for part in parts if part)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _at_most(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average (gh, gw, d) tokens in equal blocks, to about 32 along a side."""
    for axis in (0, 1):
        side = tokens.shape[axis]
        least = -(-side // _SIDE)
        # Blocks of unequal size would be misaligned with the cells.
        step = next((n for n in range(least, 2 * least + 1) if side % n == 0), 1)
        shape = (*tokens.shape[:axis], side // step, step, *tokens.shape[axis + 1 :])
        tokens = tokens.reshape(shape).mean(axis=axis + 1)
    return tokens
