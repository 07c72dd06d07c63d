"""Shards whose worker was lost are tried again, and not for ever."""

from __future__ import annotations

import logging
from collections import Counter

from foveate.errors import StorageError

logger = logging.getLogger("foveate")
_MOST = 3  # workers that one shard may cost


class Attempts:
    """Counts the workers that were lost over each shard."""

    def __init__(self) -> None:
        self._lost: Counter[int] = Counter()

    def lost(self, shards: list[int], why: str) -> None:
        """Note that a worker was lost while it had these shards.

        Raises:
            StorageError: One of them has cost too many workers already.
        """
        self._lost.update(shards)
        worst = max(shards, key=lambda shard: self._lost[shard])
        if self._lost[worst] >= _MOST:
            raise StorageError(
                f"{_MOST} workers were lost over the shard {worst}: {why}",
                "The system ends processes that need more memory than there is.",
                "Use a smaller --batch-size or fewer --workers; finished shards are kept.",
            )
        logger.warning("A worker was lost (%s); what it had begun is begun again.", why)
