"""What is asked of a generative model, and which goals, modes and models can serve it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from foveate.errors import MissingCapabilityError, ParameterError
from foveate.focus.feed import FEEDS, Feed
from foveate.focus.goals import need_query
from foveate.models.capabilities import JudgesAnswers, need

if TYPE_CHECKING:
    from foveate.focus.plan import Plan
    from foveate.models.capabilities import Model

OWN_GOALS = ("balanced", "rare", "query")
"""Goals that the losses of answers can serve; all others need a selector."""


@dataclass(frozen=True)
class Inquiry:
    """What is asked, and how the regions are shown.

    Attributes:
        prompt: The question, without marks of a model's template.
        feed: See `foveate.focus.feed`.
        query: What is looked for, for the goal "query"; or "".
        max_tokens: Longest answer.
        side: Longest side of an image that is shown, pixels; None for the model's input.

    Raises:
        ParameterError: A value that cannot be.
    """

    prompt: str
    feed: Feed = "overview+crops"
    query: str = ""
    max_tokens: int = 64
    side: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.prompt.strip():
            raise ParameterError("an empty prompt", "", "Type --prompt 'What is shown?'.")
        if self.feed not in FEEDS:
            raise ParameterError(f"feed={self.feed!r}", f"Allowed: {', '.join(FEEDS)}.")
        if self.max_tokens < 1 or (self.side is not None and self.side < 8):
            raise ParameterError(
                f"max_tokens={self.max_tokens}, side={self.side}",
                "An answer has 1 token or more, an image that is shown 8 pixels or more.",
            )


def check_choice(inquiry: Inquiry, plan: Plan, selected: bool) -> None:  # noqa: FBT001
    """Refuse goals and modes that need features where there are only losses of answers.

    Args:
        inquiry: What is asked.
        plan: How regions are chosen.
        selected: Whether another model chooses them.

    Raises:
        MissingCapabilityError: A goal, mode or partition that needs features.
        ParameterError: The goal "query" without a query, or a query for another goal.
    """
    query, goal = inquiry.query.strip(), plan.goal.name
    need_query(plan.goal, query)
    if selected:
        return
    out = "Use {use}, or let a model that embeds choose: --selector builtin."
    if goal not in OWN_GOALS:
        raise MissingCapabilityError(
            f"the goal {goal!r} for a generative model",
            f"It needs features of the regions; losses of answers serve: {', '.join(OWN_GOALS)}.",
            out.format(use="--goal balanced"),
        )
    if plan.mode != "zoom":
        raise MissingCapabilityError(
            f"mode {plan.mode!r} for a generative model",
            "It judges answers about whole images: there are no tokens to average, and small "
            "cells would be brought to its input size again.",
            out.format(use="--mode zoom"),
        )
    if plan.partition != "uniform":
        raise MissingCapabilityError(
            f"the partition {plan.partition!r} for a generative model",
            "It needs tokens of the image.",
            out.format(use="--partition uniform"),
        )
    if query and goal != "query":
        raise ParameterError(
            f"the query {query!r} for the goal {goal!r}",
            "Without a selector only the goal 'query' looks for it.",
            "Type --goal query.",
        )


def need_answers(model: Model, selected: bool) -> None:  # noqa: FBT001
    """Refuse a model that does not answer, or that cannot choose regions by itself.

    Raises:
        MissingCapabilityError: It does not, or cannot.
    """
    need(model, "answers", "foveate focus ask")
    if not selected and not isinstance(model, JudgesAnswers):
        raise MissingCapabilityError(
            f"{model.spec.name} has no 'answer_loss': it cannot say which region an answer "
            "comes from",
            "It answers, so it can be shown regions that another model chooses.",
            "Either let one choose, with --query TEXT or --goal rare: --selector MODEL "
            "(selector=... in Python); or give the likelihood of an answer: "
            "from_answers(..., answer_loss=...).",
        )
