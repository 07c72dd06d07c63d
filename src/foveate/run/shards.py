"""Embeddings as Parquet shards, resumable shard by shard, with concurrent writers.

Each key has its own folder, ``embeddings/<model>-<key>``, so other settings of the same model
neither delete nor mix vectors. ``manifest.json`` lists all planned shards and is written before the
first one. A shard is complete if its file exists: files are written atomically, and their footers
identify the content, so nothing needs to be recorded afterwards.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.embeddings import Embeddings, EncoderSpec, find_rows
from foveate.errors import DataError, ParameterError
from foveate.files import (
    atomic_path,
    read_footer,
    read_json,
    read_parquet,
    text_column,
    write_json,
    write_parquet,
)
from foveate.registry import suggest
from foveate.run.division import Shard, divide, lacking
from foveate.run.run import Run
from foveate.run.shard_table import CONSTANT, constant_of, to_table, vectors_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.run.division import Part, SceneRows

_MATRIX, _ROWS, _MANIFEST, _RECEIPTS = "matrix.npy", "rows.npy", "manifest.json", "receipts"
_FOOTER = b"foveate"
_STEPS = {False: "embed ", True: "tokens "}


@dataclass(frozen=True)
class Receipt:
    """Result of a shard, stored beside it as JSON for people and other programs.

    Attributes:
        shard: Number of the shard.
        tiles: Number of embedded tiles.
        rejected: Number of tiles that were not embedded because their scene cannot be read.
        failed: Scene -> error message.
        seconds: Wall time.
        bytes: Size of the file.
        worker: Host and process that wrote the shard.
    """

    shard: int
    tiles: int
    rejected: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    bytes: int = 0
    worker: str = ""


@dataclass(frozen=True)
class ShardStore:
    """The shards of one embedding.

    Attributes:
        path: Folder of the embedding.
        key: Hash that identifies the embedding, stored in the manifest.
        shards: All planned shards.
        spec: The encoder.
    """

    path: Path
    key: str
    shards: tuple[Shard, ...]
    spec: EncoderSpec

    @classmethod
    def numbered(cls, path: Path, key: str, shards: int, spec: EncoderSpec) -> Self:
        """Return a store of a number of shards whose content is not listed."""
        return cls(path, key, tuple(Shard(i, key) for i in range(shards)), spec)

    @classmethod
    def within(cls, run: Path, key: str, shards: int, spec: EncoderSpec) -> Self:
        """Return a `numbered` store in the folder of its key in a run directory."""
        return cls.numbered(_folder(run, key, spec), key, shards, spec)

    @classmethod
    def divided(
        cls, run: Path, key: str, spec: EncoderSpec, scenes: Sequence[SceneRows]
    ) -> Self:  # fmt: skip
        """Return the store of the key, else a store to reuse, else an empty store.

        A store is reused if it has the same encoder and at least half of its rows are in the pool;
        of several, the one that shares most rows with the pool.

        Args:
            run: Run directory.
            key: Hash of the pool and the encoder; names the folder of a new store.
            spec: The encoder.
            scenes: The rows of each scene of the pool.
        """
        pool_keys = {(scene.scene, scene.key) for scene in scenes}
        folder = _folder(run, key, spec)
        best, most_shared = cls(folder, key, (), spec), 0
        if (folder / _MANIFEST).exists():  # created for this pool, whatever it contains now
            return cls.read(folder)
        for file in sorted((run / "embeddings").glob(f"{slug(spec.name)}-*/{_MANIFEST}")):
            store = cls.read(file.parent)
            rows = sum(shard.rows for shard in store.shards)
            shared = sum(p.rows for p in store.parts if (p.scene, p.key) in pool_keys)
            if store.spec == spec and shared > most_shared and 2 * shared >= rows:
                best, most_shared = store, shared
        return best

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open the store of a folder by its manifest.

        Raises:
            DataError: The folder has no manifest.
        """
        if not (path / _MANIFEST).exists():
            raise DataError(f"{str(path)!r} holds no embeddings", f"Expected a {_MANIFEST}.")
        manifest = read_json(path / _MANIFEST)
        spec, shards = EncoderSpec.from_dict(manifest["spec"]), manifest["shards"]
        if isinstance(shards, int):  # a numbered store
            return cls.numbered(path, manifest["key"], shards, spec)
        return cls(path, manifest["key"], tuple(map(Shard.from_dict, shards)), spec)

    @property
    def parts(self) -> list[Part]:
        """The parts of all planned shards."""
        return [part for shard in self.shards for part in shard.parts]

    @property
    def files(self) -> list[Path]:
        """Paths of the manifest and all planned shards."""
        return [self.path / _MANIFEST, *(self.file(shard.number) for shard in self.shards)]

    def file(self, number: int) -> Path:
        """Return the path of a shard."""
        return self.path / f"part-{number:05d}.parquet"

    def shard(self, number: int) -> Shard:
        """Return a planned shard."""
        return next(shard for shard in self.shards if shard.number == number)

    def missing(self) -> list[int]:
        """Return the numbers of the shards without a file.

        Raises:
            DataError: The folder belongs to another embedding.
        """
        manifest = self.path / _MANIFEST
        if manifest.exists() and read_json(manifest)["key"] != self.key:
            raise _foreign(manifest)
        return [s.number for s in self.shards if not self.file(s.number).exists()]

    def save(self) -> None:
        """Write the manifest, unless it is unchanged."""
        numbered = not any(shard.parts for shard in self.shards)
        shards = len(self.shards) if numbered else [shard.to_dict() for shard in self.shards]
        content = {"key": self.key, "shards": shards, "spec": self.spec.to_dict()}
        if not (self.path / _MANIFEST).exists() or read_json(self.path / _MANIFEST) != content:
            write_json(self.path / _MANIFEST, content)

    def put(
        self, number: int, ids: NDArray[np.str_], x: NDArray[np.floating],
        failed: Mapping[str, str] | None = None, *, constant: NDArray[np.bool_] | None = None,
    ) -> int:  # fmt: skip
        """Write one shard; return the size of its file in bytes.

        Args:
            number: Number of the shard.
            ids: (m,) tile ids.
            x: (m, d) vectors, or (m, t, d) tokens; stored as float16.
            failed: Scenes whose tiles are missing from `x` -> error message.
            constant: (m,) bool, see `Embeddings`; None if the pixels are unknown.

        Raises:
            DataError: A vector is not finite in float16.
            StorageError: The file cannot be written.
        """
        footer = {"key": self.shard(number).key, **({"failed": dict(failed)} if failed else {})}
        table = to_table(ids, x, self.spec, constant).replace_schema_metadata(
            {_FOOTER: json.dumps(footer).encode()}
        )
        if not any(shard.parts for shard in self.shards):
            self.save()
        (self.path / _MATRIX).unlink(missing_ok=True)  # contains the previous version of the shard
        write_parquet(self.file(number), table)
        return self.file(number).stat().st_size

    def sign(self, receipt: Receipt) -> None:
        """Write the receipt of a shard beside it."""
        write_json(self.path / _RECEIPTS / f"{receipt.shard:05d}.json", asdict(receipt))

    def failed(self) -> dict[str, str]:
        """Return the scenes that failed in the existing shards, with their error messages."""
        failed: dict[str, str] = {}
        for shard in self.shards:
            if shard.parts and self.file(shard.number).exists():
                failed |= self._footer(shard).get("failed", {})
        return failed

    def covers(self, scenes: Sequence[SceneRows], failed: Mapping[str, str] | None = None) -> bool:
        """Return whether the planned shards contain exactly these rows.

        Args:
            scenes: The rows of each scene of a pool.
            failed: Scenes to treat as missing; if a shard contains one, the result is False.
        """
        pool_keys = {(scene.scene, scene.key) for scene in scenes}
        held = [part for part in self.parts if part.scene not in (failed or {})]
        surplus = any((p.scene, p.key) not in pool_keys for p in held)
        surplus |= len(held) < len(self.parts)
        return bool(self.shards) and not surplus and not lacking(scenes, held)

    def revised(self, scenes: Sequence[SceneRows], size: int) -> Self:
        """Add shards for missing rows, and remove rows that are not in the pool.

        No other process may write to the folder meanwhile.

        Args:
            scenes: The rows of each scene of a pool.
            size: Number of rows of a new shard.

        Returns:
            The new store of the folder.
        """
        pool_keys = {(scene.scene, scene.key) for scene in scenes}
        kept: list[Shard] = []
        number = first = 1 + max((shard.number for shard in self.shards), default=-1)
        for shard in self.shards:
            failed = self._footer(shard).get("failed", {}) if self._exists(shard) else {}
            current = [p for p in shard.parts if (p.scene, p.key) in pool_keys]
            valid = [p for p in current if p.scene not in failed]
            if len(valid) == len(shard.parts):
                kept.append(shard)
            elif valid and self._exists(shard):
                kept.append(self._rewrite(shard, valid, number))
                number += 1
        spans = lacking(scenes, [part for shard in kept for part in shard.parts])
        kept += [Shard.of(number + i, self.key, p) for i, p in enumerate(divide(spans, size))]
        store = replace(self, shards=tuple(kept))
        for shard in store.shards:
            if shard.number >= first and not self._is_valid(shard):
                self._remove(shard.number)  # left by an interrupted revision
        (self.path / _MATRIX).unlink(missing_ok=True)
        (self.path / _ROWS).unlink(missing_ok=True)
        store.save()
        store.tidy()
        return store

    def tidy(self) -> None:
        """Remove files of unlisted shards, which a killed process may leave.

        No other process may write to the folder meanwhile.
        """
        numbers = {shard.number for shard in self.shards}
        names = [*self.path.glob("part-*.parquet"), *self.path.glob(f"{_RECEIPTS}/*.json")]
        for number in {int(file.stem.removeprefix("part-")) for file in names} - numbers:
            self._remove(number)

    def _remove(self, number: int) -> None:
        (self.path / _RECEIPTS / f"{number:05d}.json").unlink(missing_ok=True)
        self.file(number).unlink(missing_ok=True)

    def _is_valid(self, shard: Shard) -> bool:
        try:
            return self._exists(shard) and bool(self._footer(shard))
        except DataError:
            return False

    def _exists(self, shard: Shard) -> bool:
        return self.file(shard.number).exists()

    def _rewrite(self, shard: Shard, parts: list[Part], number: int) -> Shard:
        """Write some parts of a shard to a new shard."""
        footer = self._footer(shard)
        table = self._read(shard)
        keep, at = np.zeros(len(table), bool), 0
        for part in shard.parts:
            if part.scene not in footer.get("failed", {}):
                keep[at : at + part.rows] = part in parts
                at += part.rows
        smaller = Shard.of(number, self.key, parts)
        text = json.dumps({"key": smaller.key}).encode()
        write_parquet(
            self.file(number), table.filter(keep).replace_schema_metadata({_FOOTER: text})
        )
        return smaller

    def finish(self, ids: NDArray[np.str_] | None = None) -> Embeddings:
        """Join the shards to one matrix file, if necessary, and memory-map it.

        Parquet cannot be memory-mapped, so selection reads the copy ``matrix.npy``. It is created
        again from the shards if it is deleted. If the order of the pool differs from that of the
        shards, ``rows.npy`` contains the row within the shards of each row of the matrix.

        Args:
            ids: (n,) tile ids in the order of the pool; None for the order of the existing matrix,
                else that of the shards.

        Raises:
            DataError: A shard cannot be read or belongs to another embedding, or an id has no
                vector.
        """
        matrix, order = self.path / _MATRIX, self.path / _ROWS
        tables = [self._read(shard, "tile_id", CONSTANT) for shard in self.shards]
        shard_ids = [text_column(table, "tile_id") for table in tables]
        stored_ids = np.concatenate([np.empty(0, np.str_), *shard_ids])
        constant = constant_of(tables)
        # Every matrix has a file of its row order (empty for the order of the shards); without this
        # file, the order of an existing matrix is unknown.
        stored = np.load(order) if order.exists() else None
        if ids is None:
            rows = stored if stored is not None and stored.size else None
        else:
            rows = None if np.array_equal(stored_ids, ids) else find_rows(stored_ids, ids)
        if rows is not None and (rows < 0).any():
            raise DataError(
                f"{int((rows < 0).sum())} tiles of the pool have no vector in {str(self.path)!r}",
                "The shards belong to another pool.", "Delete the folder and embed again.",
            )  # fmt: skip
        needed = np.empty(0, np.int64) if rows is None else rows
        if stored is None or not np.array_equal(stored, needed):
            matrix.unlink(missing_ok=True)
            with atomic_path(order) as temporary, temporary.open("wb") as file:
                np.save(file, needed)
        shape = (stored_ids.size if rows is None else rows.size, *self.spec.row)
        if not matrix.exists() or not _is_matrix(matrix, shape):
            self._join(matrix, rows, stored_ids.size)
        if rows is not None:
            stored_ids, constant = stored_ids[rows], None if constant is None else constant[rows]
        return Embeddings(stored_ids, np.load(matrix, mmap_mode="r"), self.spec, constant)

    def _join(self, matrix: Path, rows: NDArray[np.int64] | None, n: int) -> None:
        """Write the matrix; `rows` are its rows within the `n` rows of the shards, None for all."""
        target = np.arange(n)  # row of the matrix for each row of the shards, or -1
        if rows is not None:
            target = np.full(n, -1)
            target[rows] = np.arange(rows.size)
        shape = (n if rows is None else rows.size, *self.spec.row)
        with atomic_path(matrix) as temporary:
            out = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
            start = 0
            for shard in self.shards:
                vectors = vectors_of(self._read(shard, "embedding"), self.spec.row)
                at = target[start : start + len(vectors)]
                out[at[at >= 0]] = vectors[at >= 0]
                start += len(vectors)
            out.flush()
            del out

    def _footer(self, shard: Shard) -> dict[str, Any]:
        """Return the footer of a shard.

        Raises:
            DataError: The shard belongs to another embedding.
        """
        text = read_footer(self.file(shard.number)).get(_FOOTER)
        footer = json.loads(text) if text else {}
        if footer.get("key") != shard.key:
            raise _foreign(self.file(shard.number))
        return footer

    def _read(self, shard: Shard, *columns: str) -> Any:
        self._footer(shard)
        return read_parquet(self.file(shard.number), list(columns) or None)


