r"""Scores of sets of regions: the additive model of an image, and Eq. 7 with its losses.

In Eq. 1 of HCS the loss of an image is an integral over its regions. This implementation
integrates features instead: ``z(S) = sum_r a_r f_r / sum_r a_r`` over the regions r of a set S,
with areas a_r and features f_r, and ``L(S) = loss(z(S))``. Then L(r), L(X \ r), L(X \ (r and r'))
and the loss of any set are matrix products, without another pass of the model, and removal is
exact. For models that give a loss per region and no features, the losses are the features.

For models that pool parts of an image (`foveate.models.capabilities.PoolsParts`), the sums of
their pooling over a region replace ``a_r f_r``, and their pooling replaces the quotient.
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


_SETS_AT_ONCE = 4096  # sets per batch: their vectors of 1,024 numbers take 32 MB


@dataclass(frozen=True)
class AdditiveModel:
    """Regions, and the loss of their mixtures.

    Attributes:
        x: (n, d) features.
        area: (n,) > 0, valid pixels of each region.
        loss: Maps (m, d) mixtures to (m,) losses >= 0. An empty mixture is a row of zeros.
        sums: (n, q) inputs of `pool` for each region; None for features times areas.
        pool: Maps (m, q) sums over regions to (m, d) mixtures; None for area-weighted means.

    Raises:
        DataError: Lengths differ, there is no region, an area is not positive, or a feature is
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
            raise DataError("features contain NaN or infinity", "Features must be finite.")
        if x.ndim != 2 or area.shape != x.shape[:1] or not len(x) or not (area > 0).all():
            raise DataError(
                f"features of shape {x.shape} and areas of shape {area.shape}",
                "The shapes must be (n, d) and (n,) with n >= 1, the areas positive.",
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
        r"""Return L of the image without sets, optionally without one more region each.

        Args:
            members: (m, n) bool, the removed sets.
            also: (m,) one more removed region each, outside of its set; None for none.

        Returns:
            (m,) L(X \ S), or L(X \ (S and r')).
        """
        sets = csr_array(members, dtype=np.float64)
        losses = np.empty(sets.shape[0])
        total, area = self._total
        for start in range(0, len(losses), _SETS_AT_ONCE):
            part = slice(start, start + _SETS_AT_ONCE)
            removed = sets[part]
            rest, left = total - removed @ self._sums, area - removed @ self.area
            if also is not None:
                rest = rest - self._sums[also[part]]
                left = left - self.area[also[part]]
            # If everything is removed, the remainder is a rounding error.
            empty = left <= area * 1e-12
            losses[part] = self.loss(self._pooled(np.where(empty[:, None], 0, rest), left * ~empty))
        return losses

    @cached_property
    def _sums(self) -> NDArray[np.float64]:
        """(n, q) terms that are summed over regions."""
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
        near: (n, n) bool, dense or sparse, symmetric, False on the diagonal: pairs of neighbours.
        density: Distribution of features over the regions; None if it is not computed.
        shift: (n,) change of the unit-norm features by a small perturbation; None if it is not
            computed.
        shown: (n,) area of the encoded window of each region, which may be smaller than the area
            that it represents; None for the areas of the model.
        total: Area of the whole image in the units of the model's areas; None for their sum.
        learned: (n, 4) scores of the regions predicted by a trained scorer, NaN for scores that
            it does not predict; None if the scores are computed.
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
        """(n,) area of the encoded windows of the regions."""
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
            (m, 4) utility, representativeness, robustness, synergy; NaN for scores that are not
            computed. With a trained scorer, all but the utility are area-weighted means of the
            predictions for the regions.
        """
        members = csr_array(members, dtype=np.float64)
        share = members @ self.sizes / self.whole_area
        scores = np.full((members.shape[0], 4), np.nan)
        scores[:, 0] = eq.utility(
            self.model.of(members), self.model.whole, share, form=self.goal.utility,
            area_weight=self.goal.weights.area, guard=self.goal.guard,
        )  # fmt: skip
        if self.learned is not None:
            area = self.model.area
            weighted = members @ (area[:, None] * self.learned[:, 1:])
            scores[:, 1:] = weighted / (members @ area)[:, None]
            return scores
        if self.density is not None:
            form = self.goal.divergence
            scores[:, 1] = eq.representativeness(
                self.density.divergence(members, form),
                eq.largest_divergence(members @ self.model.area / self.model.area.sum(), form=form),
            )
        if self.shift is not None:
            # The robustness of a set is the area-weighted mean of its regions: no further pass.
            area = self.model.area
            scores[:, 2] = members @ (area * eq.robustness(self.shift)) / (members @ area)
        scores[:, 3] = self._synergy(members)
        return scores

    def importance(self, members: Sets) -> NDArray[np.float64]:
        """Return S of sets: (m, n) bool to (m,)."""
        return eq.importance(self.parts(members), self.goal.weights)

    @cached_property
    def singles(self) -> NDArray[np.float64]:
        """(n, 4) the four scores of single regions."""
        return self.learned if self.learned is not None else self.parts(self._singletons)

    @cached_property
    def single_importance(self) -> NDArray[np.float64]:
        """(n,) S of single regions."""
        return eq.importance(self.singles, self.goal.weights)

    def epsilon(self, members: Sets) -> NDArray[np.float64]:
        """Return the relative differences of the losses of sets and the image.

        The check of section 4.2 of the paper: L of a set is that of its mixture, without weights.

        Args:
            members: (m, n) bool.

        Returns:
            (m,) ``(L(X_s) - L(X)) / L(X)``, signed: negative if the loss of the set is lower. If
            L(X) is 0 up to rounding, as the likeness to the image is, relative to the goal's guard.
        """
        whole, gap = self.model.whole, self.model.of(members) - self.model.whole
        return gap / eq.relative_to(whole, self.goal.guard)

    def weighted(
        self, rows: NDArray[np.integer], weight: NDArray[np.floating]
    ) -> tuple[float, float]:
        """Return the two losses of Eq. 2.

        Args:
            rows: (k,) regions of a sample.
            weight: (k,) their weights of Theorem 5.1.

        Returns:
            ``sum_r v(r) l(r)`` over the sample, and L(X) of Eq. 1: ``sum_r P(r) l(r)`` over all
            regions, with l the loss of a single region and P its share of the area.
        """
        share = self.model.area / self.model.area.sum()
        return float(weight @ self._alone[rows]), float(share @ self._alone)

    def weighted_epsilon(self, rows: NDArray[np.integer], weight: NDArray[np.floating]) -> float:
        """Return the signed relative difference of the two losses of Eq. 2.

        Args:
            rows: (k,) regions.
            weight: (k,) their weights; see `weighted`.
        """
        sample, whole = self.weighted(rows, weight)
        return (sample - whole) / eq.relative_to(whole, self.goal.guard)

    def compared(
        self, rows: NDArray[np.integer], weight: NDArray[np.floating] | None
    ) -> tuple[float, float]:
        """Return the losses of regions and image in `epsilon` or `weighted_epsilon`."""
        if weight is not None:
            return self.weighted(rows, weight)
        members = np.zeros((1, len(self.model)), bool)
        members[0, rows] = True
        return float(self.model.of(members)[0]), self.model.whole

    @cached_property
    def _singletons(self) -> csr_array:
        """(n, n) sets of one region."""
        return csr_array(eye_array(len(self.model)))

    @cached_property
    def _alone(self) -> NDArray[np.float64]:
        """(n,) L(r), the losses of single regions."""
        return self.model.of(self._singletons)

    @cached_property
    def _without_one(self) -> NDArray[np.float64]:
        r"""(n,) L(X \ r)."""
        return self.model.without(self._singletons)

    def _synergy(self, members: csr_array) -> NDArray[np.float64]:
        """Return the mean of Eq. 6 over the neighbours of each set; neutral without any."""
        count = members.shape[0]
        reached = csr_array(members @ csr_array(self.near, dtype=np.float64))
        beside = csr_array(reached - reached.multiply(members))
        sets, other = beside.nonzero()
        if not sets.size:
            return np.full(count, eq.NEUTRAL)
        values = eq.synergy(
            self.model.whole, self._without_one[other], self.model.without(members[sets], other),
            form=self.goal.synergy, scale=self._scale,
        )  # fmt: skip
        total = np.bincount(sets, weights=values, minlength=count)
        each = np.bincount(sets, minlength=count)
        return np.where(each > 0, total / np.maximum(each, 1), eq.NEUTRAL)

    @property
    def _scale(self) -> float:
        """Mean absolute change of the loss by removing one region."""
        return float(np.abs(self._without_one - self.model.whole).mean())


def neighbours(tiles: Tiles, which: Neighbours = "adjacent") -> csr_array:
    """Return the adjacency matrix of cells; cells of any size that share an edge are neighbours.

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
    blocks = []  # the dense matrix is computed in blocks of rows, which limits the memory
    for start in range(0, n, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        height = np.minimum(bottom[part, None], bottom) - np.maximum(y[part, None], y)
        width = np.minimum(right[part, None], right) - np.maximum(x[part, None], x)
        blocks.append(csr_array(((height == 0) & (width > 0)) | ((width == 0) & (height > 0))))
    return csr_array(vstack(blocks))
