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

from foveate.focus.feature_cache import WindowCache, read_vectors, write_vectors
from foveate.raster.base import BaseSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.grid import Window
    from foveate.raster import Raster, Source, SourceInfo

    Key = tuple[bytes, int, int, int]  # hash of the pixels, input height and width, disturbed


_COLUMNS = ("pixels", "height", "width", "disturbed")
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
            for key, vector in read_vectors(file, _COLUMNS):
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
        kinds = (pa.binary(), pa.int64(), pa.int64(), pa.int64())
        columns = dict(zip(_COLUMNS, kinds, strict=True))
        write_vectors(self.folder / f"{name}.parquet", columns, self._new)
        self._new.clear()


class KeptReads(BaseSource):
    """Cached downsampled reads of a scene: every method reads the overview.

    The caller must not change the pixels.

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

    def _read(
        self, window: Window, bands: Sequence[int] | None, out_shape: tuple[int, int] | None
    ) -> Raster:
        if out_shape is None:
            return self._source.read(window, bands=bands)
        key = window, None if bands is None else tuple(bands), out_shape
        if key not in self._kept:
            self._kept[key] = self._source.read(window, bands=bands, out_shape=out_shape)
        return self._kept[key]


class SceneVectors(WindowCache):
    """Cache of one scene, with keys of the pixels of windows.

    Args:
        source: The scene.
        vectors: Vectors of the model.
        seed: Seed of the perturbation of windows.

    Attributes:
        seconds: Time spent on hashing windows, which is not part of any method.
    """

    def __init__(self, source: Source, vectors: Vectors, seed: int) -> None:
        self._source, self._vectors, self._seed = source, vectors, seed
        self._known = vectors.known
        self._hashes: dict[Window, bytes] = {}
        self.seconds = 0.0

    def _key(self, window: Window, shape: tuple[int, int], *, disturbed: bool) -> Key:
        start = time.perf_counter()
        pixels = self._hash(window)
        if disturbed:  # the perturbation depends on the position of the window and the seed
            suffix = f"{tuple(window)} {self._seed}".encode()
            pixels = hashlib.blake2b(pixels + suffix, digest_size=16).digest()
        self.seconds += time.perf_counter() - start
        return pixels, *shape, int(disturbed)

    def _store(self, key: Key, vector: NDArray[np.float32]) -> None:
        self._vectors.put(key, vector)

    def _hash(self, window: Window) -> bytes:
        if window not in self._hashes:
            raster = self._source.read(window)
            pixels = hashlib.blake2b(str(raster.data.shape).encode(), digest_size=16)
            pixels.update(np.ascontiguousarray(raster.data))
            if not raster.valid.all():
                pixels.update(np.packbits(raster.valid))
            self._hashes[window] = pixels.digest()
        return self._hashes[window]
