"""What the sampler learns: each form of supervision (Table 6), under one predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.bench.cells import Line, Row, Table, curve
from foveate.bench.tables._words import ahead_of_reference, best, present
from foveate.bench.tables.budget import HEIGHTS, NOTE, ORACLES, efficient
from foveate.observe.supervision import FORMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.bench.compare import Found
    from foveate.bench.settings import BenchJob

_PAPER = ("product", "additive", "semantic", "structural")  # its order, the best first


def rows(_: BenchJob) -> list[Row]:
    """Return the rows."""
    forms = [Row(f"{form}, ours", curve(f"learned:{form}", "ours")) for form in FORMS]
    ends = [Row(f"{name}, ours", curve(name, "ours")) for name in ("random", *ORACLES)]
    return forms + ends


def says(job: BenchJob, found: Mapping[str, Found]) -> list[Line]:
    """Say which forms beat random tiles, which is best, and whether the paper's order holds."""
    own = [found[f"{form}, ours"] for form in FORMS]
    lines = present([ahead_of_reference(found, row.label) for row in own])
    first = best(own, "area")
    if first is not None:
        figure = first.means["area"]
        lines.append(Line(
            f"the form with the largest area is {first.label} ({figure:.3f}); that of the job is "
            f"{job.supervision}"
        ))  # fmt: skip
    areas = [found[f"{form}, ours"].means.get("area") for form in _PAPER]
    known = [a for a in areas if a is not None]
    if len(known) == len(_PAPER):
        text = f"the paper's order, {' > '.join(_PAPER)}, by area: " + ", ".join(
            f"{a:.3f}" for a in known
        )
        # Neighbours in the order are not compared: it can be missed by it, not reached.
        lines.append(Line(text, None if known == sorted(known, reverse=True) else False))
    return lines


TABLE = Table(
    "Forms of supervision", "area",
    (*HEIGHTS, "area", "efficiency", "efficiency greedy", "captured"),
    rows, ("random, ours",), says, efficient,
    NOTE + " All forms share one predictor, whose stage II had masks of the job's supervision.",
)  # fmt: skip
