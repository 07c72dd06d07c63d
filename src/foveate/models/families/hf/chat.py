"""Shared parts of generative models of transformers: greedy answers and answer losses.

Questions are processed one by one, so that an answer does not depend on others and
no padding is needed.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, MemoryLimitError, ParameterError
from foveate.models.base import check_bands
from foveate.models.capabilities import TokenSpec
from foveate.models.families.hf.common import load_network, load_tokenizer
from foveate.models.families.hf.prompt import Writer, read_template
from foveate.models.runtime import InferenceRunner, out_of_memory, resolve_device

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.base import ModelHandle
    from foveate.models.capabilities import Question
    from foveate.models.families.hf.family import Checkpoint
    from foveate.models.families.hf.prompt import Plain
    from foveate.models.preprocess import Preprocess


_HALF = ("bfloat16", "float16")
# Entries of a generation config for sampling, beams and length limits:
# unused by greedy decoding, and transformers warns about them.
_NOT_GREEDY = (
    "temperature", "top_k", "top_p", "top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff",
    "early_stopping", "length_penalty", "num_return_sequences", "max_length", "stop_strings",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """Images of one question as network inputs.

    Attributes:
        lengths: Image tokens of each image.
        tensors: Arguments of the network by name ("pixel_values"), on its device.
    """

    lengths: tuple[int, ...]
    tensors: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Chat:
    """Queries a generative network; see `foveate.models.capabilities.Generates`.

    Attributes:
        runner: The network.
        spec: Its spec, to check the bands.
        tokenizer: Of transformers.
        image_token: Id of the placeholder.
        show: From the images of a question to network inputs.
        write: From a prompt and the lengths of its images to token ids.
        lead: Prefix with which the tokenizer treats an answer as the prompt's continuation.
        typed: Whether the network requires token types that mark image tokens.
    """

    runner: InferenceRunner
    spec: EncoderSpec
    tokenizer: Any
    image_token: int
    show: Callable[[Sequence[NDArray[Any]]], Shown]
    write: Callable[[str, Sequence[int]], list[int]]
    _: KW_ONLY
    lead: str = ""
    typed: bool = False

    def generate(self, questions: Sequence[Question], max_tokens: int) -> list[str]:
        """Answer questions; see `ChatModel.generate`."""
        if max_tokens < 1:
            raise ParameterError(f"max_tokens={max_tokens}", "Must be at least 1.")
        return [self._answer(question, max_tokens) for question in questions]

    def answer_loss(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return losses of answers; see `ChatModel.answer_loss`."""
        if len(answers) != len(questions):
            raise ParameterError(
                f"{len(answers)} answers to {len(questions)} questions",
                "Each question needs one answer.",
            )
        pairs = zip(questions, map(self.answer_ids, answers), strict=True)
        return np.array([self._loss(question, ids) for question, ids in pairs], np.float32)

    def answer_losses(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return losses of m answers; see `ChatModel.answer_losses`."""
        ids = [self.answer_ids(answer) for answer in answers]
        if self.two_parts:
            losses = [[self._loss(question, own) for own in ids] for question in questions]
        else:
            losses = [self._losses(question, ids) for question in questions]
        return np.array(losses, np.float32).reshape(len(questions), len(answers))

    def _losses(self, question: Question, answers: list[list[int]]) -> list[float]:
        """Compute losses of answers to one question, encoded once and kept in the cache."""
        import torch

        with self._question(question) as (ids, shown):
            self._check_length(len(ids) + max(map(len, answers)))
            asked = self._net(**self._arguments(ids, shown), use_cache=True, logits_to_keep=1)
            goes_on, first, losses = self._net, asked.logits[:, -1:], []
            if "language_model_outputs" in asked:  # BLIP-2 itself requires images in every call
                goes_on, asked = self._net.language_model, asked.language_model_outputs
            cache = asked.past_key_values
            for answer in answers:
                logits = first
                if len(answer) > 1:
                    words = torch.tensor([answer[:-1]], device=self.runner.device)
                    # Without a mask: nothing is padded, and Qwen2-VL computes positions from a mask
                    # as if there were no question before.
                    more = goes_on(input_ids=words, past_key_values=cache, use_cache=True)
                    logits = torch.cat([first, more.logits], dim=1)
                    cache.crop(1 - len(answer))  # keep the question only
                target = torch.tensor(answer, device=self.runner.device)
                losses.append(float(torch.nn.functional.cross_entropy(logits[0].float(), target)))
        return losses

    def _answer(self, question: Question, max_tokens: int) -> str:
        with self._question(question) as (ids, shown):
            self._check_length(len(ids) + max_tokens)
            arguments = self._arguments(ids, shown)
            generated = self._net.generate(**arguments, max_new_tokens=max_tokens)[0]
        # Decoder-only networks return the prompt before the answer.
        new = generated if self.two_parts else generated[len(ids) :]
        return self.tokenizer.decode(new, skip_special_tokens=True).strip()

    def _loss(self, question: Question, answer: list[int]) -> float:
        import torch

        with self._question(question) as (ids, shown):
            self._check_length(len(ids) + len(answer))
            target = torch.tensor(answer, device=self.runner.device)
            if self.two_parts:
                logits = self._net(**self._arguments(ids, shown), labels=target[None]).logits
            else:
                # The logits at a position predict the next token.
                logits = self._net(
                    **self._arguments(ids + answer, shown),
                    use_cache=False,
                    logits_to_keep=len(answer) + 1,
                ).logits[:, :-1]
            return float(torch.nn.functional.cross_entropy(logits[0].float(), target))

    @property
    def _net(self) -> Any:
        return self.runner.net

    @property
    def two_parts(self) -> bool:
        """Whether it is an encoder-decoder network (T5)."""
        return bool(self._net.config.is_encoder_decoder)

    def _arguments(self, ids: list[int], shown: Shown) -> dict[str, torch.Tensor]:
        import torch

        tokens = torch.tensor([ids], device=self.runner.device)
        arguments = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        if self.typed:
            arguments["mm_token_type_ids"] = (tokens == self.image_token).int()
        return arguments | shown.tensors

    def answer_ids(self, answer: str) -> list[int]:
        """Return the tokens of an answer."""
        text = answer.strip()
        ids = self.tokenizer(self.lead + text, add_special_tokens=False)["input_ids"]
        if not text or not ids:
            raise ParameterError("an empty answer", "At least one token is required.")
        if self.image_token in ids:
            raise ParameterError(f"the answer {text!r} contains the placeholder of an image")
        return list(ids)

    @contextlib.contextmanager
    def _question(self, question: Question) -> Generator[tuple[list[int], Shown]]:
        """Validate and tokenise a question; convert out-of-memory errors."""
        import torch

        images = [np.asarray(image) for image in question.images]
        if not images:
            raise ParameterError("a question has no images", "At least one image is required.")
        if not question.prompt.strip():
            raise ParameterError(
                "a question has an empty prompt", "", "For example 'What is shown?'."
            )
        for image in images:
            check_bands(image[None], self.spec)
            if not image.size:
                raise DataError(
                    f"an image of shape {image.shape}", "At least one pixel is required."
                )
        try:
            with torch.inference_mode(), self.runner.autocast():
                shown = self.show(images)
                yield self.write(question.prompt, shown.lengths), shown
        except Exception as error:
            if not out_of_memory(error) or isinstance(error, MemoryLimitError):
                raise
            raise MemoryLimitError(
                f"one question with {len(images)} images does not fit into the memory of "
                f"{self.runner.device}",
                "",
                "Use fewer or smaller images, or --device cpu.",
            ) from error

    def _check_length(self, length: int) -> None:
        maximum = getattr(self._net.config.get_text_config(), "max_position_embeddings", None)
        if maximum is not None and length > maximum:
            raise ParameterError(
                f"a question and its answer of {length} tokens for {self.spec.name!r}",
                f"Allowed: at most {maximum}.",
                "Use fewer or smaller images, or a shorter answer (max_tokens).",
            )


class ChatModel:
    """A frozen model that embeds images, gives their tokens, and answers questions about them.

    Args:
        chat: The network with its prompt format and spec.
        token_spec: Token specification.
        places: From (b, c, height, width) to tokens (b, gh, gw, d).
        vectors: From (b, c, height, width) to (b, e); None for the mean of the tokens.
    """

    def __init__(
        self,
        chat: Chat,
        token_spec: TokenSpec,
        *,
        places: Callable[[torch.Tensor], torch.Tensor],
        vectors: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.spec = chat.spec
        self.token_spec = token_spec
        self._chat, self._places = chat, places
        self._vectors = vectors or (lambda x: places(x).float().mean(dim=(1, 2)))

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images in native dtype: (b, d) float32."""
        return self._chat.runner.run(self._vectors, batch, self.spec)

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of (b, c, h, w) images: (b, gh, gw, d) float32."""
        return self._chat.runner.run(self._places, batch, self.spec)

    def generate(self, questions: Sequence[Question], *, max_tokens: int = 64) -> list[str]:
        """Answer questions greedily, each on its own.

        Args:
            questions: n questions.
            max_tokens: Longest answer.

        Returns:
            n answers without the prompt and without special tokens.

        Raises:
            DataError: An image has other bands, or the chat template does not support it.
            MemoryLimitError: One question alone does not fit.
            ParameterError: A question has no image, no text, or is too long.
        """
        return self._chat.generate(questions, max_tokens)

    def answer_loss(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return the losses of given answers (teacher forcing); see `JudgesAnswers.answer_loss`.

        The end of an answer is not among its tokens.

        Raises:
            DataError: As `generate`.
            MemoryLimitError: As `generate`.
            ParameterError: As `generate`; not one answer per question, or an empty answer.
        """
        return self._chat.answer_loss(questions, answers)

    @property
    def shares_questions(self) -> bool:
        """Whether a question is encoded once for all answers; see `JudgesAnswerSets`."""
        return not self._chat.two_parts

    def answer_losses(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return the negative log-likelihood of each of m answers to each of n questions.

        Args:
            questions: n questions.
            answers: m answers, one or more.

        Returns:
            (n, m) float32 >= 0: `answer_loss` of each pair, up to rounding.

        Raises:
            DataError: As `generate`.
            MemoryLimitError: As `generate`.
            ParameterError: As `generate`; an answer is empty.
        """
        return self._chat.answer_losses(questions, answers)

    def answer_tokens(self, answers: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of tokens of each of m answers: (m,).

        Raises:
            ParameterError: An answer is empty.
        """
        return np.array([len(self._chat.answer_ids(answer)) for answer in answers], np.int64)


def make_chat_model(
    runner: InferenceRunner,
    spec: EncoderSpec,
    checkpoint: Checkpoint,
    places: Callable[[torch.Tensor], torch.Tensor],
    *,
    show: Callable[[Sequence[NDArray[Any]]], Shown],
    plain: Plain,
    typed: bool = False,
    tokenizer: Any = None,
) -> ChatModel:
    """Build a model with one placeholder per image in the chat template.

    Args:
        runner: The network.
        spec: What the vectors depend on; tokens are of the same length.
        checkpoint: Checkpoint files, for tokenizer and template.
        places: From (b, c, height, width) to the input tokens of the language model.
        show: See `Chat`.
        plain: The prompt of weights without a template.
        typed: See `Chat`.
        tokenizer: Tokenizer of the checkpoint, if already loaded.
    """
    net: Any = runner.net
    tokenizer, mark = tokenizer or load_tokenizer(checkpoint), net.config.image_token_id
    write = Writer(tokenizer, mark, plain, read_template(checkpoint))
    chat = Chat(runner, spec, tokenizer, mark, show=show, write=write, typed=typed)
    return ChatModel(chat, TokenSpec(spec.dim, "embedding", pooled=True), places=places)


def load_generative(handle: ModelHandle, checkpoint: Checkpoint, architecture: Any) -> Any:
    """Load a generative network for greedy decoding.

    On a GPU parameters stay in half precision if the checkpoint is: a large model
    would not fit otherwise.

    Raises:
        DataError: The weights cannot be read.
        ParameterError: The device does not exist.
    """
    half = _stored(checkpoint)
    keep = (
        half in _HALF
        and resolve_device(handle.device).type != "cpu"
        and handle.options.get("precision") != "float32"
    )
    net = load_network(checkpoint, architecture, dtype=half if keep else "float32")
    for module in net.modules():
        if getattr(module, "generation_config", None) is not None:
            module.generation_config = _greedy(module.generation_config)
    return net


def freeze(handle: ModelHandle, net: Any, preprocess: Preprocess) -> InferenceRunner:
    """Move a generative network to its device.

    Raises:
        ParameterError: The device or precision does not exist.
    """
    import torch

    runner = InferenceRunner(net, preprocess, device=handle.device, options=handle.options)
    for parameter in net.parameters():
        # Same half precision: mixed precision would convert weights again for every token.
        if parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.to(getattr(torch, runner.precision))
    return runner


def _stored(checkpoint: Checkpoint) -> str:
    config = checkpoint.config
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def _greedy(config: Any) -> Any:
    """Return a generation config without sampling, beams and length limits.

    Other settings are kept, such as a repetition penalty or several end tokens.
    """
    config = copy.deepcopy(config)
    for name in _NOT_GREEDY:
        if hasattr(config, name):
            setattr(config, name, None)
    config.do_sample, config.num_beams = False, 1
    if config.pad_token_id is None:  # avoids a warning; nothing is padded here
        end = config.eos_token_id
        config.pad_token_id = end[0] if isinstance(end, list) else end
    return config
