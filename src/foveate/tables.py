"""Conversion of tables to Arrow, pandas, polars, duckdb and geopandas; vectors as a column."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, MissingExtraError
from foveate.files import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import geopandas as gpd
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

GEOMETRY = "geometry"  # outlines as WKB, longitude and latitude


class Tabular:
    """Base class of tables: subclasses implement `to_arrow`, the other conversions use it."""

    def to_arrow(self) -> pa.Table:
        """Return the table as Arrow."""
        raise NotImplementedError

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Export the table to polars, duckdb and others (Arrow PyCapsule interface)."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> pd.DataFrame:
        """Return the table without outlines.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        _need("pandas")
        table = self.to_arrow()
        return table.select([c for c in table.column_names if c != GEOMETRY]).to_pandas()

    def to_geopandas(self) -> gpd.GeoDataFrame:
        """Return the table with outlines in longitude and latitude (EPSG:4326).

        Raises:
            DataError: There are no outlines.
            MissingExtraError: geopandas is not installed.
        """
        return frame_of(self.to_arrow())


def frame_of(table: pa.Table) -> gpd.GeoDataFrame:
    """Return a table with outlines as a GeoDataFrame; see `Tabular.to_geopandas`.

    Raises:
        DataError: There are no outlines.
        MissingExtraError: geopandas is not installed.
    """
    geopandas = _need("geopandas")
    if GEOMETRY not in table.column_names:
        raise DataError(
            "a table without outlines",
            "Outlines need georeferenced scenes.",
            "Use to_pandas().",
        )
    shapes = geopandas.GeoSeries.from_wkb(table[GEOMETRY].to_pylist(), crs="EPSG:4326")
    plain = table.drop_columns([GEOMETRY]).to_pandas()
    return geopandas.GeoDataFrame(plain, geometry=shapes)


def _need(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{name} is not installed", "This conversion requires it.", f"pip install {name}"
        ) from error


def rows_to_column(rows: NDArray[Any]) -> pa.Array:
    """Convert (n, d) values to an Arrow column of fixed-size lists."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(rows).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])


def column_to_rows(table: pa.Table, name: str) -> NDArray[Any]:
    """Convert an Arrow column of fixed-size lists to (n, d) values."""
    flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(table), -1)


def need_names_once(names: Sequence[str], path: str | Path) -> None:
    """Check that the columns of a table have different names.

    Raises:
        DataError: Two columns have the same name.
    """
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(
            f"the table {printable(str(path))!r} has {names.count(twice[0])} columns named "
            f"{twice[0]!r}",
            "The columns of a table must have different names.",
            "Rename or remove one of them.",
        )
