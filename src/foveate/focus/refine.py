"""Coarse-to-fine search: cells are scored and the best ones refined, until a stopping rule applies.

HCS, section 4.2. The current cells, the frontier, cover the image exactly. The additive model is
therefore always one of the whole image, and the search has a valid result after every round.
Deviations from the paper, whose search is `foveate.focus.levels`: the best cells are selected from
the whole frontier, not only from the last level, so that early mistakes can be corrected; and the
result names the stopping rule, in the paper "resolution and the coreset selection criterion".

If a random crop represents each cell and all crops vote on the prediction, the choice of refined
cells must not depend on their content: a cell that agrees with the others would be refined because
it agrees, and each half would get a vote. Such a look refines the largest cells first, in random
order, and so takes an even sample of the image; the content only determines which crops become
regions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from foveate.errors import BudgetError, DataError
from foveate.focus.config import SearchConfig
from foveate.focus.density import Vocabulary, distribution
from foveate.focus.losses import LossInputs, mixed
from foveate.focus.partition import areas, windows_of
from foveate.focus.score import AdditiveModel, Scorer, neighbours
from foveate.focus.search import EQUAL, RegionSet, by_importance, choose
from foveate.focus.strategies import valid_cells
from foveate.grid import Tiles, Window
from foveate.seeds import rng, tie_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from foveate.focus.config import Goal
    from foveate.focus.encode import CropEncoder
    from foveate.focus.learned import LearnedScorer
    from foveate.focus.strategies import CellFeatures, Strategy
    from foveate.models.heads import Head


Stop = Literal["resolution", "gain", "passes", "crops", "depth", "coreset"]

STOPS: dict[Stop, str] = {
    "resolution": "no cell can be split further",
    "gain": "splitting the selected cells no longer increased their importance",
    "passes": "the remaining budget does not suffice for another cell",
    "crops": "the number of crops has reached the budget of passes, counting each as a whole pass",
    "depth": "the given depth is reached",
    "coreset": "no set of candidates passed the coreset check",
}

_EXPLORE = 0.75  # share of the passes for the largest cells first, if content guides the search

_CUT = 16  # at least 1 / _CUT of the cells may be refined per round, to limit the rounds

_ALIKE = 1e-5  # relative to the norm of features: differences between batch sizes


@dataclass(frozen=True)
class Round:
    """Record of one round of scoring.

    Attributes:
        cells: Number of cells of the frontier.
        chosen: Number of selected cells.
        importance: S of the selected set.
        epsilon: Relative difference of the losses of the set and the image.
        passes: Passes spent so far.
    """

    cells: int
    chosen: int
    importance: float
    epsilon: float
    passes: float


@dataclass(frozen=True)
class State:
    """A frontier with its scores and selected regions.

    Attributes:
        tiles: n cells that cover the valid pixels of the image.
        features: Their features.
        scorer: Their scores.
        chosen: Selected regions, as rows of `tiles`.
    """

    tiles: Tiles
    features: CellFeatures
    scorer: Scorer
    chosen: RegionSet

    @cached_property
    def importance(self) -> float:
        """S of the selected set."""
        members = np.zeros((1, len(self.tiles)), bool)
        members[0, self.chosen.rows] = True
        return float(self.scorer.importance(members)[0])


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Attributes:
        state: The final state.
        stop: Stopping rule.
        rounds: Records of the rounds.
        near_ties: Number of decisions that may differ on another machine because of rounding:
            ties of neighbouring ranks, down to the first region that was not selected, and ties
            between refined cells and others.
        parents: Parent of each cell, except those of the first partition.
        all_alike: Whether the features of all cells of one scale are equal.
    """

    state: State
    stop: Stop
    rounds: tuple[Round, ...]
    near_ties: int
    parents: Mapping[Window, Window] = field(default_factory=dict)
    all_alike: bool = False

    @property
    def scoring_higher(self) -> int:
        """Number of cells that score higher than the last region but were not selected.

        They were not encoded at native resolution, or exceeded the area.
        """
        score, rows = self.state.scorer.single_importance, self.state.chosen.rows
        others = np.delete(score, rows)
        return int((others > score[rows].min() + EQUAL).sum())

    @property
    def distinct_parents(self) -> int:
        """Number of distinct parents of the regions; cells of the first partition count as such."""
        cells = [self.state.tiles.window(int(row)) for row in self.state.chosen.rows]
        return len({self.parents.get(cell, cell) for cell in cells})

    @property
    def windows(self) -> tuple[Window, ...]:
        """Encoded windows of the selected regions, the most important first."""
        return tuple(self.state.features.windows[row] for row in self.state.chosen.rows)


