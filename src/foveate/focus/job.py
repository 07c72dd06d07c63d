"""The focus jobs: look, ask and segment. Each image is a step of the run.

The run stores the features of windows: another goal, query or budget costs new passes only, and
running the same job again does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from foveate.budget import Budget
from foveate.errors import (
    BudgetError,
    DataError,
    MissingCapabilityError,
    ParameterError,
)
from foveate.files import digest, fingerprint
from foveate.focus import store
from foveate.focus.ask import ask_allowance, ask_image
from foveate.focus.config import (
    FocusConfig,
    Goal,
    Mode,
    Neighbours,
    Partition,
    SearchConfig,
    SearchMethod,
    check_query,
    find_goal,
)
from foveate.focus.encode import standard_encoder
from foveate.focus.feature_cache import image_features
from foveate.focus.learned import LearnedScorer, find_scorer
from foveate.focus.look import look_allowance, look_at
from foveate.focus.prompt_layout import Feed  # noqa: TC001  (pydantic reads it)
from foveate.focus.question import FocusQuestion, asked_model, make_question
from foveate.focus.segment import (
    check_segment_config,
    segment_allowance,
    segment_image,
)
from foveate.focus.steps import announce, image_keys, name_image_in_errors, save_scenes
from foveate.focus.vlm import Inquiry, check_vlm, check_vlm_config
from foveate.models.base import parse_name
from foveate.models.capabilities import need, who_can
from foveate.models.embed import bind
from foveate.models.heads import templates_from
from foveate.models.load import FAMILIES, load_model
from foveate.models.probe import Probe
from foveate.models.settings import ClassJob, ModelName
from foveate.pool.find import need_paths
from foveate.pool.scan import OnError  # noqa: TC001  (pydantic reads it)
from foveate.pool.step import opened_pool
from foveate.progress import Meter
from foveate.run.options import Option, PathText, assignments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from foveate.focus.allowance import Allowance
    from foveate.focus.results import StoredResult
    from foveate.models.base import ModelHandle
    from foveate.models.heads import Labels
    from foveate.pool.pool import Pool, Scene
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 3  # incremented when the results of the same job change
_CAPABLE_FAMILIES = ("hf",)  # families with models that generate answers or predict masks


class Task(NamedTuple):
    """Functions that process the images of a run.

    Attributes:
        state: Dependencies of the results besides job, pixels and model, JSON-ready.
        allowance: Returns the limits of an image.
        process: Processes an image.
        tiling: Command that encodes all of an image; "" if there is none.
    """

    state: Any
    allowance: Callable[[Scene], Allowance]
    process: Callable[[Scene], StoredResult]
    tiling: str = ""


class _Ready(NamedTuple):
    """Checked inputs of a job: configuration, inputs of the task, model and images."""

    config: FocusConfig
    inputs: Any
    handle: ModelHandle
    pool: Pool


def _options(given: Any) -> Any:
    return assignments(given, example="synergy=paper")


class FocusJob(ClassJob):
    """Options of all focus jobs. Images of any size are processed one by one."""

    task: ClassVar[str]
    # Images are not tiled, have no masks and are processed by this process alone.
    absent = frozenset({
        "masks", "mask_suffix", "classes", "min_labelled", "skip_empty", "coordinates", "tile",
        "stride", "edge", "workers",
    })  # fmt: skip
    tile: None = None
    goal: Annotated[str, Option("Method", default="query with a query, else balanced")] = ""
    """balanced, rare, dominant, query or paper."""
    query: Annotated[str, Option("Method")] = ""
    """Text to search for: "storage tank". Implies the goal query."""
    mode: Annotated[Mode, Option("Method")] = "zoom"
    """zoom: native-resolution crops; window: small cells; feature: one overview."""
    regions: Annotated[int, Option("Method")] = Field(8, ge=1)
    """Maximum number of selected regions."""
    passes: Annotated[
        float | None, Option("Method", default="a third of the passes of tiling, at least 24")
    ] = None
    """Maximum number of model passes for an image; 0: no limit."""
    area: Annotated[str | None, Option("Method", default="no limit", metavar="10%")] = None
    """Maximum area of the regions, as a share of the valid image: 10%."""
    crop: Annotated[int | None, Option("Method", default="the model's input")] = Field(None, ge=8)
    """Approximate side of a crop, in pixels of the image."""
    cells: Annotated[int, Option("Method")] = Field(4, ge=1)
    """Cells of the first partition along the longer side of an image."""
    partition: Annotated[Partition, Option("Method")] = "uniform"
    """First partition: uniform, or significance (finer where features differ)."""
    search: Annotated[SearchMethod, Option("Method")] = "top"
    """Selection of regions: top, prefix, greedy or importance (sampled)."""
    robust: Annotated[bool | None, Option("Method", default="only where it is cheap")] = None
    """Compute the robustness of regions to a small perturbation."""
    forms: Annotated[
        dict[str, Any], BeforeValidator(_options),
        Option("Method", name="option", metavar="NAME=VALUE", repeated=True),
    ] = Field({})  # fmt: skip
    """Option of the goal (a form or weight): synergy=paper, weights.area=0; repeatable."""
    depth: Annotated[int | None, Option(default="no limit")] = Field(None, ge=0)
    """Maximum level of refinement below the first partition."""
    branch: int = Field(2, ge=2)
    """Children of a cell per side."""
    neighbours: Neighbours = "adjacent"
    """Regions whose synergy is compared: adjacent or all."""
    persist: Annotated[bool | None, Option(default="depends on the mode")] = None
    """Refine until the passes are spent, even if the importance no longer rises."""
    epsilon: float = Field(0.98, gt=0)
    """Threshold of the coreset check, relative loss."""
    one_sided: bool = False
    """A loss below that of the whole image always passes the coreset check."""
    on_error: Annotated[OnError, Option("Input")] = "skip"
    """Handling of images that cannot be processed, such as constant ones: skip them, list them at
    the end, and retry them in the next run; or stop."""

    @model_validator(mode="before")
    @classmethod
    def _complete_goal(cls, given: Any) -> Any:
        if isinstance(given, dict) and not given.get("goal"):
            query = given.get("query")
            has_query = isinstance(query, str) and query.strip()
            return {**given, "goal": "query" if has_query else "balanced"}
        return given

    def goal_with_options(self) -> Goal:
        """Return the goal with its forms and weights.

        Raises:
            UnknownNameError: The goal is unknown.
            ParameterError: A form or weight is unknown, or the goal "query" has no query.
        """
        goal = find_goal(self.goal)
        check_query(goal, self.query)
        prefix = "weights."
        weights = {k.removeprefix(prefix): v for k, v in self.forms.items() if k.startswith(prefix)}
        forms = {k: v for k, v in self.forms.items() if not k.startswith(prefix)}
        return goal.with_options(weights=weights, **forms)

    def config(self) -> FocusConfig:
        """Return the configuration of the looks.

        Raises:
            FoveateError: A goal, form, budget or size is invalid.
        """
        search = SearchConfig(
            regions=self.regions, area=_area_share(self.area), method=self.search,
            neighbours=self.neighbours, epsilon=self.epsilon, one_sided=self.one_sided,
            branch=self.branch, depth=self.depth, persist=self.persist, seed=self.seed,
        )  # fmt: skip
        return FocusConfig(
            self.goal_with_options(), mode=self.mode, search=search, passes=self.passes,
            cells=self.cells, partition=self.partition, crop=self.crop, robust=self.robust,
            min_valid=self.min_valid, batch_size=self.batch_size,
        )  # fmt: skip

    def inputs(self, config: FocusConfig) -> Any:
        """Check the configuration, and return the inputs of the task besides the model."""
        raise NotImplementedError

    def bound_task(self, ready: _Ready, model: Any, run: Run) -> Task:
        """Check the capabilities of the bound model, and return the task."""
        raise NotImplementedError

    def check(self) -> _Ready:
        """Return the configuration, the model and the images; reads headers only."""
        need_paths(self.images, "image")
        config = self.config()
        inputs, handle = self.inputs(config), self.handle()
        pool = opened_pool(self, split=(1, 1), on_error=self.on_error)
        store.check_file_names([scene.scene_id for scene in pool.scenes])
        return _Ready(config, inputs, handle, pool)

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Process each image, then write the table of all regions."""
        pool = ready.pool
        model = bind(ready.handle, pool, run=run)
        task = self.bound_task(ready, model, run)
        keys = image_keys(self, [VERSION, task.state], pool, model)
        todo = [s for s in pool.scenes if not run.done(_step_name(s), keys[s.scene_id])]
        announce({s.scene_id: task.allowance(s) for s in todo}, task.tiling)
        with Meter(progress, f"looking with {model.spec.name}", len(pool.scenes)) as meter:
            pool = pool.without_scenes(self._process(run, pool, task, keys, model.spec, meter))
        save_scenes(run, pool)
        names = [scene.scene_id for scene in pool.scenes]
        about = {"task": self.task, "goal": self.goal, "mode": self.mode}
        done = [[scene.scene_id, run.key(_step_name(scene))] for scene in pool.scenes]
        store.prune(run.path, names)
        run.do(
            "regions", digest([VERSION, done, about]),
            lambda: store.save_regions(run.path, names, about),
        )  # fmt: skip
        return {
            "focus": store.summary([store.load_look(run.path, name) for name in names],
                                     {**about, "query": self.query}),
            "pool": pool.describe(),
            "model": model.spec.to_dict(),
            **({"failed": dict(pool.failed)} if pool.failed else {}),
            "seed": self.seed,
        }  # fmt: skip

    def _process(  # noqa: PLR0917
        self, run: Run, pool: Pool, task: Task, keys: dict[str, str], spec: Any, meter: Meter
    ) -> dict[str, str]:
        """Process each image as a step; return the skipped images and the reasons."""
        failed: dict[str, str] = {}
        many = len(pool.scenes) + len(pool.failed) > 1
        for scene in pool.scenes:

            def work(scene: Any = scene) -> list[str]:
                with name_image_in_errors(scene.scene_id, many=many and self.on_error == "stop"):
                    result = task.process(scene)
                return store.save_look(run.path, result, scene.source, spec.bands)

            try:
                run.do(_step_name(scene), keys[scene.scene_id], work)
            except DataError as error:
                if self.on_error == "stop" or not many:
                    raise
                failed[scene.scene_id] = str(error)
            meter.advance()
        return failed


