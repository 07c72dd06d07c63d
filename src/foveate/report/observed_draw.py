"""Drawings of scenes that were cut into tiles: heat maps, and overviews with tiles outlined.

A heat map is a picture of one pixel a tile, so that a scene of a million tiles fits on a page too.
Units of drawings are a thousandth of the longer side, as in `stage`.
"""

from __future__ import annotations

import base64
import io
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from foveate.report import human
from foveate.report.stage import SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

TIPS = 400  # tiles of a drawing with a text to hover over
_APART = 2000  # outlines; with more, those side by side become one
_PIXELS = 512  # longest side of a heat map, pixels
_RAMP = np.array([[15, 21, 18], [20, 128, 108], [255, 233, 168]], np.float64)  # as in focused.css


class Tip(NamedTuple):
    """A rectangle in units of a drawing, with a text to hover over."""

    x: float
    y: float
    w: float
    h: float
    text: str


class Heat(NamedTuple):
    """A heat map.

    Attributes:
        title: What is shown.
        picture: Data URI.
        width: Units.
        height: Units.
        low: Value of the darkest colour.
        high: And of the lightest.
        tips: What to hover over.
        label: The map for those who cannot see it.
    """

    title: str
    picture: str
    width: float
    height: float
    low: str
    high: str
    tips: list[Tip]
    label: str


class Board(NamedTuple):
    """An overview with its chosen tiles.

    Attributes:
        element: Id of the picture on the page.
        picture: Data URI, or "".
        width: Units.
        height: Units.
        veil: Path of everything but the chosen tiles, filled even-odd.
        outline: Path of the chosen tiles.
        tips: What to hover over.
        label: The drawing for those who cannot see it.
    """

    element: str
    picture: str
    width: float
    height: float
    veil: str
    outline: str
    tips: list[Tip]
    label: str


def heat(
    title: str,
    values: NDArray[np.floating],
    span: tuple[float, float],
    *,
    shape: Sequence[float] | None = None,
    tip: str = "",
) -> Heat:
    """Draw a heat map.

    Args:
        title: What is shown.
        values: (R, C); NaN where there is nothing to show.
        span: Values of the darkest and of the lightest colour.
        shape: ``(height, width)`` of the ground in any unit; None for square tiles.
        tip: What stands before the value in the texts; "" for `title`.
    """
    low, high = span
    width, height = size(values.shape if shape is None else shape)
    known = values[np.isfinite(values)]
    label = f"{title}: nothing known"
    if known.size:
        label = f"{title}: {human.decimal(float(known.min()))} to "
        label += f"{human.decimal(float(known.max()))}, mean {human.decimal(float(known.mean()))}"
    tips = []
    if values.size <= TIPS:
        boxes = grid_boxes(values.shape, width, height)
        for (row, col), value in np.ndenumerate(values):
            if math.isfinite(value):
                text = f"row {row}, column {col}: {tip or title} {human.decimal(float(value))}"
                tips.append(Tip(*boxes[row * values.shape[1] + col], text))
    picture = coloured(_smaller(values), low, high)
    return Heat(title, picture, width, height, human.decimal(low), human.decimal(high), tips, label)


def board(  # noqa: PLR0917  (plain values)
    element: str,
    name: str,
    shape: Sequence[float],
    boxes: Sequence[tuple[float, float, float, float]],
    texts: Sequence[str],
    picture: str = "",
) -> Board:
    """Draw an overview with chosen tiles.

    Args:
        element: Id for the picture; unique on the page.
        name: Name of the scene.
        shape: ``(height, width)`` of the ground in any unit.
        boxes: ``x, y, w, h`` of the chosen tiles, in units of the drawing.
        texts: What to say of the first of them when they are hovered over.
        picture: Data URI, or "".
    """
    width, height = size(shape)
    drawn = boxes if len(boxes) <= _APART else _runs(boxes)
    outline = "".join(f"M{x:g} {y:g}h{w:g}v{h:g}h{-w:g}z" for x, y, w, h in drawn)
    tips = [Tip(*box, text) for box, text in zip(boxes, texts, strict=False)][:TIPS]
    label = f"{name} with {human.plural(len(boxes), 'outlined tile')}"
    veil = f"M0 0h{width:g}v{height:g}h{-width:g}z{outline}"
    return Board(element, picture, width, height, veil, outline, tips, label)


