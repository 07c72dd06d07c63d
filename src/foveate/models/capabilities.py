"""What a frozen model can do: one protocol per capability, found by presence.

A model is any object with a `spec`; what it can do, `embed` and more, it shows by having the
methods of a protocol. Nothing asks for a model's class. Images are always numpy
arrays ``(c, h, w)`` in the native dtype of the imagery, with the bands of ``spec.bands``; each
model resamples and scales them itself.
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
    """Any model; what it can do is asked with `need` and `capabilities`."""

    @property
    def spec(self) -> EncoderSpec:
        """What its results depend on."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """One vector per image: what all models give but those that only answer."""

    @property
    def spec(self) -> EncoderSpec:
        """What the vectors depend on."""
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
        space: "embedding" where a token lies in the space of `Embeds.embed` (and of the text, if
            the model has one), "backbone" where it does not.
        pooled: Whether the mean over an image's tokens is its embedding, up to rounding: then
            leaving out a part of the image needs no further pass.
    """

    dim: int
    space: Literal["embedding", "backbone"]
    pooled: bool = False


@runtime_checkable
class GivesTokens(Protocol):
    """Vectors of the places of an image."""

    @property
    def token_spec(self) -> TokenSpec:
        """What the tokens are."""
        ...

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of images on their grid.

        Args:
            batch: (b, c, h, w) as for `Embeds.embed`.

        Returns:
            (b, gh, gw, d) float32, row-major and north-up like the image; class tokens and the
            like are not among them.
        """
        ...


@dataclass(frozen=True)
class TokenSums:
    """What the attention that pools one image adds up over its tokens.

    A head's output is ``sum_i e_i v_i / sum_i e_i`` with ``e_i = exp(q k_i / sqrt(c))``: both are
    sums, so those of any part of the image are the sums over its tokens.

    Attributes:
        terms: (gh, gw, q) float32 numerators and denominators of each token, on any one scale.
        always: (q,) float32 those of the class token, which is left whatever is taken away; zeros
            for a model without.
        values: (gh, gw, e) float32, the v_i: what each place contributes, without its weight.
        stream: (r,) float32 what else the pooling depends on: the class token before it.
    """

    terms: NDArray[np.float32]
    always: NDArray[np.float32]
    values: NDArray[np.float32]
    stream: NDArray[np.float32]


@runtime_checkable
class PoolsParts(Protocol):
    """Embeddings of parts of an image from one pass: its pooling is repeated with fewer tokens.

    What the tokens have seen of the rest in earlier layers stays in them.
    """

    def token_sums(self, batch: NDArray[Any]) -> list[TokenSums]:
        """Return what the pooling adds up.

        Args:
            batch: (b, c, h, w) as for `Embeds.embed`.

        Returns:
            One for each image.
        """
        ...

    def pool_sums(self, sums: NDArray[np.floating], of: TokenSums) -> NDArray[np.float32]:
        """Return the embeddings of parts of one image.

        Args:
            sums: (m, q) terms added up over the tokens of each part, `always` included. A token of
                which a part has half counts half.
            of: What they were added up from.

        Returns:
            (m, d) float32. With all tokens it is `Embeds.embed` of the image, up to rounding; of a
            part without any token, in a model without a class token, it is zeros.
        """
        ...


@dataclass(frozen=True)
class TextSpec:
    """How texts meet images.

    Attributes:
        scale: The trained temperature: logits are ``scale * cosine + bias``.
        bias: 0 for softmax models, negative for sigmoid models.
        head: "cosine" for models trained with a softmax over texts (CLIP), "sigmoid" where each
            pair is judged alone (SigLIP).
        context: Most tokens of a text; longer texts are cut.
        fingerprint: Hash of what reads texts besides the model's weights: its tokenizer.
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
        """How texts meet images."""
        ...

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Args:
            texts: n texts as a person writes them.

        Returns:
            (n, d) float32 of norm 1, comparable with `Embeds.embed` by cosine.
        """
        ...


@dataclass(frozen=True)
class Question:
    """Images shown together, and what is asked of them.

    Attributes:
        images: One or more ``(c, h, w)`` arrays; their sizes may differ.
        prompt: The text, without any marks of a model's template. Each image is shown in order,
            before the text.
    """

    images: Sequence[NDArray[Any]]
    prompt: str


@runtime_checkable
class Generates(Protocol):
    """Answers in words about images."""

    def generate(self, questions: Sequence[Question], *, max_tokens: int = 64) -> list[str]:
        """Answer questions greedily, each on its own.

        Args:
            questions: n questions.
            max_tokens: Longest answer.

        Returns:
            n answers.
        """
        ...


@runtime_checkable
class JudgesAnswers(Protocol):
    """How likely an answer in words is; models behind an API mostly cannot say."""

    def answer_loss(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return how little the model expects given answers.

        Args:
            questions: n questions.
            answers: n answers.

        Returns:
            (n,) float32 >= 0: mean negative log-likelihood of the answer's tokens, in nats.
        """
        ...