class LookJob(FocusJob):
    """Select regions of images; report predictions with the regions and from the overview alone."""

    task = "look"
    scorer: Annotated[PathText | None, Option("Model")] = None
    """Trained scorer that predicts the scores instead of computing them; see train-scorer."""

    def inputs(self, config: FocusConfig) -> tuple[Labels | None, tuple[str, ...], Probe | None]:  # noqa: ARG002
        """Return labels, templates and probe; check that the scorer exists."""
        if self.scorer is not None:
            find_scorer(self.scorer)
        labels = self.known_labels(needed=False)
        self.check_texts(used=labels is not None or bool(self.query.strip()))
        if labels is not None and len(labels) == 1 and not self.query.strip():
            raise ParameterError(
                f"one label, {next(iter(labels))!r}",
                "Labels are compared with each other: two or more are required.",
                "Add a label, or search for a text: --goal query --query TEXT.",
            )
        probe = Probe.load(self.probe) if self.probe is not None else None
        return labels, templates_from(self.templates), probe

    def state(self, templates: Sequence[str]) -> list[Any]:
        """Return the dependencies of the classes besides the options: file hashes, templates."""
        files = (self.labels if isinstance(self.labels, str) else None, self.probe)
        return [*(fingerprint(file) for file in files if file is not None), list(templates)]

    def asked(self, ready: _Ready, model: Any) -> tuple[Any, FocusQuestion]:
        """Return the model, or a classifier by its answers, and the question for it."""
        labels, templates, head = ready.inputs
        asked = asked_model(model, labels, self.query, prompt=self.prompt, length=self.length)
        self.check_asked(answers=asked is not None)
        if asked is not None:
            (model, head), labels = asked, None
        need(model, "embed", f"foveate focus {self.task}")
        question = make_question(
            model, labels=labels, head=head, query=self.query, templates=templates
        )
        return model, question

    def bound_task(self, ready: _Ready, model: Any, run: Run) -> Task:
        """Return the task for a model that embeds."""
        config, templates = ready.config, ready.inputs[1]
        model, question = self.asked(ready, model)
        scorer = None if self.scorer is None else LearnedScorer.load(self.scorer)
        if scorer is not None:
            scorer.check(model.spec, question, config)

        def process(scene: Scene) -> StoredResult:
            with image_features(run.path, scene.source.info, model, self.seed) as cache:
                result = look_at(
                    scene.source, model, question, config, scene=scene.scene_id, cache=cache,
                    scorer=scorer,
                )  # fmt: skip
            return result.stored()

        side = config.crop_side(standard_encoder(model).shape)
        return Task(
            [*self.state(templates), *([] if scorer is None else [scorer.fingerprint])],
            lambda scene: look_allowance(scene.source.info.shape, model, config, scorer),
            process,
            f"foveate {'embed' if question.head is None else 'classify'} --tile {side}",
        )


