"""Tables I and II and Fig. 4 to 6 of the core-set paper (section V), from measured results.

Table I: mean and standard deviation over runs of the mIoU, in percent. Cells above random sets of
the same size are marked, by a paired two-sided t-test over runs at 0.05, not corrected. The paper
defines the mIoU only as "across all classes". The rule of the public code is used: the mean over
test images of the mean IoU over all classes, 0 for classes that are absent from an image. The mIoU
of one confusion matrix over all images is given beside it. The "corresponding" baseline of the
paper must be random: the marks in its table hold against random alone.

Table II: seconds of an epoch and of a training at each size, and of each method's selection.
According to the text below the table, a selection takes about as long as an epoch with all tiles,
or less.

Deviation: the time of a selection includes the embedding of the training tiles, computed as their
share of the time to embed all tiles.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.bench.conditions import Skipped
from foveate.bench.curate.conditions import ALL, condition
from foveate.curate.compare import compare
from foveate.curate.compare_job import rows_shown, summary, top_sizes, write_tables
from foveate.files import digest, read_json, write_json
from foveate.pool.thumbs import write_thumbs
from foveate.run.shards import step_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.bench.compare import Results
    from foveate.bench.curate.job import CurateBenchJob
    from foveate.bench.curate.measure import Rankings
    from foveate.embeddings import Embeddings
    from foveate.progress import ProgressFn
    from foveate.run import Run
    from foveate.selection import Ranking

VERSION = 1  # raised when the output of the comparison step changes
ALPHA = 0.05
RANDOM, BASELINES = "random", ("random", "kcenter")
PROPOSED = ("lc", "fd", "lc-fd", "fa", "cb", "fa-cb")
ORDER_OF_ONE = 10**0.5  # epochs: below, nearer to one than to ten on a logarithmic scale
COMPARED = "tables/compare.json"
PATCHES = 12  # at each end of the average rank
_CATEGORY = {("counts",): "Label only", ("embeddings",): "Image only"}


def paired_t(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of a paired t-test.

    Args:
        a: (n,) values of the runs of one method.
        b: (n,) values of the same runs of another method.

    Returns:
        The p-value; NaN for fewer than two runs, or if all differences are equal.
    """
    from scipy.stats import ttest_rel

    gap = a - b
    if gap.size < 2 or np.ptp(gap) <= 1e-12 * max(1.0, float(np.abs(gap).max())):
        return math.nan
    return float(ttest_rel(a, b).pvalue)


def result(job: CurateBenchJob, results: Results, embedding: float | None = None) -> dict[str, Any]:
    """Return Tables I and II, JSON-ready.

    Args:
        job: The benchmark.
        results: For each seed, condition -> measures, or the reason it was skipped.
        embedding: Seconds to embed the training tiles; None if unknown.
    """
    sampler = "none" if "none" in job.samplers else job.samplers[0]
    drawn = _Drawn(results, sampler)
    order = [name for name in (*BASELINES, *PROPOSED) if name in job.chosen_methods]
    methods = [*order, *(name for name in job.chosen_methods if name not in order)]
    shares = list(dict.fromkeys([*job.budgets, 1.0]))
    table: list[dict[str, Any]] = [
        {"method": name, "title": _title(job, name), "category": _category(job, name),
         "cells": [_cell(drawn, name, share) for share in shares]}
        for name in methods
    ]  # fmt: skip
    cells = [cell for row in table for cell in row["cells"] if cell["mean"] is not None]
    top = max((cell["mean"] for cell in cells), default=None)
    for cell in cells:
        cell["best"] = cell["mean"] == top
    return {
        "runs": len(results), "sampler": sampler, "redrawn": job.redraw, "shares": shares,
        "table1": table, "table2": _times(job, drawn, methods, shares, embedding),
    }  # fmt: skip


class _Drawn:
    """Values of each run."""

    def __init__(self, results: Results, sampler: Any) -> None:
        self._results, self._sampler = results, sampler

    def values(self, method: str, share: float, name: str) -> NDArray[np.float64]:
        """Return (runs,) values of a measure; empty if the method was not measured."""
        found = []
        for measured in self._results:
            known = measured.get(condition(method, share, self._sampler))
            if known is None or isinstance(known, str) or name not in known:
                return np.empty(0)
            found.append(known[name].value)
        return np.array(found, np.float64)


def _title(job: CurateBenchJob, name: str) -> str:
    return job.known_methods[name].title if name in job.known_methods else name


def _category(job: CurateBenchJob, name: str) -> str:
    if name in BASELINES or name not in job.known_methods:
        return "-"
    return _CATEGORY.get(job.known_methods[name].needs, "Both")


