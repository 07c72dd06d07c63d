"""Cells of an image: first partition, refinement, shifted windows, tokens of a cell."""

from __future__ import annotations

import heapq
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.grid import Tiles, Window
from foveate.models.heads import unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


LEAF = 1.5  # maximum side of a leaf in crops, i.e. maximum downsampling of a leaf
SMALLEST = 8  # minimum side of a crop, pixels
_OVERLAP = 0.5  # windows that share more of the smaller one are duplicates


def uniform(shape: tuple[int, int], count: int, scene: str = "") -> Tiles:
    """Divide an image into cells that are as square and as equal as possible.

    The cells of a row have equal height; the numbers of cells per row differ by at most one. A
    square number of cells in a square image is the N_p x N_p grid of the paper.

    Args:
        shape: ``(height, width)`` in pixels.
        count: Number of cells.
        scene: Name of the image.

    Raises:
        DataError: The image has too few pixels.
    """
    height, width = shape
    rows = min(count, max(1, round(math.sqrt(count * height / width))))
    per_row = np.diff(np.arange(rows + 1) * count // rows)
    if rows > height or int(per_row.max()) > width:
        raise DataError(
            f"an image of {height} x {width} pixels for {count} cells",
            "A cell must have at least one pixel.",
            f"Use fewer cells: --cells {max(1, min(max(shape), math.isqrt(count)) // 2)}.",
        )
    # The height of a row is proportional to its number of cells: cells have equal areas.
    edges = np.round(np.concatenate([[0], np.cumsum(per_row)]) * (height / count)).astype(int)
    # Rounding may leave a row of a small image empty: each row gets at least one pixel.
    least = np.arange(rows + 1)
    edges = least + np.maximum.accumulate(edges - least)
    edges = np.minimum(edges, height - least[::-1])
    windows, positions = [], []
    for row, columns in enumerate(per_row):
        x = np.arange(columns + 1) * width // columns
        for col in range(columns):
            y, h = int(edges[row]), int(edges[row + 1] - edges[row])
            windows.append((y, int(x[col]), h, int(x[col + 1] - x[col])))
            positions.append((row, col))
    row_of, col_of = zip(*positions, strict=True)
    return Tiles.of(scene, windows, row=row_of, col=col_of)


def cell_count(shape: tuple[int, int], cells: int, crop: int | None) -> int:
    """Return the number of cells of a first partition.

    Args:
        shape: ``(height, width)`` of the image in pixels.
        cells: N_p, cells along the longer side.
        crop: Minimum side of a cell, pixels; None for no minimum.
    """
    count = max(cells, round(cells**2 * min(shape) / max(shape)))
    if crop is None:
        return count
    # Smaller cells would be upsampled without a gain in detail.
    return min(count, -(-shape[0] // crop) * -(-shape[1] // crop))


def significant(
    shape: tuple[int, int],
    tokens: NDArray[np.floating],
    count: int,
    scene: str = "",
    *,
    least: int = 1,
) -> Tiles:
    """Divide an image into small cells where its features stand out, large ones elsewhere.

    The partition by the model's feature significance map (HCS, section 1; the paper gives no
    formula). The significance of a token is its distance from the mean token, 1 - cosine. The
    cell with the largest sum of it over its area is quartered until there are about as many cells
    as in `uniform`.

    Args:
        shape: ``(height, width)`` in pixels.
        tokens: (gh, gw, d) tokens of the image.
        count: Number of cells; the result has at most three fewer.
        scene: Name of the image.
        least: Minimum side of a cell, pixels.
    """
    tiles = uniform(shape, max(1, count // 4), scene)
    x = unit(tokens)
    significance = np.maximum(1 - x @ unit(x.mean(axis=(0, 1))), 0)
    done: list[Tiles] = []
    queue: list[tuple[float, int, Tiles]] = []
    pushed = 0

    def push(table: Tiles) -> None:
        nonlocal pushed
        share = membership(table, shape, significance.shape)
        mass = (share * significance).sum(axis=(1, 2))
        for i in range(len(table)):
            heapq.heappush(queue, (-float(mass[i]), pushed, table.take([i])))
            pushed += 1

    push(tiles)
    while queue and len(queue) + len(done) + 3 <= count:
        _, _, cell = heapq.heappop(queue)
        small = min(int(cell.h[0]), int(cell.w[0])) < 2 * least
        done.append(cell) if small else push(cell.refine([0]))
    cells = Tiles.concat([*done, *(cell for _, _, cell in queue)])
    order = np.lexsort((cells.x, cells.y))
    # All cells have level 0, whatever their size: the depth counts from the first partition.
    return replace(cells.take(order), level=np.zeros(len(cells), np.int16))


def membership(tiles: Tiles, shape: tuple[int, int], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Return the area of each token in each cell, in pixels of the image.

    Args:
        tiles: n cells.
        shape: ``(height, width)`` of the image in pixels.
        grid: ``(gh, gw)`` tokens, which divide the image evenly.

    Returns:
        (n, gh, gw) float64 areas; their sum over the tokens is the area of the cell.
    """
    rows = _shared(tiles.y, tiles.h, shape[0], grid[0])
    cols = _shared(tiles.x, tiles.w, shape[1], grid[1])
    return rows[:, :, None] * cols[:, None, :]


def _shared(
    start: NDArray[np.int32], size: NDArray[np.int32], length: int, count: int
) -> NDArray[np.float64]:
    """Return the (n, count) overlaps of intervals with `count` equal parts of an axis."""
    edges = np.arange(count + 1) * (length / count)
    low, high = start[:, None].astype(np.float64), (start + size)[:, None].astype(np.float64)
    return np.maximum(np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1]), 0)


def windows_of(tiles: Tiles) -> list[Window]:
    """Return the windows of all cells."""
    return [tiles.window(i) for i in range(len(tiles))]


def parts(cell: Tiles, branch: int) -> Tiles:
    """Divide one cell into `branch` x `branch`; strips are divided along their length only.

    Quarters of a strip would become thinner than a pixel before they are as short as a crop.
    """
    height, width = int(cell.h[0]), int(cell.w[0])
    if max(height, width) < 2 * min(height, width):
        return cell.refine([0], branch)
    return across(cell, branch)


def across(cell: Tiles, count: int) -> Tiles:
    """Divide one cell into `count` along its longer side."""
    return cell.refine([0], (count, 1) if cell.h[0] >= cell.w[0] else (1, count))


def areas(tiles: Tiles) -> NDArray[np.float64]:
    """Return the number of valid pixels of cells: (n,)."""
    return tiles.pixels * tiles.valid_share.astype(np.float64)


def sizes(tiles: Tiles) -> NDArray[np.int64]:
    """Return the size class of cells, equal for similar sizes: rounded log2 of the longer side."""
    return np.rint(np.log2(np.maximum(tiles.h, tiles.w))).astype(np.int64)


def check_image_size(shape: tuple[int, int], crop: int) -> None:
    """Check that an image is larger than one leaf.

    Args:
        shape: ``(height, width)`` in pixels.
        crop: Side of a crop in pixels.

    Raises:
        DataError: The image is too small.
    """
    longest = max(shape)
    if longest > LEAF * crop:
        return
    classify = "use foveate classify for images of this size"
    smaller = max(SMALLEST, longest // 4)
    fits = longest > LEAF * smaller
    raise DataError(
        f"an image of {shape[0]} x {shape[1]} pixels",
        f"A crop of {crop} pixels covers nearly all of it: there is nothing to select.",
        f"Use smaller crops: --crop {smaller}; or {classify}." if fits else
        f"{classify.capitalize()}; the minimum of --crop is {SMALLEST}.",
    )  # fmt: skip


def moved_windows(window: Window, shape: tuple[int, int]) -> list[Window]:
    """Return a window shifted by half its size in all eight directions, clipped to the image.

    Args:
        window: Window inside the image.
        shape: ``(height, width)`` of the image, pixels.
    """
    y, x, h, w = window
    shifted = {
        Window(
            min(max(y + down * (h // 2), 0), shape[0] - h),
            min(max(x + across * (w // 2), 0), shape[1] - w), h, w,
        )
        for down in (-1, 0, 1)
        for across in (-1, 0, 1)
    }  # fmt: skip
    return sorted(shifted - {window})


def overlap(a: Window, b: Window) -> float:
    """Return the area of the intersection of two windows, relative to the smaller one."""
    height = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    width = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    return max(height, 0) * max(width, 0) / min(a.h * a.w, b.h * b.w)


def apart(windows: Sequence[Window], cells: Sequence[Window]) -> NDArray[np.int64]:
    """Return the indices of windows after non-maximum suppression.

    Args:
        windows: n windows, the best first.
        cells: Their cells, which do not overlap.

    Returns:
        Increasing indices; if two windows share more than half of the smaller, the first is kept.
    """
    kept: list[int] = []
    moved: list[int] = []  # shifted windows, the only ones that may overlap others
    for i, (window, cell) in enumerate(zip(windows, cells, strict=True)):
        others = moved if window == cell else kept
        if any(overlap(window, windows[j]) > _OVERLAP for j in others):
            continue
        kept.append(i)
        if window != cell:
            moved.append(i)
    return np.array(kept, np.int64)