class AskJob(FocusJob):
    """Ask a generative model about images, with selected regions and with the overview alone."""

    task = "ask"
    absent = FocusJob.absent | {"labels", "probe", "length"}
    goal: Annotated[str, Option("Method", default="query with a query, else balanced")] = ""
    """balanced, rare, query or paper; with a selector also dominant."""
    model: ModelName = ""
    """Generative model; see foveate models."""
    regions: Annotated[int, Option("Method")] = Field(4, ge=1)
    """Maximum number of selected regions; each is an image of the final prompt."""
    passes: Annotated[
        float | None,
        Option(
            "Method",
            default="at least 48; with a selector, a third of those of tiling plus the answers",
        ),
    ] = None
    """Maximum number of passes of all models for an image; 0: no limit."""
    prompt: Annotated[str, Option("Input")]
    """The question."""
    feed: Annotated[Feed, Option("Method")] = "overview+crops"
    """Images of the final prompt: overview+crops, canvas (one image) or mask."""
    max_tokens: Annotated[int, Option("Output")] = Field(64, ge=1)
    """Maximum length of an answer, tokens."""
    side: Annotated[int | None, Option("Method", default="the model's input")] = Field(None, ge=8)
    """Maximum side of an input image, pixels."""
    selector: Annotated[str | None, Option("Model", default="the model itself")] = None
    """Another model, which selects the regions."""
    selector_weights: Annotated[PathText | None, Option("Model")] = None
    """Local weights of the selector."""

    def inquiry(self) -> Inquiry:
        """Return the question and its settings.

        Raises:
            ParameterError: The prompt is empty.
        """
        return Inquiry(
            self.prompt, feed=self.feed, query=self.query.strip(), max_tokens=self.max_tokens,
            side=self.side,
        )  # fmt: skip

    def selector_handle(self) -> ModelHandle | None:
        """Return the selector, or None; see `load_model` for further errors.

        Raises:
            ParameterError: There are weights but no selector.
        """
        if self.selector is None:
            if self.selector_weights is not None:
                raise ParameterError(
                    "--selector-weights needs a selector", "", "Type --selector MODEL."
                )
            return None
        return load_model(
            self.selector, weights=self.selector_weights, bands=self.bands,
            scale=tuple(self.scale) or None, device=self.device,
        )  # fmt: skip

    def inputs(self, config: FocusConfig) -> tuple[Inquiry, ModelHandle | None]:
        """Return the question and the selector."""
        _need_family(self, "answers", "hf:Qwen/Qwen2-VL-2B-Instruct", "ask_image(...)")
        inquiry, handle = self.inquiry(), self.selector_handle()
        check_vlm_config(inquiry, config, handle is not None)
        return inquiry, handle

    def bound_task(self, ready: _Ready, model: Any, run: Run) -> Task:
        """Return the task for a generative model."""
        config, (inquiry, handle) = ready.config, ready.inputs
        check_vlm(model, handle is not None)
        selector: Any = None
        question = FocusQuestion()
        if handle is not None:
            selector = need(
                bind(handle, ready.pool, run=run), "embed", "the selector of foveate focus ask"
            )
            question = make_question(selector, query=inquiry.query, templates=self.templates)

        def process(scene: Scene) -> StoredResult:
            with image_features(run.path, scene.source.info, selector, self.seed) as cache:
                result = ask_image(
                    scene.source, model, inquiry, config, selector=selector, question=question,
                    scene=scene.scene_id, cache=cache,
                )  # fmt: skip
            return result.stored()

        return Task(
            None if selector is None else selector.spec.to_dict(),
            lambda scene: ask_allowance(scene.source, model, inquiry, config, selector=selector),
            process,
        )


