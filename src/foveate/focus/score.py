"""Scores of sets of regions: from the additive model of an image to Eq. 7."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from foveate.focus import importance as eq

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.focus.density import Distribution
    from foveate.focus.goals import Goal
    from foveate.focus.sets import AdditiveModel
    from foveate.grid import Tiles

Neighbours = Literal["adjacent", "all"]
NEIGHBOURS: tuple[Neighbours, ...] = get_args(Neighbours)


@dataclass(frozen=True)
class Scorer:
    """Everything that the four scores of sets of n regions need.

    Attributes:
        model: The additive model of the image.
        goal: Forms and weights.
        near: (n, n) bool, symmetric, False on the diagonal: which regions are neighbours.
        density: Distribution of features over the regions; None where it is not measured.
        shift: (n,) how far a small perturbation moves the features of norm 1; None where it is
            not measured.
        shown: (n,) area of what the model was shown of each region, which may be less than the
            area that it stands for; that of the model when None.
        total: Area of the whole image in the units of the model's areas; their sum when None.
    """

    model: AdditiveModel
    goal: Goal
    near: NDArray[np.bool_]
    density: Distribution | None = None
    shift: NDArray[np.floating] | None = None
    shown: NDArray[np.floating] | None = None
    total: float | None = None

    @property
    def sizes(self) -> NDArray[np.float64]:
        """(n,) area of the regions as they were shown."""
        return np.asarray(self.model.area if self.shown is None else self.shown, np.float64)

    @property
    def whole_area(self) -> float:
        """Area of the image."""
        return float(self.model.area.sum()) if self.total is None else self.total

    def parts(self, members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the four scores of sets.

        Args:
            members: (m, n) bool, no set empty.

        Returns:
            (m, 4) utility, representativeness, robustness, synergy; NaN where a score is not
            measured.
        """
        share = members @ self.sizes / self.whole_area
        found = np.full((len(members), 4), np.nan)
        found[:, 0] = eq.utility(
            self.model.of(members), self.model.whole, share,
            form=self.goal.utility, area_weight=self.goal.weights.area,
        )  # fmt: skip
        if self.density is not None:
            form = self.goal.divergence
            found[:, 1] = eq.representativeness(
                self.density.divergence(members, form),
                eq.largest_divergence(members @ self.model.area / self.model.area.sum(), form=form),
            )
        if self.shift is not None:
            # Of a set: the mean of its regions, by area, in the place of one more pass.
            weight = members * self.model.area
            found[:, 2] = weight @ eq.robustness(self.shift) / weight.sum(axis=1)
        found[:, 3] = self._synergy(members)
        return found

    def importance(self, members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return S of sets: (m, n) bool to (m,)."""
        return eq.importance(self.parts(members), self.goal.weights)

    @cached_property
    def singles(self) -> NDArray[np.float64]:
        """(n, 4) the four scores of every region alone."""
        return self.parts(np.eye(len(self.model), dtype=bool))

    @cached_property
    def single_importance(self) -> NDArray[np.float64]:
        """(n,) S of every region alone."""
        return eq.importance(self.singles, self.goal.weights)

    def epsilon(self, members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return how far the loss of sets is from the image's, relative to it (Eq. 2).

        Args:
            members: (m, n) bool.

        Returns:
            (m,) ``(L(X_s) - L(X)) / L(X)`` with its sign: below 0 the set answers better. Where
            L(X) is 0 but for rounding, as likeness to the image itself is, relative to 0.05.
        """
        whole, gap = self.model.whole, self.model.of(members) - self.model.whole
        return gap / (whole if whole > eq.NONE else eq.GUARD)

    @cached_property
    def _without_one(self) -> NDArray[np.float64]:
        r"""(n,) L(X \ r)."""
        return self.model.without(np.eye(len(self.model), dtype=bool))

    def _synergy(self, members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Mean of Eq. 6 over the neighbours of each set; neutral where it has none."""
        beside = ((members.astype(np.float64) @ self.near) > 0) & ~members
        sets, other = np.nonzero(beside)
        if not sets.size:
            return np.full(len(members), eq.NEUTRAL)
        found = eq.synergy(
            self.model.whole, self._without_one[other], self.model.without(members[sets], other),
            form=self.goal.synergy, scale=self._scale,
        )  # fmt: skip
        count = np.bincount(sets, minlength=len(members))
        total = np.bincount(sets, weights=found, minlength=len(members))
        return np.where(count > 0, total / np.maximum(count, 1), eq.NEUTRAL)

    @property
    def _scale(self) -> float:
        """Mean size of what removing one region changes."""
        return float(np.abs(self._without_one - self.model.whole).mean())


def neighbours(tiles: Tiles, which: Neighbours = "adjacent") -> NDArray[np.bool_]:
    """Say which of n cells are neighbours: those that share an edge, of whatever size.

    Args:
        tiles: n cells of one scene that do not overlap.
        which: "adjacent", or "all" for every other cell.

    Returns:
        (n, n) bool, symmetric.
    """
    n = len(tiles)
    if which == "all":
        return ~np.eye(n, dtype=bool)
    y, x = tiles.y.astype(np.int64), tiles.x.astype(np.int64)
    bottom, right = y + tiles.h, x + tiles.w
    down = np.minimum(bottom[:, None], bottom) - np.maximum(y[:, None], y)
    across = np.minimum(right[:, None], right) - np.maximum(x[:, None], x)
    return ((down == 0) & (across > 0)) | ((across == 0) & (down > 0))
