"""Tiles that are already selected or labelled, read from runs and lists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.files import (
    GIVEN,
    digest,
    printable,
    read_json,
    read_parquet,
    read_text,
    text_column,
    write_json,
)
from foveate.pool.attribute_file import TILE, read_table
from foveate.pool.embedding_file import IDS
from foveate.pool.embedding_sources import SUFFIXES
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

STARTED = "tables/start.json"  # in a run: the ids that were given by --start


def read_start(paths: Sequence[str | Path]) -> NDArray[np.str_]:
    """Read ids of tiles.

    Args:
        paths: Runs (their selection, and the tiles that they started from), selections and other
            tables in Parquet or CSV with a column of ids, and text files with one id per line.

    Returns:
        (s,) unique ids, sorted.

    Raises:
        DataError: A path does not exist or has no ids, or a run has selections of several methods.
    """
    found: list[str] = []
    for path in map(Path, paths):
        found += _of_run(path) if path.is_dir() else read_ids(path)
    return np.unique(np.asarray(found, np.str_))


def write_start(run: Run, ids: NDArray[np.str_]) -> None:
    """Store the ids that a run starts from."""
    if not ids.size and not (run.path / STARTED).exists():
        return

    def work() -> list[str]:
        write_json(run.path / STARTED, ids.tolist())
        return [STARTED]

    run.do("start", digest(ids.tolist()), work)


def _of_run(path: Path) -> list[str]:
    run = Run.load(path)
    files = sorted((run.path / "selection").glob("*.parquet"))
    if len(files) != 1:
        raise DataError(
            f"the run {str(path)!r} has selections of {len(files)} methods",
            "A run with the selection of exactly one method is required.",
            f"Give a file: --start {files[0]}" if files else "Finish the run first.",
        )
    began = run.path / STARTED
    return read_ids(files[0]) + (read_json(began) if began.is_file() else [])


def read_ids(path: Path) -> list[str]:
    """Read ids of tiles from a file, in its order; see `read_start`.

    Raises:
        DataError: It cannot be read, or has no ids.
    """
    name = repr(printable(str(path)))
    if path.suffix.lower() in SUFFIXES:
        return _column(read_parquet(path, hint=GIVEN), name)
    # Names of files may contain other line breaks of Unicode, and begin with a hash.
    lines = [line.strip() for line in re.split(r"[\r\n]+", read_text(path, "list of tiles"))]
    lines = [line for line in lines if line and not (line + " ").startswith("# ")]
    first = [cell.strip().strip('"') for cell in re.split(r"[,;\t]", lines[0])] if lines else []
    if set(first) & set(IDS):
        return _column(read_table(path), name)
    if not lines:
        raise DataError(
            f"the list {name} is empty", "Expected one id per line.", "Leave it out."
        )  # fmt: skip
    return lines


def _column(table: pa.Table, name: str) -> list[str]:
    import pyarrow as pa

    column = next((one for one in (TILE, *IDS) if one in table.column_names), None)
    if column is None:
        raise DataError(
            f"{name} has no column of ids",
            f"Its columns: {', '.join(table.column_names)}.",
            f"Rename the column of ids to {TILE!r}.",
        )
    if "rank" in table.column_names:  # exported files may not be sorted by rank
        table = table.sort_by("rank")
    text = table.select([column]).cast(pa.schema({column: pa.string()}))
    return text_column(text, column).tolist()
