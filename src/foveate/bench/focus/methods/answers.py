"""One answer from many crops: the ways of joining what a model says of each."""

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

Fusion = Literal["mean", "features"]  # the ways of joining that take weights

FUSIONS: tuple[Fusion, ...] = get_args(Fusion)

SAYS: dict[Join, str] = {
    "vote": "the class of most crops is the answer",
    "mean": "probabilities are averaged",
    "features": "features are averaged",
    "surest": "the crop with the most probable class answers",
    "newest": "the crop least like the others answers",
    "query": "the crop that fits the query best answers",
}

_TIE = 1e-3  # of a vote: what the mean probability may add, to decide between equal votes
_TINY = 1e-12


@dataclass(frozen=True)
class Joined:
    """One answer from n crops.

    Attributes:
        probabilities: (C,) float64, sums to 1; None without classes.
        value: (n,) float64, what makes a crop count: how probable the answer is in it, how sure
            or new it is, or how well it fits the query. None where nothing ranks the crops.
    """

    probabilities: NDArray[np.float64] | None
    value: NDArray[np.float64] | None


def check_join(question: FocusQuestion, how: Join) -> None:
    """Check that a question has what a way of joining needs.

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
        purpose: What they are needed for, for the message.

    Raises:
        MissingCapabilityError: There are none.
    """
    if question.head is None:
        raise MissingCapabilityError(
            f"{purpose} needs classes, and there are none",
            "Classes come from labels (a model that embeds text) or from a probe.",
        )
    return question.head


def need_query(question: FocusQuestion, purpose: str) -> None:
    """Check that something is looked for.

    Raises:
        MissingCapabilityError: Nothing is.
    """
    if not question.query:
        raise MissingCapabilityError(
            f"{purpose} needs a query, and there is none",
            "A query is one of the classes, or a text for a model that embeds text.",
        )


def join(
    question: FocusQuestion, x: NDArray[np.floating], how: Join, ties: NDArray[np.uint64]
) -> Joined:
    """Join what a model says of crops.

    Args:
        question: Classes and query.
        x: (n, d) features of the crops, n >= 1.
        how: "vote", "mean" (of probabilities), "features" (their mean is one feature),
            "surest", "newest" or "query" (one crop answers for all).
        ties: (n,) keys that decide between equal crops.

    Raises:
        MissingCapabilityError: See `check_join`.
    """
    check_join(question, how)
    chances = None if question.head is None else probabilities(question.head, x)
    if how in ("surest", "newest", "query"):
        value = _value_alone(question, x, how, chances)
        found = None if chances is None else normalised(chances[rank(value, ties)[0]])
        return Joined(found, value)
    if chances is None or question.head is None:
        return Joined(None, None)
    if how == "features":
        found = normalised(probabilities(question.head, x.mean(axis=0, keepdims=True))[0])
    elif how == "mean":
        found = normalised(chances.mean(axis=0))
    else:
        votes = np.bincount(chances.argmax(axis=1), minlength=chances.shape[1]) / len(x)
        found = normalised(votes + _TIE / len(x) * chances.mean(axis=0))
    return Joined(found, chances[:, found.argmax()])


def _value_alone(
    question: FocusQuestion, x: NDArray[np.floating], how: Join, chances: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return (n,) how much each crop is the one to answer."""
    if how == "newest":
        wide = np.asarray(x, np.float64)
        return 1 - novelty(LossInputs(wide, np.ones(len(wide))))(wide)
    found = question.fit(x) if how == "query" else None
    if found is None:
        assert chances is not None  # noqa: S101  (`check_join` asked for classes)
        found = chances.max(axis=1)
    return found


def target_score(question: FocusQuestion, z: NDArray[np.floating]) -> Score:
    """Return how much features show what a scene is judged by.

    That is the query, where there is one; else the most probable class of the scene; else, with
    no classes, likeness to the scene.

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
    """Return the answer of weighted crops.

    Args:
        question: Classes and query.
        x: (n, d) features of the crops.
        weight: (n,) > 0.
        how: What is averaged: probabilities ("mean") or features.

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
    """Return (n, C) probabilities above 0 of features (n, d)."""
    return np.maximum(head.probabilities(np.asarray(x, np.float32)).astype(np.float64), _TINY)


def normalised(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities that sum to 1: those of classes that are judged alone do not."""
    return p / p.sum()


def rank(value: NDArray[np.floating], ties: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Sort rows by falling value; those that are equal but for rounding by rising key.

    Args:
        value: (n,) of any unit.
        ties: (n,) uint64 keys, see `foveate.seeds.tie_keys`.
    """
    spread = float(np.ptp(value)) if len(value) else 0.0
    # What differs by a batch of another size differs by less than a part of the largest value.
    return by_importance(
        value / max(spread, 1e-3 * float(np.abs(value).max(initial=0)), _TINY), ties
    )


def chosen_first(rows: NDArray[np.int64], alone: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return importance (n,): selected rows above 1, the first highest, others in [0, 1].

    Args:
        rows: (k,) in the order of choice.
        alone: (n,) what each is worth without the others.
    """
    spread = max(float(np.ptp(alone)), np.finfo(float).tiny)
    found = (np.asarray(alone, np.float64) - alone.min()) / spread
    found[rows] = 1 + np.arange(len(rows), 0, -1) / max(len(rows), 1)
    return found
