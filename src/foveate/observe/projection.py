"""Principal component projection of tokens.

The networks receive projected tokens: centred, rotated to their principal components (Pearson 1901;
from the covariance, summed in blocks), and divided by one common scale. Components are not
whitened, since models are trained with cosine similarities of features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from foveate.errors import DataError
from foveate.seeds import rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_TOKENS = 200_000  # tokens to fit on
_BLOCK = 8192
_RIDGE = 1e-2  # relative to the mean variance


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear projection from D to d dimensions.

    Attributes:
        mean: (D,) float32, mean of the training tokens.
        basis: (D, d) float32; columns are orthonormal after `fit`, not after `toward`.
        scale: Divisor of the components; after `fit` their mean square over training tokens is 1.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    scale: float

    @classmethod
    def fit(cls, x: NDArray[np.floating], dim: int, *, seed: int = 0) -> Self:
        """Fit the principal components of tokens.

        Args:
            x: (n, D), possibly a memory map; at most 200,000 random rows are read.
            dim: Number of components; reduced to D if larger.
            seed: Seed of the random rows.

        Raises:
            DataError: The tokens are all equal, or not finite.
        """
        from scipy.linalg import eigh

        mean, cov = _moments(x, x, seed)
        width = x.shape[1]
        dim = min(dim, width)
        values, vectors = eigh(cov, subset_by_index=[width - dim, width - 1])
        basis = vectors[:, ::-1]
        # Fix the sign: the entry of largest magnitude is positive, on every platform.
        basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(dim)])
        scale = float(np.sqrt(max(values.mean(), 1e-12)))
        return cls(mean.astype(np.float32), basis.astype(np.float32), scale)

    @classmethod
    def toward(cls, x: NDArray[np.floating], y: NDArray[np.floating], *, seed: int = 0) -> Self:
        """Fit a ridge regression from tokens of one model to projected tokens of another.

        Args:
            x: (n, D), as in `fit`.
            y: (n, d) projected tokens at the same locations; their mean is 0.
            seed: Seed of the random rows.

        Raises:
            DataError: The tokens are all equal, or not finite.
        """
        mean, cov = _moments(x, x, seed)
        _, cross = _moments(x, y, seed)
        cov += _RIDGE * np.trace(cov) / len(cov) * np.eye(len(cov))
        return cls(mean.astype(np.float32), np.linalg.solve(cov, cross).astype(np.float32), 1.0)

    @property
    def dim(self) -> int:
        """Number d of components."""
        return self.basis.shape[1]

    def __call__(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Project (..., D) to (..., d) float32, in blocks."""
        flat = x.reshape(-1, x.shape[-1])
        out = np.empty((len(flat), self.dim), np.float32)
        for i in range(0, len(flat), _BLOCK):
            part = np.asarray(flat[i : i + _BLOCK], np.float32) - self.mean
            out[i : i + _BLOCK] = part @ self.basis / np.float32(self.scale)
        return out.reshape(*x.shape[:-1], self.dim)


def _moments(
    x: NDArray[np.floating], y: NDArray[np.floating], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of `x` and its cross-covariance with `y`, summed in blocks.

    Raises:
        DataError: The tokens are all equal, or not finite.
    """
    rows = np.arange(len(x))
    if len(x) > _MAX_TOKENS:
        rows = np.sort(rng(seed, "observe/reduce").choice(len(x), _MAX_TOKENS, replace=False))
    blocks = [rows[i : i + _BLOCK] for i in range(0, len(rows), _BLOCK)]
    sums = [np.asarray(x[block], np.float64).sum(axis=0) for block in blocks]
    mean = np.sum(sums, axis=0) / max(1, len(rows))
    cov, variance = np.zeros((x.shape[1], y.shape[1])), 0.0
    for block in blocks:
        part = np.asarray(x[block], np.float64) - mean
        other = part if y is x else np.asarray(y[block], np.float64)
        cov += part.T @ other
        variance += float((part * part).sum())
    if not np.isfinite(cov).all() or not variance > 0:
        raise DataError(
            "features are all equal, or not finite",
            "Training needs features that differ between tiles.",
            "Check the imagery and --scale.",
        )
    return mean, cov / len(rows)
