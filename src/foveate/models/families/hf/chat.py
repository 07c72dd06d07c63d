"""What generative models of transformers share: greedy answers, and the loss of given answers.

Questions go through one after the other, so that an answer cannot depend on its neighbours and
nothing is padded.
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
# Entries of a generation config that only sampling and beams read, and other limits of length:
# of no use to a greedy answer, and reported when they are set.
_NOT_GREEDY = (
    "temperature", "top_k", "top_p", "top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff",
    "early_stopping", "length_penalty", "num_return_sequences", "max_length", "stop_strings",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """Images of one question as a network takes them.

    Attributes:
        lengths: Image tokens of each image.
        tensors: Arguments of the network by name ("pixel_values"), on its device.
    """

    lengths: tuple[int, ...]
    tensors: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Chat:
    """Asks a generative network; see `foveate.models.capabilities.Generates`.

    Attributes:
        runner: The network.
        spec: Its spec, to check the bands.
        tokenizer: Of transformers.
        image_token: Id of the placeholder.
        show: From the images of a question to what the network takes.
        write: From a prompt and the lengths of its images to token ids.
        lead: What the tokenizer needs before an answer to see it as the prompt's continuation.
        typed: Whether the network wants to be told which tokens are an image's.
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
            raise ParameterError(f"max_tokens={max_tokens}", "An answer has 1 token or more.")
        return [self._answer(question, max_tokens) for question in questions]

    def answer_loss(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return how little answers are expected; see `ChatModel.answer_loss`."""
        if len(answers) != len(questions):
            raise ParameterError(
                f"{len(answers)} answers to {len(questions)} questions", "One answer each."
            )
        pairs = zip(questions, map(self.answer_ids, answers), strict=True)
        return np.array([self._loss(question, ids) for question, ids in pairs], np.float32)

    def answer_losses(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return how little each of m answers is expected; see `ChatModel.answer_losses`."""
        ids = [self.answer_ids(answer) for answer in answers]
        if self.two_parts:
            losses = [[self._loss(question, own) for own in ids] for question in questions]
        else:
            losses = [self._losses(question, ids) for question in questions]
        return np.array(losses, np.float32).reshape(len(questions), len(answers))

    def _losses(self, question: Question, answers: list[list[int]]) -> list[float]:
        """Judge answers to one question, which the network reads once and keeps in its cache."""
        import torch

        with self._question(question) as (ids, shown):
            self._check_length(len(ids) + max(map(len, answers)))
            asked = self._net(**self._arguments(ids, shown), use_cache=True, logits_to_keep=1)
            goes_on, first, found = self._net, asked.logits[:, -1:], []
            if "language_model_outputs" in asked:  # BLIP-2 itself wants images every time
                goes_on, asked = self._net.language_model, asked.language_model_outputs
            cache = asked.past_key_values
            for answer in answers:
                logits = first
                if len(answer) > 1:
                    words = torch.tensor([answer[:-1]], device=self.runner.device)
                    # Without a mask: nothing is padded, and Qwen2-VL counts places from a mask
                    # as if no question came before.
                    more = goes_on(input_ids=words, past_key_values=cache, use_cache=True)
                    logits = torch.cat([first, more.logits], dim=1)
                    cache.crop(1 - len(answer))  # the question alone stays
                target = torch.tensor(answer, device=self.runner.device)
                found.append(float(torch.nn.functional.cross_entropy(logits[0].float(), target)))
        return found

    def _answer(self, question: Question, max_tokens: int) -> str:
        with self._question(question) as (ids, shown):
            self._check_length(len(ids) + max_tokens)
            arguments = self._arguments(ids, shown)
            found = self._net.generate(**arguments, max_new_tokens=max_tokens)[0]
        # A decoder gives the prompt back before the answer.
        new = found if self.two_parts else found[len(ids) :]
        return self.tokenizer.decode(new, skip_special_tokens=True).strip()

    def _loss(self, question: Question, answer: list[int]) -> float:
        import torch

        with self._question(question) as (ids, shown):
            self._check_length(len(ids) + len(answer))
            target = torch.tensor(answer, device=self.runner.device)
            if self.two_parts:
                logits = self._net(**self._arguments(ids, shown), labels=target[None]).logits
            else:
                # What stands at a place is predicted at the place before it.
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
        """Whether an encoder reads the question and a decoder writes the answer (T5)."""
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
            raise ParameterError("an empty answer", "An answer has one token or more.")
        if self.image_token in ids:
            raise ParameterError(f"the answer {text!r} holds the placeholder of an image")
        return list(ids)

    @contextlib.contextmanager
    def _question(self, question: Question) -> Generator[tuple[list[int], Shown]]:
        """Check and write a question, and watch over the memory while the network works on it."""
        import torch

        images = [np.asarray(image) for image in question.images]
        if not images:
            raise ParameterError("a question without images", "It shows one or more.")
        if not question.prompt.strip():
            raise ParameterError(
                "a question with an empty prompt", "", "Ask something: 'What is shown?'."
            )
        for image in images:
            check_bands(image[None], self.spec)
            if not image.size:
                raise DataError(f"an image of shape {image.shape}", "It has one pixel or more.")
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
                "Show fewer or smaller images, or use --device cpu.",
            ) from error

    def _check_length(self, length: int) -> None:
        most = getattr(self._net.config.get_text_config(), "max_position_embeddings", None)
        if most is not None and length > most:
            raise ParameterError(
                f"a question and its answer of {length} tokens for {self.spec.name!r}",
                f"It takes {most}.",
                "Show fewer or smaller images, or ask for a shorter answer (max_tokens).",
            )


