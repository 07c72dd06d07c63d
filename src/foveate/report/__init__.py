"""The report of a run: one self-contained HTML file without network requests."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.report.page import Page
    from foveate.report.words import Headline

__all__ = ["headlines", "write_report"]


@dataclass(frozen=True)
class _Kind:
    """A kind of run that has a page; both are ``module:function`` below this package."""

    read: str
    page: str


_KINDS = {
    "bench": _Kind("read_observe:read_benched", "pages.bench:bench"),
    "bench_focus": _Kind("read_bench_focus:read_bench_focus", "pages.bench_focus:bench_focus"),
    "classify": _Kind("read:read_classified", "pages.classify:classify"),
    "compare": _Kind("read_compare:read_compared", "pages.compare:compare"),
    "complete": _Kind("read_observe:read_completed", "pages.complete:complete"),
    "core_sets": _Kind("read:read_core_sets", "pages.bench_curate:bench_curate"),
    "curate": _Kind("read:read_curated", "pages.curate:curate"),
    "focus": _Kind("read:read_focused", "pages.focus:focus"),
    "select": _Kind("read_observe:read_selected", "pages.select:select"),
    "stats": _Kind("read_observe:read_stats", "pages.stats:stats"),
    "train": _Kind("read_observe:read_trained", "pages.train:train"),
}

# Kinds of runs without a page: key of the summary -> content, allowed kinds, and hint.
_NO_PAGE = {
    "embeddings": ("embeddings", "Reports exist for selections and classifications.",
                   "Run curate or classify with the same folder."),
    "tuned": ("a tuned model", "Reports exist for selections and classifications.",
              "Its evaluation is in tables/evaluation.json. Use the model with --model tuned:{}"),
    "pairs": ("pairs", "Reports exist for training, selection and completion.",
              "Train an observer: foveate observe train {} --out OBSERVER"),
}  # fmt: skip


def write_report(run_dir: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run directory.

    The report depends on the run directory alone: the source imagery is not needed, and the same
    run gives the same bytes.

    Args:
        run_dir: Run directory.
        out: HTML file to write; None for ``report.html`` in the run.

    Returns:
        The file.

    Raises:
        DataError: There is no finished run, or its tables contradict each other.
        StorageError: The file cannot be written.
    """
    from foveate.files import printable, write_bytes
    from foveate.report.render import render

    path = Path(run_dir) / "report.html" if out is None else Path(out)
    write_bytes(path, printable(render(page_of(run_dir))).encode())
    return path


def headlines(run_dir: str | Path) -> dict[str, Headline]:
    """Return the headlines of the report of a run, for identical texts in the terminal.

    Args:
        run_dir: Run directory.

    Returns:
        "" -> headline of the run; for `curate` also method -> headline of its selection; for
        `focus` with several images also image -> headline of the image.

    Raises:
        DataError: There is no finished run of a kind that has a report.
    """
    kind, run = _read(run_dir)
    module, _ = _parts(kind.page)
    if hasattr(module, "headlines"):
        return module.headlines(run)
    return {"": module.headline(run)}


def page_of(run_dir: str | Path) -> Page:
    """Return the content of the page of a run.

    Raises:
        DataError: There is no finished run of a kind that has a report.
    """
    kind, run = _read(run_dir)
    module, name = _parts(kind.page)
    return getattr(module, name)(run)


def _read(run_dir: str | Path) -> tuple[_Kind, Any]:
    """Return the kind of a run and its data."""
    from foveate.run import Run

    # A run describes its last job, whose summary determines the page.
    kind = _KINDS[_kind(run_dir, Run.load(run_dir).record.get("summary", {}))]
    module, name = _parts(kind.read)
    return kind, getattr(module, name)(run_dir)


def _parts(home: str) -> tuple[Any, str]:
    module, _, name = home.partition(":")
    return importlib.import_module(f"foveate.report.{module}"), name


def _kind(run_dir: str | Path, summary: Mapping[str, Any]) -> str:
    """Return the kind of a run.

    Raises:
        DataError: Runs of this kind have no page.
    """
    from foveate.errors import DataError

    for key, (what, why, hint) in _NO_PAGE.items():
        if key in summary:
            problem = f"the run {str(run_dir)!r} contains {what} and has no report"
            raise DataError(problem, why, hint.format(run_dir))
    if "observe" in summary:
        task = (summary["observe"] or {}).get("task")
        if task in {"select", "complete"}:
            return task
        if "observer" not in summary:
            raise DataError(
                f"the run {str(run_dir)!r} has the task {task!r}, which has no report",
                "Reports of observe exist for the tasks train, select and complete.",
                "Use the version of foveate that wrote the run.",
            )
    kinds = {
        "observer": "train", "bench": "bench", "bench_focus": "bench_focus", "compare": "compare",
        "core_sets": "core_sets",
        "focus": "focus", "labels": "classify", "statistics": "stats",
    }  # fmt: skip
    return next((kind for key, kind in kinds.items() if key in summary), "curate")
