"""Policies by completions at one observed share (Tables 1, 2 and 4 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.bench.cells import Cell, Line, Row, Table
from foveate.bench.tables._words import enough, present, reference_ahead_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.bench.compare import Found
    from foveate.bench.settings import BenchJob

POLICIES = ("random", "uniform", "lr-entropy", "sar", "patchdrop", "learned", "design")
WAYS = ("none", "fill", "ours")
OWN = "learned, ours"
_ENOUGH = 0.95  # of the scene mAP@20 of full HR
_RIVALS = ("random, ours", "LR fill", "LR head", "learned, none", "learned, fill")


def rows(job: BenchJob) -> list[Row]:
    """Return the rows."""
    ends = [
        Row("full HR", (Cell("all", 1, "full"),)),
        Row("LR fill", (Cell("none", 0, "fill"),)),
        Row("LR head", (Cell("none", 0, "head"),)),
    ]
    return ends + [
        Row(f"{policy}, {way}", (Cell(policy, job.obr, way),))
        for policy in POLICIES
        for way in WAYS
    ]


def says(_: BenchJob, found: Mapping[str, Found]) -> list[Line]:
    """Say what sampler and predictor are worth, and how near they come to full HR."""
    lines = present([reference_ahead_of(found, name) for name in _RIVALS])
    full, own = found["full HR"].means, found[OWN].means
    for measure, name in (("scenes max @20", "max"), ("scenes mean @20", "mean")):
        if full.get(measure) and measure in own:
            share = own[measure] / full[measure]
            others = [
                row.means[measure] / full[measure]
                for label, row in found.items()
                if label not in {OWN, "full HR"} and measure in row.means
            ]
            text = (
                f"{OWN} has {share:.1%} of the scene mAP@20 ({name}) of full HR at OBR "
                f"{own['obr']:.3f}: {own[measure]:.3f} of {full[measure]:.3f}"
            )
            lines.append(enough(text, share, _ENOUGH, others))
    return lines


TABLE = Table(
    "Policies and completions", "tiles",
    (
        "obr", "tiles", "unseen", "regions", "scenes max @20", "scenes mean @20",
        "scenes max @100", "scenes mean @100", "cosine", "captured",
    ),
    rows, (OWN,), says,
    note="LR fill: what a ridge regression of LR tokens, their neighbours' and the scene's mean "
    "makes of the HR tokens. LR head: concept classifiers fitted to the same inputs; it "
    "is the teacher of sar. patchdrop: "
    "trained for this observed share. A pooled scene "
    "vector hides bad tiles: tiles and regions lead.",
)  # fmt: skip
