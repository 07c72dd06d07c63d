"""Aggregation of the predictions of many crops to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from foveate.errors import MissingCapabilityError
from foveate.focus.losses import LossInputs, novelty
from foveate.focus.search import by_importance
from foveate.models.heads import unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from foveate.focus.question import FocusQuestion
    from foveate.models.heads import Head

    Score = Callable[[NDArray[np.floating]], NDArray[np.float64]]

Join = Literal["vote", "mean", "features", "surest", "newest", "query"]

JOINS: tuple[Join, ...] = get_args(Join)

Fusion = Literal["mean", "features"]  # the aggregations that take weights

FUSIONS: tuple[Fusion, ...] = get_args(Fusion)

SAYS: dict[Join, str] = {
    "vote": "majority vote of the crops",
    "mean": "mean probability",
    "features": "prediction for the mean feature",
    "surest": "prediction for the crop with the highest class probability",
    "newest": "prediction for the crop with the highest novelty",
    "query": "prediction for the crop that matches the query best",
}

_TIE = 1e-3  # weight of the mean probability relative to a vote, to break ties
_TINY = 1e-12


@dataclass(frozen=True)
class Joined:
    """Aggregated prediction of n crops.

    Attributes:
        probabilities: (C,) float64, sums to 1; None without classes.
        value: (n,) float64 value of each crop: probability of the prediction, highest class
            probability, novelty, or match with the query. None if the crops are not ranked.
    """

    probabilities: NDArray[np.float64] | None
    value: NDArray[np.float64] | None


def check_join(question: FocusQuestion, how: Join) -> None:
    """Check that a question has the classes or the query that an aggregation needs.

    Raises:
        MissingCapabilityError: "surest" without classes, or "query" without a query.
    """
    if how == "surest":
        need_classes(question, "the join 'surest'")
    if how == "query":
        need_query(question, "the join 'query'")


def need_classes(question: FocusQuestion, purpose: str) -> Head:
    """Return the classes of a question.

    Args:
        question: Classes and query.
        purpose: Purpose of the classes, for the error message.

    Raises:
        MissingCapabilityError: The question has no classes.
    """
    if question.head is None:
        raise MissingCapabilityError(
            f"{purpose} needs classes, and there are none",
            "Classes come from labels (for a model that embeds text) or from a probe.",
        )
    return question.head


def need_query(question: FocusQuestion, purpose: str) -> None:
    """Check that a question has a query.

    Raises:
        MissingCapabilityError: It has none.
    """
    if not question.query:
        raise MissingCapabilityError(
            f"{purpose} needs a query, and there is none",
            "A query must be one of the classes, or a text for a model that embeds text.",
        )


def join(
    question: FocusQuestion, x: NDArray[np.floating], how: Join, ties: NDArray[np.uint64]
) -> Joined:
    """Aggregate the predictions of crops.

    Args:
        question: Classes and query.
        x: (n, d) features of the crops, n >= 1.
        how: "vote", "mean" (of probabilities), "features" (prediction for the mean feature),
            "surest", "newest" or "query" (prediction for one crop).
        ties: (n,) keys that break ties.

    Raises:
        MissingCapabilityError: See `check_join`.
    """
    check_join(question, how)
    p = None if question.head is None else probabilities(question.head, x)
    if how in ("surest", "newest", "query"):
        value = _crop_values(question, x, how, p)
        joined = None if p is None else normalised(p[rank(value, ties)[0]])
        return Joined(joined, value)
    if p is None or question.head is None:
        return Joined(None, None)
    if how == "features":
        joined = normalised(probabilities(question.head, x.mean(axis=0, keepdims=True))[0])
    elif how == "mean":
        joined = normalised(p.mean(axis=0))
    else:
        votes = np.bincount(p.argmax(axis=1), minlength=p.shape[1]) / len(x)
        joined = normalised(votes + _TIE / len(x) * p.mean(axis=0))
    return Joined(joined, p[:, joined.argmax()])


def _crop_values(
    question: FocusQuestion, x: NDArray[np.floating], how: Join, p: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return the value (n,) by which one crop is selected for the prediction."""
    if how == "newest":
        x64 = np.asarray(x, np.float64)
        return 1 - novelty(LossInputs(x64, np.ones(len(x64))))(x64)
    fit = question.fit(x) if how == "query" else None
    if fit is None:
        assert p is not None  # noqa: S101  (`check_join` requires classes)
        return p.max(axis=1)
    return fit


def target_score(question: FocusQuestion, z: NDArray[np.floating]) -> Score:
    """Return the score function of a scene.

    It is the match with the query if there is one; else the probability of the most likely class
    of the scene; else, without classes, the cosine to the scene.

    Args:
        question: Classes and query.
        z: (d,) feature of the whole scene.

    Returns:
        A function from (n, d) features to (n,) float64: probability, or cosine.
    """
    if question.query:
        return lambda x: np.asarray(question.fit(x), np.float64)
    head = question.head
    if head is None:
        return lambda x: (unit(x) @ unit(z)).astype(np.float64)
    target = int(probabilities(head, z[None])[0].argmax())
    return lambda x: probabilities(head, x)[:, target]


def weighted_answer(
    question: FocusQuestion, x: NDArray[np.floating], weight: NDArray[np.floating], how: Fusion
) -> NDArray[np.float64] | None:
    """Return the prediction for weighted crops.

    Args:
        question: Classes and query.
        x: (n, d) features of the crops.
        weight: (n,) > 0.
        how: Average of probabilities ("mean") or of features ("features").

    Returns:
        (C,) float64, sums to 1; None without classes.
    """
    if question.head is None:
        return None
    share = np.asarray(weight, np.float64) / weight.sum()
    if how == "mean":
        return normalised(share @ probabilities(question.head, x))
    return normalised(probabilities(question.head, (share @ x)[None])[0])


def probabilities(head: Head, x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return positive class probabilities (n, C) of features (n, d)."""
    return np.maximum(head.probabilities(np.asarray(x, np.float32)).astype(np.float64), _TINY)


def normalised(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities scaled to a sum of 1, which those of independent classes do not have."""
    return p / p.sum()


def rank(value: NDArray[np.floating], ties: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Sort rows by decreasing value, ties up to rounding by increasing key.

    Args:
        value: (n,) of any unit.
        ties: (n,) uint64 keys, see `foveate.seeds.tie_keys`.
    """
    spread = float(np.ptp(value)) if len(value) else 0.0
    # Differences between batch sizes are small relative to the largest value.
    return by_importance(
        value / max(spread, 1e-3 * float(np.abs(value).max(initial=0)), _TINY), ties
    )


def chosen_first(rows: NDArray[np.int64], alone: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return importance (n,): selected rows above 1, the first highest, others in [0, 1].

    Args:
        rows: (k,) in the order of selection.
        alone: (n,) values of single rows.
    """
    spread = max(float(np.ptp(alone)), np.finfo(float).tiny)
    importance = (np.asarray(alone, np.float64) - alone.min()) / spread
    importance[rows] = 1 + np.arange(len(rows), 0, -1) / max(len(rows), 1)
    return importance
