"""A table as JSON for programs, CSV for spreadsheets, Markdown for people."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from foveate.bench.compare import FEW
from foveate.files import write_bytes, write_json
from foveate.report.words import bench as words
from foveate.stats import FEWEST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
TOP = 20  # scenes
_HOW = (
    "Means over {seeds}, each with a split and a training of its own. Difference: mean of the "
    "leading measure ({lead}) less that of the reference, paired by seed and by group of test "
    "scenes, with a 95 % bootstrap interval that draws whole groups ({clusters}); a group's share "
    "in a mean average precision is its jackknife pseudo-value. better, worse: the interval "
    "excludes 0 and Holm's p over the table is at most .05; open: it excludes 0, but Holm "
    "does not reject; "
    "tied: it contains 0. Scenes show what any of their tiles shows."
)


def content(
    table: Table, lead: str, rows: Sequence[Comparison], *, name: str, seeds: int, obr: float,
    lines: Sequence[Claim], split: dict[str, int],
) -> dict[str, Any]:  # fmt: skip
    """Return a table JSON-ready, with all that a reader has to know of it."""
    clusters = max((row.clusters for row in rows), default=0)
    how = _HOW.format(
        seeds=f"{seeds} seed{'s' if seeds > 1 else ''}", lead=TITLES.get(lead, lead),
        clusters=f"{clusters} of them",
    )  # fmt: skip
    cautions = _cautions(clusters)
    how = " ".join([how, *cautions])
    if split["scenes"] < TOP:
        how += f" With {split['scenes']} test scenes mAP@{TOP} and more is that of the whole list."
    return {
        "table": name, "title": table.title, "lead": lead, "columns": list(table.columns),
        "titles": {name: TITLES.get(name, name) for name in (*table.columns, lead)},
        "seeds": seeds, "obr": obr, "test": split, "clusters": clusters,
        "note": table.note, "how": how, "cautions": cautions,
        "rows": [asdict(row) for row in rows if not row.skipped],
        "left_out": {row.label: row.skipped for row in rows if row.skipped},
        "says": [asdict(line) for line in lines],
    }  # fmt: skip


def save_table(root: Path, name: str, found: dict[str, Any]) -> list[str]:
    """Write a table into a run, and return the files."""
    return [str(file.relative_to(root)) for file in write(root / "tables", name, found)]


def write(folder: Path, name: str, found: dict[str, Any]) -> list[Path]:
    """Write NAME.json, NAME.csv and NAME.md, and return them."""
    files = [folder / f"{name}.{ending}" for ending in ("json", "csv", "md")]
    write_json(files[0], found)
    write_bytes(files[1], _csv(found).encode())
    write_bytes(files[2], markdown(found).encode())
    return files


def markdown(found: dict[str, Any]) -> str:
    """Return a table as Markdown, with what it says below."""
    columns = [c for c in found["columns"] if any(c in row["means"] for row in found["rows"])]
    compared = any(row["verdict"] for row in found["rows"])
    titles = ["", *(TITLES.get(c, c) for c in columns)]
    if compared:
        titles += [f"difference in {TITLES.get(found['lead'], found['lead'])}", "verdict"]
    lines = [f"# {found['title']}", "", _line(titles), _line(["---"] * len(titles))]
    for row in found["rows"]:
        label = f"{row['block']}: {row['label']}" if row["block"] else row["label"]
        values = [label, *(_number(row["means"].get(c)) for c in columns)]
        if compared:
            values += [_difference(row), row["verdict"]]
        lines.append(_line(values))
    lines += ["", found["how"]]
    if found["note"]:
        lines += ["", found["note"]]
    if found["left_out"]:
        lines += ["", *(f"Left out: {label}: {why}" for label, why in found["left_out"].items())]
    claims = [words.claimed(words.Claim(**claim)) for claim in found["says"]]
    lines += ["", "What it says:", "", *(f"- {claim}" for claim in claims)]
    return "\n".join(lines) + "\n"


def _cautions(clusters: int) -> list[str]:
    """Return what too few groups do to the intervals, for those who read no further."""
    if clusters >= FEW:
        return []
    text = f"With fewer than {FEW} groups the intervals are too narrow"
    worse = f"; with fewer than {FEWEST} no row is better or worse"
    return [f"{text}{worse if clusters < FEWEST else ''}."]


def _csv(found: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for row in found["rows"] for name in row["means"]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([
        "block", "row", *(x for name in names for x in (name, f"{name} sd")), "reference",
        "difference", "low", "high", "p_holm", "verdict",
    ])  # fmt: skip
    for row in found["rows"]:
        gap = row["difference"] or {}
        figures = (x for name in names for x in (row["means"].get(name), row["sds"].get(name)))
        writer.writerow([
            row["block"], row["label"], *figures, row["reference"],
            *(gap.get(key) for key in ("mean", "low", "high")), row["p"], row["verdict"],
        ])  # fmt: skip
    return text.getvalue()


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(values) + " |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _difference(row: dict[str, Any]) -> str:
    gap = row["difference"]
    if gap is None:
        return ""
    return f"{gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
