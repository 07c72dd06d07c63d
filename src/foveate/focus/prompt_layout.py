"""Images and prompts with the selected regions for a generative model: arrays and text, no model.

Three feeds. "overview+crops": the downsampled image, and every region as a separate image.
"canvas": the regions in one image that keeps their order; rows and columns of the scene without a
region are removed, as in RAP (Wang et al. 2025, "Retrieval-augmented perception") with its grid of
crops. "mask": the downsampled image, black outside of the regions, as in the code of the authors of
HCS. It contains no more detail than the overview.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from foveate.grid import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


Feed = Literal["overview+crops", "canvas", "mask"]

FEEDS: tuple[Feed, ...] = get_args(Feed)

_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")


@dataclass(frozen=True)
class Canvas:
    """Layout of regions in one image.

    Attributes:
        shape: ``(height, width)`` in pixels.
        places: Windows of the regions in the canvas, in their order.
        overview: Window of the overview, or None if there is no room.
    """

    shape: tuple[int, int]
    places: tuple[Window, ...]
    overview: Window | None = None


def fit_size(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the size of an image scaled down to a longer side of at most `side`.

    Args:
        shape: ``(height, width)`` in pixels; smaller images are not enlarged.
        side: Maximum side, pixels.
    """
    factor = min(1.0, side / max(shape))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def arrange_canvas(
    windows: Sequence[Window], overview: tuple[int, int], max_pixels: float
) -> Canvas:
    """Arrange regions in one image.

    Regions keep their order and aspect ratio, and adjacent regions stay adjacent. They are at
    native resolution, or downsampled by one factor if `max_pixels` requires it. The overview is
    above them, or to their left if they form a column; it is omitted if there is no room.

    Args:
        windows: k >= 1 regions of the image that do not overlap.
        overview: ``(height, width)`` of the downsampled image, pixels.
        max_pixels: Maximum area of the canvas, pixels.
    """
    starts = np.array([(w.y, w.x) for w in windows], np.int64)
    sizes = np.array([(w.h, w.w) for w in windows], np.int64)
    edges = np.stack([_without_gaps(starts[:, i], sizes[:, i]) for i in (0, 1)], axis=2)
    full = edges[:, 1].max(axis=0)
    factor = min(1.0, math.sqrt(max_pixels / float(full.prod())))
    # All edges are rounded down: adjacent regions stay adjacent, and the area is within the limit.
    low, high = (np.floor(edges[:, i] * factor + 1e-9).astype(int) for i in (0, 1))
    extent = np.maximum(high - low, 1)
    height, width = (int(v) for v in (low + extent).max(axis=0))
    above = width >= height
    down, right = (overview[0], 0) if above else (0, overview[1])
    shape = (max(height + down, overview[0]), max(width + right, overview[1]))
    if factor < 1 or shape[0] * shape[1] > max_pixels:
        down, right, shape = 0, 0, (height, width)
    places = tuple(
        Window(int(y) + down, int(x) + right, int(h), int(w))
        for (y, x), (h, w) in zip(low, extent, strict=True)
    )
    return Canvas(shape, places, Window(0, 0, *overview) if down or right else None)


def paint_canvas(
    canvas: Canvas, crops: Sequence[NDArray[Any]], overview: NDArray[Any], black: ArrayLike
) -> NDArray[Any]:
    """Paint a canvas.

    Args:
        canvas: From `arrange_canvas`.
        crops: k images (c, h, w) of the sizes of the canvas windows.
        overview: (c, h, w), used if the canvas has a window for it.
        black: (c,) value of each band outside of the windows.

    Returns:
        (c, height, width) in the dtype of the overview.
    """
    image = _empty((len(overview), *canvas.shape), black, overview.dtype)
    parts = list(zip(canvas.places, crops, strict=True))
    if canvas.overview is not None:
        parts.append((canvas.overview, overview))
    for place, part in parts:
        image[:, place.y : place.y + place.h, place.x : place.x + place.w] = part
    return image


