"""One seed: rank the training tiles of each fold, then train and test on the selections."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from foveate.bench.conditions import Skipped
from foveate.bench.curate.conditions import ALL, FLOOR
from foveate.budget import Budget
from foveate.curate.rank import Ranker
from foveate.errors import BudgetError, DataError
from foveate.stats import iou
from foveate.stats.measures import Measure, jackknife

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.bench.curate.conditions import Condition, Sampler
    from foveate.bench.curate.design import Design, Fold
    from foveate.bench.curate.lists import Listed
    from foveate.curate.methods import Method
    from foveate.embeddings import Embeddings
    from foveate.selection import Ranking

    Options = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Judged:
    """Result of a training.

    Attributes:
        matrices: Scene -> (C, C) confusion matrix in pixels, row = true class.
        seconds: Durations: "fit", and for a U-Net "epoch", one pass over the selected tiles.
    """

    matrices: dict[str, NDArray[np.float64]]
    seconds: dict[str, float] = field(default_factory=dict)


class Judge(Protocol):
    """Trains on selected tiles of a fold, and tests on its test tiles."""

    def judge(self, rows: NDArray[np.int64], sampler: Sampler, seed: int) -> Judged:
        """Train on rows of the pool, and test; see `ProbeJudge.judge`."""
        ...


class Rankings:
    """Rankings of the training tiles by method, computed when they are first requested.

    Args:
        design: The pool and its folds.
        embeddings: Embeddings of the pool, or None if no method needs them.
        methods: Name -> method or recipe.
        lists: Name -> external ranking.
        options: Method -> its options.
        preset: Preset of the methods.
        max_overlap: As in `Ranker`.
    """

    def __init__(
        self, design: Design, embeddings: Embeddings | None, *, methods: Mapping[str, Method],
        lists: Mapping[str, Listed] | None = None, options: Options | None = None,
        preset: str = "default", max_overlap: float | None = None,
    ) -> None:  # fmt: skip
        self.design, self._embeddings = design, embeddings
        self._methods, self._lists = methods, lists or {}
        self._options, self._preset = dict(options or {}), preset
        self._max_overlap = max_overlap
        self._rankers: dict[tuple[int, int], Ranker] = {}
        self._rankings: dict[tuple[int, int, str], tuple[Ranking, float]] = {}

    def find(self, fold: int, method: str, seed: int) -> tuple[Ranking, float]:
        """Return the ranking of a fold by a method or a list, and its seconds (NaN for a list).

        The seconds of a hybrid include those of its parts, even if these were ranked before.

        Raises:
            Skipped: The method cannot rank these tiles.
        """
        key = (fold, seed, method)
        if method in self._lists:
            return self._lists[method].rankings[fold, seed], math.nan
        if key not in self._rankings:
            ranker, options = self._ranker(fold, seed), self._options.get(method, {})
            reused = self._reused_seconds(ranker, key, options)
            begun = time.perf_counter()
            try:
                found = ranker.rank(self._methods[method], **options)
            except DataError as error:
                raise Skipped(str(error)) from error
            self._rankings[key] = found, reused + time.perf_counter() - begun
        return self._rankings[key]

    def _reused_seconds(
        self, ranker: Ranker, key: tuple[int, int, str], options: Mapping[str, Any]
    ) -> float:
        method = self._methods[key[2]]
        stated = method.options(self._preset, options)
        return sum(
            self._rankings[*key[:2], part][1]
            for part in method.parts
            if (*key[:2], part) in self._rankings
            and ranker.knows(part, stated[part], constrained=part in method.constrained_parts)
        )

    def _ranker(self, fold: int, seed: int) -> Ranker:
        if (fold, seed) not in self._rankers:
            pool = self.design.pool.take(self.design.folds[fold].train)
            self._rankers[fold, seed] = Ranker(
                pool, self._embeddings, seed, self._preset, None, max_overlap=self._max_overlap,
                pixels=False,  # each fold would read all of them under each seed
            )  # fmt: skip
        return self._rankers[fold, seed]


class Seed:
    """Measurements of one seed; rankings and trainings are run when a condition needs them.

    Stochastic methods are drawn again with each seed. Trainings have the same seed for all
    methods, so that initialisation and order do not contribute to their differences.

    Args:
        rankings: Rankings of all methods.
        judges: Function from the number of a fold to its judge.
        seed: The seed.
        drawn: Seed of the selections, if it is the same for all seeds; None for `seed`.
        not_averaged: Classes that are excluded from "miou per image".
    """

    def __init__(
        self, rankings: Rankings, judges: Callable[[int], Judge], *, seed: int,
        drawn: int | None = None, not_averaged: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._rankings, self._judges, self._seed = rankings, judges, seed
        self._drawn = seed if drawn is None else drawn
        self._not_averaged = frozenset(not_averaged)
        self._design = rankings.design
        pairs = zip(self._design.scene.tolist(), self._design.cluster.tolist(), strict=True)
        self._cluster_of = dict(pairs)

    def measure(self, condition: Condition) -> dict[str, Any]:
        """Measure a condition over all folds; return measures by name, each JSON-ready.

        "miou" and "iou CLASS" are computed from one confusion matrix over all folds, "miou per
        image" is the mean over test images of the IoU of all classes, 0 for classes that are
        absent from an image. "select s" and "train s" are the seconds per fold of the full ranking
        and of a training with its test, "epoch s" those of one pass over the selected tiles.

        Raises:
            Skipped: The method cannot rank these tiles.
        """
        matrices: dict[str, NDArray[np.float64]] = {}
        times: dict[str, list[float]] = {"select s": [], "train s": [], "tiles": []}
        for number, fold in enumerate(self._design.folds):
            rows, seconds = self._chosen(number, fold, condition)
            begun = time.perf_counter()
            judged = self._judges(number).judge(rows, condition.sampler, self._seed)
            times["train s"].append(time.perf_counter() - begun)
            if not math.isnan(seconds):
                times["select s"].append(seconds)
            times["tiles"].append(rows.size)
            for name, value in judged.seconds.items():
                times.setdefault(f"{name} s", []).append(value)
            for name, matrix in judged.matrices.items():
                matrices[name] = matrices.get(name, 0) + matrix
        return {
            **{name: measure.to_json() for name, measure in self._measured(matrices).items()},
            **{name: _plain(values).to_json() for name, values in times.items() if values},
        }

    def _measured(self, matrices: Mapping[str, NDArray[np.float64]]) -> dict[str, Measure]:
        """Return measures with their jackknife values by cluster, from a matrix of each scene."""
        scenes = sorted(matrices)
        names = np.array([self._cluster_of[scene] for scene in scenes], np.str_)
        stacked = np.stack([matrices[scene] for scene in scenes])
        found = {"miou": jackknife(names, lambda kept: iou(stacked[kept].sum(axis=0)))}
        legend = self._design.pool.legend
        classes = legend.names if legend else ()
        averaged = [i for i, name in enumerate(classes) if name not in self._not_averaged]
        found["miou per image"] = _plain(per_image(stacked)[:, averaged].mean(axis=1))
        each = iou(stacked.sum(axis=0))
        for name, value in zip(classes, each.tolist(), strict=True):
            found[f"iou {name}"] = Measure(value, [value], {})
        return found

    def _chosen(
        self, number: int, fold: Fold, condition: Condition
    ) -> tuple[NDArray[np.int64], float]:
        """Return the rows of the pool that a condition trains on, and the seconds of ranking."""
        if condition.method == ALL:
            return fold.train, 0.0
        floor = condition.method == FLOOR
        ranking, seconds = self._rankings.find(
            number, "random" if floor else condition.method, 0 if floor else self._drawn
        )
        try:
            return fold.train[ranking.at(Budget.parse(condition.percent)).rows], seconds
        except BudgetError as error:
            if ranking.full:
                raise
            # External lists may be shorter than the larger budgets.
            raise Skipped(
                f"it ranks {ranking.depth} of the {ranking.n} tiles of fold {number}, fewer than "
                f"{condition.percent}"
            ) from error


def per_image(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the IoU of each class on each image, 0 if the class is in neither mask nor prediction.

    The rule of the core-set paper's public code; a perfect prediction of images with 4.5 of 12
    classes each has a mean of 0.375. All other results of the benchmark use `foveate.stats.iou` of
    one matrix over all images.

    Args:
        matrices: (m, C, C) confusion matrices of m images, row = true class.

    Returns:
        (m, C) float64, 0 to 1.
    """
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    union = matrices.sum(axis=1) + matrices.sum(axis=2) - hits
    return np.where(union > 0, hits / np.maximum(union, 1), 0.0)


def needs_embeddings(methods: Iterable[Method]) -> bool:
    """Return whether one of the methods needs embeddings."""
    return any("embeddings" in method.needs for method in methods)


def _plain(values: Sequence[float] | NDArray[np.float64]) -> Measure:
    mean = float(np.mean(values))
    return Measure(mean, [mean], {})
