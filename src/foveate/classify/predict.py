"""The most likely class of each tile, and the second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.models.heads import Head

_BLOCK = 16384  # rows at a time: with a thousand classes their scores take 64 MB


@dataclass(frozen=True)
class Predictions:
    """What a head makes of n embeddings.

    Attributes:
        names: The C classes.
        first: (n,) int64 number of the most likely class; of equal ones, the first label.
        probability: (n,) float32 of `first`.
        second: (n,) int64 number of the second most likely class; -1 where there is but one.
        second_probability: (n,) float32 of `second`; NaN where there is none.
    """

    names: tuple[str, ...]
    first: NDArray[np.int64]
    probability: NDArray[np.float32]
    second: NDArray[np.int64]
    second_probability: NDArray[np.float32]

    def counts(self) -> NDArray[np.int64]:
        """Return (C,) how many tiles each class is the most likely of."""
        return np.bincount(self.first, minlength=len(self.names))


def predict(x: NDArray[np.floating], head: Head) -> Predictions:
    """Classify embeddings.

    Classes are compared by their scores: probabilities near 1 are equal in float32 where the
    scores are not.

    Args:
        x: (n, d), may be a memory map.
        head: From `text_head` or `fit_probe`.
    """
    starts = range(0, len(x), _BLOCK)
    parts = [_top_two(np.asarray(x[i : i + _BLOCK]), head) for i in starts]
    return Predictions(head.names, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _top_two(
    z: NDArray[np.floating], head: Head
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    logits, chance = head.logits(z), head.probabilities(z)
    rows = np.arange(len(z))
    first = logits.argmax(axis=1)
    if len(head.names) == 1:
        nothing = np.full(len(z), np.nan, np.float32)
        return first, chance[rows, first], np.full(len(z), -1), nothing
    logits[rows, first] = -np.inf
    second = logits.argmax(axis=1)
    return first, chance[rows, first], second, chance[rows, second]
