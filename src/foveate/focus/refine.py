"""Coarse to fine: cells are scored, the best are cut, until a named rule ends it.

HCS, section 4.2. The cells that exist at any time, the frontier, cover the image exactly, so the
additive model always is one of the whole image, and a look that is stopped at any moment has an
answer. Deviations from the paper, whose own search is `foveate.focus.levels`: the best cells are
taken from the whole frontier, not only from the last level, so that an early mistake can be
mended; and refining ends by a rule that is named in the result, where the paper says "resolution
and the coreset selection criterion".

Where one crop, drawn, stands for a cell and the answer is one of all crops, which cells are cut
must not depend on what was seen in them: a cell that agrees with the rest would be cut, and have a
vote for each half, because it agrees. Such a look cuts the largest cells first, drawn under the
seed, and so sees an even sample of the image; what it saw only decides which crops are regions.
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
    "resolution": "no cell can be cut further",
    "gain": "cutting the chosen cells no longer raised their importance",
    "passes": "the budget of passes does not hold another cell",
    "crops": "as many crops were shown as the budget would hold if each were a whole one",
    "depth": "the stated depth is reached",
    "coreset": "no set of the candidates met the coreset check",
}

_EXPLORE = 0.75  # of the passes, for the largest cells first, where what was seen leads on

_CUT = 16  # one cell in so many is cut in a round of a large frontier: rounds stay few

_ALIKE = 1e-5  # of the length of features: what a batch of another size may change


@dataclass(frozen=True)
class Round:
    """One round of scoring, for the record.

    Attributes:
        cells: Cells of the frontier.
        chosen: Of them, chosen.
        importance: S of the chosen set.
        epsilon: Relative difference of its loss from the image's.
        passes: Spent so far.
    """

    cells: int
    chosen: int
    importance: float
    epsilon: float
    passes: float


@dataclass(frozen=True)
class State:
    """A frontier with its scores and the regions chosen from it.

    Attributes:
        tiles: n cells that cover the image but for nodata.
        features: What the model made of them.
        scorer: Their scores.
        chosen: Regions, as rows of `tiles`.
    """

    tiles: Tiles
    features: CellFeatures
    scorer: Scorer
    chosen: RegionSet

    @cached_property
    def importance(self) -> float:
        """S of the chosen set."""
        members = np.zeros((1, len(self.tiles)), bool)
        members[0, self.chosen.rows] = True
        return float(self.scorer.importance(members)[0])


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Attributes:
        state: The last state.
        stop: Which rule ended it.
        rounds: What happened.
        near_ties: Decisions that rounding may turn on another machine: neighbouring ranks, to one
            below the last chosen region, and cells cut or not, that are as good as equal.
        parents: The cell that each cell was cut out of, but for the first ones.
        all_alike: Whether the model sees no difference between cells of one scale.
    """

    state: State
    stop: Stop
    rounds: tuple[Round, ...]
    near_ties: int
    parents: Mapping[Window, Window] = field(default_factory=dict)
    all_alike: bool = False

    @property
    def scoring_higher(self) -> int:
        """Cells that were not chosen, though they score higher than the last of the regions.

        They were too large to be shown at native resolution, or did not fit into the area.
        """
        score, rows = self.state.scorer.single_importance, self.state.chosen.rows
        others = np.delete(score, rows)
        return int((others > score[rows].min() + EQUAL).sum())

    @property
    def distinct_parents(self) -> int:
        """Cells that the regions were cut out of; one that was not cut stands for itself."""
        cells = [self.state.tiles.window(int(row)) for row in self.state.chosen.rows]
        return len({self.parents.get(cell, cell) for cell in cells})

    @property
    def windows(self) -> tuple[Window, ...]:
        """What was shown of each chosen region, the most important first."""
        return tuple(self.state.features.windows[row] for row in self.state.chosen.rows)


