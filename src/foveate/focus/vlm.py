"""Sessions with a generative model: question, supported configurations, and cost.

A pass is an image of the model's standard input, or of the overview's longer side squared for a
model without one. Every input image counts by its pixels; if the model has an input size, as at
least one pass, because most models upsample smaller images (Qwen2-VL does not: its cost is
overestimated). Additional images that a model creates internally, such as the tiles of LLaVA-NeXT,
are not counted.
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
from foveate.registry import check_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.focus.config import FocusConfig
    from foveate.focus.encode import CropEncoder
    from foveate.models.capabilities import Model
    from foveate.raster.ahead import Look


VLM_GOALS = ("balanced", "rare", "query", "paper")

"""Goals that work with the losses of answers; all others need a selector."""


@dataclass(frozen=True)
class Inquiry:
    """A question, and the layout of regions in its prompt.

    Attributes:
        prompt: The question, without the chat template of a model.
        feed: See `foveate.focus.prompt_layout`.
        query: Text to search for, for the goal "query"; or "".
        max_tokens: Maximum length of an answer.
        side: Maximum side of an input image, pixels; None for the model's input.

    Raises:
        ParameterError: A value is invalid.
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
        check_choice("feed", self.feed, FEEDS)
        if self.max_tokens < 1 or (self.side is not None and self.side < 8):
            raise ParameterError(
                f"max_tokens={self.max_tokens}, side={self.side}",
                "max_tokens must be at least 1, side at least 8.",
            )


def check_vlm_config(inquiry: Inquiry, config: FocusConfig, selected: bool) -> None:  # noqa: FBT001
    """Check that goal and mode work with losses of answers instead of features.

    Args:
        inquiry: The question.
        config: Configuration of the selection.
        selected: Whether another model selects the regions.

    Raises:
        MissingCapabilityError: The goal, mode or partition needs features.
        ParameterError: The goal "query" has no query, or another goal has one.
    """
    query, goal = inquiry.query.strip(), config.goal.name
    check_query(config.goal, query)
    if selected:
        return
    hint = "Use {use}, or select regions with a model that embeds: --selector builtin."
    if goal not in VLM_GOALS:
        raise MissingCapabilityError(
            f"the goal {goal!r} with a generative model",
            f"It needs features of the regions; allowed without: {', '.join(VLM_GOALS)}.",
            hint.format(use="--goal balanced"),
        )
    if config.mode != "zoom":
        raise MissingCapabilityError(
            f"mode {config.mode!r} with a generative model",
            "Losses of answers need whole images: there are no tokens to average, and small "
            "cells would be upsampled to the input size.",
            hint.format(use="--mode zoom"),
        )
    if config.partition != "uniform":
        raise MissingCapabilityError(
            f"the partition {config.partition!r} with a generative model",
            "It needs tokens of the image.",
            hint.format(use="--partition uniform"),
        )
    if query and goal != "query":
        raise ParameterError(
            f"the query {query!r} with the goal {goal!r}",
            "Without a selector only the goal 'query' uses it.",
            "Type --goal query.",
        )


def check_vlm(model: Model, selected: bool) -> None:  # noqa: FBT001
    """Check that a model generates answers and, without a selector, scores them.

    Raises:
        MissingCapabilityError: It does not.
    """
    need(model, "answers", "foveate focus ask")
    if not selected and not isinstance(model, JudgesAnswers):
        raise MissingCapabilityError(
            f"{model.spec.name} has no 'answer_loss', which the selection of regions needs",
            "It generates answers, so another model may select the regions.",
            "Select them with --query TEXT or --goal rare and --selector MODEL (selector=... in "
            "Python); or implement the likelihood of an answer: "
            "from_answers(..., answer_loss=...).",
        )


OVERVIEW_SIDE = 768  # maximum side of the overview for a model that takes any size, pixels


