"""`bind`: a model meets a pool, which decides its bands and the range of raw values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import digest, read_json, write_json
from foveate.models.base import ModelHandle, Scale
from foveate.models.load import FAMILIES
from foveate.pool.preview import read_small
from foveate.seeds import rng, tie_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.models.capabilities import Model
    from foveate.pool.pool import Pool, Scene
    from foveate.run import Run

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
    return FAMILIES.get(model.family).build(model, bands, scale)


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
