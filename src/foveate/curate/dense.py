"""Dense features and the labels of their cells: computed for a job, and validated for a method."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from foveate.embeddings import Embeddings
from foveate.errors import DataError
from foveate.files import digest
from foveate.models.dense import dense_at
from foveate.pool.cell_counts import count_cells
from foveate.pool.step import leave_out
from foveate.run.shards import step_name

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle
    from foveate.pool.pool import Pool
    from foveate.pool.scan import OnError
    from foveate.progress import ProgressFn
    from foveate.run import Run
    from foveate.run.drivers import Placement

VERSION = 1  # raised when the counts of the same masks change
_BLOCK = 2**24  # numbers that are validated at a time


class Dense(NamedTuple):
    """Dense features and labels of cells; see `prepared`."""

    tokens: Embeddings | None = None
    cells: NDArray[np.integer] | None = None
    key: str = ""  # hash of their inputs


def prepared(
    pool: Pool, handle: ModelHandle, run: Run, pool_key: str, *, place: Placement,
    batch_size: int, on_error: OnError, progress: ProgressFn | None,
) -> tuple[Dense, Pool, str]:  # fmt: skip
    """Compute dense features and count labels by cell, unless these are in the run.

    Args:
        pool: Pool with masks.
        handle: The model; see `dense_at`.
        run: Open for writing.
        pool_key: Hash of the inputs of the pool.
        batch_size: Tiles per call of the model.
        place: Processes in which shards of features are computed.
        on_error: "stop" at a scene that cannot be read, or "skip" it.
        progress: Called with ticks.

    Returns:
        The features and labels, the pool without scenes that cannot be read, and its hash.
    """
    tokens, failed = dense_at(
        pool, handle, place, run=run, batch_size=batch_size, on_error=on_error, progress=progress
    )
    pool, pool_key = leave_out(run, pool, pool_key, failed)
    grid = tokens.spec.grid
    assert grid is not None  # noqa: S101  (tokens have one)
    while True:  # until all masks of the remaining scenes can be read
        key, unread = digest([VERSION, pool_key, grid]), {}
        name = f"labels/cells-{key[:8]}.npy"
        work = partial(_count, pool, grid, run.path, name, progress,
                       unread if on_error == "skip" else None)  # fmt: skip
        try:
            run.do("labels of cells", key, work)
        except _UnreadError:
            pool, pool_key = leave_out(run, pool, pool_key, unread)
        else:
            break
    both = digest([run.key(step_name(tokens.spec.name, tokens=True)), key])
    return Dense(tokens, np.load(run.path / name, mmap_mode="r"), both), pool, pool_key


class _UnreadError(Exception):
    """Some masks could not be read: the step of their labels must not be recorded."""


def _count(  # noqa: PLR0917
    pool: Pool, grid: tuple[int, int], root: Path, name: str, progress: ProgressFn | None,
    failed: dict[str, str] | None,
) -> list[str]:  # fmt: skip
    """Write the labels of cells, and return their file.

    Raises:
        _UnreadError: `failed` has new entries; nothing is written.
    """
    count_cells(pool, grid, root / name, progress, failed)
    if failed:
        (root / name).unlink()
        raise _UnreadError
    return [name]


def needed_tokens(
    pool: Pool, method: str, tokens: Embeddings | NDArray[np.floating] | None
) -> NDArray[np.floating]:
    """Return the tokens of a method in the order of the pool.

    Raises:
        DataError: Tokens are missing, their shape is wrong, or a number is not finite.
    """
    if tokens is None:
        raise DataError(
            f"the method {method!r} needs tokens: dense features of the cells of each tile",
            "No tokens are given.",
            "Pass tokens=foveate.models.dense_features(pool, model), or an (n, t, d) array.",
        )  # fmt: skip
    x = np.asanyarray(tokens.align(pool.ids) if isinstance(tokens, Embeddings) else tokens)
    if x.ndim != 3 or len(x) != len(pool) or not x.size or not np.issubdtype(x.dtype, np.floating):
        raise DataError(
            f"tokens of shape {x.shape} and dtype {x.dtype} for {len(pool)} tiles",
            "Expected a float array (n, t, d): d features of t cells of each tile.",
            "embed(pool, model, tokens=True), or foveate.models.dense_features(pool, model).",
        )
    for start, block in _blocks(x):
        with np.errstate(over="ignore"):
            bad = ~np.isfinite(block.astype(np.float32, copy=False)).all(axis=(1, 2))
        if bad.any():
            raise DataError(
                f"the tokens of {str(pool.ids[start + int(bad.argmax())])!r} contain NaN, infinity "
                "or a number beyond float32",
                "Every number must be finite.",
                "Remove the tile, or correct the output of the model.",
            )
    return x


def needed_cells(
    pool: Pool, method: str, cells: NDArray[np.integer] | None, tokens: NDArray[Any] | None
) -> NDArray[np.integer]:
    """Return the labels of cells of a method.

    Raises:
        DataError: Cells are missing, or their shape does not match the pool or the tokens.
    """
    if cells is None:
        raise DataError(
            f"the method {method!r} needs cells: labelled pixels by class in each cell of a tile",
            "They are computed from masks.",
            "Pass cells=foveate.pool.count_cells(pool, grid), an (n, t, C) array of whole numbers.",
        )
    found = np.asanyarray(cells)
    shape = (len(pool), *(tokens.shape[1:2] if tokens is not None else found.shape[1:2]))
    whole = np.issubdtype(found.dtype, np.integer)
    if found.ndim != 3 or found.shape[:2] != shape or not found.shape[2] or not whole:
        raise DataError(
            f"cells of shape {found.shape} and dtype {found.dtype}",
            f"Expected whole numbers ({', '.join(map(str, shape))}, C): pixels of each class.",
            "Count them on the grid of the tokens: count_cells(pool, tokens.spec.grid).",
        )
    if any((block < 0).any() for _, block in _blocks(found)):
        raise DataError("cells with negative counts", "Pixel counts must be at least 0.")
    return found


def _blocks(x: NDArray[Any]) -> Any:
    step = max(1, _BLOCK // int(np.prod(x.shape[1:])))
    return ((i, x[i : i + step]) for i in range(0, len(x), step))
