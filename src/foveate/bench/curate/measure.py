"""One seed: rankings of the training tiles of each fold, and judges of what they choose."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from foveate.bench.conditions import Skipped
from foveate.bench.curate.conditions import ALL, FLOOR
from foveate.budget import Budget
from foveate.curate.methods import get_method
from foveate.curate.rank import Ranker
from foveate.errors import DataError
from foveate.stats import iou
from foveate.stats.measures import Measure, jackknife

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.bench.curate.conditions import Condition
    from foveate.bench.curate.design import Design, Fold
    from foveate.bench.curate.probe import Sampler
    from foveate.embeddings import Embeddings
    from foveate.selection import Ranking

    Options = Mapping[str, Mapping[str, Any]]


class Judge(Protocol):
    """Trains on some tiles of a fold, and tests on its others."""

    def judge(
        self, rows: NDArray[np.int64], sampler: Sampler, seed: int
    ) -> dict[str, NDArray[np.float64]]:
        """Return cluster -> (C, C) confusion matrix in pixels; see `ProbeJudge.judge`."""
        ...


class Seed:
    """A seed; nothing is ranked or trained before a condition needs it.

    Stochastic methods draw anew under each seed. A judge has the same seed for all methods, so
    that differences between them are not those of its initialisation or order.

    Args:
        design: The pool and its divisions.
        judges: From the number of a fold to its judge.
        embeddings: Of the pool, or None where no method needs them.
        seed: The seed.
        options: Method -> its options.
        preset: Of the methods.
        max_overlap: As in `Ranker`.
    """

    def __init__(
        self, design: Design, judges: Callable[[int], Judge], embeddings: Embeddings | None, *,
        seed: int, options: Options | None = None, preset: str = "default",
        max_overlap: float | None = None,
    ) -> None:  # fmt: skip
        self._design, self._judges, self._embeddings = design, judges, embeddings
        self._seed, self._options = seed, dict(options or {})
        self._preset, self._max_overlap = preset, max_overlap
        self._rankers: dict[tuple[int, int], Ranker] = {}
        self._rankings: dict[tuple[int, int, str], tuple[Ranking, float]] = {}

    def measure(self, condition: Condition) -> dict[str, Any]:
        """Measure a condition over all folds: measures by name, each JSON-ready.

        "miou" and "iou CLASS" come from one confusion matrix over all folds; "select s" and
        "train s" are seconds of a fold (of its whole ranking, and of a training with its test).

        Raises:
            Skipped: The method cannot rank these tiles.
        """
        matrices: dict[str, NDArray[np.float64]] = {}
        selecting, training, chosen = [], [], []
        for number, fold in enumerate(self._design.folds):
            rows, seconds = self._chosen(number, fold, condition)
            begun = time.perf_counter()
            found = self._judges(number).judge(rows, condition.sampler, self._seed)
            training.append(time.perf_counter() - begun)
            selecting.append(seconds)
            chosen.append(rows.size)
            for name, matrix in found.items():
                matrices[name] = matrices.get(name, 0) + matrix
        figures = {"select s": selecting, "train s": training, "tiles": chosen}
        return {
            **{name: measure.to_json() for name, measure in self._measured(matrices).items()},
            **{name: _plain(values).to_json() for name, values in figures.items()},
        }

    def _measured(self, matrices: Mapping[str, NDArray[np.float64]]) -> dict[str, Measure]:
        """Return measures with the share of each cluster in them."""
        names = np.array(sorted(matrices), np.str_)
        stacked = np.stack([matrices[name] for name in names.tolist()])
        found = {"miou": jackknife(names, lambda kept: iou(stacked[kept].sum(axis=0)))}
        legend = self._design.pool.legend
        each = iou(stacked.sum(axis=0))
        for name, value in zip(legend.names if legend else (), each.tolist(), strict=True):
            found[f"iou {name}"] = Measure(value, [value], {})
        return found

    def _chosen(
        self, number: int, fold: Fold, condition: Condition
    ) -> tuple[NDArray[np.int64], float]:
        """Return the rows of the pool that a condition trains on, and the seconds of ranking."""
        if condition.method == ALL:
            return fold.train, 0.0
        ranking, seconds = self._ranking(number, fold, condition.method)
        rows = ranking.at(Budget.parse(condition.percent)).rows
        return fold.train[rows], seconds

    def _ranking(self, number: int, fold: Fold, method: str) -> tuple[Ranking, float]:
        key = (number, 0 if method == FLOOR else self._seed, method)
        if key not in self._rankings:
            ranker = self._ranker(number, fold, key[1])
            name = "random" if method == FLOOR else method
            begun = time.perf_counter()
            try:
                found = ranker.rank(name, **self._options.get(name, {}))
            except DataError as error:
                raise Skipped(str(error)) from error
            self._rankings[key] = found, time.perf_counter() - begun
        return self._rankings[key]

    def _ranker(self, number: int, fold: Fold, seed: int) -> Ranker:
        if (number, seed) not in self._rankers:
            pool = self._design.pool.take(fold.train)
            self._rankers[number, seed] = Ranker(
                pool, self._embeddings, seed, self._preset, None, max_overlap=self._max_overlap
            )
        return self._rankers[number, seed]


def rivals(methods: Sequence[str]) -> list[str]:
    """Return the methods that are compared: random always, first."""
    return list(dict.fromkeys(["random", *methods]))


def needs_embeddings(methods: Sequence[str]) -> bool:
    """Say whether one of the methods ranks by embeddings."""
    return any("embeddings" in get_method(name).needs for name in methods)


def _plain(values: Sequence[float]) -> Measure:
    mean = float(np.mean(values))
    return Measure(mean, [mean], {})
