"""Limit how often a shard is retried after its worker was lost."""

from __future__ import annotations

import logging
from collections import Counter

from foveate.errors import StorageError

logger = logging.getLogger("foveate")
_MAX_LOST = 3  # lost workers for one shard before the run fails


class Attempts:
    """Count the lost workers for each shard."""

    def __init__(self) -> None:
        self._lost: Counter[int] = Counter()

    def lost(self, shards: list[int], reason: str) -> None:
        """Record that a worker was lost while it processed these shards.

        Raises:
            StorageError: Three workers were lost while processing one of them.
        """
        self._lost.update(shards)
        worst = max(shards, key=lambda shard: self._lost[shard])
        if self._lost[worst] >= _MAX_LOST:
            raise StorageError(
                f"{_MAX_LOST} workers were lost while processing shard {worst}: {reason}",
                "The operating system kills processes if memory runs out.",
                "Use a smaller --batch-size or fewer --workers; finished shards are kept.",
            )
        logger.warning("A worker was lost (%s); its unfinished shards are restarted.", reason)
