"""Filter STAC items by date, bounding box and cloud cover."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from foveate.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLOUD = "eo:cloud_cover"
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[Tt ](.+))?)?)?")
_OPEN = ("", "..")  # open ends of an interval
_WIDE = 180.0  # degrees: a wider box across the antimeridian has W and E exchanged
_TICK = timedelta(microseconds=1)

Interval = tuple[datetime | None, datetime | None]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Search:
    """Assets and items to read from a catalogue.

    Attributes:
        assets: Names of the assets used as bands of a scene, in order; () if each item has a
            single image asset.
        datetime: A date (2024, 2024-05, 2024-05-31, or with a time) or a closed interval A/B of two
            dates; ".." is an open end. "" for any date.
        bbox: (west, south, east, north), degrees, WGS84; west > east if the box crosses the
            antimeridian. () for no restriction.
        max_cloud: Maximum cloud cover in per cent (property ``eo:cloud_cover``), inclusive; None
            for no limit.
        quality: Names of quality assets; () to recognise SCL and QA_PIXEL by name, ("none",) for
            none.

    Raises:
        ParameterError: A date or box is malformed or out of order.
    """

    assets: tuple[str, ...] = ()
    datetime: str = ""
    bbox: tuple[float, ...] = ()
    max_cloud: float | None = None
    quality: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check dates and box."""
        self.interval()
        check_box(self.bbox)

    def stated(self) -> list[str]:
        """Return the names of the options that are set."""
        options = {
            "--assets": self.assets, "--datetime": self.datetime, "--bbox": self.bbox,
            "--max-cloud": self.max_cloud is not None,
        }  # fmt: skip
        return [name for name, value in options.items() if value]

    def interval(self) -> Interval | None:
        """Return the first and last time, or None for any date."""
        return read_interval(self.datetime) if self.datetime else None

    def why_not(self, item: Mapping[str, Any]) -> str:
        """Return the first option that an item does not match, or "" if it matches all.

        An item without a date, a location or a cloud cover does not match a condition on it.
        """
        interval = self.interval()
        if interval is not None and not _overlap(moments(item), interval):
            return "--datetime"
        if self.bbox and not _intersects(item, self.bbox):
            return "--bbox"
        if self.max_cloud is not None:
            cover = item.get("properties", {}).get(CLOUD)
            if not isinstance(cover, int | float) or not cover <= self.max_cloud:
                return "--max-cloud"
        return ""


def read_interval(text: str) -> Interval:
    """Return the first and last time of a date or an interval; None for an open end.

    A date includes its whole year, month or day.

    Raises:
        ParameterError: The text is malformed, or the interval ends before it begins.
    """
    first, slash, last = (part.strip() for part in text.partition("/"))
    if slash and first in _OPEN and last in _OPEN:
        raise _bad_date(text)
    start = None if slash and first in _OPEN else _period(first, text)[0]
    if not slash:
        return _period(first, text)
    end = None if last in _OPEN else _period(last, text)[1]
    if start is not None and end is not None and end < start:
        raise ParameterError(
            f"datetime {text!r}, which ends before it begins",
            "An interval is A/B: the earlier date first.",
            f"--datetime {last}/{first}",
        )
    return start, end


def read_moment(text: object) -> datetime | None:
    """Parse an RFC 3339 time; return it in UTC, or None if it is not a time.

    A time without a zone is taken as UTC.
    """
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def moments(item: Mapping[str, Any]) -> Interval | None:
    """Return the first and last time of an item, or None if it has no date."""
    properties = item.get("properties") or {}
    at = read_moment(properties.get("datetime"))
    start, end = (read_moment(properties.get(f"{name}_datetime")) for name in ("start", "end"))
    if start is None and end is None:
        return None if at is None else (at, at)
    return start or at, end or at


