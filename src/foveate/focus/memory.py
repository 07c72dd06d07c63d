"""What was seen of an image in earlier looks, so that another goal or budget is cheap.

A vector depends on the pixels, the window, the input size and the model, and on nothing of the
job: neither on its goal nor on its budget. A look books its passes whether they are made or
remembered, so that the same job gives the same regions with and without a memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from foveate.files import digest, read_parquet, write_parquet

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.grid import Window

KEPT = "raw/1"  # what is kept: vectors as the model gives them
_COLUMNS = ("y", "x", "h", "w", "height", "width", "disturbed")


@dataclass
class Memory:
    """Vectors of windows of one image under one model.

    Attributes:
        path: Parquet file; written by `save`.
    """

    path: Path
    _vectors: dict[tuple[int, ...], NDArray[np.float32]] = field(default_factory=dict)
    _fresh: bool = False

    @classmethod
    def open(cls, folder: Path, *parts: object) -> Memory:
        """Open the memory of an image and a model.

        Args:
            folder: Of the run.
            parts: Everything that the vectors depend on, besides window and input size:
                fingerprints of pixels and model, scale, seed.

        Raises:
            DataError: The file cannot be read.
        """
        memory = cls(folder / f"{digest(list(parts))}.parquet")
        if memory.path.exists():
            table = read_parquet(memory.path)
            keys = zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True)
            flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            memory._vectors = dict(zip(keys, flat.reshape(len(table), -1), strict=True))
        return memory

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
        """Keep the vector of a window."""
        self._vectors[*window, *shape, int(disturbed)] = vector
        self._fresh = True

    def save(self) -> None:
        """Write what is new.

        Raises:
            StorageError: It cannot be written.
        """
        import pyarrow as pa

        if not self._fresh:
            return
        keys = sorted(self._vectors)
        x = np.stack([self._vectors[key] for key in keys])
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(x.ravel()), type=pa.list_(pa.float32(), x.shape[1])
        )
        columns = {
            name: pa.array([k[i] for k in keys], pa.int64()) for i, name in enumerate(_COLUMNS)
        }
        write_parquet(self.path, pa.table({**columns, "vector": vectors}))
        self._fresh = False
