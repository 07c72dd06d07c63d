"""Python functions as a model: each function adds one capability.

`from_callable` is for models that embed images, and may do more; `from_answers` for those behind
an API that answer questions and embed nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError, ParameterError
from foveate.models.base import check_bands
from foveate.models.preprocess import check_boxes, clean_texts
from foveate.raster import resize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from foveate.models.capabilities import Question, TextSpec, TokenSpec

    Images = Callable[[NDArray[Any]], NDArray[Any]]
    Texts = Callable[[list[str]], NDArray[Any]]
    Answer = Callable[[Question, int], str]
    AnswerLoss = Callable[[Question, str], float]
    Segmenter = Callable[[NDArray[Any], NDArray[np.float32]], tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class CallableModel:
    """A function with its spec and further capabilities; see `from_callable`.

    Attributes:
        function: From (b, c, h, w) to (b, d).
        spec: Model specification.
        parts: One object per further capability. Its methods become attributes of this instance,
            so that a capability exists only if its function was given.
    """

    function: Images
    spec: EncoderSpec
    parts: tuple[_Tokens | _Texts | _Masks | AnswersModel, ...] = ()

    def __post_init__(self) -> None:
        """Add the methods of the parts to this instance."""
        for part in self.parts:
            for name in part.offers:
                object.__setattr__(self, name, getattr(part, name))

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Call the function and check what it returns.

        Raises:
            DataError: The result is not (b, d) with the d of the spec, or the bands of the batch
                differ from those of the spec.
        """
        result = _call(self.function, batch, self.spec)
        if result.shape != (len(batch), self.spec.dim):
            raise DataError(
                f"the model {self.spec.name!r} returned shape {result.shape} for a batch of "
                f"{len(batch)}",
                f"Expected {(len(batch), self.spec.dim)}: one vector of dim={self.spec.dim} each.",
            )
        return result


@dataclass(frozen=True)
class AnswersModel:
    """An answering function; see `from_answers`.

    Attributes:
        spec: Name, bands and fingerprint; the dim is 0, because nothing is embedded.
        function: From a question and the longest answer in tokens to the answer.
    """

    spec: EncoderSpec
    function: Answer
    offers: ClassVar[tuple[str, ...]] = ("generate",)

    def generate(self, questions: Sequence[Question], *, max_tokens: int = 64) -> list[str]:
        """Answer n questions, each on its own.

        Raises:
            DataError: An image has other bands, or an answer is not a string.
            ParameterError: A question has no image.
        """
        self._check(questions)
        answers = [self.function(question, max_tokens) for question in questions]
        if not all(isinstance(answer, str) for answer in answers):
            raise DataError(f"{self.spec.name!r} answered {answers!r}"[:200], "Expected strings.")
        return answers

    def _check(self, questions: Sequence[Question]) -> None:
        for question in questions:
            if not len(question.images):
                raise ParameterError("a question has no image", "At least one image is required.")
            for image in question.images:
                check_bands(np.asarray(image)[None], self.spec)


