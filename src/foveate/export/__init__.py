"""Selections and predictions for other programs: one target writes one file, or one folder.

An export is a function of a run directory; `chips` alone also opens the imagery that the run was
made from. Of a selection it holds what was chosen in the order of choice; with several methods one
file holds all of them, told apart by the column ``method``. Of a classify run it holds every tile
with its label, of a focus run the regions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import ParameterError
from foveate.export.table import Export, run_table
from foveate.registry import Registry
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.export.table import Target
    from foveate.progress import ProgressFn

__all__ = ["TARGETS", "export_run"]

TARGETS: Registry[Target] = Registry(
    "export target",
    {
        "geojson": "foveate.export.geojson:TARGET",
        "geoparquet": "foveate.export.geoparquet:TARGET",
        "csv": "foveate.export.csv:TARGET",
        "list": "foveate.export.list:TARGET",
        "chips": "foveate.export.chips:TARGET",
        "stac": "foveate.export.stac:TARGET",
        "embeddings": "foveate.export.embeddings:TARGET",
    },
)


def export_run(
    run_dir: str | Path,
    to: str,
    out: str | Path,
    methods: Sequence[str] | None = None,
    *,
    previews: bool = False,
    datetime: str = "",
    progress: ProgressFn | None = None,
) -> list[Path]:
    """Write the selections, predictions or embeddings of a run for another program.

    Args:
        run_dir: Run directory.
        to: Name of the target: "geojson", "geoparquet", "csv", "list", "chips", "stac" or
            "embeddings".
        out: File to write; an existing file is replaced, atomically. Of "chips", "stac" and
            "embeddings" a new or empty folder, which is there when all of it is.
        methods: Names of methods, in the order wanted; None for all of the run.
        previews: Whether "chips" get 8-bit pictures beside them.
        datetime: For "stac" and "embeddings": date, or interval A/B, of tiles of which the run
            knows none.
        progress: Called with ticks.

    Returns:
        The files that were written, or the folder.

    Raises:
        UnknownNameError: No such target, or a method that the run does not have.
        ParameterError: `out` is a folder where a file is written, or a file where a folder is, or
            ends like another format; previews of a target that has none, a date for one that says
            none, or none where there has to be one.
        DataError: There is no run, it holds neither, it is not georeferenced and the target
            needs geometry, or its images have moved and the target needs pixels.
        StorageError: `out` cannot be written.
    """
    target = TARGETS.get(to)
    if previews and not target.previews:
        able = [name for name in TARGETS if TARGETS.get(name).previews]
        raise ParameterError(
            f"--previews with --to {to}", f"Previews stand beside {', '.join(able)}.",
            "Leave it out.",
        )  # fmt: skip
    if datetime and not target.dated:
        able = [name for name in TARGETS if TARGETS.get(name).dated]
        raise ParameterError(
            f"--datetime with --to {to}", f"Dates are said by {', '.join(able)}.", "Leave it out.",
        )  # fmt: skip
    if methods and not target.tabular:
        raise ParameterError(
            f"--method {methods[0]} with --to {to}", "It is of all tiles of the run.",
            "Leave it out.",
        )  # fmt: skip
    path = Path(out)
    (_check_folder if target.folder else _check_file)(to, target, path)
    run = Run.load(run_dir)
    if target.tabular:
        table = run_table(run, methods, geometry=target.geometry)
    else:
        import pyarrow as pa

        table = pa.table({})
    target.write(Export(run, table, path, previews, datetime, progress))
    return [path]


def _check_file(to: str, target: Target, path: Path) -> None:
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


def _check_folder(to: str, target: Target, path: Path) -> None:  # noqa: ARG001  (as `_check_file`)
    if path.is_file():
        raise ParameterError(
            f"--out {str(path)!r} is a file",
            f"The {to} export writes a folder.",
            f"--out {path.with_suffix('') if path.suffix else path.with_name(to)}",
        )
    if path.is_dir() and any(path.iterdir()):
        raise ParameterError(
            f"--out {str(path)!r} is a folder that is not empty",
            f"The {to} export writes a new or empty folder, all at once.",
            f"--out {path / to}",
        )
