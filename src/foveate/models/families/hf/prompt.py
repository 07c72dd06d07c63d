"""How questions about images are written for generative models: chat templates and plain forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, ParameterError
from foveate.models.weights import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.models.families.hf.family import Checkpoint


@dataclass(frozen=True)
class Plain:
    """The documented form of a prompt, for weights without a chat template.

    Attributes:
        frame: With the fields ``{images}`` and ``{prompt}``.
        image: What stands for one image, with its placeholder.
    """

    frame: str
    image: str

    def __call__(self, prompt: str, images: int) -> str:
        """Return the text of a question."""
        return self.frame.format(images=self.image * images, prompt=prompt)


class Writer:
    """Writes questions as token ids, with one placeholder per image token.

    Args:
        tokenizer: Of transformers.
        image_token: Id of the placeholder.
        plain: The form without a chat template.
        template: Jinja text of the chat template; None for the tokenizer's own, if it has one.

    Raises:
        DataError: The tokenizer does not know the placeholder.
    """

    def __init__(
        self, tokenizer: Any, image_token: int, plain: Plain, template: str | None = None
    ) -> None:
        self._tokenizer, self._plain = tokenizer, plain
        self._template = template or tokenizer.chat_template
        self._mark = tokenizer.convert_ids_to_tokens(image_token)
        if not self._mark or self._mark not in plain.image:
            raise DataError(
                f"token {image_token} is {self._mark!r}, not the placeholder of an image",
                f"The config says that it stands for one, as in {plain.image.strip()!r}.",
                "Give a folder whose config.json and tokenizer were saved together.",
            )

    def __call__(self, prompt: str, lengths: Sequence[int]) -> list[int]:
        """Return the ids of a question.

        Args:
            prompt: What is asked.
            lengths: Image tokens of each image.

        Raises:
            DataError: The chat template cannot show these images.
            ParameterError: The prompt holds the placeholder itself.
        """
        if self._mark in prompt:
            raise placeholder_error(self._mark)
        text = self._text(prompt, len(lengths))
        pieces = text.split(self._mark)
        if len(pieces) != len(lengths) + 1:
            raise DataError(
                f"the chat template shows {len(pieces) - 1} of {len(lengths)} images",
                "It belongs to a model of text alone, or to another kind of image model.",
                "Put the chat_template.jinja of the weights beside them.",
            )
        # The marks are special tokens, so that no text before or after can merge with them.
        full = pieces[0] + "".join(
            self._mark * n + piece for n, piece in zip(lengths, pieces[1:], strict=True)
        )
        start = self._tokenizer.bos_token
        begun = start is not None and full.startswith(start)
        return list(self._tokenizer(full, add_special_tokens=not begun)["input_ids"])

    def _text(self, prompt: str, images: int) -> str:
        if not self._template:
            return self._plain(prompt, images)
        content = [*({"type": "image"} for _ in range(images)), {"type": "text", "text": prompt}]
        try:
            return self._tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                chat_template=self._template if isinstance(self._template, str) else None,
                add_generation_prompt=True,
                tokenize=False,
            )
        except Exception as error:  # a template is a program: it fails in its own ways
            raise DataError(
                f"the chat template cannot be filled in: {first_line(error)}",
                "It gets one message with images and a text.",
                "Put the chat_template.jinja of the weights beside them.",
            ) from error


def read_template(checkpoint: Checkpoint) -> str | None:
    """Return the chat template that a checkpoint keeps apart from its tokenizer, if it does.

    ``chat_template.jinja`` comes with the tokenizer. Older files name two: that of the processor
    shows images, that of the tokenizer may be of the language model alone.
    """
    if (checkpoint.folder / "chat_template.jinja").is_file():
        return None
    for name in ("chat_template.json", "processor_config.json"):
        found = checkpoint.read_json(name).get("chat_template")
        if isinstance(found, str):
            return found
    return None


def placeholder_error(mark: str) -> ParameterError:
    """Return the error for a prompt that holds the placeholder of an image."""
    return ParameterError(
        f"the prompt holds {mark!r}",
        "That stands for an image; the images of a question are put before its text.",
        "Leave it out.",
    )
