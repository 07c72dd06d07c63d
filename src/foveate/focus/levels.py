"""The search of the paper, section 4.2, for the goal "paper": level by level, and only inward.

Of the candidates the best K are selected and checked to be a coreset by Eq. 2; where they are none,
the next best join them until they are. Selected cells are cut, and their parts, with the selected
cells that cannot be cut further, are the candidates of the next level. What was not selected never
is looked into again, but stays a part of the image.

The paper ends this by "the resolution of the image and the coreset selection criterion" (E.6). Here
that is: no selected cell can be cut; no set of candidates is a coreset; or the importance of the
selected set falls, as its Table 9 has the deepest level worse than the best one. In the last two
cases the level before is kept. A check that is met does not end the search: with epsilon 0.98 it
nearly always is met by the first cells, and nothing would be refined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.focus.partition import windows_of
from foveate.focus.pyramid import Pyramid
from foveate.focus.refine import Refinement, region_ties
from foveate.focus.search import EQUAL, choose_coreset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.focus.config import Goal
    from foveate.focus.refine import SearchResult, State
    from foveate.focus.score import Scorer
    from foveate.focus.search import RegionSet
    from foveate.focus.strategies import CellFeatures
    from foveate.grid import Tiles, Window


class LevelRefinement(Refinement):
    """See the head of this module, and `Refinement` for the arguments."""

    _grow = True  # whether more than K regions are chosen where the check asks for them
    _candidates: frozenset[Window] | None = None  # all
    samples_evenly = False  # what scores best is cut

    def _search(self, tiles: Tiles) -> SearchResult:
        self._candidates = None
        state = self._begin(tiles)
        rounds = [self._round(state)]
        while True:
            if self.fits(state) and not state.chosen.ok:
                return self._finish(state, "coreset", rounds)
            cut = self._next_cuts(state, persist=False)
            if not isinstance(cut, dict):
                return self._finish(state, cut, rounds)
            before, self._candidates = self._candidates, _next_candidates(state, cut)
            after = self._refine(state, cut)
            stop = None
            if self.fits(state):
                worse = after.importance < state.importance - EQUAL
                if not after.chosen.ok:
                    stop = "coreset"
                elif worse and not self.search.persist:
                    stop = "gain"
            if stop is not None:
                self._candidates = before
                return self._finish(state, stop, rounds)
            state = after
            rounds.append(self._round(state))

    def _allowed(
        self,
        tiles: Tiles,
        features: CellFeatures,  # noqa: ARG002
    ) -> NDArray[np.bool_] | None:
        """Say which cells may become regions: the candidates of this level."""
        if self._candidates is None:
            return None
        return np.array([window in self._candidates for window in windows_of(tiles)])

    def _choose(self, tiles: Tiles, features: CellFeatures, scorer: Scorer) -> RegionSet:
        search = self.search
        if search.method != "top":
            return super()._choose(tiles, features, scorer)
        return choose_coreset(
            scorer, search.regions, region_ties(tiles, search.seed),
            area=search.area * self._total, epsilon=search.epsilon, one_sided=search.one_sided,
            allowed=self._allowed(tiles, features), grow=self._grow,
        )  # fmt: skip


class CountedLevelRefinement(LevelRefinement):
    """The same with K regions at most, for tasks that pay for each region once more."""

    _grow = False


def refinement_of(goal: Goal, *, grow: bool = True) -> type[Refinement]:
    """Return the search of a goal.

    Args:
        goal: What for.
        grow: Whether the check of the goal "paper" may ask for more regions than were stated.
    """
    if goal.coarse == "pyramid":
        return Pyramid
    if goal.name != "paper":
        return Refinement
    return LevelRefinement if grow else CountedLevelRefinement


def _next_candidates(state: State, cut: Mapping[int, Tiles]) -> frozenset[Window]:
    """Return the parts of the cells that are cut, and the selected cells that are not."""
    stay = [state.tiles.window(int(row)) for row in state.chosen.rows if int(row) not in cut]
    parts = [window for children in cut.values() for window in windows_of(children)]
    return frozenset((*stay, *parts))
