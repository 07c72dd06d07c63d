"""What every job with a model can state, and what those with classes can."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from foveate.errors import ParameterError
from foveate.models.heads.prompts import labels_from, labels_of
from foveate.models.load import load_model
from foveate.pool.settings import PathText, PoolSettings

if TYPE_CHECKING:
    from foveate.models.base import ModelHandle
    from foveate.models.heads.prompts import Labels


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
    weights: PathText | None = None
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


class ClassSettings(EncodeSettings):
    """Imagery, a model, and the classes that it is asked about.

    Attributes:
        labels: Names of the classes, or name -> what the class is called in prompts.
        labels_file: File with the same; see `foveate.models.heads.prompts.labels_from`.
        probe: File of a linear probe, in the place of labels.
        templates: Sentences around a name; see `foveate.models.heads.prompts.templates_from`.
    """

    labels: list[str] | dict[str, list[str]] = Field([])
    labels_file: PathText | None = None
    probe: PathText | None = None
    templates: str = "rs"

    def known_labels(self, *, needed: bool = True) -> Labels | None:
        """Return the labels; None for a job with a probe, or without classes.

        Args:
            needed: Whether there have to be classes.

        Raises:
            ParameterError: More than one of labels, file and probe is given, or none where
                classes are needed, or the labels cannot be used.
            DataError: The file cannot be read.
        """
        given = {
            "--labels": bool(self.labels),
            "--labels-file": self.labels_file is not None,
            "--probe": self.probe is not None,
        }
        stated = [name for name, there in given.items() if there]
        if len(stated) > 1 or (needed and not stated):
            raise ParameterError(
                f"{' and '.join(stated)} together" if stated else "no labels and no probe",
                "Classes come from one of --labels, --labels-file and --probe.",
                "" if stated else "For example --labels forest,water,town.",
            )
        if self.labels:
            return labels_of(self.labels)
        return labels_from(Path(self.labels_file)) if self.labels_file is not None else None
