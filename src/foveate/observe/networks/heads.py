"""Concept classifiers of the mean HR token of a tile, observed or completed.

Concepts are classified by one linear classifier each, trained on labels, or by texts, with a linear
projection from the projected features to the text embedding space. Both are heads of the mean token
of a tile, so they apply to observed and completed tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.models.embed import bind
from foveate.models.heads import check_dim, same_name, templates_from, text_head, unit
from foveate.observe import dense
from foveate.observe.data.concepts import Concept
from foveate.observe.features import encode_overviews, overview_pool
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from foveate.models.heads import Head, Inputs, TextHead
    from foveate.observe.data.pairs import Pairs
    from foveate.observe.observer import Observer
    from foveate.progress import ProgressFn
    from foveate.run import Run

_STRENGTH = 0.1  # inverse regularisation C of the classifiers; features have unit scale
_MIN_TILES = 5  # with a concept, and without it
_RIDGE = 1e-2  # relative to the mean variance


@dataclass(frozen=True, eq=False)
class LabelHead:
    """One linear classifier per concept; a `foveate.models.heads.Head`.

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
        """Kind of input: mean tokens, not normalised."""
        return "raw"

    def logits(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the logits of mean tokens: (..., d) to (..., K)."""
        check_dim(z, self.weight.shape[1], "concepts")
        return np.asarray(z, np.float32) @ self.weight.T + self.bias

    def probabilities(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the independent probability of each concept: (..., d) to (..., K)."""
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
        names: The K concepts. The probability of a concept with fewer than 5 positive or negative
            tiles is its prevalence.
        weight: (n,) sample weights; None: 1.

    Raises:
        DataError: No tile has any of the concepts.
    """
    from sklearn.linear_model import LogisticRegression

    counts = present.sum(axis=0)
    if not counts.any():
        raise DataError(
            f"no training tile has any of the concepts {', '.join(names)}",
            "Concept classifiers need positive tiles.",
            "Check --concepts, their classes and min_share.",
        )
    n, d = x.shape
    slope, bias = np.zeros((len(names), d), np.float32), np.zeros(len(names), np.float32)
    for k, count in enumerate(counts.tolist()):
        if min(count, n - count) < _MIN_TILES:
            share = (count + 0.5) / (n + 1)
            bias[k] = np.log(share / (1 - share))
            continue
        fitted = LogisticRegression(C=_STRENGTH, max_iter=500)
        fitted.fit(x, present[:, k], sample_weight=weight)
        slope[k], bias[k] = fitted.coef_[0], fitted.intercept_[0]
    return LabelHead(names, slope, bias)


@dataclass(frozen=True, eq=False)
class ToText:
    """Linear projection from projected mean tokens to the joint space of images and texts.

    It is fitted on tiles with known embeddings.

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
            vectors: (n, e) embeddings of the same tiles by the text model.
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
    """Concepts classified by their texts on projected features; a `foveate.models.heads.Head`.

    Attributes:
        head: Head with the text embeddings.
        text_projection: Projection from mean tokens to the text embedding space.
    """

    head: TextHead
    text_projection: ToText

    @property
    def names(self) -> tuple[str, ...]:
        """The K concepts."""
        return self.head.names

    @property
    def inputs(self) -> Inputs:
        """Kind of input: mean tokens, not normalised; cosines are computed after the projection."""
        return "raw"

    @property
    def directions(self) -> NDArray[np.float32]:
        """(K, e) float32 text embeddings of the concepts, unit vectors."""
        return self.head.weight

    def cosines(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the cosines of mean tokens with the texts: (..., d) to (..., K)."""
        return unit(self.text_projection(z)) @ self.directions.T

    def own_cosines(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the cosines of image embeddings by the text model: (..., e) to (..., K)."""
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
    """Return the score function of a similarity: (..., d) mean tokens to (..., K) scores.

    Args:
        head: Concept classifiers.
        similarity: See `foveate.observe.scoring.targets.Similarity`.
        own: Whether inputs are (..., e) embeddings by the text model itself.

    Raises:
        DataError: Cosines or embeddings are needed, and the concepts have labels only.
    """
    if not isinstance(head, TextConcepts) and (own or similarity == "cosine"):
        raise DataError(
            "cosines of concepts without texts",
            "Cosines are computed between images and texts.",
            "Add --text-model MODEL, or use the logits of the classifiers: similarity='logit'.",
        )
    if similarity == "cosine" and isinstance(head, TextConcepts):
        return head.own_cosines if own else head.cosines
    source = head.head if own and isinstance(head, TextConcepts) else head
    return source.probabilities if similarity == "lift" else source.logits


_AT_ONCE = 16  # scenes


def lr_probabilities(
    observer: Observer, pairs: Pairs, what: str, *, run: Run | None = None,
    device: str = "auto", progress: ProgressFn | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """Predict the probability of a concept in each tile from the overview; no HR pixel is read.

    Args:
        observer: Observer with labels or a text model.
        pairs: n tiles.
        what: Name of a concept, or a text if the observer has a text model.
        run: Run that caches the LR tokens, or None.
        device: Device of the LR encoder.
        progress: Progress callback.

    Returns:
        (n,) float64, 0 to 1.

    Raises:
        DataError: The concept is unknown to the observer.
    """
    head, column = _head(observer, pairs, what, device)
    model: Any = bind(observer.handle("lr", device), overview_pool(pairs.overviews))
    shape = observer.record.shape
    tokens = encode_overviews(pairs, model, shape.lr_side, run=run, progress=progress)
    grids = np.zeros((len(pairs.overviews), *pairs.shape))
    for start in range(0, len(tokens), _AT_ONCE):
        lr = observer.lr(tokens[start : start + _AT_ONCE])
        means = dense.to_tiles(observer.filled(lr), shape.hr_side).mean(axis=3)
        grids[start : start + len(lr)] = head.probabilities(means)[..., column]
    return dense.from_grids(grids, pairs.place)


def _head(observer: Observer, pairs: Pairs, what: str, device: str) -> tuple[Head, int]:
    """Return the head that classifies a concept, and the column of the concept."""
    names = observer.head.names if observer.head is not None else ()
    for column, name in enumerate(names):
        if observer.head is not None and same_name(name) == same_name(what):
            return observer.head, column
    if observer.to_text is None:
        raise DataError(
            f"the concept {what!r} is unknown to this observer",
            f"Known: {', '.join(names)}." if names else "It was trained without concepts.",
            suggest(what, names) or "Train with this concept, or with --text-model MODEL.",
        )
    concepts = {c.name: c.texts for c in observer.record.concepts}
    matches = [
        c
        for c in (*observer.record.concepts, *pairs.concepts)
        if same_name(c.name) == same_name(what)
    ]
    concept = matches[0] if matches else Concept(what)
    concepts[concept.name] = concept.texts
    model: Any = bind(observer.handle("text", device), pairs.pool)
    texts = text_head(model, concepts, templates=templates_from(observer.record.templates))
    if texts.head == "cosine" and len(concepts) < 2:
        raise DataError(
            f"{what!r} is the only concept",
            "This text model compares concepts with each other, so at least two are required.",
            "Train the observer with several --concepts.",
        )
    return TextConcepts(texts, observer.to_text), list(concepts).index(concept.name)
