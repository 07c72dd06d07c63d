"""Prompt formats of generative models: chat templates and plain prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, ParameterError
from foveate.models.checkpoint_file import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.models.families.hf.family import Checkpoint


@dataclass(frozen=True)
class Plain:
    """The documented prompt format, for weights without a chat template.

    Attributes:
        frame: With the fields ``{images}`` and ``{prompt}``.
        image: Text of one image, with its placeholder.
    """

    frame: str
    image: str

    def __call__(self, prompt: str, images: int) -> str:
        """Return the text of a question."""
        return self.frame.format(images=self.image * images, prompt=prompt)


class Writer:
    """Tokenises questions, with one placeholder per image token.

    Args:
        tokenizer: Of transformers.
        image_token: Id of the placeholder.
        plain: Format without a chat template.
        template: Jinja text of the chat template; None for the tokenizer's own, if it has one.

    Raises:
        DataError: The tokenizer does not have the placeholder.
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
                f"According to the config it is, as in {plain.image.strip()!r}.",
                "Use a folder whose config.json and tokenizer were saved together.",
            )

    def __call__(self, prompt: str, lengths: Sequence[int]) -> list[int]:
        """Return the ids of a question.

        Args:
            prompt: Question text.
            lengths: Image tokens of each image.

        Raises:
            DataError: The chat template does not support these images.
            ParameterError: The prompt contains the placeholder itself.
        """
        if self._mark in prompt:
            raise placeholder_error(self._mark)
        text = self._text(prompt, len(lengths))
        pieces = text.split(self._mark)
        if len(pieces) != len(lengths) + 1:
            raise DataError(
                f"the chat template shows {len(pieces) - 1} of {len(lengths)} images",
                "It is from a text model, or from another vision-language model.",
                "Save the chat_template.jinja of the weights in their folder.",
            )
        # The placeholders are special tokens, so that adjacent text cannot merge with them.
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
        except Exception as error:  # a template is a program and raises any error
            raise DataError(
                f"the chat template cannot be filled in: {first_line(error)}",
                "It receives one message with images and a text.",
                "Save the chat_template.jinja of the weights in their folder.",
            ) from error


def read_template(checkpoint: Checkpoint) -> str | None:
    """Return the chat template of a checkpoint outside its tokenizer, if there is one.

    ``chat_template.jinja`` comes with the tokenizer. Older files name two: that of the processor
    supports images, that of the tokenizer may be of the language model only.
    """
    if (checkpoint.folder / "chat_template.jinja").is_file():
        return None
    for name in ("chat_template.json", "processor_config.json"):
        template = checkpoint.read_json(name).get("chat_template")
        if isinstance(template, str):
            return template
    return None


def placeholder_error(mark: str) -> ParameterError:
    """Return the error for a prompt that contains the placeholder of an image."""
    return ParameterError(
        f"the prompt contains {mark!r}",
        "It is the placeholder of an image; images are inserted before the text.",
        "Remove it.",
    )
