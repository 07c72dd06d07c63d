"""Any image backbone of timm, with hub or local weights.

The embedding is the pooled output of the backbone without its classifier (``num_classes=0``): for
ResNet-18 the 512 features after the last spatial pooling, as in the core-set paper, section
III-B. The tokens are the features before the pooling, on the grid of the image: feature maps
of convolutional and hierarchical backbones, patch tokens of transformers. Where they lie,
whether their mean is the embedding, and whether the network takes images of other sizes is
measured on one image, not looked up by name.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from foveate.errors import ParameterError, UnknownNameError
from foveate.models.base import unknown_model
from foveate.models.capabilities import TokenSpec
from foveate.models.families._published import without_decoder
from foveate.models.families._sizes import find_sizes, reduction
from foveate.models.hub import described, fetch_file, hub_error
from foveate.models.preprocess import Preprocess, is_mean, on_grid, own_options, stated_channels
from foveate.models.runtime import InferenceRunner
from foveate.models.weights import (
    RANDOM,
    RANDOM_SOURCE,
    check_weights,
    put_state,
    random_weights,
    read_weights,
    source_of,
    weights_hash,
    without_prefix,
)
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families._sizes import Sizes


class _Timm:
    """The family; see `foveate.models.base.Family`."""

    def check(self, handle: ModelHandle) -> ModelHandle:
        """Check the architecture's name and that the weights file can be read."""
        check_name(handle)
        check_options(handle)
        check_weights(handle)
        return replace(handle, channels=stated_channels(handle.options) or 3)

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> TimmModel:
        """Build the model.

        Options for foveate: ``size`` (side in pixels that tiles are resampled to, or "native";
        that of the pretrained weights by default), ``mean`` and ``std`` (override the
        normalisation of the weights), ``precision``,
        ``checkpoint_key`` (which weights of a local file), and ``token_stride`` (pixels of the
        input between tokens: feature maps of all stages are brought to that grid and joined, as
        hypercolumns, Hariharan et al. 2015; for backbones with stages, and dense prediction).
        All others are passed to ``timm.create_model``.

        Raises:
            DataError: The weights cannot be read or are from another architecture, or the hub
                cannot be reached.
            ParameterError: An option cannot be used.
        """
        options = network_options(handle)
        net, hub = make_network(handle, options, len(bands))
        fingerprint = weights_hash(net, "timm", sorted(options.items()))
        return finish(handle, net, bands, scale, fingerprint, source=source_of(handle.weights, hub))


FAMILY = _Timm()


def network_options(handle: ModelHandle) -> dict[str, Any]:
    """Return the options for ``timm.create_model``."""
    own = own_options(handle.options)
    return {name: value for name, value in own.items() if name != TOKEN_STRIDE}


TOKEN_STRIDE = "token_stride"  # noqa: S105  (an option of a model's name)
_PROBE = 64  # side of the test image for backbones of any size, pixels


