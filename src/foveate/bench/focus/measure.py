"""Measurement of the conditions of a benchmark of `focus`, scene by scene, under one seed.

A scene is opened once for all conditions, and their results are stored in a file of the run:
interrupted benchmarks resume with the next scene.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.bench.conditions import Skipped
from foveate.bench.focus import measures as of
from foveate.bench.focus.labelled import salient_windows
from foveate.bench.focus.methods.base import Task
from foveate.bench.focus.methods.looks import LookOutcome
from foveate.bench.focus.remembered import KeptReads, SceneVectors
from foveate.budget import Ledger
from foveate.errors import BudgetError, DataError, MissingCapabilityError
from foveate.files import as_json, digest, read_json, write_json
from foveate.focus.encode import CropEncoder, standard_encoder
from foveate.focus.question import FocusQuestion, make_question
from foveate.focus.strategies import check_tokens
from foveate.grid import Window
from foveate.models.heads import same_name
from foveate.progress import Meter
from foveate.run.shards import slug
from foveate.seeds import rng
from foveate.stats.measures import Measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.bench.focus.conditions import Condition, Instead
    from foveate.bench.focus.methods.base import Outcome
    from foveate.bench.focus.remembered import Vectors
    from foveate.bench.focus.scenes import BenchScene, Opened, SceneSet
    from foveate.models.heads import Head
    from foveate.progress import ProgressFn

    Record = Mapping[str, float]

BY_KIND = ("top-1", "recall")  # measures that are also reported for each kind of scene
BY_AREA = "gain: by folder"  # one value per area
THIRDS = ("fine", "middle", "coarse")
SUBSTRATES = {"blur": of.blur_substrate, "mean": of.mean_substrate}


@dataclass
class Subject:
    """A model bound to a set of scenes.

    Attributes:
        name: Displayed name.
        model: The bound model.
        head: Classifier, or None.
        templates: Sentences around queries.
        vectors: Cache of its features.
        pass_seconds: Time of a pass, seconds.
    """

    name: str
    model: Any
    head: Head | None
    templates: tuple[str, ...]
    vectors: Vectors
    pass_seconds: float
    _questions: dict[str, FocusQuestion] = field(default_factory=dict)

    def label(self, name: str) -> int | None:
        """Return the index of a class; None without classes.

        Raises:
            DataError: The class is not among the classes of the model.
        """
        if self.head is None:
            return None
        index = {same_name(known): i for i, known in enumerate(self.head.names)}
        if same_name(name) not in index:
            raise DataError(
                f"scenes of the class {name!r}, which is not among the labels",
                f"Labels: {', '.join(self.head.names[:20])}.", "Add it to --labels.",
            )  # fmt: skip
        return index[same_name(name)]

    def question(self, label: str, *, with_query: bool) -> FocusQuestion:
        """Return the question: the classes, and with `with_query` the label as the query.

        Raises:
            MissingCapabilityError: The model does not embed text, and there are no classes.
        """
        if not with_query:
            return FocusQuestion(self.head)
        if label not in self._questions:
            if self.head is not None:
                self._questions[label] = FocusQuestion(self.head, label, self.label(label))
            else:
                text = label.replace("_", " ")
                self._questions[label] = make_question(
                    self.model, query=text, templates=self.templates
                )
        return self._questions[label]


@dataclass(frozen=True)
class Setting:
    """Settings shared by all conditions.

    Attributes:
        sets: Sets of scenes.
        subjects: (index of the model, index of the set) -> the model.
        regions: Maximum number of selected regions.
        crop: Side of a crop in pixels; None for that of the patches of a stitched scene, or of
            the input of the model.
        batch_size: Windows per call of a model.
    """

    sets: Sequence[SceneSet]
    subjects: Mapping[tuple[int, int], Subject]
    regions: int = 8
    crop: int | None = None
    batch_size: int = 32

    def check(self, seeds: Sequence[int]) -> None:
        """Check that the classes of all scenes are among the labels.

        Raises:
            DataError: A class is not.
        """
        for i, scenes in enumerate(self.sets):
            names = {scene.label for seed in seeds for scene in scenes.scenes(seed)}
            for (_, set_index), subject in self.subjects.items():
                for name in sorted(names) if set_index == i else ():
                    subject.label(name)


class Seed:
    """Measurement of all conditions under one seed.

    Args:
        setting: Scenes and models.
        conditions: All conditions to measure.
        seed: The seed.
        place: Folder for the results of scenes.
        progress: Called with ticks.
    """

    def __init__(
        self, setting: Setting, conditions: Sequence[Condition], *, seed: int, place: Path,
        progress: ProgressFn | None = None,
    ) -> None:  # fmt: skip
        self._setting, self._conditions = setting, conditions
        self._seed, self._place, self._progress = seed, place, progress
        self._scenes: dict[int, list[BenchScene]] = {}
        self._records: dict[str, dict[str, Any]] = {}  # scene -> condition -> measures

    def measure(self, condition: Condition) -> dict[str, Any]:
        """Return the measures of a condition; the first call processes all scenes.

        Raises:
            Skipped: The method does not support the model or the budget.
            DataError: The class of a scene is not among the labels.
        """
        if not self._scenes:
            self._process_all()
        rows = []
        for number, scene in enumerate(self._scenes[condition.scenes]):
            if not condition.counts(number):
                continue
            record = self._records[scene.name][condition.work]
            if "skipped" in record:
                raise Skipped(record["skipped"])
            rows.append((scene, record))
        return summarised(rows)

    def _file(self, scene: BenchScene) -> Path:
        return self._place / "scenes" / f"{slug(scene.name)}-{digest(scene.name)[:8]}.json"

    def _process_all(self) -> None:
        numbers = sorted({condition.scenes for condition in self._conditions})
        scenes = {i: self._setting.sets[i].scenes(self._seed) for i in numbers}
        total = sum(len(of_set) for of_set in scenes.values())
        with Meter(self._progress, f"processing scenes, seed {self._seed}", total) as meter:
            for i, of_set in scenes.items():
                for number, scene in enumerate(of_set):
                    conditions = [c for c in self._conditions if c.scenes == i and c.counts(number)]
                    self._records[scene.name] = self._process(scene, conditions)
                    meter.advance()
        self._scenes = scenes

    def _process(self, scene: BenchScene, conditions: Sequence[Condition]) -> dict[str, Any]:
        """Measure the missing conditions of a scene, and return all stored measures."""
        file = self._file(scene)
        stored: dict[str, Any] = dict(read_json(file)) if file.exists() else {}
        missing = [condition for condition in conditions if condition.work not in stored]
        if not missing:
            return stored
        opened, seed = scene.open(), _scene_seed(self._seed, scene)
        opened = replace(opened, source=KeptReads(opened.source))
        caches: dict[int, SceneVectors] = {}
        for condition in missing:
            subject = self._setting.subjects[condition.model, condition.scenes]
            if condition.model not in caches:
                caches[condition.model] = SceneVectors(opened.source, subject.vectors, seed)
            trial = Trial(subject, scene, opened, self._setting, caches[condition.model], seed)
            stored[condition.work] = trial.run(condition)
        done = [condition.work for condition in missing]  # another table must not overwrite them
        for number in caches:
            subject = self._setting.subjects[number, missing[0].scenes]
            subject.vectors.save(f"{slug(scene.name)}-{digest([scene.name, self._seed, done])[:8]}")
        write_json(file, as_json(stored))
        return stored


def _scene_seed(seed: int, scene: BenchScene) -> int:
    """Derive a seed for each scene, so that random tiles differ between scenes."""
    return int(rng(seed, f"bench/focus/{scene.name}").integers(2**31))


@dataclass(frozen=True)
class Trial:
    """One scene and one model."""

    subject: Subject
    scene: BenchScene
    opened: Opened
    setting: Setting
    cache: SceneVectors
    seed: int

    def run(self, condition: Condition) -> dict[str, Any]:
        """Return the measures of a condition, or the reason why it is skipped."""
        passes = condition.passes
        try:
            question = self.subject.question(self.scene.label, with_query=condition.with_query)
            encoder = self._encoder(question, passes)
            side = max(standard_encoder(self.subject.model).shape)
            task = Task(
                encoder, question, self.setting.crop or self.opened.patch or side, passes,
                self.setting.regions, self.seed,
            )  # fmt: skip
            before, start = self.cache.seconds, time.perf_counter()
            outcome = condition.function()(task)
            target = self._target_share(outcome, condition.instead)
        except (BudgetError, MissingCapabilityError) as error:
            return {"skipped": " ".join(filter(None, (error.given + ".", error.allowed)))}
        overhead = (
            time.perf_counter() - start - encoder.work.seconds - (self.cache.seconds - before)
        )
        measures = self._measures(outcome) | target
        measures["passes"] = encoder.work.passes
        # Most windows are cached: their passes count as if they were made, reading does not.
        measures["seconds"] = max(overhead, 0.0) + encoder.work.passes * self.subject.pass_seconds
        if condition.curves:
            measures |= self._curves(outcome, question)
        if self.opened.gsd is not None:
            measures["gsd"] = self.opened.gsd
        return {name: value for name, value in measures.items() if math.isfinite(value)}

    def _encoder(self, question: FocusQuestion, passes: float) -> CropEncoder:
        limits = {"passes": passes} if math.isfinite(passes) else {}
        return CropEncoder(
            self.opened.source, self.subject.model, Ledger(limits), seed=self.seed,
            batch_size=self.setting.batch_size, inputs=question.inputs, cache=self.cache,
        )  # fmt: skip

    def _measures(self, outcome: Outcome) -> dict[str, float]:
        windows, planted = outcome.windows, self.opened.planted
        height, width = self.opened.source.info.shape
        measures = {
            "recall": of.recall(windows, planted, self.setting.regions),
            "pointing": of.pointing(outcome.cells, outcome.importance, planted),
            "iou": of.mask_iou(windows, planted),
            "area": of.covered(windows, ())[0] / (height * width),
            "regions": float(len(windows)),
        }
        label = self.subject.label(self.scene.label)
        if label is not None and outcome.probabilities is not None:
            measures["top-1"] = of.top_k(outcome.probabilities, label, 1)
            measures["top-5"] = of.top_k(outcome.probabilities, label, 5)
        if isinstance(outcome, LookOutcome):
            measures["epsilon"] = abs(outcome.epsilon)
            measures["depth"] = float(outcome.depth)
        return measures

    def _target_share(self, outcome: Outcome, instead: Instead) -> dict[str, float]:
        """Return the share of the target class in the regions and in random ones of equal size.

        Raises:
            MissingCapabilityError: Salient windows are requested of a model without tokens.
        """
        labels = self.opened.labels
        if labels is None:
            return {}
        windows = outcome.windows
        chance = share = labels.random_share(windows, self.seed)
        if instead == "salient":
            check_tokens(self.subject.model, classes=False)
            encoder = self._encoder(FocusQuestion(None), math.inf)
            tokens = encoder.tokens(Window(0, 0, *self.opened.source.info.shape))
            windows = salient_windows(windows, np.linalg.norm(tokens, axis=2), labels.labelled)
        if instead != "random":
            share = labels.share(windows)
        return {"share": share, "at random": chance, "gain": share - chance}

    def _curves(self, outcome: Outcome, question: FocusQuestion) -> dict[str, float]:
        """Return insertion and deletion on the image downsampled to the model's input."""
        label = self.subject.label(self.scene.label)
        if outcome.importance is None or label is None:
            return {}
        encoder = self._encoder(question, math.inf)
        shape = self.opened.source.info.shape
        image = encoder.read(Window(0, 0, *shape))
        masks = of.order_maps(shape, image.shape[1:], outcome.cells, outcome.importance)
        score = partial(self._score, encoder, label, image.dtype)
        curves = {}
        for name, make in SUBSTRATES.items():
            plain = image.astype(np.float32)
            insertion, deletion = of.insertion_deletion(plain, make(plain), masks, score)
            curves |= {f"insertion {name}": insertion, f"deletion {name}": deletion}
        return curves

    def _score(
        self, encoder: CropEncoder, label: int, dtype: Any, images: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        images = images.round() if np.issubdtype(dtype, np.integer) else images
        x = encoder.as_inputs(np.asarray(self.subject.model.embed(images.astype(dtype))))
        assert self.subject.head is not None  # noqa: S101  (there is a label)
        return self.subject.head.probabilities(x)[:, label].astype(np.float64)


def summarised(rows: Sequence[tuple[BenchScene, Record]]) -> dict[str, Any]:
    """Return means over scenes with the value of each scene, JSON-ready.

    Measures of `BY_KIND` are also reported for the scenes of each kind if there are several, and
    for thirds of the scenes by GSD if all GSDs are known.
    """
    names = dict.fromkeys(name for _, record in rows for name in record if name != "gsd")
    means: dict[str, Any] = {name: _mean(rows, name) for name in names}
    by_area = _areas(rows, "gain")
    if by_area is not None:
        means[BY_AREA] = by_area
    parts = _kinds(rows) | _gsd_thirds(rows)
    for part, some in parts.items():
        for name in BY_KIND:
            if any(name in record for _, record in some):
                means[f"{name}: {part}"] = _mean(some, name)
    return means


def _kinds(rows: Sequence[tuple[BenchScene, Record]]) -> dict[str, Any]:
    kinds = list(dict.fromkeys(scene.kind for scene, _ in rows))
    if len(kinds) < 2:
        return {}
    return {kind: [row for row in rows if row[0].kind == kind] for kind in kinds}


def _gsd_thirds(rows: Sequence[tuple[BenchScene, Record]]) -> dict[str, Any]:
    """Return scenes by thirds of GSD, as in Fig. 1 of the paper; empty if a GSD is not known."""
    if not all("gsd" in record for _, record in rows):
        return {}
    gsd = np.array([record["gsd"] for _, record in rows])
    edges = np.quantile(gsd, [1 / 3, 2 / 3])
    if edges[0] == edges[1] or not rows:
        return {}
    third = np.searchsorted(edges, gsd, side="left")
    return {
        f"GSD {name}": [row for row, part in zip(rows, third, strict=True) if part == i]
        for i, name in enumerate(THIRDS)
    }


def _areas(rows: Sequence[tuple[BenchScene, Record]], name: str) -> dict[str, Any] | None:
    """Return the mean of the means of areas; None with fewer than two known areas."""
    areas: dict[str, list[float]] = {}
    for scene, record in rows:
        if name in record:
            areas.setdefault(scene.area, []).append(record[name])
    if len(areas) < 2:
        return None
    groups = {area: float(np.mean(values)) for area, values in areas.items()}
    value = float(np.mean(list(groups.values())))
    return Measure(value, [value], groups).to_json()


def _mean(rows: Sequence[tuple[BenchScene, Record]], name: str) -> dict[str, Any]:
    groups = {scene.name: record[name] for scene, record in rows if name in record}
    value = float(np.mean(list(groups.values())))
    return Measure(value, [value], groups).to_json()