@dataclass(frozen=True)
class JudgingAnswersModel(AnswersModel):
    """A function that answers, with a loss function for answers; see `from_answers`.

    Attributes:
        loss: From a question and an answer to the mean negative log-likelihood, in nats.
    """

    loss: AnswerLoss
    offers: ClassVar[tuple[str, ...]] = ("generate", "answer_loss")

    def answer_loss(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return the loss of n given answers: (n,) float32 >= 0, in nats per token.

        Raises:
            DataError: An image has other bands, or a loss is negative or not finite.
            ParameterError: A question has no image, or not exactly one answer.
        """
        self._check(questions)
        if len(questions) != len(answers):
            raise ParameterError(
                f"{len(answers)} answers for {len(questions)} questions",
                "Each question needs one answer.",
            )
        pairs = zip(questions, answers, strict=True)
        losses = np.array([self.loss(question, answer) for question, answer in pairs], np.float32)
        if not (np.isfinite(losses) & (losses >= 0)).all():
            raise DataError(
                f"{self.spec.name!r} returned the losses {losses.tolist()}"[:200],
                "Losses must be finite and at least 0.",
            )
        return losses


def _answers(spec: EncoderSpec, answer: Answer, loss: AnswerLoss | None) -> AnswersModel:
    if loss is None:
        return AnswersModel(spec, answer)
    return JudgingAnswersModel(spec, answer, loss)


@dataclass(frozen=True)
class _Tokens:
    """`GivesTokens` from a function."""

    spec: EncoderSpec
    token_spec: TokenSpec
    function: Images
    offers: ClassVar = ("token_spec", "tokens")

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        result = _call(self.function, batch, self.spec)
        if result.ndim != 4 or (len(result), result.shape[3]) != (len(batch), self.token_spec.dim):
            raise DataError(
                f"the tokens of {self.spec.name!r} have shape {result.shape} for a batch of "
                f"{len(batch)}",
                f"Expected ({len(batch)}, gh, gw, {self.token_spec.dim}).",
            )
        return result


@dataclass(frozen=True)
class _Texts:
    """`EmbedsText` from a function."""

    spec: EncoderSpec
    text_spec: TextSpec
    function: Texts
    offers: ClassVar = ("text_spec", "embed_text")

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        words = clean_texts(texts)
        result = np.asarray(self.function(words), dtype=np.float32)
        norms = np.linalg.norm(result, axis=-1, keepdims=True)
        if result.shape != (len(words), self.spec.dim) or not (norms > 0).all():
            raise DataError(
                f"the texts of {self.spec.name!r} have shape {result.shape} for {len(words)}",
                f"Expected {(len(words), self.spec.dim)}, and no vector of zeros.",
            )
        return result / norms


@dataclass(frozen=True)
class _Masks:
    """`Segments` from a function."""

    spec: EncoderSpec
    function: Segmenter
    offers: ClassVar = ("segment", "mask_quality")

    def segment(self, batch: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.bool_]:
        return self._run(batch, boxes)[0]

    def mask_quality(self, batch: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.float32]:
        return self._run(batch, boxes)[1]

    def _run(
        self, batch: NDArray[Any], boxes: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        check_bands(batch, self.spec)
        checked = check_boxes(boxes, batch)
        masks, quality = (
            np.asarray(output) for output in self.function(np.ascontiguousarray(batch), checked)
        )
        expected = (*checked.shape[:2], *batch.shape[2:])
        if masks.shape != expected or masks.dtype != np.bool_ or quality.shape != expected[:2]:
            raise DataError(
                f"the segmenter of {self.spec.name!r} returned masks {masks.shape} "
                f"{masks.dtype} and qualities {quality.shape}",
                f"Expected masks {expected} bool and qualities {expected[:2]}.",
                "Resample the logits to the image size, then threshold: logits > 0.",
            )
        if not np.isfinite(quality).all():
            raise DataError(f"a mask quality of {self.spec.name!r} is not finite")
        return masks, quality.astype(np.float32)


def from_callable(  # noqa: PLR0913  (keyword-only options)
    function: Images,
    *,
    name: str,
    dim: int,
    bands: Sequence[int],
    fingerprint: str,
    input_size: tuple[int, int] | None = None,
    licence: str = "",
    tokens: Images | None = None,
    token_spec: TokenSpec | None = None,
    embed_text: Texts | None = None,
    text_spec: TextSpec | None = None,
    answer: Answer | None = None,
    answer_loss: AnswerLoss | None = None,
    segmenter: Segmenter | None = None,
) -> CallableModel:
    """Wrap a function ``(b, c, h, w) native dtype -> (b, dim)`` as a model.

    The function gets raw pixel values and scales them itself. One vector must depend on one
    image only: put networks into eval mode. Each further function adds a capability, which the
    model does not have without it.

    Args:
        function: The model.
        name: Name in specs and reports.
        dim: Length of a vector.
        bands: 1-based bands to pass, in this order.
        fingerprint: Any value that changes when the model changes: embeddings are reused for
            the same fingerprint.
        input_size: ``(height, width)`` that images are resampled to first, for `function` and
            `tokens`; None for their own.
        licence: Licence of the model.
        tokens: From (b, c, h, w) to (b, gh, gw, d), row-major and north-up.
        token_spec: Token specification; required with `tokens`.
        embed_text: From n texts to (n, dim) in the space of the images, of any norm.
        text_spec: Text specification; required with `embed_text`.
        answer: From a question and the longest answer in tokens to the answer.
        answer_loss: From a question and an answer to its mean negative log-likelihood per token,
            in nats.
        segmenter: From images (b, c, h, w) of their own size and boxes (b, k, 4) float32, which
            are ``x0, y0, x1, y1`` in their pixels, to masks (b, k, h, w) bool and their
            qualities (b, k), nominally the intersection over union from 0 to 1.

    Raises:
        ParameterError: Tokens or texts come without their spec, a spec without its function, or
            an answer_loss without an answer.
    """
    _check_pair("tokens", tokens, "token_spec", token_spec)
    _check_pair("embed_text", embed_text, "text_spec", text_spec)
    if answer_loss is not None and answer is None:
        raise ParameterError("answer_loss without answer", "", "Pass answer=, too.")
    spec = EncoderSpec(
        name=name,
        dim=dim,
        bands=tuple(int(b) for b in bands),
        input_size=input_size,
        licence=licence,
        source="callable",
        fingerprint=fingerprint,
    )
    parts: list[_Tokens | _Texts | _Masks | AnswersModel] = []
    if tokens is not None and token_spec is not None:
        parts.append(_Tokens(spec, token_spec, tokens))
    if embed_text is not None and text_spec is not None:
        parts.append(_Texts(spec, text_spec, embed_text))
    if answer is not None:
        parts.append(_answers(spec, answer, answer_loss))
    if segmenter is not None:
        parts.append(_Masks(spec, segmenter))
    return CallableModel(function, spec, tuple(parts))


def from_answers(
    answer: Answer,
    *,
    name: str,
    bands: Sequence[int],
    fingerprint: str,
    answer_loss: AnswerLoss | None = None,
    licence: str = "",
) -> AnswersModel:
    """Wrap a function that answers questions about images without embedding them.

    Such a model is not an `Embeds`: commands that need vectors or tokens reject it.

    Args:
        answer: From a question and the longest answer in tokens to the answer; the images are
            ``(c, h, w)`` in native dtype with `bands`.
        name: Name in reports.
        bands: 1-based bands to pass, in this order.
        fingerprint: Any value that changes when the model changes.
        answer_loss: From a question and an answer to its mean negative log-likelihood per token,
            in nats.
        licence: Licence of the model.
    """
    spec = EncoderSpec(
        name=name,
        dim=0,
        bands=tuple(int(b) for b in bands),
        licence=licence,
        source="callable",
        fingerprint=fingerprint,
    )
    return _answers(spec, answer, answer_loss)


def _check_pair(first: str, function: object, second: str, spec: object) -> None:
    """Reject a function without its spec, and a spec without its function."""
    if (function is None) != (spec is None):
        present, missing = (first, second) if spec is None else (second, first)
        raise ParameterError(f"{present} without {missing}", "They must be given together.")


def _call(function: Images, batch: NDArray[Any], spec: EncoderSpec) -> NDArray[np.float32]:
    """Call a function on images resampled to the size of the spec."""
    check_bands(batch, spec)
    size = spec.input_size
    if size is not None and batch.shape[2:] != size:
        batch = np.stack([_resized(tile, size) for tile in batch])
    # C order: the sums of another layout would differ in the last bit.
    return np.asarray(function(np.ascontiguousarray(batch)), dtype=np.float32)


def _resized(tile: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    bands = np.stack([resize(band, size) for band in tile])
    return (np.rint(bands) if tile.dtype.kind in "iu" else bands).astype(tile.dtype)
