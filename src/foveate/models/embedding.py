"""`embed`: from a pool to embeddings, shard by shard, resumable."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import Embeddings
from foveate.errors import DataError, ParameterError
from foveate.files import digest
from foveate.models.base import Embeds, ModelHandle, Scale
from foveate.models.load import FAMILIES
from foveate.progress import Meter, ProgressFn
from foveate.run.drivers import map_shards
from foveate.run.shards import ShardStore, to_half

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.pool.pool import Pool
    from foveate.raster import Raster

_SMALLEST_SHARD, _LARGEST_SHARD, _SHARDS = 64, 8192, 64
_PREVIEW = 512


def embed(
    pool: Pool,
    model: ModelHandle | Embeds,
    *,
    run: str | Path | None = None,
    batch_size: int = 32,
    workers: int = 1,
    progress: ProgressFn | None = None,
) -> Embeddings:
    """Embed every tile of a pool.

    Invalid pixels are filled with the mean of the valid ones of their band before the model sees
    a tile, so that nodata has no texture.

    Args:
        pool: A pool cut from scenes.
        model: From `load_model` or `from_callable`.
        run: Folder to keep the shards in: an embedding that was interrupted goes on there, one
            that is complete is not repeated. None keeps everything in memory.
        batch_size: Tiles per call of the model; the vectors do not depend on it.
        workers: Processes; more than one needs a model that can be loaded by name.
        progress: Called with ticks.

    Returns:
        (n, d) float16 embeddings in the order of the pool.

    Raises:
        ParameterError: Bands are not stated and the model takes fewer than there are.
        DataError: A file cannot be read; what was embedded before is kept in `run`.
    """
    if workers > 1 and not isinstance(model, ModelHandle):
        raise ParameterError(
            f"workers = {workers} with a model object",
            "Objects stay in their process.",
            "workers=1",
        )
    bound = bind(model, pool)
    size = _shard_size(len(pool))
    shards = -(-len(pool) // size)
    store = None
    if run is not None:
        key = embedding_key(pool, bound)
        folder = Path(run) / "embeddings" / slug(bound.spec.name)
        store = ShardStore(folder, key, shards, bound.spec)
    make = functools.partial(
        _ShardEncoder, pool, model if workers > 1 else bound, bound.spec.bands,
        bound.spec.scale, size, batch_size,
    )  # fmt: skip
    todo = list(range(shards)) if store is None else store.missing()
    kept: dict[int, NDArray[np.float16]] = {}
    there = len(pool) - sum(_shard_rows(len(pool), size, s).size for s in todo)
    with Meter(progress, f"embedding with {bound.spec.name}", len(pool), skipped=there) as meter:
        for shard, vectors in map_shards(make, todo, workers):
            rows = _shard_rows(len(pool), size, shard)
            if store is None:
                kept[shard] = to_half(pool.ids[rows], vectors)
            else:
                store.put(shard, pool.ids[rows], vectors)
            meter.advance(rows.size)
    if store is not None:
        return store.finish()
    x = np.concatenate([kept[s] for s in range(shards)])
    return Embeddings(pool.ids, x, bound.spec)


def bind(model: ModelHandle | Embeds, pool: Pool) -> Embeds:
    """Build a model for the bands and the value range of a pool.

    Bands are those that the user chose, or all of them where the model takes as many; three
    bands of many are never guessed. The range is the user's, 0 to 255 for uint8 imagery, and
    otherwise the 2nd to 98th percentile of each band over the pool; the spec records it.

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
    scale = model.scale or band_range(pool, bands)
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
    return FAMILIES.get(model.family).build(model, bands, scale)


def band_range(pool: Pool, bands: tuple[int, ...]) -> Scale:
    """Return the value range of each band: 0 to 255 for uint8, else 2nd to 98th percentile.

    Percentiles are taken over the valid pixels of previews of at most 512 px of every scene.
    """
    if pool.scenes[0].source.info.dtype == "uint8":
        return ((0.0, 255.0),) * len(bands)
    values: list[NDArray[Any]] = []
    for scene in pool.scenes:
        height, width = scene.source.info.shape
        factor = min(1.0, _PREVIEW / max(height, width))
        shape = (max(1, round(height * factor)), max(1, round(width * factor)))
        raster = scene.source.read(bands=bands, out_shape=shape)
        values.append(raster.data[:, raster.valid].astype(np.float64))
    low, high = np.percentile(np.concatenate(values, axis=1), [2, 98], axis=1)
    return tuple(
        (float(lo), float(hi) if hi > lo else float(lo) + 1.0)
        for lo, hi in zip(low, high, strict=True)
    )


def embedding_key(pool: Pool, model: Embeds) -> str:
    """Hash of everything that the vectors depend on: pixels, windows and the model."""
    prints = [[s.scene_id, s.source.info.fingerprint, s.source.info.nodata] for s in pool.scenes]
    return digest([prints, digest(pool.ids.tolist()), model.spec.to_dict()])


def slug(name: str) -> str:
    """Turn a model's name into a folder's name."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-.") or "model"


@dataclass
class _ShardEncoder:
    """The function of a shard number; in a worker process it builds the model once."""

    pool: Pool
    model: ModelHandle | Embeds
    bands: tuple[int, ...]
    scale: Scale | None
    size: int
    batch_size: int

    def __post_init__(self) -> None:
        if isinstance(self.model, ModelHandle):
            family = FAMILIES.get(self.model.family)
            self.model = family.build(self.model, self.bands, self.scale or ())

    def __call__(self, shard: int) -> NDArray[np.float32]:
        rows = _shard_rows(len(self.pool), self.size, shard)
        assert not isinstance(self.model, ModelHandle)  # noqa: S101  (built above)
        vectors = [
            self.model.embed(batch)
            for batch in _batches(self.pool.read(rows, bands=self.bands or None), self.batch_size)
        ]
        return np.concatenate(vectors)


def _batches(rasters: Iterator[Raster], size: int) -> Iterator[NDArray[Any]]:
    """Stack consecutive tiles of one shape."""
    batch: list[NDArray[Any]] = []
    for raster in rasters:
        tile = fill_invalid(raster)
        if batch and (len(batch) == size or batch[0].shape != tile.shape):
            yield np.stack(batch)
            batch = []
        batch.append(tile)
    if batch:
        yield np.stack(batch)


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


def _shard_size(n: int) -> int:
    # Small enough to lose little when killed and to show progress, few enough for one manifest.
    return min(_LARGEST_SHARD, max(_SMALLEST_SHARD, -(-n // _SHARDS)))


def _shard_rows(n: int, size: int, shard: int) -> NDArray[np.int64]:
    return np.arange(shard * size, min(n, (shard + 1) * size))
