"""Capabilities of frozen models: one protocol per capability.

A model is any object with a `spec`. It has a capability if it implements the methods of the
protocol; its class is never checked. Images are always numpy arrays ``(c, h, w)`` in the native
dtype of the imagery, with the bands of ``spec.bands``; each model resamples and scales them itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from foveate.errors import MissingCapabilityError
from foveate.models.base import ModelHandle

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec


class Model(Protocol):
    """Any model; its capabilities are checked with `need` and listed by `capabilities`."""

    @property
    def spec(self) -> EncoderSpec:
        """Properties that determine the results of the model."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """One vector per image: the capability of all models except those that only answer."""

    @property
    def spec(self) -> EncoderSpec:
        """Properties that determine the vectors."""
        ...

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed images.

        Args:
            batch: (b, c, h, w) in the native dtype of the imagery, bands as in ``spec.bands``.

        Returns:
            (b, d) float32. A vector depends on its own image only, not on the batch.
        """
        ...


@dataclass(frozen=True)
class TokenSpec:
    """Properties of the tokens of a model.

    Attributes:
        dim: Length of a token.
        space: "embedding" if tokens are in the space of `Embeds.embed` (and of the text, if the
            model embeds text), else "backbone".
        pooled: Whether the mean over the tokens of an image is its embedding, up to rounding; then
            the embedding of a part of the image needs no further pass.
    """

    dim: int
    space: Literal["embedding", "backbone"]
    pooled: bool = False


@runtime_checkable
class GivesTokens(Protocol):
    """A grid of vectors per image."""

    @property
    def token_spec(self) -> TokenSpec:
        """Properties of the tokens."""
        ...

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of images on their grid.

        Args:
            batch: (b, c, h, w) as for `Embeds.embed`.

        Returns:
            (b, gh, gw, d) float32, row-major and north-up like the image, without class tokens and
            other special tokens.
        """
        ...


@dataclass(frozen=True)
class TokenSums:
    """Per-token terms of the attention pooling of one image.

    The output of a head is ``sum_i e_i v_i / sum_i e_i`` with ``e_i = exp(q k_i / sqrt(c))``. Both
    are sums over tokens, so the pooling of a part of the image sums over the tokens of the part.

    Attributes:
        terms: (gh, gw, q) float32 numerators and denominators of each token, on a common scale.
        always: (q,) float32 terms of the class token, which belongs to every part; zeros for a
            model without a class token.
        values: (gh, gw, e) float32, the v_i: contribution of each token without its weight.
        stream: (r,) float32 further input of the pooling: the class token before it.
    """

    terms: NDArray[np.float32]
    always: NDArray[np.float32]
    values: NDArray[np.float32]
    stream: NDArray[np.float32]


@runtime_checkable
class PoolsParts(Protocol):
    """Embeddings of parts of an image from one pass: the pooling is repeated with fewer tokens.

    The tokens still depend on the whole image through the attention of earlier layers.
    """

    def token_sums(self, batch: NDArray[Any]) -> list[TokenSums]:
        """Return the per-token terms of the pooling.

        Args:
            batch: (b, c, h, w) as for `Embeds.embed`.

        Returns:
            One `TokenSums` per image.
        """
        ...

    def pool_sums(self, sums: NDArray[np.floating], of: TokenSums) -> NDArray[np.float32]:
        """Return the embeddings of parts of one image.

        Args:
            sums: (m, q) terms summed over the tokens of each part, including `always`. A token
                that is half inside a part has weight one half.
            of: The terms of the image.

        Returns:
            (m, d) float32. With all tokens it equals `Embeds.embed` of the image, up to rounding;
            zeros for a part without tokens in a model without a class token.
        """
        ...


@dataclass(frozen=True)
class TextSpec:
    """Properties of the text encoder and of image-text logits.

    Attributes:
        scale: The trained temperature: logits are ``scale * cosine + bias``.
        bias: 0 for softmax models, negative for sigmoid models.
        head: "cosine" for models trained with a softmax over texts (CLIP), "sigmoid" for models
            that score each pair independently (SigLIP).
        context: Maximum number of tokens of a text; longer texts are truncated.
        fingerprint: Hash of the tokenizer, which is not part of the weights.
    """

    scale: float
    bias: float
    head: Literal["cosine", "sigmoid"]
    context: int
    fingerprint: str = ""


@runtime_checkable
class EmbedsText(Protocol):
    """Vectors of texts in the space of the images."""

    @property
    def text_spec(self) -> TextSpec:
        """Properties of the text encoder."""
        ...

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Args:
            texts: n texts.

        Returns:
            (n, d) float32 of norm 1, comparable with `Embeds.embed` by cosine.
        """
        ...


@dataclass(frozen=True)
class Question:
    """A prompt about one or more images.

    Attributes:
        images: One or more ``(c, h, w)`` arrays; their sizes may differ.
        prompt: The text, without special tokens of a chat template. The images precede the text,
            in order.
    """

    images: Sequence[NDArray[Any]]
    prompt: str


@runtime_checkable
class Generates(Protocol):
    """Generated text answers about images."""

    def generate(self, questions: Sequence[Question], *, max_tokens: int = 64) -> list[str]:
        """Answer questions independently, with greedy decoding.

        Args:
            questions: n questions.
            max_tokens: Maximum length of an answer.

        Returns:
            n answers.
        """
        ...


