"""Classes and a query for an image, and predictions of the model with and without regions.

There are four aggregations of regions to one prediction. The goal selects the reported one; the
result contains all of them, and the predictions from the whole image and from the best single tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError, UnknownNameError
from foveate.models.answer_head import AnsweredClasses, answer_classes, judges_names
from foveate.models.capabilities import EmbedsText, need
from foveate.models.heads import (
    INPUTS,
    labels_of,
    prompts,
    same_name,
    templates_from,
    text_head,
    unit,
)
from foveate.models.probe import Probe
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.focus.config import Answer
    from foveate.models.answer_head import AnswerHead, Length
    from foveate.models.capabilities import JudgesAnswers, Model
    from foveate.models.heads import Head, Inputs, LabelsGiven


@dataclass(frozen=True)
class FocusQuestion:
    """Classes and a query, prepared for a model.

    Attributes:
        head: Classifier, or None.
        query: Text to search for, or "".
        target: Index of the query among the classes, or None.
        text: (d,) vector of the query if there are no classes, or None.
        notes: Notes for the reader of the result.
    """

    head: Head | None = None
    query: str = ""
    target: int | None = None
    text: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()

    @property
    def inputs(self) -> Inputs:
        """Scale of the inputs of the head; "unit" without one, as texts are compared by cosine."""
        return "unit" if self.head is None else self.head.inputs

    def fit(self, x: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """Return the match of features (n, d) with the query: (n,); None without a query."""
        if not self.query:
            return None
        if self.head is not None and self.target is not None:
            probabilities = self.head.probabilities(np.asarray(x, np.float32))
            return probabilities[:, self.target].astype(np.float64)
        assert self.text is not None  # noqa: S101  (`make_question` made one of the two)
        return (unit(x) @ self.text).astype(np.float64)

    def full_fit(self, z: NDArray[np.floating]) -> float | None:
        """Return the match of one (d,) vector with the query; None without a query."""
        fit = self.fit(z[None])
        return None if fit is None else float(fit[0])


def make_question(
    model: Model,
    *,
    labels: LabelsGiven | None = None,
    head: Head | None = None,
    query: str = "",
    templates: str | Path | Sequence[str] = "rs",
    target: str | None = None,
) -> FocusQuestion:
    """Prepare classes and a query for a model.

    Args:
        model: A bound model.
        labels: Names of the classes, for a model that embeds text; see
            `foveate.models.heads.labels_of`.
        head: Existing classifier, e.g. a probe. Excludes labels.
        query: Text to search for. With labels it is added as a class, unless it is one of them;
            with a probe it must be one of its classes; without classes it is compared by cosine.
        templates: Sentences around labels and query.
        target: True class, for the loss "label".

    Raises:
        MissingCapabilityError: There are texts, but the model does not embed text.
        ParameterError: There are labels and a head, or labels are empty or repeated.
        UnknownNameError: The query or the target is not one of the classes.
    """
    if labels is not None and head is not None:
        raise ParameterError("labels and a probe", "Only one of them is allowed.")
    if head is not None:
        _check_head(head, model)
    words = query.strip()
    if labels is not None:
        classes = _with_query(labels, words)
        # The losses compare classes with each other, so the probabilities have to sum to 1.
        capable = need(model, "text", "labels")
        head = text_head(capable, classes, templates=templates, head="cosine")
    if head is None:
        if target:
            raise ParameterError(
                f"target={target!r} needs classes", "", "Set labels=[...] or head=..."
            )
        if not words:
            return FocusQuestion()
        sentences = prompts((words,), templates_from(templates))
        texts: EmbedsText = need(model, "text", "a query")
        return FocusQuestion(query=words, text=unit(unit(texts.embed_text(sentences)).mean(axis=0)))
    if len(head.names) < 2:
        raise ParameterError(
            f"one class, {head.names[0]!r}",
            "Classes are compared with each other: two or more are required.",
            "Add a class, or omit the labels and type --query TEXT.",
        )
    name = words or (target or "")
    notes = (model.note,) if isinstance(model, AnsweredClasses) else ()
    return FocusQuestion(head, words, _class_index(head, name) if name else None, notes=notes)


def asked_model(
    model: Model,
    labels: LabelsGiven | None,
    query: str = "",
    *,
    prompt: str | None = None,
    length: Length = "mean",
) -> tuple[Model, AnswerHead] | None:
    """Wrap a generative model as an encoder whose features are class scores, with its head.

    Returns None for other models and without labels.

    Args:
        model: A bound model.
        labels: Names of the classes, or None.
        query: Text to search for; with labels it is added as a class.
        prompt: Prompt of the model; see `foveate.models.answer_head`.
        length: "mean" or "sum" over the tokens of a name.

    Raises:
        ParameterError: See `foveate.models.answer_head.answer_classes`.
    """
    if labels is None or not judges_names(model):
        return None
    capable: JudgesAnswers = need(model, "answer_loss", "labels")
    return answer_classes(capable, _with_query(labels, query.strip()), prompt=prompt, length=length)


def _with_query(labels: LabelsGiven, words: str) -> dict[str, tuple[str, ...]]:
    classes = dict(labels_of(labels))
    if words and same_name(words) not in map(same_name, classes):
        classes[words] = (words,)
    return classes


def _check_head(head: Head, model: Model) -> None:
    """Check the encoder and the attribute `inputs` of a head.

    Raises:
        DataError: The head was fitted with another encoder.
        ParameterError: The head has no `inputs`.
    """
    if getattr(head, "inputs", None) not in INPUTS:
        raise ParameterError(
            f"a head without a valid attribute inputs: {type(head).__name__}",
            "It must be 'raw' (embeddings as output by the model) or 'unit' (of norm 1).",
            "Set it, or use fit_probe(...) or text_head(...).",
        )
    if isinstance(head, Probe) and head.spec is not None:
        head.check(model.spec)


def _class_index(head: Head, name: str) -> int:
    index = {same_name(known): i for i, known in enumerate(head.names)}
    if same_name(name) not in index:
        raise UnknownNameError(
            f"{name!r} is not a class",
            f"Classes: {', '.join(head.names[:20])}{' ...' if len(head.names) > 20 else '.'}",
            suggest(name, head.names),
        )
    return index[same_name(name)]


_SHARPENING = 2  # power of the probabilities of a vote, i.e. a temperature of 0.5


@dataclass(frozen=True)
class Prediction:
    """One prediction.

    Attributes:
        label: Name of the class.
        probability: Predicted probability; for "vote" the share of the votes.
        ranking: Classes and probabilities, the most likely first.
        row: Region of the prediction, or None for an aggregation of many.
    """

    label: str
    probability: float
    ranking: tuple[tuple[str, float], ...]
    row: int | None = None


def answers(
    head: Head,
    x: NDArray[np.floating],
    area: NDArray[np.floating],
    chosen: NDArray[np.integer],
    weight: NDArray[np.floating] | None = None,
    *,
    even: bool = False,
) -> dict[Answer, Prediction]:
    """Return the predictions of all aggregations.

    In "vote" each cell divides its vote among the classes by the squares of their probabilities.
    Voting for the most likely class only loses information if a crop contains several objects and
    the second class is right; averaging probabilities adds up classes that are unlikely
    everywhere. The squares, the sharpening of MixMatch (Berthelot et al. 2019) at its temperature
    of 0.5, are a compromise.

    Args:
        head: Classifier.
        x: (n, d) features of all cells.
        area: (n,) areas of the cells; votes are weighted by their square roots.
        chosen: (k,) selected rows, the most important first; k >= 1.
        weight: (k,) weights of the selected rows in "fused"; None for equal ones.
        even: Whether the cells are an even sample of the image; votes then have equal weight.
    """
    probabilities = head.probabilities(np.asarray(x, np.float32)).astype(np.float64)
    # Important areas have many small cells: equal votes would be biased towards them, votes
    # by area would have a high variance from a few large cells. The root is a compromise.
    share = np.full(len(area), 1 / len(area)) if even else np.sqrt(area) / np.sqrt(area).sum()
    # Probabilities of independent classes do not sum to 1, and may all be small.
    votes = np.maximum(probabilities, np.finfo(np.float32).tiny) ** _SHARPENING
    votes /= votes.sum(axis=1, keepdims=True)
    return {
        "vote": _ranked_prediction(head, share @ votes),
        "fused": fused(head, x[chosen], weight),
        "confident": predict_surest(head, x, chosen),
        "first": _row_prediction(head, probabilities, int(chosen[0])),
    }


def fused(
    head: Head, x: NDArray[np.floating], weight: NDArray[np.floating] | None = None
) -> Prediction:
    """Return the prediction for the weighted mean of features (n, d)."""
    share = np.full(len(x), 1 / len(x)) if weight is None else weight / weight.sum()
    return predict_vector(head, share @ x)


def predict_vector(head: Head, z: NDArray[np.floating]) -> Prediction:
    """Return the prediction for one (d,) vector."""
    return _ranked_prediction(
        head, head.probabilities(np.asarray(z, np.float32)[None])[0].astype(np.float64)
    )


def predict_surest(head: Head, x: NDArray[np.floating], rows: NDArray[np.integer]) -> Prediction:
    """Return the prediction of the row with the highest class probability."""
    probabilities = head.probabilities(np.asarray(x, np.float32)).astype(np.float64)
    best = int(rows[probabilities[rows].max(axis=1).argmax()])
    return _row_prediction(head, probabilities, best)


def predicted_labels(head: Head, x: NDArray[np.floating]) -> tuple[list[str], list[float]]:
    """Return the most likely class of each row and its probability."""
    features = np.asarray(x, np.float32)
    best, probabilities = head.logits(features).argmax(axis=1), head.probabilities(features)
    return [head.names[i] for i in best], probabilities[np.arange(len(best)), best].tolist()


def _row_prediction(head: Head, probabilities: NDArray[np.float64], row: int) -> Prediction:
    return _ranked_prediction(head, probabilities[row], row=row)


def _ranked_prediction(
    head: Head,
    value: NDArray[np.float64],
    *,
    row: int | None = None,
) -> Prediction:
    ranked = np.argsort(-value, kind="stable")
    ranking = tuple((head.names[i], float(value[i])) for i in ranked)
    return Prediction(ranking[0][0], ranking[0][1], ranking, row)
