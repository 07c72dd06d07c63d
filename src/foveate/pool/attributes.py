"""`Attributes`: named columns with values of each tile.

They are read from the other columns of a file of embeddings, from a table, or from
quality rasters. Columns are stored in Arrow, because a million strings need little memory there,
and are converted to arrays on access.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray


class Attributes(Mapping[str, "NDArray[Any]"]):
    """Name -> (n,) values: float64, NaN if missing; or str, "" if missing.

    Args:
        table: One row per tile. Columns of numbers, booleans, dates and strings are kept; others
            are ignored.
    """

    def __init__(self, table: pa.Table) -> None:
        kept = [name for name in table.column_names if is_plain(table.schema.field(name).type)]
        self.table = table.select(list(dict.fromkeys(kept)))

    @classmethod
    def of(cls, columns: Mapping[str, ArrayLike]) -> Self:
        """Create attributes from arrays or lists of equal length; NaN and None are missing."""
        import pyarrow as pa

        found = {}
        for name, values in columns.items():
            array = np.asarray(values)
            half = array.dtype == np.float16  # few functions of Arrow support it
            array = array.astype(np.float32) if half else array
            found[name] = pa.array(array, from_pandas=True)
        return cls(pa.table(found))

    @property
    def fingerprint(self) -> str:
        """Hash of the names and values."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        table = self.table.replace_schema_metadata(None).combine_chunks()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return hashlib.blake2b(sink.getvalue(), digest_size=16).hexdigest()

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the columns."""
        return iter(self.table.column_names)

    def __len__(self) -> int:
        """Return the number of columns."""
        return self.table.num_columns

    def __contains__(self, name: object) -> bool:
        """Return whether the column exists."""
        return name in self.table.column_names

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the values of a column, (n,) float64 or str.

        Raises:
            KeyError: The column does not exist; see `need`.
        """
        if name not in self:
            raise KeyError(name)
        return self.number(name) if self.is_number(name) else self._text(name)

    def is_number(self, name: str) -> bool:
        """Return whether a column contains numbers or booleans."""
        import pyarrow.types as kinds

        kind = self.table.schema.field(name).type
        return _is_number(kind) or kinds.is_boolean(kind)

    def number(self, name: str) -> NDArray[np.float64]:
        """Return a column as numbers, (n,) float64, NaN if missing.

        Raises:
            ParameterError: The column does not exist, or contains strings.
        """
        self.need(name)
        if not self.is_number(name):
            numbers = [other for other in self if self.is_number(other)]
            raise ParameterError(
                f"the column {name!r} is not numeric",
                f"Numeric columns: {', '.join(numbers) or 'none'}.",
            )
        import pyarrow.types as kinds

        column = self.table[name]
        if kinds.is_boolean(column.type):
            column = column.cast("int8")
        if kinds.is_float16(column.type):
            column = column.cast("float32")
        return np.asarray(column.cast("float64", safe=False).to_numpy(), np.float64)

    def codes(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """Encode a column as integers.

        Args:
            name: The column.

        Returns:
            (n,) int64 index of the value, -1 if missing, and the sorted distinct values as strings.

        Raises:
            ParameterError: The column does not exist.
        """
        import pyarrow.compute as pc

        self.need(name)
        coded = pc.call_function("dictionary_encode", [self.table[name].combine_chunks()])
        distinct = coded.dictionary.to_pylist()
        present = [i for i, value in enumerate(distinct) if not _is_missing(value)]
        present.sort(key=lambda i: str(distinct[i]))
        new = np.full(len(distinct) + 1, -1)
        new[present] = np.arange(len(present))
        numbers = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return new[numbers], [str(distinct[i]) for i in present]

    def need(self, name: str) -> None:
        """Check that a column exists.

        Raises:
            ParameterError: The column does not exist; the message lists the columns.
        """
        if name in self:
            return
        raise ParameterError(
            f"the pool has no column {name!r}",
            f"Columns of the pool: {', '.join(self) or 'none'}.",
            suggest(name, list(self))
            or (
                "" if len(self) else "Give a table of columns: --attributes FILE, attributes=FILE."
            ),
        )

    def take(self, rows: NDArray[np.integer]) -> Attributes:
        """Return the attributes of the given rows, in that order."""
        return Attributes(self.table.take(rows))

    def joined(self, other: Attributes) -> Attributes:
        """Return the columns of both tables.

        Raises:
            DataError: Both have a column of the same name.
        """
        both = [name for name in other if name in self]
        if both:
            raise DataError(
                f"two columns are named {both[0]!r}",
                "Columns of the pool and of the given tables must have different names.",
                "Rename one of them.",
            )
        table = self.table
        for name in other:
            table = table.append_column(name, other.table[name])
        return Attributes(table)

    def _text(self, name: str) -> NDArray[np.str_]:
        import pyarrow as pa

        column = self.table[name].cast(pa.string()).fill_null("")
        return np.asarray(column.to_pylist(), np.str_)


def is_plain(kind: pa.DataType) -> bool:
    """Return whether a column type is supported as an attribute: numbers, strings, dates."""
    import pyarrow.types as kinds

    if kinds.is_dictionary(kind):
        kind = kind.value_type
    return _is_text(kind) or _is_number(kind) or kinds.is_boolean(kind) or kinds.is_temporal(kind)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow.types as kinds

    return kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)


def _is_missing(value: Any) -> bool:
    """Return whether a value is null, or what some programs write instead: NaN, empty text."""
    return (
        value is None
        or value == ""
        or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
    )


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow.types as kinds

    return kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind)
