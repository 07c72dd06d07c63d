"""CSV with a header, UTF-8; geometry, if any, as WKT.

Text cells that a spreadsheet would interpret as a formula are prefixed with an apostrophe (see
`foveate.files.write_csv`); programs that need the exact id must remove it, or use another format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.export.table import GEOMETRY, Export, Target
from foveate.files import write_csv

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

_DIGITS = 7  # decimals of degrees: about 1 cm


def write(export: Export) -> None:
    """Write the rows; see `write_table`."""
    write_table(export.path, export.table)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table; NaN and null are empty cells.

    Raises:
        StorageError: `path` cannot be written.
    """
    if GEOMETRY in table.column_names:
        import pyarrow as pa
        import shapely

        shapes = shapely.from_wkb(table[GEOMETRY].to_pylist())
        texts = shapely.to_wkt(shapes, rounding_precision=_DIGITS).tolist()
        index = table.column_names.index(GEOMETRY)
        table = table.set_column(index, GEOMETRY, pa.array(texts, pa.string()))
    write_csv(path, table)


TARGET = Target((".csv",), "optional", write)
