"""Conversions between a table of tiles and the tile grids of scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_grids(
    values: NDArray[Any], place: NDArray[np.int64], shape: tuple[int, int, int]
) -> NDArray[Any]:
    """Arrange values of tiles on the grids of their scenes.

    Args:
        values: (n, ...).
        place: (n, 3) grid index of each tile: scene, row, column.
        shape: ``(S, R, C)``.

    Returns:
        (S, R, C, ...); 0 (False) for tiles that are not in the pool.
    """
    grids = np.zeros((*shape, *values.shape[1:]), values.dtype)
    grids[tuple(place.T)] = values
    return grids


def valid(place: NDArray[np.int64], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return an (S, R, C) bool mask of the tiles in the pool."""
    return to_grids(np.ones(len(place), bool), place, shape)


def from_grids(grids: NDArray[Any], place: NDArray[np.int64]) -> NDArray[Any]:
    """Return (n, ...) values of the tiles; the inverse of `to_grids`."""
    return grids[tuple(place.T)]


def to_tokens(tokens: NDArray[Any], side: int) -> NDArray[Any]:
    """Reshape (S, R, C, k * k, d) tokens of tiles to a token grid (S, R * k, C * k, d)."""
    s, rows, cols, _, d = tokens.shape
    split = tokens.reshape(s, rows, cols, side, side, d).transpose(0, 1, 3, 2, 4, 5)
    return split.reshape(s, rows * side, cols * side, d)


def to_tiles(tokens: NDArray[Any], side: int) -> NDArray[Any]:
    """Reshape (S, R * k, C * k, d) to (S, R, C, k * k, d); the inverse of `to_tokens`."""
    s, h, w, d = tokens.shape
    split = tokens.reshape(s, h // side, side, w // side, side, d).transpose(0, 1, 3, 2, 4, 5)
    return split.reshape(s, h // side, w // side, side * side, d)
