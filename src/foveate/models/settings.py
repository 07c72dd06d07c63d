"""Fields of jobs with a model, and of jobs with classes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from foveate.errors import ParameterError
from foveate.files import refuse_empty
from foveate.models.answer_head import Length, check_templates
from foveate.models.heads import (
    is_file,
    labels_from,
    labels_of,
    refuse_files,
    templates_from,
)
from foveate.models.load import load_model
from foveate.models.shard_loop import PartDone
from foveate.pool.scan import OnError  # noqa: TC001  (pydantic reads it)
from foveate.pool.settings import PoolJob
from foveate.run import Run
from foveate.run.drivers import DriverName, Placement
from foveate.run.drivers.actors import check_ray
from foveate.run.job import SettingError
from foveate.run.options import Option, PathText, Scale

if TYPE_CHECKING:
    from collections.abc import Callable

    from foveate.models.base import ModelHandle
    from foveate.models.heads import Labels
    from foveate.progress import ProgressFn

ModelName = Annotated[str, Option("Model", metavar="FAMILY[:NAME][@TAG][?key=value]")]
Weights = Annotated[PathText | None, Option("Model")]


class ModelJob(PoolJob):
    """Imagery and a model."""

    model: ModelName = "builtin"
    """Encoder; see foveate models."""
    weights: Weights = None
    """Local weights: .safetensors, .pt; a folder for hf."""
    scale: Annotated[Scale, Option("Model", default="automatic")] = Field([])
    """Raw values for 0 and 1, one pair for all bands or one each."""
    seed: int = 0
    """Random seed."""
    device: str = "auto"
    """Device of the model: auto, cpu, cuda, cuda:N or mps."""
    workers: int = Field(1, ge=1)
    """Number of processes for embedding."""
    batch_size: int = Field(32, ge=1)
    """Tiles per call of the model."""

    def handle(self) -> ModelHandle:
        """Return the handle of the model; see `load_model` for its errors."""
        return load_model(
            self.model, weights=self.weights, bands=self.bands,
            scale=tuple(self.scale) or None, device=self.device,
        )  # fmt: skip


def _labels(given: Any) -> Any:
    """Split comma-separated names; the name of a file is kept and read later."""
    if isinstance(given, str):
        refuse_empty(given, "labels")
    if isinstance(given, str) and not is_file(given):
        return list(labels_from(given))
    return given


_PART = re.compile(r"(\d+)/(\d+)")


def _part(given: Any) -> Any:
    """Validate ``i/n`` or "array"."""
    if not isinstance(given, str):
        return given
    if given.strip() == "array":
        given = _array_part()
    found = _PART.fullmatch(given.strip())
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ParameterError(
            repr(given),
            "Expected i/n, the i-th of n parts with 1 <= i <= n, or array.",
            "For example 3/8.",
        )
    return given.strip()


def _array_part() -> str:
    """Return the part of this task of a SLURM job array, from its environment variables."""
    try:
        first, task, tasks = (
            int(os.environ[f"SLURM_ARRAY_TASK_{n}"]) for n in ("MIN", "ID", "COUNT")
        )
    except (KeyError, ValueError):
        raise ParameterError(
            "'array'",
            "The value requires a task of a SLURM job array, and this process is not one.",
            "Give the part explicitly, for example 3/8.",
        ) from None
    return f"{task - first + 1}/{tasks}"


class SpreadJob(ModelJob):
    """A job whose tiles are embedded by several processes, on one or several machines."""

    shard: Annotated[str | None, BeforeValidator(_part), Option("Model", metavar="i/n|array")] = (
        None
    )
    """Compute every n-th shard, starting with the i-th, and stop; other processes compute the
    others, in parallel or not. array: i and n of the task of a SLURM job array. The same command
    without this option finishes the run."""
    driver: Annotated[DriverName, Option("Model")] = "local"
    """local: processes of this machine; ray: actors of a Ray cluster; see --workers."""
    address: Annotated[
        str, Option("Model", metavar="HOST:PORT", default="a cluster of this machine alone")
    ] = ""  # fmt: skip
    """Ray cluster, with --driver ray; auto: the cluster of this machine."""
    gpus_per_worker: Annotated[float, Option("Model")] = Field(0.0, ge=0, allow_inf_nan=False)
    """GPUs per actor, may be a fraction, with --driver ray."""
    on_error: Annotated[OnError, Option("Input")] = "stop"
    """Handling of unreadable scenes: stop; or skip them, list them at the end, and retry them in
    the next run."""

    def run(
        self, out: str | Path, *, command: str = "",
        report: Callable[[Path], Path] | None = None, progress: ProgressFn | None = None,
    ) -> Run:  # fmt: skip
        """Run the job; with `shard`, compute only the shards of one part.

        See `Job.run` for the arguments.

        Returns:
            The closed run; with `shard`, ``run.part`` has the numbers of finished and remaining
            shards.
        """
        if not self.shard:
            return super().run(out, command=command, report=report, progress=progress)
        ready = self.check()
        job = self.model_copy(update={"shard": None}).model_dump(mode="json")
        with Run.create(out, job=job, command=command, shared=True) as run:
            try:
                self.steps(run, ready, progress)
            except PartDone as part:
                run.part = vars(part)
        if run.part is None:
            raise SettingError(
                "shard", repr(self.shard), "This job has no shards: it embeds nothing.",
                "Remove the option.",
            )  # fmt: skip
        return run

    def placement(self) -> Placement:
        """Return the processes that compute the shards.

        Raises:
            ParameterError: Options of Ray without Ray, or the cluster cannot be reached.
            MissingExtraError: Ray is not installed.
        """
        if self.driver != "ray":
            for name in ("address", "gpus_per_worker"):
                if value := getattr(self, name):
                    raise SettingError(
                        name, repr(value), "The option requires a Ray cluster.", "Add --driver ray."
                    )
        else:
            check_ray(self.address)
        part = _PART.fullmatch(self.shard or "")
        return Placement(
            self.workers, self.driver, self.address, self.gpus_per_worker,
            None if part is None else (int(part[1]), int(part[2])),
        )  # fmt: skip


class ClassJob(ModelJob):
    """Imagery, a model, and classes."""

    renamed: ClassVar[dict[str, str]] = {"labels_file": "labels"}

    labels: Annotated[
        list[str] | dict[str, list[str]] | str,
        BeforeValidator(_labels),
        Option("Input", metavar="NAMES|FILE"),
    ] = Field([])
    """Classes: forest,water,town; or a file (one name per line, or YAML, TOML, JSON: name ->
    names in prompts)."""
    probe: Annotated[PathText | None, Option("Model")] = None
    """File of a linear probe, instead of labels."""
    templates: Annotated[str, Option("Model")] = "rs"
    """Prompt templates: rs, plain, none, ..., a file, or a sentence with {}."""
    prompt: Annotated[str | None, Option("Model", default="asks for one of the labels")] = None
    """Prompt of a generative model; {classes} is replaced by the labels, which are its answers."""
    length: Annotated[Length, Option("Model")] = "mean"
    """Likelihood of a label as an answer: mean or sum over its tokens."""

    def known_labels(self, *, needed: bool = True) -> Labels | None:
        """Return the labels; None for a job with a probe, or without classes.

        Args:
            needed: Whether classes are required.

        Raises:
            ParameterError: Labels and a probe are given, or neither although classes are required,
                or the labels are invalid.
            DataError: The file cannot be read.
        """
        if self.labels and self.probe is not None:
            raise ParameterError(
                "--labels and --probe are both given", "Exactly one of them defines the classes."
            )
        if needed and not self.labels and self.probe is None:
            raise ParameterError(
                "--labels and --probe are missing",
                "Exactly one of them must define the classes.",
                "For example --labels forest,water,town.",
            )
        if isinstance(self.labels, str):
            return labels_from(Path(self.labels))
        refuse_files(self.labels)
        return labels_of(self.labels) if self.labels else None

    def check_texts(self, *, used: bool) -> None:
        """Refuse templates that no text is inserted into.

        Args:
            used: Whether there are labels or a query.

        Raises:
            ParameterError: Templates are given without labels and without a query.
        """
        if not used and self.templates != type(self).model_fields["templates"].default:
            raise ParameterError(
                f"--templates {self.templates!r} without labels",
                "Templates are sentences around labels or a query.",
                "Add --labels forest,water,town, or omit --templates.",
            )

    def check_asked(self, *, answers: bool) -> None:
        """Refuse options that do not apply to the model.

        Args:
            answers: Whether the labels are answers of a generative model.

        Raises:
            ParameterError: Templates for a generative model, or a prompt or length for any other.
        """
        if answers:
            default = type(self).model_fields["templates"].default
            check_templates(templates_from(self.templates), templates_from(default))
        elif self.prompt is not None or self.length != "mean":
            given = "a prompt" if self.prompt is not None else f"length={self.length!r}"
            raise ParameterError(
                f"{given} for a model that does not generate answers",
                "The option requires a generative model without a text encoder.",
                "Use --templates for prompt templates of the labels.",
            )
