"""Models meet imagery: binding a handle to the bands of a pool, and embedding its tiles."""

from __future__ import annotations

import contextlib
import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import Embeddings
from foveate.errors import DataError, ParameterError
from foveate.files import digest, digest_ids, read_json, write_json
from foveate.models.base import ModelHandle, Scale
from foveate.models.capabilities import Embeds, need
from foveate.models.load import build_model
from foveate.pool.preview import read_small
from foveate.progress import Meter, ProgressFn, watched
from foveate.run import Run, map_shards
from foveate.run.shards import ShardStore, step_name, to_half
from foveate.seeds import rng, tie_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.capabilities import Model
    from foveate.pool.pool import Pool, Scene
    from foveate.raster import Raster


_PREVIEW = 512

_SAMPLE, _LEAST = 2_000_000, 256  # values of a band, in all and of a scene

_DIM, _BRIGHT = 0.02, 20.0  # of the trained range: beyond, the unit must be another

_RANGE_FILE = "tables/band_range.json"

_RANGE_VERSION = 1  # raised when another range comes of the same pixels


def bind(model: ModelHandle | Model, pool: Pool, *, run: Run | None = None) -> Model:
    """Build a model for the bands and the value range of a pool.

    Bands are those that the user chose, or all of them where the model takes as many; three
    bands of many are never guessed. The range is the user's, 0 to 255 for uint8 imagery, that of
    weights which were trained on physical values, and otherwise the 2nd to 98th percentile of
    each band over the pool; the spec records it.

    Args:
        model: A handle; a model that is built already comes back as it is.
        pool: A pool cut from scenes.
        run: Open run that keeps the range, so that it is measured once.

    Raises:
        DataError: The pool has no imagery.
        ParameterError: The bands are not stated, do not exist or are not as many as needed, or a
            range is empty.
    """
    if not isinstance(model, ModelHandle):
        return model
    if not pool.scenes:
        raise DataError(
            "a pool of plain arrays has no pixels to embed",
            "Imagery is needed here.",
            "Open it with open_pool(FOLDER), or give your own embeddings.",
        )
    available = pool.scenes[0].source.info.bands
    bands = model.bands or tuple(range(1, available + 1))
    if model.channels is not None and len(bands) != model.channels:
        raise ParameterError(
            f"{model} takes {model.channels} bands, "
            + (f"{len(bands)} were chosen" if model.bands else f"the images have {available}"),
            "Which bands it should see is never guessed.",
            f"State them: --bands {','.join(str(b) for b in range(1, model.channels + 1))} "
            f"(numbers from 1 to {available}"
            + (", in the order red, green, blue)." if model.channels == 3 else ").")
            if available >= model.channels
            else f"Repeat a band, e.g. --bands {','.join(['1'] * model.channels)}.",
        )
    if max(bands) > available or min(bands) < 1:
        raise ParameterError(
            f"bands {','.join(map(str, bands))}", f"The images have bands 1 to {available}."
        )
    scale = model.scale or _native_range(model, pool, bands, run) or _kept_range(pool, bands, run)
    if len(scale) == 1:
        scale = scale * len(bands)
    if len(scale) != len(bands):
        raise ParameterError(
            f"{len(scale)} value ranges for {len(bands)} bands", "One (low, high) for all or each."
        )
    if not all(np.isfinite([low, high]).all() and low < high for low, high in scale):
        raise ParameterError(
            f"the value ranges {list(scale)}", "A range is (low, high) with low below high."
        )
    return build_model(model, bands, scale)


def _native_range(
    model: ModelHandle, pool: Pool, bands: tuple[int, ...], run: Run | None
) -> Scale | None:
    """Return the range that the weights were trained with, unless the imagery is pictures.

    Raises:
        ParameterError: The imagery is in another unit: reflectance from 0 to 1 where the weights
            know 0 to 10,000.
    """
    native = model.native_scale
    if native is None or pool.scenes[0].source.info.dtype == "uint8" or len(native) != len(bands):
        return None
    found = _kept_range(pool, bands, run)
    usual, bright = _largest(native), _largest(found)
    if not _DIM * usual <= bright <= _BRIGHT * usual:
        raise ParameterError(
            f"values {_written(found)} for {model}, which was trained on values {_written(native)}",
            "The imagery seems to be in another unit.",
            f"State what is 0 and what is 1 there: --scale 0,{bright:.3g}",
        )
    return native


