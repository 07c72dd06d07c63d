"""Parts of STAC exports: items of tiles, bounding boxes, dates, collections."""

from __future__ import annotations

import os
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import printable, stored_path
from foveate.location import is_url
from foveate.pool.stac.search import moments, read_interval, read_moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from foveate.run import Run

STAC = "1.1.0"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
DATES = ("datetime", "start_datetime", "end_datetime")
_TYPES = {
    ".tif": "image/tiff; application=geotiff", ".tiff": "image/tiff; application=geotiff",
    ".jp2": "image/jp2", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
}  # fmt: skip
_TURN = 180.0


def period_of(known: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    """Return the first and last time of a tile from its columns `DATES`; None if not known."""
    first, last = moments({"properties": known}) or (None, None)
    if first is not None and last is not None and first <= last:
        return first, last
    at = read_moment(known.get("datetime"))
    return None if at is None else (at, at)


def when(known: Mapping[str, Any], stated: str) -> dict[str, Any]:
    """Return the temporal members of an item: datetime, or a period.

    Args:
        known: Columns of the tile; of these, `DATES` are read.
        stated: Date or interval A/B used if the date is not known; "" for none.

    Raises:
        ParameterError: Both are missing, or the interval has an open end.
    """
    period, at = period_of(known), read_moment(known.get("datetime"))
    if period is not None:
        return temporal(*period, at)
    text = known.get("datetime")
    if not stated and text not in (None, ""):
        raise ParameterError(
            f"the column 'datetime' of the tiles has {str(text)!r}, which is not a date",
            "A date is 2024-05-31 or 2024-05-31T10:00:00Z.",
            "Correct the column, or type --datetime 2024-05-31, which is used for such tiles.",
        )
    if not stated:
        raise ParameterError(
            "the tiles have no date",
            "STAC items require a date, and the run does not contain one.",
            "Use --datetime 2024-05-31, or the first and last day: --datetime A/B.",
        )
    start, end = read_interval(stated)
    if start is None or end is None:
        raise ParameterError(
            f"datetime {stated!r}",
            "The period of an item must have a start and an end.",
            "Use --datetime A/B.",
        )
    return temporal(start, end)


def temporal(start: datetime, end: datetime, at: datetime | None = None) -> dict[str, Any]:
    """Return the temporal members of a period; of items without a date, `at` is its start."""
    if start == end:
        return {"datetime": as_text(start)}
    date = None if at in (None, start) else as_text(at)
    return {"datetime": date, "start_datetime": as_text(start), "end_datetime": as_text(end)}


def as_text(moment: datetime) -> str:
    """Return a date and time in RFC 3339 format."""
    return moment.isoformat().replace("+00:00", "Z")


def box_of(shape: Any) -> list[float]:
    """Return (west, south, east, north) of a shape; west is greater where it crosses 180 degrees.

    Following RFC 7946, section 5.2, parts on both sides of the antimeridian have one box across it.
    """
    parts = list(getattr(shape, "geoms", [shape]))
    bounds = np.array([part.bounds for part in parts])
    south, north = float(bounds[:, 1].min()), float(bounds[:, 3].max())
    touches = (bounds[:, 0] <= -_TURN).any() and (bounds[:, 2] >= _TURN).any()
    whole = bounds[:, 2].max() - bounds[:, 0].min() > _TURN
    if len(parts) > 1 and touches and whole:
        east = bounds[bounds[:, 0] < 0]
        west = bounds[bounds[:, 0] >= 0]
        return [float(west[:, 0].min()), south, float(east[:, 2].max()), north]
    return [float(bounds[:, 0].min()), south, float(bounds[:, 2].max()), north]


def extent_of(boxes: Sequence[Sequence[float]], dates: Iterable[Mapping[str, Any]]) -> dict:
    """Return the extent of a collection."""
    table = np.array(boxes, np.float64)
    crosses = (table[:, 0] > table[:, 2]).any()
    west, east = (-_TURN, _TURN) if crosses else (table[:, 0].min(), table[:, 2].max())
    spatial = [float(west), float(table[:, 1].min()), float(east), float(table[:, 3].max())]
    known = [tuple(one.get(name) for name in DATES) for one in dates]
    first = min(str(start or at) for at, start, _ in known)
    last = max(str(end or at) for at, _, end in known)
    return {"spatial": {"bbox": [spatial]}, "temporal": {"interval": [[first, last]]}}


def projection(crs: str | None, affine: Sequence[float] | None) -> dict[str, Any]:
    """Return the properties of the projection extension for a CRS, and a grid if given.

    Args:
        crs: WKT, or None.
        affine: a, b, c, d, e, f of rasterio, or None.
    """
    from pyproj import CRS

    found: dict[str, Any] = {}
    if crs:
        known = CRS.from_wkt(crs)
        authority = known.to_authority(min_confidence=100)
        found["proj:code"] = None if authority is None else ":".join(authority)
        if authority is None:
            found["proj:wkt2"] = known.to_wkt()
    if affine is not None:
        found["proj:transform"] = [float(value) for value in affine]
    return found


def link_to(uri: str, folder: Path) -> tuple[str, str]:
    """Return the relative link from a folder to a file, and its media type, which may be "".

    Args:
        uri: URI in the tables of a run: a URL, or a path relative to the working directory.
        folder: Folder of the link.
    """
    kind = _TYPES.get(Path(uri.partition("?")[0]).suffix.lower(), "")
    if is_url(uri):
        return uri, kind
    target = Path(stored_path(uri)).absolute()
    return printable(Path(os.path.relpath(target, folder.absolute())).as_posix()), kind


def attributes_of(run: Run) -> dict[str, dict[str, Any]]:
    """Return the stored attributes of each tile, ready for JSON: id -> column -> value.

    Dates and times are text of RFC 3339, durations are seconds, decimals are floats.
    """
    from foveate.files import read_parquet
    from foveate.pool.store import ATTRIBUTES

    path = run.path / ATTRIBUTES
    if not path.is_file():
        return {}
    return {
        str(row["tile_id"]): {name: _for_json(value) for name, value in row.items()}
        for row in read_parquet(path).to_pylist()
    }


def _for_json(value: Any) -> Any:
    if isinstance(value, datetime):
        moment = read_moment(value)
        return str(value) if moment is None else as_text(moment)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return float(value) if isinstance(value, Decimal) else value


def need_place(run: Run, column_names: Sequence[str]) -> None:
    """Check that a run has longitude and latitude.

    Raises:
        DataError: The run is not georeferenced.
    """
    if "geometry" not in column_names:
        raise DataError(
            f"the run {str(run.path)!r} is not georeferenced",
            "STAC items require longitude and latitude.",
            "Use --to csv, which contains the windows in pixels.",
        )
