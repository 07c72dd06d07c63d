"""Embeddings as Parquet shards with a manifest, resumed shard by shard.

A shard is written first and put on the manifest afterwards, both atomically. A process that
dies between the two leaves a shard that the manifest does not know: it is written again, with
the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import Embeddings, EncoderSpec
from foveate.errors import DataError
from foveate.files import atomic_path, read_json, read_parquet, write_json, write_parquet

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LIMIT = float(np.finfo(np.float16).max)
_MATRIX = "matrix.npy"


@dataclass
class ShardStore:
    """The shards of one embedding.

    Attributes:
        path: Folder of the embedding.
        key: Hash of everything that the vectors depend on; another key starts afresh.
        shards: Number of shards.
        spec: The encoder.
    """

    path: Path
    key: str
    shards: int
    spec: EncoderSpec

    @property
    def manifest(self) -> dict[str, Any]:
        """Content of ``manifest.json``; a fresh one when there is none or the key differs."""
        file = self.path / "manifest.json"
        if file.exists():
            found = read_json(file)
            if found.get("key") == self.key and found.get("shards") == self.shards:
                return found
        return {"key": self.key, "shards": self.shards, "spec": self.spec.to_dict(), "done": []}

    def file(self, shard: int) -> Path:
        """Return the path of a shard."""
        return self.path / f"part-{shard:05d}.parquet"

    def missing(self) -> list[int]:
        """Return the shards that are yet to be made."""
        done = set(self.manifest["done"])
        return [i for i in range(self.shards) if i not in done or not self.file(i).exists()]

    def put(self, shard: int, ids: NDArray[np.str_], x: NDArray[np.floating]) -> None:
        """Write one shard, then the manifest.

        Args:
            shard: Its number.
            ids: (m,) tile ids.
            x: (m, d) vectors; stored as float16.

        Raises:
            DataError: A vector is not finite in float16.
        """
        table = _to_table(ids, x)
        manifest = self.manifest
        if not manifest["done"]:
            for old in self.path.glob("part-*.parquet"):
                old.unlink()  # of another key
        (self.path / _MATRIX).unlink(missing_ok=True)  # joined from other shards
        write_parquet(self.file(shard), table)
        manifest["done"] = sorted({*manifest["done"], shard})
        write_json(self.path / "manifest.json", manifest)

    def finish(self) -> Embeddings:
        """Join the shards into one matrix file, once, and map it.

        Parquet cannot be mapped: ``matrix.npy`` is the copy that selection reads. It can be
        deleted and comes back from the shards.
        """
        matrix = self.path / _MATRIX
        tables = (read_parquet(self.file(i), ["tile_id"]) for i in range(self.shards))
        ids = np.concatenate([np.asarray(t["tile_id"].to_pylist(), np.str_) for t in tables])
        if not matrix.exists() or not _is_matrix(matrix, (ids.size, self.spec.dim)):
            with atomic_path(matrix) as temporary:
                shape = (ids.size, self.spec.dim)
                out = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
                start = 0
                for i in range(self.shards):
                    part = _vectors(read_parquet(self.file(i), ["embedding"]), self.spec.dim)
                    out[start : start + len(part)] = part
                    start += len(part)
                out.flush()
                del out
        return Embeddings(ids, np.load(matrix, mmap_mode="r"), self.spec)


def load_embeddings(path: Path) -> Embeddings:
    """Map the embeddings of a folder whose shards are complete.

    Raises:
        DataError: There are none, or shards are missing.
    """
    if not (path / "manifest.json").exists():
        raise DataError(f"{str(path)!r} holds no embeddings", "Expected a manifest.json.")
    found = read_json(path / "manifest.json")
    spec = EncoderSpec.from_dict(found["spec"])
    store = ShardStore(path, found["key"], found["shards"], spec)
    if store.missing():
        raise DataError(
            f"{len(store.missing())} of {store.shards} shards are missing in {str(path)!r}",
            "The embedding was interrupted.",
            "Run the same command again: it goes on where it stopped.",
        )
    return store.finish()


def to_half(ids: NDArray[np.str_], x: NDArray[np.floating]) -> NDArray[np.float16]:
    """Return the vectors as stored: float16, contiguous.

    Raises:
        DataError: A vector is not finite in float16.
    """
    bad = ~np.isfinite(x).all(axis=1) | (np.abs(x) > _LIMIT).any(axis=1)
    if bad.any():
        raise DataError(
            f"the embedding of {str(ids[bad][0])!r} (and of {int(bad.sum()) - 1} more) holds NaN "
            f"or values beyond {_LIMIT:.0f}",
            "Embeddings are stored as float16.",
            "Normalise what the model returns.",
        )
    return np.ascontiguousarray(x, np.float16)


def _to_table(ids: NDArray[np.str_], x: NDArray[np.floating]) -> Any:
    import pyarrow as pa

    flat = pa.array(to_half(ids, x).ravel(), pa.float16())
    vectors = pa.FixedSizeListArray.from_arrays(flat, x.shape[1])
    return pa.table({"tile_id": pa.array(ids.astype(object), pa.string()), "embedding": vectors})


def _vectors(table: Any, dim: int) -> NDArray[np.float16]:
    column = table["embedding"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)


def _is_matrix(path: Path, shape: tuple[int, int]) -> bool:
    try:
        return np.load(path, mmap_mode="r").shape == shape
    except (OSError, ValueError):
        return False
