"""Labels of tiles for training and testing: pixels by class in each cell of a tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.pool.cell_counts import cell_counts
from foveate.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn

FILES = ("counts.npy", "once.npy")


def write_cell_counts(
    pool: Pool, grid: tuple[int, int], folder: Path, progress: ProgressFn | None = None
) -> list[Path]:
    """Count labelled pixels of each class in each cell of each tile, and write two arrays.

    ``counts.npy``: (n, rows * columns, C) uint32, all pixels, for training. ``once.npy``: the same
    without pixels of earlier tiles of the scene, for testing, so that pixels in overlaps of tiles
    count once.

    Args:
        pool: Pool with masks.
        grid: Number of cells down and across.
        folder: Output folder; created if it does not exist.
        progress: Called with ticks.
    """
    assert pool.legend is not None  # noqa: S101  (checked by the design)
    shape = (len(pool), grid[0] * grid[1], len(pool.legend))
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in FILES]
    counts, once = (
        np.lib.format.open_memmap(file, "w+", np.uint32, shape) for file in files
    )  # fmt: skip
    with Meter(progress, "reading labels", len(pool)) as meter:
        for rows, codes, fresh in first_seen(pool):
            for i, code, new in zip(rows, codes, fresh, strict=True):
                counts[i] = cell_counts(code, grid, shape[2])
                once[i] = cell_counts(np.where(new, code, -1), grid, shape[2])
                meter.advance()
    return files


def first_seen(
    pool: Pool,
) -> Iterator[tuple[list[int], list[NDArray[np.int16]], list[NDArray[np.bool_]]]]:
    """Yield, scene by scene, rows, their codes, and masks of pixels that no earlier tile contains.

    Codes are (h, w) int16, -1 for ignored; the masks are (h, w) bool.
    """
    assert pool.tiles is not None  # noqa: S101
    for scene, rows in pool.per_scene():
        height, width = scene.source.info.shape
        seen = np.zeros((height, width), bool)
        codes, fresh = [], []
        for i, code in zip(rows.tolist(), pool.masks(rows), strict=True):
            window = pool.tiles.window(i)
            part = seen[window.y : window.y + window.h, window.x : window.x + window.w]
            new = np.zeros(code.shape, bool)  # False outside the scene
            new[: part.shape[0], : part.shape[1]] = ~part
            part[:] = True
            codes.append(code)
            fresh.append(new)
        yield rows.tolist(), codes, fresh
