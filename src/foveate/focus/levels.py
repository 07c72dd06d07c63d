"""The search of section 4.2 of the paper, for the goal "paper": by levels, inside selected cells.

The best K candidates are selected and checked to be a coreset by Eq. 2; if they are not, the next
best are added until they are. Selected cells are refined. Their children, with the selected cells
that cannot be refined, are the candidates of the next level. Cells that were not selected are not
refined, but remain part of the image.

The paper ends the search by "the resolution of the image and the coreset selection criterion"
(E.6). This implementation ends it when no selected cell can be refined, when no set of candidates
is a coreset, or when the importance of the selected set falls: in Table 9 of the paper the deepest
level is worse than the best one. In the last two cases the previous level is the result. A passed
check does not end the search: with epsilon 0.98 the first cells nearly always pass it, and nothing
would be refined.
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
    """Search by levels, see the module docstring; `Refinement` describes the arguments."""

    _grow = True  # whether more than K regions are selected until the coreset check passes
    _candidates: frozenset[Window] | None = None  # None: all cells
    samples_evenly = False

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
        """Return the mask of the candidates of this level, or None for all cells."""
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
    """Search by levels with at most K regions, for tasks that pay again for each region."""

    _grow = False


def refinement_of(goal: Goal, *, grow: bool = True) -> type[Refinement]:
    """Return the search of a goal.

    Args:
        goal: Objective of the look.
        grow: Whether the coreset check of the goal "paper" may select more than K regions.
    """
    if goal.coarse == "pyramid":
        return Pyramid
    if goal.name != "paper":
        return Refinement
    return LevelRefinement if grow else CountedLevelRefinement


def _next_candidates(state: State, cut: Mapping[int, Tiles]) -> frozenset[Window]:
    """Return the children of the refined cells, and the selected cells that were not refined."""
    kept = [state.tiles.window(int(row)) for row in state.chosen.rows if int(row) not in cut]
    children = [window for tiles in cut.values() for window in windows_of(tiles)]
    return frozenset((*kept, *children))