class SegmentJob(FocusJob):
    """Select regions of images by the predicted mask quality, and segment them."""

    task = "segment"
    absent = FocusJob.absent | {
        "labels", "probe", "templates", "prompt", "length", "query", "partition",
    }  # fmt: skip
    goal: Annotated[str, Option("Method")] = "balanced"
    """balanced or paper."""
    model: ModelName = ""
    """Model that predicts masks from boxes; see foveate models."""
    mode: Annotated[Mode, Option("Method")] = "feature"
    """feature: regions from one overview; zoom: each cell is encoded."""

    def inputs(self, config: FocusConfig) -> None:
        """Check the family of the model and the configuration."""
        _need_family(self, "masks", "hf:facebook/sam-vit-base", "segment_image(...)")
        check_segment_config(config)

    def bound_task(self, ready: _Ready, model: Any, run: Run) -> Task:  # noqa: ARG002
        """Return the task for a model that segments."""
        config = ready.config
        need(model, "masks", "foveate focus segment")

        def process(scene: Scene) -> StoredResult:
            return segment_image(scene.source, model, config, scene=scene.scene_id).stored()

        return Task(
            None,
            lambda scene: segment_allowance(scene.source.info.shape, model, config),
            process,
        )


_AREA = "It must be a share of the image, above 0% and at most 100%."


def _area_share(text: str | None) -> float:
    if text is None:
        return 1.0
    try:
        amount = Budget.parse({"area": text}).limits["area"]
    except BudgetError as error:
        raise BudgetError(f"--area {text}", _AREA, "Type --area 10%.") from error
    if not amount.share:
        raise BudgetError(f"--area {text}", _AREA, "Type --area 10%.")
    return amount.value


def _need_family(job: FocusJob, capability: str, example: str, function: str) -> None:
    """Check that the job has a model of a family with the capability.

    Raises:
        ParameterError: The model is missing.
        MissingCapabilityError: The models of the family do not have the capability.
    """
    family = parse_name(job.model).family if job.model.strip() else ""
    if family in _CAPABLE_FAMILIES:
        return
    command = f"foveate focus {job.task}"
    can = f"{who_can(capability)} The latter in Python: {function}."
    hint = f"Type --model {example}, or --model hf:ORG/NAME with --weights FOLDER."
    if not family:
        raise ParameterError(f"{command} needs a model", can, hint)
    if family in FAMILIES:
        raise MissingCapabilityError(
            f"{job.model} has no {capability!r}, which {command} needs", can, hint
        )


def _step_name(scene: Scene) -> str:
    return f"look {scene.scene_id}"
