"""Export of selections and predictions for other programs; a target writes a file or a folder.

An export depends on a run directory only; `chips` also reads the imagery of the run. A selection is
exported in the order of selection; several methods are in one file, with the column ``method``. A
classify run is exported as all tiles with labels, a focus run as its regions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import ParameterError, UnknownNameError
from foveate.export.table import Export, run_table
from foveate.registry import Registry
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


# Vector formats of GIS programs, to which geojson and geoparquet are the nearest targets.
_VECTORS = frozenset(
    {"shp", "shapefile", "gpkg", "geopackage", "fgb", "flatgeobuf", "kml", "kmz", "gml", "gpx"}
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
        out: File to write; an existing file is replaced atomically. For "chips", "stac" and
            "embeddings" a new or empty folder, which is created when complete.
        methods: Names of methods, in order; None for all methods of the run.
        previews: Whether to add 8-bit pictures to "chips".
        datetime: For "stac" and "embeddings": date, or interval A/B, of tiles without a date in
            the run.
        progress: Called with ticks.

    Returns:
        The written file or folder.

    Raises:
        UnknownNameError: No such target, or the run has no such method.
        ParameterError: `out` is a folder instead of a file, or vice versa, or has the suffix of
            another format; previews or a date are given for a target without them, or a required
            date is missing.
        DataError: There is no run, it has no result to export, it is not georeferenced and the
            target requires geometry, or its images have moved and the target requires pixels.
        StorageError: `out` cannot be written.
    """
    if to.lower().lstrip(".") in _VECTORS:
        raise UnknownNameError(
            f"unknown export target {to!r}", f"Known: {', '.join(TARGETS)}.",
            "GIS programs read geojson and geoparquet. Use --to geojson; to convert the file: "
            "ogr2ogr OUT selection.geojson",
        )  # fmt: skip
    target = TARGETS.get(to)
    if previews and not target.previews:
        raise _unsupported("--previews", to, "Previews", lambda target: target.previews)
    if datetime and not target.dated:
        raise _unsupported("--datetime", to, "Dates", lambda target: target.dated)
    if methods and not target.tabular:
        raise ParameterError(
            f"--method {methods[0]} with --to {to}", "This target exports all tiles of the run.",
            "Remove --method.",
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


def _unsupported(
    option: str, to: str, what: str, supports: Callable[[Target], bool]
) -> ParameterError:
    names = ", ".join(name for name in TARGETS if supports(TARGETS.get(name)))
    return ParameterError(
        f"{option} with --to {to}", f"{what} are supported by {names}.", f"Remove {option}."
    )


def _check_file(to: str, target: Target, path: Path) -> None:
    name = f"selection{target.suffixes[0]}"
    if path.is_dir():
        raise ParameterError(
            f"--out {str(path)!r} is a folder",
            f"The {to} export writes one file.",
            f"Use --out {path / name}",
        )
    if path.suffix.lower() not in target.suffixes:
        raise ParameterError(
            f"--out {str(path)!r} does not end in {' or '.join(target.suffixes)}",
            f"A {to} file requires this suffix.",
            f"Use --out {path.with_suffix(target.suffixes[0]) if path.name else name}",
        )


def _check_folder(to: str, target: Target, path: Path) -> None:  # noqa: ARG001  (as `_check_file`)
    if path.is_file():
        raise ParameterError(
            f"--out {str(path)!r} is a file",
            f"The {to} export writes a folder.",
            f"Use --out {path.with_suffix('') if path.suffix else path.with_name(to)}",
        )
    if path.is_dir() and any(path.iterdir()):
        raise ParameterError(
            f"--out {str(path)!r} is a folder that is not empty",
            f"The {to} export requires a new or empty folder.",
            f"Use --out {path / to}",
        )
