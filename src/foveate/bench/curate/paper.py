"""Tables I and II and Fig. 4 to 6 of the core-set paper (section V), of what was measured.

Table I: mean and standard deviation over runs of the mIoU, in percent; marked is what is above
random tiles of the same size by a paired t-test over runs at .05, two-sided and uncorrected. The
text says no more of the mIoU than "across all classes": taken is the rule of the public code, the
mean over test images of the mean IoU over all classes, 0 for those that an image does not have;
the mIoU of one confusion matrix over all images stands beside it. Which baseline is meant by
"corresponding" follows from the marks in the paper's table, which hold against random alone.

Table II: seconds of an epoch and of a training at each size; and of each method's selection, which
the text below the table says takes about as long as an epoch with all tiles, or less.

Deviation: a selection is timed with the embedding of the tiles to choose from, as its share of the
time that embedding all tiles took.
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

VERSION = 1  # raised when the step of the comparison writes something else
ALPHA = 0.05
RANDOM, BASELINES = "random", ("random", "kcenter")
PROPOSED = ("lc", "fd", "lc-fd", "fa", "cb", "fa-cb")
ORDER_OF_ONE = 10**0.5  # epochs that are nearer to one than to ten, on a logarithmic scale
COMPARED = "tables/compare.json"
PATCHES = 12  # at each end of the average rank
_CATEGORY = {("counts",): "Label only", ("embeddings",): "Image only"}


def paired_t(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of a paired t-test.

    Args:
        a: (n,) a value of each run.
        b: (n,) those of the same runs of another method.

    Returns:
        NaN for fewer than two runs, and where all differences are the same.
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
        results: For each seed, condition -> measures, or why it was skipped.
        embedding: Seconds of embedding the tiles to choose from; None where that is not known.
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
        """Return (runs,) values of a measure; empty where the method was not measured."""
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
    """Return a cell of Table I; that of all tiles stands in the row of random."""
    found: dict[str, Any] = {
        "share": share, "mean": None, "sd": None, "dataset": None, "dataset_sd": None, "p": {},
        "above": False, "best": False,
    }  # fmt: skip
    own = drawn.values(method, share, "miou per image")
    if not own.size or (share >= 1 and method != RANDOM):
        return found
    matrix = drawn.values(method, share, "miou")
    found |= {
        "mean": 100 * float(own.mean()), "sd": _sd(100 * own),
        "dataset": 100 * float(matrix.mean()), "dataset_sd": _sd(100 * matrix),
    }  # fmt: skip
    if share >= 1:
        return found
    others = {"all tiles": drawn.values(ALL, 1.0, "miou per image")} | {
        name: drawn.values(name, share, "miou per image") for name in BASELINES if name != method
    }
    found["p"] = {name: paired_t(own, other) for name, other in others.items() if other.size}
    if method not in BASELINES:
        p = found["p"].get(RANDOM, math.nan)
        found["above"] = p < ALPHA and own.mean() > others[RANDOM].mean()
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
    """Return Table II, and what the text says of selections."""
    sizes = []
    for share in shares:
        names = [ALL] if share >= 1 else methods
        epoch, whole = (
            np.concatenate([drawn.values(name, share, what) for name in names])
            for what in ("epoch s", "fit s")
        )
        sizes.append({
            "share": share, "epoch": float(epoch.mean()) if epoch.size else None,
            "training": float(whole.mean()) if whole.size else None,
        })  # fmt: skip
    full = sizes[-1]["epoch"]
    selections: list[dict[str, Any]] = []
    for name in methods:
        own = next(
            (v for s in shares if s < 1 and (v := drawn.values(name, s, "select s")).size), None
        )
        if own is None:
            continue
        reads = "embeddings" in job.known_methods[name].needs
        used = (embedding or 0.0) if reads else 0.0
        total = float(own.mean()) + used
        selections.append({
            "method": name, "ranking": float(own.mean()), "embedding": used if reads else None,
            "seconds": total, "epochs": total / full if full else None,
        })  # fmt: skip
    known = [s["epochs"] for s in selections if s["epochs"] is not None]
    return {
        "sizes": sizes, "selections": selections,
        "holds": all(e < ORDER_OF_ONE for e in known) if known else None,
        "most": max(known, default=None),
    }  # fmt: skip


def embedding_seconds(run: Run, embeddings: Embeddings | None, rankings: Rankings) -> float | None:
    """Return the seconds that embedding the tiles to choose from of a fold took, by their share."""
    if embeddings is None:
        return None
    entry = run.record.get("steps", {}).get(step_name(embeddings.spec.name))
    folds = rankings.design.folds
    share = sum(fold.train.size for fold in folds) / len(folds) / len(rankings.design.pool)
    return None if entry is None else float(entry["seconds"]) * share


def compare_rankings(
    job: CurateBenchJob, run: Run, rankings: Rankings, key: str, progress: ProgressFn | None = None
) -> dict[str, Any] | None:
    """Compare what the proposed methods rank (Fig. 4 to 6): the files of ``foveate compare``.

    Args:
        job: The benchmark.
        run: Open for writing.
        rankings: Those of the first fold, under the first seed, are compared.
        key: Hash of everything that rankings depend on.
        progress: Called with ticks.

    Returns:
        What the comparison came to; None where fewer than two of them are measured.
    """
    names = [name for name in PROPOSED if name in job.chosen_methods]
    own = [job.options.get(name) for name in names]
    tops = [f"{100 * share:g}%" for share in job.budgets if share < 1] or ["10%"]

    def work() -> list[str]:
        found: dict[str, Ranking] = {}
        for name in names:
            try:
                found[name] = rankings.find(0, name, job.seed)[0]
            except Skipped:  # the tables say why
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
        wanted = np.isin(pool.ids, known.ids[rows_shown(known, sizes, PATCHES)])
        files += write_thumbs(
            run.path, pool, np.flatnonzero(wanted), bands=job.bands, progress=progress
        )
        write_json(run.path / COMPARED, summary(known, sizes, shown=PATCHES))
        return [*files, COMPARED]

    run.do("compare", digest([VERSION, key, names, own, tops, job.seed]), work)
    return read_json(run.path / COMPARED)
