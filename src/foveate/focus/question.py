"""Classes and a query for an image, and the predictions of the model: with and without regions.

There are four ways from regions to one prediction; the goal chooses which of them is reported, and
all of them are in the result, beside those of the whole image and of the best single tile.
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
    """Classes and a query, ready for a model.

    Attributes:
        head: Classes, or None.
        query: The text that is looked for, or "".
        target: Its number among the classes, or None.
        text: (d,) its vector where there are no classes, or None.
        notes: What the reader of the result should know.
    """

    head: Head | None = None
    query: str = ""
    target: int | None = None
    text: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()

    @property
    def inputs(self) -> Inputs:
        """What the head was fitted on; "unit" without one, as texts are compared by cosine."""
        return "unit" if self.head is None else self.head.inputs

    def fit(self, x: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """Return how well features (n, d) fit the query: (n,); None without a query."""
        if not self.query:
            return None
        if self.head is not None and self.target is not None:
            chances = self.head.probabilities(np.asarray(x, np.float32))
            return chances[:, self.target].astype(np.float64)
        assert self.text is not None  # noqa: S101  (`make_question` made one of the two)
        return (unit(x) @ self.text).astype(np.float64)

    def full_fit(self, z: NDArray[np.floating]) -> float | None:
        """Return how well one (d,) vector fits the query; None without a query."""
        found = self.fit(z[None])
        return None if found is None else float(found[0])


def make_question(
    model: Model,
    *,
    labels: LabelsGiven | None = None,
    head: Head | None = None,
    query: str = "",
    templates: str | Path | Sequence[str] = "rs",
    target: str | None = None,
) -> FocusQuestion:
    """Make classes and a query for a model.

    Args:
        model: A bound model.
        labels: Names of the classes, for a model that embeds text; see
            `foveate.models.heads.labels_of`.
        head: Classes that are there already: a probe. Not together with labels.
        query: What is looked for. Among labels it becomes one more class, unless it is one; of
            a probe it has to be one; without classes it is compared by cosine.
        templates: Sentences around labels and query.
        target: The true class, for the loss "label".

    Raises:
        MissingCapabilityError: Texts for a model that embeds none.
        ParameterError: Labels and a head; labels that are empty or repeat.
        UnknownNameError: The query is no class of the probe, or the target none of the classes.
    """
    if labels is not None and head is not None:
        raise ParameterError("labels and a probe together", "Classes come from one of them.")
    if head is not None:
        _check_head(head, model)
    words = query.strip()
    if labels is not None:
        known = _with_query(labels, words)
        # Shares among the classes: what a loss compares are classes, not their presence.
        able = need(model, "text", "labels")
        head = text_head(able, known, templates=templates, head="cosine")
    if head is None:
        if target:
            raise ParameterError(f"the true class {target!r} without classes", "", "labels=[...]")
        if not words:
            return FocusQuestion()
        sentences = prompts((words,), templates_from(templates))
        texts: EmbedsText = need(model, "text", "a query")
        return FocusQuestion(query=words, text=unit(unit(texts.embed_text(sentences)).mean(axis=0)))
    if len(head.names) < 2:
        raise ParameterError(
            f"the one class {head.names[0]!r}",
            "Classes are compared with each other: one alone always wins.",
            "Add another, or leave labels out and type --query TEXT.",
        )
    wanted = words or (target or "")
    notes = (model.note,) if isinstance(model, AnsweredClasses) else ()
    target_row = _class_index(head, wanted) if wanted else None
    return FocusQuestion(head, words, target_row, notes=notes)


def asked_model(
    model: Model,
    labels: LabelsGiven | None,
    query: str = "",
    *,
    prompt: str | None = None,
    length: Length = "mean",
) -> tuple[Model, AnswerHead] | None:
    """Return a generative model as one whose features are classes; None for any other.

    Args:
        model: A bound model.
        labels: Names of the classes, or None.
        query: What is looked for; among labels it becomes one more class.
        prompt: What is asked; see `foveate.models.answer_head`.
        length: "mean" or "sum" over the tokens of a name.

    Raises:
        ParameterError: See `foveate.models.answer_head.answer_classes`.
    """
    if labels is None or not judges_names(model):
        return None
    able: JudgesAnswers = need(model, "answer_loss", "labels")
    return answer_classes(able, _with_query(labels, query.strip()), prompt=prompt, length=length)


def _with_query(labels: LabelsGiven, words: str) -> dict[str, tuple[str, ...]]:
    known = dict(labels_of(labels))
    if words and same_name(words) not in map(same_name, known):
        known[words] = (words,)
    return known


def _check_head(head: Head, model: Model) -> None:
    """Refuse a head that was made for another encoder, or does not say what it is fed.

    Raises:
        DataError: Another encoder.
        ParameterError: No `inputs`.
    """
    if getattr(head, "inputs", None) not in INPUTS:
        raise ParameterError(
            f"a head that does not say what it was fitted on: {type(head).__name__}",
            "Its attribute inputs is 'raw' (embeddings as the model gives them) or 'unit' "
            "(of norm 1).",
            "Give it one, or use fit_probe(...) or text_head(...).",
        )
    if isinstance(head, Probe) and head.spec is not None:
        head.check(model.spec)


def _class_index(head: Head, name: str) -> int:
    place = {same_name(known): i for i, known in enumerate(head.names)}
    if same_name(name) not in place:
        raise UnknownNameError(
            f"{name!r} is no class",
            f"Classes: {', '.join(head.names[:20])}{' ...' if len(head.names) > 20 else '.'}",
            suggest(name, head.names),
        )
    return place[same_name(name)]


_SHARP = 2  # power of the probabilities of a vote: the temperature 0.5


@dataclass(frozen=True)
class Prediction:
    """One prediction.

    Attributes:
        label: Name of the class.
        probability: The model's probability of it; for "vote" the share of the votes.
        ranking: Classes from the most to the least likely, with those numbers.
        row: The region that it is the answer of, or None for an answer of many.
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
    """Return every answer.

    In "vote" each cell divides its vote among the classes by the squares of their probabilities.
    A vote for the most likely class alone is lost where a crop shows parts of several things and
    the second is right; a mean of the probabilities lets what is unlikely everywhere add up. The
    squares, the sharpening of MixMatch (Berthelot et al. 2019) at its temperature of 0.5, lie
    between the two.

    Args:
        head: Classes.
        x: (n, d) features of all cells.
        area: (n,) what each cell stands for; it votes with the square root.
        chosen: (k,) chosen rows, the most important first; k >= 1.
        weight: (k,) weights of the chosen ones in "fused"; equal ones when None.
        even: Whether the cells are an even sample, whatever their areas: then each has one vote.
    """
    chances = head.probabilities(np.asarray(x, np.float32)).astype(np.float64)
    # Cells that were cut because they matter are many: with equal votes they would outvote the
    # rest, with votes by area a few coarse ones decide. The root lies between bias and variance.
    share = np.full(len(area), 1 / len(area)) if even else np.sqrt(area) / np.sqrt(area).sum()
    # Classes that are judged alone do not sum to 1, and may all be unlikely.
    votes = np.maximum(chances, np.finfo(np.float32).tiny) ** _SHARP
    votes /= votes.sum(axis=1, keepdims=True)
    return {
        "vote": _ranked_prediction(head, share @ votes),
        "fused": fused(head, x[chosen], weight),
        "confident": predict_surest(head, x, chosen),
        "first": _row_prediction(head, chances, int(chosen[0])),
    }