class VLMSession:
    """Runs a generative model on windows of one image, and counts the passes.

    Args:
        encoder: The image, the model, and the ledger.
        side: Maximum side of an input image, pixels. None for the model's input; for a model that
            takes any size 768, or the longer side of a smaller image.

    Attributes:
        side: Maximum side of an input image, pixels.
        crop: Default side of a crop in pixels of the image: the model's input, or half of `side`.
        generated: Number of generated answers.
        judged: Number of computed losses.
    """

    def __init__(self, encoder: CropEncoder, side: int | None = None) -> None:
        size = encoder.model.spec.input_size
        longest = max(encoder.source.info.shape)
        self.side = side or (max(size) if size else min(OVERVIEW_SIDE, longest))
        self.crop = max(size) if size else max(1, self.side // 2)
        self.standard = size or (self.side, self.side)
        # Embeddings cost as much as the input images of answers.
        encoder.standard = SizedEncoder(encoder.model, self.standard, fixed=size is not None)
        self._min_price = 1.0 if size else 0.0
        self._encoder = encoder
        self._model: Any = encoder.model
        self.generated = self.judged = 0

    @property
    def whole(self) -> Window:
        """The window of the whole image."""
        return Window(0, 0, *self._encoder.source.info.shape)

    @property
    def black(self) -> NDArray[np.float64]:
        """(c,) value of black in each band: the lower end of the model's range, or 0."""
        spec = self._model.spec
        return np.array([low for low, _ in spec.scale or ()] or [0.0] * len(spec.bands))

    def price(self, shape: Sequence[int]) -> float:
        """Return the cost of an image of ``(height, width)`` pixels, in passes."""
        height, width = self.standard
        return max(self._min_price, shape[0] * shape[1] / (height * width))

    def prices(self, windows: Sequence[Window]) -> NDArray[np.float64]:
        """Return the cost of windows as input images, in passes: (n,)."""
        return np.array([self.price(fit_size((w.h, w.w), self.side)) for w in windows])

    def read(self, window: Window, shape: tuple[int, int] | None = None) -> NDArray[Any]:
        """Read a window as an input image: (c, h, w), invalid pixels filled.

        Args:
            window: Pixels of the image.
            shape: ``(height, width)`` of the input image; None for that of the window, scaled
                down to `side`.
        """
        raster = self._encoder.source.read(
            window, bands=self._model.spec.bands, out_shape=shape or self._input_shape(window)
        )
        return fill_invalid(raster)

    def _input_shape(self, window: Window) -> tuple[int, int]:
        """Return the size of a window as an input image."""
        return fit_size((window.h, window.w), self.side)

    def answer(self, images: Sequence[NDArray[Any]], prompt: str, max_tokens: int) -> str:
        """Generate the answer to one question about images.

        Raises:
            BudgetError: The remaining passes are too few; nothing was generated.
        """
        self._encoder.pay(sum(self.price(image.shape[1:]) for image in images), len(images))
        question = Question(list(images), prompt)
        texts = self._encoder.timed(lambda: self._model.generate([question], max_tokens=max_tokens))
        self.generated += 1
        return texts[0]

    def answer_losses(
        self, windows: Sequence[Window], prompt: str, answer: str
    ) -> NDArray[np.float64]:
        """Return the loss of an answer for each window alone.

        Args:
            windows: n windows of the image.
            prompt: The question.
            answer: The answer.

        Returns:
            (n,) mean negative log-likelihood of the answer's tokens, in nats.

        Raises:
            BudgetError: The remaining passes are too few; nothing was computed.
        """
        self._encoder.pay(float(self.prices(windows).sum()), len(windows))
        losses, source = [], self._encoder.source

        def reads(number: int) -> list[Look]:
            return [(source, windows[number], self._input_shape(windows[number]))]

        ahead = read_ahead([source], len(windows), reads, self._model.spec.bands)
        for start in range(0, len(windows), self._encoder.batch_size):
            ahead.at(start)
            part = windows[start : start + self._encoder.batch_size]
            questions = [Question([self.read(window)], prompt) for window in part]
            losses.append(
                self._encoder.timed(self._model.answer_loss, questions, [answer] * len(part))
            )
        self.judged += len(windows)
        return np.concatenate(losses).astype(np.float64)
