"""Vectors of windows by their pixels, over all scenes of a benchmark and all starts of it.

The same patch is part of many stitched scenes, and the same window is shown by many methods: each
is embedded once. Looks and baselines book their passes all the same, so no result changes.
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


_MOST = 2**30  # bytes of vectors that are held at once


@dataclass
class Vectors:
    """Vectors that a model gave, kept in a folder of the run.

    Attributes:
        folder: Of Parquet files, one for each scene that brought something new.
        known: Those in memory: the newest ones, as many as `most` holds.
        most: Bytes.
    """

    folder: Path
    known: dict[Key, NDArray[np.float32]] = field(default_factory=dict)
    most: int = _MOST
    _fresh: dict[Key, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> Vectors:
        """Read what is there.

        Raises:
            DataError: A file cannot be read.
        """
        found = cls(folder)
        for file in sorted(folder.glob("*.parquet")):
            table = read_parquet(file)
            names = ("pixels", "height", "width", "disturbed")
            keys = zip(*(table[name].to_pylist() for name in names), strict=True)
            for key, vector in zip(keys, column_to_rows(table, "vector"), strict=True):
                found._hold(key, vector.copy())  # not the whole file with it
        return found

    def put(self, key: Key, vector: NDArray[np.float32]) -> None:
        """Keep a vector."""
        self._fresh[key] = vector
        self._hold(key, vector)

    def _hold(self, key: Key, vector: NDArray[np.float32]) -> None:
        self.known[key] = vector
        if len(self.known) * vector.nbytes > self.most:
            del self.known[next(iter(self.known))]  # the oldest; it would be made again

    def save(self, name: str) -> None:
        """Write what is new to a file of that name.

        Raises:
            StorageError: It cannot be written.
        """
        import pyarrow as pa

        if not self._fresh:
            return
        keys = sorted(self._fresh)
        vectors = rows_to_column(np.stack([self._fresh[key] for key in keys]))
        pixels = pa.array([key[0] for key in keys], pa.binary())
        rest = {
            column: pa.array([key[i] for key in keys], pa.int64())
            for i, column in enumerate(("height", "width", "disturbed"), 1)
        }
        table = pa.table({"pixels": pixels, **rest, "vector": vectors})
        write_parquet(self.folder / f"{name}.parquet", table)
        self._fresh.clear()


class KeptReads:
    """A scene whose shrunk windows are read once: every method looks at the whole of it.

    Args:
        source: The scene.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: dict[tuple[Any, ...], Raster] = {}

    @property
    def info(self) -> SourceInfo:
        """What is known of the scene."""
        return self._source.info

    def read(
        self,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> Raster:
        """Read pixels; see `Source`. Who gets them must not change them."""
        if out_shape is None:
            return self._source.read(window, bands=bands)
        key = window, None if bands is None else tuple(bands), out_shape
        if key not in self._kept:
            self._kept[key] = self._source.read(window, bands=bands, out_shape=out_shape)
        return self._kept[key]


class SceneVectors:
    """The vectors of one scene: stands in for `foveate.focus.feature_cache.FeatureCache`.

    Args:
        source: The scene.
        vectors: Of the model.
        seed: Of the perturbation, on which disturbed windows depend.

    Attributes:
        seconds: Spent on telling windows apart, which is no part of any method.
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
        """Keep the vector of a window."""
        self._vectors.put(self._key(window, shape, disturbed=disturbed), vector)

    def _key(self, window: Window, shape: tuple[int, int], *, disturbed: bool) -> Key:
        start = time.perf_counter()
        pixels = self._hash(window)
        if disturbed:  # the perturbation is drawn by the place of the window and the seed
            place = f"{tuple(window)} {self._seed}".encode()
            pixels = hashlib.blake2b(pixels + place, digest_size=16).digest()
        self.seconds += time.perf_counter() - start
        return pixels, *shape, int(disturbed)

    def _hash(self, window: Window) -> bytes:
        if window not in self._hashes:
            raster = self._source.read(window)
            found = hashlib.blake2b(str(raster.data.shape).encode(), digest_size=16)
            found.update(np.ascontiguousarray(raster.data))
            if not raster.valid.all():
                found.update(np.packbits(raster.valid))
            self._hashes[window] = found.digest()
        return self._hashes[window]
