"""The table segmentation of `bench focus`: options, rows, and measurement of a row.

Each row is a row of `foveate.bench.focus.segmentation` under one seed: whole images or the regions
of a look, with nothing or 30 % of each image hidden.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.bench.conditions import Row, Skipped, Table
from foveate.bench.focus.conditions import Condition, options_of
from foveate.bench.focus.methods.looks import look_name
from foveate.bench.focus.segmentation import HIDDEN, TUNING, segment_test, tune_decoder
from foveate.bench.focus.segmentation_data import read_data, split_data
from foveate.bench.focus.tables import PLAIN, Plan, ahead_claims, relative_to
from foveate.bench.focus.work import Work
from foveate.errors import BudgetError, DataError, MissingCapabilityError, ParameterError
from foveate.files import digest, fingerprint
from foveate.focus.config import FocusConfig, SearchConfig, find_goal
from foveate.focus.encode import standard_encoder
from foveate.focus.partition import check_image_size
from foveate.focus.segment import SEGMENT_GOALS, segment_allowance
from foveate.models.capabilities import need
from foveate.models.embed import bind
from foveate.pool.folder import open_pool
from foveate.raster import FileSource
from foveate.run.job import SettingError
from foveate.stats.measures import Measure, group_names, jackknife
from foveate.stats.segmentation import dice, iou

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.bench.conditions import MeasureFn
    from foveate.bench.focus.job import FocusBenchJob
    from foveate.bench.focus.segmentation import SegmentationRow
    from foveate.bench.focus.segmentation_data import SegmentationData, Split
    from foveate.models.base import ModelHandle
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run

SEGMENTATION = "segmentation"
METHODS = tuple(look_name(goal) for goal in SEGMENT_GOALS)
VERSION = 1  # incremented when the figures of the same images and models change
_MODES = ("feature", "zoom")
_SCENE_OPTIONS = (
    "scenes", "dataset", "root", "kinds", "count", "grid", "offset", "labels", "probe",
    "templates", "prompt", "length",
)  # fmt: skip


def segmentation_rows(plan: Plan) -> list[Row]:
    """Return rows of each model on whole images and with each look, with and without hiding."""
    rows = []
    for k, model in enumerate(plan.models):
        for hidden in (0.0, HIDDEN):
            share = f"{hidden:.0%} hidden".replace("%", " %") if hidden else "nothing hidden"
            block = f"{model}, {share}" if len(plan.models) > 1 else share
            rows.append(Row(PLAIN, (Condition(PLAIN, model=k, hidden=hidden),), block))
            for name in plan.methods:
                for mode in _MODES:
                    options = options_of(mode=mode)
                    look = Condition(name, plan.most, options=options, model=k, hidden=hidden)
                    rows.append(Row(f"{name}, {mode}", (look,), block))
    return rows


TABLE = Table(
    "Segmentation with and without regions", "dice",
    ("dice", "iou", "passes", "seconds", "passes x", "seconds x"), segmentation_rows, (PLAIN,),
    ahead_claims, relative_to(PLAIN),
    note="Each seed splits the classes 1 : 1; the mask decoder is fine-tuned on the base classes "
    "of half of the images, and all target classes together are segmented in the others, where "
    "pixels of base classes are ignored. Dice and IoU are computed over all pixels of the test "
    "images; images of one video are one scene of the bootstrap. whole-image: the prompt is the "
    "box of the whole image. feature: regions from one overview; zoom: each cell is encoded. "
    f"times: relative to {PLAIN}.",
)  # fmt: skip


def segmenting_methods(job: FocusBenchJob) -> tuple[str, ...]:
    """Return the looks of the table.

    Raises:
        SettingError: A method cannot select regions for a segmenter.
    """
    for name in job.methods:
        if name not in (*METHODS, "all"):
            raise SettingError(
                "methods", repr(name),
                f"Allowed in the table segmentation: {', '.join(METHODS)}, all.",
            )  # fmt: skip
    return METHODS if not job.methods or "all" in job.methods else tuple(dict.fromkeys(job.methods))


def check_data(job: FocusBenchJob) -> None:
    """Check the options of the table segmentation against the table.

    Raises:
        ParameterError: Its images are missing, or an option does not fit the table.
    """
    if job.table != SEGMENTATION:
        for name in ("data", "epochs"):
            if (given := getattr(job, name)) != _default(job, name):
                raise SettingError(
                    name, repr(given), "It is allowed with the table segmentation only.",
                    "Type --table segmentation, or omit it.",
                )  # fmt: skip
        return
    if job.data is None:
        raise ParameterError(
            "--table segmentation without --data",
            "--data must be a folder with images/, masks/ and classes.yaml.",
            "Type --data ROOT --model hf:facebook/sam-vit-base.",
        )
    for name in _SCENE_OPTIONS:
        if (given := getattr(job, name)) != _default(job, name):
            raise SettingError(
                name, repr(given), "The table segmentation uses the images and classes of --data.",
                "Omit it.",
            )  # fmt: skip
    segmenting_methods(job)


def _default(job: FocusBenchJob, name: str) -> Any:
    return type(job).model_fields[name].get_default()


@dataclass(frozen=True)
class SegmentationInputs:
    """Inputs of the table.

    Attributes:
        data: Images with masks.
        splits: Seed -> split of classes and images.
        handles: Handles of the models.
    """

    data: SegmentationData
    splits: dict[int, Split]
    handles: Sequence[ModelHandle]


def open_segmentation(job: FocusBenchJob, handles: Sequence[ModelHandle]) -> SegmentationInputs:
    """Read the data set, and split it under each seed.

    Raises:
        DataError: The layout is invalid, or a split has no training or test images.
    """
    assert job.data is not None  # noqa: S101  (`check_data` requires it)
    data = read_data(job.data)
    seeds = range(job.seed, job.seed + job.seeds)
    return SegmentationInputs(data, {seed: split_data(data, seed) for seed in seeds}, handles)


@dataclass(frozen=True)
class SegmentationSetting:
    """Settings shared by all conditions.

    Attributes:
        inputs: Images and splits.
        pool: The images.
        models: Models bound to them.
        regions: Maximum number of selected regions.
        crop: Side of a crop, pixels; None for that of the model's input.
        batch_size: Crops per call of a model.
        epochs: Epochs of fine-tuning mask decoders; 0: no fine-tuning.
    """

    inputs: SegmentationInputs
    pool: Pool
    models: Sequence[Any]
    regions: int
    crop: int | None
    batch_size: int
    epochs: int

    @classmethod
    def bound(cls, job: FocusBenchJob, inputs: SegmentationInputs, run: Run) -> SegmentationSetting:
        """Bind the models to the images.

        Raises:
            MissingCapabilityError: A model does not predict masks.
            FoveateError: See `foveate.models.embed.bind`.
        """
        pool = open_pool([str(f) for f in inputs.data.images], split=(1, 1), measure=False)
        models = [
            need(bind(handle, pool, run=run), "masks", "foveate bench focus --table segmentation")
            for handle in inputs.handles
        ]
        return cls(inputs, pool, models, job.regions, job.crop, job.batch_size, job.epochs)

    def key(self) -> str:
        """Return the hash of the dependencies of all conditions except the seed."""
        data = self.inputs.data
        names = [[str(path.name), fingerprint(path)] for path in (*data.images, *data.masks)]
        classes = {name: list(numbers) for name, numbers in data.classes.items()}
        specs = [model.spec.to_dict() for model in self.models]
        tuning = replace(TUNING, epochs=self.epochs).key() if self.epochs else ""
        return digest([
            VERSION, SEGMENTATION, names, list(data.videos), classes, specs, tuning, self.regions,
            self.crop,
        ])  # fmt: skip

    def config(self, model: Any, condition: Condition, seed: int) -> FocusConfig:
        """Return the configuration: 4 cells along a side, or 2 if the passes do not cover 4."""
        config = FocusConfig(
            find_goal(condition.method.removeprefix(look_name(""))),
            mode=json.loads(condition.options)["mode"],
            passes=condition.passes, crop=self.crop, batch_size=self.batch_size,
            search=SearchConfig(regions=self.regions, seed=seed),
        )  # fmt: skip
        shapes = self.shapes(seed)
        if config.mode == "zoom":
            for shape in shapes:
                check_image_size(shape, config.crop_side(standard_encoder(model).shape))
        least = max(segment_allowance(shape, model, config).first for shape in shapes)
        return config if least <= condition.passes else replace(config, cells=2)

    def shapes(self, seed: int) -> list[tuple[int, int]]:
        """Return the distinct sizes of the test images."""
        files = (self.inputs.data.images[row] for row in self.inputs.splits[seed].test)
        return list(dict.fromkeys(FileSource(str(file)).info.shape for file in files))


class SegmentationSeed:
    """Measurement of all conditions under one seed; the decoder of a model is fine-tuned once.

    Args:
        setting: Images and models.
        seed: The seed.
        progress: Called with ticks.
    """

    def __init__(
        self, setting: SegmentationSetting, seed: int, progress: ProgressFn | None = None
    ) -> None:
        self._setting, self._seed, self._progress = setting, seed, progress
        self._tuned: dict[int, Any] = {}  # the last model only, to save memory

    def measure(self, condition: Condition) -> dict[str, Any]:
        """Return the measures of a condition, JSON-ready.

        Raises:
            Skipped: The images are too small or the passes too few for the look.
            ParameterError: The decoder of the model cannot be fine-tuned.
        """
        setting, inputs = self._setting, self._setting.inputs
        split = inputs.splits[self._seed]
        model = self._model(condition.model)
        try:
            config = None
            if condition.method != PLAIN:
                config = setting.config(model, condition, self._seed)
            row = segment_test(
                model, inputs.data, split, config, hidden=condition.hidden, seed=self._seed,
                progress=self._progress,
            )  # fmt: skip
        except (BudgetError, DataError, MissingCapabilityError) as error:
            if condition.method == PLAIN:
                raise
            reason = " ".join(filter(None, (error.given + ".", error.allowed, error.hint)))
            raise Skipped(reason) from error
        groups = np.array(group_names(inputs.data.videos))[list(split.test)]
        return measures_of(row, groups)

    def _model(self, number: int) -> Any:
        setting = self._setting
        if number not in self._tuned:
            model, inputs = setting.models[number], setting.inputs
            if setting.epochs:
                settings = replace(TUNING, epochs=setting.epochs, seed=self._seed)
                split = inputs.splits[self._seed]
                model, _ = tune_decoder(
                    model, inputs.data, split, settings, progress=self._progress
                )
            self._tuned = {number: model}
        return self._tuned[number]


def measures_of(row: SegmentationRow, groups: NDArray[np.str_]) -> dict[str, Any]:
    """Return the measures of a row, JSON-ready.

    Args:
        row: Row with n test images.
        groups: (n,) group of each image in the bootstrap: its video.
    """

    def of(score: Callable[[NDArray[np.int64]], NDArray[np.float64]]) -> Any:
        return jackknife(groups, lambda kept: score(row.matrices[kept].sum(axis=0))[1:]).to_json()

    measures = {"dice": of(dice), "iou": of(iou)}
    for name in ("passes", "seconds"):
        value = float(getattr(row, name))
        measures[name] = Measure(value, [value], {}).to_json()
    return measures


def segmentation_steps(
    job: FocusBenchJob, run: Run, inputs: SegmentationInputs, progress: ProgressFn | None
) -> dict[str, Any]:
    """Segment the test images of each seed, write the table, and return the summary."""
    setting = SegmentationSetting.bound(job, inputs, run)
    plan = Plan(
        segmenting_methods(job), job.budgets(), tuple(job.models), (inputs.data.name,),
        classes=False,
    )  # fmt: skip

    def measures(_: list[Condition], seed: int, __: Path) -> MeasureFn:
        return SegmentationSeed(setting, seed, progress).measure

    work = Work(
        job, run, plan, TABLE, setting.key(), measures, len(inputs.splits[job.seed].test),
        drawn=True, progress=progress,
    )  # fmt: skip
    rows = TABLE.rows(plan)
    work.finish(rows, work.measure(rows))
    return {
        "bench_focus": {"table": job.table, "seeds": job.seeds},
        "pool": setting.pool.describe(), "model": setting.models[0].spec.to_dict(),
        "seed": job.seed,
    }  # fmt: skip