def load_embeddings(
    run: str | Path, model: str | None = None, *, tokens: bool = False
) -> Embeddings:
    """Memory-map the embeddings of a run.

    Args:
        run: Run directory of `embed` or of a job.
        model: Name of the model, as passed to `embed` ("builtin", "timm:resnet18"); None if the run
            has embeddings of one model only. If the model was used with several settings, the last
            ones are returned.
        tokens: Whether to return the tokens of each tile instead of one vector.

    Returns:
        (n, d) float16 embeddings in the order of the pool, or (n, t, d) tokens, with the token grid
        in ``spec.grid``.

    Raises:
        DataError: There is no run, it has no embeddings, or shards are missing.
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
            "An interrupted embedding resumes where it stopped.",
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
            f"{len(missing)} of {len(store.shards)} shards are missing in {str(store.path)!r}",
            "They have been deleted.",
            "Embed again: only missing shards are made.",
        )
    return store.finish()


def step_name(model: str, *, tokens: bool = False) -> str:
    """Return the name of the step that embeds with `model`."""
    return _STEPS[tokens] + model


def slug(name: str) -> str:
    """Convert the name of a model to a folder name."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-.") or "model"


def _folder(run: Path, key: str, spec: EncoderSpec) -> Path:
    return run / "embeddings" / f"{slug(spec.name)}-{key[:8]}"


def _foreign(file: Path) -> DataError:
    return DataError(
        f"{str(file)!r} belongs to another embedding",
        "Each folder in embeddings/ contains the shards of one model and one pool.",
        "Delete the folder and embed again.",
    )


def _is_matrix(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        return np.load(path, mmap_mode="r").shape == shape
    except (OSError, ValueError):
        return False
