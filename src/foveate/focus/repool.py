"""Mode "feature" for models whose tokens do not average to the embedding: CLIP and SigLIP.

The attention pooling of the overview is repeated with the keys of a cell alone, of a set of cells,
or of the image without them. It takes no further pass, and for all cells it equals the embedding.
The mean of such tokens is not a valid input of the head (its leave-out losses are not even
correlated with the exact ones); repeated pooling equals the model with masked keys. The context
that a token received from other cells in earlier layers remains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.focus.partition import membership, windows_of
from foveate.focus.strategies import (
    CellFeatures,
    FeatureStrategy,
    check_tokens,
    small_view,
    token_validity,
)
from foveate.grid import Window
from foveate.models.capabilities import GivesTokens, PoolsParts
from foveate.models.heads import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.focus.encode import CropEncoder, SizedEncoder
    from foveate.grid import Tiles
    from foveate.models.capabilities import TokenSums


class RepoolStrategy(FeatureStrategy):
    """Cells pooled separately by the model from the tokens of one overview.

    Args:
        encoder: Encoder of the image, with a model that pools parts.
        sums: Per-token terms of the overview.
        branch: Children of a cell per side.
        robust: Whether to compute the robustness.

    Raises:
        BudgetError: The passes do not cover the second view.
    """

    removal = "keys masked in the attention pooling of one overview"

    def __init__(self, encoder: CropEncoder, sums: TokenSums, branch: int, *, robust: bool) -> None:
        super().__init__(encoder, sums.values, branch, robust=False)
        self._overview = _View(encoder, sums, encoder.standard)
        self.pool = self._overview.pool
        self._again: _View | None = None
        if robust:
            sized, whole = small_view(encoder), Window(0, 0, *self._shape)
            again = encoder.token_sums(whole, sized, disturbed=True)
            self._again = _View(encoder, again, sized)

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Pool the tokens of each cell, weighted by the share of the token in the cell."""
        sums = self._overview.sums(tiles)
        x = self._overview.pool(sums)
        shift = None
        if self._again is not None:
            moved = self._again.pool(self._again.sums(tiles))
            shift = np.linalg.norm(unit(x) - unit(moved), axis=1).astype(np.float64)
        scale = np.zeros(len(tiles), np.int64)
        return CellFeatures(x, tuple(windows_of(tiles)), scale, shift, sums)


class _View:
    """One view of the image, with the per-token terms of its pooling."""

    def __init__(self, encoder: CropEncoder, sums: TokenSums, sized: SizedEncoder) -> None:
        self._of, self._model, self._shape = sums, sized.model, encoder.source.info.shape
        grid = sums.terms.shape[:2]
        pixels = self._shape[0] * self._shape[1] / (grid[0] * grid[1])
        self._kept = token_validity(encoder, grid) / pixels
        self._terms = sums.terms.reshape(-1, sums.terms.shape[2]).astype(np.float64)
        self._pooled: dict[bytes, NDArray[np.float32]] = {}

    def sums(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return the sums of the terms over the tokens of each cell: (n, q)."""
        share = membership(tiles, self._shape, self._kept.shape) * self._kept
        return share.reshape(len(tiles), -1) @ self._terms

    def pool(self, sums: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the features of sets of cells: (m, q) sums to (m, d).

        Results are cached, because the same sets occur often: the image, the selected set, and
        each pair of neighbours twice.
        """
        keys = [row.tobytes() for row in sums.astype(np.float32)]
        todo = {key: i for i, key in enumerate(keys) if key not in self._pooled}
        if todo:
            rows = sums[list(todo.values())] + self._of.always
            self._pooled.update(zip(todo, self._model.pool_sums(rows, self._of), strict=True))
        return np.stack([self._pooled[key] for key in keys])


def pooled_overview(encoder: CropEncoder, sums: TokenSums) -> NDArray[np.float32]:
    """Return the embedding of the image from the sums over all of its tokens: (d,) float32."""
    total = sums.terms.sum(axis=(0, 1), dtype=np.float64) + sums.always
    model: Any = encoder.model
    return model.pool_sums(total[None], sums)[0]


def pools_apart(model: object) -> bool:
    """Return whether the model pools cells of an overview, instead of averaging its tokens."""
    capable = isinstance(model, PoolsParts) and isinstance(model, GivesTokens)
    return capable and not model.token_spec.pooled


def check_overview(model: object, *, classes: bool) -> None:
    """Check that the model gives features for the cells of one overview.

    Raises:
        MissingCapabilityError: The model has no tokens, or they are in another space than its
            classes and it does not pool parts of an image.
    """
    if not pools_apart(model):
        check_tokens(model, classes=classes)
