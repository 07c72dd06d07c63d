r"""Scores of sets of regions: the additive model of an image, and Eq. 7 on top of it.

Eq. 1 of HCS takes the loss of an image as an integral over its regions. Here the features are
what is integrated: ``z(S) = sum_r a_r f_r / sum_r a_r`` over the regions r of a set S, with areas
a_r and features f_r, and ``L(S) = loss(z(S))``. Then L(r), L(X \ r), L(X \ (r and r')) and the
loss of any set are matrix products, without another pass of the model, and removal is exact. For
models that give a loss for each region and no features, the losses themselves are the features.

Where a model pools parts of an image itself (`foveate.models.capabilities.PoolsParts`), the sums
that its pooling makes over a region take the place of ``a_r f_r``, and its pooling that of the
quotient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array, eye_array, vstack

from foveate.errors import DataError
from foveate.focus import importance as eq

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from foveate.focus.config import Goal, Neighbours
    from foveate.focus.density import Distribution
    from foveate.grid import Tiles

    Loss = Callable[[NDArray[np.float64]], NDArray[np.float64]]
    Pool = Callable[[NDArray[np.floating]], NDArray[np.floating]]
    Sets = NDArray[np.bool_] | csr_array


_SETS_AT_ONCE = 4096  # sets at a time: their vectors of 1,024 numbers take 32 MB


@dataclass(frozen=True)
class AdditiveModel:
    """n regions and the loss of their mixtures.

    Attributes:
        x: (n, d) features.
        area: (n,) > 0, valid pixels of each region.
        loss: From (m, d) mixtures to (m,) losses >= 0. A mixture of nothing is a row of zeros.
        sums: (n, q) what `pool` takes, of each region; None for features times areas.
        pool: From (m, q) sums over regions to (m, d) mixtures; None for means by area.

    Raises:
        DataError: Lengths disagree, there is no region, an area is not above 0, or a feature is
            not finite.
    """

    x: NDArray[np.floating]
    area: NDArray[np.floating]
    loss: Loss
    sums: NDArray[np.float64] | None = None
    pool: Pool | None = None

    def __post_init__(self) -> None:
        """Check the shapes."""
        x, area = np.asarray(self.x, np.float64), np.asarray(self.area, np.float64)
        if not np.isfinite(x).all():
            raise DataError("features that hold NaN or infinity", "A model gives finite vectors.")
        if x.ndim != 2 or area.shape != x.shape[:1] or not len(x) or not (area > 0).all():
            raise DataError(
                f"features of shape {x.shape} and areas of shape {area.shape}",
                "Expected (n, d) and (n,) with n >= 1 and areas above 0.",
            )
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "area", area)

    def __len__(self) -> int:
        """Return the number of regions."""
        return self.area.size

    @cached_property
    def whole(self) -> float:
        """L(X), the loss of all regions together."""
        return float(self.of(np.ones((1, len(self)), bool))[0])

    def mixture(self, members: Sets) -> NDArray[np.float64]:
        """Return z of sets.

        Args:
            members: (m, n) bool, dense or sparse.

        Returns:
            (m, d).
        """
        sets = csr_array(members, dtype=np.float64)
        return self._pooled(sets @ self._sums, sets @ self.area)

    def of(self, members: Sets) -> NDArray[np.float64]:
        """Return L of sets: (m, n) bool to (m,)."""
        return self.loss(self.mixture(members))

    def without(
        self, members: Sets, also: NDArray[np.integer] | None = None
    ) -> NDArray[np.float64]:
        r"""Return L of the image without sets, each possibly without one region more.

        Args:
            members: (m, n) bool, the sets that are taken away.
            also: (m,) one more region each, outside of its set; None for none.

        Returns:
            (m,) L(X \ S), or L(X \ (S and r')).
        """
        sets = csr_array(members, dtype=np.float64)
        found = np.empty(sets.shape[0])
        total, area = self._total
        for start in range(0, len(found), _SETS_AT_ONCE):
            part = slice(start, start + _SETS_AT_ONCE)
            gone = sets[part]
            rest, left = total - gone @ self._sums, area - gone @ self.area
            if also is not None:
                rest = rest - self._sums[also[part]]
                left = left - self.area[also[part]]
            # What is left of everything taken away is rounding, not a mixture.
            none = left <= area * 1e-12
            found[part] = self.loss(self._pooled(np.where(none[:, None], 0, rest), left * ~none))
        return found

    @cached_property
    def _sums(self) -> NDArray[np.float64]:
        """(n, q) what is added up over regions."""
        return self.area[:, None] * self.x if self.sums is None else self.sums

    @cached_property
    def _total(self) -> tuple[NDArray[np.float64], float]:
        return self._sums.sum(axis=0), float(self.area.sum())

    def _pooled(
        self, total: NDArray[np.floating], area: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        if self.pool is None:
            return total / np.where(area > 0, area, 1)[:, None]
        return np.where((area > 0)[:, None], self.pool(total), 0.0)


_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Scorer:
    """The four scores of sets of n regions.

    Attributes:
        model: The additive model of the image.
        goal: Forms and weights.
        near: (n, n) bool, dense or sparse, symmetric, False on the diagonal: which regions are
            neighbours.
        density: Distribution of features over the regions; None where it is not measured.
        shift: (n,) how far a small perturbation moves the features of norm 1; None where it is
            not measured.
        shown: (n,) area of what the model was shown of each region, which may be less than the
            area that it stands for; that of the model when None.
        total: Area of the whole image in the units of the model's areas; their sum when None.
        learned: (n, 4) scores of the regions by a trained scorer, NaN where it gives none; then
            nothing is left out and no distribution is compared. None where they are measured.
    """

    model: AdditiveModel
    goal: Goal
    near: Sets
    density: Distribution | None = None
    shift: NDArray[np.floating] | None = None
    shown: NDArray[np.floating] | None = None
    total: float | None = None
    learned: NDArray[np.float64] | None = None

    @property
    def sizes(self) -> NDArray[np.float64]:
        """(n,) area of the regions as they were shown."""
        return np.asarray(self.model.area if self.shown is None else self.shown, np.float64)

    @property
    def whole_area(self) -> float:
        """Area of the image."""
        return float(self.model.area.sum()) if self.total is None else self.total

    def parts(self, members: Sets) -> NDArray[np.float64]:
        """Return the four scores of sets.

        Args:
            members: (m, n) bool, dense or sparse, no set empty.

        Returns:
            (m, 4) utility, representativeness, robustness, synergy; NaN where a score is not
            measured. With a trained scorer all but the utility are means of its regions, by area.
        """
        members = csr_array(members, dtype=np.float64)
        share = members @ self.sizes / self.whole_area
        found = np.full((members.shape[0], 4), np.nan)
        found[:, 0] = eq.utility(
            self.model.of(members), self.model.whole, share, form=self.goal.utility,
            area_weight=self.goal.weights.area, guard=self.goal.guard,
        )  # fmt: skip
        if self.learned is not None:
            area = self.model.area
            found[:, 1:] = (members @ (area[:, None] * self.learned[:, 1:])) / (members @ area)[
                :, None
            ]
            return found
        if self.density is not None:
            form = self.goal.divergence
            found[:, 1] = eq.representativeness(
                self.density.divergence(members, form),
                eq.largest_divergence(members @ self.model.area / self.model.area.sum(), form=form),
            )
        if self.shift is not None:
            # Of a set: the mean of its regions, by area, in the place of one more pass.
            area = self.model.area
            found[:, 2] = members @ (area * eq.robustness(self.shift)) / (members @ area)
        found[:, 3] = self._synergy(members)
        return found

    def importance(self, members: Sets) -> NDArray[np.float64]:
        """Return S of sets: (m, n) bool to (m,)."""
        return eq.importance(self.parts(members), self.goal.weights)

    @cached_property
    def singles(self) -> NDArray[np.float64]:
        """(n, 4) the four scores of every region alone."""
        return self.learned if self.learned is not None else self.parts(self._singletons)

    @cached_property
    def single_importance(self) -> NDArray[np.float64]:
        """(n,) S of every region alone."""
        return eq.importance(self.singles, self.goal.weights)

    def epsilon(self, members: Sets) -> NDArray[np.float64]:
        """Return how far the loss of sets is from the image's, relative to it.

        The check of section 4.2 of the paper: L of a set is that of its mixture, without weights.

        Args:
            members: (m, n) bool.

        Returns:
            (m,) ``(L(X_s) - L(X)) / L(X)`` with its sign: below 0 the set answers better. Where
            L(X) is 0 but for rounding, as likeness to the image itself is, relative to the
            goal's guard.
        """
        whole, gap = self.model.whole, self.model.of(members) - self.model.whole
        return gap / eq.relative_to(whole, self.goal.guard)

    def weighted(
        self, rows: NDArray[np.integer], weight: NDArray[np.floating]
    ) -> tuple[float, float]:
        """Return the two losses that Eq. 2 compares.

        Args:
            rows: (k,) regions of a sample.
            weight: (k,) their weights of Theorem 5.1.

        Returns:
            ``sum_r v(r) l(r)`` over the sample, and L(X) of Eq. 1: ``sum_r P(r) l(r)`` over all
            regions, with l the loss of a region alone and P its share of the area.
        """
        share = self.model.area / self.model.area.sum()
        return float(weight @ self._alone[rows]), float(share @ self._alone)

    def weighted_epsilon(self, rows: NDArray[np.integer], weight: NDArray[np.floating]) -> float:
        """Return how far the weighted loss of a sample is from the image's (Eq. 2), with its sign.

        Args:
            rows: (k,) regions.
            weight: (k,) their weights; see `weighted`.
        """
        found, whole = self.weighted(rows, weight)
        return (found - whole) / eq.relative_to(whole, self.goal.guard)

    def compared(
        self, rows: NDArray[np.integer], weight: NDArray[np.floating] | None
    ) -> tuple[float, float]:
        """Return the losses of regions and image that `epsilon` or `weighted_epsilon` compares."""
        if weight is not None:
            return self.weighted(rows, weight)
        members = np.zeros((1, len(self.model)), bool)
        members[0, rows] = True
        return float(self.model.of(members)[0]), self.model.whole

    @cached_property
    def _singletons(self) -> csr_array:
        """(n, n) every region alone."""
        return csr_array(eye_array(len(self.model)))

    @cached_property
    def _alone(self) -> NDArray[np.float64]:
        """(n,) L(r), the loss of every region alone."""
        return self.model.of(self._singletons)

    @cached_property
    def _without_one(self) -> NDArray[np.float64]:
        r"""(n,) L(X \ r)."""
        return self.model.without(self._singletons)

    def _synergy(self, members: csr_array) -> NDArray[np.float64]:
        """Mean of Eq. 6 over the neighbours of each set; neutral where it has none."""
        count = members.shape[0]
        reached = csr_array(members @ csr_array(self.near, dtype=np.float64))
        beside = csr_array(reached - reached.multiply(members))
        sets, other = beside.nonzero()
        if not sets.size:
            return np.full(count, eq.NEUTRAL)
        found = eq.synergy(
            self.model.whole, self._without_one[other], self.model.without(members[sets], other),
            form=self.goal.synergy, scale=self._scale,
        )  # fmt: skip
        total = np.bincount(sets, weights=found, minlength=count)
        each = np.bincount(sets, minlength=count)
        return np.where(each > 0, total / np.maximum(each, 1), eq.NEUTRAL)

    @property
    def _scale(self) -> float:
        """Mean size of what removing one region changes."""
        return float(np.abs(self._without_one - self.model.whole).mean())


def neighbours(tiles: Tiles, which: Neighbours = "adjacent") -> csr_array:
    """Say which of n cells are neighbours: those that share an edge, of whatever size.

    Args:
        tiles: n cells of one scene that do not overlap.
        which: "adjacent", or "all" for every other cell.

    Returns:
        (n, n) sparse bool, symmetric.
    """
    n = len(tiles)
    if which == "all":
        return csr_array(~np.eye(n, dtype=bool))
    y, x = tiles.y.astype(np.int64), tiles.x.astype(np.int64)
    bottom, right = y + tiles.h, x + tiles.w
    blocks = []
    for start in range(
        0, n, _ROWS_AT_ONCE
    ):  # by blocks: what lies beside what is sparse, n x n is not
        part = slice(start, start + _ROWS_AT_ONCE)
        down = np.minimum(bottom[part, None], bottom) - np.maximum(y[part, None], y)
        across = np.minimum(right[part, None], right) - np.maximum(x[part, None], x)
        blocks.append(csr_array(((down == 0) & (across > 0)) | ((across == 0) & (down > 0))))
    return csr_array(vstack(blocks))
