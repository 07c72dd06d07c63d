"""CSV with a header, UTF-8; geometry as WKT where there is one.

A spreadsheet takes a cell that starts with ``= + - @`` for a formula, and a tile id begins with a
file name, which anyone may choose. Text cells that start so (or with a tab or carriage return)
get an apostrophe in front, which spreadsheets show as plain text; a program that needs the exact
id takes it off, or reads another format. Numbers are never touched.
"""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

from foveate.export.table import GEOMETRY, Target
from foveate.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

_DIGITS = 7  # of a degree: about 1 cm
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(table: pa.Table, path: Path) -> None:
    """Write the rows; NaN and null are empty cells.

    Raises:
        StorageError: `path` cannot be written.
    """
    if GEOMETRY in table.column_names:
        import pyarrow as pa
        import shapely

        shapes = shapely.from_wkb(table[GEOMETRY].to_pylist())
        texts = shapely.to_wkt(shapes, rounding_precision=_DIGITS).tolist()
        place = table.column_names.index(GEOMETRY)
        table = table.set_column(place, GEOMETRY, pa.array(texts, pa.string()))
    columns = [column.to_pylist() for column in table.columns]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([_cell(name) for name in table.column_names])
        rows.writerows([_cell(value) for value in row] for row in zip(*columns, strict=True))


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


TARGET = Target((".csv",), "optional", write)
