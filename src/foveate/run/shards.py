"""Embeddings as Parquet shards, resumed shard by shard, by any number of writers.

Each key has a folder of its own, ``embeddings/<model>-<key>``: another setting of the same model
neither deletes nor mixes anything. ``manifest.json`` says which shards there are to be, and is
written before the first of them. A shard is made when its file is there: files are written
atomically, their footers say what they hold, and nothing has to be put on record afterwards.
"""

from __future__ import annotations

import json
import math
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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.run.division import Part, SceneRows

_LIMIT = float(np.finfo(np.float16).max)
_LEAST = float(np.finfo(np.float16).tiny)  # below, digits are lost, and then everything
_MATRIX, _ROWS, _MANIFEST, _RECEIPTS = "matrix.npy", "rows.npy", "manifest.json", "receipts"
_FOOTER = b"foveate"
_STEPS = {False: "embed ", True: "tokens "}


@dataclass(frozen=True)
class Receipt:
    """What became of a shard; it stands beside it as JSON, for people and for other programs.

    Attributes:
        shard: Its number.
        tiles: Tiles that were embedded.
        rejected: Tiles that were not, for their scene cannot be read.
        failed: Scene -> why it cannot be read.
        seconds: How long it took.
        bytes: Size of the file.
        worker: Host and process that made it.
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
        key: Hash that the folder is known by; it stands in the manifest.
        shards: What there is to be.
        spec: The encoder.
    """

    path: Path
    key: str
    shards: tuple[Shard, ...]
    spec: EncoderSpec

    @classmethod
    def numbered(cls, path: Path, key: str, shards: int, spec: EncoderSpec) -> Self:
        """Return a store of so many shards, whoever knows what is in each."""
        return cls(path, key, tuple(Shard(i, key) for i in range(shards)), spec)

    @classmethod
    def within(cls, run: Path, key: str, shards: int, spec: EncoderSpec) -> Self:
        """Return the numbered store of a key in a run directory."""
        return cls.numbered(_home(run, key, spec), key, shards, spec)

    @classmethod
    def divided(
        cls, run: Path, key: str, spec: EncoderSpec, scenes: Sequence[SceneRows]
    ) -> Self:  # fmt: skip
        """Return the store of a pool: one that holds most of it already, else an empty one.

        Args:
            run: Run directory.
            key: Hash of the pool and the encoder, for a folder that is new.
            spec: The encoder.
            scenes: The rows of the pool, scene by scene.
        """
        wanted = {(scene.scene, scene.key) for scene in scenes}
        home = _home(run, key, spec)
        best, most = cls(home, key, (), spec), 0
        if (home / _MANIFEST).exists():  # begun with this very pool, whatever it holds by now
            return cls.read(home)
        for file in sorted((run / "embeddings").glob(f"{slug(spec.name)}-*/{_MANIFEST}")):
            found = cls.read(file.parent)
            rows = sum(shard.rows for shard in found.shards)
            same = sum(p.rows for p in found.parts if (p.scene, p.key) in wanted)
            if found.spec == spec and same > most and 2 * same >= rows:
                best, most = found, same
        return best

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open the store of a folder by its manifest.

        Raises:
            DataError: There is none.
        """
        if not (path / _MANIFEST).exists():
            raise DataError(f"{str(path)!r} holds no embeddings", f"Expected a {_MANIFEST}.")
        found = read_json(path / _MANIFEST)
        spec, shards = EncoderSpec.from_dict(found["spec"]), found["shards"]
        if isinstance(shards, int):  # no more is known of them
            return cls.numbered(path, found["key"], shards, spec)
        return cls(path, found["key"], tuple(map(Shard.from_dict, shards)), spec)

    @property
    def parts(self) -> list[Part]:
        """What the shards are to hold."""
        return [part for shard in self.shards for part in shard.parts]

    @property
    def files(self) -> list[Path]:
        """The manifest and all shards."""
        return [self.path / _MANIFEST, *(self.file(shard.number) for shard in self.shards)]

    def file(self, number: int) -> Path:
        """Return the path of a shard."""
        return self.path / f"part-{number:05d}.parquet"

    def missing(self) -> list[int]:
        """Return the numbers of the shards that are yet to be made.

        Raises:
            DataError: The folder belongs to another embedding.
        """
        manifest = self.path / _MANIFEST
        if manifest.exists() and read_json(manifest)["key"] != self.key:
            raise _foreign(manifest)
        return [s.number for s in self.shards if not self.file(s.number).exists()]

    def save(self) -> None:
        """Write the manifest, unless it says the same."""
        plain = not any(shard.parts for shard in self.shards)
        shards = len(self.shards) if plain else [shard.to_dict() for shard in self.shards]
        content = {"key": self.key, "shards": shards, "spec": self.spec.to_dict()}
        if not (self.path / _MANIFEST).exists() or read_json(self.path / _MANIFEST) != content:
            write_json(self.path / _MANIFEST, content)

    def put(
        self, number: int, ids: NDArray[np.str_], x: NDArray[np.floating],
        failed: Mapping[str, str] | None = None,
    ) -> int:  # fmt: skip
        """Write one shard; return the size of its file in bytes.

        Args:
            number: Its number.
            ids: (m,) tile ids.
            x: (m, d) vectors, or (m, t, d) tokens; stored as float16.
            failed: Scene -> why its tiles are not among them.

        Raises:
            DataError: A vector is not finite in float16.
            StorageError: It cannot be written.
        """
        key = next(shard.key for shard in self.shards if shard.number == number)
        footer = {"key": key, **({"failed": dict(failed)} if failed else {})}
        table = _to_table(ids, x, self.spec).replace_schema_metadata(
            {_FOOTER: json.dumps(footer).encode()}
        )
        if not any(shard.parts for shard in self.shards):
            self.save()
        (self.path / _MATRIX).unlink(missing_ok=True)  # joined with the shard that was there before
        write_parquet(self.file(number), table)
        return self.file(number).stat().st_size

    def sign(self, receipt: Receipt) -> None:
        """Write the receipt of a shard beside it."""
        write_json(self.path / _RECEIPTS / f"{receipt.shard:05d}.json", asdict(receipt))

    def failed(self) -> dict[str, str]:
        """Return the scenes whose tiles are not in the shards that were made, and why."""
        found: dict[str, str] = {}
        for shard in self.shards:
            if shard.parts and self.file(shard.number).exists():
                found |= self._footer(shard).get("failed", {})
        return found

    def covers(self, scenes: Sequence[SceneRows], failed: Mapping[str, str] | None = None) -> bool:
        """Say whether the shards are to hold these rows, and nothing else.

        Args:
            scenes: The rows of a pool, scene by scene.
            failed: Scenes that do not count as held.
        """
        wanted = {(scene.scene, scene.key) for scene in scenes}
        held = [part for part in self.parts if part.scene not in (failed or {})]
        surplus = len(held) < len(self.parts) or any((p.scene, p.key) not in wanted for p in held)
        return bool(self.shards) and not surplus and not lacking(scenes, held)

    def revised(self, scenes: Sequence[SceneRows], size: int) -> Self:
        """Divide what is not held yet into new shards, and let go what is not wanted any more.

        Args:
            scenes: The rows of a pool, scene by scene.
            size: Rows of a new shard.

        Returns:
            The store that the folder holds from now on. Nobody else may be writing into it.
        """
        wanted = {(scene.scene, scene.key) for scene in scenes}
        kept: list[Shard] = []
        number = first = 1 + max((shard.number for shard in self.shards), default=-1)
        for shard in self.shards:
            failed = self._footer(shard).get("failed", {}) if self._made(shard) else {}
            good = [p for p in shard.parts if (p.scene, p.key) in wanted and p.scene not in failed]
            if len(good) == len(shard.parts):
                kept.append(shard)
            elif good and self._made(shard):
                kept.append(self._without(shard, good, number))
                number += 1
        spans = lacking(scenes, [part for shard in kept for part in shard.parts])
        kept += [Shard.of(number + i, self.key, p) for i, p in enumerate(divide(spans, size))]
        store = replace(self, shards=tuple(kept))
        for shard in store.shards:
            if shard.number >= first and not self._is_own(shard):
                self._remove(shard.number)  # of a revision that was killed
        (self.path / _MATRIX).unlink(missing_ok=True)
        (self.path / _ROWS).unlink(missing_ok=True)
        store.save()
        store.tidy()
        return store

    def tidy(self) -> None:
        """Remove files of shards that are not listed, which a process that was killed has left.

        Nobody else may be writing into the folder.
        """
        numbers = {shard.number for shard in self.shards}
        names = [*self.path.glob("part-*.parquet"), *self.path.glob(f"{_RECEIPTS}/*.json")]
        for number in {int(file.stem.removeprefix("part-")) for file in names} - numbers:
            self._remove(number)

    def _remove(self, number: int) -> None:
        (self.path / _RECEIPTS / f"{number:05d}.json").unlink(missing_ok=True)
        self.file(number).unlink(missing_ok=True)

    def _is_own(self, shard: Shard) -> bool:
        try:
            return self._made(shard) and bool(self._footer(shard))
        except DataError:
            return False

    def _made(self, shard: Shard) -> bool:
        return self.file(shard.number).exists()

    def _without(self, shard: Shard, good: list[Part], number: int) -> Shard:
        """Write a shard again with some of its parts."""
        footer = self._footer(shard)
        table = self._read(shard)
        keep, at = np.zeros(len(table), bool), 0
        for part in shard.parts:
            if part.scene not in footer.get("failed", {}):
                keep[at : at + part.rows] = part in good
                at += part.rows
        smaller = Shard.of(number, self.key, good)
        text = json.dumps({"key": smaller.key}).encode()
        write_parquet(
            self.file(number), table.filter(keep).replace_schema_metadata({_FOOTER: text})
        )
        return smaller

    def finish(self, ids: NDArray[np.str_] | None = None) -> Embeddings:
        """Join the shards into one matrix file, once, and map it.

        Parquet cannot be mapped: ``matrix.npy`` is the copy that selection reads. It can be
        deleted and comes back from the shards. Where the pool is in another order than the shards,
        ``rows.npy`` holds the row of each of its tiles in them.

        Args:
            ids: (n,) ids in the order of the pool; as the shards are, or as they were joined
                before, when None.

        Raises:
            DataError: A shard cannot be read or belongs to another embedding.
        """
        matrix, order = self.path / _MATRIX, self.path / _ROWS
        parts = [text_column(self._read(shard, "tile_id"), "tile_id") for shard in self.shards]
        there = np.concatenate([np.empty(0, np.str_), *parts])
        # Stored beside every matrix, empty for the order of the shards: without it, nobody knows
        # the order of the rows of a matrix.
        stored = np.load(order) if order.exists() else None
        if ids is None:
            rows = stored if stored is not None and stored.size else None
        else:
            rows = None if np.array_equal(there, ids) else find_rows(there, ids)
        if rows is not None and (rows < 0).any():
            raise DataError(
                f"{int((rows < 0).sum())} tiles of the pool have no vector in {str(self.path)!r}",
                "The shards are those of another pool.", "Delete the folder and embed again.",
            )  # fmt: skip
        needed = np.empty(0, np.int64) if rows is None else rows
        if stored is None or not np.array_equal(stored, needed):
            matrix.unlink(missing_ok=True)
            with atomic_path(order) as temporary, temporary.open("wb") as file:
                np.save(file, needed)
        shape = (there.size if rows is None else rows.size, *self.spec.row)
        if not matrix.exists() or not _is_matrix(matrix, shape):
            self._join(matrix, rows, there.size)
        names = there if rows is None else there[rows]
        return Embeddings(names, np.load(matrix, mmap_mode="r"), self.spec)

    def _join(self, matrix: Path, rows: NDArray[np.int64] | None, n: int) -> None:
        """Write the matrix; `rows` are the rows of the shards, in the order of the matrix."""
        place = np.arange(n)
        if rows is not None:
            place = np.full(n, -1)
            place[rows] = np.arange(rows.size)
        shape = (n if rows is None else rows.size, *self.spec.row)
        with atomic_path(matrix) as temporary:
            out = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
            start = 0
            for shard in self.shards:
                part = _vectors(self._read(shard, "embedding"), self.spec.row)
                at = place[start : start + len(part)]
                out[at[at >= 0]] = part[at >= 0]
                start += len(part)
            out.flush()
            del out

    def _footer(self, shard: Shard) -> dict[str, Any]:
        """Return what the footer of a shard says.

        Raises:
            DataError: The shard belongs to another embedding.
        """
        text = read_footer(self.file(shard.number)).get(_FOOTER)
        found = json.loads(text) if text else {}
        if found.get("key") != shard.key:
            raise _foreign(self.file(shard.number))
        return found

    def _read(self, shard: Shard, *columns: str) -> Any:
        self._footer(shard)
        return read_parquet(self.file(shard.number), list(columns) or None)


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
            f"{len(missing)} of {len(store.shards)} shards are missing in {str(store.path)!r}",
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
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
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


def _home(run: Path, key: str, spec: EncoderSpec) -> Path:
    return run / "embeddings" / f"{slug(spec.name)}-{key[:8]}"


def _to_table(ids: NDArray[np.str_], x: NDArray[np.floating], spec: EncoderSpec) -> Any:
    import pyarrow as pa

    flat = pa.array(to_half(ids, x).ravel(), pa.float16())
    vectors = pa.FixedSizeListArray.from_arrays(flat, math.prod(spec.row))
    return pa.table({"tile_id": pa.array(ids.astype(object), pa.string()), "embedding": vectors})


def _vectors(table: Any, row: tuple[int, ...]) -> NDArray[np.float16]:
    column = table["embedding"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, *row)


def _foreign(file: Path) -> DataError:
    return DataError(
        f"{str(file)!r} belongs to another embedding",
        "A folder under embeddings/ holds the shards of one model and one pool.",
        "Delete the folder and embed again.",
    )


def _is_matrix(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        return np.load(path, mmap_mode="r").shape == shape
    except (OSError, ValueError):
        return False
