"""Class counts of the cells of tiles.

The cells form the grid of dense features, so that each feature vector has the labels of its cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.progress import Meter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn


def count_cells(
    pool: Pool, grid: tuple[int, int], file: Path | None = None,
    progress: ProgressFn | None = None, failed: dict[str, str] | None = None,
) -> NDArray[np.uint32]:  # fmt: skip
    """Count labelled pixels of each class in each cell of each tile.

    Args:
        pool: Pool with masks.
        grid: Number of rows and columns of cells: ``spec.grid`` of dense features.
        file: Output file of the counts (``.npy``); None keeps them in memory.
        progress: Called with ticks.
        failed: If given, scenes that cannot be read are added with the reasons, and their counts
            are meaningless.

    Returns:
        (n, rows * columns, C) uint32, cells row-major; a memory map of `file`, if given.

    Raises:
        DataError: The pool has no masks, or, without `failed`, one of them cannot be read.
    """
    if pool.legend is None:
        raise DataError(
            "this pool has no masks", "Labels require masks.",
            "Give masks (--masks FOLDER, masks=...).",
        )  # fmt: skip
    shape = (len(pool), grid[0] * grid[1], len(pool.legend))
    if file is None:
        counts = np.zeros(shape, np.uint32)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        counts = np.lib.format.open_memmap(file, "w+", np.uint32, shape)
    with Meter(progress, "reading labels", len(pool)) as meter:
        left = np.arange(len(pool))
        while left.size:
            done = 0
            try:
                for i, code in zip(left.tolist(), pool.masks(left), strict=True):
                    counts[i] = cell_counts(code, grid, shape[2])
                    meter.advance()
                    done += 1
            except DataError as error:
                if failed is None or pool.tiles is None:
                    raise
                scene = pool.tiles.scene[left]
                failed[str(scene[done])] = str(error)
                others = np.flatnonzero(scene[done:] != scene[done]) + done
                meter.advance(left.size - done - others.size)
                left = left[others]
            else:
                break
    return counts


def cell_counts(
    code: NDArray[np.integer], grid: tuple[int, int], classes: int
) -> NDArray[np.int64]:
    """Count pixels by cell and class.

    Args:
        code: (h, w) class numbers; negative numbers are ignored.
        grid: Number of rows and columns of cells.
        classes: Number C of classes.

    Returns:
        (rows * columns, C) int64, cells row-major.
    """
    down, across = (np.arange(side) * n // side for side, n in zip(code.shape, grid, strict=True))
    cell = down[:, None] * grid[1] + across[None, :]
    counted = code >= 0
    flat = cell[counted] * classes + code[counted]
    return np.bincount(flat, minlength=grid[0] * grid[1] * classes).reshape(-1, classes)
