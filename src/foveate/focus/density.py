"""Distributions of features over regions and over the image: p(.) of Eq. 4.

A kernel density in hundreds of dimensions is uninformative: with Scott's bandwidth each point is
its own only neighbour. The default therefore counts visual words, for which the divergence is
exact. "kde" and "samples" follow the text of the paper, after a projection to at most four
dimensions. "samples" is the estimate of appendix D, a sum over the densities at the samples; "kde"
takes the mean over the area of a set instead, which keeps the divergence below log(1 / a).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.sparse import csr_array

from foveate.focus.importance import divergence
from foveate.models.heads import unit
from foveate.seeds import rng
from foveate.select.cluster import kmeans
from foveate.select.threads import one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.focus.config import Density, Divergence
    from foveate.focus.score import Sets

WORDS = 32
_SMOOTH = 0.5  # Laplace smoothing, pseudo-count of all words together
_DIMS = 4
_SAME = 1e-6  # 1 - cosine of points that differ by rounding only


class Distribution(Protocol):
    """Distribution of features, with the divergence of sets of regions from the image."""

    def divergence(self, members: Sets, form: Divergence) -> NDArray[np.float64]:
        """Return the divergence of sets (m, n) bool from the image: (m,) nats."""
        ...


@dataclass(frozen=True)
class VisualWords:
    """Histograms of visual words.

    Attributes:
        counts: (n, k) area of each word in each region.
    """

    counts: NDArray[np.float64]

    def divergence(self, members: Sets, form: Divergence) -> NDArray[np.float64]:
        """See `Distribution`.

        Only the reverse direction needs smoothing: the image contains all words of its regions.
        """
        counts = members @ self.counts
        p = counts / np.maximum(counts.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        q = self.counts.sum(axis=0) / self.counts.sum()
        if form == "reverse":
            k = p.shape[1]
            p, q = (p + _SMOOTH / k) / (1 + _SMOOTH), (q + _SMOOTH / k) / (1 + _SMOOTH)
        return divergence(p, q, form=form)


@dataclass(frozen=True)
class KernelDensity:
    """Kernel density: Gaussian kernels of one bandwidth at the points of all regions.

    Attributes:
        kernel: (t, t) kernel between any two points.
        owner: (t,) index of the region of each point.
        weight: (t,) area of each point.
    """

    kernel: NDArray[np.float64]
    owner: NDArray[np.int64]
    weight: NDArray[np.float64]

    def divergence(self, members: Sets, form: Divergence) -> NDArray[np.float64]:
        """See `Distribution`; the densities are compared at the points."""
        dense = members.toarray() if isinstance(members, csr_array) else members
        inside = dense[:, self.owner] * self.weight
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
        mean = np.log(np.maximum((p + q) / 2, tiny))
        forward = (inside * (np.log(np.maximum(p, tiny)) - mean)).sum(axis=1) / total[:, 0]
        reverse = (np.log(np.maximum(q, tiny)) - mean) @ everywhere
        return np.maximum((forward + reverse) / 2, 0.0)


@dataclass(frozen=True)
class SampleDensity:
    """Kernel density whose values at the samples are normalised to a discrete distribution.

    Appendix D of the paper: ``sum_i p(X_s(i)) log(p(X_s(i)) / p(X(i)))`` with the densities of
    sample i under the set and under the image, "approximated in discrete form". The sum runs over
    all samples of the image; the densities are scaled to sums of 1, so that it is a divergence.

    Attributes:
        kernel: (t, t) kernel between any two samples.
        share: (n, t) area of each sample in each region.
    """

    kernel: NDArray[np.float64]
    share: NDArray[np.float64]

    def divergence(self, members: Sets, form: Divergence) -> NDArray[np.float64]:
        """See `Distribution`."""
        p = members @ self.share @ self.kernel
        q = self.share.sum(axis=0) @ self.kernel
        tiny = np.finfo(float).tiny  # the density at a sample far from a set underflows to 0
        p = np.maximum(p / np.maximum(p.sum(axis=1, keepdims=True), tiny), tiny)
        return divergence(p, q / q.sum(), form=form)


@dataclass
class Vocabulary:
    """Visual words: clusters of points.

    In mode "feature" every round needs the words of the same tokens, so those of the last points
    are cached.

    Attributes:
        seed: Seed of k-means.
    """

    seed: int = 0
    _points: NDArray[np.floating] | None = field(default=None, init=False, repr=False)
    _words: NDArray[np.int64] | None = field(default=None, init=False, repr=False)

    def __call__(self, points: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the word of each of (t, d) points: (t,), numbered without gaps.

        Points that are equal up to rounding are passed to k-means once: otherwise the initial
        centres, and with them all words, would depend on rounding.
        """
        old = self._points
        if self._words is None or old is None or not np.array_equal(points, old):
            x = unit(points).astype(np.float64)
            first, inverse = np.unique(_first_equal(x), return_inverse=True)
            k = min(WORDS, max(1, len(first) // 2))
            word = kmeans(x[first], k, rng(self.seed, "focus/words"))[0] if k > 1 else first * 0
            self._points, self._words = points.copy(), word[inverse]
        return self._words


def _first_equal(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index of the first vector equal up to rounding, for (t, d) unit vectors: (t,)."""
    return np.argmax(x @ x.T >= 1 - _SAME, axis=1)


def distribution(
    kind: Density,
    points: NDArray[np.floating],
    share: NDArray[np.floating],
    vocabulary: Vocabulary,
) -> Distribution:
    """Return the distribution of the features of an image.

    Args:
        kind: "words", "kde" or "samples".
        points: (t, d) tokens of the image, or the features of its n regions.
        share: (n, t) area of each point in each region.
        vocabulary: Assigns the words.

    Returns:
        A distribution over the n regions.
    """
    weight = np.asarray(share, np.float64)
    if kind == "words":
        word = vocabulary(points)
        return VisualWords(weight @ np.eye(int(word.max()) + 1)[word])
    if kind == "samples":
        used = weight.sum(axis=0) > 0
        low = _project(unit(points[used]).astype(np.float64))
        return SampleDensity(_kernel(low), weight[:, used])
    owner, point = np.nonzero(weight)
    low = _project(unit(points).astype(np.float64))[point]
    return KernelDensity(_kernel(low), owner, weight[owner, point])


def _project(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project points to their first principal components, at most four, of unit variance."""
    centred = x - x.mean(axis=0)
    with one_thread():
        left, size, _ = np.linalg.svd(centred, full_matrices=False)
    dims = min(_DIMS, int((size > 1e-9 * max(size[0], 1e-300)).sum()))
    return left[:, :dims] * np.sqrt(len(x))


def _kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Gaussian kernel between all points, with Scott's bandwidth."""
    n, d = x.shape
    bandwidth = n ** (-1 / (d + 4))
    square = (x**2).sum(axis=1)
    distance = np.maximum(square[:, None] + square - 2 * x @ x.T, 0)
    return np.exp(-distance / (2 * bandwidth**2))
