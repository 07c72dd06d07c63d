"""A timm network at work: vectors, tokens, and the same for images of other sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from foveate.errors import ParameterError
from foveate.models.capabilities import TokenSpec
from foveate.models.families._sizes import find_sizes, reduction
from foveate.models.frozen import Frozen
from foveate.models.inputs import Inputs
from foveate.models.tokens import is_mean, on_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families._sizes import Sizes

_PROBE = 64  # side of the trial image of a backbone that takes any size, pixels


class TimmModel:
    """A frozen timm backbone that embeds.

    Where its network takes other sizes an instance has `size_step` and `at_size` as well.

    Args:
        frozen: The network without its classifier.
        spec: What the vectors depend on.
    """

    def __init__(self, frozen: Frozen, spec: EncoderSpec) -> None:
        self._frozen = frozen
        self.spec = spec

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images of the native dtype: (b, d) float32."""
        return self._frozen.run(self._frozen.net, batch, self.spec)


class TimmTokens(TimmModel):
    """A backbone whose features have places; see `foveate.models.capabilities.GivesTokens`.

    Args:
        frozen: The network without its classifier.
        spec: What the vectors depend on.
        token_spec: What the tokens are.
    """

    def __init__(self, frozen: Frozen, spec: EncoderSpec, token_spec: TokenSpec) -> None:
        super().__init__(frozen, spec)
        self.token_spec = token_spec

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of (b, c, h, w) images: (b, gh, gw, d) float32."""
        return self._frozen.run(self._on_grid, batch, self.spec)

    def _on_grid(self, x: torch.Tensor) -> torch.Tensor:
        return _features(self._frozen.net, x)


def finish(
    handle: ModelHandle,
    net: Any,
    bands: Sequence[int],
    scale: Scale,
    fingerprint: str,
    *,
    source: str,
    licence: str = "",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    name: str = "",
) -> TimmModel:
    """Make a model of a timm network that has its weights.

    Args:
        handle: Whose options and device count.
        net: A network in timm's form, without classifier.
        bands: 1-based bands, one per input channel.
        scale: ``(low, high)`` per band.
        fingerprint: Hash of the weights.
        source: Where the weights come from.
        licence: Their licence, if the network does not say.
        mean: Their normalisation, if it is not the network's.
        std: The same.
        name: For the spec, if it is not the handle's.
    """
    cfg: dict[str, Any] = net.pretrained_cfg
    inputs = Inputs.read(
        handle.options, scale, mean=mean or cfg["mean"], std=std or cfg["std"],
        size=cfg["input_size"][1:], resample=cfg.get("interpolation") or "",
    )  # fmt: skip
    frozen = Frozen(net, inputs, device=handle.device, options=handle.options)
    dim, token_spec = _try(handle, frozen)
    spec = frozen.spec(
        name or str(handle),
        dim=dim,
        bands=bands,
        source=source,
        fingerprint=fingerprint,
        # The licence is that of the published weights: of a local file nothing is known.
        licence=licence or ("" if handle.weights else str(cfg.get("license") or "")),
    )
    return _assemble(frozen, spec, token_spec, _find_sizes(frozen, dim))


def _assemble(
    frozen: Frozen, spec: EncoderSpec, token_spec: TokenSpec | None, sizes: Sizes | None
) -> TimmModel:
    """Make the model that has what its network can do."""
    model = TimmModel(frozen, spec) if token_spec is None else TimmTokens(frozen, spec, token_spec)
    if sizes is None:
        return model

    def build(other: Frozen) -> TimmModel:
        return _assemble(other, replace(spec, input_size=other.inputs.size), token_spec, sizes)

    return sizes.offer(model, build)


def _find_sizes(frozen: Frozen, dim: int) -> Sizes | None:
    """Return the sizes that the network takes: by its own method, or as it is."""
    return find_sizes(
        frozen,
        step=reduction(frozen.net),
        dim=dim,
        forward=lambda net, x: net(x),
        resize=_resize if hasattr(frozen.net, "set_input_size") else None,
    )


def _resize(net: Any, size: tuple[int, int]) -> None:
    """Resample position vectors (bicubic, antialiased) and scale windows, as timm does."""
    net.set_input_size(img_size=size)


def _try(handle: ModelHandle, frozen: Frozen) -> tuple[int, TokenSpec | None]:
    """Look at one image: length of a vector, and what the tokens are, if there are any.

    Raises:
        ParameterError: The network cannot take images of this size.
    """
    import torch

    side = frozen.inputs.size or (_PROBE, _PROBE)
    channels = len(frozen.inputs.scale)
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(1, channels, *side, generator=draw).to(frozen.device)
    with torch.inference_mode():
        try:
            vector = frozen.net(image)
        except (AssertionError, RuntimeError) as error:
            raise ParameterError(
                f"{handle} cannot take images of {side[0]} x {side[1]}: {error}",
                "",
                "Leave 'size' out, or tell a transformer too: ?size=256&img_size=256.",
            ) from error
        if getattr(vector, "ndim", 0) != 2:
            raise ParameterError(
                f"{handle} gives no vector of an image",
                f"Its output has the shape {tuple(getattr(vector, 'shape', ()))}.",
                "Leave the option that changes its pooling out.",
            )
        try:
            tokens = _features(frozen.net, image)
        except (ValueError, RuntimeError, AttributeError, TypeError):
            return int(vector.shape[1]), None  # a backbone whose features have no places
    pooled = is_mean(tokens, vector)
    space = "embedding" if pooled else "backbone"
    return int(vector.shape[1]), TokenSpec(int(tokens.shape[-1]), space, pooled)


def _features(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the features before the pooling on their grid: (b, gh, gw, d).

    Raises:
        ValueError: Their places are not known.
    """
    features = net.forward_features(x)
    if not hasattr(features, "ndim"):
        raise ValueError(f"features of type {type(features).__name__}")
    if features.ndim == 4:
        last = getattr(net, "output_fmt", "NCHW") == "NHWC"
        return features if last else features.permute(0, 2, 3, 1)
    if features.ndim != 3:
        raise ValueError(f"features of shape {tuple(features.shape)}")
    patches = features[:, int(getattr(net, "num_prefix_tokens", 0)) :]
    return on_grid(patches, (int(x.shape[2]), int(x.shape[3])))
