"""`FocusBenchJob`: compares looks and other methods on scenes with known content.

DIR/
work/KEY/seed-N/   results of scenes and conditions, shared by all tables of a setting
work/vectors/      features of windows
tables/            NAME.json, NAME.csv, NAME.md, NAME-cells.csv
report.html        a page of all tables
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from foveate.bench.focus.labelled import LABELLED, check_labelled, open_labelled
from foveate.bench.focus.methods import METHODS, find_method
from foveate.bench.focus.scenes import (
    KINDS,
    DatasetName,
    Stitching,
    open_dataset,
    open_scenes,
)
from foveate.bench.focus.segmentation import TUNING
from foveate.bench.focus.segmenting import (
    SEGMENTATION,
    check_data,
    open_segmentation,
    segmentation_steps,
)
from foveate.bench.focus.work import VERSION, Work
from foveate.errors import ParameterError
from foveate.files import digest, fingerprint, read_json, write_json
from foveate.focus.encode import standard_encoder
from foveate.focus.question import asked_model
from foveate.models.capabilities import need
from foveate.models.embed import bind
from foveate.models.heads import same_name, templates_from, text_head
from foveate.models.load import load_model
from foveate.models.probe import Probe
from foveate.models.settings import ClassJob
from foveate.registry import unknown_name
from foveate.run.options import Names, Option, PathText, split
from foveate.world.mosaic import MOSAIC_KINDS

if TYPE_CHECKING:
    from pathlib import Path

    from foveate.bench.conditions import MeasureFn
    from foveate.bench.focus.conditions import Condition
    from foveate.bench.focus.measure import Setting, Subject
    from foveate.bench.focus.scenes import SceneSet
    from foveate.bench.focus.tables import Plan
    from foveate.models.base import ModelHandle
    from foveate.models.heads import Head, Labels
    from foveate.progress import ProgressFn
    from foveate.run import Run

TableName = Literal[
    "main", "looks", "components", "methods", "depth", "mechanism", "lambda", "perturb", "cost",
    "share", "regions", "backbones", "segmentation",
]  # fmt: skip
BUDGETS = [16.0, 24.0, 48.0]  # default budgets of the table of looks
_TIMED = 8  # batch size for timing a pass
_REPEATS = 3


def _passes(given: Any) -> Any:
    """Parse budgets in passes, and sort them."""
    parts = split(given) if isinstance(given, str | list | tuple) else given
    if not isinstance(parts, list):
        return given
    budgets = []
    for part in parts:
        try:
            number = float(part)
        except (TypeError, ValueError):
            number = float("nan")
        if not 1 <= number < float("inf"):
            raise ParameterError(
                f"passes={part!r}",
                "Budgets must be numbers of passes of at least 1.",
                "For example 16,24,48.",
            )
        budgets.append(number)
    return sorted(set(budgets))


class FocusBenchJob(ClassJob):
    """Compare looks with other methods on scenes with known content, under the same budgets."""

    absent = frozenset({
        "images", "extra", "stack", "min_valid",
        "min_labelled", "skip_empty", "tile", "stride", "edge", "coordinates", "workers", "model",
        "assets", "datetime", "bbox", "max_cloud",
    })  # fmt: skip
    images: list[str] = Field([])
    """Images of the scenes."""
    scenes: Annotated[list[PathText], Option("Input", metavar="DIR", repeated=True)] = Field([])
    """Folder written by foveate mosaic; or class folders of patches to stitch to scenes, or of
    whole scenes with --kind whole; or images, with --masks; repeatable."""
    targets: Annotated[Names, Option("Input", name="target", metavar="building,road")] = Field([])
    """Classes of the masks to search for, in the table regions."""
    dataset: Annotated[DatasetName | None, Option("Input")] = None
    """Data set of the paper to stitch scenes from, instead of --scenes."""
    root: Annotated[PathText | None, Option("Input")] = None
    """Folder of the --dataset; nothing is downloaded."""
    data: Annotated[PathText | None, Option("Input", metavar="ROOT")] = None
    """Folder with images/, masks/ and classes.yaml, for the table segmentation."""
    kinds: Annotated[
        Names, Option("Input", name="kind", metavar="rare,blocks", default="all kinds of mosaics")
    ] = Field([])  # fmt: skip
    """Kinds of scenes to stitch (see foveate mosaic), or whole: images are scenes."""
    count: Annotated[
        int | None, Option("Input", default="10 stitched scenes; all other scenes")
    ] = Field(None, ge=1)
    """Number of scenes: of each kind under each seed if stitched, else of each class."""
    grid: Annotated[int, Option("Input")] = Field(8, ge=1)
    """Patches along a side of a stitched scene."""
    offset: Annotated[float, Option("Input")] = Field(0.0, ge=0, lt=1)
    """Offset of stitched scenes from the grid of their patches: 0.5 for half a patch."""
    models: Annotated[list[str], Option("Model", name="model", metavar="MODEL", repeated=True)] = (
        Field(["builtin"], min_length=1)
    )
    """Model that embeds, or predicts masks from boxes; repeatable for the tables main, backbones
    and segmentation."""
    table: Annotated[TableName, Option("Method")] = "looks"
    """looks, main, components, methods, depth, mechanism, lambda, perturb, cost, share, backbones;
    regions, with --masks; segmentation, with --data."""
    methods: Annotated[
        Names,
        Option(
            "Method",
            name="method",
            default="those of the paper and simple ones; look-balanced if settings vary",
            repeated=True,
        ),
    ] = Field([])
    """Methods: look-balanced, random/vote, ..., or all; comma-separated or repeated."""
    passes: Annotated[
        list[float], BeforeValidator(_passes),
        Option("Method", metavar="16,24,48", default="16,24,48 for looks, else 24"),
    ] = Field([])  # fmt: skip
    """Maximum number of model passes for a scene, including the overview; several for the table
    looks."""
    seeds: Annotated[int, Option("Method")] = Field(5, ge=1)
    """Number of seeds; each stitches other scenes."""
    regions: Annotated[int, Option("Method")] = Field(8, ge=1)
    """Maximum number of selected regions; K of recall@K."""
    crop: Annotated[
        int | None,
        Option("Method", default="the patch of a stitched scene, else the model's input"),
    ] = Field(None, ge=8)
    """Side of a crop, pixels of the scene."""
    epochs: Annotated[int, Option("Training")] = Field(TUNING.epochs, ge=0)
    """Epochs of fine-tuning mask decoders, in the table segmentation; 0: no fine-tuning."""

    def chosen_methods(self) -> tuple[str, ...]:
        """Return the methods without repetitions.

        Raises:
            UnknownNameError: A method is unknown.
        """
        from foveate.bench.focus.tables import OWN, USUAL_METHODS

        if self.methods == ["all"]:
            return tuple(METHODS)
        if not self.methods:
            return USUAL_METHODS.get(self.table, (OWN,))
        for name in self.methods:
            find_method(name)
        return tuple(dict.fromkeys(self.methods))

    def budgets(self) -> tuple[float, ...]:
        """Return the budgets in increasing order."""
        return tuple(self.passes or (BUDGETS if self.table == "looks" else [24.0]))

    def check(self) -> Any:
        """Return sets of scenes, models, labels and probe; or the inputs of the segmentation."""
        _check(self)
        if self.table == SEGMENTATION:
            return open_segmentation(self, self.handles())
        self.chosen_methods()
        stated = bool(self.kinds)
        how = Stitching(tuple(self.kinds or MOSAIC_KINDS), self.count or 10, self.grid, self.offset)
        sets: list[SceneSet]
        if self.table == LABELLED:
            sets = [*open_labelled(self)]
        elif self.dataset is not None:
            assert self.root is not None  # noqa: S101  (`_check` requires it)
            sets = [open_dataset(self.dataset, self.root, how, stated=stated, count=self.count)]
        else:
            sets = [
                open_scenes(folder, how, stated=stated, count=self.count) for folder in self.scenes
            ]
        labels = self.known_labels(needed=False)
        probe = Probe.load(self.probe) if self.probe is not None else None
        return sets, self.handles(), labels, probe

    def handles(self) -> list[ModelHandle]:
        """Return the models; see `load_model` for errors."""
        return [
            load_model(
                name, weights=self.weights, bands=self.bands, scale=tuple(self.scale) or None,
                device=self.device,
            )
            for name in self.models
        ]  # fmt: skip

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Run the methods on the scenes of each seed, compare them, and write the table."""
        from foveate.bench.focus.measure import Seed
        from foveate.bench.focus.tables import stages_of, table_for

        if self.table == SEGMENTATION:
            return segmentation_steps(self, run, ready, progress)
        sets, handles, labels, probe = ready
        setting = self._setting(run, sets, handles, labels, probe)
        setting.check([self.seed + number for number in range(self.seeds)])
        plan = self._plan(sets, classes=labels is not None or probe is not None)
        table = table_for(self.table, plan)

        def measures(conditions: list[Condition], seed: int, place: Path) -> MeasureFn:
            return Seed(setting, conditions, seed=seed, place=place, progress=progress).measure

        work = Work(
            self, run, plan, table, self._key(setting, labels), measures,
            sum(len(one.scenes(self.seed)) for one in sets), any(one.stitched for one in sets),
            progress,
        )  # fmt: skip
        rows = table.rows(plan)
        results = work.measure(rows)
        for more in stages_of(self.table):
            rows = [*rows, *more(plan, rows, results, table.lead)]
            results = work.measure(rows)
        work.finish(rows, results)
        first = setting.subjects[0, 0]
        return {
            "bench_focus": {"table": self.table, "seeds": self.seeds},
            "pool": sets[0].pool().describe(), "model": first.model.spec.to_dict(),
            "seed": self.seed,
        }  # fmt: skip

    def _plan(self, sets: list[SceneSet], *, classes: bool) -> Plan:
        from foveate.bench.focus.tables import Plan

        kinds = dict.fromkeys(s.kind for scenes in sets for s in scenes.scenes(self.seed))
        return Plan(
            self.chosen_methods(), self.budgets(), tuple(self.models),
            tuple(scenes.name for scenes in sets), classes, tuple(kinds),
        )  # fmt: skip

    def _setting(
        self, run: Run, sets: list[SceneSet], handles: list[ModelHandle], labels: Labels | None,
        probe: Probe | None,
    ) -> Setting:  # fmt: skip
        from foveate.bench.focus.measure import Setting, Subject
        from foveate.bench.focus.remembered import Vectors

        subjects: dict[tuple[int, int], Subject] = {}
        vectors: dict[str, Vectors] = {}  # by model, for all sets of scenes
        sentences, answering = templates_from(self.templates), set()
        for i, scenes in enumerate(sets):
            names = labels if len(sets) == 1 else _of_set(labels, scenes)
            for k, (name, handle) in enumerate(zip(self.models, handles, strict=True)):
                model, head, answers = self._classes(bind(handle, scenes.pool()), names, probe)
                answering.add(answers)
                key = digest(model.spec.to_dict())
                if key not in vectors:
                    vectors[key] = Vectors.open(run.path / "work" / "vectors" / key[:16])
                subjects[k, i] = Subject(
                    name, model, head, tuple(sentences), vectors[key],
                    _pass_seconds(run, model, key[:16]),
                )  # fmt: skip
        if len(answering) == 1:  # with models of both kinds, the options of both are used
            self.check_asked(answers=answering.pop())
        return Setting(sets, subjects, self.regions, self.crop, self.batch_size)

    def _classes(
        self, model: Any, labels: Labels | None, probe: Probe | None
    ) -> tuple[Any, Head | None, bool]:
        """Return the encoder, its head, and whether it classifies by generated answers."""
        answered = asked_model(model, labels, prompt=self.prompt, length=self.length)
        if answered is not None:
            return *answered, True
        need(model, "embed", "foveate bench focus")
        if labels is not None:
            capable: Any = need(model, "text", "labels")
            templates = templates_from(self.templates)
            return model, text_head(capable, labels, templates=templates, head="cosine"), False
        if probe is not None and probe.spec is not None:
            probe.check(model.spec)
        return model, probe, False

    def _key(self, setting: Setting, labels: Labels | None) -> str:
        """Return the hash of the dependencies of all conditions except the seed."""
        specs = [[*pair, s.model.spec.to_dict()] for pair, s in setting.subjects.items()]
        files = [fingerprint(self.probe)] if self.probe is not None else []
        texts = None if labels is None else {name: list(of) for name, of in labels.items()}
        return digest([
            VERSION, [scenes.key for scenes in setting.sets], specs, texts, files,
            list(templates_from(self.templates)), self.regions, self.crop,
        ])  # fmt: skip


