"""Concepts by their texts, base and novel ones apart (Tables 1 and 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.bench.cells import Cell, Line, Row, Table
from foveate.bench.tables._words import present, reference_ahead_of
from foveate.bench.tables.main import OWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.bench.compare import Found
    from foveate.bench.settings import BenchJob

_COLUMNS = tuple(
    f"text {name}"
    for part in ("base", "novel")
    for name in (f"tiles {part}", f"scenes {part} @20", f"scenes {part} @100")
)


def rows(job: BenchJob) -> list[Row]:
    """Return the rows."""
    return [
        Row("full HR", (Cell("all", 1, "full"),)),
        Row("LR fill", (Cell("none", 0, "fill"),)),
        *(
            Row(f"{policy}, {way}", (Cell(policy, job.obr, way),))
            for policy in ("random", "learned")
            for way in ("none", "fill", "ours")
        ),
    ]


def says(_: BenchJob, found: Mapping[str, Found]) -> list[Line]:
    """Say what sampler and predictor are worth to texts, base and novel."""
    names = ("LR fill", "random, ours", "learned, none", "learned, fill")
    lines = present([reference_ahead_of(found, name) for name in names])
    for part in ("base", "novel"):
        key = f"text scenes {part} @20"
        full, own, fill = (found[n].means.get(key) for n in ("full HR", OWN, "LR fill"))
        if full is not None and own is not None and fill is not None:
            text = f"scene mAP@20 of {part} concepts: full HR {full:.3f}, {OWN} {own:.3f}, "
            lines.append(Line(text + f"LR fill {fill:.3f}"))  # no interval tells
    return lines


TABLE = Table(
    "Concepts by their texts", "text tiles base", ("obr", *_COLUMNS), rows, (OWN,), says,
    note="Tiles and scenes (mean over tiles) are ranked by the cosine of their embedding and the "
    "texts'. Novel concepts have no part in any supervision of the sampler.",
)  # fmt: skip
