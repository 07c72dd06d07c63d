"""The exported table, and the definition of export targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from foveate.errors import DataError, ParameterError
from foveate.export.native import native_outlines
from foveate.files import read_parquet
from foveate.pool.selections import no_method, stored_methods

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pyarrow as pa

    from foveate.progress import ProgressFn
    from foveate.run import Run

GEOMETRY = "geometry"
NATIVE = b"crs"  # metadata key of the CRS of outlines other than longitude and latitude
_FIRST = ("method", "rank", "tile_id", "scene", "y", "x", "h", "w", "score")
_LAST = ("weight", GEOMETRY)
_PREDICTIONS = "predictions.parquet"  # of a classify run
_REGIONS = "regions.parquet"  # of a focus run


@dataclass(frozen=True)
class Export:
    """Arguments of an export.

    Attributes:
        run: The run.
        table: Result of the run; see `selection_table`. Empty for a target that does not use it.
        path: File or folder to write.
        previews: Whether to write 8-bit pictures.
        datetime: Date, or interval A/B, of tiles without a date in the run; "" for none.
        progress: Called with ticks.
    """

    run: Run
    table: pa.Table
    path: Path
    previews: bool = False
    datetime: str = ""
    progress: ProgressFn | None = None


@dataclass(frozen=True)
class Target:
    """An export target.

    Attributes:
        suffixes: File suffixes, lower case with the dot, the default first; empty for a folder.
        geometry: "needed" (runs without longitude and latitude are refused), "native" (they have
            outlines in the native CRS, if there is one) or "optional".
        write: Writes an `Export` atomically.
        folder: Whether it writes a folder instead of a file.
        previews: Whether it supports previews.
        dated: Whether it stores acquisition dates.
        tabular: Whether it exports selections, predictions or regions.
    """

    suffixes: tuple[str, ...]
    geometry: str
    write: Callable[[Export], None]
    folder: bool = False
    previews: bool = False
    dated: bool = False
    tabular: bool = True


def run_table(run: Run, methods: Sequence[str] | None, *, geometry: str) -> pa.Table:
    """Return the result of a run: selections, predictions, or the regions of a focus run.

    Args:
        run: The run.
        methods: Names of methods in order; None for all.
        geometry: "needed", "native" or "optional".

    Raises:
        ParameterError: Methods are given for a run without methods.
        UnknownNameError: See `selection_table`.
        DataError: The run has no result, or required geometry is missing.
    """
    # A run describes its last job: files of earlier jobs may exist.
    name = _REGIONS if "focus" in run.record.get("summary", {}) else _PREDICTIONS
    if not (run.path / name).exists():
        return selection_table(run, methods, geometry=geometry)
    if methods:
        raise ParameterError(
            f"--method {methods[0]} for the run {str(run.path)!r}",
            f"A {'focus' if name == _REGIONS else 'classify'} run has no methods.",
            "Remove --method.",
        )
    return _with_geometry(run, read_parquet(run.path / name), geometry)


def selection_table(run: Run, methods: Sequence[str] | None, *, geometry: str) -> pa.Table:
    """Stack the selections of a run.

    Args:
        run: The run.
        methods: Names in order; None for all.
        geometry: "needed", "native" or "optional".

    Returns:
        One row per pick, method by method in rank order. Columns: method, rank (from 1), tile_id,
        scene, y, x, h, w (pixels of the scene), score, ``cost_<unit>`` for each unit of the
        budget, weight, and geometry (WKB polygons): WGS84 longitude and latitude for georeferenced
        runs; otherwise, with "native", the CRS of the scenes, stored as PROJJSON in the metadata
        of the table.

    Raises:
        UnknownNameError: The run has no such method.
        DataError: There are no selections, or required geometry is missing.
    """
    import pyarrow as pa

    known = _methods(run)
    for name in methods or ():
        if name not in known:
            raise no_method(run, name, known)
    parts = []
    for name in dict.fromkeys(methods or known):
        part = read_parquet(run.path / "selection" / f"{name}.parquet").sort_by("rank")
        part = part.append_column("method", pa.array([name] * len(part), pa.string()))
        costs = [c for c in part.column_names if c.startswith("cost_")]
        order = [*_FIRST, *costs, *_LAST]
        parts.append(part.select([c for c in order if c in part.column_names]))
    return _with_geometry(run, pa.concat_tables(parts, promote_options="default"), geometry)


def _with_geometry(run: Run, table: pa.Table, geometry: str) -> pa.Table:
    """Return a table with the geometry that a target requires.

    Raises:
        DataError: Required geometry is missing.
    """
    table = table.replace_schema_metadata(None)
    if geometry == "optional" or GEOMETRY in table.column_names:
        return table
    found = native_outlines(run.path, table) if "scene" in table.column_names else None
    if found is None or geometry == "needed":
        why = run.record["summary"].get("pool", {}).get("unplaced") or "its scenes have no CRS"
        raise DataError(
            f"the run {str(run.path)!r} is not georeferenced: {why}",
            "This format requires "
            + ("coordinates in one CRS." if geometry == "native" else "longitude and latitude."),
            "Use --to csv for the ids."
            if "scene" not in table.column_names
            else "Use --to csv for the windows in pixels"
            + ("." if found is None else ", or --to geoparquet for native coordinates."),
        )
    import pyarrow as pa
    import shapely
    from pyproj import CRS

    outlines, crs = found
    table = table.append_column(GEOMETRY, pa.array(shapely.to_wkb(outlines), pa.binary()))
    return table.replace_schema_metadata({NATIVE: CRS.from_wkt(crs).to_json().encode()})


def _methods(run: Run) -> list[str]:
    """Return the names of the methods of a run, in the order of the job."""
    stored = stored_methods(run)
    if not stored:
        raise _nothing_to_export(run)
    return stored


def _nothing_to_export(run: Run) -> DataError:
    """Return the error of a run without a table: unfinished, or of another kind."""
    path, summary = str(run.path), run.record.get("summary")
    if not summary:
        return DataError(
            f"the run {path!r} has no selection",
            "Selections are files selection/<method>.parquet.",
            "Run the same command again to finish the run.",
        )
    if "embeddings" in summary:
        return DataError(
            f"the run {path!r} has embeddings but no selection",
            "This target exports selections, predictions and regions.",
            "Use --to embeddings; or run foveate curate with the same images and --out "
            f"{path}. In Python, foveate.run.load_embeddings(...) reads the vectors.",
        )
    return DataError(
        f"the run {path!r} has no selection",
        "Selections (curate, observe select), predictions (classify) and regions (focus) can be "
        "exported.",
        "Use a run of one of these commands.",
    )
