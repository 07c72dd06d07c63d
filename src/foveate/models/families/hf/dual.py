"""Image and text towers that share one space: what CLIP and SigLIP have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.models.texts import clean_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.capabilities import TextSpec, TokenSpec
    from foveate.models.frozen import Frozen


class DualEncoder(ABC):
    """A frozen model that embeds images and texts, and gives the tokens of images.

    Args:
        frozen: The network.
        tokenizer: Of transformers.
        spec: What the vectors depend on.
        token_spec: What the tokens are.
        text_spec: How texts meet images.
        written: Turns a text into how the texts of training were written.
    """

    def __init__(
        self,
        frozen: Frozen,
        tokenizer: Any,
        spec: EncoderSpec,
        token_spec: TokenSpec,
        text_spec: TextSpec,
        *,
        written: Callable[[str], str] = str,
    ) -> None:
        self._frozen = frozen
        self._net: Any = frozen.net
        self._tokenizer = tokenizer
        self.spec = spec
        self.token_spec = token_spec
        self.text_spec = text_spec
        self._written = written

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images of the native dtype: (b, d) float32."""
        return self._frozen.run(self._vectors, batch, self.spec)

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of (b, c, h, w) images: (b, gh, gw, d) float32."""
        return self._frozen.run(self._places, batch, self.spec)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts: (n, d) float32 of norm 1; white space between words does not count.

        Raises:
            DataError: It is no list of texts, or an empty one.
        """
        words = [self._written(text) for text in clean_texts(texts)]
        x = self._frozen.in_parts(self._texts, words)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def _read(self, texts: list[str], *, padding: bool | str) -> Any:
        """Return ids and masks of texts on the device, cut at the context.

        Raises:
            DataError: The tokenizer knows words that the network does not.
        """
        marks = self._tokenizer(
            texts,
            padding=padding,
            truncation=True,
            max_length=self.text_spec.context,
            return_tensors="pt",
        )
        size = self._net.config.text_config.vocab_size
        if int(marks["input_ids"].max()) >= size:
            raise DataError(
                f"the tokenizer of {self.spec.name!r} has {len(self._tokenizer)} tokens, its "
                f"network {size}",
                "They belong to different models.",
                "Save them together with save_pretrained.",
            )
        return marks.to(self._frozen.device)

    @abstractmethod
    def _vectors(self, x: torch.Tensor) -> torch.Tensor:
        """From (b, c, height, width) to (b, d) in the space of the texts."""

    @abstractmethod
    def _places(self, x: torch.Tensor) -> torch.Tensor:
        """From (b, c, height, width) to (b, gh, gw, e): the last layer without class tokens."""

    @abstractmethod
    def _texts(self, texts: list[str]) -> torch.Tensor:
        """From n texts to (n, d)."""
