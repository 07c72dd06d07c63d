"""Models of open_clip: images and texts in one space, with hub or local weights.

The embedding is the image tower's output before it is normalised; texts come normalised. The
tokens are the features of the last layer on the grid of the image, after the last norm; where
their projections average to the embedding, which is measured on one image, they are projected.
Where the class token of the last block is the embedding, image parts can be pooled separately.

Weights of remote sensing load as local files of the architecture that their authors' own examples
build: RemoteCLIP and SkyCLIP as ViT-B-32 or ViT-L-14 (RemoteCLIP as RN50 too), GeoRSCLIP as
ViT-B-32-quickgelu or ViT-H-14, CLIP-RSICD as ViT-B-32-quickgelu. Files do not say which activation
they were trained with; the name or ``?quick_gelu=`` does.
"""

from __future__ import annotations

import contextlib
import functools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import ParameterError
from foveate.models.capabilities import TextSpec, TokenSpec
from foveate.models.checkpoint_file import first_line
from foveate.models.families._open_clip import (
    TEXT_WEIGHTS,
    check_name,
    describe,
    make_network,
    make_tokenizer,
)
from foveate.models.families._repool import Pooling, Repooled, Repooler, joint_projections
from foveate.models.families._sizes import find_sizes, reduction
from foveate.models.preprocess import (
    Preprocess,
    clean_texts,
    is_mean,
    note_truncated,
    own_options,
    tokenizer_hash,
)
from foveate.models.runtime import InferenceRunner
from foveate.models.weights import check_weights, weights_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families._sizes import Resize, Sizes


class _OpenClip:
    """The family; see `foveate.models.base.Family`."""

    def check(self, handle: ModelHandle) -> ModelHandle:
        """Check the architecture, its tag and that the weights file can be read."""
        if not handle.name:
            raise ParameterError(
                "the name of the open_clip model is missing", "",
                "For example open_clip:ViT-B-32@laion2b_s34b_b79k.",
            )  # fmt: skip
        if unknown := sorted(set(own_options(handle.options)) - {"quick_gelu", TEXT_WEIGHTS}):
            raise ParameterError(
                f"the options {', '.join(unknown)} of {handle}",
                "Allowed: size, mean, std, precision, quick_gelu, checkpoint_key, text_weights.",
            )
        check_name(handle)
        check_weights(handle)
        return replace(handle, channels=3)

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> OpenClip:
        """Build the model.

        Options: ``size`` (side in pixels that tiles are resampled to; position embeddings are
        interpolated), ``mean`` and ``std`` (override the normalisation of the weights),
        ``precision``, ``quick_gelu`` (the activation, where the tag does not say),
        ``checkpoint_key`` (which weights of a local file), ``text_weights`` (local weights of CLIP
        in the layout of transformers, for a file of GRAFT, which has no text tower).

        Raises:
            DataError: The weights cannot be read or are from another architecture, or the hub
                cannot be reached.
            ParameterError: An option cannot be used.
        """
        shape = describe(handle)
        preprocess = Preprocess.read(
            handle.options, scale, mean=shape.preprocess["mean"], std=shape.preprocess["std"],
            size=shape.size, resample=shape.preprocess["interpolation"],
        )  # fmt: skip
        net, source = make_network(handle, shape, preprocess.size)
        fingerprint = weights_hash(net, "open_clip", json.dumps(shape.config, sort_keys=True))
        runner = InferenceRunner(net, preprocess, device=handle.device, options=handle.options)
        dim, token_spec = try_image(handle, runner)
        spec = runner.spec(
            str(handle), dim=dim, bands=bands, source=source, fingerprint=fingerprint
        )
        text = shape.config["text_cfg"]
        bias = getattr(net, "logit_bias", None)
        text_spec = TextSpec(
            scale=float(net.logit_scale.exp()),
            bias=0.0 if bias is None else float(bias),
            head="cosine" if bias is None else "sigmoid",
            context=int(text.get("context_length", 77)),
            fingerprint="" if shape.tokenizer is None else tokenizer_hash(shape.tokenizer),
        )
        # Created with the first text, shared by all sizes.
        tokenizer = functools.cache(lambda: make_tokenizer(handle, shape))
        sizes, parts = image_sizes(runner, dim), pools_parts(runner)
        return assemble(
            runner, spec, text_spec, tokenizer, token_spec=token_spec, sizes=sizes, parts=parts
        )


