"""Binding of model handles to the bands of a pool, and embedding of its tiles."""

from __future__ import annotations

import contextlib
import functools
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import digest, read_json, write_json
from foveate.models.base import ModelHandle, Scale
from foveate.models.capabilities import Embeds, need
from foveate.models.families.features import FEATURES, stored_scale
from foveate.models.load import build_model
from foveate.models.shard_encoder import ShardEncoder, fill_invalid, pool_prints
from foveate.models.shard_loop import Embedded, ShardLoop, embedding_key
from foveate.pool.preview import read_small
from foveate.progress import ProgressFn, watched
from foveate.run import Placement, Run
from foveate.seeds import rng, tie_keys

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from foveate.embeddings import Embeddings, EncoderSpec
    from foveate.models.capabilities import Model
    from foveate.pool.pool import Pool, Scene
    from foveate.pool.scan import OnError

__all__ = ["bind", "embed", "embedding_key", "fill_invalid", "pool_prints"]

logger = logging.getLogger("foveate")

_PREVIEW = 512

_SAMPLE, _LEAST = 2_000_000, 256  # sampled values per band: maximum in total, minimum per scene

_DIM, _BRIGHT = 0.02, 20.0  # allowed range relative to training; beyond, the unit must differ

_RANGE_FILE = "tables/band_range.json"

_RANGE_STEP, _RANGE_VERSION = "band range", 2  # increased if the computation changes


def bind(model: ModelHandle | Model, pool: Pool, *, run: Run | None = None) -> Model:
    """Build a model for the bands and the value range of a pool.

    Bands are those given by the user, or all bands if their number matches the model; a subset is
    never guessed. The value range is, in this order: that given by the user; 0 to 255 for uint8
    imagery; that of the training for weights trained on physical values; the 2nd to 98th percentile
    of each band over the pool. It is stored in the spec.

    Args:
        model: A handle; a built model is returned unchanged.
        pool: A pool cut from scenes.
        run: Open run that stores the range, so that it is computed once.

    Raises:
        DataError: The pool has no imagery.
        ParameterError: The bands are required, do not exist or have the wrong number, or a range
            is empty.
    """
    if not isinstance(model, ModelHandle):
        return model
    if not pool.scenes:
        raise DataError(
            "a pool of plain arrays has no pixels to embed",
            "Embedding requires imagery.",
            "Open a pool with open_pool(FOLDER), or provide your own embeddings.",
        )
    available = pool.scenes[0].source.info.bands
    bands = model.bands or tuple(range(1, available + 1))
    if model.channels is not None and len(bands) != model.channels:
        raise ParameterError(
            f"{model} requires {model.channels} bands, "
            + (f"{len(bands)} were given" if model.bands else f"the images have {available}"),
            "Bands are never guessed.",
            f"Add --bands {','.join(str(b) for b in range(1, model.channels + 1))} "
            f"(numbers from 1 to {available}"
            + (", in the order red, green, blue)." if model.channels == 3 else ").")
            if available >= model.channels
            else _fewer(available, model.channels),
        )
    if max(bands) > available or min(bands) < 1:
        raise ParameterError(
            f"bands {','.join(map(str, bands))}",
            f"The images have bands 1 to {available}.",
            _fewer(available, len(bands)) if available < len(bands) else "",
        )
    scale = model.scale
    if scale is None and model.family == FEATURES:
        scale = stored_scale(model, pool.scenes, bands)
    scale = scale or _native_range(model, pool, bands, run) or _kept_range(pool, bands, run)
    if len(scale) == 1:
        scale = scale * len(bands)
    if len(scale) != len(bands):
        raise ParameterError(
            f"{len(scale)} value ranges for {len(bands)} bands",
            "Expected one (low, high), or one per band.",
        )
    if not all(np.isfinite([low, high]).all() and low < high for low, high in scale):
        raise ParameterError(
            f"invalid value ranges {list(scale)}", "A range is (low, high) with low below high."
        )
    return build_model(model, bands, scale)


def _fewer(available: int, channels: int) -> str:
    """Return the hint for images with fewer bands than the model."""
    if available == 1:
        return f"Repeat the band: --bands {','.join(['1'] * channels)}."
    return f"Use images of {channels} bands, or a model of {available} (builtin accepts any)."


def _native_range(
    model: ModelHandle, pool: Pool, bands: tuple[int, ...], run: Run | None
) -> Scale | None:
    """Return the range that the weights were trained with; None for 8-bit imagery.

    Raises:
        ParameterError: The imagery seems to be in another unit, for example reflectance from 0 to
            1 instead of 0 to 10,000.
    """
    native = model.native_scale
    if native is None or pool.scenes[0].source.info.dtype == "uint8" or len(native) != len(bands):
        return None
    found = _kept_range(pool, bands, run)
    trained, largest = _largest(native), _largest(found)
    if not _DIM * trained <= largest <= _BRIGHT * trained:
        raise ParameterError(
            f"values {_written(found)} for {model}, which was trained on values {_written(native)}",
            "The imagery seems to be in another unit.",
            f"Give the values that are mapped to 0 and 1: --scale 0,{largest:.3g}",
        )
    return native


