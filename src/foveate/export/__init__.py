"""Selections and predictions for other programs: one target, one file.

An export is a function of a run directory. It never opens the imagery. Of a selection it holds
what was chosen in the order of choice; with several methods one file holds all of them, told apart
by the column ``method``. Of a classify run it holds every tile with its label.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import ParameterError
from foveate.export.table import run_table
from foveate.registry import Registry
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.export.table import Target

__all__ = ["TARGETS", "export_run"]

TARGETS: Registry[Target] = Registry(
    "export target",
    {
        "geojson": "foveate.export.geojson:TARGET",
        "geoparquet": "foveate.export.geoparquet:TARGET",
        "csv": "foveate.export.csv:TARGET",
    },
)


def export_run(
    run_dir: str | Path, to: str, out: str | Path, methods: Sequence[str] | None = None
) -> list[Path]:
    """Write the selections or predictions of a run for another program.

    Args:
        run_dir: Run directory.
        to: Name of the target: "geojson", "geoparquet" or "csv".
        out: File to write; an existing file is replaced, atomically.
        methods: Names of methods, in the order wanted; None for all of the run.

    Returns:
        The files that were written.

    Raises:
        UnknownNameError: No such target, or a method that the run does not have.
        ParameterError: `out` is a folder or ends like another format.
        DataError: There is no run, it holds neither, or it is not georeferenced and the target
            needs geometry.
        StorageError: `out` cannot be written.
    """
    target = TARGETS.get(to)
    path = Path(out)
    name = f"selection{target.suffixes[0]}"
    if path.is_dir():
        raise ParameterError(
            f"--out {str(path)!r} is a folder",
            f"The {to} export writes one file.",
            f"--out {path / name}",
        )
    if path.suffix.lower() not in target.suffixes:
        raise ParameterError(
            f"--out {str(path)!r} does not end in {' or '.join(target.suffixes)}",
            f"That is how a {to} file is recognised.",
            f"--out {path.with_suffix(target.suffixes[0]) if path.name else name}",
        )
    table = run_table(Run.load(run_dir), methods, geometry=target.geometry)
    target.write(table, path)
    return [path]
