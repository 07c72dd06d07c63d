"""Greedy selection of regions by insertion and deletion: SMDL and LIMA.

SMDL (Chen et al. 2024, "Less is more: fewer interpretable region via submodular subset
selection", ICLR) scores a set S of sub-regions of an image V by four terms. For classes, as in its
code and in that of its successor LIMA, they are:

    confidence      1 - H(p(S)) / log C, with H the entropy of the classes
    effectiveness   sum over s in S of the smallest angle to another member, as a share of pi
    consistency     p(y | S), insertion
    collaboration   1 - p(y | V without S), deletion

The sub-region that maximises the weighted sum is added, one at a time. Deviations: y is the query
if there is one, else the most likely class of the overview, because methods of the benchmark do
not get the true class; without classes p(y | S) is a cosine, see `target_score`, and there is no
confidence; sub-regions are cells of a grid, not superpixels. The bidirectional search of LIMA,
which saves forward passes for a ranking of all regions, is not implemented: only the selected
regions are ranked here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from foveate.bench.focus.methods.answers import (
    Fusion,
    Join,
    check_join,
    chosen_first,
    probabilities,
    rank,
    target_score,
    weighted_answer,
)
from foveate.bench.focus.methods.base import Outcome
from foveate.bench.focus.methods.crops import (
    closer_look,
    kept_for_crops,
    native_tiles,
    overview_partition,
    show,
    ties_of,
    whole,
)
from foveate.bench.focus.methods.masked import MaskedOverview
from foveate.bench.focus.methods.tiles import shared_area, stratified_order
from foveate.errors import BudgetError
from foveate.focus.partition import areas, windows_of
from foveate.focus.score import AdditiveModel
from foveate.models.heads import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.bench.focus.methods.answers import Score
    from foveate.bench.focus.methods.base import Task
    from foveate.grid import Tiles
    from foveate.models.heads import Head


@dataclass(frozen=True)
class SetWeights:
    """Weights of the four terms, all 1 for SMDL.

    Attributes:
        confidence: Lambda 1.
        effectiveness: Lambda 2.
        consistency: Lambda 3.
        collaboration: Lambda 4.
    """

    confidence: float = 1.0
    effectiveness: float = 1.0
    consistency: float = 1.0
    collaboration: float = 1.0


SMDL = SetWeights()

LIMA = SetWeights(0.0, 0.05, 20.0, 1.0)


class SetFeatures(Protocol):
    """Features of sets of n sub-regions."""

    def of(self, members: NDArray[np.bool_]) -> NDArray[np.floating]:
        """Return features of sets: (m, n) bool to (m, d)."""
        ...


@dataclass(frozen=True)
class SetScore:
    """The weighted sum of the four terms.

    Attributes:
        features: Features of sets.
        score: Consistency of features (m, d): probability or cosine of the target.
        head: Classifier, for the confidence; None for no confidence.
        weights: Weights of the terms.
        apart: (n, n) angles between single sub-regions, as a share of pi.
    """

    features: SetFeatures
    score: Score
    head: Head | None
    weights: SetWeights
    apart: NDArray[np.float64]

    def parts(self, members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the four terms of sets: (m, n) bool to (m, 4) float64."""
        z = self.features.of(members)
        terms = np.zeros((len(members), 4))
        if self.head is not None:
            terms[:, 0] = _confidence(self.head, z)
        terms[:, 1] = [self._effectiveness(np.flatnonzero(row)) for row in members]
        terms[:, 2] = self.score(z)
        terms[:, 3] = 1 - self.score(self.features.of(~members))
        return terms

    def of(self, members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the scores of sets: (m, n) bool to (m,)."""
        w = self.weights
        return self.parts(members) @ np.array(
            [w.confidence, w.effectiveness, w.consistency, w.collaboration]
        )

    def _effectiveness(self, rows: NDArray[np.int64]) -> float:
        # The angle of a member with itself is set to 1, so a single member has the value 1.
        within = self.apart[np.ix_(rows, rows)] + np.eye(rows.size)
        return float(within.min(axis=1).sum())


def _confidence(head: Head, z: NDArray[np.floating]) -> NDArray[np.float64]:
    p = probabilities(head, z)
    p /= p.sum(axis=1, keepdims=True)
    return 1 + (p * np.log(p)).sum(axis=1) / np.log(p.shape[1])


def angles(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return angles between features (n, d), as a share of pi: (n, n) float64."""
    z = unit(x).astype(np.float64)
    angle = np.arccos(np.clip(z @ z.T, -1, 1)) / np.pi
    np.fill_diagonal(angle, 0)
    return angle


def greedy(
    score: SetScore, most: int, ties: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Add sub-regions one at a time, each time the one that maximises the score.

    Args:
        score: Score of sets of n sub-regions.
        most: Maximum number of sub-regions.
        ties: (n,) keys that break ties.

    Returns:
        Rows in the order of selection, and importance (n,): selected ones above 1, the first
        highest; the others in [0, 1] by their single scores.
    """
    n = len(ties)
    rows: list[int] = []
    alone = np.zeros(n)
    for _ in range(min(most, n)):
        left = np.setdiff1d(np.arange(n), rows)
        sets = np.zeros((left.size, n), bool)
        sets[:, rows] = True
        sets[np.arange(left.size), left] = True
        value = score.of(sets)
        if not rows:
            alone = value
        rows.append(int(left[rank(value, ties[left])[0]]))
    chosen = np.array(rows, np.int64)
    return chosen, chosen_first(chosen, alone)


@dataclass
class _MaskedSets:
    """Sets encoded as the overview with all other regions masked; each costs one pass, cached.

    Attributes:
        view: Encoder of masked overviews.
        shares: (n, h, w) masks of the sub-regions.
    """

    view: MaskedOverview
    shares: NDArray[np.float64]
    known: dict[bytes, NDArray[np.float32]] = field(default_factory=dict)

    def of(self, members: NDArray[np.bool_]) -> NDArray[np.floating]:
        """Return features of sets."""
        todo = {row.tobytes(): row for row in members if row.tobytes() not in self.known}
        if todo:
            masks = (np.tensordot(row.astype(float), self.shares, 1) for row in todo.values())
            self.known.update(zip(todo, self.view.embed(masks), strict=True))
        return np.stack([self.known[row.tobytes()] for row in members])


@dataclass(frozen=True)
class GreedyMasks:
    """Sub-regions of the overview, by forward passes of sets as in the papers; then crops.

    The k-th selection among n takes ``2 (n - k + 1)`` passes: every candidate with the selected
    ones, and the image without them. The number of sub-regions follows from the budget minus the
    overview and crops.

    Attributes:
        weights: Weights of the terms.
        join: Aggregation of the predictions of the crops.
        cells: Maximum number of sub-regions.
        steps: Maximum number of selections; the rest is ranked by single scores.
    """

    weights: SetWeights = SMDL
    join: Join = "mean"
    cells: int = 49
    steps: int = 8

    def __call__(self, task: Task) -> Outcome:
        """Run the method on a scene.

        Raises:
            BudgetError: The passes do not cover two sub-regions and a crop.
            MissingCapabilityError: See `check_join`.
        """
        check_join(task.question, self.join)
        tiles = native_tiles(task)
        score = target_score(task.question, task.encoder.embed([whole(task)])[0])
        view = MaskedOverview(task)
        cells = self._sub_regions(task, view.room(keep=kept_for_crops(task, tiles)))
        sets = _MaskedSets(view, np.stack(list(view.shares(cells))))
        # The sets of the first selection, so that their passes are reused.
        alone = sets.of(np.eye(len(cells), dtype=bool))
        total = SetScore(sets, score, task.question.head, self.weights, angles(alone))
        _, importance = greedy(total, self._steps(task), ties_of(task, windows_of(cells)))
        shared = shared_area(windows_of(tiles), windows_of(cells))
        mean = shared @ importance / np.maximum(shared.sum(axis=1), 1)
        return closer_look(task, tiles, mean, self.join)

    def _steps(self, task: Task) -> int:
        return min(self.steps, task.regions)

    def _sub_regions(self, task: Task, room: int) -> Tiles:
        """Return the cells of the finest grid whose selection the passes cover."""
        height, width = task.shape
        for count in range(min(self.cells, max(2, height * width // 2)), 1, -1):
            if set_passes(count, self._steps(task)) <= room:
                return overview_partition(task, count)
        raise BudgetError(
            f"a budget of {task.passes:g} passes",
            f"The overview, {set_passes(2, self._steps(task))} sets of two regions and a crop "
            "take more.",
            "Increase --passes.",
        )


def set_passes(n: int, steps: int) -> int:
    """Return the forward passes of selecting among n sub-regions: sets and their complements."""
    return sum(2 * (n - k) for k in range(min(steps, n)))


@dataclass(frozen=True)
class _MixedSets:
    """Sets as means of encoded tiles; no pass is needed."""

    model: AdditiveModel

    def of(self, members: NDArray[np.bool_]) -> NDArray[np.floating]:
        """Return features of sets."""
        return self.model.mixture(members)


@dataclass(frozen=True)
class GreedyTiles:
    """Tiles at native resolution, each encoded once; sets are means of their features.

    The additive model of `foveate.focus.score` replaces forward passes of sets: the search takes
    no passes, and all passes encode tiles, or a stratified sample of them. The prediction is that
    of the selected set.

    Attributes:
        weights: Weights of the terms.
        join: Area-weighted average of the prediction.
    """

    weights: SetWeights = SMDL
    join: Fusion = "features"

    def __call__(self, task: Task) -> Outcome:
        """Run the method on a scene.

        Raises:
            BudgetError: The passes do not cover a tile.
        """
        tiles = native_tiles(task)
        rows = stratified_order(task, tiles)
        windows, x = show(task, [tiles.window(int(i)) for i in rows])
        encoded = tiles.take(rows[: len(windows)])
        model = AdditiveModel(x, areas(encoded), lambda z: np.zeros(len(z)))
        sets, head = _MixedSets(model), task.question.head
        everything = sets.of(np.ones((1, len(windows)), bool))[0]
        score = target_score(task.question, everything)
        total = SetScore(sets, score, head, self.weights, angles(x))
        chosen, importance = greedy(total, task.regions, ties_of(task, windows))
        answer = weighted_answer(task.question, x[chosen], areas(encoded)[chosen], self.join)
        selected = tuple(windows[i] for i in chosen)
        return Outcome(selected, answer, importance, tuple(windows))