def _largest(scale: Scale) -> float:
    """Return the largest absolute value of a range (ranges in decibels are negative)."""
    return max(abs(value) for pair in scale for value in pair)


def _written(scale: Scale) -> str:
    return f"from {min(low for low, _ in scale):g} to {max(high for _, high in scale):g}"


def band_range(pool: Pool, bands: tuple[int, ...]) -> Scale:
    """Return the value range of each band: 0 to 255 for uint8, else 2nd to 98th percentile.

    Percentiles are computed from at most two million valid pixels of previews of at most 512 px,
    sampled evenly from the scenes with a fixed seed. The sample depends on the pixels and names of
    the scenes only, not on their order.

    Raises:
        DataError: There are no valid pixels.
    """
    if pool.scenes[0].source.info.dtype == "uint8":
        return ((0.0, 255.0),) * len(bands)
    scenes = _sampled(pool.scenes)
    quota = _SAMPLE // len(scenes)
    values = np.concatenate([_draw(scene, bands, quota) for scene in scenes], axis=1)
    if not values.shape[1]:
        raise DataError(
            "the images have no valid pixels, so the value range is undefined",
            "All sampled pixels are nodata.",
            "Check --nodata, or give the range with --scale LOW,HIGH.",
        )
    pairs = (np.percentile(band.astype(np.float64), [2, 98]).tolist() for band in values)
    return tuple((low, high if high > low else low + 1.0) for low, high in pairs)


def _sampled(scenes: tuple[Scene, ...]) -> list[Scene]:
    """Return the scenes to sample: all, or as many as allow `_LEAST` values per scene."""
    most = _SAMPLE // _LEAST
    keys = tie_keys([scene.scene_id for scene in scenes], 0, "embed/range")
    return [scenes[i] for i in np.argsort(keys, kind="stable")[:most]]


def _draw(scene: Scene, bands: tuple[int, ...], quota: int) -> NDArray[Any]:
    """Return (c, m) values of at most `quota` valid pixels in the native dtype."""
    raster = read_small(scene.source, None, bands, _PREVIEW)
    values = raster.data[:, raster.valid]
    if values.shape[1] <= quota:
        return values
    # Random, because a regular step may align with image columns.
    draw = rng(0, f"embed/range/{scene.scene_id}")
    return values[:, draw.choice(values.shape[1], quota, replace=False, shuffle=False)]


def _kept_range(pool: Pool, bands: tuple[int, ...], run: Run | None) -> Scale:
    """Return the value range, computed or stored in the run.

    A run keeps its range while at least half of the scenes that it was computed from are unchanged
    in the pool; otherwise the vectors of old scenes of a growing archive would change.
    """
    if run is None:
        return band_range(pool, bands)
    prints = pool_prints(pool)
    key = digest([_RANGE_VERSION, prints, bands])

    def work() -> list[str]:
        of = [digest(one) for one in prints]
        found = {"bands": bands, "of": of, "range": band_range(pool, bands)}
        write_json(run.path / _RANGE_FILE, found)
        return [_RANGE_FILE]

    kept = pool.scenes[0].source.info.dtype != "uint8" and not run.done(_RANGE_STEP, key)
    if kept and (range_ := _range_of_most(run, prints, bands)):
        logger.info(
            "Using the value range of the scenes that the run started with: %s. Use --scale for "
            "another range, or start a new run.", _written(range_),
        )  # fmt: skip
        return range_
    run.do(_RANGE_STEP, key, work)
    return _as_scale(read_json(run.path / _RANGE_FILE)["range"])


def _range_of_most(run: Run, prints: list[Any], bands: tuple[int, ...]) -> Scale | None:
    """Return the stored range of a run if at least half of its scenes still exist unchanged."""
    if not run.key(_RANGE_STEP) or not (run.path / _RANGE_FILE).is_file():
        return None
    known = read_json(run.path / _RANGE_FILE)
    if not isinstance(known, dict) or tuple(known["bands"]) != bands:
        return None
    still = {digest(one) for one in prints} & set(known["of"])
    return _as_scale(known["range"]) if 2 * len(still) >= len(known["of"]) else None


def _as_scale(pairs: Any) -> Scale:
    return tuple((low, high) for low, high in pairs)


