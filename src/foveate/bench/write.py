"""A table of a benchmark as JSON for programs, CSV for spreadsheets, Markdown for people."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from foveate.bench.compare import FEW
from foveate.files import write_bytes, write_json
from foveate.report.words import bench as words
from foveate.stats import FEWEST
from foveate.wording import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def save_table(root: Path, name: str, table: dict[str, Any]) -> list[str]:
    """Write a table to a run, and return the files."""
    return [str(file.relative_to(root)) for file in write(root / "tables", name, table)]


def write(folder: Path, name: str, table: dict[str, Any]) -> list[Path]:
    """Write NAME.json, NAME.csv and NAME.md, and return them."""
    files = [folder / f"{name}.{ending}" for ending in ("json", "csv", "md")]
    write_json(files[0], table)
    write_bytes(files[1], _csv(table).encode())
    write_bytes(files[2], markdown(table).encode())
    return files


def markdown(table: dict[str, Any]) -> str:
    """Return a table as Markdown, with its claims below."""
    columns = [c for c in table["columns"] if any(c in row["means"] for row in table["rows"])]
    compared = any(row["verdict"] for row in table["rows"])
    titles = ["", *(table["titles"].get(c, c) for c in columns)]
    if compared:
        titles += [f"difference in {table['titles'].get(table['lead'], table['lead'])}", "verdict"]
    lines = [f"# {table['title']}", "", _line(titles), _line(["---"] * len(titles))]
    for row in table["rows"]:
        label = f"{row['block']}: {row['label']}" if row["block"] else row["label"]
        values = [label, *(_number(row["means"].get(c), _seeds(row).get(c)) for c in columns)]
        if compared:
            values += [_difference(row), row["verdict"]]
        lines.append(_line(values))
    lines += ["", table["how"]]
    if table["note"]:
        lines += ["", table["note"]]
    if table["left_out"]:
        lines += ["", *(f"Left out: {label}: {why}" for label, why in table["left_out"].items())]
    claims = [words.claimed(words.Claim(**claim)) for claim in table["says"]]
    lines += ["", "Claims:", "", *(f"- {claim}" for claim in claims)]
    return "\n".join(lines) + "\n"


def cautions_of(clusters: int, cluster: str = "group") -> list[str]:
    """Return a caution about the intervals if there are too few groups."""
    if clusters >= FEW:
        return []
    text = f"With fewer than {FEW} {cluster}s the intervals are too narrow"
    worse = f"; with fewer than {FEWEST} no row is better or worse"
    return [f"{text}{worse if clusters < FEWEST else ''}."]


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV, with the union of their columns."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _csv(table: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for row in table["rows"] for name in row["means"]))
    partial = [name for name in names if any(name in _seeds(row) for row in table["rows"])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([
        "block", "row", *(x for name in names for x in (name, f"{name} sd")),
        *(f"{name} seeds" for name in partial), "reference",
        "difference", "low", "high", "p_holm", "verdict",
    ])  # fmt: skip
    for row in table["rows"]:
        gap = row["difference"] or {}
        figures = (x for name in names for x in (row["means"].get(name), row["sds"].get(name)))
        writer.writerow([
            row["block"], row["label"], *figures,
            *(_seeds(row).get(name, table["seeds"]) for name in partial), row["reference"],
            *(gap.get(key) for key in ("mean", "low", "high")), row["p"], row["verdict"],
        ])  # fmt: skip
    return text.getvalue()


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(values) + " |"


def _seeds(row: dict[str, Any]) -> dict[str, int]:
    """Return measure -> number of seeds, where it is smaller; earlier tables do not have it."""
    return row.get("seeds", {})


def _number(value: float | None, seeds: int | None) -> str:
    """Return a mean as text, with the number of its seeds if there is no value for others."""
    if value is None:
        return ""
    return f"{value:.3f}" + ("" if seeds is None else f" ({plural(seeds, 'seed')})")


def _difference(row: dict[str, Any]) -> str:
    gap = row["difference"]
    if gap is None:
        return ""
    return f"{gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
