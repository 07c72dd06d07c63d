"""Embeddings as Parquet shards with a manifest, resumed shard by shard.

Each key has a folder of its own, ``embeddings/<model>-<key>``: another setting of the same model
neither deletes nor mixes anything. A shard is written first and put on the manifest afterwards,
both atomically. A process that dies between the two leaves a shard that the manifest does not
know: it is written again, with the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.embeddings import Embeddings, EncoderSpec
from foveate.errors import DataError, ParameterError
from foveate.files import (
    atomic_path,
    read_json,
    read_parquet,
    text_column,
    write_json,
    write_parquet,
)
from foveate.registry import suggest
from foveate.run.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LIMIT = float(np.finfo(np.float16).max)
_LEAST = float(np.finfo(np.float16).tiny)  # below, digits are lost, and then everything
_MATRIX, _MANIFEST = "matrix.npy", "manifest.json"
_FOOTER = b"foveate"
_STEPS = {False: "embed ", True: "tokens "}


@dataclass(frozen=True)
class ShardStore:
    """The shards of one embedding.

    Attributes:
        path: Folder of the embedding.
        key: Hash of everything that the vectors and their division into shards depend on; it
            stands in the manifest and in the footer of every shard.
        shards: Number of shards.
        spec: The encoder.
    """

    path: Path
    key: str
    shards: int
    spec: EncoderSpec

    @classmethod
    def within(cls, run: Path, key: str, shards: int, spec: EncoderSpec) -> Self:
        """Return the store of a key in a run directory."""
        return cls(run / "embeddings" / f"{slug(spec.name)}-{key[:8]}", key, shards, spec)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open the store of a folder by its manifest.

        Raises:
            DataError: There is none.
        """
        if not (path / _MANIFEST).exists():
            raise DataError(f"{str(path)!r} holds no embeddings", f"Expected a {_MANIFEST}.")
        found = read_json(path / _MANIFEST)
        return cls(path, found["key"], found["shards"], EncoderSpec.from_dict(found["spec"]))

    @property
    def manifest(self) -> dict[str, Any]:
        """Content of ``manifest.json``; a fresh one when there is none.

        Raises:
            DataError: It belongs to another embedding.
        """
        file = self.path / _MANIFEST
        if not file.exists():
            return {"key": self.key, "shards": self.shards, "spec": self.spec.to_dict(), "done": []}
        found = read_json(file)
        if (found.get("key"), found.get("shards")) != (self.key, self.shards):
            raise _foreign(file)
        return found

    @property
    def files(self) -> list[Path]:
        """The manifest and all shards."""
        return [self.path / _MANIFEST, *(self.file(i) for i in range(self.shards))]

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
            x: (m, d) vectors, or (m, t, d) tokens; stored as float16.

        Raises:
            DataError: A vector is not finite in float16.
        """
        table = _to_table(ids, x).replace_schema_metadata({_FOOTER: self._footer})
        manifest = self.manifest
        (self.path / _MATRIX).unlink(missing_ok=True)  # joined with the shard that was there before
        write_parquet(self.file(shard), table)
        manifest["done"] = sorted({*manifest["done"], shard})
        write_json(self.path / _MANIFEST, manifest)

    def finish(self) -> Embeddings:
        """Join the shards into one matrix file, once, and map it.

        Parquet cannot be mapped: ``matrix.npy`` is the copy that selection reads. It can be
        deleted and comes back from the shards.

        Raises:
            DataError: A shard cannot be read or belongs to another embedding.
        """
        matrix = self.path / _MATRIX
        parts = range(self.shards)
        ids = np.concatenate([text_column(self._read(i, "tile_id"), "tile_id") for i in parts])
        shape = (ids.size, *self.spec.row)
        if not matrix.exists() or not _is_matrix(matrix, shape):
            with atomic_path(matrix) as temporary:
                out = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
                start = 0
                for i in parts:
                    part = _vectors(self._read(i, "embedding"), self.spec.row)
                    out[start : start + len(part)] = part
                    start += len(part)
                out.flush()
                del out
        return Embeddings(ids, np.load(matrix, mmap_mode="r"), self.spec)

    @property
    def _footer(self) -> bytes:
        return json.dumps({"key": self.key}).encode()

    def _read(self, shard: int, column: str) -> Any:
        table = read_parquet(self.file(shard), [column])
        if (table.schema.metadata or {}).get(_FOOTER) != self._footer:
            raise _foreign(self.file(shard))
        return table


def load_embeddings(
    run: str | Path, model: str | None = None, *, tokens: bool = False
) -> Embeddings:
    """Map the embeddings that a run holds.

    Args:
        run: Run directory of `embed` or of a job.
        model: Name of the model as it was given ("builtin", "timm:resnet18"); None where the run
            has embeddings of one model only. Of several settings of a model, the last one used.
        tokens: Whether to map the tokens of the tiles instead of one vector each.

    Returns:
        (n, d) float16 embeddings in the order of the pool; (n, t, d) tokens, whose grid stands in
        ``spec.grid``.

    Raises:
        DataError: There is no run, it holds no embeddings, or shards are missing.
        ParameterError: The run has embeddings of several models, or none of `model`.
    """
    opened = Run.load(run)
    steps = opened.record["steps"]
    prefix = _STEPS[tokens]
    names = [name.removeprefix(prefix) for name in steps if name.startswith(prefix)]
    if not names:
        raise DataError(
            f"the run {str(run)!r} holds no {'tokens' if tokens else 'embeddings'}",
            "They come from embed(pool, model, run=..., tokens=True)."
            if tokens
            else "They come from embed(pool, model, run=...), or from a job whose methods need "
            "them.",
            "An embedding that was interrupted goes on where it stopped.",
        )
    chosen = names[0] if model is None and len(names) == 1 else model or ""
    if chosen not in names:
        raise ParameterError(
            f"model={model!r}", f"The run has embeddings of: {', '.join(names)}.",
            suggest(chosen, names) or f"Type model={names[0]!r}.",
        )  # fmt: skip
    store = ShardStore.read(
        (opened.path / steps[step_name(chosen, tokens=tokens)]["outputs"][0]).parent
    )
    if missing := store.missing():
        raise DataError(
            f"{len(missing)} of {store.shards} shards are missing in {str(store.path)!r}",
            "They have been deleted.",
            "Embed again: only what is missing is made.",
        )
    return store.finish()


def step_name(model: str, *, tokens: bool = False) -> str:
    """Return the name of the step that embeds with `model`."""
    return _STEPS[tokens] + model


def slug(name: str) -> str:
    """Turn a model's name into a folder's name."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-.") or "model"


