"""Small grey pictures of tiles, to tell copies of the same pixels from what only looks alike.

A copy may be stored anew with loss, and be shifted by up to `SHIFT` pixels. Two tiles are copies if
their pixels are the same, or if over the best shift their brightness correlates by at least
`ALIKE`, and by at least `DETAIL` without what is broader than a few pixels: gradients alone make
open water and bare fields alike.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from foveate.errors import StorageError
from foveate.progress import Meter, ProgressFn
from foveate.select.shifts import shifted_correlation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.pool.pool import Pool
    from foveate.raster import Raster

__all__ = ["SHIFT", "Pictures"]

SHIFT = 4  # pixels of a tile, down and across
ALIKE, DETAIL = 0.95, 0.6  # chosen on drawn worlds

_SIDE = 64  # pixels of the longer side of a picture: at least, below twice as many
_BANDS = 3  # that the brightness is the mean of, the first ones
_BLUR, _BROAD = 1.0, 9  # sigma, and side of a running mean, in pixels of a picture
_ROUNDING = 1e-9  # of the brightness
_PAIRS = 128  # that are compared at a time: some 30 MB


@dataclass(frozen=True)
class Pictures:
    """Compares the pixels of tiles; nothing is read before it is asked for.

    Attributes:
        pool: A pool cut from scenes.
        order: (n,) rows of the pool: what row i here stands for.
    """

    pool: Pool
    order: NDArray[np.integer]

    def copies(
        self,
        first: NDArray[np.integer],
        second: NDArray[np.integer],
        progress: ProgressFn | None = None,
    ) -> NDArray[np.bool_]:
        """Say which pairs of tiles are copies of each other.

        Each tile is read once, in the order of the rows; pictures are kept in a temporary file of
        8 to 32 kB a tile.

        Args:
            first: (p,) rows.
            second: (p,) rows.
            progress: Called with ticks.

        Returns:
            (p,) bool. Tiles of different sizes are none.

        Raises:
            DataError: A tile cannot be read.
            StorageError: The folder for temporary files is full.
        """
        rows = np.unique(np.concatenate([first, second]))
        if not rows.size:
            return np.zeros(0, bool)
        with tempfile.TemporaryFile(prefix="foveate-") as file:
            pictures = self._read(file, rows, progress)
            return pictures.copies(
                np.searchsorted(rows, first), np.searchsorted(rows, second), progress
            )

    def _read(
        self, file: IO[bytes], rows: NDArray[np.integer], progress: ProgressFn | None
    ) -> _Read:
        tiles = self.pool.tiles
        assert tiles is not None  # noqa: S101  (made of pools with imagery only)
        chosen = self.order[rows]
        size = np.stack([tiles.h[chosen], tiles.w[chosen]], axis=1)
        factor = np.maximum(size.max(axis=1) // _SIDE, 1)
        shape = size // factor[:, None]
        try:
            pictures = np.memmap(file, np.float16, "w+", shape=(rows.size, *shape.max(axis=0)))
        except OSError as error:
            raise StorageError(
                f"the folder for temporary files {tempfile.gettempdir()!r} is full",
                "Small pictures of the tiles are kept there.", "Set TMPDIR to a larger disk.",
            ) from error  # fmt: skip
        prints = np.zeros(rows.size, np.uint64)
        bands = range(1, min(_BANDS, self.pool.scenes[0].source.info.bands) + 1)
        with Meter(progress, "reading tiles to compare", rows.size) as meter:
            for i, raster in enumerate(self.pool.read(chosen, bands=list(bands))):
                prints[i] = _print(raster)
                height, width = shape[i]
                pictures[i, :height, :width] = _picture(raster, int(factor[i]))
                meter.advance()
        return _Read(pictures, size, factor, prints)


@dataclass(frozen=True)
class _Read:
    """Pictures of m tiles, in the upper left of (m, h, w), and hashes of their pixels."""

    pictures: NDArray[np.float16]
    size: NDArray[np.integer]
    factor: NDArray[np.integer]
    prints: NDArray[np.uint64]

    def copies(
        self, first: NDArray[np.integer], second: NDArray[np.integer], progress: ProgressFn | None
    ) -> NDArray[np.bool_]:
        """Say which pairs are copies."""
        one_size = (self.size[first] == self.size[second]).all(axis=1)
        same = one_size & (self.prints[first] == self.prints[second])
        open_ = one_size & ~same
        kinds, kind = np.unique(self.size[first[open_]], axis=0, return_inverse=True)
        with Meter(progress, "comparing tiles", int(open_.sum())) as meter:
            for number in range(len(kinds)):
                pairs = np.flatnonzero(open_)[kind.ravel() == number]
                for begin in range(0, pairs.size, _PAIRS):
                    block = pairs[begin : begin + _PAIRS]
                    same[block] = self._alike(first[block], second[block])
                    meter.advance(block.size)
        return same

    def _alike(self, first: NDArray[np.integer], second: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Compare pairs of tiles of one size."""
        factor = int(self.factor[first[0]])
        height, width = self.size[first[0]] // factor
        reach = min(-(-SHIFT // factor) + 1, (int(min(height, width)) - 1) // 2)
        if reach < 1:
            return np.zeros(first.size, bool)
        a = self.pictures[first, :height, :width].astype(np.float32)
        b = self.pictures[second, :height, :width].astype(np.float32)
        alike = shifted_correlation(a, b, reach) >= ALIKE
        left = np.flatnonzero(alike)
        if left.size:
            alike[left] = shifted_correlation(_detail(a[left]), _detail(b[left]), reach) >= DETAIL
        return alike


def _print(raster: Raster) -> int:
    """Return a hash of the pixels that are valid, and of which are."""
    hasher = hashlib.blake2b(raster.valid.tobytes(), digest_size=8)
    hasher.update(np.where(raster.valid, raster.data, raster.data.dtype.type(0)).tobytes())
    return int.from_bytes(hasher.digest(), "little")


def _picture(raster: Raster, factor: int) -> NDArray[np.float32]:
    """Return the brightness of a tile, smaller by a whole factor, slightly blurred, in sd units."""
    from scipy.ndimage import gaussian_filter

    grey = np.where(raster.valid, raster.data, 0).astype(np.float64).mean(axis=0)
    if raster.valid.any():
        grey[~raster.valid] = grey[raster.valid].mean()
    height, width = grey.shape[0] // factor, grey.shape[1] // factor
    blocks = grey[: height * factor, : width * factor].reshape(height, factor, width, factor)
    small = gaussian_filter(blocks.mean(axis=(1, 3)), _BLUR, mode="nearest")
    small -= small.mean()
    spread = small.std()
    if spread <= _ROUNDING * np.abs(grey).max(initial=0):
        return np.zeros(small.shape, np.float32)
    return (small / spread).astype(np.float32)


def _detail(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return pictures without what is broader than `_BROAD` pixels."""
    from scipy.ndimage import uniform_filter

    return pictures - uniform_filter(pictures, (0, _BROAD, _BROAD), mode="nearest")
