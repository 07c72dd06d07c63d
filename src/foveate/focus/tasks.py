"""What is done with an image: a task is prepared once and looks at image after image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from foveate.errors import MissingCapabilityError, ParameterError
from foveate.files import fingerprint
from foveate.focus.asking import ask_allowance, ask_image, of_asking
from foveate.focus.eye import standard_lens
from foveate.focus.inquiry import check_choice, need_answers
from foveate.focus.looking import look_allowance, look_at
from foveate.focus.memory import KEPT, Memory
from foveate.focus.outcome import Outcome, of_look
from foveate.focus.question import Asked, pose
from foveate.focus.segmenting import check_choice as check_masks
from foveate.focus.segmenting import of_segmenting, segment_allowance, segment_image
from foveate.models.base import parse_name
from foveate.models.binding import bind
from foveate.models.capabilities import need, who_can
from foveate.models.heads.probe import Probe
from foveate.models.heads.prompts import templates_from
from foveate.models.load import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from foveate.focus.allowance import Allowance
    from foveate.focus.settings import AskJob, FocusJob, LookJob, SegmentJob
    from foveate.models.capabilities import Model
    from foveate.pool.pool import Pool, Scene
    from foveate.run import Run


class Task(Protocol):
    """One of look, ask and segment."""

    def prepare(self, model: Model, pool: Pool, run: Run) -> None:
        """Take the bound model; refuse one that cannot do it.

        Raises:
            MissingCapabilityError: It cannot.
        """
        ...

    def prints(self) -> Any:
        """Return what the result depends on besides job, pixels and model, JSON-ready."""
        ...

    def allowance(self, scene: Scene) -> Allowance:
        """Return what looking at an image may cost."""
        ...

    def instead(self) -> str:
        """Return the command that shows the model all of an image; "" where there is none."""
        ...

    def look(self, scene: Scene, path: Path) -> Outcome:
        """Look at one image; `path` is the run directory."""
        ...


class LookTask:
    """``focus look``: classes or a query, and a model that embeds.

    Args:
        job: The job; checked here as far as that is possible without the model.

    Raises:
        ParameterError: Labels that cannot be used.
        DataError: A file that cannot be read.
    """

    def __init__(self, job: LookJob) -> None:
        self._job = job
        self._plan = job.plan()
        self._labels = job.known_labels(needed=False)
        self._templates = templates_from(job.templates)
        self._probe = Probe.load(job.probe) if job.probe is not None else None
        if self._labels is not None and len(self._labels) == 1 and not job.query.strip():
            raise ParameterError(
                f"the one label {next(iter(self._labels))!r}",
                "Labels are compared with each other: one alone always wins.",
                "Add another, or look for it: --goal query --query TEXT.",
            )

    def prepare(self, model: Model, pool: Pool, run: Run) -> None:  # noqa: ARG002
        """See `Task.prepare`."""
        self._model = need(model, "embed", "foveate focus look")
        self._asked = pose(
            model, labels=self._labels, head=self._probe, query=self._job.query,
            templates=self._templates,
        )  # fmt: skip

    def prints(self) -> Any:
        """See `Task.prints`."""
        files = (self._job.labels_file, self._job.probe)
        prints = [fingerprint(file) for file in files if file is not None]
        return [*prints, list(self._templates)]

    def allowance(self, scene: Scene) -> Allowance:
        """See `Task.allowance`."""
        return look_allowance(scene.source.info.shape, self._model, self._plan)

    def instead(self) -> str:
        """See `Task.instead`."""
        command = "embed" if self._asked.head is None else "classify"
        return f"foveate {command} --tile {self._plan.crop_side(standard_lens(self._model).shape)}"

    def look(self, scene: Scene, path: Path) -> Outcome:
        """See `Task.look`."""
        info = scene.source.info
        memory = remember(path, scene, self._model, self._job)
        try:
            found = look_at(
                scene.source, self._model, self._asked, self._plan, scene=scene.scene_id,
                memory=memory,
            )  # fmt: skip
        finally:
            memory.save()  # a look that is stopped has seen something, too
        return of_look(found, scene.scene_id, info)


class AskTask:
    """``focus ask``: a question in words, and a model that answers.

    Args:
        job: The job; checked here as far as that is possible without the model.

    Raises:
        FoveateError: A goal, mode or classes that cannot serve, or a selector that is no model.
    """

    def __init__(self, job: AskJob) -> None:
        _need_able(job, "answers", "hf:Qwen/Qwen2-VL-2B-Instruct", "ask_image(...)")
        _no_classes(job)
        self._job = job
        self._plan, self._inquiry = job.plan(), job.inquiry()
        self._handle = job.selector_handle()
        check_choice(self._inquiry, self._plan, self._handle is not None)

    def prepare(self, model: Model, pool: Pool, run: Run) -> None:
        """See `Task.prepare`."""
        need_answers(model, self._handle is not None)
        self._model, self._selector, self._asked = model, None, Asked()
        if self._handle is not None:
            selector = bind(self._handle, pool, run=run)
            self._selector = need(selector, "embed", "the selector of foveate focus ask")
            self._asked = pose(selector, query=self._inquiry.query, templates=self._job.templates)

    def prints(self) -> Any:
        """See `Task.prints`."""
        return None if self._selector is None else self._selector.spec.to_dict()

    def allowance(self, scene: Scene) -> Allowance:
        """See `Task.allowance`."""
        return ask_allowance(
            scene.source, self._model, self._inquiry, self._plan, selector=self._selector
        )

    def instead(self) -> str:
        """See `Task.instead`."""
        return ""

    def look(self, scene: Scene, path: Path) -> Outcome:
        """See `Task.look`."""
        memory = None
        if self._selector is not None:
            memory = remember(path, scene, self._selector, self._job)
        try:
            done = ask_image(
                scene.source, self._model, self._inquiry, self._plan, selector=self._selector,
                asked=self._asked, scene=scene.scene_id, memory=memory,
            )  # fmt: skip
        finally:
            if memory is not None:
                memory.save()
        return of_asking(done, scene.scene_id, scene.source.info)


class SegmentTask:
    """``focus segment``: a model that gives masks for boxes.

    Args:
        job: The job; checked here as far as that is possible without the model.

    Raises:
        FoveateError: A goal, mode or classes that cannot serve.
    """

    def __init__(self, job: SegmentJob) -> None:
        _need_able(job, "masks", "hf:facebook/sam-vit-base", "segment_image(...)")
        _no_classes(job)
        self._plan = job.plan()
        check_masks(self._plan)

    def prepare(self, model: Model, pool: Pool, run: Run) -> None:  # noqa: ARG002
        """See `Task.prepare`."""
        self._model = need(model, "masks", "foveate focus segment")

    def prints(self) -> Any:
        """See `Task.prints`."""
        return None

    def allowance(self, scene: Scene) -> Allowance:
        """See `Task.allowance`."""
        return segment_allowance(scene.source.info.shape, self._model, self._plan)

    def instead(self) -> str:
        """See `Task.instead`."""
        return ""

    def look(self, scene: Scene, path: Path) -> Outcome:  # noqa: ARG002
        """See `Task.look`."""
        done = segment_image(scene.source, self._model, self._plan, scene=scene.scene_id)
        return of_segmenting(done, scene.scene_id, scene.source.info)


def _need_able(job: AskJob | SegmentJob, capability: str, example: str, function: str) -> None:
    """Refuse a job without a model, or with a family none of whose models can do it.

    Before any image is opened: what can never work need not be tried.

    Raises:
        ParameterError: No model.
        MissingCapabilityError: Another family.
    """
    family = parse_name(job.model).family if job.model.strip() else ""
    if family in _ABLE:
        return
    what = f"foveate focus {job.task}"
    can = f"{who_can(capability)} The latter in Python: {function}."
    hint = f"Type --model {example}, or --model hf:ORG/NAME with --weights FOLDER."
    if not family:
        raise ParameterError(f"{what} without a model", can, hint)
    if family in FAMILIES:
        raise MissingCapabilityError(
            f"{job.model} has no {capability!r}, which {what} needs", can, hint
        )


def _no_classes(job: FocusJob) -> None:
    """Refuse classes where there is nothing to do with them.

    Raises:
        ParameterError: There are some.
    """
    if job.labels or job.labels_file is not None or job.probe is not None:
        raise ParameterError(
            f"classes for foveate focus {job.task}",
            "Only foveate focus look compares regions with classes.",
            "Leave labels, labels_file and probe out.",
        )


def remember(path: Path, scene: Scene, model: Model, job: FocusJob) -> Memory:
    """Open what a run remembers of an image under a model."""
    info = scene.source.info
    return Memory.open(
        path / "embeddings" / "looks", KEPT, info.fingerprint, info.nodata, model.spec.to_dict(),
        job.seed,
    )  # fmt: skip


_ABLE = ("hf",)  # families with models that answer, and with models that make masks

TASKS: dict[str, Callable[[Any], Task]] = {
    "look": LookTask,
    "ask": AskTask,
    "segment": SegmentTask,
}
