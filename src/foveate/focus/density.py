"""How features are distributed over regions and over the image: p(.) of Eq. 4.

A kernel density in hundreds of dimensions says nothing: with Scott's bandwidth each point sees
only itself. So the default counts visual words, for which the divergence is exact; "kde" is the
paper's wording, after a projection to at most four dimensions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from foveate.focus.importance import divergence
from foveate.models.heads.base import unit
from foveate.select.cluster import kmeans, one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.focus.goals import Density, Divergence

WORDS = 32
_SMOOTH = 0.5  # Laplace, over all words together: no word is impossible
_DIMS = 4


class Distribution(Protocol):
    """Says how far the features of sets of regions are from the image's."""

    def divergence(self, members: NDArray[np.bool_], form: Divergence) -> NDArray[np.float64]:
        """Return the divergence of sets (m, n) bool from the image: (m,) nats."""
        ...


@dataclass(frozen=True)
class VisualWords:
    """Shares of visual words.

    Attributes:
        counts: (n, k) area of each word in each region.
    """

    counts: NDArray[np.float64]

    def divergence(self, members: NDArray[np.bool_], form: Divergence) -> NDArray[np.float64]:
        """See `Distribution`.

        Only the reverse direction needs smoothing: an image holds what its regions hold.
        """
        found = members @ self.counts
        p = found / np.maximum(found.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        q = self.counts.sum(axis=0) / self.counts.sum()
        if form == "reverse":
            k = p.shape[1]
            p, q = (p + _SMOOTH / k) / (1 + _SMOOTH), (q + _SMOOTH / k) / (1 + _SMOOTH)
        return divergence(p, q, form=form)


@dataclass(frozen=True)
class KernelDensity:
    """Gaussian kernels of one width at the points of all regions.

    Attributes:
        kernel: (t, t) kernel between any two points.
        owner: (t,) region of each point.
        weight: (t,) area of each point.
    """

    kernel: NDArray[np.float64]
    owner: NDArray[np.int64]
    weight: NDArray[np.float64]

    def divergence(self, members: NDArray[np.bool_], form: Divergence) -> NDArray[np.float64]:
        """See `Distribution`; the densities are compared at the points themselves."""
        inside = members[:, self.owner] * self.weight
        total = np.maximum(inside.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        p = inside @ self.kernel / total  # (m, t): density of each set at each point
        q = self.weight @ self.kernel / self.weight.sum()
        tiny = np.finfo(float).tiny
        ratio = np.log(np.maximum(p, tiny)) - np.log(np.maximum(q, tiny))
        if form == "forward":
            return np.maximum((inside * ratio).sum(axis=1) / total[:, 0], 0.0)
        everywhere = self.weight / self.weight.sum()
        if form == "reverse":
            return np.maximum(-(ratio @ everywhere), 0.0)
        middle = np.log(np.maximum((p + q) / 2, tiny))
        own = (inside * (np.log(np.maximum(p, tiny)) - middle)).sum(axis=1) / total[:, 0]
        whole = (np.log(np.maximum(q, tiny)) - middle) @ everywhere
        return np.maximum((own + whole) / 2, 0.0)


def distribution(
    kind: Density,
    points: NDArray[np.floating],
    share: NDArray[np.floating],
    rng: np.random.Generator,
) -> Distribution:
    """Describe the features of an image.

    Args:
        kind: "words" or "kde".
        points: (t, d) tokens of the image, or the features of its n regions.
        share: (n, t) area that each region has of each point.
        rng: Starts k-means.

    Returns:
        A distribution over the n regions.
    """
    x = unit(points).astype(np.float64)
    weight = np.asarray(share, np.float64)
    if kind == "words":
        k = min(WORDS, max(1, len(x) // 2))
        word = _words(x, k, rng) if k > 1 else np.zeros(len(x), np.int64)
        return VisualWords(weight @ np.eye(int(word.max()) + 1)[word])
    owner, point = np.nonzero(weight)
    low = _project(x)[point]
    return KernelDensity(_kernel(low), owner, weight[owner, point])


_last: dict[tuple[str, int, str], NDArray[np.int64]] = {}


def _words(x: NDArray[np.float64], k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the word of each point; those of the points that came last are kept.

    In mode "feature" every round asks for the words of the same tokens: k-means of 28 x 28 tokens
    in six rounds would take an eighth of the time of the whole look.
    """
    digest = hashlib.blake2b(np.ascontiguousarray(x), digest_size=16).hexdigest()
    key = (f"{x.shape} {digest}", k, repr(rng.bit_generator.state))
    found = _last.get(key)
    if found is None:
        found = kmeans(x, k, rng)[0]
        _last.clear()
        _last[key] = found
    return found


def _project(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project points to their first principal components, at most four, of unit variance."""
    centred = x - x.mean(axis=0)
    with one_thread():
        left, size, _ = np.linalg.svd(centred, full_matrices=False)
    dims = min(_DIMS, int((size > 1e-9 * max(size[0], 1e-300)).sum()))
    return left[:, :dims] * np.sqrt(len(x))


def _kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian kernel of Scott's width between all points."""
    n, d = x.shape
    width = n ** (-1 / (d + 4))
    square = (x**2).sum(axis=1)
    gap = np.maximum(square[:, None] + square - 2 * x @ x.T, 0)
    return np.exp(-gap / (2 * width**2))
