"""Sessions with a generative model: the question, what the model can serve, and what it costs.

A pass is an image of the model's standard input, or of the overview's longer side squared for a
model without one. Every image that is shown counts by its pixels; where the model has an input
size, as one pass at least, because most bring smaller ones to that size (Qwen2-VL does not: what
is counted is more than what is spent). What a model makes of an image by itself, such as the
tiles of LLaVA-NeXT, is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import MissingCapabilityError, ParameterError
from foveate.focus.config import check_query
from foveate.focus.encode import SizedEncoder
from foveate.focus.prompt_layout import FEEDS, Feed, fit_size
from foveate.grid import Window
from foveate.models.capabilities import JudgesAnswers, Question, need
from foveate.models.embed import fill_invalid
from foveate.raster import read_ahead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.focus.config import FocusConfig
    from foveate.focus.encode import CropEncoder
    from foveate.models.capabilities import Model
    from foveate.raster.ahead import Look


VLM_GOALS = ("balanced", "rare", "query", "paper")

"""Goals that the losses of answers can serve; all others need a selector."""


@dataclass(frozen=True)
class Inquiry:
    """A question, and how regions are shown with it.

    Attributes:
        prompt: The question, without marks of a model's template.
        feed: See `foveate.focus.prompt_layout`.
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


def check_vlm_config(inquiry: Inquiry, config: FocusConfig, selected: bool) -> None:  # noqa: FBT001
    """Refuse goals and modes that need features where there are only losses of answers.

    Args:
        inquiry: What is asked.
        config: How regions are chosen.
        selected: Whether another model chooses them.

    Raises:
        MissingCapabilityError: A goal, mode or partition that needs features.
        ParameterError: The goal "query" without a query, or a query for another goal.
    """
    query, goal = inquiry.query.strip(), config.goal.name
    check_query(config.goal, query)
    if selected:
        return
    out = "Use {use}, or let a model that embeds choose: --selector builtin."
    if goal not in VLM_GOALS:
        raise MissingCapabilityError(
            f"the goal {goal!r} for a generative model",
            f"It needs features of the regions; losses of answers serve: {', '.join(VLM_GOALS)}.",
            out.format(use="--goal balanced"),
        )
    if config.mode != "zoom":
        raise MissingCapabilityError(
            f"mode {config.mode!r} for a generative model",
            "It judges answers about whole images: there are no tokens to average, and small "
            "cells would be brought to its input size again.",
            out.format(use="--mode zoom"),
        )
    if config.partition != "uniform":
        raise MissingCapabilityError(
            f"the partition {config.partition!r} for a generative model",
            "It needs tokens of the image.",
            out.format(use="--partition uniform"),
        )
    if query and goal != "query":
        raise ParameterError(
            f"the query {query!r} for the goal {goal!r}",
            "Without a selector only the goal 'query' looks for it.",
            "Type --goal query.",
        )


def check_vlm(model: Model, selected: bool) -> None:  # noqa: FBT001
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


OVERVIEW_SIDE = 768  # longest side of the overview for a model that takes any size, pixels


class VLMSession:
    """Shows windows of one image to a generative model, and counts the passes.

    Args:
        encoder: The image, the model, and the ledger that pays.
        side: Longest side of an image that is shown, pixels. None for the model's input; for a
            model that takes any size 768, or the longer side of a smaller image.

    Attributes:
        side: Longest side of an image that is shown, pixels.
        crop: Side of a crop in pixels of the image, where the user states none: the model's
            input, or half of `side`.
        generated: Answers that the model has given.
        judged: Losses that it has given.
    """

    def __init__(self, encoder: CropEncoder, side: int | None = None) -> None:
        size = encoder.model.spec.input_size
        longest = max(encoder.source.info.shape)
        self.side = side or (max(size) if size else min(OVERVIEW_SIDE, longest))
        self.crop = max(size) if size else max(1, self.side // 2)
        self.standard = size or (self.side, self.side)
        # What is embedded beside the answers is priced as what is shown for them.
        encoder.standard = SizedEncoder(encoder.model, self.standard, fixed=size is not None)
        self._least = 1.0 if size else 0.0
        self._encoder = encoder
        self._model: Any = encoder.model
        self.generated = self.judged = 0

    @property
    def whole(self) -> Window:
        """The window of the whole image."""
        return Window(0, 0, *self._encoder.source.info.shape)

    @property
    def black(self) -> NDArray[np.float64]:
        """(c,) value of each band that means black: the lower end of the model's range, or 0."""
        spec = self._model.spec
        return np.array([low for low, _ in spec.scale or ()] or [0.0] * len(spec.bands))

    def price(self, shape: Sequence[int]) -> float:
        """Return what an image of ``(height, width)`` pixels costs, in passes."""
        height, width = self.standard
        return max(self._least, shape[0] * shape[1] / (height * width))

    def prices(self, windows: Sequence[Window]) -> NDArray[np.float64]:
        """Return what showing windows costs, in passes: (n,)."""
        return np.array([self.price(fit_size((w.h, w.w), self.side)) for w in windows])

    def read(self, window: Window, shape: tuple[int, int] | None = None) -> NDArray[Any]:
        """Read a window as it is shown: (c, h, w) without holes.

        Args:
            window: Pixels of the image.
            shape: ``(height, width)`` to show it at; its own, shrunk to `side`, when None.
        """
        raster = self._encoder.source.read(
            window, bands=self._model.spec.bands, out_shape=shape or self._shown(window)
        )
        return fill_invalid(raster)

    def _shown(self, window: Window) -> tuple[int, int]:
        """Return the size at which a window is shown."""
        return fit_size((window.h, window.w), self.side)

    def answer(self, images: Sequence[NDArray[Any]], prompt: str, max_tokens: int) -> str:
        """Ask one question about images.

        Raises:
            BudgetError: The passes are not there; nothing was asked.
        """
        self._encoder.pay(sum(self.price(image.shape[1:]) for image in images), len(images))
        question = Question(list(images), prompt)
        found = self._encoder.timed(lambda: self._model.generate([question], max_tokens=max_tokens))
        self.generated += 1
        return found[0]

    def judge(self, windows: Sequence[Window], prompt: str, answer: str) -> NDArray[np.float64]:
        """Return how little the model expects an answer of each window alone.

        Args:
            windows: n windows of the image.
            prompt: The question.
            answer: The answer.

        Returns:
            (n,) mean negative log-likelihood of the answer's tokens, in nats.

        Raises:
            BudgetError: The passes are not there; nothing was judged.
        """
        self._encoder.pay(float(self.prices(windows).sum()), len(windows))
        found, source = [], self._encoder.source

        def wanted(number: int) -> list[Look]:
            return [(source, windows[number], self._shown(windows[number]))]

        ahead = read_ahead([source], len(windows), wanted, self._model.spec.bands)
        for start in range(0, len(windows), self._encoder.batch_size):
            ahead.at(start)
            part = windows[start : start + self._encoder.batch_size]
            questions = [Question([self.read(window)], prompt) for window in part]
            found.append(
                self._encoder.timed(self._model.answer_loss, questions, [answer] * len(part))
            )
        self.judged += len(windows)
        return np.concatenate(found).astype(np.float64)