def check_box(bbox: tuple[float, ...]) -> None:
    """Check a bounding box in longitude and latitude; () is allowed.

    Raises:
        ParameterError: The box does not have four values, or they are out of range or order.
    """
    if not bbox:
        return
    shown = ",".join(f"{value:g}" for value in bbox)
    form = "A box is W,S,E,N: longitudes from -180 to 180 and latitudes from -90 to 90, in degrees."
    if len(bbox) != 4:
        raise ParameterError(
            f"bbox {shown}, {len(bbox)} numbers", form, "--bbox 13.0,52.3,13.8,52.7"
        )
    west, south, east, north = bbox
    if not (abs(west) <= 180 and abs(east) <= 180 and abs(south) <= 90 and abs(north) <= 90):
        raise ParameterError(f"bbox {shown}", form, "--bbox 13.0,52.3,13.8,52.7")
    if south > north:
        raise ParameterError(
            f"bbox {shown}, whose south is greater than its north", form,
            f"--bbox {west:g},{north:g},{east:g},{south:g}",
        )  # fmt: skip
    if west > east and east - west + 360 > _WIDE:
        raise ParameterError(
            f"bbox {shown}, whose west is greater than its east", form
            + " West may be greater than east only if the box crosses the antimeridian.",
            f"--bbox {east:g},{south:g},{west:g},{north:g}",
        )  # fmt: skip


def boxes_of(bbox: object) -> Iterator[Box]:
    """Yield a 2D or 3D box as 2D boxes: two if it crosses the antimeridian, else one."""
    if not isinstance(bbox, list | tuple) or len(bbox) not in (4, 6):
        return
    half = len(bbox) // 2
    west, south, east, north = (float(bbox[i]) for i in (0, 1, half, half + 1))
    if west <= east:
        yield west, south, east, north
    else:
        yield west, south, 180.0, north
        yield -180.0, south, east, north


def _intersects(item: Mapping[str, Any], bbox: tuple[float, ...]) -> bool:
    """Return whether the geometry of an item, else its bounding box, intersects a box."""
    query, boxes = list(boxes_of(bbox)), list(boxes_of(item.get("bbox")))
    if boxes and not any(_boxes_intersect(a, b) for a in query for b in boxes):
        return False
    geometry = item.get("geometry")
    if not geometry:
        return bool(boxes)
    import shapely

    shape = shapely.geometry.shape(geometry)
    if len(boxes) > 1 or shape.bounds[2] - shape.bounds[0] > _WIDE:
        # A ring across the antimeridian may go the long way round: prefer the bounding box.
        return bool(boxes) or any(shape.intersects(shapely.box(*box)) for box in query)
    return any(shape.intersects(shapely.box(*box)) for box in query)


def _boxes_intersect(a: Box, b: Box) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _overlap(interval: Interval | None, query: Interval) -> bool:
    if interval is None:
        return False
    start, end = interval
    late = query[1] is not None and start is not None and start > query[1]
    early = query[0] is not None and end is not None and end < query[0]
    return not late and not early


def _period(text: str, whole: str) -> tuple[datetime, datetime]:
    """Return the first and last time of a year, a month, a day or a time.

    Args:
        text: The date.
        whole: The option that contains it, for messages.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise _bad_date(whole)
    try:
        if match[4]:
            moment = read_moment(text)
            if moment is None:
                raise _bad_date(whole)
            return moment, moment
        year, month, day = int(match[1]), int(match[2] or 1), int(match[3] or 1)
        start = datetime(year, month, day, tzinfo=UTC)
        if match[3]:
            return start, start + timedelta(days=1) - _TICK
        last = int(match[2] or 12)
        end = datetime(year, last, monthrange(year, last)[1], tzinfo=UTC)
    except ValueError as error:  # for example a 13th month
        raise _bad_date(whole) from error
    return start, end + timedelta(days=1) - _TICK


def _bad_date(text: str) -> ParameterError:
    return ParameterError(
        f"datetime {text!r}",
        "A date is 2024, 2024-05, 2024-05-31 or 2024-05-31T10:00:00Z; an interval is two dates "
        "separated by a slash, with .. for an open end.",
        "--datetime 2024-05-01/2024-09-30",
    )