class ChatModel:
    """A frozen model that embeds images, gives their tokens, and answers questions about them.

    Args:
        chat: The network with how it is asked, and the spec.
        token_spec: What the tokens are.
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
        """Embed (b, c, h, w) images of the native dtype: (b, d) float32."""
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
            DataError: An image has other bands, or the chat template cannot show it.
            MemoryLimitError: One question alone does not fit.
            ParameterError: A question has no image, no text, or is too long.
        """
        return self._chat.generate(questions, max_tokens)

    def answer_loss(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return how little the model expects given answers, each given the true words before.

        Args:
            questions: n questions.
            answers: n answers.

        Returns:
            (n,) float32 >= 0: mean negative log-likelihood of the answer's tokens, in nats; the
            end of the answer is not among them.

        Raises:
            DataError: As `generate`.
            MemoryLimitError: As `generate`.
            ParameterError: As `generate`; there is not one answer per question, or one is empty.
        """
        return self._chat.answer_loss(questions, answers)

    @property
    def shares_questions(self) -> bool:
        """Whether `answer_losses` reads a question once for all answers; see `JudgesAnswerSets`."""
        return not self._chat.two_parts

    def answer_losses(
        self, questions: Sequence[Question], answers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return how little the model expects each of m answers to each of n questions.

        Args:
            questions: n questions.
            answers: m answers, one or more.

        Returns:
            (n, m) float32 >= 0: what `answer_loss` gives for each pair, up to rounding.

        Raises:
            DataError: As `generate`.
            MemoryLimitError: As `generate`.
            ParameterError: As `generate`; an answer is empty.
        """
        return self._chat.answer_losses(questions, answers)

    def answer_tokens(self, answers: Sequence[str]) -> NDArray[np.int64]:
        """Return how many tokens each of m answers has: (m,).

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
    """Make a model whose placeholders stand in the chat template, one for each image.

    Args:
        runner: The network.
        spec: What the vectors depend on; tokens are of the same length.
        checkpoint: Its files, for tokenizer and template.
        places: From (b, c, height, width) to the tokens that the language model gets.
        show: See `Chat`.
        plain: The prompt of weights without a template.
        typed: See `Chat`.
        tokenizer: Of the checkpoint, if it is loaded already.
    """
    net: Any = runner.net
    tokenizer, mark = tokenizer or load_tokenizer(checkpoint), net.config.image_token_id
    write = Writer(tokenizer, mark, plain, read_template(checkpoint))
    chat = Chat(runner, spec, tokenizer, mark, show=show, write=write, typed=typed)
    return ChatModel(chat, TokenSpec(spec.dim, "embedding", pooled=True), places=places)


def load_generative(handle: ModelHandle, checkpoint: Checkpoint, architecture: Any) -> Any:
    """Load a generative network that answers greedily.

    On a GPU its parameters stay in half precision if the checkpoint has them so: a large model
    would not fit otherwise.

    Raises:
        DataError: The weights cannot be read.
        ParameterError: No such device.
    """
    half = _stored(checkpoint)
    keep = (
        half in _HALF
        and resolve_device(handle.device).type != "cpu"
        and handle.options.get("precision") != "float32"
    )
    net = load_network(checkpoint, architecture, dtype=half if keep else "float32")
    for part in net.modules():
        if getattr(part, "generation_config", None) is not None:
            part.generation_config = _greedy(part.generation_config)
    return net


def freeze(handle: ModelHandle, net: Any, preprocess: Preprocess) -> InferenceRunner:
    """Put a generative network on its device.

    Raises:
        ParameterError: No such device or precision.
    """
    import torch

    runner = InferenceRunner(net, preprocess, device=handle.device, options=handle.options)
    for parameter in net.parameters():
        # One kind of half: mixed precision would convert the other anew for every word.
        if parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.to(getattr(torch, runner.precision))
    return runner


def _stored(checkpoint: Checkpoint) -> str:
    config = checkpoint.config
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def _greedy(config: Any) -> Any:
    """Return a generation config that says nothing of sampling, beams and limits of length.

    What else the weights ask for stays, such as a penalty on repetitions or several ends.
    """
    config = copy.deepcopy(config)
    for name in _NOT_GREEDY:
        if hasattr(config, name):
            setattr(config, name, None)
    config.do_sample, config.num_beams = False, 1
    if config.pad_token_id is None:  # would be reported; nothing is padded here
        end = config.eos_token_id
        config.pad_token_id = end[0] if isinstance(end, list) else end
    return config