def mask_outside(
    overview: NDArray[Any], windows: Sequence[Window], shape: tuple[int, int], black: ArrayLike
) -> NDArray[Any]:
    """Return the overview with everything outside of the regions black.

    Args:
        overview: (c, h, w) the downsampled image.
        windows: Regions in pixels of the full image.
        shape: ``(height, width)`` of the full image in pixels.
        black: (c,) value of each band outside of the regions.

    Returns:
        (c, h, w); pixels that a region covers partly are kept.
    """
    image = _empty(overview.shape, black, overview.dtype)
    down, across = overview.shape[1] / shape[0], overview.shape[2] / shape[1]
    for w in windows:
        top, left = math.floor(w.y * down + 1e-9), math.floor(w.x * across + 1e-9)
        bottom = max(top + 1, math.ceil((w.y + w.h) * down - 1e-9))
        right = max(left + 1, math.ceil((w.x + w.w) * across - 1e-9))
        image[:, top:bottom, left:right] = overview[:, top:bottom, left:right]
    return image


def layout_prompt(
    feed: Feed,
    prompt: str,
    windows: Sequence[Window],
    shape: tuple[int, int],
    canvas: Canvas | None = None,
) -> str:
    """Return the prompt of a feed: a description of the images or parts, then the question.

    Args:
        feed: The feed; the prompt of "mask" is unchanged, because its image keeps all positions.
        prompt: The question.
        windows: Regions in pixels of the scene.
        shape: ``(height, width)`` of the scene in pixels.
        canvas: Layout of the feed "canvas".
    """
    if feed == "mask":
        return prompt
    if canvas is None:
        lines = ["Image 1 shows a whole scene."]
        lines += [
            f"Image {i} shows its region {describe_position(window, shape)}."
            for i, window in enumerate(windows, start=2)
        ]
    else:
        lines = ["The image is put together from parts of one scene."]
        if canvas.overview is not None:
            lines.append(
                f"Part {describe_extent(canvas.overview, canvas.shape)}: the whole scene, shrunk."
            )
        lines += [
            f"Part {describe_extent(part, canvas.shape)}: region "
            f"{describe_position(window, shape)} of the scene."
            for part, window in zip(canvas.places, windows, strict=True)
        ]
    return " ".join([*lines, prompt])


def describe_position(window: Window, shape: tuple[int, int]) -> str:
    """Return the position of a window in an image: "x 25-37.5 %, y 50-62 % (lower left)".

    x counts from the left and y from the top.
    """
    row = _ROWS[_third(window.y, window.h, shape[0])]
    column = _COLUMNS[_third(window.x, window.w, shape[1])]
    word = "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"
    return f"{describe_extent(window, shape)} ({word})"


def describe_extent(window: Window, shape: tuple[int, int]) -> str:
    """Return the extent of a window in an image: "x 25-37.5 %, y 50-62 %"."""
    return (
        f"x {_percent(window.x, shape[1])}-{_percent(window.x + window.w, shape[1])} %, "
        f"y {_percent(window.y, shape[0])}-{_percent(window.y + window.h, shape[0])} %"
    )


def _percent(value: int, whole: int) -> str:
    return f"{100 * value / whole:.1f}".removesuffix(".0")


def _third(start: int, size: int, whole: int) -> int:
    return min(2, int((start + size / 2) * 3 / whole))


def _empty(shape: tuple[int, ...], black: ArrayLike, dtype: np.dtype[Any]) -> NDArray[Any]:
    image = np.empty(shape, dtype)
    image[:] = np.asarray(black).astype(dtype)[:, None, None]
    return image


def _without_gaps(start: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """Remove the gaps between intervals: (k,) starts and sizes to (k, 2) new starts and ends."""
    edges = np.unique(np.concatenate([start, start + size]))
    middle = (edges[:-1] + edges[1:]) / 2
    covered = ((start[:, None] < middle) & (middle < (start + size)[:, None])).any(axis=0)
    moved = np.concatenate([[0], np.cumsum(np.diff(edges) * covered)])
    return np.stack(
        [moved[np.searchsorted(edges, start)], moved[np.searchsorted(edges, start + size)]], axis=1
    )
