"""The report of a run: one HTML file that opens anywhere and asks nobody for anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from foveate.report.words import Headline

__all__ = ["headlines", "write_report"]


def write_report(run_dir: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run directory.

    It is a function of the run directory alone: the source imagery is not needed, and the same
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
    write_bytes(path, printable(render(_kind(run_dir).build(run_dir))).encode())
    return path


def headlines(run_dir: str | Path) -> dict[str, Headline]:
    """Return what the report of a run says first, so that prints say the same.

    Args:
        run_dir: Run directory.

    Returns:
        "" -> what is said of the run as a whole; of `curate` also method -> what is said of its
        selection, of `focus` with several images image -> what is said of it.

    Raises:
        DataError: There is no finished run of a kind that has a report.
    """
    return _kind(run_dir).said(run_dir)


class _Kind(NamedTuple):
    """What is drawn and said of one kind of run."""

    build: Callable[[str | Path], Any]
    said: Callable[[str | Path], dict[str, Headline]]


def _kind(run_dir: str | Path) -> _Kind:
    """Return which kind a run is of.

    Raises:
        DataError: There is no run, or it has no page.
    """
    from foveate.report import benched, classified, data, focused, observed, view
    from foveate.run import Run

    # A run describes its last job: what that came to says which page it is.
    summary = Run.load(run_dir).record.get("summary", {})
    _check_page(run_dir, summary)
    if observed.is_observed(summary):
        return _Kind(observed.build, lambda path: {"": observed.headline(path)})
    kinds: dict[str, tuple[Any, Any]] = {
        "bench": (benched.read_benched, benched), "focus": (focused.read_focused, focused),
        "labels": (classified.read_classified, classified),
    }  # fmt: skip
    read, page = next((kinds[key] for key in kinds if key in summary), (data.read_run, view))
    return _Kind(lambda path: page.build(read(path)), lambda path: page.headlines(read(path)))


def _check_page(run_dir: str | Path, summary: Mapping[str, Any]) -> None:
    """Refuse runs without a page.

    Raises:
        DataError: It is of such a kind.
    """
    from foveate.errors import DataError

    if "embeddings" in summary:
        raise DataError(
            f"the run {str(run_dir)!r} holds embeddings, and nothing to show",
            "Reports are of what was selected or classified.",
            "Go on with curate or classify in the same folder.",
        )
    if "tuned" in summary:
        raise DataError(
            f"the run {str(run_dir)!r} holds a tuned model, and nothing to show",
            "Reports are of what was selected or classified.",
            f"What it came to is in tables/evaluation.json; use it: --model tuned:{run_dir}",
        )
    if "pairs" in summary:
        raise DataError(
            f"the run {str(run_dir)!r} holds pairs, and nothing to show",
            "Reports are of what was trained, selected or completed with them.",
            f"Train an observer: foveate observe train {run_dir} --out OBSERVER",
        )
