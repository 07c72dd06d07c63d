"""What completion adds to the best LR fill: simple ways, and forms of the predictor (Table 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.bench.cells import SHARES, Cell, Line, Row, Table
from foveate.bench.tables._words import ahead_of_reference, best, present
from foveate.bench.training import BLIND
from foveate.observe.networks.shape import FORMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.bench.compare import Found
    from foveate.bench.settings import BenchJob

MASKS = ("random", "learned")
FILLS = {"linear fill": "fill", "convolutional fill": "conv"}
SIMPLE = {
    "none": "none", "nearest": "nearest", **FILLS, "kriging only": "kriging", "ours": "ours",
}  # fmt: skip
BY_FORM = {**FILLS, **{name: f"form:{name}" for name in (*FORMS, *BLIND)}}
_COLUMNS = (
    "obr",
    "tiles",
    "unseen",
    "regions",
    "scenes max @20",
    "scenes mean @20",
    "cosine",
    "kept",
)
_NOTE = (
    "Each block has one mask; rows are compared with the better of the two LR fills, chosen by the "
    "figures shown. kept: the share of seeds under which what was trained was better on the "
    "validation scenes than what it started from; where it was not, that was put back. {more}"
)


def rows(ways: Mapping[str, str], shares: tuple[float, ...]) -> list[Row]:
    """Return rows: ways of completing the same masks."""
    return [
        Row(label, (Cell(mask, share, way),), f"{mask} {share:g}")
        for mask in MASKS
        for share in shares
        for label, way in ways.items()
    ]


def says_simple(_: BenchJob, found: Mapping[str, Found]) -> list[Line]:
    """Say what our completion adds to the best fill, mask by mask."""
    names = [name for name in found if name.endswith((": ours", ": kriging only"))]
    return present([ahead_of_reference(found, name) for name in names])


def says_forms(job: BenchJob, found: Mapping[str, Found]) -> list[Line]:
    """Say which form is best at each mask, and what that of the job adds to the best fill."""
    names = [name for name in found if name.endswith(f": {job.form}")]
    lines = present([ahead_of_reference(found, name) for name in names])
    for block in dict.fromkeys(row.block for row in found.values()):
        own = [r for r in found.values() if r.block == block and r.label not in FILLS]
        first = best(own, "tiles")
        if first is not None:
            value = first.means["tiles"]
            lines.append(Line(f"{block}: the best form is {first.label}, tile mAP {value:.3f}"))
    return lines


PREDICTOR = Table(
    "What completion adds to an LR fill", "tiles", _COLUMNS,
    lambda _: rows(SIMPLE, SHARES), tuple(FILLS), says_simple,
    note=_NOTE.format(more="nearest: the nearest observed tile of the scene. kriging only: the "
    "residuals of the fill, spread by the kriging as it is trained before the blocks."),
)  # fmt: skip
ABLATION = Table(
    "Forms of the predictor", "tiles", _COLUMNS,
    lambda _: rows(BY_FORM, SHARES), tuple(FILLS), says_forms,
    note=_NOTE.format(more="Forms whose name ends in -blind do not let their blocks see LR tokens; "
    "plain-blind has no fill either, so it sees nothing but HR."),
)  # fmt: skip