@runtime_checkable
class JudgesAnswerSets(JudgesAnswers, Protocol):
    """Losses of the same answers to many questions: a faster way to `JudgesAnswers`."""

    @property
    def shares_questions(self) -> bool:
        """Whether a question is read once for all answers, images included."""
        ...

    def answer_losses(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return the loss of each of m answers to each of n questions: (n, m) float32 >= 0."""
        ...

    def answer_tokens(self, answers: Sequence[str]) -> NDArray[np.int64]:
        """Return how many tokens each of m answers has: (m,)."""
        ...


@runtime_checkable
class Segments(Protocol):
    """Masks from boxes, with the model's own judgement of them."""

    def mask_quality(self, batch: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.float32]:
        """Return the quality that the model predicts for the best mask in each box.

        Args:
            batch: (b, c, h, w) as for `Embeds.embed`.
            boxes: (b, k, 4) float ``x0, y0, x1, y1`` in pixels of the given images.

        Returns:
            (b, k) float32: predicted intersection over union, nominally in [0, 1].
        """
        ...

    def segment(self, batch: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.bool_]:
        """Return the best mask in each box.

        Args:
            batch: (b, c, h, w) as for `Embeds.embed`.
            boxes: (b, k, 4) float ``x0, y0, x1, y1`` in pixels of the given images.

        Returns:
            (b, k, h, w) bool.
        """
        ...


@runtime_checkable
class TakesSizes(Protocol):
    """The same frozen weights with inputs of another size, held in memory once."""

    @property
    def size_step(self) -> int:
        """What the sides of an input are multiples of, in pixels; the size as built always is one.

        The side of a patch or the reduction of the last layer, so that tokens tile the input.
        """
        ...

    def at_size(self, side: int | tuple[int, int]) -> Embeds:
        """Return the model for inputs of another size.

        Args:
            side: Side of a square or ``(height, width)``, in pixels.

        Returns:
            A model with the same capabilities over the same weights, `at_size` included: its
            sizes start from the weights, not from what was resampled already. Its spec differs
            in ``input_size`` only; the fingerprint is that of the weights, and stays. This model
            is left as it was.

        Raises:
            ParameterError: The network cannot take inputs of this size.
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
    "tokens": "Image tokens come from timm, torchgeo, open_clip, tuned and hf models.",
    "parts": "Parts of an image are pooled by vision transformers of open_clip and by CLIP and "
    "SigLIP models of hf.",
    "text": "Text is embedded by open_clip, tuned, and CLIP or SigLIP models of hf; labels may "
    "also be answers of LLaVA, Qwen2-VL and BLIP-2.",
    "answers": "Answers come from LLaVA, Qwen2-VL and BLIP-2 models of hf, or from your own "
    "function with from_answers(...).",
    "answer_loss": "Losses of answers come from LLaVA, Qwen2-VL and BLIP-2 models of hf, or from "
    "your own function with answer_loss=...",
    "masks": "Masks come from SAM (hf), or from your own with from_callable(segmenter=...).",
    "sizes": "Other input sizes are taken by timm and torchgeo models, vision transformers of "
    "open_clip, CLIP and SigLIP models of hf, and what is tuned over one of them.",
}


def who_can(capability: str) -> str:
    """Return which models have a capability, as a sentence."""
    return _WHO_CAN[capability]


def capabilities(model: object) -> tuple[str, ...]:
    """Return the names of what a model can do, in the order of `CAPABILITIES`."""
    return tuple(name for name, protocol in CAPABILITIES.items() if isinstance(model, protocol))


def need(model: object, capability: str, purpose: str = "") -> Any:
    """Return the model, after making sure that it can do something.

    Args:
        model: Any model.
        capability: A name in `CAPABILITIES`.
        purpose: What it is needed for, for the message ("zero-shot classification").

    Raises:
        MissingCapabilityError: It cannot; the message says what it can and who can.
    """
    if isinstance(model, CAPABILITIES[capability]):
        return model
    if isinstance(model, ModelHandle):
        raise MissingCapabilityError(
            f"{model} is the name of a model that has not been built yet",
            "It is built for the bands and the range of values of a pool.",
            "Type: model = foveate.bind(load_model(...), pool)",
        )
    spec = getattr(model, "spec", None)
    name = getattr(spec, "name", type(model).__name__)
    able = ", ".join(capabilities(model)) or "nothing that foveate knows"
    raise MissingCapabilityError(
        f"{name} has no {capability!r}" + (f", which {purpose} needs" if purpose else ""),
        f"It has: {able}.",
        _WHO_CAN.get(capability, "") + " List them: foveate models.",
    )
