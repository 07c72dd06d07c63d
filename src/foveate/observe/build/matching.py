"""Which acquisitions show a footprint: the newest HR, and the LR nearest to it in time.

As appendix A.2 of the paper has it, with one deviation: all HR tiles of a footprint are of one
acquisition (items that lie at most `span` days apart), where tile by tile the newest one would mix
dates in a scene. The days between HR and LR are kept with each pair.
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
COVERED = 0.999  # of a footprint: outlines of items are rounded, and straight on another map

NO_HR, PART_HR = "no HR in the range of dates", "HR covers a part only"
NO_LR, CLOUDY_LR, PART_LR = (
    "no LR in the range of dates", "LR too cloudy or its cloud cover not stated",
    "LR covers a part only",
)  # fmt: skip


@dataclass(frozen=True)
class Acquisitions:
    """Items of a catalogue that have a date and a place, oldest first.

    Attributes:
        items: The m items.
        shapes: (m,) their ground, longitude and latitude.
        seconds: (m,) float64: when, seconds since 1970 (UTC).
        cloud: (m,) per cent of cloud; NaN where it is not stated.
        counts: What was let go: reason -> number.
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
    """Sort items by date.

    Args:
        items: Items of STAC.
        what: "HR" or "LR", for messages.
        lacking: Says what an item lacks to be read, "" for nothing.

    Raises:
        DataError: None of them has a date, a place and all that is read.
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
        elif without := lacking(item):
            counts[without] = counts.get(without, 0) + 1
        else:
            rows.append((when, item.name, item))
    if not rows:
        listed = ", ".join(f"{n} {why}" for why, n in counts.items() if why != "items")
        raise DataError(
            f"the {what} catalogue has no item to take: {counts['items']} were found, {listed}",
            "An item has a date (datetime, or start_datetime), a geometry and the assets.",
            f"Check --{what.lower()}, --{what.lower()}-datetime and --{what.lower()}-assets."
            + (" Of LR without such a layer: --scl none." if what == "LR" else ""),
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
    """Return when an item was taken, seconds since 1970; of an interval its beginning."""
    found = moments(item.content)
    return None if found is None or found[0] is None else found[0].timestamp()


@dataclass(frozen=True)
class Match:
    """What was found for a footprint.

    Attributes:
        hr: Items of the HR, the newest first; together they cover it.
        lr: Choices of LR, the best first, each a tuple of items that cover it together.
        why: Why there is none, or "".
    """

    hr: tuple[int, ...] = ()
    lr: tuple[tuple[int, ...], ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Matcher:
    """Which acquisitions are taken.

    Attributes:
        hr: Items of the HR, those of the range of dates.
        lr: Items of the LR.
        span: Most days between HR items of one footprint.
        window: Most days between LR and HR.
        lr_range: First and last moment of the LR, seconds; within it the window falls back to the
            whole range.
        max_cloud: Per cent; LR items with more, or that state none, are not taken.
        tries: Most choices of LR for a footprint.
    """

    hr: Acquisitions
    lr: Acquisitions
    span: float
    window: float
    lr_range: tuple[float, float]
    max_cloud: float
    tries: int = 1

    def match(self, outlines: NDArray[np.object_]) -> Iterator[Match]:
        """Yield what is found for each of (n,) footprints, in their order."""
        fine, coarse = _touching(self.hr, outlines), _touching(self.lr, outlines)
        for outline, near, far in zip(outlines, fine, coarse, strict=True):
            yield self._one(outline, near, far)

    def _one(self, outline: Any, near: NDArray[np.int64], far: NDArray[np.int64]) -> Match:
        if not near.size:
            return Match(why=NO_HR)
        chosen = next(covering(self.hr, outline, near[::-1], self.span), None)
        if chosen is None:
            return Match(why=PART_HR)
        when = float(self.hr.seconds[list(chosen)].max())
        near, whole = self._dated(far, when)
        if not whole.size:
            return Match(chosen, why=NO_LR)
        clear = whole[self.lr.cloud[whole] < self.max_cloud]  # NaN is not
        if not clear.size:
            return Match(chosen, why=CLOUDY_LR)
        for rows in (near, whole):
            choices = self._choices(outline, rows, when)
            if choices:
                return Match(chosen, choices)
        return Match(chosen, why=PART_LR)

    def _dated(
        self, far: NDArray[np.int64], when: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the LR items within the window, and those to fall back to if none of it serves."""
        first, last = self.lr_range
        seconds = self.lr.seconds[far]
        inside = (seconds >= first) & (seconds <= last)
        near = far[inside & (np.abs(seconds - when) <= self.window * DAY)]
        return near, far[inside] if np.isfinite(self.lr_range).any() else near

    def _choices(
        self, outline: Any, rows: NDArray[np.int64], when: float
    ) -> tuple[tuple[int, ...], ...]:
        """Return the choices among some LR items: the nearest in time first, then the clearest."""
        clear = rows[self.lr.cloud[rows] < self.max_cloud]
        off = np.abs(self.lr.seconds[clear] - when)
        order = clear[np.lexsort((self.lr.cloud[clear], off))]
        return tuple(itertools.islice(covering(self.lr, outline, order, 0.0), self.tries))


def _touching(found: Acquisitions, outlines: NDArray[np.object_]) -> list[NDArray[np.int64]]:
    """Return which items share ground with each outline, ascending."""
    import shapely

    which, item = shapely.STRtree(found.shapes).query(outlines, predicate="intersects")
    order = np.lexsort((item, which))
    edges = np.searchsorted(which[order], np.arange(1, outlines.size))
    return np.split(item[order], edges)


def covering(
    found: Acquisitions, outline: Any, rows: NDArray[np.int64], span: float
) -> Iterator[tuple[int, ...]]:
    """Yield sets of items that cover an outline, in the order of preference.

    Args:
        found: All items.
        outline: The footprint.
        rows: Items that touch it, the preferred ones first.
        span: Most days between items of one set; with 0, of one day (UTC).

    Yields:
        A single item where one covers it; else those of one acquisition that do together, the
        preferred first. Each acquisition is yielded once.
    """
    import shapely

    days = np.floor(found.seconds[rows] / DAY)
    left = np.ones(rows.size, bool)
    whole = shapely.area(outline)
    for number in range(rows.size):
        if not left[number]:
            continue
        back = days[number] - days
        same = left & (np.abs(back) == 0 if span == 0 else (back >= 0) & (back <= span))
        members = rows[same]
        alone = shapely.area(shapely.intersection(found.shapes[members], outline)) / whole
        if (alone >= COVERED).any():
            left[same & (days == days[number])] = False
            yield (int(members[np.argmax(alone >= COVERED)]),)
            continue
        left[number] = False
        ground = shapely.union_all(shapely.intersection(found.shapes[members], outline))
        if shapely.area(ground) / whole >= COVERED:
            left[same & (days == days[number])] = False
            yield _needed(found, outline, members)


def _needed(found: Acquisitions, outline: Any, members: NDArray[np.int64]) -> tuple[int, ...]:
    """Return those of some items that show ground which those before them do not."""
    import shapely

    rest, taken = outline, []
    for row in members.tolist():
        less = shapely.difference(rest, found.shapes[row])
        if shapely.area(less) < shapely.area(rest) * (1 - 1e-9):
            taken.append(row)
            rest = less
        if shapely.is_empty(rest):
            break
    return tuple(taken)
