"""What every job with a model can state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from foveate.models.load import load_model
from foveate.pool.settings import PoolSettings

if TYPE_CHECKING:
    from foveate.models.base import ModelHandle


class EncodeSettings(PoolSettings):
    """Imagery, and the model that looks at it.

    Attributes:
        model: Model name for `load_model`.
        weights: Local weights.
        scale: ``(low, high)`` of raw values, one for all bands or one each; empty for automatic.
        device: Device of the model.
        workers: Processes that embed.
        batch_size: Tiles per call of the model.
        seed: Seed of everything random.
    """

    model: str = "builtin"
    weights: str | None = None
    scale: list[tuple[float, float]] = Field([])
    device: str = "auto"
    workers: int = Field(1, ge=1)
    batch_size: int = Field(32, ge=1)
    seed: int = 0

    def handle(self) -> ModelHandle:
        """Return the model by name; see `load_model` for what is wrong with a name."""
        return load_model(
            self.model, weights=self.weights, bands=self.bands,
            scale=tuple(self.scale) or None, device=self.device,
        )  # fmt: skip