def _of_set(labels: Labels | None, scenes: SceneSet) -> Labels | None:
    """Return the labels that are classes of a set of scenes."""
    if labels is None:
        return None
    classes = set(map(same_name, scenes.classes))
    shared = {name: texts for name, texts in labels.items() if same_name(name) in classes}
    if len(shared) < 2:
        raise ParameterError(
            f"{len(shared)} of the labels in the classes of {scenes.name!r}",
            "With several sets of scenes, at least two labels must be classes of each set.",
            "Add the classes of all sets to --labels.",
        )
    return shared


def _pass_seconds(run: Run, model: Any, key: str) -> float:
    """Return the time of a pass in a batch, measured once per run; cached passes count as much."""
    name = f"work/passes/{key}.json"

    def work() -> list[str]:
        height, width = standard_encoder(model).shape
        batch = np.zeros((_TIMED, len(model.spec.bands), height, width), np.uint8)
        seconds = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            model.embed(batch)
            seconds.append(time.perf_counter() - start)
        write_json(run.path / name, {"seconds": min(seconds) / _TIMED})
        return [name]

    run.do(f"pass {key}", digest([VERSION, key]), work)
    return float(read_json(run.path / name)["seconds"])


def _check(job: FocusBenchJob) -> None:
    """Check that the options fit the table.

    Raises:
        ParameterError: They do not.
    """
    check_data(job)
    if job.table != SEGMENTATION:
        _check_scenes(job)
    several = job.table in ("main", "backbones", SEGMENTATION)
    if not several and len(job.models) > 1:
        raise ParameterError(
            f"{len(job.models)} models for the table {job.table}", "It takes one model.",
            "Type --table main or --table backbones.",
        )  # fmt: skip
    if job.weights is not None and len(job.models) > 1:
        raise ParameterError(
            "--weights for several models", "It is allowed with one model.",
            "Type --model NAME?weights=FILE for each.",
        )  # fmt: skip
    if job.table != "looks" and len(job.passes) > 1:
        raise ParameterError(
            f"{len(job.passes)} budgets for the table {job.table}", "It takes one budget.",
            "Type --passes 24.",
        )  # fmt: skip


def _check_scenes(job: FocusBenchJob) -> None:
    """Check the options of the scenes.

    Raises:
        ParameterError: The scenes are missing, or the options exclude each other.
        UnknownNameError: A kind is unknown.
    """
    if job.dataset is None and not job.scenes:
        raise ParameterError(
            "a benchmark without scenes",
            "--scenes DIR is required, or --dataset NAME --root DIR.",
            "Type --scenes DIR: class folders of patches, or scenes from foveate mosaic PATCHES "
            "--out DIR.",
        )
    if job.dataset is not None and job.scenes:
        raise ParameterError("--dataset and --scenes", "Only one of them is allowed.")
    if (job.dataset is None) != (job.root is None):
        raise ParameterError(
            "only one of --dataset and --root", "Both are required.",
            "Type --dataset NAME --root DIR.",
        )  # fmt: skip
    check_labelled(job)
    for kind in job.kinds:
        if kind not in KINDS:
            raise unknown_name("kind", kind, KINDS, "Kinds")
    if job.table != "main" and len(job.scenes) > 1:
        raise ParameterError(
            f"{len(job.scenes)} sets of scenes for the table {job.table}", "It takes one set.",
            "Type --table main, or use one run per set.",
        )  # fmt: skip
