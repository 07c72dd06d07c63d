r"""The additive model of an image: what a set of regions says, and the image without it.

Eq. 1 of HCS takes the loss of an image as an integral over its regions. Here the features are
what is integrated: ``z(S) = sum_r a_r f_r / sum_r a_r`` over the regions r of a set S, with areas
a_r and features f_r, and ``L(S) = loss(z(S))``. Then L(r), L(X \ r), L(X \ (r and r')) and the
loss of any set are matrix products, without another pass of the model, and removal is exact. For
models that give a loss for each region and no features, the losses themselves are the features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from foveate.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Loss = Callable[[NDArray[np.float64]], NDArray[np.float64]]
    Sets = NDArray[np.bool_] | csr_array

_BLOCK = 4096  # sets at a time: their vectors of 1,024 numbers take 32 MB


@dataclass(frozen=True)
class AdditiveModel:
    """n regions and the loss of their mixtures.

    Attributes:
        x: (n, d) features.
        area: (n,) > 0, valid pixels of each region.
        loss: From (m, d) mixtures to (m,) losses >= 0. A mixture of nothing is a row of zeros.

    Raises:
        DataError: Lengths disagree, there is no region, an area is not above 0, or a feature is
            not finite.
    """

    x: NDArray[np.floating]
    area: NDArray[np.floating]
    loss: Loss

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
        return _mean(sets @ self._weighed, sets @ self.area)

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
        for start in range(0, len(found), _BLOCK):
            part = slice(start, start + _BLOCK)
            gone = sets[part]
            rest, left = total - gone @ self._weighed, area - gone @ self.area
            if also is not None:
                rest = rest - self._weighed[also[part]]
                left = left - self.area[also[part]]
            # What is left of everything taken away is rounding, not a mixture.
            none = left <= area * 1e-12
            found[part] = self.loss(_mean(np.where(none[:, None], 0, rest), left * ~none))
        return found

    @cached_property
    def _weighed(self) -> NDArray[np.float64]:
        """(n, d) features times areas."""
        return self.area[:, None] * self.x

    @cached_property
    def _total(self) -> tuple[NDArray[np.float64], float]:
        return self.area @ self.x, float(self.area.sum())


def _mean(total: NDArray[np.floating], area: NDArray[np.floating]) -> NDArray[np.float64]:
    return total / np.where(area > 0, area, 1)[:, None]
