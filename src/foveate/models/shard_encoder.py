"""Computation of a shard by number: windows of scenes are encoded and written to a file.

The objects are pickled once per worker. They return a receipt, and vectors only without a run.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from foveate.errors import DataError
from foveate.files import digest, digest_ids
from foveate.models.base import ModelHandle
from foveate.models.load import build_model
from foveate.run.division import SceneRows
from foveate.run.shard_table import to_half
from foveate.run.shards import Receipt, ShardStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.capabilities import Embeds
    from foveate.pool.pool import Pool
    from foveate.raster import Raster
    from foveate.run.division import Part


def rows_of_scenes(pool: Pool) -> dict[str, NDArray[np.int64]]:
    """Return the rows of each scene with tiles, in the order of the pool."""
    found = {scene.scene_id: rows for scene, rows in pool.per_scene()}
    return dict(sorted(found.items(), key=lambda pair: int(pair[1][0])))


def pool_prints(pool: Pool) -> list[Any]:
    """Return the fingerprints of the pixels of a pool, JSON-ready."""
    infos = ((s.scene_id, s.source.info) for s in pool.scenes)
    return [[name, info.fingerprint, info.nodata] for name, info in infos]


def scene_rows(pool: Pool) -> list[SceneRows]:
    """Return the rows of a pool by scene, with keys of their pixels and windows."""
    infos = {scene.scene_id: scene.source.info for scene in pool.scenes}
    found = []
    for name, rows in rows_of_scenes(pool).items():
        info = infos[name]
        key = digest([name, info.fingerprint, info.nodata, digest_ids(pool.ids[rows])])
        found.append(SceneRows(name, key, rows.size))
    return found


class Encoded(NamedTuple):
    """Result of encoding some tiles.

    Attributes:
        rows: (m,) rows of the pool.
        vectors: (m, d) vectors, or (m, t, d) tokens.
        constant: (m,) bool, tiles whose valid pixels have one value in each band.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.floating]
    constant: NDArray[np.bool_]


