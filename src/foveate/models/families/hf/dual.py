"""Image and text towers with a common space: shared parts of CLIP and SigLIP."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from foveate.errors import DataError
from foveate.models.capabilities import TextSpec, TokenSpec
from foveate.models.families._repool import Repooled, Repooler
from foveate.models.families.hf.common import make_runner, make_spec, pooled, quiet
from foveate.models.preprocess import clean_texts, note_truncated, read_size, tokenizer_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families._repool import Pooling
    from foveate.models.families.hf.family import Checkpoint
    from foveate.models.runtime import InferenceRunner


class DualEncoder(Repooled):
    """A frozen image-text model with image tokens.

    Args:
        runner: The network.
        tokenizer: Of transformers.
        spec: Model specification.
        token_spec: Token specification.
        text_spec: Text specification.
        written: Normalises a text as in training.
    """

    def __init__(
        self,
        runner: InferenceRunner,
        tokenizer: Any,
        spec: EncoderSpec,
        token_spec: TokenSpec,
        text_spec: TextSpec,
        *,
        written: Callable[[str], str] = str,
    ) -> None:
        self._runner = runner
        self._net: Any = runner.net
        self._tokenizer = tokenizer
        self.spec = spec
        self.token_spec = token_spec
        self.text_spec = text_spec
        self._written = written

    @classmethod
    def freeze(
        cls, handle: ModelHandle, checkpoint: Checkpoint, net: Any, bands: Sequence[int],
        scale: Scale, *, tokenizer: Any, side: int, dim: int, head: Literal["cosine", "sigmoid"],
        written: Callable[[str], str] = str,
    ) -> Self:  # fmt: skip
        """Return the model of a network with its weights.

        Args:
            handle: Options and device.
            checkpoint: The files.
            net: The network.
            bands: 1-based bands, one per channel.
            scale: Raw values for 0 and 1.
            tokenizer: Of transformers.
            side: Training image side, pixels.
            dim: Length of an embedding.
            head: See `TextSpec`.
            written: Normalises a text as in training.

        Raises:
            ParameterError: An option cannot be used.
        """
        vision, text = net.config.vision_config, net.config.text_config
        runner = make_runner(handle, checkpoint, net, scale, side=side, patch=vision.patch_size)
        return cls(
            runner,
            tokenizer,
            make_spec(handle, checkpoint, runner, dim, bands),
            TokenSpec(vision.hidden_size, "backbone"),
            TextSpec(
                float(net.logit_scale.exp()),
                float(net.logit_bias) if head == "sigmoid" else 0.0,
                head,
                text.max_position_embeddings,
                tokenizer_hash(checkpoint.folder),
            ),
            written=written,
        )

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images in native dtype: (b, d) float32."""
        return self._runner.run(self._vectors, batch, self.spec)

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of (b, c, h, w) images: (b, gh, gw, d) float32."""
        return self._runner.run(self._places, batch, self.spec)

    @property
    def _repooler(self) -> Repooler:
        return Repooler(self._runner, self._pooling(), self._vectors)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts: (n, d) float32 of norm 1; white space between words does not count.

        Raises:
            DataError: It is not a list of texts, or it is empty.
        """
        words = [self._written(text) for text in clean_texts(texts)]
        with quiet():  # the tokenizer warns of long texts, too
            ids = self._tokenizer(words)["input_ids"]
        note_truncated(words, [len(one) for one in ids], self.text_spec.context)
        x = self._runner.in_parts(self._texts, words)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def _read(self, texts: list[str], *, padding: bool | str) -> Any:
        """Return ids and masks of texts on the device, truncated to the context length.

        Raises:
            DataError: The tokenizer has more tokens than the network.
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
                "They are from different models.",
                "Save them together with save_pretrained.",
            )
        return marks.to(self._runner.device)

    @property
    def size_step(self) -> int:
        """Side of a patch, pixels."""
        return int(self._net.config.vision_config.patch_size)

    def at_size(self, side: int | tuple[int, int]) -> Self:
        """Return the model for inputs of another size, with the same network.

        Position vectors are interpolated with each batch, as transformers does.

        Args:
            side: Side of a square, or ``(height, width)``, in pixels.

        Raises:
            ParameterError: It is not a multiple of the patch size.
        """
        trained = getattr(self._net.config.vision_config, "image_size", None)
        size = read_size(side, self.size_step, self.spec.name, also=[(trained, trained)])
        return type(self)(
            self._runner.at_size(size),
            self._tokenizer,
            replace(self.spec, input_size=size),
            self.token_spec,
            self.text_spec,
            written=self._written,
        )

    def _vectors(self, x: torch.Tensor) -> torch.Tensor:
        """From (b, c, height, width) to (b, d) in the space of the texts."""
        return pooled(self._net.get_image_features(x, interpolate_pos_encoding=self._resized(x)))

    @abstractmethod
    def _places(self, x: torch.Tensor) -> torch.Tensor:
        """From (b, c, height, width) to (b, gh, gw, e): the last layer without class tokens."""

    @abstractmethod
    def _pooling(self) -> Pooling:
        """Return the pooling of the image tower."""

    def _resized(self, x: torch.Tensor) -> bool:
        """Return whether position embeddings must be interpolated: only for another size."""
        side = self._net.config.vision_config.image_size
        return tuple(x.shape[2:]) != (side, side)

    @abstractmethod
    def _texts(self, texts: list[str]) -> torch.Tensor:
        """From n texts to (n, d)."""