def _largest(scale: Scale) -> float:
    """Return the largest magnitude of a range; that of decibels lies below 0."""
    return max(abs(value) for pair in scale for value in pair)


def _written(scale: Scale) -> str:
    return f"from {min(low for low, _ in scale):g} to {max(high for _, high in scale):g}"


def band_range(pool: Pool, bands: tuple[int, ...]) -> Scale:
    """Return the value range of each band: 0 to 255 for uint8, else 2nd to 98th percentile.

    Percentiles are taken over valid pixels of previews of at most 512 px: two million at most,
    drawn evenly from the scenes under a fixed seed. Neither the order of the scenes nor anything
    but their pixels and names decides which.

    Raises:
        DataError: There is no valid pixel.
    """
    if pool.scenes[0].source.info.dtype == "uint8":
        return ((0.0, 255.0),) * len(bands)
    scenes = _sampled(pool.scenes)
    quota = _SAMPLE // len(scenes)
    values = np.concatenate([_draw(scene, bands, quota) for scene in scenes], axis=1)
    if not values.shape[1]:
        raise DataError(
            "the images have no valid pixel to take a range of values from",
            "Everything looked at is nodata.",
            "Check --nodata, or state the range: --scale LOW,HIGH.",
        )
    pairs = (np.percentile(band.astype(np.float64), [2, 98]).tolist() for band in values)
    return tuple((low, high if high > low else low + 1.0) for low, high in pairs)


def _sampled(scenes: tuple[Scene, ...]) -> list[Scene]:
    """Return the scenes to look at: all, or as many as leave each a fair sample."""
    most = _SAMPLE // _LEAST
    keys = tie_keys([scene.scene_id for scene in scenes], 0, "embed/range")
    return [scenes[i] for i in np.argsort(keys, kind="stable")[:most]]


def _draw(scene: Scene, bands: tuple[int, ...], quota: int) -> NDArray[Any]:
    """Return (c, m) values of at most `quota` valid pixels in the native dtype."""
    raster = read_small(scene.source, None, bands, _PREVIEW)
    values = raster.data[:, raster.valid]
    if values.shape[1] <= quota:
        return values
    # At random: a regular step may fall on the columns of the picture.
    draw = rng(0, f"embed/range/{scene.scene_id}")
    return values[:, draw.choice(values.shape[1], quota, replace=False, shuffle=False)]


def _kept_range(pool: Pool, bands: tuple[int, ...], run: Run | None) -> Scale:
    """Measure the range of values, or take it from the run that knows it."""
    if run is None:
        return band_range(pool, bands)

    def work() -> list[str]:
        write_json(run.path / _RANGE_FILE, band_range(pool, bands))
        return [_RANGE_FILE]

    run.do("band range", digest([_RANGE_VERSION, pool_prints(pool), bands]), work)
    return tuple((low, high) for low, high in read_json(run.path / _RANGE_FILE))


def pool_prints(pool: Pool) -> list[Any]:
    """Return what tells the pixels of a pool apart, JSON-ready."""
    infos = ((s.scene_id, s.source.info) for s in pool.scenes)
    return [[name, info.fingerprint, info.nodata] for name, info in infos]


_SMALLEST_SHARD, _LARGEST_SHARD, _SHARDS = 64, 8192, 64

_LARGEST_SHARD_VALUES = 2**26  # 256 MB in float32


