"""How many blocks the predictor needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.bench.cells import Cell, Line, Row, Table
from foveate.bench.tables._words import ahead_of_reference, best, present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.bench.compare import Found
    from foveate.bench.settings import BenchJob

MASKS = ("random", "learned")
_NONE = "kriging only"


def rows(job: BenchJob) -> list[Row]:
    """Return the rows."""
    depths = (0, 1, 2, 4) if job.size == "nano" else (0, 1, 2, 4, 6)
    ways = {_NONE: "kriging", **{f"{n} block{'s' * (n != 1)}": f"depth:{n}" for n in depths}}
    return [
        Row(label, (Cell(mask, job.obr, way),), f"{mask} {job.obr:g}")
        for mask in MASKS
        for label, way in ways.items()
    ]


def says(_: BenchJob, found: Mapping[str, Found]) -> list[Line]:
    """Say whether blocks add to the kriging, and which depth is best."""
    names = [name for name, row in found.items() if row.label != _NONE]
    lines = present([ahead_of_reference(found, name) for name in names])
    for block in dict.fromkeys(row.block for row in found.values()):
        first = best([row for row in found.values() if row.block == block], "tiles")
        if first is not None:
            value = first.means["tiles"]
            lines.append(Line(f"{block}: the best is {first.label}, tile mAP {value:.3f}"))
    return lines


TABLE = Table(
    "Depth of the predictor", "tiles",
    ("obr", "tiles", "unseen", "regions", "scenes max @20", "scenes mean @20", "cosine", "kept"),
    rows, (_NONE,), says,
    note="All after stage I. 0 blocks: the inlet and outlet alone, a linear correction of each "
    "token by itself. kept: the share of seeds under which blocks were better on the validation "
    "scenes than none.",
)  # fmt: skip
