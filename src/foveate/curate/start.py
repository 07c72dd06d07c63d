"""What a job starts from: tiles picked or labelled already, as runs and lists name them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.files import (
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

STARTED = "tables/start.json"  # in a run: the ids that it began from


def read_start(paths: Sequence[str | Path]) -> NDArray[np.str_]:
    """Read ids of tiles.

    Args:
        paths: Runs (what they have picked, and what they began from), selections and other tables
            in Parquet or CSV with a column of ids, and texts with an id a line.

    Returns:
        (s,) ids, each once, sorted.

    Raises:
        DataError: A path does not exist, or has no ids; a run has picked by several methods.
    """
    found: list[str] = []
    for path in map(Path, paths):
        found += _of_run(path) if path.is_dir() else read_ids(path)
    return np.unique(np.asarray(found, np.str_))


def write_start(run: Run, ids: NDArray[np.str_]) -> None:
    """Keep in a run what it begins from."""
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
            "A job starts from one.",
            f"Name the file: --start {files[0]}" if files else "Finish the run first.",
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
        return _column(read_parquet(path), name)
    lines = [line.strip() for line in read_text(path, "list of tiles").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    first = [cell.strip().strip('"') for cell in lines[0].split(",")] if lines else []
    if set(first) & set(IDS):
        return _column(read_table(path), name)
    if not lines:
        raise DataError(f"the list {name} is empty", "An id a line.", "Leave it out.")
    return lines


def _column(table: pa.Table, name: str) -> list[str]:
    import pyarrow as pa

    column = next((one for one in (TILE, *IDS) if one in table.column_names), None)
    if column is None:
        raise DataError(
            f"{name} has no column of ids",
            f"Its columns: {', '.join(table.column_names)}.",
            f"Call the column {TILE!r}.",
        )
    if "rank" in table.column_names:  # files that are handed over lie in the order of places
        table = table.sort_by("rank")
    text = table.select([column]).cast(pa.schema({column: pa.string()}))
    return text_column(text, column).tolist()
