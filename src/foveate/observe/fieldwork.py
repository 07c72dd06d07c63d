"""Tiles for a person to look at, and what comes back: plans and answers."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import read_text, write_bytes, write_geojson
from foveate.observe.quantities import ground, unit_of
from foveate.pool.antimeridian import middles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.observe.totals import Drawn

_SAME = 1e-6  # of probabilities that were written and read
_WHOLE = 1.01  # of a tile's ground, for a person's rounding
SUFFIXES = (".csv", ".geojson")


def write_plan(drawn: Drawn, path: str | Path) -> None:
    """Write the drawn tiles, with their probabilities.

    As CSV it has an empty column "value": filled in, it is what `read_answers` reads.

    Args:
        drawn: The draw.
        path: A file .csv, or .geojson where the scenes are georeferenced.

    Raises:
        ParameterError: Another kind of file.
        DataError: GeoJSON of scenes that are not georeferenced.
        StorageError: The file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ParameterError(
            f"a plan in {str(path)!r}", f"It is a file {' or '.join(SUFFIXES)}.", "--plan plan.csv"
        )
    pool, tiles = drawn.pairs.pool, drawn.tiles
    table = pool.tiles
    assert table is not None  # noqa: S101  (pairs are cut from scenes)
    unit = unit_of(pool, drawn.job.quantity)
    columns: dict[str, list[Any]] = {
        "tile_id": pool.ids[tiles].tolist(),
        "scene": table.scene[tiles].tolist(),
        "row": table.row[tiles].tolist(),
        "col": table.col[tiles].tolist(),
        "probability": drawn.probabilities.tolist(),
        "ground": ground(pool)[tiles].tolist(),
    }
    outlines = pool.take(tiles).footprints() if pool.georeferenced else None
    if suffix == ".geojson":
        if outlines is None:
            raise DataError(
                f"GeoJSON of scenes that are not georeferenced: {pool.unplaced}",
                "Its places are longitudes and latitudes on the Earth.",
                "--plan plan.csv",
            )
        import pyarrow as pa
        import shapely

        table_ = pa.table(
            {**columns, "unit": [unit] * len(tiles), "geometry": shapely.to_wkb(outlines)}
        )
        write_geojson(path, table_)
        return
    if outlines is not None:
        lon, lat = middles(outlines)
        columns |= {"longitude": lon.round(7).tolist(), "latitude": lat.round(7).tolist()}
    columns |= {"unit": [unit] * len(tiles), "value": [""] * len(tiles)}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_bytes(path, text.getvalue().encode())


def read_answers(drawn: Drawn, path: str | Path) -> NDArray[np.float64]:
    """Read what a person found in the drawn tiles.

    Args:
        drawn: The draw that the plan was written of: by the same job.
        path: CSV with the columns "tile_id" and "value": square metres (pixels without a
            georeference), 1 or 0, or numbers of things. Where it has a "probability", it has to be
            that of the draw.

    Returns:
        (n,) float64 values in the order of ``drawn.rows``.

    Raises:
        DataError: The file cannot be read, an answer is missing, there twice, no number or one
            that cannot be, or it is of another draw.
    """
    found = _rows(path)
    ids = drawn.pairs.pool.ids[drawn.tiles].tolist()
    strange = [name for name in found if name not in set(ids)]
    missing = [name for name in ids if name not in found]
    if strange or missing:
        raise DataError(
            f"{str(path)!r} is no answer to this draw: "
            + (f"{strange[0]!r} was not drawn" if strange else f"{missing[0]!r} has no value")
            + f" ({len(strange)} too many, {len(missing)} missing)",
            f"It has a value for each of the {len(ids)} tiles that were drawn.",
            "Give the options and the seed that the plan was written with.",
        )
    most = {"area": ground(drawn.pairs.pool)[drawn.tiles] * _WHOLE, "tiles": 1.0}
    limits = np.broadcast_to(most.get(drawn.job.quantity, np.inf), len(ids))
    values = np.empty(len(ids))
    for i, (name, pi) in enumerate(zip(ids, drawn.probabilities.tolist(), strict=True)):
        values[i], stated = found[name]
        whole = drawn.job.quantity == "area" or values[i] == np.floor(values[i])
        if not (0 <= values[i] <= limits[i] and whole):
            raise DataError(
                f"the value of {name!r} in {str(path)!r} is {values[i]:g}",
                {
                    "area": f"The tile has {limits[i] / _WHOLE:g} "
                    f"{unit_of(drawn.pairs.pool, 'area')}: 0 to that.",
                    "tiles": "1 where the tile shows it, else 0.",
                    "count": "A number of things: 0, 1, 2 and so on.",
                }[drawn.job.quantity],
            )
        if stated is not None and abs(stated - pi) > _SAME:
            raise DataError(
                f"{name!r} in {str(path)!r} was drawn with the probability {stated:g}, "
                f"here it is {pi:g}",
                "The answers are those to a plan.",
                "Give the options that the plan was written with.",
            )
    return values


def _rows(path: str | Path) -> dict[str, tuple[float, float | None]]:
    """Return tile id -> value and probability, if that is stated; rows without a value are none."""
    text = read_text(path, "table of answers")
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows, names = list(reader), reader.fieldnames or ()
    except csv.Error as error:
        raise DataError(f"cannot read {str(path)!r}: {error}") from error
    if not {"tile_id", "value"} <= set(names):
        raise DataError(
            f"{str(path)!r} has the columns {', '.join(names) or 'none'}",
            "Answers have tile_id and value.",
            "Fill in the column value of the plan.",
        )
    found: dict[str, tuple[float, float | None]] = {}
    for number, row in enumerate(rows, 2):
        name, value = row["tile_id"] or "", (row["value"] or "").strip()
        if not value:
            continue
        if name in found:
            raise DataError(f"{name!r} is in {str(path)!r} twice", "A tile has one value.")
        try:
            stated = (row.get("probability") or "").strip()
            found[name] = (float(value), float(stated) if stated else None)
        except ValueError as error:
            raise DataError(
                f"line {number} of {str(path)!r} has the value {value!r}", "Values are numbers."
            ) from error
    return found
