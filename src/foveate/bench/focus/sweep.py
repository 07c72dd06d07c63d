"""The sweep of weights (Fig. 4 and 7): coarse, then fine around the best, then on other scenes.

As in sections 6.4 and E.4: one weight at a time, from 0.3 to 0.9 by 0.05, then by 0.01 within 0.04
of the best. The paper selects on validation data, this benchmark on every other scene; the
selected weights are then compared on the remaining scenes.
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
    """Return the first rows: each weight from 0.3 to 0.9 by 0.05, the others as in the paper."""
    return [_row(plan, weight, value) for weight in PAPER for value in COARSE]


def best(rows: Sequence[Row], results: Results, lead: str) -> dict[str, float]:
    """Return the weights with the highest mean over seeds; of ties those nearest to the paper's.

    Args:
        rows: Rows of the sweep: blocks are weights, labels values.
        results: For each seed, condition -> measures.
        lead: The leading measure.
    """
    weights: dict[str, float] = {}
    for weight, usual in PAPER.items():
        scored: list[tuple[float, float, float]] = []
        for row in (row for row in rows if row.block == weight):
            measured = [m for one in results if not isinstance(m := one[row.conditions[0]], str)]
            if measured:
                mean = float(np.mean([m[lead].value for m in measured]))
                value = float(row.label)
                scored.append((mean, -abs(value - usual), value))
        if scored:
            weights[weight] = max(scored)[2]
    return weights


def fine_rows(plan: Plan, rows: Sequence[Row], results: Results, lead: str) -> list[Row]:
    """Return the next rows: by 0.01 around the best value of each weight."""
    existing = {(row.block, row.label) for row in rows}
    fine = [
        _row(plan, weight, round(value + step / 100, 2))
        for weight, value in best(rows, results, lead).items()
        for step in range(-_AROUND, _AROUND + 1)
        if COARSE[0] <= round(value + step / 100, 2) <= COARSE[-1]
    ]
    return [row for row in fine if (row.block, row.label) not in existing]


def final_rows(plan: Plan, rows: Sequence[Row], results: Results, lead: str) -> list[Row]:
    """Return the last rows, on the scenes that were not used for the selection."""

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


def sweep_claims(_: Plan, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare the selected weights, and weights of 1, with the paper's on the other scenes."""
    return present([ahead_of_reference(compared, f"{TEST}: {name}") for name in (CHOSEN, ONES)])


SWEEP = Table(
    "Weights of the scores", "top-1", ("top-1", "top-5"), coarse_rows, (AS_PAPER,), sweep_claims,
    note="area: lambda of Eq. 3; the others: those of Eq. 7. Each weight is varied with the others "
    "as in the paper, on every other scene; the best values are then compared on the remaining "
    "scenes. All scores are computed, including the robustness.",
)  # fmt: skip

STAGES: tuple[Any, ...] = (fine_rows, final_rows)