@dataclass
class ShardEncoder:
    """Encoder of the tiles of some parts of scenes; the model is built once.

    Attributes:
        pool: The pool.
        model: A handle, to build the model in a worker process; or the model.
        spec: Spec of the stored vectors or tokens.
        batch_size: Tiles per call of the model.
        skip: Whether unreadable scenes are skipped instead of raising an error.
        failed: Scene -> reason why it could not be read, of the last call.
    """

    pool: Pool
    model: ModelHandle | Embeds
    spec: EncoderSpec
    batch_size: int
    skip: bool = False
    failed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Build the model, and index the rows of each scene."""
        if isinstance(self.model, ModelHandle):
            self.model = build_model(self.model, self.spec.bands, self.spec.scale or ())
        self._rows = rows_of_scenes(self.pool)

    def __call__(self, parts: tuple[Part, ...]) -> Encoded:
        """Encode the tiles of some parts."""
        rows = np.concatenate([self._rows[p.scene][p.start : p.stop] for p in parts])
        scene = np.repeat([p.scene for p in parts], [p.rows for p in parts])
        self.failed = {}
        found = np.empty((rows.size, *self.spec.row), np.float32)
        constant = np.zeros(rows.size, bool)
        for positions, batch in _batches(self._read(rows, scene), self.batch_size):
            found[positions] = self._encode(batch)
            constant[positions] = is_constant(batch)
        if not self.failed:
            return Encoded(rows, found, constant)
        good = ~np.isin(scene, list(self.failed))
        return Encoded(rows[good], found[good], constant[good])

    def _read(
        self, rows: NDArray[np.int64], scene: NDArray[np.str_]
    ) -> Iterator[tuple[int, Raster]]:
        """Yield tiles with their positions; a scene is skipped after its first unreadable tile."""
        bands = self.spec.bands or None
        if not self.skip:
            yield from enumerate(self.pool.read(rows, bands=bands))
            return
        for position, row in enumerate(rows.tolist()):
            name = str(scene[position])
            if name in self.failed:
                continue
            try:
                yield position, next(self.pool.read([row], bands=bands))
            except DataError as error:
                self.failed[name] = str(error)

    def _encode(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        model: Any = self.model
        if self.spec.grid is None:
            return model.embed(batch)
        return model.tokens(batch).reshape(len(batch), *self.spec.row)


@dataclass
class _ShardTask:
    """Encoding of a shard by its number, with a receipt."""

    store: ShardStore
    encoder: ShardEncoder

    def _encoded(self, number: int) -> Encoded:
        return self.encoder(self.store.shard(number).parts)

    def _receipt(
        self, number: int, tiles: int, start: float, size: int, worker: str = ""
    ) -> Receipt:
        rejected = self.store.shard(number).rows - tiles
        seconds = round(time.perf_counter() - start, 3)
        return Receipt(number, tiles, rejected, self.encoder.failed, seconds, size, worker)


class ShardWriter(_ShardTask):
    """Writer of the file of a shard and its receipt."""

    def __call__(self, number: int) -> tuple[Receipt, None]:
        """Write a shard; another process may write the same bytes concurrently."""
        start = time.perf_counter()
        found = self._encoded(number)
        size = self.store.put(
            number, self.encoder.pool.ids[found.rows], found.vectors, self.encoder.failed,
            constant=found.constant,
        )  # fmt: skip
        worker = f"{socket.gethostname()}:{os.getpid()}"
        receipt = self._receipt(number, found.rows.size, start, size, worker)
        self.store.sign(receipt)
        return receipt, None


class ShardKeeper(_ShardTask):
    """Encoder that returns the vectors of a shard, for embedding without a run."""

    def __call__(self, number: int) -> tuple[Receipt, Encoded]:
        """Return the receipt of a shard, and its tiles with vectors in float16."""
        start = time.perf_counter()
        found = self._encoded(number)
        half = to_half(self.encoder.pool.ids[found.rows], found.vectors)
        receipt = self._receipt(number, found.rows.size, start, half.nbytes)
        return receipt, found._replace(vectors=half)


def make_writer(store: ShardStore, encoder: Callable[[], ShardEncoder]) -> ShardWriter:
    """Return a writer of shards, in the worker process."""
    return ShardWriter(store, encoder())


def make_keeper(store: ShardStore, encoder: Callable[[], ShardEncoder]) -> ShardKeeper:
    """Return an encoder of shards in memory, in the worker process."""
    return ShardKeeper(store, encoder())


def _batches(
    rasters: Iterator[tuple[int, Raster]], size: int
) -> Iterator[tuple[list[int], NDArray[Any]]]:
    """Yield stacks of tiles of equal shape, with their positions.

    If a scene is divided into a fixed number of tiles, their sides differ by a pixel; each shape
    has a separate batch.
    """
    waiting: dict[tuple[int, ...], tuple[list[int], list[NDArray[Any]]]] = {}
    for position, raster in rasters:
        tile = fill_invalid(raster)
        positions, batch = waiting.setdefault(tile.shape, ([], []))
        positions.append(position)
        batch.append(tile)
        if len(batch) == size:
            yield positions, np.stack(batch)
            del waiting[tile.shape]
    for positions, batch in waiting.values():
        yield positions, np.stack(batch)


def is_constant(batch: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which tiles have one value in each band.

    Invalid pixels of a tile have the mean of the others (`fill_invalid`), so they do not count.

    Args:
        batch: (n, c, h, w).

    Returns:
        (n,) bool.
    """
    first = batch[:, :, :1, :1]
    # The first row decides for almost all tiles, without a pass over their pixels.
    maybe = np.flatnonzero((batch[:, :, :1] == first).all(axis=(1, 2, 3)))
    found = np.zeros(len(batch), bool)
    found[maybe] = (batch[maybe] == first[maybe]).all(axis=(1, 2, 3))
    return found


def fill_invalid(raster: Raster) -> NDArray[Any]:
    """Return (c, h, w) with invalid pixels set to the mean of the valid pixels of their band."""
    if raster.valid.all():
        return raster.data
    data = raster.data.copy()
    known = data[:, raster.valid].astype(np.float64)
    mean = known.mean(axis=1) if known.shape[1] else np.zeros(len(data))
    if np.issubdtype(data.dtype, np.integer):
        mean = np.rint(mean)
    data[:, ~raster.valid] = mean.astype(data.dtype)[:, None]
    return data
