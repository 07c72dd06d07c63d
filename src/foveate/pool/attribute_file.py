"""Tables of attributes of tiles: Parquet or CSV, by tile or by scene."""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import find_rows
from foveate.errors import DataError
from foveate.files import GIVEN, printable, read_parquet, read_text, reason, refuse_empty
from foveate.pool.attributes import Attributes
from foveate.pool.embedding_sources import SUFFIXES
from foveate.pool.names import Names
from foveate.pool.notes import Note, warn
from foveate.tables import need_names_once
from foveate.wording import part, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.pool.pool import Pool

TILE, SCENE = "tile_id", "scene"


def add_attributes(pool: Pool, path: str | Path) -> Pool:
    """Add the columns of a table to a pool.

    Args:
        pool: The pool.
        path: Parquet or CSV with a column ``tile_id``, or ``scene``; in the latter case, the
            values apply to all tiles of the scene.

    Returns:
        The pool with the columns. Values of tiles without a row are missing (NaN), and a note
        counts these tiles. Another note counts rows without a tile.

    Raises:
        DataError: The file cannot be read, has neither column, has several rows for a tile, or no
            row for any tile of the pool.
    """
    name = repr(printable(str(path)))
    table, words = _read(path)
    by = next((key for key in (TILE, SCENE) if key in table.column_names), None)
    if by is None:
        raise DataError(
            f"the table {name} has neither a column {TILE!r} nor a column {SCENE!r}",
            f"Its columns: {', '.join(table.column_names)}.",
            "Add a column with the ids of tiles (tile_id) or with the names of scenes (scene).",
        )
    keys = np.asarray([str(value) for value in table[by].to_pylist()], np.str_)
    values, times = np.unique(keys, return_counts=True)
    if values.size < keys.size:
        raise DataError(
            f"the table {name} has {int(times.max())} rows for {str(values[times.argmax()])!r}",
            "A table must have at most one row per tile or scene.",
            "Remove the other rows.",
        )
    pool_keys = pool.ids if by == TILE else scenes_of(pool)
    if by == SCENE:
        keys = _as_scenes(keys, np.unique(pool_keys), f"the table {name}")
    rows = find_rows(keys, pool_keys)
    missing, unused = _check(pool, by, keys, pool_keys, rows, name)
    columns = table.drop_columns([c for c in (TILE, SCENE) if c in table.column_names])
    added = Attributes(columns.take(_with_nulls(rows)))
    if not added:
        others = [f"{f.name} ({f.type})" for f in columns.schema]
        raise DataError(
            f"the table {name} has no column besides {by!r}"
            + (f" that can be used: {', '.join(others)}" if others else ""),
            "A table of attributes must have at least one column of numbers, strings or dates.",
        )
    merged = added if pool.attributes is None else pool.attributes.joined(added)
    return replace(pool, attributes=merged, notes=(*pool.notes, *warn([*words, *missing, *unused])))


def read_table(path: str | Path) -> pa.Table:
    """Read a table: Parquet by its suffix, otherwise CSV.

    Raises:
        DataError: The file cannot be read.
    """
    return _read(path)[0]


def _read(path: str | Path) -> tuple[pa.Table, list[Note]]:
    """Return a table, and notes on words that count as missing values."""
    import pyarrow as pa

    refuse_empty(path, "path of the table")
    path = Path(path)
    if path.suffix.lower() in SUFFIXES:
        found = read_parquet(path, hint=GIVEN)
        need_names_once(found.column_names, path)
        return found, []
    try:
        with path.open("rb") as file:
            wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            file.seek(0)
            text = io.BytesIO(read_text(path, "table").encode()) if wide else file
            _need_commas(text.readline(), path)
            return _read_csv(text, path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot read the table {printable(str(path))!r}: {reason(error)}",
            "A table must be Parquet (.parquet), or CSV with a header, in UTF-8.",
            "Check the path.",
        ) from error


def _read_csv(file: IO[bytes], path: Path) -> tuple[pa.Table, list[Note]]:
    """Return the table of an open file; see `_read`."""
    import pyarrow as pa
    import pyarrow.types as kinds
    from pyarrow import csv

    def read(columns: list[str] | None = None, **options: Any) -> pa.Table:
        file.seek(0)
        alone, types = csv.ReadOptions(use_threads=False), dict.fromkeys(columns or keys, text)
        convert = csv.ConvertOptions(column_types=types, include_columns=columns, **options)
        parse = csv.ParseOptions(newlines_in_values=True)
        return csv.read_csv(file, read_options=alone, parse_options=parse, convert_options=convert)

    # Ids made of digits are text: 0012 is not 12.
    text, keys = pa.string(), (TILE, SCENE)
    found = read(strings_can_be_null=True)
    need_names_once(found.column_names, path)
    if any(kinds.is_binary(field.type) for field in found.schema):
        read_text(path, "table")  # the error states the line that is not UTF-8
    words = [f.name for f in found.schema if f.name in keys or _may_be_text(f.type)]
    raw, notes = read(words), list[Note]()
    unquoted = read(words, strings_can_be_null=True, quoted_strings_can_be_null=False)
    for name in words:
        place, column, values = found.column_names.index(name), unquoted[name], raw[name]
        kind = found.schema.field(name).type
        if name in keys:  # names such as NA and null are names, not missing values
            # `export --to csv` puts an apostrophe before names that spreadsheets would compute.
            ids = [re.sub(r"^'([=+\-@\t\r])", r"\1", value) for value in values.to_pylist()]
            column = pa.chunked_array([ids], text)
        elif not (_padded(values) if kinds.is_integer(kind) else column.null_count < len(column)):
            continue
        elif column.null_count:
            notes += _words(column, values, name, path)
        found = found.set_column(place, name, column)
    return found, notes


