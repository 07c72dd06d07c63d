"""Cache of the features of windows of an image, shared by looks.

A feature depends on the pixels, the window, the input size and the model, not on the goal or
budget of the job.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from foveate.files import digest, read_parquet, write_parquet
from foveate.tables import column_to_rows, rows_to_column

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.grid import Window
    from foveate.models.capabilities import Model
    from foveate.raster import SourceInfo

KEPT = "raw/1"  # format of cached vectors: the raw output of the model

_COLUMNS = ("y", "x", "h", "w", "height", "width", "disturbed")


@dataclass
class FeatureCache:
    """Features of windows of one image under one model.

    Attributes:
        path: Parquet file; written by `save`.
    """

    path: Path
    _vectors: dict[tuple[int, ...], NDArray[np.float32]] = field(default_factory=dict)
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
            table = read_parquet(cache.path)
            keys = zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True)
            cache._vectors = dict(zip(keys, column_to_rows(table, "vector"), strict=True))
        return cache

    def get(
        self,
        window: Window,
        shape: tuple[int, int],
        disturbed: bool,  # noqa: FBT001
    ) -> NDArray[np.float32] | None:
        """Return the (d,) vector of a window, or None."""
        return self._vectors.get((*window, *shape, int(disturbed)))

    def put(
        self,
        window: Window,
        shape: tuple[int, int],
        disturbed: bool,  # noqa: FBT001
        vector: NDArray[np.float32],
    ) -> None:
        """Store the vector of a window."""
        self._vectors[*window, *shape, int(disturbed)] = vector
        self._changed = True

    def save(self) -> None:
        """Write the cache if it has new vectors.

        Raises:
            StorageError: The file cannot be written.
        """
        import pyarrow as pa

        if not self._changed:
            return
        keys = sorted(self._vectors)
        vectors = rows_to_column(np.stack([self._vectors[key] for key in keys]))
        columns = {
            name: pa.array([k[i] for k in keys], pa.int64()) for i, name in enumerate(_COLUMNS)
        }
        write_parquet(self.path, pa.table({**columns, "vector": vectors}))
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
