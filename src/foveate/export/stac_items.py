"""Parts of what is written as STAC: items of tiles, boxes, dates, collections."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import printable, stored_path
from foveate.location import is_url
from foveate.pool.stac.search import read_interval, read_moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from foveate.run import Run

STAC = "1.1.0"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
DATES = ("datetime", "start_datetime", "end_datetime")
_TYPES = {
    ".tif": "image/tiff; application=geotiff", ".tiff": "image/tiff; application=geotiff",
    ".jp2": "image/jp2", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
}  # fmt: skip
_TURN = 180.0


def when(known: object, stated: str) -> dict[str, Any]:
    """Return the members of an item that say when: datetime, or a period.

    Args:
        known: Moment as text, "" or None where nothing is known.
        stated: Date or interval A/B that holds where nothing is known; "" for none.

    Raises:
        ParameterError: Neither is there, or the interval has an open end.
    """
    moment = read_moment(known)
    if moment is not None:
        return {"datetime": as_text(moment)}
    if not stated:
        raise ParameterError(
            "tiles without a date",
            "STAC says of every item when it was seen; the run does not know it.",
            "State it: --datetime 2024-05-31, or the first and last day: --datetime A/B.",
        )
    start, end = read_interval(stated)
    if start is None or end is None:
        raise ParameterError(
            f"datetime {stated!r}", "A period of an item has two ends.", "--datetime A/B"
        )
    if start == end:
        return {"datetime": as_text(start)}
    return {"datetime": None, "start_datetime": as_text(start), "end_datetime": as_text(end)}


def as_text(moment: datetime) -> str:
    """Return a moment as RFC 3339 has it."""
    return moment.isoformat().replace("+00:00", "Z")


def box_of(shape: Any) -> list[float]:
    """Return (west, south, east, north) of a shape; west is greater where it crosses 180 degrees.

    As RFC 7946, section 5.2: parts on both sides of the antimeridian are one box across it.
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
    known = [(one.get("datetime"), *(one.get(name) for name in DATES[1:])) for one in dates]
    first = min(str(at or start) for at, start, _ in known)
    last = max(str(at or end) for at, _, end in known)
    return {"spatial": {"bbox": [spatial]}, "temporal": {"interval": [[first, last]]}}


def projection(crs: str | None, affine: Sequence[float] | None) -> dict[str, Any]:
    """Return what the projection extension says of a CRS, and of a grid if it is given.

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
    """Return the address of a file from a folder, and its media type, which may be "".

    Args:
        uri: As the tables of a run have it: a URL, or a path from where the run was made.
        folder: Where the link stands.
    """
    kind = _TYPES.get(Path(uri.partition("?")[0]).suffix.lower(), "")
    if is_url(uri):
        return uri, kind
    there = Path(stored_path(uri)).absolute()
    return printable(Path(os.path.relpath(there, folder.absolute())).as_posix()), kind


def attributes_of(run: Run) -> dict[str, dict[str, Any]]:
    """Return what a run knows of each tile: id -> column -> value."""
    from foveate.files import read_parquet
    from foveate.pool.store import ATTRIBUTES

    path = run.path / ATTRIBUTES
    if not path.is_file():
        return {}
    return {str(row["tile_id"]): row for row in read_parquet(path).to_pylist()}


def need_place(run: Run, column_names: Sequence[str]) -> None:
    """Refuse a run without longitudes and latitudes.

    Raises:
        DataError: It has none.
    """
    if "geometry" not in column_names:
        raise DataError(
            f"the run {str(run.path)!r} is not georeferenced",
            "Items of STAC lie on the Earth.",
            "Use --to csv, which holds the windows in pixels.",
        )
