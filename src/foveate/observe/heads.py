"""Concept classifiers over the mean HR token of a tile, observed or completed.

Concepts come from labels, by a linear classifier each, or from texts, through a linear map from the
reduced features to the space of the texts. Both are heads over the mean token of a tile, so they
read observed and completed tiles alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.models.embed import bind
from foveate.models.heads import check_dim, same_name, templates_from, text_head, unit
from foveate.observe import dense
from foveate.observe.concepts import Concept
from foveate.observe.features import encode_overviews, overview_pool
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from foveate.models.heads import Head, Inputs, TextHead
    from foveate.observe.observer import Observer
    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn
    from foveate.run import Run

_STRENGTH = 0.1  # C of the classifiers: features have unit scale
_LEAST = 5  # tiles with a concept, and without it
_RIDGE = 1e-2  # of the mean variance


@dataclass(frozen=True, eq=False)
class LabelHead:
    """Concepts by a linear classifier each; a `foveate.models.heads.Head`.

    Attributes:
        names: The K concepts.
        weight: (K, d) float32.
        bias: (K,) float32.
    """

    names: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def inputs(self) -> Inputs:
        """Mean tokens as they are."""
        return "raw"

    def logits(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the scores of mean tokens: (..., d) to (..., K)."""
        check_dim(z, self.weight.shape[1], "concepts")
        return np.asarray(z, np.float32) @ self.weight.T + self.bias

    def probabilities(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the probability of each concept by itself: (..., d) to (..., K)."""
        from scipy.special import expit

        return expit(self.logits(z))


def fit_labels(
    x: NDArray[np.floating], present: NDArray[np.bool_], names: tuple[str, ...],
    weight: NDArray[np.floating] | None = None,
) -> LabelHead:  # fmt: skip
    """Fit a classifier for each concept.

    Args:
        x: (n, d) mean HR tokens of the training tiles.
        present: (n, K) bool.
        names: The K concepts. One that fewer than 5 tiles show, or all but fewer than 5, gets its
            prevalence and nothing else.
        weight: (n,) of each row; 1 when None.

    Raises:
        DataError: No tile shows any of them.
    """
    from sklearn.linear_model import LogisticRegression

    counts = present.sum(axis=0)
    if not counts.any():
        raise DataError(
            f"no training tile shows any of {', '.join(names)}",
            "Concepts are learnt from tiles that show them.",
            "Check --concepts, their classes and min_share.",
        )
    n, d = x.shape
    slope, bias = np.zeros((len(names), d), np.float32), np.zeros(len(names), np.float32)
    for k, count in enumerate(counts.tolist()):
        if min(count, n - count) < _LEAST:
            share = (count + 0.5) / (n + 1)
            bias[k] = np.log(share / (1 - share))
            continue
        fitted = LogisticRegression(C=_STRENGTH, max_iter=500)
        fitted.fit(x, present[:, k], sample_weight=weight)
        slope[k], bias[k] = fitted.coef_[0], fitted.intercept_[0]
    return LabelHead(names, slope, bias)


@dataclass(frozen=True, eq=False)
class ToText:
    """From reduced mean tokens to the space in which images meet texts.

    Where tokens lie in that space already this is what the reduction took away; where they do not,
    it is fitted on tiles whose embedding is known.

    Attributes:
        weight: (e, d) float32.
        bias: (e,) float32.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @classmethod
    def fit(cls, x: NDArray[np.floating], vectors: NDArray[np.floating]) -> ToText:
        """Fit by ridge regression.

        Args:
            x: (n, d) mean HR tokens.
            vectors: (n, e) embeddings of the same tiles by a model that embeds texts, too.
        """
        a, b = np.asarray(x, np.float64), np.asarray(vectors, np.float64)
        mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
        a = a - mean_a
        gram = a.T @ a / len(a)
        gram += _RIDGE * max(np.trace(gram) / len(gram), 1e-12) * np.eye(len(gram))
        weight = np.linalg.solve(gram, a.T @ (b - mean_b) / len(a)).T
        return cls(weight.astype(np.float32), (mean_b - weight @ mean_a).astype(np.float32))

    def __call__(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return embeddings of mean tokens: (..., d) to (..., e)."""
        check_dim(z, self.weight.shape[1], "texts")
        return np.asarray(z, np.float32) @ self.weight.T + self.bias


@dataclass(frozen=True, eq=False)
class TextConcepts:
    """Concepts by their texts, over reduced features; a `foveate.models.heads.Head`.

    Attributes:
        head: The texts' directions.
        text_projection: From mean tokens to the space of the texts.
    """

    head: TextHead
    text_projection: ToText

    @property
    def names(self) -> tuple[str, ...]:
        """The K concepts."""
        return self.head.names

    @property
    def inputs(self) -> Inputs:
        """Mean tokens as they are; the texts' directions are compared by cosine after the map."""
        return "raw"

    @property
    def directions(self) -> NDArray[np.float32]:
        """(K, e) float32 unit vectors of the concepts' texts."""
        return self.head.weight

    def cosines(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the cosines of mean tokens with the texts: (..., d) to (..., K)."""
        return unit(self.text_projection(z)) @ self.directions.T

    def own_cosines(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the cosines of the text model's own embeddings: (..., e) to (..., K)."""
        return unit(z) @ self.directions.T

    def logits(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return scale * cosine + bias of mean tokens: (..., d) to (..., K)."""
        return self.head.logits(self.text_projection(z))

    def probabilities(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the probabilities of mean tokens: (..., d) to (..., K)."""
        return self.head.probabilities(self.text_projection(z))


def similarity_scores(
    head: Head, similarity: str, *, own: bool = False
) -> Callable[[NDArray[np.floating]], NDArray[np.float32]]:
    """Return what of a head a similarity compares: (..., d) mean tokens to (..., K) scores.

    Args:
        head: Tells the concepts.
        similarity: See `foveate.observe.targets.Similarity`.
        own: Whether the scores are of (..., e) embeddings by the text model itself.

    Raises:
        DataError: Cosines, or embeddings, of concepts that are known by labels alone.
    """
    if not isinstance(head, TextConcepts) and (own or similarity == "cosine"):
        raise DataError(
            "cosines of concepts that are known by labels alone",
            "Cosines are those of images and texts.",
            "Name a model that reads text with --text-model, or compare logits of the classifiers: "
            "similarity='logit'.",
        )
    if similarity == "cosine" and isinstance(head, TextConcepts):
        return head.own_cosines if own else head.cosines
    read = head.head if own and isinstance(head, TextConcepts) else head
    return read.probabilities if similarity == "lift" else read.logits


_AT_ONCE = 16  # scenes


def lr_probabilities(
    observer: Observer, pairs: Pairs, what: str, *, run: Run | None = None,
    device: str = "auto", progress: ProgressFn | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """Say how likely each tile shows a concept, by its overview; no HR pixel is read.

    Args:
        observer: Fills tiles from the overview, and tells concepts from labels or by texts.
        pairs: n tiles.
        what: Name of a concept, or a text where the observer reads texts.
        run: Keeps the LR tokens.
        device: Of the LR encoder.
        progress: Called with ticks.

    Returns:
        (n,) float64, 0 to 1.

    Raises:
        DataError: The observer does not know the concept.
    """
    head, column = _head(observer, pairs, what, device)
    model: Any = bind(observer.handle("lr", device), overview_pool(pairs))
    side = observer.record.shape
    tokens = encode_overviews(pairs, model, side.lr_side, run=run, progress=progress)
    found = np.zeros((len(pairs.overviews), *pairs.shape))
    for start in range(0, len(tokens), _AT_ONCE):
        lr = observer.lr(tokens[start : start + _AT_ONCE])
        means = dense.to_tiles(observer.filled(lr), side.hr_side).mean(axis=3)
        found[start : start + len(lr)] = head.probabilities(means)[..., column]
    return dense.from_grids(found, pairs.place)


def _head(observer: Observer, pairs: Pairs, what: str, device: str) -> tuple[Head, int]:
    """Return what tells a concept, and its column."""
    names = observer.head.names if observer.head is not None else ()
    for column, name in enumerate(names):
        if observer.head is not None and same_name(name) == same_name(what):
            return observer.head, column
    if observer.to_text is None:
        raise DataError(
            f"this observer does not know {what!r}",
            f"It knows {', '.join(names)}." if names else "It was trained without concepts.",
            suggest(what, names) or "Train it with that concept, or with --text-model MODEL.",
        )
    concepts = {c.name: c.texts for c in observer.record.concepts}
    own = [
        c
        for c in (*observer.record.concepts, *pairs.concepts)
        if same_name(c.name) == same_name(what)
    ]
    concept = own[0] if own else Concept(what)
    concepts[concept.name] = concept.texts
    model: Any = bind(observer.handle("text", device), pairs.pool)
    texts = text_head(model, concepts, templates=templates_from(observer.record.templates))
    if texts.head == "cosine" and len(concepts) < 2:
        raise DataError(
            f"{what!r} is the only concept there is",
            "This model of texts tells concepts from each other, not from nothing.",
            "Train the observer with several --concepts.",
        )
    return TextConcepts(texts, observer.to_text), list(concepts).index(concept.name)