class TimmModel:
    """A frozen timm backbone.

    If its network supports other sizes, an instance also has `size_step` and `at_size`.

    Args:
        runner: The network without its classifier.
        spec: Model specification.
    """

    def __init__(self, runner: InferenceRunner, spec: EncoderSpec) -> None:
        self._runner = runner
        self.spec = spec

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images in native dtype: (b, d) float32."""
        return self._runner.run(self._runner.net, batch, self.spec)


class TimmTokens(TimmModel):
    """A backbone with tokens; see `foveate.models.capabilities.GivesTokens`.

    Args:
        runner: The network without its classifier.
        spec: Model specification.
        token_spec: Token specification.
        stride: Pixels between concatenated tokens of all stages; 0 for those before the pooling.
    """

    def __init__(
        self, runner: InferenceRunner, spec: EncoderSpec, token_spec: TokenSpec, stride: int = 0
    ) -> None:
        super().__init__(runner, spec)
        self.token_spec = token_spec
        self.stride = stride

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of (b, c, h, w) images: (b, gh, gw, d) float32."""
        return self._runner.run(self._on_grid, batch, self.spec)

    def _on_grid(self, x: torch.Tensor) -> torch.Tensor:
        return _tokens(self._runner.net, x, self.stride)


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
    """Build a model from a timm network with its weights.

    Args:
        handle: Model handle with options and device.
        net: A network in timm's form, without classifier.
        bands: 1-based bands, one per input channel.
        scale: ``(low, high)`` per band.
        fingerprint: Hash of the weights.
        source: Where the weights come from.
        licence: Licence of the weights, if the network does not state it.
        mean: Mean per band, if it is not that of the network.
        std: The same.
        name: Name for the spec; default: that of the handle.
    """
    cfg: dict[str, Any] = net.pretrained_cfg
    preprocess = Preprocess.read(
        handle.options, scale, mean=mean or cfg["mean"], std=std or cfg["std"],
        size=cfg["input_size"][1:], resample=cfg.get("interpolation") or "",
    )  # fmt: skip
    runner = InferenceRunner(net, preprocess, device=handle.device, options=handle.options)
    stride = int(handle.options.get(TOKEN_STRIDE, 0))
    dim, token_spec = _try(handle, runner, stride)
    spec = runner.spec(
        name or str(handle),
        dim=dim,
        bands=bands,
        source=source,
        fingerprint=fingerprint,
        # The licence is that of the published weights; for a local file it is unknown.
        licence=licence or ("" if handle.weights else str(cfg.get("license") or "")),
    )
    return _assemble(runner, spec, token_spec, _find_sizes(runner, dim), stride)


def _assemble(
    runner: InferenceRunner, spec: EncoderSpec, token_spec: TokenSpec | None, sizes: Sizes | None,
    stride: int,
) -> TimmModel:  # fmt: skip
    model = (
        TimmModel(runner, spec)
        if token_spec is None
        else TimmTokens(runner, spec, token_spec, stride)
    )
    if sizes is None:
        return model

    def build(other: InferenceRunner) -> TimmModel:
        resized = replace(spec, input_size=other.preprocess.size)
        return _assemble(other, resized, token_spec, sizes, stride)

    return sizes.offer(model, build)


def _find_sizes(runner: InferenceRunner, dim: int) -> Sizes | None:
    """Return the sizes of the network: by its own method, or unchanged."""
    return find_sizes(
        runner,
        step=reduction(runner.net),
        dim=dim,
        forward=lambda net, x: net(x),
        resize=_resize if hasattr(runner.net, "set_input_size") else None,
    )


def _resize(net: Any, size: tuple[int, int]) -> None:
    """Resample position vectors (bicubic, antialiased) and scale windows, as timm does."""
    net.set_input_size(img_size=size)


def _try(handle: ModelHandle, runner: InferenceRunner, stride: int) -> tuple[int, TokenSpec | None]:
    """Run one image: return the embedding dimension and the token specification, if any.

    Raises:
        ParameterError: The network does not support images of this size.
    """
    import torch

    side = runner.preprocess.size or (_PROBE, _PROBE)
    channels = len(runner.preprocess.scale)
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(1, channels, *side, generator=draw).to(runner.device)
    with torch.inference_mode():
        try:
            vector = runner.net(image)
        except (AssertionError, RuntimeError) as error:
            raise ParameterError(
                f"{handle} does not support images of {side[0]} x {side[1]}: {error}",
                "",
                "Remove 'size', or set img_size of a transformer, too: ?size=256&img_size=256.",
            ) from error
        if getattr(vector, "ndim", 0) != 2:
            raise ParameterError(
                f"{handle} does not return one vector per image",
                f"Its output has the shape {tuple(getattr(vector, 'shape', ()))}.",
                "Remove the option that changes its pooling.",
            )
        if stride:
            try:
                tokens = _hypercolumns(runner.net, image, stride)
            except (ValueError, RuntimeError, AttributeError, TypeError, AssertionError) as error:
                raise ParameterError(
                    f"{handle}: {error}",
                    f"{TOKEN_STRIDE} requires a backbone with multiple stages.",
                    f"Remove {TOKEN_STRIDE}, or use timm:resnet18?{TOKEN_STRIDE}=8.",
                ) from error
            return int(vector.shape[1]), TokenSpec(int(tokens.shape[-1]), "backbone")
        try:
            tokens = _features(runner.net, image)
        except (ValueError, RuntimeError, AttributeError, TypeError):
            return int(vector.shape[1]), None  # a backbone without a feature grid
    pooled = is_mean(tokens, vector)
    space = "embedding" if pooled else "backbone"
    return int(vector.shape[1]), TokenSpec(int(tokens.shape[-1]), space, pooled)


