"""Time of the full pipeline over the test scenes, the sum of measured parts.

Features are cached with the pairs, so the rows of a table encode nothing. The time of encoding is
measured on a few overviews and tiles, read from their files, with the batch size and device of the
job; the time of networks is measured for each row.
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
    from foveate.observe.training.dataset import TrainingData
    from foveate.observe.training.trial import Trial

_TILES, _OVERVIEWS = 32, 4  # encoded to measure the time
_ONLY_HR = ("full", "sar hr", "predicted:plain-blind")
_SCORED = ("learned", "design", "tau", "patchdrop")


@dataclass(frozen=True)
class Timing:
    """Times of the parts of a pipeline, in seconds.

    Attributes:
        overview: Encoding of an overview.
        tile: Encoding of an HR tile.
        scoring: Sampler on all test scenes.
    """

    overview: float
    tile: float
    scoring: float

    def total(self, condition: Condition, scenes: int, observed: float, completing: float) -> float:
        """Return the seconds of a row.

        Args:
            condition: Condition of the row.
            scenes: Number of test scenes.
            observed: Number of observed tiles.
            completing: Seconds of the networks.
        """
        seconds = observed * self.tile + completing
        if condition.completion not in _ONLY_HR:
            seconds += scenes * self.overview
        if condition.policy.startswith(_SCORED):
            seconds += self.scoring
        return seconds


def measure_timing(trial: Trial, batch: int) -> Timing:
    """Measure the times of the parts of a pipeline on test scenes.

    Args:
        trial: Scenes, encoders and networks.
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
        material: Pairs and encoders.
        rows: Tiles, the first of which are encoded.
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
    """Return the seconds of embedding an overview and an HR tile."""
    overviews, low, tiles, high = _parts(material, rows)
    return _seconds(overviews, low, 1), _seconds(tiles, high, batch)


def _parts(material: TrainingData, rows: NDArray[np.int64]) -> tuple[Any, Any, Any, Any]:
    """Return a few overviews and tiles, each with its encoder."""
    pairs, whole = material.pairs, overview_pool(material.pairs.overviews)
    overviews = whole.take(np.arange(min(_OVERVIEWS, len(whole))))
    low, high = bind(material.handles["lr"], whole), bind(material.handles["hr"], pairs.pool)
    return overviews, low, pairs.pool.take(rows[:_TILES]), high


def _seconds(pool: Any, adapter: Any, batch: int) -> float:
    """Return the seconds per row of a pool, after a warm-up call."""
    embed(pool.take(np.arange(1)), adapter, batch_size=batch)
    start = time.perf_counter()
    embed(pool, adapter, batch_size=batch)
    return (time.perf_counter() - start) / len(pool)
