"""Match imagery to footprints: the newest HR, and the LR closest to it in time.

Follows appendix A.2 of the paper, with one deviation: the whole HR image of a footprint comes from
one acquisition (items at most `span` days apart). Taking the newest item for each tile would mix
dates within a scene. The number of days between HR and LR is stored with each pair.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.pool.stac.search import CLOUD, moments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from foveate.pool.stac.items import Item

DAY = 86_400.0  # seconds
COVERED = 0.999  # share of a footprint: item outlines are rounded and reprojected

NO_HR, PART_HR = "no HR in the range of dates", "HR covers a part only"
NO_LR, CLOUDY_LR, PART_LR = (
    "no LR in the range of dates", "LR too cloudy or its cloud cover not stated",
    "LR covers a part only",
)  # fmt: skip


@dataclass(frozen=True)
class Acquisitions:
    """Items of a catalogue with a date and a geometry, oldest first.

    Attributes:
        items: The m items.
        shapes: (m,) geometries in longitude and latitude.
        seconds: (m,) float64 acquisition times in seconds since 1970 (UTC).
        cloud: (m,) cloud cover in per cent; NaN if not stated.
        counts: Number of all items, and of excluded items by reason.
    """

    items: tuple[Item, ...]
    shapes: NDArray[np.object_]
    seconds: NDArray[np.float64]
    cloud: NDArray[np.float64]
    counts: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)


def acquisitions(items: Iterable[Item], what: str, lacking: Callable[[Item], str]) -> Acquisitions:
    """Filter items and sort them by date.

    Args:
        items: STAC items.
        what: "HR" or "LR", for messages.
        lacking: Returns why an item cannot be used, or "".

    Raises:
        DataError: No item has a date, a geometry and the required assets.
    """
    import shapely

    counts = {"items": 0, "without a date": 0, "without a place": 0}
    rows: list[tuple[float, str, Item]] = []
    for item in items:
        counts["items"] += 1
        when = moment_of(item)
        if when is None:
            counts["without a date"] += 1
        elif not item.content.get("geometry"):
            counts["without a place"] += 1
        elif reason := lacking(item):
            counts[reason] = counts.get(reason, 0) + 1
        else:
            rows.append((when, item.name, item))
    if not rows:
        listed = ", ".join(f"{n} {why}" for why, n in counts.items() if why != "items")
        raise DataError(
            f"the {what} catalogue has no usable item: {counts['items']} were found, {listed}",
            "An item needs a date (datetime, or start_datetime), a geometry and the assets.",
            f"Check --{what.lower()}, --{what.lower()}-datetime and --{what.lower()}-assets."
            + (" For LR without such a layer: --scl none." if what == "LR" else ""),
        )
    rows.sort(key=lambda row: row[:2])
    shapes = np.empty(len(rows), object)
    shapes[:] = [shapely.geometry.shape(item.content["geometry"]) for _, _, item in rows]
    cloud = [item.content["properties"].get(CLOUD) for _, _, item in rows]
    return Acquisitions(
        tuple(item for _, _, item in rows), shapely.make_valid(shapes),
        np.array([when for when, _, _ in rows]),
        np.array([np.nan if c is None else float(c) for c in cloud]), counts,
    )  # fmt: skip


def moment_of(item: Item) -> float | None:
    """Return the (start) time of an item in seconds since 1970, or None."""
    interval = moments(item.content)
    return None if interval is None or interval[0] is None else interval[0].timestamp()


@dataclass(frozen=True)
class Match:
    """HR and LR items for a footprint.

    Attributes:
        hr: Indices of HR items, newest first, which together cover the footprint.
        lr: Candidate LR acquisitions, best first, each a tuple of indices of items that together
            cover the footprint.
        why: Why there is no match, or "".
    """

    hr: tuple[int, ...] = ()
    lr: tuple[tuple[int, ...], ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Matcher:
    """Match HR and LR items to footprints.

    Attributes:
        hr: HR items within the requested dates.
        lr: LR items.
        span: Maximum number of days between HR items of one footprint.
        window: Maximum number of days between LR and HR.
        lr_range: First and last time of the LR in seconds; infinite for no limit. With a limit, LR
            outside the window, but within the range, is used if none within the window covers the
            footprint.
        max_cloud: Per cent; only LR items with a smaller stated cloud cover are used.
        tries: Maximum number of candidate LR acquisitions for a footprint.
    """

    hr: Acquisitions
    lr: Acquisitions
    span: float
    window: float
    lr_range: tuple[float, float]
    max_cloud: float
    tries: int = 1

    def match(self, outlines: NDArray[np.object_]) -> Iterator[Match]:
        """Yield the match of each of (n,) footprints, in order."""
        hr_rows, lr_rows = _intersecting(self.hr, outlines), _intersecting(self.lr, outlines)
        for outline, hr, lr in zip(outlines, hr_rows, lr_rows, strict=True):
            yield self._match_one(outline, hr, lr)

    def _match_one(self, outline: Any, hr: NDArray[np.int64], lr: NDArray[np.int64]) -> Match:
        if not hr.size:
            return Match(why=NO_HR)
        chosen = next(covering(self.hr, outline, hr[::-1], self.span), None)
        if chosen is None:
            return Match(why=PART_HR)
        when = float(self.hr.seconds[list(chosen)].max())
        in_window, in_range = self._filter_dates(lr, when)
        if not in_range.size:
            return Match(chosen, why=NO_LR)
        clear = in_range[self.lr.cloud[in_range] < self.max_cloud]  # excludes NaN
        if not clear.size:
            return Match(chosen, why=CLOUDY_LR)
        for rows in (in_window, in_range):
            choices = self._choices(outline, rows, when)
            if choices:
                return Match(chosen, choices)
        return Match(chosen, why=PART_LR)

    def _filter_dates(
        self, lr: NDArray[np.int64], when: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the LR items within window and range, and those within the range as a fallback.

        Without a range, both are the items within the window.
        """
        first, last = self.lr_range
        seconds = self.lr.seconds[lr]
        inside = (seconds >= first) & (seconds <= last)
        in_window = lr[inside & (np.abs(seconds - when) <= self.window * DAY)]
        return in_window, lr[inside] if np.isfinite(self.lr_range).any() else in_window

    def _choices(
        self, outline: Any, rows: NDArray[np.int64], when: float
    ) -> tuple[tuple[int, ...], ...]:
        """Return candidate LR acquisitions, closest in time first; ties by cloud cover."""
        clear = rows[self.lr.cloud[rows] < self.max_cloud]
        distance = np.abs(self.lr.seconds[clear] - when)
        order = clear[np.lexsort((self.lr.cloud[clear], distance))]
        return tuple(itertools.islice(covering(self.lr, outline, order, 0.0), self.tries))


