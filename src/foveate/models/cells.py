"""Dense features without weights: local statistics around each cell of a tile.

They are used to fit a linear probe if the model has no tokens. A cell has a side of about `SIDE`
pixels. Its features are the mean and the standard deviation of every band, and the logarithm of the
mean gradient energy over all bands, in windows of 1, 3 and 7 cells around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.models.base import check_bands
from foveate.models.capabilities import TokenSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.models.base import Scale

NAME = "cells"
SIDE = 8  # side of a cell, pixels
_WINDOWS = (1, 3, 7)  # sides of windows, cells
_VERSION = "cells/1"
_FLOOR = 1e-5  # added to the gradient energy: (a hundredth of a grey level of 8-bit imagery)^2


class CellStatistics:
    """A model with tokens but without weights; see the module docstring.

    Args:
        bands: c band numbers, 1-based.
        scale: ``(low, high)`` of each band, mapped to 0 and 1.
    """

    def __init__(self, bands: Sequence[int], scale: Scale) -> None:
        dim = len(_WINDOWS) * (2 * len(bands) + 1)
        self.spec = EncoderSpec(
            name=NAME, dim=dim, bands=tuple(bands), scale=tuple(scale), source="no weights",
            fingerprint=_VERSION,
        )  # fmt: skip
        self.token_spec = TokenSpec(dim, "embedding", pooled=True)

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) tiles in native dtype as (b, d) float32, the mean over cells."""
        return self.tokens(batch).mean(axis=(1, 2))

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the features of cells: (b, h / 8, w / 8, d) float32."""
        check_bands(batch, self.spec)
        low, high = np.array(self.spec.scale, np.float64).T[:, :, None, None]
        x = np.clip((batch - low) / (high - low), 0, 1).astype(np.float32)
        grid = (max(x.shape[2] // SIDE, 1), max(x.shape[3] // SIDE, 1))
        down, across = np.gradient(x, axis=(2, 3)) if min(x.shape[2:]) > 1 else (x * 0, x * 0)
        energy = (down**2 + across**2).mean(axis=1, keepdims=True)
        first, second, edges = (_cell_means(plane, grid) for plane in (x, x**2, energy))
        found = []
        for size in _WINDOWS:
            mean, square, energy = (_around(plane, size) for plane in (first, second, edges))
            spread = np.sqrt(np.maximum(square - mean**2, 0))
            found += [mean, spread, np.log(energy + _FLOOR)]
        return np.ascontiguousarray(np.concatenate(found, axis=1).transpose(0, 2, 3, 1), np.float32)


def _cell_means(x: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Average (b, c, h, w) over cells: (b, c, gh, gw)."""
    for axis, count in ((2, grid[0]), (3, grid[1])):
        edges = np.arange(count) * x.shape[axis] // count
        sizes = np.diff([*edges, x.shape[axis]])
        shape = [1, 1, 1, 1]
        shape[axis] = count
        x = np.add.reduceat(x, edges, axis=axis) / sizes.reshape(shape).astype(np.float32)
    return x


def _around(x: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    from scipy.ndimage import uniform_filter

    return x if size == 1 else uniform_filter(x, (1, 1, size, size), mode="nearest")
