"""The picture of an image that was looked at: its cells by importance, what was seen, the regions.

Everything is drawn over the picture as SVG, in units of a thousandth of the longer side, so that
the style sheet can state sizes of text and lines for images of any size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from foveate.report import human

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SIDE = 1000.0  # units of the longer side
STEPS = 10  # tints above the lowest
OUTLINES = 1500  # thin outlines, and cells with a text to hover over
_ROOM = 64.0  # units; in a smaller region its number stands beside it
_GAP = 9.0  # units between a number and its outline


class Cell(NamedTuple):
    """A rectangle in units of the picture; `tint` is 0 for the least important cell, 10 at most."""

    x: float
    y: float
    w: float
    h: float
    tint: int
    tip: str


class Outline(NamedTuple):
    """What was seen of a chosen region, with its rank and where the rank is written."""

    x: float
    y: float
    w: float
    h: float
    rank: int
    text_x: float
    text_y: float
    anchor: str
    tip: str


class Stage(NamedTuple):
    """A picture with everything that is drawn over it.

    Attributes:
        element: Id of the picture on the page.
        picture: Data URI, or "" where there is none.
        masks: Data URI of what was segmented, or "".
        width: Units; the longer side has 1000.
        height: Units.
        cells: All cells; together they cover the image but for nodata.
        seen: What was seen of the cells that were not chosen.
        regions: The chosen ones, the most important last, so that it lies on top.
        low: Importance of the least important cell.
        high: And of the most important one.
        note: What may surprise in the map, or "".
        label: What the picture shows, for those who cannot see it.
    """

    element: str
    picture: str
    masks: str
    width: float
    height: float
    cells: list[Cell]
    seen: list[Cell]
    regions: list[Outline]
    low: str
    high: str
    note: str
    label: str


def stage(
    element: str,
    name: str,
    shape: Sequence[int],
    columns: Mapping[str, Sequence],
    *,
    picture: str = "",
    masks: str = "",
    higher: int | None = None,
) -> Stage:
    """Draw an image.

    Args:
        element: Id for the picture; unique on the page.
        name: Name of the image.
        shape: ``(height, width)`` in pixels.
        columns: Name -> (n,) values of all cells, as a run stores them.
        picture: Data URI, or "".
        masks: Data URI, or "".
        higher: Cells that score higher than a chosen one and were not chosen, as the look counted
            them; None for a look that did not.
    """
    unit = SIDE / max(shape)
    score = np.array(columns["importance"], np.float64)
    tints = tinted(score)
    place = [_boxes(columns, names, unit) for names in (_CELL, _SEEN)]
    ranks = [int(rank) if rank else 0 for rank in columns["rank"]]
    few = len(ranks) <= OUTLINES
    cells, seen, regions = [], [], []
    for row, rank in enumerate(ranks):
        tip = _tip(columns, row, rank)
        cells.append(Cell(*place[0][row], tints[row], tip if few else ""))
        if rank:
            regions.append(_outline(place[1][row], rank, tip))
        elif len(seen) < OUTLINES:
            seen.append(Cell(*place[1][row], tints[row], tip if few else ""))
    known = score[np.isfinite(score)]
    low, high = (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)
    return Stage(
        element, picture, masks, round(unit * shape[1], 1), round(unit * shape[0], 1), cells, seen,
        sorted(regions, key=lambda one: -one.rank),
        human.decimal(low), human.decimal(high), _note(columns, score, ranks, higher),
        f"{name} with {human.plural(len(regions), 'chosen region')}, numbered by importance",
    )  # fmt: skip


def tinted(score: NDArray[np.float64]) -> list[int]:
    """Return 0 for the least important cell to 10 for the most; 5 where all are alike.

    Args:
        score: (n,) importance; NaN counts as the least.
    """
    known = score[np.isfinite(score)]
    span = float(np.ptp(known)) if known.size else 0.0
    if span <= 0:
        return [STEPS // 2] * len(score)
    share = np.nan_to_num((score - known.min()) / span, nan=0.0)
    return np.clip(np.rint(STEPS * share), 0, STEPS).astype(int).tolist()


def _note(
    columns: Mapping[str, Sequence], score: NDArray[np.float64], ranks: list[int],
    higher: int | None,
) -> str:  # fmt: skip
    """Explain cells that score higher than a chosen one and were not chosen."""
    chosen = np.array(ranks) > 0
    if not chosen.any():
        return ""
    passed = ~chosen & (score > np.nanmin(score[chosen]))
    count = int(passed.sum()) if higher is None else higher
    if not count or not passed.any():
        return ""
    area = np.array(columns["h"], np.float64) * np.array(columns["w"], np.float64)
    one = count == 1
    start = f"{human.plural(count, 'cell')} {'scores' if one else 'score'} higher than "
    start += f"a chosen one and {'was' if one else 'were'} "
    if (area[passed] > 1.5 * area[chosen].max()).all():
        return f"{start}only seen squeezed, too coarse to be chosen."
    return f"{start}not chosen: by the search, which may weigh regions together, or by the area."


_CELL = ("cell_x", "cell_y", "cell_w", "cell_h")
_SEEN = ("x", "y", "w", "h")


def _boxes(
    columns: Mapping[str, Sequence], names: Sequence[str], unit: float
) -> list[tuple[float, float, float, float]]:
    each = [np.round(np.array(columns[name], np.float64) * unit, 1).tolist() for name in names]
    return list(zip(*each, strict=True))


def _outline(box: tuple[float, float, float, float], rank: int, tip: str) -> Outline:
    """Write the number into the region, or beside it where it would cover it."""
    x, y, w, h = box
    text_x, anchor = x + _GAP, "start"
    if min(w, h) < _ROOM:
        right = x + w + _GAP
        # At the right edge there is no place but on the left.
        text_x, anchor = (right, "start") if right < SIDE - _ROOM else (x - _GAP, "end")
    return Outline(x, y, w, h, rank, round(text_x, 1), round(y + _GAP, 1), anchor, tip)


def _tip(columns: Mapping[str, Sequence], row: int, rank: int) -> str:
    parts = [f"#{rank}"] if rank else []
    parts.append(f"importance {human.decimal(number(columns['importance'][row]), 3)}")
    if "label" in columns and columns["label"][row] is not None:
        sure = number(columns["probability"][row]) if "probability" in columns else math.nan
        parts.append(
            f"{columns['label'][row]}" + (f" {human.share(sure)}" if math.isfinite(sure) else "")
        )
    if "fit" in columns:
        parts.append(f"fit {human.decimal(number(columns['fit'][row]), 3)}")
    return " \u00b7 ".join(parts)


def number(value: object) -> float:
    """Return a number of a record; NaN where it holds none."""
    return float(value) if isinstance(value, int | float) else math.nan