def to_half(ids: NDArray[np.str_], x: NDArray[np.floating]) -> NDArray[np.float16]:
    """Return the vectors as stored: float16, contiguous.

    Raises:
        DataError: A vector is not finite in float16, or all of them are so small that float16
            keeps nothing of them.
    """
    flat = x.reshape(len(x), -1)
    bad = ~np.isfinite(flat).all(axis=1) | (np.abs(flat) > _LIMIT).any(axis=1)
    if bad.any():
        raise DataError(
            f"the embedding of {str(ids[bad][0])!r} (and of {int(bad.sum()) - 1} more) holds NaN "
            f"or values beyond {_LIMIT:.0f}",
            "Embeddings are stored as float16.",
            "Normalise what the model returns.",
        )
    largest = float(np.abs(flat).max(initial=0))
    if 0 < largest < _LEAST:
        raise DataError(
            f"no feature of {len(x)} tiles from {str(ids[0])!r} on is above {largest:.3g}",
            f"Embeddings are stored as float16, whose digits end at {_LEAST:.2g}.",
            "Normalise what the model returns.",
        )
    return np.ascontiguousarray(x, np.float16)


def _to_table(ids: NDArray[np.str_], x: NDArray[np.floating]) -> Any:
    import pyarrow as pa

    flat = pa.array(to_half(ids, x).ravel(), pa.float16())
    vectors = pa.FixedSizeListArray.from_arrays(flat, x[0].size)
    return pa.table({"tile_id": pa.array(ids.astype(object), pa.string()), "embedding": vectors})


def _vectors(table: Any, row: tuple[int, ...]) -> NDArray[np.float16]:
    column = table["embedding"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, *row)


def _foreign(file: Path) -> DataError:
    return DataError(
        f"{str(file)!r} belongs to another embedding",
        "A folder under embeddings/ holds the shards of one key.",
        "Delete the folder and embed again.",
    )


def _is_matrix(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        return np.load(path, mmap_mode="r").shape == shape
    except (OSError, ValueError):
        return False