def _runs(
    boxes: Sequence[tuple[float, float, float, float]],
) -> list[tuple[float, float, float, float]]:
    """Join tiles that lie side by side."""
    found: list[tuple[float, float, float, float]] = []
    for x, y, w, h in sorted(boxes, key=lambda box: (box[1], box[0])):
        if found:
            left, top, width, height = found[-1]
            if (top, height) == (y, h) and abs(left + width - x) < 0.05:  # roundings of units
                found[-1] = (left, top, round(x + w - left, 2), h)
                continue
        found.append((x, y, w, h))
    return found


def size(shape: Sequence[float]) -> tuple[float, float]:
    """Return width and height in units of a drawing, of ``(height, width)`` in any unit."""
    unit = SIDE / max(*shape, 1e-9)
    return round(unit * shape[1], 1), round(unit * shape[0], 1)


def grid_boxes(
    shape: Sequence[int], width: float, height: float
) -> list[tuple[float, float, float, float]]:
    """Return ``x, y, w, h`` of the tiles of an even grid, row-major."""
    rows, cols = shape
    h, w = height / max(rows, 1), width / max(cols, 1)
    sizes = round(w, 2), round(h, 2)
    return [(round(c * w, 2), round(r * h, 2), *sizes) for r in range(rows) for c in range(cols)]


def pixel_boxes(
    windows: NDArray[np.integer], shape: Sequence[float]
) -> list[tuple[float, float, float, float]]:
    """Return ``x, y, w, h`` in units of a drawing, of (n, 4) ``y, x, h, w`` in pixels."""
    unit = SIDE / max(*shape, 1e-9)
    scaled = np.round(windows[:, [1, 0, 3, 2]] * unit, 2).tolist()
    return [(x, y, w, h) for x, y, w, h in scaled]


def to_grid(
    place: NDArray[np.integer], values: NDArray[np.floating]
) -> NDArray[np.float64]:  # fmt: skip
    """Return (R, C) of (n,) values at (n, 2) rows and columns; NaN where there is no tile."""
    grid = np.full((place.max(axis=0, initial=0) + 1), np.nan)
    grid[place[:, 0], place[:, 1]] = values
    return grid


def measured(file: Path | None, otherwise: Sequence[float]) -> tuple[float, float]:
    """Return ``(height, width)`` of a picture, or what is to be taken where there is none."""
    from PIL import Image, UnidentifiedImageError

    if file is not None:
        try:
            with Image.open(file) as picture:
                return float(picture.height), float(picture.width)
        except (OSError, UnidentifiedImageError):
            pass
    return float(otherwise[0]), float(otherwise[1])


def ramp() -> str:
    """Return the colours of heat maps, dark to light, as a data URI."""
    return coloured(np.linspace(0, 1, 64)[None], 0, 1)


def coloured(values: NDArray[np.floating], low: float, high: float) -> str:
    """Return (R, C) values as a data URI of one pixel each; NaN is see-through."""
    share = (np.asarray(values, np.float64) - low) / max(high - low, 1e-12)
    known = np.isfinite(share)
    share = np.clip(np.where(known, share, 0), 0, 1)
    steps = np.linspace(0, 1, len(_RAMP))
    bands = [np.interp(share, steps, _RAMP[:, band]) for band in range(3)]
    return png(np.stack([*bands, 255.0 * known], axis=-1))


def png(colours: NDArray[np.floating]) -> str:
    """Return (h, w, 3 or 4) values of 0 to 255 as a data URI."""
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(np.rint(colours).astype(np.uint8)).save(target, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}"


def _smaller(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Take means of blocks until a map is small enough for a page."""
    grid = np.asarray(values, np.float64)
    step = max(1, -(-max(grid.shape) // _PIXELS))
    if step == 1:
        return grid
    pads = [(0, -side % step) for side in grid.shape]
    grid = np.pad(grid, pads, constant_values=np.nan)
    blocks = grid.reshape(grid.shape[0] // step, step, grid.shape[1] // step, step)
    known = np.isfinite(blocks)
    count = known.sum(axis=(1, 3))
    total = np.where(known, blocks, 0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
