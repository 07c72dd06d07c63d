"""Fields of every job with a model, and of those with classes to tell apart."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from foveate.errors import ParameterError
from foveate.files import refuse_empty
from foveate.models.answer_head import Length, check_templates
from foveate.models.heads import is_file, labels_from, labels_of, templates_from
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


_PART = re.compile(r"(\d+)/(\d+)")


def _part(given: Any) -> Any:
    """Read ``i/n``."""
    if not isinstance(given, str):
        return given
    if given.strip() == "array":
        given = _of_array()
    found = _PART.fullmatch(given.strip())
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ParameterError(
            repr(given),
            "The form is i/n, the i-th of n parts: 1/n to n/n; or array.",
            "For example 3/8.",
        )
    return given.strip()


def _of_array() -> str:
    """Return the part of this task of a job array, by what SLURM says of it."""
    try:
        first, task, tasks = (
            int(os.environ[f"SLURM_ARRAY_TASK_{n}"]) for n in ("MIN", "ID", "COUNT")
        )
    except (KeyError, ValueError):
        raise ParameterError(
            "'array'", "It is for a task of a SLURM array, and this is none.", "State it: 3/8."
        ) from None
    return f"{task - first + 1}/{tasks}"


class SpreadJob(ModelJob):
    """A job whose tiles are embedded by many processes, of one machine or of many."""

    shard: Annotated[str | None, BeforeValidator(_part), Option("Model", metavar="i/n|array")] = (
        None
    )
    """Make every n-th shard from the i-th on and stop; other processes make the rest, at the same
    time or not; array: as the tasks of a SLURM array are counted. The same command without it
    finishes the run."""
    driver: Annotated[DriverName, Option("Model")] = "local"
    """local: processes of this machine; ray: actors of a Ray cluster, as many as --workers."""
    address: Annotated[
        str, Option("Model", metavar="HOST:PORT", default="a cluster of this machine alone")
    ] = ""  # fmt: skip
    """Ray cluster to use, with --driver ray; auto: the one that this machine belongs to."""
    gpus_per_worker: Annotated[float, Option("Model")] = Field(0.0, ge=0, allow_inf_nan=False)
    """GPUs of each actor, or a share of one, with --driver ray."""
    on_error: Annotated[OnError, Option("Input")] = "stop"
    """What to do with a scene that cannot be read: stop; or skip it, list it at the end, and try
    it again the next time."""

    def run(
        self, out: str | Path, *, command: str = "",
        report: Callable[[Path], Path] | None = None, progress: ProgressFn | None = None,
    ) -> Run:  # fmt: skip
        """Do the job; with `shard` the shards of one part, and no more.

        See `Job.run` for the arguments.

        Returns:
            The closed run; with `shard`, ``run.part`` says what was made and what is left.
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
                "shard", repr(self.shard), "There are no shards to make: nothing is embedded here.",
                "Leave it out.",
            )  # fmt: skip
        return run

    def placement(self) -> Placement:
        """Return where shards are made.

        Raises:
            ParameterError: Settings of Ray without it, or no cluster answers.
            MissingExtraError: Ray is not installed.
        """
        if self.driver != "ray":
            for name in ("address", "gpus_per_worker"):
                if value := getattr(self, name):
                    raise SettingError(
                        name, repr(value), "It is of a Ray cluster.", "Add --driver ray."
                    )
        else:
            check_ray(self.address)
        part = _PART.fullmatch(self.shard or "")
        return Placement(
            self.workers, self.driver, self.address, self.gpus_per_worker,
            None if part is None else (int(part[1]), int(part[2])),
        )  # fmt: skip


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
