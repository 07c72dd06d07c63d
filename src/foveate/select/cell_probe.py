"""A linear probe on dense features: sampling and fit.

Features of cells are reduced by a whitened PCA, fitted on a bounded sample of cells. Pixels are
drawn by their labels, and a multinomial logistic regression is fitted to the features of their
cells. Only blocks or the drawn values of features and labels are read, so these may be memory maps.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 10_000  # number of pixels that a probe is fitted to
COMPONENTS = 64  # number of principal components
STRENGTH = 1.0  # C of the logistic regression, on whitened features
FITTED = 40_000  # largest number of cells that the PCA is fitted to
_STEPS = 300
_FAR = 1e3  # clip outliers, which would overflow in half precision
_BLOCK = 256  # tiles
_TINY = 1e-12  # share of the largest variance


@dataclass(frozen=True)
class Components:
    """Whitened principal components of features.

    Attributes:
        weight: (q, d) float32.
        shift: (q,) float32, subtracted after `weight`.
    """

    weight: NDArray[np.float32]
    shift: NDArray[np.float32]

    @classmethod
    def fit(
        cls, x: NDArray[np.floating], rows: NDArray[np.int64], draw: np.random.Generator
    ) -> Self:
        """Fit components to random cells of some tiles.

        Args:
            x: (n, t, d) features.
            rows: Tiles to draw from.
            draw: Source of randomness.
        """
        from sklearn.decomposition import PCA

        t, d = x.shape[1:]
        cells = rows.size * t
        drawn = np.sort(draw.choice(cells, min(FITTED, cells), replace=False))
        sample = np.asarray(x[rows[drawn // t], drawn % t], np.float32)
        pca = PCA(min(COMPONENTS, d, len(sample)), whiten=True, svd_solver="covariance_eigh")
        with np.errstate(invalid="ignore"):  # variance ratios of constant features
            pca.fit(sample.astype(np.float64))
        variance = pca.explained_variance_
        # Directions without variance contain only rounding errors, which must not be amplified.
        spread = np.sqrt(np.maximum(variance, _TINY * (variance.max() or 1.0)))
        weight = (pca.components_ / spread[:, None]).astype(np.float32)
        return cls(weight, (pca.mean_ @ weight.T).astype(np.float32))

    def of(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the components of features: (..., d) to (..., q) float32."""
        flat = np.asarray(x, np.float32).reshape(-1, x.shape[-1])
        components = np.clip(flat @ self.weight.T - self.shift, -_FAR, _FAR)
        return components.reshape(*x.shape[:-1], -1)


def draw_pixels(
    counts: NDArray[np.integer], rows: NDArray[np.int64], weight: NDArray[np.float64], size: int,
    draw: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Draw labelled pixels with replacement.

    Args:
        counts: (n, t, C) pixels by class of each cell of each tile.
        rows: Tiles to draw from, at least one with a labelled pixel.
        weight: (C,) relative probability of a pixel of each class.
        size: Number of pixels.
        draw: Source of randomness.

    Returns:
        Position of the tile in `rows`, cell and class of each pixel: (size,) int64 each.
    """
    blocks = [rows[i : i + _BLOCK] for i in range(0, rows.size, _BLOCK)]
    upto = np.cumsum(np.concatenate([(counts[b].sum(axis=1) * weight).sum(axis=1) for b in blocks]))
    at = draw.random(size) * upto[-1]
    tile = _places(upto, at)
    cell, y = np.empty(size, np.int64), np.empty(size, np.int64)
    for i in np.unique(tile).tolist():
        pixels = np.flatnonzero(tile == i)
        within = np.cumsum((counts[rows[i]] * weight).ravel())
        place = _places(within, at[pixels] - (upto[i - 1] if i else 0.0))
        cell[pixels], y[pixels] = np.divmod(place, counts.shape[2])
    return tile, cell, y


def _places(upto: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index of the interval of each point; rounding never selects an empty interval."""
    last = np.searchsorted(upto, upto[-1], side="left")
    return np.minimum(np.searchsorted(upto, at, side="right"), last)


def totals(counts: NDArray[np.integer], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pixels of each class in some tiles: (C,) int64, from (n, t, C) counts."""
    pixels = np.zeros(counts.shape[2], np.int64)
    for start in range(0, rows.size, _BLOCK):
        pixels += counts[rows[start : start + _BLOCK]].sum(axis=(0, 1), dtype=np.int64)
    return pixels


@dataclass(frozen=True)
class CellProbe:
    """A linear classifier of cells.

    Attributes:
        known: (k,) int64 classes that it was fitted to.
        model: The regression; None if there is only one class.
    """

    known: NDArray[np.int64]
    model: Any

    @classmethod
    def fit(
        cls, x: NDArray[np.float32], y: NDArray[np.int64],
        weight: NDArray[np.float64] | None = None,
    ) -> Self:  # fmt: skip
        """Fit to drawn pixels.

        Args:
            x: (m, q) whitened features of their cells.
            y: (m,) classes.
            weight: (m,) sample weights; None for equal weights. Pixels of weight 0 are left out.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        if weight is not None:
            x, y, weight = x[weight > 0], y[weight > 0], weight[weight > 0]
        known = np.unique(y)
        if known.size < 2:
            return cls(known, None)
        model = LogisticRegression(C=STRENGTH, max_iter=_STEPS, tol=1e-3)
        with warnings.catch_warnings():
            # All probes have the same number of steps; convergence is not required.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y, sample_weight=weight)
        return cls(known, model)

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the class of each cell: (m, q) to (m,)."""
        if self.model is None or not len(x):
            return np.full(len(x), self.known[0])
        return self.model.predict(x)

    def probabilities(self, x: NDArray[np.float32], classes: int) -> NDArray[np.float64]:
        """Return the probability of each class: (m, q) to (m, C), 0 for classes not in `known`."""
        probability = np.zeros((len(x), classes))
        if self.known.size and len(x):
            probability[:, self.known] = 1.0 if self.model is None else self.model.predict_proba(x)
        return probability
