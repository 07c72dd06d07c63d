"""`Attributes`: what is known of each tile besides its pixels, as named columns.

They come from the other columns of a file of embeddings, from a table of the user's, or from
quality rasters. Columns stay in Arrow, which holds a million texts in little memory, and become
arrays when they are asked for.
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
    """Name -> (n,) values: float64 with NaN where one is missing, or str with "" there.

    Args:
        table: One row for each tile. Columns of numbers, truth values, dates and texts; others
            are left out.
    """

    def __init__(self, table: pa.Table) -> None:
        kept = [name for name in table.column_names if is_plain(table.schema.field(name).type)]
        self.table = table.select(list(dict.fromkeys(kept)))

    @classmethod
    def of(cls, columns: Mapping[str, ArrayLike]) -> Self:
        """Make attributes of arrays or lists of one length."""
        import pyarrow as pa

        found = {}
        for name, values in columns.items():
            array = np.asarray(values)
            half = array.dtype == np.float16  # for which Arrow has few functions
            found[name] = pa.array(array.astype(np.float32) if half else array)
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
        """Yield the names."""
        return iter(self.table.column_names)

    def __len__(self) -> int:
        """Return the number of columns."""
        return self.table.num_columns

    def __contains__(self, name: object) -> bool:
        """Say whether there is such a column."""
        return name in self.table.column_names

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the values of a column, (n,) float64 or str.

        Raises:
            KeyError: There is none of that name; see `need`.
        """
        if name not in self:
            raise KeyError(name)
        return self.number(name) if self.is_number(name) else self._text(name)

    def is_number(self, name: str) -> bool:
        """Say whether a column holds numbers or truth values."""
        import pyarrow.types as kinds

        kind = self.table.schema.field(name).type
        return _is_number(kind) or kinds.is_boolean(kind)

    def number(self, name: str) -> NDArray[np.float64]:
        """Return a column as numbers, (n,) float64, NaN where one is missing.

        Raises:
            ParameterError: There is no such column, or it holds texts.
        """
        self.need(name)
        if not self.is_number(name):
            numbers = [other for other in self if self.is_number(other)]
            raise ParameterError(
                f"the column {name!r}, which holds no numbers",
                f"Columns of numbers: {', '.join(numbers) or 'none'}.",
            )
        import pyarrow.types as kinds

        column = self.table[name]
        if kinds.is_boolean(column.type):
            column = column.cast("int8")
        if kinds.is_float16(column.type):
            column = column.cast("float32")
        return np.asarray(column.cast("float64", safe=False).to_numpy(), np.float64)

    def codes(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """Return which value each row of a column has.

        Args:
            name: The column.

        Returns:
            (n,) int64 number of the value, -1 where it is missing, and the values as text, sorted.

        Raises:
            ParameterError: There is no such column.
        """
        import pyarrow.compute as pc

        self.need(name)
        coded = pc.call_function("dictionary_encode", [self.table[name].combine_chunks()])
        values = [str(value) for value in coded.dictionary.to_pylist()]
        numbers = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        place = np.argsort(np.array(values, np.str_), kind="stable")
        new = np.empty(place.size + 1, np.int64)
        new[place], new[-1] = np.arange(place.size), -1
        return new[numbers], [values[i] for i in place.tolist()]

    def need(self, name: str) -> None:
        """Refuse a name that is no column.

        Raises:
            ParameterError: With the columns there are.
        """
        if name in self:
            return
        raise ParameterError(
            f"the column {name!r}",
            f"Columns of the pool: {', '.join(self) or 'none'}.",
            suggest(name, list(self))
            or ("" if len(self) else "Give a table of them: --attributes FILE, attributes=FILE."),
        )

    def take(self, rows: NDArray[np.integer]) -> Attributes:
        """Return the values of rows, in that order."""
        return Attributes(self.table.take(rows))

    def joined(self, other: Attributes) -> Attributes:
        """Return the columns of both.

        Raises:
            DataError: A name is in both.
        """
        both = [name for name in other if name in self]
        if both:
            raise DataError(
                f"two columns {both[0]!r}",
                "Columns of the pool and of the tables given have different names.",
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
    """Say whether a column of this type is an attribute: a number, a text, a date."""
    import pyarrow.types as kinds

    if kinds.is_dictionary(kind):
        kind = kind.value_type
    text = kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)
    return text or _is_number(kind) or kinds.is_boolean(kind) or kinds.is_temporal(kind)


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow.types as kinds

    return kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind)
