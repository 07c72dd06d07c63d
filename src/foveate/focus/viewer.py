"""Shows images to a generative model, and counts what that takes.

A pass is an image of the model's standard input, or of the overview's longer side squared for a
model without one. Every image that is shown counts by its pixels; where the model has an input
size, as one pass at least, because most bring smaller ones to that size (Qwen2-VL does not: what
is counted is more than what is spent). What a model makes of an image by itself, such as the
tiles of LLaVA-NeXT, is not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.focus.feed import fitted
from foveate.grid import Window
from foveate.models.capabilities import Question
from foveate.models.embedding import fill_invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.focus.eye import Eye

SIDE = 768  # longest side of the overview for a model that takes any size, pixels


class Viewer:
    """See the head of this module.

    Args:
        eye: The image, the model, and the ledger that pays.
        side: Longest side of an image that is shown, pixels. None for the model's input; for a
            model that takes any size 768, or the longer side of a smaller image.

    Attributes:
        side: Longest side of an image that is shown, pixels.
        crop: Side of a crop in pixels of the image, where the user states none: the model's
            input, or half of `side`.
        generated: Answers that the model has given.
        judged: Losses that it has given.
    """

    def __init__(self, eye: Eye, side: int | None = None) -> None:
        size = eye.model.spec.input_size
        longest = max(eye.source.info.shape)
        self.side = side or (max(size) if size else min(SIDE, longest))
        self.crop = max(size) if size else max(1, self.side // 2)
        self.standard = size or (self.side, self.side)
        self._least = 1.0 if size else 0.0
        self._eye = eye
        self._model: Any = eye.model
        self.generated = self.judged = 0

    @property
    def whole(self) -> Window:
        """The window of the whole image."""
        return Window(0, 0, *self._eye.source.info.shape)

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
        return np.array([self.price(fitted((w.h, w.w), self.side)) for w in windows])

    def read(self, window: Window, shape: tuple[int, int] | None = None) -> NDArray[Any]:
        """Read a window as it is shown: (c, h, w) without holes.

        Args:
            window: Pixels of the image.
            shape: ``(height, width)`` to show it at; its own, shrunk to `side`, when None.
        """
        shape = shape or fitted((window.h, window.w), self.side)
        own = shape == (window.h, window.w)
        raster = self._eye.source.read(
            window, bands=self._model.spec.bands, out_shape=None if own else shape
        )
        return fill_invalid(raster)

    def answer(self, images: Sequence[NDArray[Any]], prompt: str, max_tokens: int) -> str:
        """Ask one question about images.

        Raises:
            BudgetError: The passes are not there; nothing was asked.
        """
        self._eye.pay(sum(self.price(image.shape[1:]) for image in images), len(images))
        question = Question(list(images), prompt)
        found = self._eye.timed(lambda: self._model.generate([question], max_tokens=max_tokens))
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
        self._eye.pay(float(self.prices(windows).sum()), len(windows))
        found = []
        for start in range(0, len(windows), self._eye.batch_size):
            part = windows[start : start + self._eye.batch_size]
            questions = [Question([self.read(window)], prompt) for window in part]
            found.append(self._eye.timed(self._model.answer_loss, questions, [answer] * len(part)))
        self.judged += len(windows)
        return np.concatenate(found).astype(np.float64)
