"""The time of a full pipeline over the test scenes, made of parts that are measured here.

Features are kept with the pairs, so that a row of a table encodes nothing. What encoding takes is
measured on a few overviews and tiles, read from their files as they would be, with the batch and on
the device of the job; what networks take is measured row by row.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.models.embed import bind, embed
from foveate.observe.features import OverviewTokens, TileTokens, overview_pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.bench.observe.observing import Condition
    from foveate.observe.dataset import TrainingData
    from foveate.observe.trial import Trial

_TILES, _OVERVIEWS = 32, 4  # that are encoded to measure the time of one
_ONLY_HR = ("full", "sar hr", "predicted:plain-blind")
_SCORED = ("learned", "design", "tau", "patchdrop")


@dataclass(frozen=True)
class Timing:
    """What the parts of a pipeline take, in seconds.

    Attributes:
        overview: Encoding an overview.
        tile: Encoding an HR tile.
        scoring: The sampler over all test scenes.
    """

    overview: float
    tile: float
    scoring: float

    def total(self, condition: Condition, scenes: int, observed: float, completing: float) -> float:
        """Return the seconds of a row.

        Args:
            condition: The row's.
            scenes: Test scenes.
            observed: Tiles that were observed.
            completing: Seconds of its networks.
        """
        seconds = observed * self.tile + completing
        if condition.completion not in _ONLY_HR:
            seconds += scenes * self.overview
        if condition.policy.startswith(_SCORED):
            seconds += self.scoring
        return seconds


def measure_timing(trial: Trial, batch: int) -> Timing:
    """Measure the parts of a pipeline on test scenes.

    Args:
        trial: The scenes, the encoders and the networks.
        batch: Tiles per call of the HR encoder.
    """
    overview, tile = encoding_times(trial.material, trial.rows, batch)
    start = time.perf_counter()
    trial.observer.scores(trial.lr)
    return Timing(overview, tile, time.perf_counter() - start)


def encoding_times(
    material: TrainingData, rows: NDArray[np.int64], batch: int
) -> tuple[float, float]:
    """Return the seconds of encoding an overview and an HR tile to tokens.

    Args:
        material: Has the pairs and the encoders.
        rows: Tiles, of which some are encoded.
        batch: Tiles per call.
    """
    pairs, shape = material.pairs, material.shape
    overviews, low, tiles, high = _parts(material, rows)
    return (
        _seconds(overviews, OverviewTokens(low, pairs.shape, shape.lr_side), 1),
        _seconds(tiles, TileTokens(high, shape.hr_side), batch),
    )


def embedding_times(
    material: TrainingData, rows: NDArray[np.int64], batch: int
) -> tuple[float, float]:
    """Return the seconds of embedding an overview and an HR tile, each as a whole."""
    overviews, low, tiles, high = _parts(material, rows)
    return _seconds(overviews, low, 1), _seconds(tiles, high, batch)


def _parts(material: TrainingData, rows: NDArray[np.int64]) -> tuple[Any, Any, Any, Any]:
    """Return a few overviews and tiles, each with its encoder."""
    pairs, whole = material.pairs, overview_pool(material.pairs)
    overviews = whole.take(np.arange(min(_OVERVIEWS, len(whole))))
    low, high = bind(material.handles["lr"], whole), bind(material.handles["hr"], pairs.pool)
    return overviews, low, pairs.pool.take(rows[:_TILES]), high


def _seconds(pool: Any, adapter: Any, batch: int) -> float:
    """Return the seconds of a row of a pool; the first call, which loads what it needs, is free."""
    embed(pool.take(np.arange(1)), adapter, batch_size=batch)
    start = time.perf_counter()
    embed(pool, adapter, batch_size=batch)
    return (time.perf_counter() - start) / len(pool)
