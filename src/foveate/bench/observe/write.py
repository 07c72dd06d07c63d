"""A table of `bench observe` with its description, JSON-ready."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from foveate.bench.write import cautions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.bench.compare import Comparison
    from foveate.bench.conditions import Claim, Table

TITLES = {
    "tiles": "tile mAP", "unseen": "unseen tile mAP", "regions": "region mAP",
    "scenes max @20": "scene mAP@20 (max)", "scenes mean @20": "scene mAP@20 (mean)",
    "scenes max @100": "scene mAP@100 (max)", "scenes mean @100": "scene mAP@100 (mean)",
    "cosine": "cosine", "obr": "OBR", "captured": "captured gain", "drift": "drift",
    "quality": "quality", "area": "area", "kept": "kept",
    "efficiency": "efficiency (gain)",
    "efficiency greedy": "efficiency (greedy)",
    **{
        f"text {level} {part}{k}": f"{level[:-1]} mAP{k.strip()} by texts, {part}"
        for part in ("base", "novel")
        for level, k in (("tiles", ""), ("scenes", " @20"), ("scenes", " @100"))
    },
}  # fmt: skip
TITLES |= {
    "recognition": "scene mAP by texts", "eurosat": "EuroSAT, top-1",
    "bigearthnet": "BigEarthNet, mAP", "folders": "folders, top-1", "seconds": "time, s",
    "neighbours": "agreement of neighbours",
    **{
        f"pooled {part} @{k}": f"pooled scene mAP@{k} by texts, {part}"
        for part in ("base", "novel")
        for k in (20, 100)
    },
}  # fmt: skip
TOP = 20  # scenes
_HOW = (
    "Means over {seeds}, each with its own split and training. Difference: mean of the leading "
    "measure ({lead}) minus that of the reference, paired by seed and by group of test scenes, "
    "with a 95 % bootstrap interval over groups ({clusters} groups); the contribution of a group "
    "to a mean average precision is its jackknife pseudo-value. better, worse: the interval "
    "excludes 0 and the p-value, adjusted by Holm's method over the table, is at most 0.05; open: "
    "the interval excludes 0, but the adjusted p-value is higher; tied: the interval contains 0. "
    "Scenes contain the concepts of all of their tiles."
)


_TIMED = (
    " Time: the full pipeline over the test scenes, the sum of measured parts: reading and "
    "encoding overviews and observed tiles (batch size {0}, device {1}), sampler and completion."
)


def columns_of(columns: Sequence[str], depths: Sequence[int], *, timed: bool) -> tuple[str, ...]:
    """Return the columns of a table for other values of K of mAP@K, with time if measured.

    Args:
        columns: Columns of the table for K = 20, and optionally 100.
        depths: Values of K.
        timed: Whether time is measured.
    """
    names: list[str] = []
    for column in columns:
        stem, at, k = column.rpartition(" @")
        if not at:
            names.append(column)
        elif k == "20":
            names += [f"{stem} @{depth}" for depth in depths]
    return (*names, "seconds") if timed else tuple(names)


def _title(name: str) -> str:
    stem, at, k = name.rpartition(" @")
    if not at or name in TITLES:
        return TITLES.get(name, name)
    return TITLES.get(f"{stem} @20", name).replace("mAP@20", f"mAP@{k}")


def content(
    table: Table, lead: str, rows: Sequence[Comparison], *, name: str, seeds: int, obr: float,
    lines: Sequence[Claim], split: dict[str, int], timed: tuple[int, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return a table with its description, JSON-ready."""
    clusters = max((row.clusters for row in rows), default=0)
    how = _HOW.format(
        seeds=f"{seeds} seed{'s' if seeds > 1 else ''}", lead=TITLES.get(lead, lead),
        clusters=clusters,
    )  # fmt: skip
    cautions = cautions_of(clusters)
    how = " ".join([how, *cautions])
    if split["scenes"] < TOP:
        how += f" With {split['scenes']} test scenes, mAP@{TOP} ranks all of them."
    if timed is not None:
        how += _TIMED.format(*timed)
    return {
        "table": name, "title": table.title, "lead": lead, "columns": list(table.columns),
        "titles": {name: _title(name) for name in (*table.columns, lead)},
        "seeds": seeds, "obr": obr, "test": split, "clusters": clusters,
        "note": table.note, "how": how, "cautions": cautions,
        "rows": [asdict(row) for row in rows if not row.skipped],
        "left_out": {row.label: row.skipped for row in rows if row.skipped},
        "says": [asdict(line) for line in lines],
    }  # fmt: skip