def embed(
    pool: Pool,
    model: ModelHandle | Embeds,
    *,
    run: str | Path | Run | None = None,
    tokens: bool = False,
    batch_size: int = 32,
    workers: int = 1,
    progress: ProgressFn | bool | None = None,
) -> Embeddings:
    """Embed every tile of a pool.

    Invalid pixels are filled with the mean of the valid ones of their band before the model sees
    a tile, so that nodata has no texture.

    Args:
        pool: A pool cut from scenes.
        model: From `load_model` or `from_callable`.
        run: Run directory (new, empty, or an earlier run) to keep the shards in: an embedding
            that was interrupted goes on there, one that is complete is not repeated, and a job
            in the same directory finds it. Or a `Run` that is open for writing. None keeps
            everything in memory.
        tokens: Whether to keep the tokens of each tile instead of one vector: for a model with
            14 x 14 tokens that is 196 times as much to store.
        batch_size: Tiles per call of the model; the vectors do not depend on it.
        workers: Processes; more than one needs a model that can be loaded by name.
        progress: Called with ticks; True for bars, False for none, None for bars in a notebook
            or at a prompt.

    Returns:
        (n, d) float16 embeddings in the order of the pool; with `tokens` (n, t, d), t row-major
        over ``spec.grid``.

    Raises:
        ParameterError: Bands are not stated and the model takes fewer than there are; tiles of
            several sizes would give several grids of tokens.
        MissingCapabilityError: `tokens` of a model that has none.
        DataError: A file cannot be read; what was embedded before is kept in `run`.
        StorageError: `run` cannot be written, holds something else, or is in use.
    """
    if workers > 1 and not isinstance(model, ModelHandle):
        raise ParameterError(
            f"workers = {workers} with a model object",
            "Objects stay in their process.",
            "workers=1",
        )
    with _open_run(run) as opened, watched(progress) as shown:
        bound = need(bind(model, pool, run=opened), "embed", "embedding a pool")
        spec = _token_spec(bound, pool) if tokens else bound.spec
        size = _shard_size(len(pool), spec)
        make = functools.partial(
            _ShardEncoder, pool, model if workers > 1 else bound, spec, size, batch_size
        )
        loop = _Loop(pool, spec.name, size, make, workers, shown)
        return _in_memory(loop, spec) if opened is None else _in_run(loop, spec, opened)


def _open_run(run: str | Path | Run | None) -> AbstractContextManager[Run | None]:
    """Open a run for as long as it takes; one that is open already is its owner's to close."""
    return Run.create(run) if isinstance(run, str | Path) else contextlib.nullcontext(run)


def _in_memory(loop: _Loop, spec: EncoderSpec) -> Embeddings:
    ids = loop.pool.ids
    kept = {s: to_half(ids[loop.rows(s)], x) for s, x in loop.vectors(range(loop.shards))}
    return Embeddings(ids, np.concatenate([kept[s] for s in range(loop.shards)]), spec)


def _in_run(loop: _Loop, spec: EncoderSpec, run: Run) -> Embeddings:
    key = embedding_key(loop.pool, spec)
    store = ShardStore.within(run.path, key, loop.shards, spec)

    def work() -> list[str]:
        for shard, vectors in loop.vectors(store.missing()):
            store.put(shard, loop.pool.ids[loop.rows(shard)], vectors)
        return [str(file.relative_to(run.path)) for file in store.files]

    run.do(step_name(spec.name, tokens=spec.grid is not None), key, work)
    return store.finish()


def _token_spec(model: Embeds, pool: Pool) -> EncoderSpec:
    """Return the spec of the stored tokens; one empty tile tells their grid.

    Raises:
        MissingCapabilityError: The model has no tokens.
        ParameterError: The grid would differ between tiles.
    """
    spec, able = model.spec, need(model, "tokens", "embed with tokens")
    assert pool.tiles is not None  # noqa: S101  (a bound pool has scenes)
    sizes = {(int(h), int(w)) for h, w in zip(pool.tiles.h, pool.tiles.w, strict=True)}
    if spec.input_size is None and len(sizes) > 1:
        raise ParameterError(
            f"{spec.name} takes tiles at their own size, and they have {len(sizes)} sizes",
            "The tokens of all tiles are kept on one grid.",
            "State a size, ?size=224, or cut with the edge 'shift' or 'pad'.",
        )
    tile = np.zeros((1, len(spec.bands), *sizes.pop()), pool.scenes[0].source.info.dtype)
    _, rows, columns, dim = able.tokens(tile).shape
    return replace(spec, dim=dim, grid=(rows, columns))


