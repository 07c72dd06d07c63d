"""The two most likely classes of each tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.models.heads import Head

_BLOCK = 16384  # rows per block; the scores of a thousand classes are 64 MB


@dataclass(frozen=True)
class Predictions:
    """Predictions of a head for n embeddings.

    Attributes:
        names: The C classes.
        first: (n,) int64 number of the most likely class; the first label in case of ties.
        probability: (n,) float32 probability of `first`.
        second: (n,) int64 number of the second most likely class; -1 with a single class.
        second_probability: (n,) float32 probability of `second`; NaN with a single class.
    """

    names: tuple[str, ...]
    first: NDArray[np.int64]
    probability: NDArray[np.float32]
    second: NDArray[np.int64]
    second_probability: NDArray[np.float32]

    def counts(self) -> NDArray[np.int64]:
        """Return the (C,) number of tiles predicted as each class."""
        return np.bincount(self.first, minlength=len(self.names))


def predict(x: NDArray[np.floating], head: Head) -> Predictions:
    """Classify embeddings.

    Classes are compared by their logits, since probabilities near 1 can be equal in float32.

    Args:
        x: (n, d) embeddings, possibly a memory map.
        head: From `text_head` or `fit_probe`.
    """
    starts = range(0, len(x), _BLOCK)
    parts = [_top_two(np.asarray(x[i : i + _BLOCK]), head) for i in starts]
    return Predictions(head.names, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _top_two(
    z: NDArray[np.floating], head: Head
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    logits, probabilities = head.logits(z), head.probabilities(z)
    rows = np.arange(len(z))
    first = logits.argmax(axis=1)
    if len(head.names) == 1:
        nan = np.full(len(z), np.nan, np.float32)
        return first, probabilities[rows, first], np.full(len(z), -1), nan
    logits[rows, first] = -np.inf
    second = logits.argmax(axis=1)
    return first, probabilities[rows, first], second, probabilities[rows, second]
