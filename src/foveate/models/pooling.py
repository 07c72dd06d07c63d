"""Vectors for land cover: statistics of tokens in addition to the vector of the tile.

The vector of a classifier describes the scene class of a tile, while segmentation depends on local
appearance and its variation. ``?pooling=dense`` in a model name appends the mean and the standard
deviation of the tokens of a tile to its vector.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.models.capabilities import need
from foveate.registry import check_choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

POOLINGS = ("dense",)
OPTION = "pooling"
_TINY = np.float32(1e-12)


def check_pooling(name: str) -> None:
    """Check the name of a pooling; empty for the default of the model.

    Raises:
        ParameterError: No such pooling.
    """
    if name:
        check_choice(OPTION, name, POOLINGS, f"Use ?{OPTION}=dense, or remove the option.")


class DensePooling:
    """A model with concatenated vectors: its vector, and mean and standard deviation of its tokens.

    Each part has norm 1, so that all parts have the same weight in a distance or a cosine.

    Args:
        model: A model with vectors and tokens.

    Raises:
        MissingCapabilityError: The model has no tokens.
    """

    def __init__(self, model: Any) -> None:
        self._model = need(model, "tokens", f"{OPTION}=dense")
        # Tokens are not in the space of these vectors.
        self.token_spec = replace(model.token_spec, space="backbone", pooled=False)
        dim = model.spec.dim + 2 * model.token_spec.dim
        self.spec = replace(model.spec, dim=dim, non_negative=False)

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of the model: (b, gh, gw, d) float32."""
        return self._model.tokens(batch)

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images in native dtype as (b, d) float32."""
        tokens = self._model.tokens(batch)
        parts = [self._model.embed(batch), tokens.mean(axis=(1, 2)), tokens.std(axis=(1, 2))]
        unit = [p / np.maximum(np.linalg.norm(p, axis=1, keepdims=True), _TINY) for p in parts]
        return np.concatenate(unit, axis=1).astype(np.float32)
