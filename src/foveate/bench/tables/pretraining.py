"""A start from a trained observer against one from random weights (Table 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.bench.cells import SHARES, Cell, Line, Row, Table
from foveate.bench.tables._words import ahead_of_reference, present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.bench.compare import Found
    from foveate.bench.settings import BenchJob

_WAYS = {"linear fill": "fill", "not pretrained": "ours", "pretrained": "init"}


def rows(_: BenchJob) -> list[Row]:
    """Return the rows."""
    return [
        Row(label, (Cell(mask, share, way),), f"{mask} {share:g}")
        for mask in ("random", "learned")
        for share in SHARES
        for label, way in _WAYS.items()
    ]


def says(_: BenchJob, found: Mapping[str, Found]) -> list[Line]:
    """Say what the start is worth, mask by mask."""
    names = [name for name, row in found.items() if row.label == "pretrained"]
    return present([ahead_of_reference(found, name) for name in names])


TABLE = Table(
    "Start from a trained observer", "tiles",
    ("obr", "tiles", "unseen", "regions", "scenes max @20", "scenes mean @20", "cosine", "kept"),
    rows, ("not pretrained",), says,
    note="Only the predictor starts from the other observer; the sampler and the LR fill are those "
    "of these pairs, and in all rows tokens are reduced as in that observer. Nothing checks that "
    "it has not seen the test scenes: give one that was trained elsewhere.",
)  # fmt: skip
