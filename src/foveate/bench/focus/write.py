"""The result of a benchmark of `focus`: a JSON-ready table, and all measurements as rows."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from foveate.bench.focus.paper import published
from foveate.bench.focus.tables import title_of
from foveate.bench.write import cautions_of, csv_of, markdown, write
from foveate.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from foveate.bench.compare import Comparison, Results
    from foveate.bench.conditions import Claim, Row, Table
    from foveate.bench.focus.tables import Plan

_HOW = (
    "Means over {scenes} under {seeds}{drawn}. Difference: mean of {lead} minus that of the "
    "reference, paired by seed and scene, with a 95 % bootstrap interval over scenes "
    "({clusters} scenes). better, worse: the interval excludes 0 and the p-value, adjusted by "
    "Holm's method over the table, is at most 0.05; open: the interval excludes 0, but the "
    "adjusted p-value is higher; tied: the interval contains 0.{kinds}"
)
_KINDS = " Scenes of each kind are also compared separately, each with its own adjustment."


def content(
    table: Table, rows: Sequence[Comparison], conditions: Sequence[Row], plan: Plan, *, name: str,
    seeds: int, scenes: int, lead: str, drawn: bool, lines: Sequence[Claim],
) -> dict[str, Any]:  # fmt: skip
    """Return a table with its description, JSON-ready.

    Args:
        table: The table.
        rows: The compared rows.
        conditions: The measured rows, with their budgets.
        plan: Content of the table.
        name: Name of the table, as for ``--table``.
        seeds: Number of seeds so far.
        scenes: Number of scenes under each seed.
        lead: The leading measure.
        drawn: Whether each seed draws other scenes.
        lines: The claims.
    """
    clusters = max((row.clusters for row in rows), default=0)
    measured = dict.fromkeys(m for row in rows for m in row.means)
    how = _HOW.format(
        scenes=f"{scenes} scene{'s' if scenes != 1 else ''}",
        seeds=f"{seeds} seed{'s' if seeds > 1 else ''}", lead=title_of(lead), clusters=clusters,
        drawn=", drawn anew for each" if drawn else "",
        kinds=_KINDS if len(plan.kinds) > 1 else "",
    )  # fmt: skip
    return {
        "table": name, "title": table.title, "lead": lead, "columns": list(table.columns),
        "titles": {m: title_of(m) for m in (*measured, *table.columns)},
        "seeds": seeds, "obr": None, "test": {"scenes": scenes, "groups": clusters},
        "clusters": clusters, "note": table.note, "how": how, "cautions": cautions_of(clusters),
        "models": list(plan.models), "sets": list(plan.sets), "kinds": list(plan.kinds),
        "passes": {_named(row): _finite(row.conditions[0].passes) for row in conditions},
        "rows": [asdict(row) for row in rows if not row.skipped],
        "left_out": {_full(row): row.skipped for row in rows if row.skipped},
        "says": [asdict(line) for line in lines], "paper": published(name),
    }  # fmt: skip


def few_of_a_kind(by_kind: dict[str, Any]) -> list[str]:
    """Return cautions about intervals of single kinds if a kind has too few scenes."""
    counts = [max((r["clusters"] for r in one["rows"]), default=0) for one in by_kind.values()]
    compared = [count for count in counts if count]
    return [f"For single kinds: {text}" for text in cautions_of(min(compared))] if compared else []


def cells(
    rows: Sequence[Row], results: Results, plan: Plan, *, table: str, first: int
) -> list[dict[str, Any]]:
    """Return all measurements as rows: table, method, passes, seed, measure, value, and others."""
    records = []
    for number, measured in enumerate(results):
        for row in rows:
            condition = row.conditions[0]
            measures = measured[condition]
            if isinstance(measures, str):
                continue
            about = {
                "table": table, "method": row.label, "block": row.block,
                "passes": _finite(condition.passes), "seed": first + number,
                "model": plan.models[condition.model], "scenes": plan.sets[condition.scenes],
                "part": condition.part,
            }  # fmt: skip
            records += [{**about, "measure": m, "value": v.value} for m, v in measures.items()]
    return records


def save(root: Path, name: str, table: dict[str, Any]) -> list[str]:
    """Write a table and its measurements to a run, and return the files."""
    files = write(root / "tables", name, table)
    more = paper_text(table["paper"]) if table["paper"] else ""
    more += area_text(table["by_area"]) if table["by_area"] else ""
    if more:
        write_bytes(files[2], (markdown(table) + more).encode())
    cells_file = root / "tables" / f"{name}-cells.csv"
    write_bytes(cells_file, csv_of(table["cells"]).encode())
    return [str(file.relative_to(root)) for file in (*files, cells_file)]


def area_text(by_area: dict[str, Any]) -> str:
    """Return the differences with one value per area, as Markdown."""
    rows = [row for row in by_area["rows"] if row["difference"] is not None]
    count = max((row["clusters"] for row in rows), default=0)
    lines = ["", f"Differences with bootstrap intervals over folders of scenes ({count}):", ""]
    for row in rows:
        gap = row["difference"]
        figures = f"{gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
        lines.append(f"- {row['block']}: {row['label']}: {figures}, from {row['reference']}")
    return "\n".join([*lines, "", *cautions_of(count)]) + "\n"


def paper_text(paper: dict[str, Any]) -> str:
    """Return the figures of the paper as Markdown."""
    lines = [
        "", f"Figures of the paper, on other data: {paper['source']}.", "",
        "| | " + " | ".join(paper["columns"]) + " |",
        "|" + " --- |" * (len(paper["columns"]) + 1),
    ]  # fmt: skip
    lines += [
        f"| {label} | " + " | ".join(map(str, figures)) + " |"
        for label, figures in paper["rows"].items()
    ]
    return "\n".join(lines) + "\n"


def _named(row: Row) -> str:
    return f"{row.block}: {row.label}" if row.block else row.label


def _full(row: Comparison) -> str:
    return f"{row.block}: {row.label}" if row.block else row.label


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