def embed(
    pool: Pool,
    model: ModelHandle | Embeds,
    *,
    run: str | Path | Run | None = None,
    tokens: bool = False,
    batch_size: int = 32,
    workers: int = 1,
    on_error: OnError = "stop",
    progress: ProgressFn | bool | None = None,
) -> Embeddings:
    """Embed every tile of a pool.

    Invalid pixels are filled with the mean of the valid pixels of their band before a tile is
    passed to the model, so that nodata has no texture.

    Args:
        pool: A pool cut from scenes.
        model: From `load_model` or `from_callable`.
        run: Run directory (new, empty, or an earlier run) for the shards, or a `Run` open for
            writing: an interrupted embedding resumes, a complete one is not repeated, only new
            scenes of a grown pool are embedded, and jobs in the same directory reuse it. None
            keeps everything in memory.
        tokens: Whether to store the tokens of each tile instead of one vector; with 14 x 14 tokens
            this takes 196 times the space.
        batch_size: Tiles per call of the model; the vectors do not depend on it.
        workers: Number of processes; more than one requires a model that is loaded by name.
        on_error: "stop" at an unreadable scene, or "skip" it: its tiles are missing from the ids, a
            warning states the reason, and the next call retries it.
        progress: Called with ticks; True for bars, False for none, None for bars in a notebook
            or at a prompt.

    Returns:
        (n, d) float16 embeddings in the order of the pool; with `tokens` (n, t, d), t row-major
        over ``spec.grid``.

    Raises:
        ParameterError: Bands are required because the model accepts fewer than the pool has; or
            tiles of several sizes would give several grids of tokens.
        MissingCapabilityError: `tokens` with a model without tokens.
        DataError: A file cannot be read (finished shards are kept in `run`), or no file can.
        StorageError: `run` cannot be written, contains something else, or is in use.
    """
    found = embed_at(
        pool, model, Placement(workers), run=run, tokens=tokens, batch_size=batch_size,
        on_error=on_error, progress=progress,
    )  # fmt: skip
    for scene, reason in found.failed.items():
        logger.warning("The scene %r is skipped: %s", scene, reason)
    return found.embeddings


def embed_at(
    pool: Pool,
    model: ModelHandle | Embeds,
    place: Placement,
    *,
    run: str | Path | Run | None = None,
    tokens: bool = False,
    batch_size: int = 32,
    on_error: OnError = "stop",
    progress: ProgressFn | bool | None = None,
) -> Embedded:
    """Embed every tile of a pool, in processes of this machine or of a cluster; see `embed`.

    Args:
        pool: As for `embed`.
        model: As for `embed`.
        place: Processes that compute the shards.
        run: As for `embed`.
        tokens: As for `embed`.
        batch_size: As for `embed`.
        on_error: As for `embed`.
        progress: As for `embed`.

    Raises:
        PartDone: `place` is restricted to a part of the shards, which is finished.
        FoveateError: As for `embed`.
    """
    if place.elsewhere and not isinstance(model, ModelHandle):
        what = "driver ray" if place.driver == "ray" else f"workers = {place.workers}"
        raise ParameterError(
            f"{what} with a model object",
            "Only models loaded by name can be used in other processes.",
            "Use workers=1.",
        )
    with open_run(run) as opened, watched(progress) as shown:
        bound = need(bind(model, pool, run=opened), "embed", "embedding a pool")
        spec = _token_spec(bound, pool) if tokens else bound.spec
        encoder = functools.partial(
            ShardEncoder, pool, model if place.elsewhere else bound, spec, batch_size,
            on_error == "skip",
        )  # fmt: skip
        next(pool.read([]), None)  # raises for a pool without imagery
        loop = ShardLoop(pool, spec, encoder, place, shown)
        return loop.in_memory() if opened is None else loop.in_run(opened)


def open_run(run: str | Path | Run | None) -> AbstractContextManager[Run | None]:
    """Return a context that opens a run directory, or leaves an open run to its owner."""
    return Run.create(run) if isinstance(run, str | Path) else contextlib.nullcontext(run)


def _token_spec(model: Embeds, pool: Pool) -> EncoderSpec:
    """Return the spec of the stored tokens; their grid is determined with an empty tile.

    Raises:
        MissingCapabilityError: The model has no tokens.
        ParameterError: The grid would differ between tiles.
    """
    spec, token_model = model.spec, need(model, "tokens", "embedding of tokens")
    assert pool.tiles is not None  # noqa: S101  (a bound pool has scenes)
    sizes = {(int(h), int(w)) for h, w in zip(pool.tiles.h, pool.tiles.w, strict=True)}
    if spec.input_size is None and len(sizes) > 1:
        raise ParameterError(
            f"{spec.name} encodes tiles at their native size, and they have {len(sizes)} sizes",
            "The tokens of all tiles must have the same grid.",
            "Set a size with ?size=224, or use the edge 'shift' or 'pad'.",
        )
    tile = np.zeros((1, len(spec.bands), *sizes.pop()), pool.scenes[0].source.info.dtype)
    _, rows, columns, dim = token_model.tokens(tile).shape
    return replace(spec, dim=dim, grid=(rows, columns))