def _tokens(net: Any, x: torch.Tensor, stride: int) -> torch.Tensor:
    return _hypercolumns(net, x, stride) if stride else _features(net, x)


def _hypercolumns(net: Any, x: torch.Tensor, stride: int) -> torch.Tensor:
    """Return the feature maps of all stages on one grid, concatenated: (b, gh, gw, d).

    Finer maps are averaged, coarser ones interpolated (bilinear).

    Raises:
        ValueError: All stages have one grid, or the image is smaller than a step.
    """
    import torch
    from torch.nn import functional

    maps = net.forward_intermediates(x, intermediates_only=True, output_fmt="NCHW")
    if len({tuple(m.shape[2:]) for m in maps}) < 2:
        raise ValueError("all of its layers have the same grid")
    grid = (x.shape[2] // stride, x.shape[3] // stride)
    if stride < 1 or not all(grid):
        raise ValueError(f"no grid of {stride} pixels in {x.shape[2]} x {x.shape[3]}")
    parts = []
    for features in maps:
        if features.shape[2] > grid[0] and features.shape[3] > grid[1]:
            parts.append(functional.adaptive_avg_pool2d(features, grid))
        else:
            parts.append(
                functional.interpolate(features, grid, mode="bilinear", align_corners=False)
            )
    return torch.cat(parts, dim=1).permute(0, 2, 3, 1)


def _features(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the features before the pooling on their grid: (b, gh, gw, d).

    Raises:
        ValueError: Their positions are unknown.
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


_SET_HERE = (
    "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir",
    "num_classes", "features_only", "out_indices",
)  # fmt: skip


def check_name(handle: ModelHandle) -> None:
    """Check that timm has the architecture and the tag.

    Raises:
        ParameterError: The name is missing.
        UnknownNameError: timm does not know it.
    """
    import timm

    if not handle.name:
        raise ParameterError(
            "the name of the timm model is missing", "", "For example timm:resnet18."
        )
    if not timm.is_model(handle.name):
        raise unknown_model("timm", handle.name, timm.list_models())
    architecture, _, tag = full_name(handle).partition(".")
    if not tag:
        return
    listed = timm.list_models(f"{architecture}.*", include_tags=True)
    tags = [name.partition(".")[2] for name in listed]
    if tag not in tags:
        raise UnknownNameError(
            f"timm's {architecture} has no weights {tag!r}",
            f"It has: {', '.join(tags) or 'none'}; or random.",
            suggest(tag, tags),
        )


def full_name(handle: ModelHandle) -> str:
    """Return the name in the form of timm: NAME, or NAME.TAG."""
    tagged = handle.tag not in ("", RANDOM, "pretrained")
    return f"{handle.name}.{handle.tag}" if tagged else handle.name


def check_options(handle: ModelHandle) -> None:
    """Reject options of ``timm.create_model`` that foveate sets itself.

    Raises:
        ParameterError: There is one.
    """
    for name in _SET_HERE:
        if name in handle.options:
            raise ParameterError(
                f"{handle} has the option {name!r}",
                "Options that change the weights or the output shape are not supported.",
                "Remove it; use --weights PATH for local weights.",
            )


_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def make_network(handle: ModelHandle, options: dict[str, Any], channels: int) -> tuple[Any, str]:
    """Build the network with the weights of the handle.

    Args:
        handle: Which network and weights.
        options: For ``timm.create_model``.
        channels: Number of bands.

    Returns:
        The network, and the source of hub weights.

    Raises:
        DataError: The weights are not available, or are from another architecture.
        ParameterError: timm cannot create the network.
    """
    net, source = _create(handle, options, channels)
    if not handle.weights:
        return net, source
    state = without_decoder(read_weights(handle))
    state = without_prefix(state, net.state_dict(), handle.weights)
    side = options.get(_IMG_SIZE)
    if side is None or _fits(net, state) or not hasattr(net, "set_input_size"):
        _load_weights(net, state, handle)
        return net, source
    # Weights of the usual size: position embeddings are resampled, as timm does for those of the
    # hub.
    usual = {name: value for name, value in options.items() if name != _IMG_SIZE}
    net, source = _create(handle, usual, channels)
    _load_weights(net, state, handle)
    net.set_input_size(img_size=side)
    return net, source


_POSITIONS = "pos_embed"
_IMG_SIZE = "img_size"  # an option of transformers of timm


def _fits(net: Any, state: dict[str, torch.Tensor]) -> bool:
    """Return whether the position embeddings of a file are those of a network."""
    target = net.state_dict()
    if _POSITIONS not in target or _POSITIONS not in state:
        return True
    return target[_POSITIONS].shape == state[_POSITIONS].shape


def _create(handle: ModelHandle, options: dict[str, Any], channels: int) -> tuple[Any, str]:
    import timm

    random = handle.tag == RANDOM
    name = full_name(handle)
    download = not handle.weights and not random
    arguments: dict[str, Any] = {
        "num_classes": 0,
        "in_chans": channels,
        **options,
        "pretrained": download,
    }
    source = RANDOM_SOURCE if random else f"timm: {name}"
    if download and (file := _hub_file(name, handle)):
        arguments["pretrained_cfg_overlay"] = {"file": str(file)}
        source = described(file)
    try:
        return random_weights(lambda: timm.create_model(name, **arguments)), source
    except TypeError as error:
        raise ParameterError(
            f"timm's {handle.name} does not support these options: {error}",
            f"Given: {options}.",
            "Remove the option after '?'.",
        ) from error
    except Exception as error:
        if not download:
            raise ParameterError(f"timm cannot create {name!r}: {error}") from error
        raise hub_error(name, error) from error


def _hub_file(name: str, handle: ModelHandle) -> Path | None:
    """Return hub weights; None for models that timm downloads from elsewhere."""
    import timm

    cfg = timm.get_pretrained_cfg(name)
    if cfg is None or not cfg.hf_hub_id:
        return None
    named = [cfg.hf_hub_filename] if cfg.hf_hub_filename else []
    return fetch_file(cfg.hf_hub_id, [*named, *_HUB_FILES], name=str(handle))


def _load_weights(net: Any, state: dict[str, torch.Tensor], handle: ModelHandle) -> None:
    """Load a state dict into the backbone; only a classifier or a decoder may remain unused."""
    classifier = net.pretrained_cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    roots = {head.split(".")[0] for head in heads}
    put_state(
        net,
        state,
        handle.weights,
        handle.name,
        spare=lambda name: name.split(".")[0] in roots,
        resized=functools.partial(_shape_hint, net),
    )


def _shape_hint(net: Any, name: str, given: tuple[int, ...], needed: tuple[int, ...]) -> str:
    """Return the option with which a network has a parameter of the given shape; or ""."""
    if len(given) == len(needed) == 4 and given[0] == needed[0]:
        if given[2:] == needed[2:]:
            return (
                f"The file is for images of {given[1]} bands: append ?in_chans={given[1]} to the "
                "model name, and select as many with --bands."
            )
        if name.startswith("patch_embed.") and given[1] == needed[1] and given[2] == given[3]:
            return f"Append ?patch_size={given[2]} to the model name."
    if name == _POSITIONS and len(given) == 3:
        step = getattr(getattr(net, "patch_embed", None), "patch_size", (0,))[0]
        grid = math.isqrt(given[1] - int(getattr(net, "num_prefix_tokens", 0)))
        side = grid * step
        if side:
            return (
                f"The file is for images of {side} x {side} pixels: append "
                f"?img_size={side}&size={side} to the model name."
            )
    return ""
