"""The two towers at work: vectors and tokens of images, vectors of texts."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import ParameterError
from foveate.models.capabilities import TokenSpec
from foveate.models.texts import clean_texts
from foveate.models.tokens import is_mean
from foveate.models.weights import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.base import ModelHandle
    from foveate.models.capabilities import TextSpec
    from foveate.models.families._sizes import Sizes
    from foveate.models.frozen import Frozen

_TEXTS = 256  # at once


class OpenClip:
    """A frozen pair of towers; see `foveate.models.capabilities.EmbedsText`.

    Where the image tower takes other sizes an instance has `size_step` and `at_size` as well.

    Args:
        frozen: The network.
        spec: What the vectors depend on.
        text_spec: How texts meet images.
        tokenizer: Returns the tokenizer, which may have to come from the hub: asked for when
            there are texts.
    """

    def __init__(
        self,
        frozen: Frozen,
        spec: EncoderSpec,
        text_spec: TextSpec,
        tokenizer: Callable[[], Any],
    ) -> None:
        self._frozen = frozen
        self._net: Any = frozen.net
        self._tokenizer = tokenizer
        self.spec, self.text_spec = spec, text_spec

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images of the native dtype: (b, d) float32, not normalised."""
        return self._frozen.run(self._images, batch, self.spec)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts: (n, d) float32 of norm 1.

        Raises:
            DataError: It is no list of texts, or the tokenizer cannot be had.
        """
        listed = clean_texts(texts)
        tokenizer = self._tokenizer()
        starts = range(0, len(listed), _TEXTS)
        parts = [
            self._frozen.in_parts(
                lambda texts: self._texts(tokenizer(texts)), listed[s : s + _TEXTS]
            )
            for s in starts
        ]
        return np.concatenate(parts)

    def _images(self, x: torch.Tensor) -> torch.Tensor:
        return self._net.encode_image(x, normalize=False)

    def _texts(self, ids: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import normalize

        return normalize(self._net.encode_text(ids.to(self._frozen.device)).float(), dim=-1)


class OpenClipTokens(OpenClip):
    """A pair whose image features have places; see `foveate.models.capabilities.GivesTokens`.

    Args:
        frozen: The network.
        spec: What the vectors depend on.
        text_spec: How texts meet images.
        tokenizer: Returns the tokenizer.
        token_spec: What the tokens are.
    """

    def __init__(
        self,
        frozen: Frozen,
        spec: EncoderSpec,
        text_spec: TextSpec,
        tokenizer: Callable[[], Any],
        token_spec: TokenSpec,
    ) -> None:
        super().__init__(frozen, spec, text_spec, tokenizer)
        self.token_spec = token_spec
        self._places = _projected if token_spec.pooled else _features

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of (b, c, h, w) images: (b, gh, gw, d) float32."""
        visual = self._net.visual
        return self._frozen.run(lambda x: self._places(visual, x), batch, self.spec)


def assemble(
    frozen: Frozen,
    spec: EncoderSpec,
    text_spec: TextSpec,
    tokenizer: Callable[[], Any],
    *,
    token_spec: TokenSpec | None,
    sizes: Sizes | None,
) -> OpenClip:
    """Make the model that has what its image tower can do.

    Args:
        frozen: The network.
        spec: What the vectors depend on.
        text_spec: How texts meet images.
        tokenizer: Returns the tokenizer.
        token_spec: What the tokens are, if there are any.
        sizes: The sizes that the image tower takes, if it takes others.
    """
    model = (
        OpenClip(frozen, spec, text_spec, tokenizer)
        if token_spec is None
        else OpenClipTokens(frozen, spec, text_spec, tokenizer, token_spec)
    )
    if sizes is None:
        return model

    def build(other: Frozen) -> OpenClip:
        resized = replace(spec, input_size=other.inputs.size)
        return assemble(other, resized, text_spec, tokenizer, token_spec=token_spec, sizes=sizes)

    return sizes.offer(model, build)


def try_image(handle: ModelHandle, frozen: Frozen) -> tuple[int, TokenSpec | None]:
    """Look at one image: length of a vector, and what the tokens are, if there are any.

    Raises:
        ParameterError: The network cannot take images of this size.
    """
    import torch

    size = frozen.inputs.size or (0, 0)
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *size, generator=draw).to(frozen.device)
    net: Any = frozen.net
    visual = net.visual
    with torch.inference_mode():
        try:
            vector = net.encode_image(image, normalize=False)
        except (AssertionError, RuntimeError) as error:
            raise ParameterError(
                f"{handle} cannot take images of {size[0]} x {size[1]}: {first_line(error)}",
                "",
                "Leave 'size' out.",
            ) from error
        dim = int(vector.shape[1])
        with contextlib.suppress(AttributeError, RuntimeError, TypeError, AssertionError):
            if is_mean(_projected(visual, image), vector):
                return dim, TokenSpec(dim, "embedding", pooled=True)
        try:
            features = _features(visual, image)
        except (AttributeError, RuntimeError, TypeError, AssertionError):
            return dim, None  # a tower whose features have no places
    return dim, TokenSpec(int(features.shape[-1]), "backbone")


def _features(visual: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the features of the last layer on the grid of the image: (b, gh, gw, width)."""
    found = visual.forward_intermediates(
        x,
        indices=1,
        # CoCa's last norm is that of its queries, which have another length.
        normalize_intermediates=getattr(visual, "attn_pool", None) is None,
        intermediates_only=True,
        output_fmt="NCHW",
    )
    return found["image_intermediates"][-1].permute(0, 2, 3, 1)


def _projected(visual: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the features as the tower projects them when they are pooled: (b, gh, gw, d)."""
    features = _features(visual, x)
    return features @ visual.proj if hasattr(visual, "proj") else visual.head(features)
