"""Fields of every job with a model, and of those with classes to tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from foveate.errors import ParameterError
from foveate.files import refuse_empty
from foveate.models.answer_head import Length, check_templates
from foveate.models.heads import is_file, labels_from, labels_of, templates_from
from foveate.models.load import load_model
from foveate.pool.settings import PoolJob
from foveate.run.options import Option, PathText, Scale

if TYPE_CHECKING:
    from foveate.models.base import ModelHandle
    from foveate.models.heads import Labels

ModelName = Annotated[str, Option("Model", metavar="FAMILY[:NAME][@TAG][?key=value]")]
Weights = Annotated[PathText | None, Option("Model")]


class ModelJob(PoolJob):
    """Imagery, and the model that looks at it."""

    model: ModelName = "builtin"
    """Encoder; see foveate models."""
    weights: Weights = None
    """Local weights: .safetensors, .pt; a folder for hf."""
    scale: Annotated[Scale, Option("Model", default="automatic")] = Field([])
    """Raw values for 0 and 1, one pair for all bands or one each."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "auto"
    """Device of the model: auto, cpu, cuda, cuda:N or mps."""
    workers: int = Field(1, ge=1)
    """Processes that embed."""
    batch_size: int = Field(32, ge=1)
    """Tiles per call of the model."""

    def handle(self) -> ModelHandle:
        """Return the model by name; see `load_model` for what is wrong with a name."""
        return load_model(
            self.model, weights=self.weights, bands=self.bands,
            scale=tuple(self.scale) or None, device=self.device,
        )  # fmt: skip


def _labels(given: Any) -> Any:
    """Read names with commas; a text that names a file stays, and is read when it is needed."""
    if isinstance(given, str):
        refuse_empty(given, "labels")
    if isinstance(given, str) and not is_file(given):
        return list(labels_from(given))
    return given


class ClassJob(ModelJob):
    """Imagery, a model, and the classes that it is asked about."""

    renamed: ClassVar[dict[str, str]] = {"labels_file": "labels"}

    labels: Annotated[
        list[str] | dict[str, list[str]] | str,
        BeforeValidator(_labels),
        Option("Input", metavar="NAMES|FILE"),
    ] = Field([])
    """Classes to tell apart: forest,water,town; or a file (one name a line, or YAML, TOML, JSON:
    name -> what it is called in prompts)."""
    probe: Annotated[PathText | None, Option("Model")] = None
    """File of a linear probe, instead of labels."""
    templates: Annotated[str, Option("Model")] = "rs"
    """Sentences around a name: rs, plain, none, ..., a file, or one sentence with {}."""
    prompt: Annotated[str | None, Option("Model", default="which of the labels it shows")] = None
    """What a generative model is asked; {classes} stands for the labels, its answers."""
    length: Annotated[Length, Option("Model")] = "mean"
    """Likelihood of a label as an answer: mean or sum over its tokens."""

    def known_labels(self, *, needed: bool = True) -> Labels | None:
        """Return the labels; None for a job with a probe, or without classes.

        Args:
            needed: Whether there have to be classes.

        Raises:
            ParameterError: Labels and a probe are given, or neither where classes are needed, or
                the labels cannot be used.
            DataError: The file cannot be read.
        """
        if self.labels and self.probe is not None:
            raise ParameterError(
                "--labels and --probe together", "Classes come from one of --labels and --probe."
            )
        if needed and not self.labels and self.probe is None:
            raise ParameterError(
                "no labels and no probe",
                "Classes come from one of --labels and --probe.",
                "For example --labels forest,water,town.",
            )
        if isinstance(self.labels, str):
            return labels_from(Path(self.labels))
        return labels_of(self.labels) if self.labels else None

    def check_asked(self, *, answers: bool) -> None:
        """Refuse settings that the model has no use for.

        Args:
            answers: Whether the labels are answers of a generative model.

        Raises:
            ParameterError: Templates for such a model, or a prompt or length for any other.
        """
        if answers:
            usual = type(self).model_fields["templates"].default
            check_templates(templates_from(self.templates), templates_from(usual))
        elif self.prompt is not None or self.length != "mean":
            given = "a prompt" if self.prompt is not None else f"length={self.length!r}"
            raise ParameterError(
                f"{given} for labels that are no answers",
                "Only a generative model that embeds no text is asked for its labels.",
                "Use --templates for sentences around the labels.",
            )
