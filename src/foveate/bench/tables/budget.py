"""Curves over observed shares, policy by policy (Figure 4 b)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from foveate.bench.cells import CURVE, Line, Row, Table, curve
from foveate.bench.tables._words import ahead_of_reference, present
from foveate.bench.tables.main import POLICIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.bench.compare import Found
    from foveate.bench.settings import BenchJob

ORACLES = {"oracle-gain": "efficiency", "oracle-greedy": "efficiency greedy"}
HEIGHTS = tuple(f"@{share:g}" for share in CURVE)
_ENOUGH = 0.7  # normalised efficiency
NOTE = (
    "area: mean height of the curve of tile mAP over OBR .02 to .5, by trapezoids. efficiency: "
    "(area - that of random) / (that of an oracle - that of random), with the same completion; "
    "oracle-gain takes the tiles whose true gain is highest, oracle-greedy orders them by the "
    "design under the true gain. captured: the share of the true gain, its mean over the curve."
)


def rows(_: BenchJob) -> list[Row]:
    """Return the rows."""
    names = (*POLICIES, *ORACLES)
    return [Row(f"{p}, {way}", curve(p, way)) for way in ("ours", "fill") for p in names]


def efficient(found: list[Found]) -> list[Found]:
    """Add normalised efficiencies, against the rows of random and the oracles of the same way."""
    areas = {row.label: row.means["area"] for row in found if "area" in row.means}
    changed = []
    for row in found:
        way = row.label.rpartition(", ")[2]
        low, more = areas.get(f"random, {way}"), {}
        for oracle, name in ORACLES.items():
            high = areas.get(f"{oracle}, {way}")
            if row.label in areas and low is not None and high is not None and high > low:
                more[name] = (areas[row.label] - low) / (high - low)
        changed.append(replace(row, means={**row.means, **more}))
    return changed


def says(_: BenchJob, found: Mapping[str, Found]) -> list[Line]:
    """Say which policies beat random ones, and how near the learned ones come to an oracle."""
    names = [f"{policy}, ours" for policy in POLICIES if policy != "random"]
    lines = present([ahead_of_reference(found, name) for name in names])
    for name in ("learned, ours", "design, ours"):
        for key, oracle in (("efficiency", "oracle-gain"), ("efficiency greedy", "oracle-greedy")):
            if key in found[name].means:
                value = found[name].means[key]
                text = f"{name} has a normalised efficiency of {value:.2f} against {oracle}"
                # Of a range that may be noise, a share says nothing.
                wide = found[f"{oracle}, ours"].verdict == "better"
                lines.append(Line(text, value >= _ENOUGH if wide else None))
    return lines


TABLE = Table(
    "Curves over observed shares", "area",
    (*HEIGHTS, "area", "efficiency", "efficiency greedy", "captured"),
    rows, ("random, ours",), says, efficient,
    NOTE + " patchdrop is trained for one observed share, and ranks for the others.",
)  # fmt: skip
