"""The table that every target writes, and what a target is: a file or a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.export.native import native_outlines
from foveate.files import read_parquet
from foveate.pool.selections import stored_methods
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pyarrow as pa

    from foveate.progress import ProgressFn
    from foveate.run import Run

GEOMETRY = "geometry"
NATIVE = b"crs"  # of outlines that are no longitudes and latitudes, in the table's metadata
_FIRST = ("method", "rank", "tile_id", "scene", "y", "x", "h", "w", "score")
_LAST = ("weight", GEOMETRY)
_PREDICTIONS = "predictions.parquet"  # of a classify run
_REGIONS = "regions.parquet"  # of a focus run


@dataclass(frozen=True)
class Export:
    """What is to be written where.

    Attributes:
        run: The run that it is of.
        table: What the run came to; see `selection_table`. Without rows for a target that is not
            of it.
        path: File or folder to write.
        previews: Whether pictures for people are wanted beside the pixels.
        datetime: Date, or interval A/B, of tiles of which the run knows none; "" for none.
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
    """Something that an export writes.

    Attributes:
        suffixes: File name endings, lower case with the dot; the first is the usual one. Of a
            folder there are none.
        geometry: "needed" (a run that does not lie on the Earth is refused), "native" (it gets
            outlines in coordinates of its own, where it has such) or "optional".
        write: Writes an `Export`, atomically.
        folder: Whether it writes a folder instead of a file.
        previews: Whether it can add pictures for people.
        dated: Whether it says when tiles were seen.
        tabular: Whether it is of selections, predictions or regions.
    """

    suffixes: tuple[str, ...]
    geometry: str
    write: Callable[[Export], None]
    folder: bool = False
    previews: bool = False
    dated: bool = False
    tabular: bool = True


def run_table(run: Run, methods: Sequence[str] | None, *, geometry: str) -> pa.Table:
    """Return what a run came to: selections, predictions, or the regions of a focus run.

    Args:
        run: The run.
        methods: Names of methods in the order wanted; None for all.
        geometry: "needed", "native" or "optional".

    Raises:
        ParameterError: Methods of a run that has none.
        UnknownNameError: See `selection_table`.
        DataError: There is neither, or no geometry where it is needed.
    """
    # A run describes its last job: files of an earlier one may lie beside it.
    name = _REGIONS if "focus" in run.record.get("summary", {}) else _PREDICTIONS
    if not (run.path / name).exists():
        return selection_table(run, methods, geometry=geometry)
    if methods:
        raise ParameterError(
            f"the method {methods[0]!r} of the run {str(run.path)!r}",
            f"It {'chose regions' if name == _REGIONS else 'classified its tiles'}, and has no "
            "methods.",
            "Leave --method out.",
        )
    return _with_geometry(run, read_parquet(run.path / name), geometry)


def selection_table(run: Run, methods: Sequence[str] | None, *, geometry: str) -> pa.Table:
    """Stack the selections of a run.

    Args:
        run: The run.
        methods: Names in the order wanted; None for all.
        geometry: "needed", "native" or "optional".

    Returns:
        One row per pick, method by method in rank order. Columns: method, rank (from 1), tile_id,
        scene, y, x, h, w (pixels of the scene), score, ``cost_<unit>`` for each unit of the
        budget, weight, and geometry (WKB polygons): WGS84 longitude and latitude for georeferenced
        runs; else with "native" coordinates of the scenes' own, and their CRS as PROJJSON in the
        metadata of the table.

    Raises:
        UnknownNameError: A method that the run does not have.
        DataError: No selections, or no geometry where it is needed.
    """
    import pyarrow as pa

    known = _methods(run)
    for name in methods or ():
        if name not in known:
            raise UnknownNameError(
                f"the run {str(run.path)!r} has no method {name!r}",
                f"It has: {', '.join(known)}.",
                suggest(name, known),
            )
    parts = []
    for name in dict.fromkeys(methods or known):
        part = read_parquet(run.path / "selection" / f"{name}.parquet").sort_by("rank")
        part = part.append_column("method", pa.array([name] * len(part), pa.string()))
        costs = [c for c in part.column_names if c.startswith("cost_")]
        wanted = [*_FIRST, *costs, *_LAST]
        parts.append(part.select([c for c in wanted if c in part.column_names]))
    return _with_geometry(run, pa.concat_tables(parts, promote_options="default"), geometry)


def _with_geometry(run: Run, table: pa.Table, geometry: str) -> pa.Table:
    """Return a table as a target wants it: with outlines, or without.

    Raises:
        DataError: There are none, where they are needed.
    """
    table = table.replace_schema_metadata(None)
    if geometry == "optional" or GEOMETRY in table.column_names:
        return table
    found = native_outlines(run.path, table) if "scene" in table.column_names else None
    if found is None or geometry == "needed":
        why = run.record["summary"].get("pool", {}).get("unplaced") or "its scenes have no CRS"
        raise DataError(
            f"the run {str(run.path)!r} is not georeferenced: {why}",
            "This format needs "
            + ("coordinates of one CRS." if geometry == "native" else "longitudes and latitudes."),
            "Use --to csv, which holds the ids."
            if "scene" not in table.column_names
            else "Use --to csv, which holds the windows in pixels"
            + ("." if found is None else ", or --to geoparquet for coordinates of its own."),
        )
    import pyarrow as pa
    import shapely
    from pyproj import CRS

    outlines, crs = found
    table = table.append_column(GEOMETRY, pa.array(shapely.to_wkb(outlines), pa.binary()))
    return table.replace_schema_metadata({NATIVE: CRS.from_wkt(crs).to_json().encode()})


def _methods(run: Run) -> list[str]:
    """Return the names of the run's methods, in the order of the job."""
    stored = stored_methods(run)
    if not stored:
        raise _nothing_to_export(run)
    return stored


def _nothing_to_export(run: Run) -> DataError:
    """Say why a run has no table: it is not finished, or it was never meant to choose."""
    path, summary = str(run.path), run.record.get("summary")
    if not summary:
        return DataError(
            f"the run {path!r} holds no selection",
            "Selections are files selection/<method>.parquet.",
            "Finish the run: the same command goes on where it stopped.",
        )
    if "embeddings" in summary:
        return DataError(
            f"the run {path!r} holds embeddings and no selection",
            "Exported are selections, predictions and regions.",
            "Use --to embeddings; or let foveate curate go on from it: the same images with --out "
            f"{path}. Vectors are read with foveate.run.load_embeddings(...).",
        )
    return DataError(
        f"the run {path!r} holds no selection",
        "Exported are selections (curate, observe select), predictions (classify) and regions "
        "(focus).",
        "Give the --out of one of these commands.",
    )
