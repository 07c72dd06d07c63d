"""The pages of `foveate observe`: of a trained observer, of selected tiles, of completed scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.errors import DataError
from foveate.report import (
    observed_choice,
    observed_completed,
    observed_selected,
    observed_trained,
)
from foveate.report.observed_data import read_completed, read_selected, read_trained
from foveate.report.words import observer
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from foveate.report.observed_completed import CompletedView
    from foveate.report.observed_selected import SelectedView
    from foveate.report.observed_trained import TrainedView
    from foveate.report.words import Headline

    type ObservedView = TrainedView | SelectedView | CompletedView


def is_observed(summary: Mapping[str, Any]) -> bool:
    """Say whether the summary of a run is of one that this module draws."""
    return "observer" in summary or "observe" in summary


def headline(run_dir: str | Path) -> Headline:
    """Return what is said of a run, on its page and by the command.

    Raises:
        DataError: See `build`.
    """
    task = _task(run_dir)
    if task == "select":
        run = read_selected(run_dir)
        return observed_choice.chosen(run, observed_choice.chosen_tiles(run))
    if task == "complete":
        return observed_completed.said(read_completed(run_dir))
    return observer.trained(read_trained(run_dir).evaluation)


def build(run_dir: str | Path) -> ObservedView:
    """Turn a run directory into the content of its page, by what its summary says it is.

    Raises:
        DataError: There is no run of these kinds, it is not finished, or its tables contradict
            each other.
    """
    task = _task(run_dir)
    if task == "select":
        return observed_selected.build(read_selected(run_dir))
    if task == "complete":
        return observed_completed.build(read_completed(run_dir))
    return observed_trained.build(read_trained(run_dir))


def _task(run_dir: str | Path) -> str:
    summary = Run.load(run_dir).record.get("summary", {})
    task = (summary.get("observe") or {}).get("task")
    if task in {"select", "complete"}:
        return task
    if "observer" in summary:
        return "train"
    raise DataError(
        f"the run {str(run_dir)!r} is of the task {task!r}, which has no page",
        "Pages of observe are of the tasks train, select and complete.",
        "Use the foveate that wrote it.",
    )
