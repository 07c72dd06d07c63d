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
    from foveate.files import write_bytes
    from foveate.report.data import read_run
    from foveate.report.render import render
    from foveate.report.view import build

    path = Path(run_dir) / "report.html" if out is None else Path(out)
    write_bytes(path, render(build(read_run(run_dir))).encode())
    return path
