"""Columns of vectors in Parquet files: their names, and their values, block by block."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, cast
from uuid import UUID

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import printable, reason
from foveate.location import URL
from foveate.registry import suggest
from foveate.remote import open_object
from foveate.tables import need_names_once

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from foveate.location import Location

# Type of the values in a file -> dtype of the matrix; float16 is exact for 8-bit integers.
KINDS = {
    "halffloat": np.float16, "float": np.float32, "double": np.float64,
    "int8": np.float16, "uint8": np.float16,
}  # fmt: skip
_BLOCK_VALUES = 2**22  # values of vectors read at a time: 16 MiB as float32


def vector_columns(schema: pa.Schema) -> list[str]:
    """Return the columns whose rows are vectors of floats or 8-bit integers."""
    names = [f.name for f in schema if str(element(f.type)) in KINDS]
    return [name for name in names if "bbox" not in name.lower()]


def chosen_column(schema: pa.Schema, vectors: list[str], column: str | None, file: Path) -> str:
    """Return the column of the vectors: the given column, or the only one.

    Args:
        schema: Schema of the file.
        vectors: Result of `vector_columns`.
        column: Name of the column, or None.
        file: The file, for messages.

    Raises:
        DataError: The file has no column of vectors.
        ParameterError: There are several and none is given, or the given column is invalid.
    """
    if column is not None:
        if column in schema.names and str(element(schema.field(column).type)) in KINDS:
            return column
        problem = f"column={column!r}"
        if column in schema.names:
            problem += f" of type {schema.field(column).type}"
        raise ParameterError(
            problem,
            f"Columns of vectors in {named(file)}: {', '.join(vectors) or 'none'}; a vector is a "
            "list of float16, float32, float64, int8 or uint8.",
            suggest(column, vectors) or (f"Use --column {vectors[0]}." if vectors else ""),
        )
    if not vectors:
        columns = ", ".join(f"{f.name} ({f.type})" for f in schema) or "none"
        raise DataError(
            f"{named(file)} has no column of vectors",
            f"A vector is a list of float16, float32, float64, int8 or uint8. Columns: {columns}.",
            "If the values are in several columns, or of another type, store them as one column: "
            "table['embedding'] = list(table[COLUMNS].to_numpy('float32')).",
        )
    if len(vectors) > 1:
        raise ParameterError(
            f"{named(file)} has {len(vectors)} columns of vectors",
            f"Columns of vectors: {', '.join(vectors)}.",
            f"Choose one of them: --column {vectors[0]}, column={vectors[0]!r}.",
        )
    return vectors[0]


def element(kind: pa.DataType) -> pa.DataType | None:
    """Return the type of the values of a list type; None for other types."""
    import pyarrow.types as kinds

    kind = getattr(kind, "storage_type", kind)  # the storage type of a tensor is a list
    lists = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list)
    return kind.value_type if any(is_list(kind) for is_list in lists) else None


def vector_values(
    column: pa.Array, name: str, start: int
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the lengths of vectors, (m,), and their concatenated values, a view of the column.

    Args:
        column: m vectors.
        name: Name of the column, for messages.
        start: Row of the first vector in the file.

    Raises:
        DataError: A vector, or a value of a vector, is missing.
    """
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    column = getattr(column, "storage", column)
    if column.null_count:
        row = start + int(column.is_null().to_numpy(zero_copy_only=False).argmax())
        raise DataError(
            f"row {row} has no vector in {name!r} (and {column.null_count - 1} more rows of its "
            "block)",
            "Every row must have a vector.",
            "Remove rows without a vector.",
        )
    if kinds.is_fixed_size_list(column.type):
        lengths = np.full(len(column), column.type.list_size)
    else:
        lengths = np.asarray(pc.call_function("list_value_length", [column])).astype(np.int64)
    values = column.flatten()
    if values.null_count:
        place = int(values.is_null().to_numpy(zero_copy_only=False).argmax())
        row = start + int(np.searchsorted(np.cumsum(lengths), place, side="right"))
        raise DataError(
            f"a value of the vector of row {row} in {name!r} is missing",
            "Vectors must be complete.",
            "Remove the row.",
        )
    return lengths, values.to_numpy(zero_copy_only=False)


def batch_rows(file: pq.ParquetFile, column: str) -> int:
    """Return the number of rows to read at a time."""
    places = [i for i, path in enumerate(_leaves(file)) if path.split(".")[0] == column]
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    values = sum(group.column(i).num_values for group in groups for i in places)
    return max(1, min(65_536, _BLOCK_VALUES * file.metadata.num_rows // max(values, 1)))


def _leaves(file: pq.ParquetFile) -> list[str]:
    schema = file.metadata.schema
    return [schema.column(i).path for i in range(len(schema))]


def open_bytes(file: Location) -> IO[bytes]:
    """Open a local or remote file; only the bytes that are read are fetched.

    Raises:
        DataError: A remote file cannot be read.
        MissingExtraError: The file is remote, and ``foveate[cloud]`` is not installed.
    """
    if isinstance(file, URL):
        from foveate.raster.opener import RemoteFile

        opened = open_object(file)
        opened.finish_opening()  # rows are not part of the header that is stored with a run
        return cast("IO[bytes]", RemoteFile(opened))
    return file.open("rb")


def schema_of(file: Location) -> pa.Schema:
    """Return the schema of a Parquet file; see `open_parquet`.

    Raises:
        DataError: The file is not Parquet, or two columns have the same name.
    """
    with open_bytes(file) as opened:
        schema = open_parquet(opened, file).schema_arrow
    need_names_once(schema.names, str(file))
    return schema


def rows_of(file: Path) -> int:
    """Return the number of rows of a Parquet file; see `open_parquet`."""
    with file.open("rb") as opened:
        return open_parquet(opened, file).metadata.num_rows


def open_parquet(opened: Any, file: Location) -> pq.ParquetFile:
    """Read the footer of an open file.

    Args:
        opened: The open file.
        file: Its path, for messages.

    Raises:
        DataError: The file is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(opened, pre_buffer=False)  # pre_buffer would read the whole file
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{named(file)} is not a Parquet file: {reason(error)}",
            "Embeddings must be stored as Parquet.",
            "Check the path, or write the table as Parquet (pandas: to_parquet).",
        ) from error


def texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """Return a column of ids as strings, converted chunk by chunk; binary UUIDs as text."""
    import pyarrow as pa
    import pyarrow.types as kinds

    if isinstance(column.type, pa.UuidType):
        column = column.cast(column.type.storage_type)
    if kinds.is_fixed_size_binary(column.type) and column.type.byte_width == 16:
        return np.asarray([str(UUID(bytes=value)) for value in column.to_pylist()], np.str_)
    try:
        chunks = column.cast(pa.string()).chunks
    except pa.ArrowException as error:
        raise DataError(
            f"ids of type {column.type} cannot be read as text",
            "Ids must be text, integers or UUIDs.",
            "Choose another column of ids: --id-column NAME, or --id-column row to number rows.",
        ) from error
    parts = [chunk.to_numpy(zero_copy_only=False).astype(np.str_) for chunk in chunks]
    return np.concatenate(parts) if parts else np.empty(0, np.str_)


def named(file: Location) -> str:
    """Return a path in quotes, for messages."""
    return repr(printable(str(file)))
