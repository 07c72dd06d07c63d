"""Vectors that suit land cover: what lies where in a tile, beside what the tile shows as a whole.

The vector of a classifier says which scene a tile is; a segmenter learns from what its places look
like and how much they differ. ``?pooling=dense`` in the name of a model appends the mean and the
standard deviation of its tokens over the tile to its own vector.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import ParameterError
from foveate.models.capabilities import need
from foveate.registry import suggest

if TYPE_CHECKING:
    from numpy.typing import NDArray

POOLINGS = ("dense",)
OPTION = "pooling"
_TINY = np.float32(1e-12)


def check_pooling(name: str) -> None:
    """Refuse a name that is no pooling.

    Raises:
        ParameterError: No such pooling.
    """
    if name and name not in POOLINGS:
        raise ParameterError(
            f"{OPTION}={name!r}", f"Allowed: {', '.join(POOLINGS)}; without it a model's own.",
            suggest(name, POOLINGS) or f"?{OPTION}=dense",
        )  # fmt: skip


class DensePooling:
    """A model whose vectors have three parts: its own, and mean and spread of its tokens.

    Each part has norm 1, so that each weighs the same in a distance or a cosine.

    Args:
        model: With vectors and tokens.

    Raises:
        MissingCapabilityError: It has no tokens.
    """

    def __init__(self, model: Any) -> None:
        self._model = need(model, "tokens", f"{OPTION}=dense")
        # Tokens have no place in the space of these vectors.
        self.token_spec = replace(model.token_spec, space="backbone", pooled=False)
        dim = model.spec.dim + 2 * model.token_spec.dim
        self.spec = replace(model.spec, dim=dim, non_negative=False)

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of the model: (b, gh, gw, d) float32."""
        return self._model.tokens(batch)

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images of the native dtype: (b, d) float32."""
        tokens = self._model.tokens(batch)
        parts = [self._model.embed(batch), tokens.mean(axis=(1, 2)), tokens.std(axis=(1, 2))]
        unit = [p / np.maximum(np.linalg.norm(p, axis=1, keepdims=True), _TINY) for p in parts]
        return np.concatenate(unit, axis=1).astype(np.float32)
