"""Tables I and II of the core-set paper as files, in CSV and in Markdown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from foveate.bench.write import csv_of
from foveate.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILES = ("tables/table1.csv", "tables/table1.md", "tables/table2.csv", "tables/table2.md")
TABLES = (("Table I", FILES[1]), ("Table II", FILES[3]))  # title and Markdown file
RULE = (
    "mIoU in percent: the mean over test images of the mean IoU over all classes, 0 for classes "
    "that are absent from an image (the rule of the paper's public code). In brackets: the mIoU of "
    "one confusion matrix over all test images, over the classes in these. Underlined: above "
    "random sets of the same size by a paired t-test over {runs} runs at 0.05, not corrected, as "
    "in the paper. Bold: the best of the table."
)


def write_paper(root: Path, found: Mapping[str, Any]) -> list[str]:
    """Write the tables of the entry "paper" of ``curate.json``; return the names of the files."""
    texts = (csv_of(_rows1(found)), _table1(found), csv_of(_rows2(found)), _table2(found))
    for file, text in zip(FILES, texts, strict=True):
        write_bytes(root / file, text.encode())
    return list(FILES)


def shown(cell: Mapping[str, Any]) -> str:
    """Return a cell of Table I as text without marks."""
    return "-" if cell["mean"] is None else f"{cell['mean']:.2f} \u00b1 {cell['sd']:.2f}"


def _rows1(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "method": row["method"], "category": row["category"],
            "budget": round(100 * cell["share"], 6), "runs": found["runs"],
            "miou": cell["mean"], "sd": cell["sd"], "miou_dataset": cell["dataset"],
            "sd_dataset": cell["dataset_sd"],
            **{f"p_{name.replace(' ', '_')}": _known(cell["p"].get(name))
               for name in ("random", "kcenter", "all tiles")},
            "above_random": cell["above"], "best": cell["best"],
        }
        for row in found["table1"] for cell in row["cells"] if cell["mean"] is not None
    ]  # fmt: skip


def _table1(found: Mapping[str, Any]) -> str:
    heads = ["Method", "Category", *(_share(share) for share in found["shares"])]
    rows = []
    for row in found["table1"]:
        cells = []
        for cell in row["cells"]:
            text = shown(cell)
            text = f"<u>{text}</u>" if cell["above"] else text
            text = f"**{text}**" if cell["best"] else text
            cells.append(text if cell["mean"] is None else f"{text} ({cell['dataset']:.2f})")
        rows.append([row["title"], row["category"], *cells])
    return f"{_markdown(heads, rows)}\n{RULE.format(runs=found['runs'])}\n"


def _rows2(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    times = found["table2"]
    rows = [
        {"what": what, "method": "", "budget": round(100 * size["share"], 6),
         "seconds": size[what], "full_epochs": None}
        for what in ("epoch", "training") for size in times["sizes"]
    ]  # fmt: skip
    rows += [
        {"what": "selection", "method": one["method"], "budget": None, "seconds": one["seconds"],
         "full_epochs": one["epochs"]}
        for one in times["selections"]
    ]  # fmt: skip
    return [row for row in rows if row["seconds"] is not None]


def _table2(found: Mapping[str, Any]) -> str:
    times = found["table2"]
    sizes = [size for size in times["sizes"] if size["epoch"] is not None]
    parts = []
    if sizes:
        parts.append(_markdown(
            ["Seconds", *(_share(size["share"]) for size in sizes)],
            [["an epoch", *(_number(size["epoch"]) for size in sizes)],
             ["a training", *(_number(size["training"]) for size in sizes)]],
        ))  # fmt: skip
    parts.append(_markdown(
        ["Selection", "Ranking, s", "Embedding, s", "Together, s", "Epochs with all tiles"],
        [[one["method"], _number(one["ranking"]), _number(one["embedding"]),
          _number(one["seconds"]), _number(one["epochs"])] for one in times["selections"]],
    ))  # fmt: skip
    return "\n".join([*parts, claim(times) + "\n"])


def claim(times: Mapping[str, Any]) -> str:
    """Return a sentence that compares the time of a selection with an epoch on all tiles."""
    if times["holds"] is None:
        return "No epoch with all tiles was timed, so selections cannot be compared with one."
    slowest = f"the slowest takes {times['most']:.2g} epochs (up to 3.2 are of the order of one)"
    if times["holds"]:
        return (
            f"Every selection takes of the order of one epoch with all tiles, or less: {slowest}."
        )
    return f"Some selections take longer than the order of one epoch with all tiles: {slowest}."


def _known(p: float | None) -> float | None:
    return None if p is None or math.isnan(p) else p


def _share(share: float) -> str:
    return f"{100 * share:g}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
