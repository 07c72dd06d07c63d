"""How fast shards are made, and what is still to come."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from foveate.select.forecast import duration

if TYPE_CHECKING:
    from foveate.run.shards import Receipt

logger = logging.getLogger("foveate")
_SPEAK_UP = 10.0  # seconds to come that are worth a line
_GIGA = 1e9


class Pace:
    """Says after the first shard how long the rest will take, and how much it will write.

    Args:
        tiles: Tiles that are to be embedded.
        workers: How many make shards at a time.
    """

    def __init__(self, tiles: int, workers: int) -> None:
        self._left, self._workers, self._said = tiles, workers, False

    def count(self, tiles: int, receipt: Receipt) -> None:
        """Count a shard.

        Args:
            tiles: Tiles that it stands for.
            receipt: Its receipt.
        """
        self._left -= tiles
        if self._said or not receipt.tiles:
            return
        self._said = True
        rate = self._workers * tiles / max(receipt.seconds, 1e-9)
        if self._left / rate < _SPEAK_UP:
            return
        logger.info(
            "%.3g tiles per second: %s and %.2g GB to come",
            rate, duration(self._left / rate), self._left * receipt.bytes / receipt.tiles / _GIGA,
        )  # fmt: skip
