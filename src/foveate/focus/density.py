"""How features are distributed over regions and over the image: p(.) of Eq. 4.

A kernel density in hundreds of dimensions says nothing: with Scott's bandwidth each point sees
only itself. So the default counts visual words, for which the divergence is exact; "kde" and
"samples" are the paper's wording, after a projection to at most four dimensions. "samples" is the
estimate of its appendix D, a sum over the densities at the samples; "kde" takes the mean over the
area of a set instead, which keeps the divergence below log(1 / a).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.sparse import csr_array

from foveate.focus.importance import divergence
from foveate.models.heads import unit
from foveate.seeds import rng
from foveate.select.cluster import kmeans, one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.focus.config import Density, Divergence
    from foveate.focus.score import Sets

WORDS = 32
_SMOOTH = 0.5  # Laplace, over all words together: no word is impossible
_DIMS = 4
_SAME = 1e-6  # 1 - cosine of points that differ by rounding only


class Distribution(Protocol):
    """Says how far the features of sets of regions are from the image's."""

    def divergence(self, members: Sets, form: Divergence) -> NDArray[np.float64]:
        """Return the divergence of sets (m, n) bool from the image: (m,) nats."""
        ...


@dataclass(frozen=True)
class VisualWords:
    """Shares of visual words.

    Attributes:
        counts: (n, k) area of each word in each region.
    """

    counts: NDArray[np.float64]

    def divergence(self, members: Sets, form: Divergence) -> NDArray[np.float64]:
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

    def divergence(self, members: Sets, form: Divergence) -> NDArray[np.float64]:
        """See `Distribution`; the densities are compared at the points themselves."""
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
        middle = np.log(np.maximum((p + q) / 2, tiny))
        own = (inside * (np.log(np.maximum(p, tiny)) - middle)).sum(axis=1) / total[:, 0]
        whole = (np.log(np.maximum(q, tiny)) - middle) @ everywhere
        return np.maximum((own + whole) / 2, 0.0)


@dataclass(frozen=True)
class SampleDensity:
    """The same kernels, whose values at the samples are taken for a distribution over them.

    Appendix D of the paper: ``sum_i p(X_s(i)) log(p(X_s(i)) / p(X(i)))`` with the densities of
    sample i under the set and under the image, "approximated in discrete form". The samples are
    all of the image's; for a sum that is a divergence the densities are scaled to sums of 1.

    Attributes:
        kernel: (t, t) kernel between any two samples.
        share: (n, t) area that each region has of each sample.
    """

    kernel: NDArray[np.float64]
    share: NDArray[np.float64]

    def divergence(self, members: Sets, form: Divergence) -> NDArray[np.float64]:
        """See `Distribution`."""
        p = members @ self.share @ self.kernel
        q = self.share.sum(axis=0) @ self.kernel
        tiny = np.finfo(float).tiny  # a sample far from a set: its density is 0 but for rounding
        p = np.maximum(p / np.maximum(p.sum(axis=1, keepdims=True), tiny), tiny)
        return divergence(p, q / q.sum(), form=form)


@dataclass
class Vocabulary:
    """Visual words: clusters of points.

    In mode "feature" every round asks for the words of the same tokens: they are kept.

    Attributes:
        seed: Of the start of k-means.
    """

    seed: int = 0
    _points: NDArray[np.floating] | None = None
    _words: NDArray[np.int64] | None = None

    def __call__(self, points: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the word of each of (t, d) points: (t,), without gaps.

        Points that are equal but for rounding are one point to k-means: which of them it started
        from would depend on the rounding, and with it the words of all others.
        """
        if self._words is None or points is not self._points:
            x = unit(points).astype(np.float64)
            first, place = np.unique(_leaders(x), return_inverse=True)
            k = min(WORDS, max(1, len(first) // 2))
            word = kmeans(x[first], k, rng(self.seed, "focus/words"))[0] if k > 1 else first * 0
            self._points, self._words = points, word[place]
        return self._words


def _leaders(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each of (t, d) unit vectors the first one that equals it but for rounding."""
    return np.argmax(x @ x.T >= 1 - _SAME, axis=1)


def distribution(
    kind: Density,
    points: NDArray[np.floating],
    share: NDArray[np.floating],
    vocabulary: Vocabulary,
) -> Distribution:
    """Describe the features of an image.

    Args:
        kind: "words", "kde" or "samples".
        points: (t, d) tokens of the image, or the features of its n regions.
        share: (n, t) area that each region has of each point.
        vocabulary: Makes the words.

    Returns:
        A distribution over the n regions.
    """
    weight = np.asarray(share, np.float64)
    if kind == "words":
        word = vocabulary(points)
        return VisualWords(weight @ np.eye(int(word.max()) + 1)[word])
    if kind == "samples":
        some = weight.sum(axis=0) > 0
        low = _project(unit(points[some]).astype(np.float64))
        return SampleDensity(_kernel(low), weight[:, some])
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
    """Gaussian kernel of Scott's width between all points."""
    n, d = x.shape
    width = n ** (-1 / (d + 4))
    square = (x**2).sum(axis=1)
    gap = np.maximum(square[:, None] + square - 2 * x @ x.T, 0)
    return np.exp(-gap / (2 * width**2))