def _cell(drawn: _Drawn, method: str, share: float) -> dict[str, Any]:
    """Return a cell of Table I; the result of all tiles is in the row of random."""
    found: dict[str, Any] = {
        "share": share, "mean": None, "sd": None, "dataset": None, "dataset_sd": None, "p": {},
        "above": False, "best": False,
    }  # fmt: skip
    values = drawn.values(method, share, "miou per image")
    if not values.size or (share >= 1 and method != RANDOM):
        return found
    matrix = drawn.values(method, share, "miou")
    found |= {
        "mean": 100 * float(values.mean()), "sd": _sd(100 * values),
        "dataset": 100 * float(matrix.mean()), "dataset_sd": _sd(100 * matrix),
    }  # fmt: skip
    if share >= 1:
        return found
    others = {"all tiles": drawn.values(ALL, 1.0, "miou per image")} | {
        name: drawn.values(name, share, "miou per image") for name in BASELINES if name != method
    }
    found["p"] = {name: paired_t(values, other) for name, other in others.items() if other.size}
    if method not in BASELINES:
        p = found["p"].get(RANDOM, math.nan)
        found["above"] = p < ALPHA and values.mean() > others[RANDOM].mean()
    return found


def _sd(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else 0.0


def _times(
    job: CurateBenchJob,
    drawn: _Drawn,
    methods: Sequence[str],
    shares: Sequence[float],
    embedding: float | None,
) -> dict[str, Any]:
    """Return Table II, and whether the paper's statement on selections holds."""
    sizes = []
    for share in shares:
        names = [ALL] if share >= 1 else methods
        epoch, training = (
            np.concatenate([drawn.values(name, share, what) for name in names])
            for what in ("epoch s", "fit s")
        )
        sizes.append({
            "share": share, "epoch": float(epoch.mean()) if epoch.size else None,
            "training": float(training.mean()) if training.size else None,
        })  # fmt: skip
    full = sizes[-1]["epoch"]
    selections: list[dict[str, Any]] = []
    for name in methods:
        seconds = next(
            (v for s in shares if s < 1 and (v := drawn.values(name, s, "select s")).size), None
        )
        if seconds is None:
            continue
        embeds = "embeddings" in job.known_methods[name].needs
        used = (embedding or 0.0) if embeds else 0.0
        ranking = float(seconds.mean())
        total = ranking + used
        selections.append({
            "method": name, "ranking": ranking, "embedding": used if embeds else None,
            "seconds": total, "epochs": total / full if full else None,
        })  # fmt: skip
    known = [s["epochs"] for s in selections if s["epochs"] is not None]
    return {
        "sizes": sizes, "selections": selections,
        "holds": all(e < ORDER_OF_ONE for e in known) if known else None,
        "most": max(known, default=None),
    }  # fmt: skip


def embedding_seconds(run: Run, embeddings: Embeddings | None, rankings: Rankings) -> float | None:
    """Return the seconds to embed the training tiles of a fold, by their share of all tiles."""
    if embeddings is None:
        return None
    entry = run.record.get("steps", {}).get(step_name(embeddings.spec.name))
    folds = rankings.design.folds
    share = sum(fold.train.size for fold in folds) / len(folds) / len(rankings.design.pool)
    return None if entry is None else float(entry["seconds"]) * share


def compare_rankings(
    job: CurateBenchJob, run: Run, rankings: Rankings, key: str, progress: ProgressFn | None = None
) -> dict[str, Any] | None:
    """Compare the rankings of the proposed methods (Fig. 4 to 6), as ``foveate compare`` does.

    Args:
        job: The benchmark.
        run: Open for writing.
        rankings: Rankings; those of the first fold with the first seed are compared.
        key: Hash of the inputs of the rankings.
        progress: Called with ticks.

    Returns:
        Summary of the comparison; None if fewer than two methods are measured.
    """
    names = [name for name in PROPOSED if name in job.chosen_methods]
    options = [job.options.get(name) for name in names]
    tops = [f"{100 * share:g}%" for share in job.budgets if share < 1] or ["10%"]

    def work() -> list[str]:
        found: dict[str, Ranking] = {}
        for name in names:
            try:
                found[name] = rankings.find(0, name, job.seed)[0]
            except Skipped:  # the reason is in the tables
                continue
        if len(found) < 2:
            write_json(run.path / COMPARED, None)
            return [COMPARED]
        pool = rankings.design.pool.take(rankings.design.folds[0].train)
        assert pool.tiles is not None  # noqa: S101  (a pool of imagery)
        known = compare(found)
        sizes = top_sizes(tops, known.ids.size)
        windows = {"scene": pool.tiles.scene, "y": pool.tiles.y, "x": pool.tiles.x}
        files = write_tables(run.path, known, sizes, (pool.ids, windows))
        shown = np.isin(pool.ids, known.ids[rows_shown(known, sizes, PATCHES)])
        files += write_thumbs(
            run.path, pool, np.flatnonzero(shown), bands=job.bands, progress=progress
        )
        write_json(run.path / COMPARED, summary(known, sizes, shown=PATCHES))
        return [*files, COMPARED]

    run.do("compare", digest([VERSION, key, names, options, tops, job.seed]), work)
    return read_json(run.path / COMPARED)