FAMILY = _OpenClip()

_TEXTS = 256  # at once


class OpenClip:
    """A frozen image and text tower; see `foveate.models.capabilities.EmbedsText`.

    If the image tower supports other sizes, an instance also has `size_step` and `at_size`.

    Args:
        runner: The network.
        spec: Model specification.
        text_spec: Text specification.
        tokenizer: Returns the tokenizer, which may be downloaded: called when
            texts are embedded.
        token_spec: Token specification, if there are tokens.
    """

    def __init__(
        self,
        runner: InferenceRunner,
        spec: EncoderSpec,
        text_spec: TextSpec,
        tokenizer: Callable[[], Any],
        token_spec: TokenSpec | None = None,
    ) -> None:
        self._runner = runner
        self._net: Any = runner.net
        self._tokenizer = tokenizer
        self.spec, self.text_spec, self.token_spec = spec, text_spec, token_spec

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images in native dtype: (b, d) float32, not normalised."""
        return self._runner.run(self._images, batch, self.spec)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts: (n, d) float32 of norm 1.

        Raises:
            DataError: It is not a list of texts, or the tokenizer is not available.
        """
        listed = clean_texts(texts)
        tokenizer = self._tokenizer()
        note_truncated(listed, _text_lengths(tokenizer, listed), self.text_spec.context)
        starts = range(0, len(listed), _TEXTS)
        parts = [
            self._runner.in_parts(
                lambda texts: self._texts(tokenizer(texts)), listed[s : s + _TEXTS]
            )
            for s in starts
        ]
        return np.concatenate(parts)

    def _images(self, x: torch.Tensor) -> torch.Tensor:
        return self._net.encode_image(x, normalize=False)

    def _texts(self, ids: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import normalize

        return normalize(self._net.encode_text(ids.to(self._runner.device)).float(), dim=-1)


def _text_lengths(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, with those that mark its start and end."""
    if hasattr(tokenizer, "encode"):
        return [len(tokenizer.encode(text)) + 2 for text in texts]
    return [len(tokenizer.tokenizer(text)["input_ids"]) for text in texts]


class OpenClipTokens(OpenClip):
    """An image-text model with image tokens; see `foveate.models.capabilities.GivesTokens`."""

    token_spec: TokenSpec

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of (b, c, h, w) images: (b, gh, gw, d) float32."""
        visual, places = self._net.visual, _projected if self.token_spec.pooled else _features
        return self._runner.run(lambda x: places(visual, x), batch, self.spec)


class OpenClipParts(Repooled, OpenClipTokens):
    """An image-text model with pooling of parts; see `foveate.models.capabilities.PoolsParts`."""

    @property
    def _repooler(self) -> Repooler:
        return Repooler(self._runner, _pooling(self._net.visual), self._images)


def assemble(
    runner: InferenceRunner,
    spec: EncoderSpec,
    text_spec: TextSpec,
    tokenizer: Callable[[], Any],
    *,
    token_spec: TokenSpec | None,
    sizes: Sizes | None,
    parts: bool = False,
) -> OpenClip:
    """Build the model with the capabilities of its image tower.

    Args:
        runner: The network.
        spec: Model specification.
        text_spec: Text specification.
        tokenizer: Returns the tokenizer.
        token_spec: Token specification, if there are tokens.
        sizes: Other sizes of the image tower, if any.
        parts: Whether its pooling can be repeated with fewer tokens.
    """
    kind = OpenClip if token_spec is None else OpenClipParts if parts else OpenClipTokens
    model = kind(runner, spec, text_spec, tokenizer, token_spec)
    if sizes is None:
        return model

    def build(other: InferenceRunner) -> OpenClip:
        resized = replace(spec, input_size=other.preprocess.size)
        return assemble(
            other, resized, text_spec, tokenizer, token_spec=token_spec, sizes=sizes, parts=parts
        )

    return sizes.offer(model, build)


def try_image(handle: ModelHandle, runner: InferenceRunner) -> tuple[int, TokenSpec | None]:
    """Run one image: return the embedding dimension and the token specification, if any.

    Raises:
        ParameterError: The network does not support images of this size.
    """
    import torch

    size = runner.preprocess.size or (0, 0)
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *size, generator=draw).to(runner.device)
    net: Any = runner.net
    visual = net.visual
    with torch.inference_mode():
        try:
            vector = net.encode_image(image, normalize=False)
        except (AssertionError, RuntimeError) as error:
            raise ParameterError(
                f"{handle} does not support images of {size[0]} x {size[1]}: {first_line(error)}",
                "",
                "Remove 'size'.",
            ) from error
        dim = int(vector.shape[1])
        with contextlib.suppress(AttributeError, RuntimeError, TypeError, AssertionError):
            if is_mean(_projected(visual, image), vector):
                return dim, TokenSpec(dim, "embedding", pooled=True)
        try:
            features = _features(visual, image)
        except (AttributeError, RuntimeError, TypeError, AssertionError):
            return dim, None  # a tower without a feature grid
    return dim, TokenSpec(int(features.shape[-1]), "backbone")


def _features(visual: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the features of the last layer on the grid of the image: (b, gh, gw, width)."""
    output = visual.forward_intermediates(
        x,
        indices=1,
        # CoCa's last norm belongs to its queries, which have another length.
        normalize_intermediates=getattr(visual, "attn_pool", None) is None,
        intermediates_only=True,
        output_fmt="NCHW",
    )
    return output["image_intermediates"][-1].permute(0, 2, 3, 1)


def _projected(visual: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the features as the tower projects them when they are pooled: (b, gh, gw, d)."""
    features = _features(visual, x)
    return features @ visual.proj if hasattr(visual, "proj") else visual.head(features)


def pools_parts(runner: InferenceRunner) -> bool:
    """Return whether the pooling of the image tower can be repeated, tested on one image."""
    import torch

    net: Any = runner.net
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *(runner.preprocess.size or (0, 0)), generator=draw)
    try:
        pooling = _pooling(net.visual)
    except (AttributeError, IndexError, TypeError):
        return False  # another type of tower
    image = image.to(runner.device)
    with torch.inference_mode():
        vector = net.encode_image(image, normalize=False)
    repooler = Repooler(runner, pooling, lambda x: net.encode_image(x, normalize=False))
    return repooler.works(image, vector)


def _pooling(visual: Any) -> Pooling:
    """Return the class-token pooling of an open_clip vision transformer."""
    block = visual.transformer.resblocks[-1]
    query, key, value = joint_projections(block.attn)

    def finish(z: torch.Tensor, stream: torch.Tensor) -> torch.Tensor:
        x = stream + block.ls_1(block.attn.out_proj(z))
        x = visual.ln_post(x + block.ls_2(block.mlp(block.ln_2(x))))
        return x if visual.proj is None else x @ visual.proj

    return Pooling(
        block, block.attn.num_heads, lambda x: query(block.ln_1(x[:, 0])),
        lambda x: key(block.ln_1(x)), lambda x: value(block.ln_1(x)), finish, class_token=True,
    )  # fmt: skip


def image_sizes(runner: InferenceRunner, dim: int) -> Sizes | None:
    """Return the sizes of the image tower; None if the size is fixed.

    Args:
        runner: Both towers.
        dim: Length of a vector.
    """
    net: Any = runner.net
    return find_sizes(
        runner,
        step=_step(net.visual),
        dim=dim,
        forward=lambda net, x: net.encode_image(x, normalize=False),
        resize=_way(net.visual),
    )


def _step(visual: Any) -> int:
    if hasattr(visual, "trunk"):
        return reduction(visual.trunk)
    return max(getattr(visual, "patch_size", (reduction(visual),)))


def _way(visual: Any) -> Resize | None:
    if hasattr(visual, "positional_embedding"):
        return _resize_own
    by_timm = hasattr(visual, "trunk") and hasattr(visual.trunk, "set_input_size")
    return _resize_trunk if by_timm else None


def _resize_own(net: Any, size: tuple[int, int]) -> None:
    from timm.layers import resample_abs_pos_embed
    from torch import nn

    visual = net.visual
    old = visual.grid_size
    visual.image_size = size
    visual.grid_size = (size[0] // visual.patch_size[0], size[1] // visual.patch_size[1])
    places = resample_abs_pos_embed(
        visual.positional_embedding[None], list(visual.grid_size), list(old), num_prefix_tokens=1
    )
    visual.positional_embedding = nn.Parameter(places[0], requires_grad=False)


def _resize_trunk(net: Any, size: tuple[int, int]) -> None:
    net.visual.image_size = size
    net.visual.trunk.set_input_size(size)
