"""The tables by name, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.bench.tables import (
    budget,
    completion,
    depth,
    main,
    pretraining,
    supervision,
    threshold,
    zeroshot,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.bench.cells import Table

TABLES: Mapping[str, Table] = {
    "main": main.TABLE,
    "ablation": completion.ABLATION,
    "supervision": supervision.TABLE,
    "threshold": threshold.TABLE,
    "predictor": completion.PREDICTOR,
    "budget": budget.TABLE,
    "depth": depth.TABLE,
    "zeroshot": zeroshot.TABLE,
    "pretraining": pretraining.TABLE,
}
