"""Cache of the features of windows of an image, shared by looks.

A feature depends on the pixels, the window, the input size and the model, not on the goal or
budget of the job.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.files import digest, read_parquet, write_parquet
from foveate.tables import column_to_rows, rows_to_column

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.grid import Window
    from foveate.models.capabilities import Model
    from foveate.raster import SourceInfo

KEPT = "raw/1"  # format of cached vectors: the raw output of the model

_COLUMNS = ("y", "x", "h", "w", "height", "width", "disturbed")


def read_vectors(
    path: Path, names: Sequence[str]
) -> Iterator[tuple[tuple[Any, ...], NDArray[np.float32]]]:
    """Yield the vectors of a file with their keys, the values of some columns.

    Raises:
        DataError: The file cannot be read.
    """
    table = read_parquet(path)
    keys = zip(*(table[name].to_pylist() for name in names), strict=True)
    yield from zip(keys, column_to_rows(table, "vector"), strict=True)


def write_vectors(
    path: Path,
    columns: Mapping[str, pa.DataType],
    vectors: Mapping[tuple[Any, ...], NDArray[np.float32]],
) -> None:
    """Write vectors to a file, sorted by their keys.

    Args:
        path: Parquet file.
        columns: Names and types of the columns of the keys.
        vectors: Key -> (d,) vector, at least one.

    Raises:
        StorageError: The file cannot be written.
    """
    import pyarrow as pa

    keys = sorted(vectors)
    arrays: dict[str, pa.Array] = {
        name: pa.array([key[i] for key in keys], kind)
        for i, (name, kind) in enumerate(columns.items())
    }
    arrays["vector"] = rows_to_column(np.stack([vectors[key] for key in keys]))
    write_parquet(path, pa.table(arrays))


class WindowCache(ABC):
    """Cache of the features of windows of one image under one model."""

    _known: dict[Any, NDArray[np.float32]]

    def get(
        self,
        window: Window,
        shape: tuple[int, int],
        disturbed: bool,  # noqa: FBT001
    ) -> NDArray[np.float32] | None:
        """Return the (d,) vector of a window, or None."""
        return self._known.get(self._key(window, shape, disturbed=disturbed))

    def put(
        self,
        window: Window,
        shape: tuple[int, int],
        disturbed: bool,  # noqa: FBT001
        vector: NDArray[np.float32],
    ) -> None:
        """Store the vector of a window."""
        self._store(self._key(window, shape, disturbed=disturbed), vector)

    @abstractmethod
    def _key(self, window: Window, shape: tuple[int, int], *, disturbed: bool) -> tuple[Any, ...]:
        """Return the key of a window, read at an input size."""

    @abstractmethod
    def _store(self, key: Any, vector: NDArray[np.float32]) -> None:
        """Add a vector to the known ones."""


@dataclass
class FeatureCache(WindowCache):
    """Cache of one image in a file, with keys of the position of windows.

    Attributes:
        path: Parquet file; written by `save`.
    """

    path: Path
    _known: dict[tuple[int, ...], NDArray[np.float32]] = field(default_factory=dict)
    _changed: bool = False

    @classmethod
    def open(cls, folder: Path, *parts: object) -> FeatureCache:
        """Open the cache of an image and a model.

        Args:
            folder: Folder of the caches.
            parts: All dependencies of the vectors besides window and input size: fingerprints
                of pixels and model, scale, seed.

        Raises:
            DataError: The file cannot be read.
        """
        cache = cls(folder / f"{digest(list(parts))}.parquet")
        if cache.path.exists():
            cache._known = dict(read_vectors(cache.path, _COLUMNS))
        return cache

    def _key(self, window: Window, shape: tuple[int, int], *, disturbed: bool) -> tuple[int, ...]:
        return (*window, *shape, int(disturbed))

    def _store(self, key: tuple[int, ...], vector: NDArray[np.float32]) -> None:
        self._known[key] = vector
        self._changed = True

    def save(self) -> None:
        """Write the cache if it has new vectors.

        Raises:
            StorageError: The file cannot be written.
        """
        import pyarrow as pa

        if not self._changed:
            return
        write_vectors(self.path, dict.fromkeys(_COLUMNS, pa.int64()), self._known)
        self._changed = False


@contextlib.contextmanager
def image_features(
    run: Path, info: SourceInfo, model: Model | None, seed: int
) -> Generator[FeatureCache | None]:
    """Open the feature cache of an image in a run, and save it on exit, also after an error.

    Args:
        run: Run directory.
        info: Description of the image.
        model: A bound model; None for no cache.
        seed: Seed of the perturbation.
    """
    if model is None:
        yield None
        return
    folder = run / "embeddings" / "looks"
    cache = FeatureCache.open(
        folder, KEPT, info.fingerprint, info.nodata, model.spec.to_dict(), seed
    )
    try:
        yield cache
    finally:
        cache.save()