def _intersecting(acquired: Acquisitions, outlines: NDArray[np.object_]) -> list[NDArray[np.int64]]:
    """Return the indices of the items that intersect each outline, ascending."""
    import shapely

    which, item = shapely.STRtree(acquired.shapes).query(outlines, predicate="intersects")
    order = np.lexsort((item, which))
    edges = np.searchsorted(which[order], np.arange(1, outlines.size))
    return np.split(item[order], edges)


def covering(
    found: Acquisitions, outline: Any, rows: NDArray[np.int64], span: float
) -> Iterator[tuple[int, ...]]:
    """Yield sets of items that cover an outline, in order of preference.

    Args:
        found: All items.
        outline: The footprint.
        rows: Items that intersect the outline, preferred ones first.
        span: Maximum number of days between items of one set; 0 for the same day (UTC).

    Yields:
        A single item if it covers the outline alone, else the items of one acquisition that cover
        it together, preferred ones first. Each acquisition is yielded once.
    """
    import shapely

    days = np.floor(found.seconds[rows] / DAY)
    left = np.ones(rows.size, bool)
    area = shapely.area(outline)
    for number in range(rows.size):
        if not left[number]:
            continue
        age = days[number] - days
        same = left & (np.abs(age) == 0 if span == 0 else (age >= 0) & (age <= span))
        members = rows[same]
        shares = shapely.area(shapely.intersection(found.shapes[members], outline)) / area
        if (shares >= COVERED).any():
            left[same & (days == days[number])] = False
            yield (int(members[np.argmax(shares >= COVERED)]),)
            continue
        left[number] = False
        union = shapely.union_all(shapely.intersection(found.shapes[members], outline))
        if shapely.area(union) / area >= COVERED:
            left[same & (days == days[number])] = False
            yield _without_redundant(found, outline, members)


def _without_redundant(
    acquired: Acquisitions, outline: Any, members: NDArray[np.int64]
) -> tuple[int, ...]:
    """Return the items that cover a part of the outline that earlier items do not cover."""
    import shapely

    rest, taken = outline, []
    for row in members.tolist():
        reduced = shapely.difference(rest, acquired.shapes[row])
        if shapely.area(reduced) < shapely.area(rest) * (1 - 1e-9):
            taken.append(row)
            rest = reduced
        if shapely.is_empty(rest):
            break
    return tuple(taken)
