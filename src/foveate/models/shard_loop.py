"""The loop over the shards of a pool: existing shards, missing shards, and progress."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from foveate.embeddings import Embeddings
from foveate.errors import DataError
from foveate.files import digest, digest_ids
from foveate.models.pace import Pace
from foveate.models.shard_encoder import make_keeper, make_writer, pool_prints, scene_rows
from foveate.progress import Meter
from foveate.run import ShardStore, map_shards
from foveate.run.division import Shard, divide, lacking
from foveate.run.shards import step_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.shard_encoder import ShardEncoder
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Placement, Run
    from foveate.run.division import SceneRows
    from foveate.run.shards import Receipt

_SMALLEST_SHARD, _LARGEST_SHARD, _SHARDS = 64, 8192, 64

_LARGEST_SHARD_VALUES = 2**26  # 256 MB in float32


class Embedded(NamedTuple):
    """Result of an embedding.

    Attributes:
        embeddings: Embeddings of all readable tiles.
        failed: Scene -> reason why it could not be read.
    """

    embeddings: Embeddings
    failed: dict[str, str]


class PartDone(Exception):  # noqa: N818  (not an error: it leaves a job that computes some shards)
    """Raised when the shards of a part are finished.

    Attributes:
        made: Number of shards computed by this call.
        left: Number of remaining shards of all parts.
        shards: Total number of shards.
        failed: Scene -> reason why it could not be read, from all finished shards.
    """

    def __init__(self, made: int, left: int, shards: int, failed: dict[str, str]) -> None:
        super().__init__(made, left, shards, failed)
        self.made, self.left, self.shards, self.failed = made, left, shards, failed


def embedding_key(pool: Pool, spec: EncoderSpec) -> str:
    """Return a hash of everything that the vectors depend on: pixels, windows, and the model."""
    return digest([pool_prints(pool), digest_ids(pool.ids), spec.to_dict()])


@dataclass(frozen=True)
class ShardLoop:
    """The loop over the shards of a pool, with progress.

    Attributes:
        pool: The pool.
        spec: The encoder.
        encoder: Builds the encoder of shards, in the worker process.
        place: Processes that compute the shards.
        progress: Called with ticks.
    """

    pool: Pool
    spec: EncoderSpec
    encoder: Callable[[], ShardEncoder]
    place: Placement
    progress: ProgressFn | None

    def in_memory(self) -> Embedded:
        """Embed all shards in memory."""
        key, scenes = embedding_key(self.pool, self.spec), scene_rows(self.pool)
        pieces = divide(lacking(scenes, []), _shard_size(len(self.pool), self.spec))
        shards = tuple(Shard.of(i, key, parts) for i, parts in enumerate(pieces))
        store = ShardStore(Path(), key, shards, self.spec)
        found = np.empty((len(self.pool), *self.spec.row), np.float16)
        constant = np.zeros(len(self.pool), bool)
        done, failed = np.zeros(len(self.pool), bool), {}
        make = functools.partial(make_keeper, store, self.encoder)
        for receipt, shard in self._made(store, [s.number for s in shards], make):
            found[shard.rows], constant[shard.rows] = shard.vectors, shard.constant
            done[shard.rows] = True
            failed |= receipt.failed
        keep = np.flatnonzero(done & self._readable(failed))
        self._need_some(keep, failed)
        whole = Embeddings(self.pool.ids, found, self.spec, constant)
        if keep.size == len(self.pool):
            return Embedded(whole, failed)
        return Embedded(
            Embeddings(self.pool.ids[keep], found[keep], self.spec, constant[keep]), failed
        )

    def in_run(self, run: Run) -> Embedded:
        """Embed missing shards into a run.

        Raises:
            PartDone: A part of the shards was requested, and it is finished.
        """
        key, scenes = embedding_key(self.pool, self.spec), scene_rows(self.pool)
        step = step_name(self.spec.name, tokens=self.spec.grid is not None)
        store = ShardStore.divided(run.path, key, self.spec, scenes)
        if self.place.part is not None:
            raise self._part(run, key, scenes)
        failed = store.failed()
        if store.parts and (failed or not store.covers(scenes) or store.missing()):
            # Failed scenes are retried, or the pool or its shards have changed since.
            run.record["steps"].pop(step, None)

        def work() -> list[str]:
            nonlocal store
            if not store.covers(scenes, failed):
                new = len(self.pool) - sum(p.rows for p in store.parts if p.scene not in failed)
                store = store.revised(scenes, _shard_size(max(1, new), self.spec))
            store.tidy()
            make = functools.partial(make_writer, store, self.encoder)
            for _ in self._made(store, store.missing(), make):
                pass
            return [str(file.relative_to(run.path)) for file in store.files]

        run.do(step, key, work)
        failed = store.failed()
        keep = np.flatnonzero(self._readable(failed))
        self._need_some(keep, failed)
        return Embedded(store.finish(self.pool.ids[keep]), failed)

    def _part(self, run: Run, key: str, scenes: list[SceneRows]) -> PartDone:
        """Compute the shards of this part; other processes may compute the others concurrently."""

        def divided() -> ShardStore:
            return ShardStore.divided(run.path, key, self.spec, scenes)

        def divide_now() -> None:
            store = divided()
            # Failed scenes are retried by the final command only, because others are writing now.
            new = len(self.pool) - sum(part.rows for part in store.parts)
            store.revised(scenes, _shard_size(max(1, new), self.spec))

        run.alone(lambda: divided().covers(scenes), divide_now)
        store = divided()
        missing = set(store.missing())
        mine = [s.number for s in self.place.share(store.shards) if s.number in missing]
        make = functools.partial(make_writer, store, self.encoder)
        made = sum(1 for _ in self._made(store, mine, make))
        run.worked |= made > 0
        return PartDone(made, len(store.missing()), len(store.shards), store.failed())

    def _made(
        self, store: ShardStore, todo: list[int], make: Callable[[], Callable[[int], Any]]
    ) -> Iterator[tuple[Receipt, Any]]:
        """Yield receipts, with the vectors if there is no run, and report progress."""
        sizes = {shard.number: shard.rows for shard in store.shards}
        left = sum(sizes[number] for number in todo)
        pace = Pace(left, min(self.place.workers, max(1, len(todo))))
        title = f"embedding with {self.spec.name}"
        with Meter(self.progress, title, len(self.pool), skipped=len(self.pool) - left) as meter:
            for number, result in map_shards(make, todo, self.place):
                receipt, vectors = result
                yield receipt, vectors
                pace.count(sizes[number], receipt)
                meter.advance(sizes[number])

    def _readable(self, failed: dict[str, str]) -> NDArray[np.bool_]:
        assert self.pool.tiles is not None  # noqa: S101  (a pool with imagery)
        return ~np.isin(self.pool.tiles.scene, list(failed))

    def _need_some(self, keep: NDArray[np.int64], failed: dict[str, str]) -> None:
        if not keep.size:
            raise DataError(
                f"none of the {len(failed)} scenes can be read; the first error: "
                f"{next(iter(failed.values()), '')}",
                "At least one scene must be readable.",
            )  # fmt: skip


def _shard_size(n: int, spec: EncoderSpec) -> int:
    # Small enough to lose little work if killed and to show progress, few enough for one manifest;
    # the tokens of a shard must fit into memory.
    size = min(_LARGEST_SHARD, max(_SMALLEST_SHARD, -(-n // _SHARDS)))
    return max(1, min(size, _LARGEST_SHARD_VALUES // math.prod(spec.row)))
