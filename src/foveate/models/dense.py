"""Dense features for probes: tokens of the model, or statistics of cells."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from foveate.errors import ParameterError
from foveate.models.capabilities import capabilities
from foveate.models.cells import CellStatistics
from foveate.models.embed import bind, embed_at, open_run
from foveate.models.families.timm import TOKEN_STRIDE
from foveate.run.drivers import Placement

if TYPE_CHECKING:
    from pathlib import Path

    from foveate.embeddings import Embeddings
    from foveate.models.base import ModelHandle
    from foveate.models.shard_loop import Embedded
    from foveate.pool.pool import Pool
    from foveate.pool.scan import OnError
    from foveate.progress import ProgressFn
    from foveate.run import Run

logger = logging.getLogger("foveate")

STRIDE = 8  # stride of tokens of a backbone with stages, pixels of the network input
WITHOUT = (
    "%s has no dense features: the probe uses statistics of cells of 8 pixels instead. "
    "A pretrained backbone is more accurate: --model timm:resnet18."
)


def dense_features(
    pool: Pool,
    model: ModelHandle,
    *,
    run: str | Path | Run | None = None,
    batch_size: int = 32,
    workers: int = 1,
    progress: ProgressFn | bool | None = None,
) -> Embeddings:
    """Return features of the cells of all tiles.

    Args:
        pool: The tiles.
        model: From `load_model`; for a timm backbone with stages, all stages are used at the native
            size of tiles (``?size=native&token_stride=8``).
        run: As for `embed`.
        batch_size: As for `embed`.
        workers: As for `embed`.
        progress: As for `embed`.

    Returns:
        (n, t, d) float16 tokens in the order of the pool; ``spec.grid`` is their grid. For a model
        without tokens, those of `CellStatistics`, with a warning.

    Raises:
        ParameterError: Tiles of several sizes would give several grids.
    """
    with open_run(run) as opened:
        return dense_at(
            pool, model, Placement(workers), run=opened, batch_size=batch_size, progress=progress
        ).embeddings


def dense_at(
    pool: Pool, handle: ModelHandle, place: Placement, *, run: Run | None = None,
    batch_size: int = 32, on_error: OnError = "stop", progress: ProgressFn | bool | None = None,
) -> Embedded:  # fmt: skip
    """Return features of the cells of all tiles, and which scenes could not be read.

    Args:
        pool: As for `dense_features`.
        handle: The model, as for `dense_features`.
        place: Processes in which shards are computed; those of `CellStatistics` in this one.
        run: Run, open for writing, to store the features in; None keeps them in memory.
        batch_size: As for `dense_features`.
        on_error: As for `embed`.
        progress: As for `dense_features`.

    Raises:
        PartDone: `place` is a part of the shards, and it is complete.
        ParameterError: As for `dense_features`.
    """
    model = finer(handle, pool, run)
    given: ModelHandle | CellStatistics
    if model is not None:
        given = model
    else:
        logger.warning(WITHOUT, handle)
        spec = bind(handle, pool, run=run).spec
        given = CellStatistics(spec.bands, spec.scale or ((0.0, 255.0),) * len(spec.bands))
        place = Placement(part=place.part)
    return embed_at(
        pool, given, place, run=run, tokens=True, batch_size=batch_size, on_error=on_error,
        progress=progress,
    )  # fmt: skip


def finer(handle: ModelHandle, pool: Pool, run: Run | None = None) -> ModelHandle | None:
    """Return the handle of the model with its finest tokens; None for a model without tokens."""
    if handle.family == "timm" and TOKEN_STRIDE not in handle.options:
        options = {"size": "native", **handle.options, TOKEN_STRIDE: STRIDE}
        staged = replace(handle, options=options)
        try:
            bind(staged, pool, run=run)
        except ParameterError:  # no stages: transformers have the tokens of the last layer
            pass
        else:
            return staged
    return handle if "tokens" in capabilities(bind(handle, pool, run=run)) else None
