"""Throughput of embedding, and estimates of the remaining time and size."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from foveate.select.forecast import duration

if TYPE_CHECKING:
    from foveate.run.shards import Receipt

logger = logging.getLogger("foveate")
_MIN_SECONDS = 10.0  # shorter remaining times are not reported
_GIGA = 1e9


class Pace:
    """Logs an estimate of the remaining time and size after the first shard.

    Args:
        tiles: Number of tiles to embed.
        workers: Number of shards computed in parallel.
    """

    def __init__(self, tiles: int, workers: int) -> None:
        self._left, self._workers, self._logged = tiles, workers, False

    def count(self, tiles: int, receipt: Receipt) -> None:
        """Count a shard.

        Args:
            tiles: Number of its tiles.
            receipt: Its receipt.
        """
        self._left -= tiles
        if self._logged or not receipt.tiles:
            return
        self._logged = True
        rate = self._workers * tiles / max(receipt.seconds, 1e-9)
        if self._left / rate < _MIN_SECONDS:
            return
        logger.info(
            "%.3g tiles per second: %s and %.2g GB remaining",
            rate, duration(self._left / rate), self._left * receipt.bytes / receipt.tiles / _GIGA,
        )  # fmt: skip
