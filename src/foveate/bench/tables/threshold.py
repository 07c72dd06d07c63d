"""The sweep of section C.1: what each threshold buys on test scenes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from foveate.bench.cells import Cell, Line, Row, Table
from foveate.observe.judge import SWEEP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.bench.compare import Found
    from foveate.bench.settings import BenchJob

OWN = "tau of the budget"
_DRIFT = 0.1  # of the expected share


def rows(job: BenchJob) -> list[Row]:
    """Return the rows: the paper's thresholds, and that of the job's observed share."""
    own = round(1 - job.obr, 6)
    return [
        Row(OWN if tau == own else f"tau {tau:g}", (Cell(f"tau={tau:g}", 0, "ours"),))
        for tau in sorted({*SWEEP, own})
    ]


def says(job: BenchJob, found: Mapping[str, Found]) -> list[Line]:
    """Say how far realised shares are off, and whether more tiles are always better."""
    lines = []
    off = {name: row.means["drift"] for name, row in found.items() if "drift" in row.means}
    if off:
        worst = max(off, key=lambda name: abs(off[name]))
        text = f"the largest drift is {off[worst]:+.1%}, at {worst}; it is a mean over seeds"
        lines.append(Line(text, abs(off[worst]) <= _DRIFT))
        sd = found[OWN].sds["drift"]
        text = f"at tau {1 - job.obr:g} the drift is {off[OWN]:+.1%}, sd over seeds {sd:.1%}"
        lines.append(Line(text))
    values = [row.means["tiles"] for row in found.values() if "tiles" in row.means]
    if values:
        falls = all(a >= b for a, b in pairwise(values))
        text = "tile mAP never rises as the threshold does"
        alike = len(set(values)) == 1
        lines.append(Line(text, None, "equal") if alike else Line(text, falls))
    return lines


TABLE = Table(
    "Thresholds", "tiles",
    (
        "obr", "drift", "tiles", "unseen", "regions", "scenes max @20", "scenes mean @20",
        "cosine", "captured",
    ),
    rows, (OWN,), says,
    note="Thresholds are on our scale: a score is the share of the validation tiles below it, so "
    "tau should select the share 1 - tau; that of the budget is 1 - OBR. drift: realised / "
    "expected - 1. The paper's .55 stands for an OBR of .123 on its own scale. A threshold from "
    "the target's own scores has no drift.",
)  # fmt: skip
