"""Which items of a catalogue are meant: by date, place and cloud cover."""

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
_OPEN = ("", "..")  # ends of an interval without a limit
_WIDE = 180.0  # degrees: a box over the antimeridian that is wider has W and E exchanged
_TICK = timedelta(microseconds=1)

Interval = tuple[datetime | None, datetime | None]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Search:
    """What of a catalogue is read.

    Attributes:
        assets: Names of the assets that are the bands of a scene, in order; () where each item has
            one alone.
        datetime: A date (2024, 2024-05, 2024-05-31, or with a time) or an interval A/B of two, both
            included; ".." leaves an end open. "" for any.
        bbox: (west, south, east, north), degrees on WGS84; west is greater than east where the box
            crosses the antimeridian. () for anywhere.
        max_cloud: Largest cloud cover, in per cent (property ``eo:cloud_cover``); None for any.
        quality: Names of the assets that are quality rasters; () for those that are known by name,
            ("none",) for none.

    Raises:
        ParameterError: Dates or a box in another form, or out of order.
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
        """Return the options that are stated, as they are typed."""
        named = {
            "--assets": self.assets, "--datetime": self.datetime, "--bbox": self.bbox,
            "--max-cloud": self.max_cloud is not None,
        }  # fmt: skip
        return [name for name, value in named.items() if value]

    def interval(self) -> Interval | None:
        """Return first and last moment, or None for any time."""
        return read_interval(self.datetime) if self.datetime else None

    def why_not(self, item: Mapping[str, Any]) -> str:
        """Say which condition an item does not meet; "" where it meets all.

        What an item does not say (no date, no place, no cloud cover) meets no condition of it.
        """
        interval = self.interval()
        if interval is not None and not _overlap(moments(item), interval):
            return "--datetime"
        if self.bbox and not _shares_ground(item, self.bbox):
            return "--bbox"
        if self.max_cloud is not None:
            cover = item.get("properties", {}).get(CLOUD)
            if not isinstance(cover, int | float) or not cover <= self.max_cloud:
                return "--max-cloud"
        return ""


def read_interval(text: str) -> Interval:
    """Return the first and last moment of a date or an interval; None for an open end.

    Raises:
        ParameterError: Another form, or the end lies before the beginning.
    """
    first, slash, last = (part.strip() for part in text.partition("/"))
    if slash and first in _OPEN and last in _OPEN:
        raise _refused(text)
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
    """Return a moment of an item (RFC 3339), in UTC; None where there is none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def moments(item: Mapping[str, Any]) -> Interval | None:
    """Return first and last moment of an item; None where it has no date."""
    known = item.get("properties") or {}
    at = read_moment(known.get("datetime"))
    start, end = (read_moment(known.get(f"{name}_datetime")) for name in ("start", "end"))
    if start is None and end is None:
        return None if at is None else (at, at)
    return start or at, end or at


def check_box(bbox: tuple[float, ...]) -> None:
    """Refuse what is no box in longitude and latitude.

    Raises:
        ParameterError: Another number of values, or out of range or order.
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
            f"bbox {shown}, whose south lies above its north", form,
            f"--bbox {west:g},{north:g},{east:g},{south:g}",
        )  # fmt: skip
    if west > east and east - west + 360 > _WIDE:
        raise ParameterError(
            f"bbox {shown}, whose west lies beyond its east", form
            + " West is greater than east only in a box over the antimeridian.",
            f"--bbox {east:g},{south:g},{west:g},{north:g}",
        )  # fmt: skip


def boxes_of(bbox: object) -> Iterator[Box]:
    """Yield the parts of a box of 4 or 6 numbers, two where it crosses the antimeridian."""
    if not isinstance(bbox, list | tuple) or len(bbox) not in (4, 6):
        return
    half = len(bbox) // 2
    west, south, east, north = (float(bbox[i]) for i in (0, 1, half, half + 1))
    if west <= east:
        yield west, south, east, north
    else:
        yield west, south, 180.0, north
        yield -180.0, south, east, north


def _shares_ground(item: Mapping[str, Any], bbox: tuple[float, ...]) -> bool:
    wanted, own = list(boxes_of(bbox)), list(boxes_of(item.get("bbox")))
    if own and not any(_meet(a, b) for a in wanted for b in own):
        return False
    geometry = item.get("geometry")
    if not geometry:
        return bool(own)
    import shapely

    shape = shapely.geometry.shape(geometry)
    if len(own) > 1 or shape.bounds[2] - shape.bounds[0] > _WIDE:
        # Over the antimeridian a ring may be drawn the long way round: the box is the better word.
        return bool(own) or any(shape.intersects(shapely.box(*box)) for box in wanted)
    return any(shape.intersects(shapely.box(*box)) for box in wanted)


def _meet(a: Box, b: Box) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _overlap(own: Interval | None, wanted: Interval) -> bool:
    if own is None:
        return False
    start, end = own
    late = wanted[1] is not None and start is not None and start > wanted[1]
    early = wanted[0] is not None and end is not None and end < wanted[0]
    return not late and not early


def _period(text: str, whole: str) -> tuple[datetime, datetime]:
    """Return the first and last moment of a year, month, day, or moment."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise _refused(whole)
    try:
        if found[4]:
            moment = read_moment(text)
            if moment is None:
                raise _refused(whole)
            return moment, moment
        year, month, day = int(found[1]), int(found[2] or 1), int(found[3] or 1)
        start = datetime(year, month, day, tzinfo=UTC)
        if found[3]:
            return start, start + timedelta(days=1) - _TICK
        last = int(found[2] or 12)
        end = datetime(year, last, monthrange(year, last)[1], tzinfo=UTC)
    except ValueError as error:  # a 13th month
        raise _refused(whole) from error
    return start, end + timedelta(days=1) - _TICK


def _refused(text: str) -> ParameterError:
    return ParameterError(
        f"datetime {text!r}",
        "A date is 2024, 2024-05, 2024-05-31 or 2024-05-31T10:00:00Z; an interval two of them with "
        "a slash, and .. for an open end.",
        "--datetime 2024-05-01/2024-09-30",
    )