def embedding_key(pool: Pool, spec: EncoderSpec) -> str:
    """Hash of everything that the vectors and their shards depend on.

    Pixels, windows, the model, and how many tiles a shard has.
    """
    shard = _shard_size(len(pool), spec)
    return digest([pool_prints(pool), digest_ids(pool.ids), spec.to_dict(), shard])


@dataclass(frozen=True)
class _Loop:
    """The loop over the shards of a pool, with progress."""

    pool: Pool
    name: str
    size: int
    make: Callable[[], Callable[[int], NDArray[np.float32]]]
    workers: int
    progress: ProgressFn | None

    @property
    def shards(self) -> int:
        return -(-len(self.pool) // self.size)

    def rows(self, shard: int) -> NDArray[np.int64]:
        return _shard_rows(len(self.pool), self.size, shard)

    def vectors(self, todo: Iterable[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the vectors of shards as they are made."""
        wanted = list(todo)
        there = len(self.pool) - sum(self.rows(shard).size for shard in wanted)
        title = f"embedding with {self.name}"
        with Meter(self.progress, title, len(self.pool), skipped=there) as meter:
            for shard, vectors in map_shards(self.make, wanted, self.workers):
                yield shard, vectors
                meter.advance(self.rows(shard).size)


@dataclass
class _ShardEncoder:
    """The function of a shard number; in a worker process it builds the model once."""

    pool: Pool
    model: ModelHandle | Embeds
    spec: EncoderSpec
    size: int
    batch_size: int

    def __post_init__(self) -> None:
        if isinstance(self.model, ModelHandle):
            self.model = build_model(self.model, self.spec.bands, self.spec.scale or ())

    def __call__(self, shard: int) -> NDArray[np.float32]:
        rows = _shard_rows(len(self.pool), self.size, shard)
        assert not isinstance(self.model, ModelHandle)  # noqa: S101  (built above)
        tiles = self.pool.read(rows, bands=self.spec.bands or None)
        found = np.empty((rows.size, *self.spec.row), np.float32)
        for places, batch in _batches(tiles, self.batch_size):
            found[places] = self._encode(batch)
        return found

    def _encode(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        model: Any = self.model
        if self.spec.grid is None:
            return model.embed(batch)
        return model.tokens(batch).reshape(len(batch), *self.spec.row)


def _batches(rasters: Iterator[Raster], size: int) -> Iterator[tuple[list[int], NDArray[Any]]]:
    """Stack tiles of one shape, with their places in the order in which they came.

    Sides that differ by a pixel alternate where a scene is cut into a number of tiles: each shape
    fills a batch of its own.
    """
    waiting: dict[tuple[int, ...], tuple[list[int], list[NDArray[Any]]]] = {}
    for place, raster in enumerate(rasters):
        tile = fill_invalid(raster)
        places, batch = waiting.setdefault(tile.shape, ([], []))
        places.append(place)
        batch.append(tile)
        if len(batch) == size:
            yield places, np.stack(batch)
            del waiting[tile.shape]
    for places, batch in waiting.values():
        yield places, np.stack(batch)


def fill_invalid(raster: Raster) -> NDArray[Any]:
    """Return (c, h, w) with invalid pixels set to the mean of the valid ones of their band."""
    if raster.valid.all():
        return raster.data
    data = raster.data.copy()
    known = data[:, raster.valid].astype(np.float64)
    mean = known.mean(axis=1) if known.shape[1] else np.zeros(len(data))
    if np.issubdtype(data.dtype, np.integer):
        mean = np.rint(mean)
    data[:, ~raster.valid] = mean.astype(data.dtype)[:, None]
    return data


def _shard_size(n: int, spec: EncoderSpec) -> int:
    # Small enough to lose little when killed and to show progress, few enough for one manifest;
    # tokens of a shard must fit into memory.
    size = min(_LARGEST_SHARD, max(_SMALLEST_SHARD, -(-n // _SHARDS)))
    return max(1, min(size, _LARGEST_SHARD_VALUES // math.prod(spec.row)))


def _shard_rows(n: int, size: int, shard: int) -> NDArray[np.int64]:
    return np.arange(shard * size, min(n, (shard + 1) * size))