@dataclass
class Refinement:
    """Coarse-to-fine search for regions; `run` performs it.

    Attributes:
        strategy: How features are paid for.
        encoder: Books the passes.
        goal: What for.
        search: How.
        head: Classes, or None.
        target: Number of the class that is asked for, or None.
        text: Vector of a query without classes, or None.
        learned: A trained scorer in the place of the measured scores, or None.
        watch: Called with every state that was scored, or None.
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
        """Search.

        Args:
            tiles: The first partition, with measured shares of valid pixels.

        Raises:
            BudgetError: The first partition costs more passes than there are, or no region is
                as small as the area that they may have.
            DataError: The image has one value everywhere.
        """
        found = self._search(tiles)
        if found.all_alike:
            self._need_difference()
        if not self.fits(found.state):
            state = found.state
            free = self._allowed(state.tiles, state.features)
            sizes = state.scorer.sizes if free is None else state.scorer.sizes[free]
            smallest = float(sizes.min()) / self._total
            finer = ", more --cells or more --passes" if found.stop in ("passes", "crops") else ""
            raise BudgetError(
                f"an area of {self.search.area:.2%} of the image",
                f"The smallest region that the search came to has {smallest:.2%}.",
                f"Type --area {math.ceil(1e4 * smallest) / 100:g}%{finer}.",
            )
        return found

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
        """Score the first cells."""
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

    def _need_difference(self) -> None:
        """Refuse an image of one value, whose cells are ranked by the seed alone.

        Raises:
            DataError: It is one.
        """
        whole = self.encoder.read(Window(0, 0, *self.encoder.source.info.shape))
        values = whole.reshape(len(whole), -1)
        if (values == values[:, :1]).all():
            value = ", ".join(f"{v:g}" for v in np.unique(values[:, 0]).tolist())
            raise DataError(
                f"an image that is {value} everywhere",
                "The model sees no difference between its cells: there is nothing to choose from.",
                "Check that it is the right file, and the bands that are read: --bands.",
            )

    @property
    def samples_evenly(self) -> bool:
        """Whether crops are drawn that all answer, each for the cell that it lies in."""
        goal, search = self.goal, self.search
        asked = self.head is not None and goal.answer == "vote" and "label" not in goal.losses
        led = search.persist is False or (search.explore is not None and search.explore < 1)
        return self.strategy.name == "zoom" and goal.coarse == "native" and asked and not led

    @property
    def explore(self) -> float:
        """Share of the passes up to which the largest cells are cut first."""
        if self.search.explore is not None:
            return self.search.explore
        return 1.0 if self.samples_evenly else _EXPLORE

    def fits(self, state: State) -> bool:
        """Say whether the chosen regions are within the area that they may have."""
        area = float(state.scorer.sizes[state.chosen.rows].sum())
        return area <= self.search.area * self._total * (1 + 1e-9)

    def _next_cuts(self, state: State, *, persist: bool) -> dict[int, Tiles] | Stop:
        tiles = state.tiles
        able = self.strategy.can_refine(tiles)
        deep = np.zeros(len(tiles), bool)
        if self.search.depth is not None:
            deep = able & (tiles.level >= self.search.depth)
            able = able & ~deep
        drawn = False
        if persist:
            keys = region_ties(tiles, self.search.seed)
            limit = self.encoder.ledger.limits.get("passes", 0.0)
            largest_first = self.encoder.work.passes < self.explore * limit
            drawn = largest_first and self.samples_evenly
            score = state.scorer.single_importance
            order = np.argsort(keys) if drawn else by_importance(score, keys)
            wanted = order[able[order]]
            if largest_first:
                wanted = wanted[np.argsort(tiles.level[wanted], kind="stable")]
            most = max(self.search.regions, len(tiles) // _CUT)
        else:
            wanted = state.chosen.rows[able[state.chosen.rows]]
            most = wanted.size
        if not wanted.size:
            held = deep if persist else deep[state.chosen.rows]
            return "depth" if held.any() else "resolution"
        # Cell by cell: half of a cell's children would leave a hole in the frontier. Where the best
        # is too dear, a cheaper one further down still says more than passes that are not made.
        kept: dict[int, Tiles] = {}
        price, crops, short = 0.0, 0, "passes"
        # Half of what is left goes to this round: the best cells of the next deserve the rest.
        round_ends = self.encoder.ledger.left("passes") / 2 if persist else np.inf
        for row in wanted.tolist():
            if len(kept) == most or price >= round_ends:
                break
            children = valid_cells(self.strategy.children(tiles.take([row])), self.encoder)
            each = float(self.strategy.price(children).sum()) if len(children) else 0.0
            if not self.encoder.ledger.can(passes=price + each):
                continue
            shown = self.strategy.images(children) if len(children) else 0
            if not self.encoder.ledger.can(crops=float(crops + shown)):
                short = "crops"
                continue
            kept[row] = children
            price, crops = price + each, crops + shown
        if not kept:
            return short
        # Whether the last cell that is cut is as good as equal to the first that is not.
        last = int(np.flatnonzero(wanted == list(kept)[-1])[0])
        edge = state.scorer.single_importance[wanted[last : last + 2]]
        close = edge.size == 2 and abs(edge[0] - edge[1]) <= EQUAL
        self._close_cuts += int(close and not drawn)
        return kept

    def _refine(self, state: State, cut: Mapping[int, Tiles]) -> State:
        for row, parts in cut.items():
            cell = state.tiles.window(row)
            self._parents |= dict.fromkeys(windows_of(parts), cell)
        stay = np.setdiff1d(np.arange(len(state.tiles)), list(cut))
        children = Tiles.concat(list(cut.values()))
        tiles = Tiles.concat([state.tiles.take(stay), children])
        features = state.features.take(stay)
        if len(children):
            features = features.join(self.strategy.encode(children))
        # In the order of the image: rounding must not depend on the order of cutting.
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
        known = LossInputs(x, area, self.head, self.target, self.text, alike, whole)
        mixed_of = x if alike is None else np.concatenate([x, alike], axis=1)
        density = learned = None
        if self.learned is not None:
            learned = self.learned.predict(features.x, area / self._total, tiles.level)
        elif weights.representativeness:
            points, share = self.strategy.points(tiles, features)
            density = distribution(self.goal.density, points, share, self._vocabulary)
        near = neighbours(tiles, self.search.neighbours)
        model = AdditiveModel(mixed_of, area, mixed(losses, known), sums, pool)
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
        """Say which cells may become regions: (n,) bool; None for all.

        Where cells were seen whole and crops at native resolution, crops are the regions.
        """
        return features.scale == features.scale.min() if (features.scale < 0).any() else None

    def _round(self, state: State) -> Round:
        chosen = state.chosen
        passes = self.encoder.work.passes
        return Round(len(state.tiles), chosen.rows.size, state.importance, chosen.epsilon, passes)


def _centred(features: CellFeatures, area: NDArray[np.float64]) -> NDArray[np.floating]:
    """Move the features of each scale to one mean: what is new is new among its like.

    A cell that was squeezed differs from a crop at native resolution whatever they show.
    """
    x = features.x.astype(np.float64)
    mean = area @ x / area.sum()
    for scale in np.unique(features.scale):
        rows = features.scale == scale
        x[rows] += mean - area[rows] @ x[rows] / area[rows].sum()
    return x


def _all_alike(features: CellFeatures) -> bool:
    """Say whether cells of one scale and shape have the same features, but for rounding."""
    shape = [(window.h, window.w) for window in features.windows]
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, key in enumerate(zip(features.scale.tolist(), shape, strict=True)):
        groups.setdefault((key[0], *key[1]), []).append(row)
    most = _ALIKE * max(float(np.abs(features.x).max()), np.finfo(np.float32).tiny)
    return all(float(np.ptp(features.x[rows], axis=0).max()) <= most for rows in groups.values())


def shown_area(tiles: Tiles, features: CellFeatures) -> NDArray[np.float64]:
    """Return the valid pixels of what the model was shown of each cell: (n,)."""
    pixels = np.array([window.h * window.w for window in features.windows], np.float64)
    return np.minimum(pixels, tiles.pixels) * tiles.valid_share


def region_ties(tiles: Tiles, seed: int) -> NDArray[np.uint64]:
    """Return the keys that decide between cells of equal importance: (n,)."""
    return tie_keys(tiles.tile_id, seed, "focus/ties")


def _near_ties(state: State, free: NDArray[np.bool_] | None) -> int:
    """Count neighbouring ranks, to one below the last chosen, that differ by rounding only."""
    score = state.scorer.single_importance if free is None else state.scorer.single_importance[free]
    score = np.sort(score)[::-1][: state.chosen.rows.size + 1]
    return int((np.abs(np.diff(score)) <= EQUAL).sum())