@runtime_checkable
class JudgesAnswers(Protocol):
    """Likelihood of given text answers; mostly not available for models behind an API."""

    def answer_loss(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return the loss of given answers.

        Args:
            questions: n questions.
            answers: n answers.

        Returns:
            (n,) float32 >= 0: mean negative log-likelihood of the tokens of the answer, in nats.
        """
        ...


@runtime_checkable
class JudgesAnswerSets(JudgesAnswers, Protocol):
    """Losses of the same answers for many questions, faster than `JudgesAnswers`."""

    @property
    def shares_questions(self) -> bool:
        """Whether a question and its images are encoded once for all answers."""
        ...

    def answer_losses(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return the loss of each of m answers to each of n questions: (n, m) float32 >= 0."""
        ...

    def answer_tokens(self, answers: Sequence[str]) -> NDArray[np.int64]:
        """Return the (m,) numbers of tokens of m answers."""
        ...


@runtime_checkable
class Segments(Protocol):
    """Masks from boxes, with predicted quality."""

    def mask_quality(self, batch: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.float32]:
        """Return the predicted quality of the best mask in each box.

        Args:
            batch: (b, c, h, w) as for `Embeds.embed`.
            boxes: (b, k, 4) float ``x0, y0, x1, y1`` in pixels of the given images.

        Returns:
            (b, k) float32: predicted intersection over union, nominally in [0, 1].

        Raises:
            DataError: A box is empty or outside its image.
        """
        ...

    def segment(self, batch: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.bool_]:
        """Return the best mask in each box.

        Args:
            batch: (b, c, h, w) as for `Embeds.embed`.
            boxes: (b, k, 4) float ``x0, y0, x1, y1`` in pixels of the given images.

        Returns:
            (b, k, h, w) bool.

        Raises:
            DataError: A box is empty or outside its image.
        """
        ...


@runtime_checkable
class TakesSizes(Protocol):
    """The same frozen weights for other input sizes, sharing memory."""

    @property
    def size_step(self) -> int:
        """Step of input sides in pixels: sides must be multiples of it, or the size as built.

        It is the side of a patch or the stride of the last layer, so that tokens tile the input.
        """
        ...

    def at_size(self, side: int | tuple[int, int]) -> Embeds:
        """Return the model for inputs of another size.

        Args:
            side: Side of a square or ``(height, width)``, in pixels.

        Returns:
            A model with the same capabilities and weights, including `at_size`, which resamples
            from the original weights again. Its spec differs in ``input_size`` only; the
            fingerprint of the weights is unchanged. This model is not modified.

        Raises:
            ParameterError: The network does not support inputs of this size.
        """
        ...


CAPABILITIES: dict[str, type] = {
    "embed": Embeds,
    "tokens": GivesTokens,
    "parts": PoolsParts,
    "text": EmbedsText,
    "answers": Generates,
    "answer_loss": JudgesAnswers,
    "masks": Segments,
    "sizes": TakesSizes,
}

_WHO_CAN = {
    "tokens": "Image tokens are available from timm, torchgeo, open_clip, tuned and hf models.",
    "parts": "Pooling of parts is supported by vision transformers of open_clip and by CLIP and "
    "SigLIP models of hf.",
    "text": "Text is embedded by open_clip, tuned, and CLIP or SigLIP models of hf; labels may "
    "also be answers of LLaVA, Qwen2-VL and BLIP-2.",
    "answers": "Answers are generated by LLaVA, Qwen2-VL and BLIP-2 models of hf, or by your own "
    "function with from_answers(...).",
    "answer_loss": "Losses of answers are available from LLaVA, Qwen2-VL and BLIP-2 models of hf, "
    "or from your own function with answer_loss=...",
    "masks": "Masks are predicted by SAM (hf), or by your own function with "
    "from_callable(segmenter=...).",
    "sizes": "Other input sizes are supported by timm and torchgeo models, vision transformers of "
    "open_clip, CLIP and SigLIP models of hf, and models tuned on one of them.",
}


def who_can(capability: str) -> str:
    """Return the models with a capability, as a sentence."""
    return _WHO_CAN[capability]


def capabilities(model: object) -> tuple[str, ...]:
    """Return the names of the capabilities of a model, in the order of `CAPABILITIES`."""
    return tuple(name for name, protocol in CAPABILITIES.items() if isinstance(model, protocol))


def need(model: object, capability: str, purpose: str = "") -> Any:
    """Return the model after checking that it has a capability.

    Args:
        model: Any model.
        capability: A name in `CAPABILITIES`.
        purpose: Purpose, for the message ("zero-shot classification").

    Raises:
        MissingCapabilityError: The model does not have it; the message lists its capabilities and
            models that have it.
    """
    if isinstance(model, CAPABILITIES[capability]):
        return model
    if isinstance(model, ModelHandle):
        raise MissingCapabilityError(
            f"{model} is a model handle, not a model",
            "A model is built for the bands and the value range of a pool.",
            "Build it with model = foveate.bind(load_model(...), pool)",
        )
    spec = getattr(model, "spec", None)
    name = getattr(spec, "name", type(model).__name__)
    available = ", ".join(capabilities(model)) or "none"
    raise MissingCapabilityError(
        f"{name} does not have the capability {capability!r}"
        + (f" required for {purpose}" if purpose else ""),
        f"Its capabilities: {available}.",
        _WHO_CAN.get(capability, "") + " List all models with: foveate models.",
    )
