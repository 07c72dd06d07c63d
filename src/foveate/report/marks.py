"""SVG overlays of pictures: outlines, tints, numbers, and tooltips.

Units are thousandths of the longer side of the picture, so that the style sheet can state sizes
of text and lines for pictures of any size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from foveate.report.svg import TIPS, UNITS, Box, tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STEPS = 10  # tints above the lowest
_APART = 2000  # with more outlines, horizontally adjacent ones are joined
_HEIGHT, _DIGIT, _GAP = 28.0, 15.0, 7.0  # height of a number, width of a digit, padding


def size(shape: Sequence[float]) -> tuple[float, float]:
    """Return width and height in units, of ``(height, width)`` in any unit."""
    unit = UNITS / max(*shape, 1e-9)
    return round(unit * shape[1], 1), round(unit * shape[0], 1)


def grid_boxes(shape: Sequence[int], width: float, height: float) -> list[Box]:
    """Return the boxes of an even grid, row-major."""
    rows, cols = shape
    h, w = height / max(rows, 1), width / max(cols, 1)
    sizes = round(w, 2), round(h, 2)
    return [(round(c * w, 2), round(r * h, 2), *sizes) for r in range(rows) for c in range(cols)]


def pixel_boxes(windows: NDArray[np.number], shape: Sequence[float]) -> list[Box]:
    """Return the boxes of (n, 4) ``y, x, h, w`` in pixels of an image of `shape`."""
    unit = UNITS / max(*shape, 1e-9)
    scaled = np.round(windows[:, [1, 0, 3, 2]] * unit, 2).tolist()
    return [(x, y, w, h) for x, y, w, h in scaled]


def path(boxes: Sequence[Box]) -> str:
    """Return boxes as one path; very many boxes are joined with their neighbours in a row."""
    drawn = boxes if len(boxes) <= _APART else _joined(boxes)
    return "".join(f"M{x:g} {y:g}h{w:g}v{h:g}h{-w:g}z" for x, y, w, h in drawn)


def _joined(boxes: Sequence[Box]) -> list[Box]:
    found: list[Box] = []
    for x, y, w, h in sorted(boxes, key=lambda box: (box[1], box[0])):
        if found:
            left, top, width, height = found[-1]
            if (top, height) == (y, h) and abs(left + width - x) < 0.05:  # roundings of units
                found[-1] = (left, top, round(x + w - left, 2), h)
                continue
        found.append((x, y, w, h))
    return found


def outlines(boxes: Sequence[Box], texts: Sequence[str] = (), look: str = "outline") -> Markup:
    """Outline boxes over a picture, dark and light, so that they are visible on any background."""
    if not boxes:
        return Markup()
    d = path(boxes)
    return tag("path", class_="halo", d=d) + tag("path", class_=look, d=d) + tips(boxes, texts)


def dimmed(boxes: Sequence[Box], width: float, height: float) -> Markup:
    """Dim the picture outside of non-overlapping boxes."""
    d = f"M0 0h{width:g}v{height:g}h{-width:g}z{path(boxes)}"
    return tag("path", class_="dim", fill_rule="evenodd", d=d)


def covered(boxes: Sequence[Box]) -> Markup:
    """Cover empty boxes."""
    return tag("path", class_="cover", d=path(boxes)) if boxes else Markup()


def tips(boxes: Sequence[Box], texts: Sequence[str]) -> Markup:
    """Add tooltips to the first boxes."""
    drawn = [
        tag("rect", tag("title", text), x=x, y=y, width=w, height=h)
        for (x, y, w, h), text in list(zip(boxes, texts, strict=False))[:TIPS]
        if text
    ]
    return tag("g", drawn, class_="tips") if drawn else Markup()


def tinted(score: NDArray[np.float64]) -> list[int]:
    """Return tints from 0 for the lowest score to 10 for the highest; 5 if all are equal.

    Args:
        score: (n,); NaN counts as the lowest.
    """
    known = score[np.isfinite(score)]
    span = float(np.ptp(known)) if known.size else 0.0
    if span <= 0:
        return [STEPS // 2] * len(score)
    share = np.nan_to_num((score - known.min()) / span, nan=0.0)
    return np.clip(np.rint(STEPS * share), 0, STEPS).astype(int).tolist()


def cells(boxes: Sequence[Box], tints: Sequence[int], look: str = "cells") -> Markup:
    """Fill boxes with their tints."""
    parts = []
    for step in sorted(set(tints)):
        members = [box for box, tint in zip(boxes, tints, strict=True) if tint == step]
        parts.append(tag("path", class_=f"h{step}", d=path(members)))
    return tag("g", parts, class_=look)


def tint_scale() -> Markup:
    """Draw the tints of `cells` as a colour bar, for a legend."""
    rects = [tag("rect", class_=f"h{i}", x=i, y=0, width=1.02, height=1) for i in range(STEPS + 1)]
    return tag("svg", tag("g", rects, class_="cells"), class_="ramp", viewBox="0 0 11 1",
               preserveAspectRatio="none", aria_hidden="true")  # fmt: skip


def numbered(
    boxes: Sequence[Box], ranks: Sequence[int], texts: Sequence[str], width: float, height: float
) -> Markup:
    """Outline boxes and number them; the first rank is drawn on top.

    A number without free space inside or beside its box is omitted; its outline and tooltip are
    kept.
    """
    order = sorted(range(len(boxes)), key=lambda i: ranks[i])
    places = places_of([boxes[i] for i in order], [ranks[i] for i in order], width, height)
    parts, labels = [], []
    for i, place in zip(order, places, strict=True):
        x, y, w, h = boxes[i]
        rect = {"x": x, "y": y, "width": w, "height": h}
        first = "first" if ranks[i] == 1 else ""
        drawn = [tag("rect", class_="halo", **rect), tag("rect", **rect)]
        parts.append(tag("g", drawn, tag("title", texts[i]), class_=first))
        if place is not None:
            left, top, wide, high = place
            back = tag("rect", x=left, y=top, width=wide, height=high, rx=5)
            middle = {"x": left + wide / 2, "y": top + high / 2}
            number = tag("text", ranks[i], text_anchor="middle", **middle)
            labels.append(tag("g", back, number))
    return tag("g", parts[::-1], class_="regions") + tag("g", labels, class_="ranks")


def places_of(
    boxes: Sequence[Box], ranks: Sequence[int], width: float, height: float
) -> list[Box | None]:
    """Return non-overlapping positions of the numbers; None where no space is free."""
    taken: list[Box] = []
    found: list[Box | None] = []
    for box, rank in zip(boxes, ranks, strict=True):
        wide = _DIGIT * len(str(rank)) + 2 * _GAP
        free = (
            (x, y, wide, _HEIGHT) for x, y in _corners(box, wide)
            if 0 <= x <= width - wide and 0 <= y <= height - _HEIGHT
            and not any(_overlap((x, y, wide, _HEIGHT), other) for other in taken)
        )  # fmt: skip
        place = next(free, None)
        found.append(place)
        taken += [place] if place else []
    return found


def _corners(box: Box, wide: float) -> list[tuple[float, float]]:
    """Return candidate positions of a number: in the corners of a large box, and beside it."""
    x, y, w, h = box
    right, low = x + w, y + h
    inside = [(x, y), (right - wide, y), (x, low - _HEIGHT), (right - wide, low - _HEIGHT)]
    beside = [(right, y), (x - wide, y), (x, y - _HEIGHT), (x, low), (right, low),
              (x - wide, y - _HEIGHT)]  # fmt: skip
    large = w > 1.6 * wide and h > 1.6 * _HEIGHT
    return [*inside, *beside] if large else beside


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