def _may_be_text(kind: pa.DataType) -> bool:
    import pyarrow.types as kinds

    return kinds.is_string(kind) or kinds.is_null(kind) or kinds.is_integer(kind)


def _padded(column: pa.ChunkedArray) -> bool:
    """Return whether integers have leading zeros, which are codes: 007 is not 7."""
    return any(re.match(r"[+-]?0[0-9]", value) for value in column.unique().to_pylist())


def _words(
    column: pa.ChunkedArray, texts: pa.ChunkedArray, name: str, path: Path
) -> Iterator[Note]:
    """Yield a note on words without quotes that count as missing values in a column of text."""
    values = zip(column.to_pylist(), texts.to_pylist(), strict=True)
    words = Counter(word for value, word in values if value is None and word)
    if words:
        shown = ", ".join(sorted(words))
        yield Note(
            "files",
            f"{plural(words.total(), 'value')} of the column {name!r} of the table "
            f"{printable(str(path))!r} {'is' if words.total() == 1 else 'are'} missing: {shown}",
            "If a word is a value, put it in quotes, or write the table as Parquet",
        )


def _need_commas(header: bytes, path: Path) -> None:
    """Check that the columns of a CSV file are not separated by semicolons or tabs."""
    for separator, name in ((b";", "semicolons"), (b"\t", "tabs")):
        if separator in header and b"," not in header:
            raise DataError(
                f"the columns of the table {printable(str(path))!r} are separated by {name}",
                "Columns must be separated by commas, and numbers have a decimal point.",
                "Save it as CSV with commas, or as Parquet (pandas: read_csv(FILE, sep=None, "
                "engine='python').to_parquet(OUT)).",
            )


def scenes_of(pool: Pool) -> NDArray[np.str_]:
    """Return the scene of each tile, (n,) str.

    Raises:
        DataError: The pool has no scenes.
    """
    if pool.tiles is not None:
        return pool.tiles.scene
    if SCENE in (pool.attributes or ()):
        return np.asarray((pool.attributes or {})[SCENE], np.str_)
    raise DataError(
        "the pool has no scenes", "Its tiles are not cut from images.",
        f"Use a column {TILE!r} instead.",
    )  # fmt: skip


def _as_scenes(keys: NDArray[np.str_], scenes: NDArray[np.str_], who: str) -> NDArray[np.str_]:
    """Replace names of scenes in a table by their ids; unknown names are kept."""
    names = Names(scenes.tolist(), who)
    return np.asarray([names.look_up(name) or name for name in keys.tolist()], np.str_)


def _check(  # noqa: PLR0917  (inputs and results of the comparison)
    pool: Pool, by: str, keys: NDArray[np.str_], pool_keys: NDArray[np.str_],
    rows: NDArray[np.int64], name: str,
) -> tuple[list[Note], list[Note]]:  # fmt: skip
    """Return notes on tiles without a row, and on rows without a tile.

    Raises:
        DataError: No row has a tile.
    """
    what = "tile" if by == TILE else "scene"
    if not (rows >= 0).any():
        raise DataError(
            f"the table {name} has no {what} of the pool; its first {what} is {str(keys[0])!r}"
            if keys.size
            else f"the table {name} has no rows",
            f"The first {what} of the pool is {str(pool_keys[0])!r}.",
            f"Use the names of {what}s in tiles.parquet of a run.",
        )
    known = {*pool_keys.tolist(), *(pool.excluded if by == TILE else ())}
    unknown = [value for value in keys.tolist() if value not in known]
    absent = pool_keys[rows < 0]
    missing, unused = [], []
    if absent.size:
        text = part(absent.size, pool_keys.size, "tile", "has", "have")
        text += f" no row in the table {name}"
        missing.append(Note("files", f"{text}, the first is of {str(absent[0])!r}",
                            items=tuple(dict.fromkeys(absent.tolist()))))  # fmt: skip
    if unknown:
        verb = "matches" if len(unknown) == 1 else "match"
        text = part(len(unknown), keys.size, "row", f"of the table {name} {verb}",
                    f"of the table {name} {verb}") + f" no {what} of the pool"  # fmt: skip
        unused.append(Note("files", f"{text}, the first is {unknown[0]!r}", items=tuple(unknown)))
    return missing, unused


def _with_nulls(rows: NDArray[np.int64]) -> Any:
    import pyarrow as pa

    return pa.array(rows, mask=rows < 0)
