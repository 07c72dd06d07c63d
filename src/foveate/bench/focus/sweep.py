"""The sweep of weights (Fig. 4 and 7): coarse, then fine around the best, then on other scenes.

As section 6.4 and E.4 have it: each weight on its own, from .3 to .9 by .05, then by .01 within .04
of the best. The paper chooses on validation data: here on every other scene; what was chosen is
then compared on the scenes between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.bench.claims import ahead_of_reference, present
from foveate.bench.conditions import Claim, Row, Table
from foveate.bench.focus.conditions import Condition, options_of
from foveate.focus.config import Weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.bench.compare import Comparison, Results
    from foveate.bench.focus.tables import Plan

PAPER = vars(Weights())
COARSE = tuple(round(0.3 + 0.05 * i, 2) for i in range(13))
_AROUND = 4  # hundredths
TEST = "other scenes"
AS_PAPER = "the paper's weights"
CHOSEN = "the best of each"
ONES = "all 1"


def _row(plan: Plan, weight: str, value: float) -> Row:
    condition = Condition(
        plan.looks[0], plan.most, part="val",
        options=options_of(weights={weight: value}, robust=True),
    )  # fmt: skip
    return Row(f"{value:.2f}", (condition,), weight)


def coarse_rows(plan: Plan) -> list[Row]:
    """Return the first rows: each weight from .3 to .9 by .05, the others as in the paper."""
    return [_row(plan, weight, value) for weight in PAPER for value in COARSE]


def best(rows: Sequence[Row], results: Results, lead: str) -> dict[str, float]:
    """Return the weights with the highest mean over seeds; of equal ones those next the paper's.

    Args:
        rows: Rows of the sweep: blocks are weights, labels values.
        results: For each seed, condition -> measures.
        lead: The measure.
    """
    found: dict[str, float] = {}
    for weight, usual in PAPER.items():
        scored: list[tuple[float, float, float]] = []
        for row in (row for row in rows if row.block == weight):
            measured = [m for one in results if not isinstance(m := one[row.conditions[0]], str)]
            if measured:
                mean = float(np.mean([m[lead].value for m in measured]))
                value = float(row.label)
                scored.append((mean, -abs(value - usual), value))
        if scored:
            found[weight] = max(scored)[2]
    return found


def fine_rows(plan: Plan, rows: Sequence[Row], results: Results, lead: str) -> list[Row]:
    """Return the next rows: by .01 around the best of each weight."""
    there = {(row.block, row.label) for row in rows}
    made = [
        _row(plan, weight, round(value + step / 100, 2))
        for weight, value in best(rows, results, lead).items()
        for step in range(-_AROUND, _AROUND + 1)
        if COARSE[0] <= round(value + step / 100, 2) <= COARSE[-1]
    ]
    return [row for row in made if (row.block, row.label) not in there]


def final_rows(plan: Plan, rows: Sequence[Row], results: Results, lead: str) -> list[Row]:
    """Return the last rows, on the scenes that nothing was chosen on."""

    def row(label: str, weights: Mapping[str, float]) -> Row:
        options = options_of(weights=dict(weights), robust=True)
        return Row(
            label, (Condition(plan.looks[0], plan.most, options=options, part="test"),), TEST
        )

    return [
        row(AS_PAPER, PAPER),
        row(CHOSEN, best(rows, results, lead)),
        row(ONES, dict.fromkeys(PAPER, 1.0)),
    ]


def sweep_claims(_: Plan, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say how the weights that were chosen, and 1 for all, do on other scenes."""
    return present([ahead_of_reference(found, f"{TEST}: {name}") for name in (CHOSEN, ONES)])


SWEEP = Table(
    "Weights of the scores", "top-1", ("top-1", "top-5"), coarse_rows, (AS_PAPER,), sweep_claims,
    note="area: lambda of Eq. 3; the others: those of Eq. 7. Each weight is varied with the others "
    "as in the paper, on every other scene; the best of each are then compared on the scenes "
    "between. All scores are measured, the robustness too.",
)  # fmt: skip

STAGES: tuple[Any, ...] = (fine_rows, final_rows)
