"""Overviews unlike those of the training, for which no score of an observer means anything.

The distance of a token to the training tokens is the Mahalanobis distance under a Gaussian whose
covariance is that of the principal components of the projection, and isotropic outside of them
(Moghaddam and Pentland 1997, "Probabilistic Visual Learning for Object Representation"; the noise
of probabilistic PCA). Unusual textures often differ outside of the components only. The distance of
a tile is the mean square over its tokens. The limit is the largest distance of the tiles of the
validation scenes, on which nothing was fitted. A scene is unfamiliar if most of its tiles are
beyond the limit, so that few unusual tiles, as every new scene has, do not count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.observe.projection import Projection

_MOST = 0.5  # share of the tiles of an unfamiliar scene that are beyond the limit
_FLOOR = 1e-6  # smallest variance relative to the largest, so that rounding is not a distance
_BLOCK = 8192  # tokens in memory at a time


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Distribution of the LR tokens of a training.

    Attributes:
        variance: (d,) float64 variance of the projected tokens.
        outside: Mean variance of the D - d directions outside of the projection; 0 if there are
            none.
        limit: Largest squared distance of a validation tile.
    """

    variance: NDArray[np.float64]
    outside: float
    limit: float

    @classmethod
    def fit(
        cls, projection: Projection, train: NDArray[np.floating], held_out: NDArray[np.floating]
    ) -> Self:  # fmt: skip
        """Fit to LR tokens.

        Args:
            projection: Projection of the tokens, fitted on the training scenes.
            train: (n, D) tokens of the training scenes, n >= 1; may be a memory map.
            held_out: (m, t, D) tokens of m tiles of the validation scenes, m >= 1.
        """
        inside, outside = np.zeros(projection.dim), 0.0
        for start in range(0, len(train), _BLOCK):
            tokens = train[start : start + _BLOCK]
            z, rest = _parts(projection, tokens, projection(tokens))
            inside, outside = inside + np.square(z).sum(axis=0), outside + rest.sum()
        more = max(1, train.shape[1] - projection.dim)
        variance, noise = inside / len(train), outside / len(train) / more
        floor = _FLOOR * max(float(variance.max()), 1e-12)
        # Outside of the projection only rounding is left if it has all dimensions.
        noise = float(noise) if noise > floor else 0.0
        fitted = cls(np.maximum(variance, floor), noise, np.inf)
        limit = fitted.distance(projection, held_out, projection(held_out)).max()
        return replace(fitted, limit=float(limit))

    def distance(
        self, projection: Projection, tokens: NDArray[np.floating],
        projected: NDArray[np.floating],
    ) -> NDArray[np.float64]:  # fmt: skip
        """Return the squared distances of tiles to the training.

        Args:
            projection: As for `fit`.
            tokens: (..., t, D) tokens of tiles.
            projected: (..., t, d) the same after the projection.

        Returns:
            (...) float64.
        """
        z, rest = _parts(projection, tokens, projected)
        found = (np.square(z) / self.variance).sum(axis=-1)
        if self.outside:
            found += rest / self.outside
        return found.mean(axis=-1)

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the arrays to store."""
        return {"variance": self.variance, "bounds": np.array([self.outside, self.limit])}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> Self:
        """Restore the result of `to_arrays`."""
        outside, limit = stored["bounds"].tolist()
        return cls(stored["variance"], outside, limit)


def _parts(
    projection: Projection, tokens: NDArray[np.floating], projected: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return components, (..., d), and squared lengths outside of the projection, (...)."""
    centred = np.asarray(tokens, np.float64) - projection.mean
    z = projected.astype(np.float64) * projection.scale
    rest = np.square(centred).sum(axis=-1) - np.square(z).sum(axis=-1)
    return z, np.maximum(rest, 0)


def unfamiliar(scene: NDArray[Any], beyond: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which tiles are in a scene most of whose tiles are beyond the limit.

    Args:
        scene: (n,) scene of each tile.
        beyond: (n,) bool, tiles beyond the limit, see `Observer.project`.

    Returns:
        (n,) bool.
    """
    _, number = np.unique(scene, return_inverse=True)
    share = np.bincount(number, beyond) / np.bincount(number)
    return (share > _MOST)[number]


def caution(scene: NDArray[Any], beyond: NDArray[np.bool_]) -> str:
    """Return a sentence about unfamiliar scenes; "" if there are none. See `unfamiliar`."""
    few, count = np.unique(scene[unfamiliar(scene, beyond)]).size, np.unique(scene).size
    if not few:
        return ""
    if few == count:
        what = "The overview is" if count == 1 else f"All {count} overviews are"
    else:
        what = f"{few} of {count} overviews {'is' if few == 1 else 'are'}"
    return f"{what} unlike all overviews of the training. Scores may be meaningless."