@dataclass
class Refinement:
    """Coarse-to-fine search for regions; `run` performs it.

    Attributes:
        strategy: Strategy that encodes the cells.
        encoder: Encoder that books the passes.
        goal: Objective.
        search: Configuration of the search.
        head: Classifier, or None.
        target: Index of the target class, or None.
        text: Vector of a query without classes, or None.
        learned: Trained scorer that predicts the scores, or None.
        watch: Called with every scored state, or None.
    """

    strategy: Strategy
    encoder: CropEncoder
    goal: Goal
    search: SearchConfig = field(default_factory=SearchConfig)
    head: Head | None = None
    target: int | None = None
    text: NDArray[np.floating] | None = None
    learned: LearnedScorer | None = None
    watch: Callable[[State], None] | None = None

    def run(self, tiles: Tiles) -> SearchResult:
        """Run the search.

        Args:
            tiles: The first partition, with computed valid shares.

        Raises:
            BudgetError: The passes do not cover the first partition, or all regions exceed the
                maximum area.
            DataError: The image is constant.
        """
        result = self._search(tiles)
        if result.all_alike:
            self._check_not_constant()
        if not self.fits(result.state):
            state = result.state
            allowed = self._allowed(state.tiles, state.features)
            sizes = state.scorer.sizes if allowed is None else state.scorer.sizes[allowed]
            smallest = float(sizes.min()) / self._total
            finer = ", or more --cells or --passes" if result.stop in ("passes", "crops") else ""
            raise BudgetError(
                f"an area of {self.search.area:.2%} of the image",
                f"The smallest region of the search has {smallest:.2%}.",
                f"Type --area {math.ceil(1e4 * smallest) / 100:g}%{finer}.",
            )
        return result

    def _search(self, tiles: Tiles) -> SearchResult:
        state = self._begin(tiles)
        rounds = [self._round(state)]
        persist = self.strategy.persists if self.search.persist is None else self.search.persist
        while True:
            cut = self._next_cuts(state, persist=persist)
            if not isinstance(cut, dict):
                return self._finish(state, cut, rounds)
            after = self._refine(state, cut)
            better = after.importance > state.importance + EQUAL
            if not persist and not better and self.fits(state):
                return self._finish(state, "gain", rounds)
            state = after
            rounds.append(self._round(state))

    def _begin(self, tiles: Tiles) -> State:
        """Score the first partition."""
        self._close_cuts = 0
        self._parents: dict[Window, Window] = {}
        self._vocabulary = Vocabulary(self.search.seed)
        self._total = float(areas(tiles).sum())
        return self._state(tiles, self.strategy.encode(tiles))

    def _finish(self, state: State, stop: Stop, rounds: list[Round]) -> SearchResult:
        ties = self._close_cuts + _near_ties(state, self._allowed(state.tiles, state.features))
        return SearchResult(
            state, stop, tuple(rounds), ties, self._parents, _all_alike(state.features)
        )

    def _check_not_constant(self) -> None:
        """Check that the image is not constant; its cells would be ranked by the seed alone.

        Raises:
            DataError: All pixels are equal.
        """
        whole = self.encoder.read(Window(0, 0, *self.encoder.source.info.shape))
        values = whole.reshape(len(whole), -1)
        if (values == values[:, :1]).all():
            value = ", ".join(f"{v:g}" for v in np.unique(values[:, 0]).tolist())
            raise DataError(
                f"all pixels of the image are {value}",
                "The features of all cells are equal: there is nothing to select.",
                "Check the file, and the bands that are read: --bands.",
            )

    @property
    def samples_evenly(self) -> bool:
        """Whether the cells are an even sample of random crops that all vote."""
        goal, search = self.goal, self.search
        votes = self.head is not None and goal.answer == "vote" and "label" not in goal.losses
        guided = search.persist is False or (search.explore is not None and search.explore < 1)
        return self.strategy.name == "zoom" and goal.coarse == "native" and votes and not guided

    @property
    def explore(self) -> float:
        """Share of the passes up to which the largest cells are refined first."""
        if self.search.explore is not None:
            return self.search.explore
        return 1.0 if self.samples_evenly else _EXPLORE

    def fits(self, state: State) -> bool:
        """Return whether the selected regions are within the maximum area."""
        area = float(state.scorer.sizes[state.chosen.rows].sum())
        return area <= self.search.area * self._total * (1 + 1e-9)

    def _next_cuts(self, state: State, *, persist: bool) -> dict[int, Tiles] | Stop:
        tiles = state.tiles
        refinable = self.strategy.can_refine(tiles)
        deep = np.zeros(len(tiles), bool)
        if self.search.depth is not None:
            deep = refinable & (tiles.level >= self.search.depth)
            refinable = refinable & ~deep
        limit = self.encoder.ledger.limits.get("passes", 0.0)
        largest_first = persist and self.encoder.work.passes < self.explore * limit
        drawn = largest_first and self.samples_evenly
        order = state.chosen.rows
        if persist:
            order = self._by_promise(state, drawn=drawn)
        candidates = order[refinable[order]]
        if not candidates.size:
            return "depth" if deep[order].any() else "resolution"
        if largest_first:
            candidates = candidates[np.argsort(tiles.level[candidates], kind="stable")]
        kept = self._affordable_cuts(tiles, candidates, persist=persist)
        if isinstance(kept, dict) and not drawn:
            # Count a tie between the last refined cell and the next candidate.
            last = int(np.flatnonzero(candidates == list(kept)[-1])[0])
            edge = state.scorer.single_importance[candidates[last : last + 2]]
            self._close_cuts += int(edge.size == 2 and abs(edge[0] - edge[1]) <= EQUAL)
        return kept

    def _by_promise(self, state: State, *, drawn: bool) -> NDArray[np.int64]:
        """Return all cells by importance, or in random order."""
        keys = region_ties(state.tiles, self.search.seed)
        return np.argsort(keys) if drawn else by_importance(state.scorer.single_importance, keys)

    def _affordable_cuts(
        self, tiles: Tiles, candidates: NDArray[np.int64], *, persist: bool
    ) -> dict[int, Tiles] | Stop:
        """Return the children of the first candidates that the budget covers; its unit if none.

        Cells are refined completely, since the frontier has to cover the image. If the passes do
        not cover the best cell, a cheaper one further down is refined instead.
        """
        ledger = self.encoder.ledger
        most = max(self.search.regions, len(tiles) // _CUT) if persist else candidates.size
        # A round uses half of the remaining passes; the rest is for the best cells of the next.
        max_price = ledger.left("passes") / 2 if persist else np.inf
        kept: dict[int, Tiles] = {}
        price, crops, short = 0.0, 0, "passes"
        for row in candidates.tolist():
            if len(kept) == most or price >= max_price:
                break
            children = valid_cells(self.strategy.children(tiles.take([row])), self.encoder)
            each = float(self.strategy.price(children).sum()) if len(children) else 0.0
            if not ledger.can(passes=price + each):
                continue
            images = self.strategy.images(children) if len(children) else 0
            if not ledger.can(crops=float(crops + images)):
                short = "crops"
                continue
            kept[row] = children
            price, crops = price + each, crops + images
        return kept or short

    def _refine(self, state: State, cut: Mapping[int, Tiles]) -> State:
        for row, parts in cut.items():
            cell = state.tiles.window(row)
            self._parents |= dict.fromkeys(windows_of(parts), cell)
        kept = np.setdiff1d(np.arange(len(state.tiles)), list(cut))
        children = Tiles.concat(list(cut.values()))
        tiles = Tiles.concat([state.tiles.take(kept), children])
        features = state.features.take(kept)
        if len(children):
            features = features.join(self.strategy.encode(children))
        # In the order of the image: rounding must not depend on the order of refinement.
        order = np.lexsort((tiles.x, tiles.y))
        return self._state(tiles.take(order), features.take(order))

    def _state(self, tiles: Tiles, features: CellFeatures) -> State:
        weights, area = self.goal.weights, areas(tiles)
        losses = self.goal.losses if self.head is not None else self.goal.bare
        x, alike = features.x, None
        if "novelty" in losses and np.unique(features.scale).size > 1:
            alike = _centred(features, area)
            if len(losses) == 1:
                x, alike = alike, None
        pool, sums = self.strategy.pool, features.sums
        whole = None if pool is None or sums is None else pool(sums.sum(axis=0)[None])
        inputs = LossInputs(x, area, self.head, self.target, self.text, alike, whole)
        mixture_x = x if alike is None else np.concatenate([x, alike], axis=1)
        density = learned = None
        if self.learned is not None:
            learned = self.learned.predict(features.x, area / self._total, tiles.level)
        elif weights.representativeness:
            points, share = self.strategy.points(tiles, features)
            density = distribution(self.goal.density, points, share, self._vocabulary)
        near = neighbours(tiles, self.search.neighbours)
        model = AdditiveModel(mixture_x, area, mixed(losses, inputs), sums, pool)
        scorer = Scorer(
            model, self.goal, near, density, features.shift, shown_area(tiles, features),
            self._total, learned,
        )  # fmt: skip
        state = State(tiles, features, scorer, self._choose(tiles, features, scorer))
        if self.watch is not None:
            self.watch(state)
        return state

    def _choose(self, tiles: Tiles, features: CellFeatures, scorer: Scorer) -> RegionSet:
        search = self.search
        return choose(
            scorer, search.regions, region_ties(tiles, search.seed), method=search.method,
            area=search.area * self._total, epsilon=search.epsilon, one_sided=search.one_sided,
            allowed=self._allowed(tiles, features), rng=rng(search.seed, "focus/sample"),
        )  # fmt: skip

    def _allowed(
        self,
        tiles: Tiles,  # noqa: ARG002
        features: CellFeatures,
    ) -> NDArray[np.bool_] | None:
        """Return the (n,) bool mask of cells that may become regions; None for all.

        If there are crops at native resolution, only these may become regions.
        """
        return features.scale == features.scale.min() if (features.scale < 0).any() else None

    def _round(self, state: State) -> Round:
        chosen = state.chosen
        passes = self.encoder.work.passes
        return Round(len(state.tiles), chosen.rows.size, state.importance, chosen.epsilon, passes)


def _centred(features: CellFeatures, area: NDArray[np.float64]) -> NDArray[np.floating]:
    """Shift the features of each scale to a common mean.

    Features of downsampled cells and of native crops differ whatever their content, so novelty
    has to be relative to cells of the same scale.
    """
    x = features.x.astype(np.float64)
    mean = area @ x / area.sum()
    for scale in np.unique(features.scale):
        rows = features.scale == scale
        x[rows] += mean - area[rows] @ x[rows] / area[rows].sum()
    return x


def _all_alike(features: CellFeatures) -> bool:
    """Return whether cells of equal scale and shape have equal features, up to rounding."""
    shape = [(window.h, window.w) for window in features.windows]
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, key in enumerate(zip(features.scale.tolist(), shape, strict=True)):
        groups.setdefault((key[0], *key[1]), []).append(row)
    limit = _ALIKE * max(float(np.abs(features.x).max()), np.finfo(np.float32).tiny)
    return all(float(np.ptp(features.x[rows], axis=0).max()) <= limit for rows in groups.values())


def shown_area(tiles: Tiles, features: CellFeatures) -> NDArray[np.float64]:
    """Return the number of valid pixels in the encoded window of each cell: (n,)."""
    pixels = np.array([window.h * window.w for window in features.windows], np.float64)
    return np.minimum(pixels, tiles.pixels) * tiles.valid_share


def region_ties(tiles: Tiles, seed: int) -> NDArray[np.uint64]:
    """Return the keys that break ties of importance: (n,)."""
    return tie_keys(tiles.tile_id, seed, "focus/ties")


def _near_ties(state: State, allowed: NDArray[np.bool_] | None) -> int:
    """Count ties of neighbouring ranks, down to the first region that was not selected."""
    score = state.scorer.single_importance
    score = score if allowed is None else score[allowed]
    score = np.sort(score)[::-1][: state.chosen.rows.size + 1]
    return int((np.abs(np.diff(score)) <= EQUAL).sum())