def fused(
    head: Head, x: NDArray[np.floating], weight: NDArray[np.floating] | None = None
) -> Prediction:
    """Return the answer of the weighted mean of features (n, d)."""
    share = np.full(len(x), 1 / len(x)) if weight is None else weight / weight.sum()
    return predict_vector(head, share @ x)


def predict_vector(head: Head, z: NDArray[np.floating]) -> Prediction:
    """Return the answer of one (d,) vector."""
    return _ranked_prediction(
        head, head.probabilities(np.asarray(z, np.float32)[None])[0].astype(np.float64)
    )


def predict_surest(head: Head, x: NDArray[np.floating], rows: NDArray[np.integer]) -> Prediction:
    """Return the answer of the row whose most likely class is the most probable."""
    chances = head.probabilities(np.asarray(x, np.float32)).astype(np.float64)
    return _row_prediction(head, chances, int(rows[chances[rows].max(axis=1).argmax()]))


def predicted_labels(head: Head, x: NDArray[np.floating]) -> tuple[list[str], list[float]]:
    """Return the most likely class of each row and its probability."""
    wide = np.asarray(x, np.float32)
    best, chances = head.logits(wide).argmax(axis=1), head.probabilities(wide)
    return [head.names[i] for i in best], chances[np.arange(len(best)), best].tolist()


def _row_prediction(head: Head, chances: NDArray[np.float64], row: int) -> Prediction:
    return _ranked_prediction(head, chances[row], row=row)


def _ranked_prediction(
    head: Head,
    value: NDArray[np.float64],
    *,
    row: int | None = None,
) -> Prediction:
    ranked = np.argsort(-value, kind="stable")
    ranking = tuple((head.names[i], float(value[i])) for i in ranked)
    return Prediction(ranking[0][0], ranking[0][1], ranking, row)
