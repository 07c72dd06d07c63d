"""The result of a benchmark of `curate`: JSON-ready, as files, and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.bench.curate import tables
from foveate.bench.curate.paper_files import write_paper
from foveate.bench.write import cautions_of, csv_of
from foveate.files import write_bytes, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from foveate.bench.compare import Results
    from foveate.bench.curate.design import Design
    from foveate.bench.curate.job import CurateBenchJob
    from foveate.bench.curate.leaks import Leak

FILES = ("tables/curate.json", "tables/cells.csv")
HOW = (
    "mIoU is the mean over the classes of the test scenes, from one confusion matrix over all "
    "test pixels of all folds. Difference: to random tiles with the same sampler, paired by seed "
    "and by {cluster}, with a 95 % bootstrap interval that resamples whole {cluster}s. better, "
    "worse: the interval excludes 0 and the Holm-corrected p over all rows of the budget is at "
    "most 0.05, with at least 6 {cluster}s; open: the interval excludes 0 without that; tied: the "
    "interval contains 0. Noise: standard deviation over trainings on one fixed set of random "
    "tiles."
)


def result(
    job: CurateBenchJob, design: Design, results: Results, *, leaks: Sequence[Leak],
    cautions: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return the content of the page and of ``--json``.

    Args:
        job: The benchmark.
        design: Its pool and folds.
        results: For each seed, condition -> measures, or the reason it was skipped.
        leaks: Pairs of tiles that are not independent, if leaks are allowed.
        cautions: Further cautions for the reader.
    """
    legend = design.pool.legend
    classes = list(legend.names) if legend else []
    methods, samplers = job.chosen_methods, job.samplers
    entries = tables.compared(
        job.budgets, methods, samplers, results, classes=classes, seed=job.seed, floor=job.redraw
    )
    clusters = max((row["clusters"] for e in entries for row in e["rows"]), default=0)
    cluster = "folder" if job.folds == "folder" else "scene"
    return {
        "verb": "curate", "judge": job.judge, "model": job.model, "seeds": len(results),
        "samplers": list(samplers), "methods": methods, "classes": classes,
        "colors": list(legend.colors) if legend else [],
        "folds": [
            {"name": f.name, "train": int(f.train.size), "test": int(f.test.size),
             "val": int(f.val.size)}
            for f in design.folds
        ],
        "clusters": clusters, "cluster": cluster, "entries": entries,
        "left_out": tables.skipped(results), "leaks": len(leaks),
        "how": HOW.format(cluster=cluster),
        "cautions": [*cautions, *_cautions(clusters, cluster, len(leaks))],
        "cells": tables.cells(
            job.budgets, methods, samplers, results, judge=job.judge, first=job.seed
        ),
    }  # fmt: skip


def write_tables(root: Path, found: dict[str, Any]) -> list[str]:
    """Write a result into a run; return the names of the files."""
    write_json(root / FILES[0], found)
    write_bytes(root / FILES[1], csv_of(found["cells"]).encode())
    more = write_paper(root, found["paper"]) if "paper" in found else []
    return [*FILES, *more]


def text_table(found: dict[str, Any]) -> str:
    """Return the mean mIoU by method and budget as text; + better, - worse than random."""
    marks = {"better": "+", "worse": "-", "open": "?"}
    entries = found["entries"]
    lines = []
    for sampler in found["samplers"]:
        lines.append(f"mIoU, sampler {sampler}".ljust(26) + "".join(
            f"{100 * e['share']:>8g}%" for e in entries
        ))  # fmt: skip
        rows = [[r for r in e["rows"] if r["block"] == sampler] for e in entries]
        for name in dict.fromkeys(r["label"] for column in rows for r in column):
            cells = []
            for column in rows:
                row = next((r for r in column if r["label"] == name and "miou" in r["means"]), None)
                mark = marks.get(row["verdict"], " ") if row else ""
                cells.append(f"{row['means']['miou']:.3f}{mark}" if row else "")
            lines.append(f"  {name:<24}" + "".join(f"{cell:>9}" for cell in cells))
    lines.append(
        "+ significantly better than random, - worse, ? not significant after the Holm correction "
        "within a budget"
    )
    return "\n".join(lines)


def _cautions(clusters: int, cluster: str, leaks: int) -> list[str]:
    if not leaks:
        return cautions_of(clusters, cluster)
    text = (
        f"{leaks} pairs of training and test tiles share ground or pixels: the results are "
        "optimistic."
    )
    return [text, *cautions_of(clusters, cluster)]
