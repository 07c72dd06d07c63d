"""Cache of features by pixels, shared by all scenes of a benchmark and by repeated runs.

The same patch is part of many stitched scenes, and many methods encode the same window: each is
embedded once. Looks and baselines book the passes of cached features too, so no result changes.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.files import read_parquet, write_parquet
from foveate.tables import column_to_rows, rows_to_column

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.grid import Window
    from foveate.raster import Raster, Source, SourceInfo

    Key = tuple[bytes, int, int, int]  # hash of the pixels, input height and width, disturbed


_MAX_BYTES = 2**30  # of vectors in memory


@dataclass
class Vectors:
    """Cached vectors of a model, stored in a folder of the run.

    Attributes:
        folder: Folder of Parquet files, one for each scene with new vectors.
        known: Vectors in memory, the newest ones up to `most` bytes.
        most: Maximum size in memory, bytes.
    """

    folder: Path
    known: dict[Key, NDArray[np.float32]] = field(default_factory=dict)
    most: int = _MAX_BYTES
    _new: dict[Key, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> Vectors:
        """Read the stored vectors.

        Raises:
            DataError: A file cannot be read.
        """
        vectors = cls(folder)
        for file in sorted(folder.glob("*.parquet")):
            table = read_parquet(file)
            names = ("pixels", "height", "width", "disturbed")
            keys = zip(*(table[name].to_pylist() for name in names), strict=True)
            for key, vector in zip(keys, column_to_rows(table, "vector"), strict=True):
                vectors._hold(key, vector.copy())  # a view would keep the whole file in memory
        return vectors

    def put(self, key: Key, vector: NDArray[np.float32]) -> None:
        """Store a vector."""
        self._new[key] = vector
        self._hold(key, vector)

    def _hold(self, key: Key, vector: NDArray[np.float32]) -> None:
        self.known[key] = vector
        if len(self.known) * vector.nbytes > self.most:
            del self.known[next(iter(self.known))]  # the oldest one

    def save(self, name: str) -> None:
        """Write the new vectors to a file of that name.

        Raises:
            StorageError: The file cannot be written.
        """
        import pyarrow as pa

        if not self._new:
            return
        keys = sorted(self._new)
        vectors = rows_to_column(np.stack([self._new[key] for key in keys]))
        pixels = pa.array([key[0] for key in keys], pa.binary())
        columns = {
            column: pa.array([key[i] for key in keys], pa.int64())
            for i, column in enumerate(("height", "width", "disturbed"), 1)
        }
        table = pa.table({"pixels": pixels, **columns, "vector": vectors})
        write_parquet(self.folder / f"{name}.parquet", table)
        self._new.clear()


class KeptReads:
    """Cached downsampled reads of a scene: every method reads the overview.

    Args:
        source: The scene.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: dict[tuple[Any, ...], Raster] = {}

    @property
    def info(self) -> SourceInfo:
        """Description of the scene."""
        return self._source.info

    def read(
        self,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> Raster:
        """Read pixels; see `Source`. The caller must not change them."""
        if out_shape is None:
            return self._source.read(window, bands=bands)
        key = window, None if bands is None else tuple(bands), out_shape
        if key not in self._kept:
            self._kept[key] = self._source.read(window, bands=bands, out_shape=out_shape)
        return self._kept[key]


class SceneVectors:
    """Cache of one scene with the interface of `foveate.focus.feature_cache.FeatureCache`.

    Args:
        source: The scene.
        vectors: Vectors of the model.
        seed: Seed of the perturbation of windows.

    Attributes:
        seconds: Time spent on hashing windows, which is not part of any method.
    """

    def __init__(self, source: Source, vectors: Vectors, seed: int) -> None:
        self._source, self._vectors, self._seed = source, vectors, seed
        self._hashes: dict[Window, bytes] = {}
        self.seconds = 0.0

    def get(
        self,
        window: Window,
        shape: tuple[int, int],
        disturbed: bool,  # noqa: FBT001
    ) -> NDArray[np.float32] | None:
        """Return the (d,) vector of a window, or None."""
        return self._vectors.known.get(self._key(window, shape, disturbed=disturbed))

    def put(
        self,
        window: Window,
        shape: tuple[int, int],
        disturbed: bool,  # noqa: FBT001
        vector: NDArray[np.float32],
    ) -> None:
        """Store the vector of a window."""
        self._vectors.put(self._key(window, shape, disturbed=disturbed), vector)

    def _key(self, window: Window, shape: tuple[int, int], *, disturbed: bool) -> Key:
        start = time.perf_counter()
        pixels = self._hash(window)
        if disturbed:  # the perturbation depends on the position of the window and the seed
            suffix = f"{tuple(window)} {self._seed}".encode()
            pixels = hashlib.blake2b(pixels + suffix, digest_size=16).digest()
        self.seconds += time.perf_counter() - start
        return pixels, *shape, int(disturbed)

    def _hash(self, window: Window) -> bytes:
        if window not in self._hashes:
            raster = self._source.read(window)
            pixels = hashlib.blake2b(str(raster.data.shape).encode(), digest_size=16)
            pixels.update(np.ascontiguousarray(raster.data))
            if not raster.valid.all():
                pixels.update(np.packbits(raster.valid))
            self._hashes[window] = pixels.digest()
        return self._hashes[window]
