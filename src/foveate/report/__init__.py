"""The report of a run: one HTML file that opens anywhere and asks nobody for anything."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_report"]


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
    from foveate.errors import DataError
    from foveate.files import printable, write_bytes
    from foveate.report import benched, classified, data, focused, observed, view
    from foveate.report.render import render
    from foveate.run import Run

    path = Path(run_dir) / "report.html" if out is None else Path(out)
    # A run describes its last job: what that came to says which page it is.
    summary = Run.load(run_dir).record.get("summary", {})
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
    if "bench" in summary:
        page = render(benched.build(benched.read_benched(run_dir)))
    elif observed.is_observed(summary):
        page = render(observed.build(run_dir))
    elif "focus" in summary:
        page = render(focused.build(focused.read_focused(run_dir)))
    elif "labels" in summary:
        page = render(classified.build(classified.read_classified(run_dir)))
    else:
        page = render(view.build(data.read_run(run_dir)))
    write_bytes(path, printable(page).encode())
    return path
