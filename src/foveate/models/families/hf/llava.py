"""LLaVA 1.5 and LLaVA-NeXT (1.6): a vision tower, a projector, a language model.

Papers: Liu et al., Visual Instruction Tuning, 2023; Improved Baselines with Visual Instruction
Tuning, 2024. The tokens are those that the language model gets: patches of the tower, one layer
before its last, after the projector; their mean is the embedding. LLaVA-NeXT encodes an image
twice, as a whole and in tiles of higher resolution: embedding and tokens are of the whole image,
and questions use both, in its own layout.

Images are resampled as a whole to the square of the tower. The image processor of LLaVA 1.5 crops
the longer side; for square tiles there is no difference.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.models.families.hf.chat import (
    ChatModel,
    Shown,
    freeze,
    load_generative,
    make_chat_model,
)
from foveate.models.families.hf.common import (
    check_options,
    load_tokenizer,
    make_preprocess,
    make_spec,
    read_image_settings,
)
from foveate.models.families.hf.prompt import Plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families.hf.family import Checkpoint
    from foveate.models.runtime import InferenceRunner

_NEXT = "llava_next"
_CLIP = "clip_vision_model"  # the one whose first token is a class token
_TOWERS = (_CLIP, "siglip_vision_model")
_VICUNA = Plain("USER: {images}{prompt} ASSISTANT:", "<image>\n")
_MISTRAL = Plain("[INST] {images}{prompt} [/INST]", "<image>\n")
_LLAMA3_MARK = "<|start_header_id|>"
_LLAMA3 = Plain(
    "<|start_header_id|>system<|end_header_id|>\n\n"
    "You are a helpful language and vision assistant. You are able to understand the visual "
    "content that the user provides, and assist the user with a variety of tasks using natural "
    "language.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n{images}{prompt}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "<image>\n",
)


def build(
    handle: ModelHandle, checkpoint: Checkpoint, bands: Sequence[int], scale: Scale
) -> ChatModel:
    """Build a LLaVA; see `foveate.models.families.hf.family.Builder`.

    Raises:
        DataError: The files are not a supported model, or its vision tower is not supported.
        ParameterError: An option cannot be used; ``size`` is that of the vision tower.
    """
    import transformers

    check_options(handle)
    large = checkpoint.model_type == _NEXT
    architecture = (
        transformers.LlavaNextForConditionalGeneration
        if large
        else transformers.LlavaForConditionalGeneration
    )
    net = load_generative(handle, checkpoint, architecture)
    config = net.config
    side = _tower_side(config)
    preprocess = make_preprocess(handle, read_image_settings(checkpoint), scale, (side, side))
    if preprocess.size != (side, side):
        raise ParameterError(
            f"{handle} with size={handle.options['size']}",
            f"Its vision tower only supports images of {side} x {side}.",
            "Remove 'size'.",
        )
    runner = freeze(handle, net, preprocess)
    see = _Tower(runner, side)
    dim = int(config.text_config.hidden_size)
    spec = make_spec(handle, checkpoint, runner, dim, bands)
    # transformers registers permanent hooks on a tower whose hidden states are requested:
    # do it now, so that a model in use does not change. It also detects a missing grid early.
    runner.run(see, np.zeros((1, len(bands), side, side), np.uint8), spec)
    tokenizer = load_tokenizer(checkpoint)
    show = see.in_tiles if large else see.whole
    return make_chat_model(
        runner, spec, checkpoint, see, show=show, plain=_plain(config, tokenizer),
        tokenizer=tokenizer,
    )  # fmt: skip


def _plain(config: Any, tokenizer: Any) -> Plain:
    """Return the documented prompt format of the language model."""
    if config.model_type != _NEXT:
        return _VICUNA
    if _LLAMA3_MARK in tokenizer.get_vocab():
        return _LLAMA3
    return _MISTRAL if config.text_config.model_type == "mistral" else _VICUNA


class _Tower:
    """Encodes images with the vision tower and the projector of a LLaVA.

    Args:
        runner: The network.
        side: Of the tower's images in pixels.
    """

    def __init__(self, runner: InferenceRunner, side: int) -> None:
        self._runner = runner
        self._net: Any = runner.net
        self._config = self._net.config
        self._side = side
        self._grid = side // int(self._config.vision_config.patch_size)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the tokens of whole images: (b, 3, side, side) to (b, g, g, d)."""
        features = self._project(x)
        b, _, d = features.shape
        return features[:, self._extra :].reshape(b, self._grid, self._grid, d)

    def whole(self, images: Sequence[NDArray[Any]]) -> Shown:
        """Encode images for LLaVA 1.5: each as a whole."""
        import torch

        preprocess, device = self._runner.preprocess, self._runner.device
        x = torch.cat([preprocess(image[None], device) for image in images])
        return Shown((self._tokens,) * len(images), {"pixel_values": x})

    def in_tiles(self, images: Sequence[NDArray[Any]]) -> Shown:
        """Encode images for LLaVA-NeXT: each as a whole, then in tiles of its best layout."""
        import torch

        stacks, lengths = zip(*(self._anyres(image) for image in images), strict=True)
        longest = max(len(stack) for stack in stacks)
        # The network takes one array; from the sizes it derives which tiles are padding.
        full = [torch.cat([s, s.new_zeros(longest - len(s), *s.shape[1:])]) for s in stacks]
        sizes = torch.tensor([image.shape[1:] for image in images], device=self._runner.device)
        return Shown(lengths, {"pixel_values": torch.stack(full), "image_sizes": sizes})

    def _anyres(self, image: NDArray[Any]) -> tuple[torch.Tensor, int]:
        """Return an image and its tiles, (1 + tiles, 3, side, side), and its number of tokens."""
        import torch
        from transformers.image_processing_utils import select_best_resolution
        from transformers.models.llava_next.modeling_llava_next import unpad_image

        preprocess, device, side = self._runner.preprocess, self._runner.device, self._side
        size = (int(image.shape[1]), int(image.shape[2]))
        height, width = select_best_resolution(size, self._config.image_grid_pinpoints)
        fitted = _fit(size, (height, width))
        x = replace(preprocess, size=fitted)(image[None], device)
        # Black padding, before the normalisation.
        black = -torch.tensor(preprocess.mean, device=device) / torch.tensor(
            preprocess.std, device=device
        )
        canvas = black.float().view(1, -1, 1, 1).repeat(1, 1, height, width)
        top, left = (height - fitted[0]) // 2, (width - fitted[1]) // 2
        canvas[:, :, top : top + fitted[0], left : left + fitted[1]] = x
        tiles = canvas.unfold(2, side, side).unfold(3, side, side)[0]  # (3, rows, columns, s, s)
        tiles = tiles.permute(1, 2, 0, 3, 4).flatten(0, 1)
        # Token rows in the padding are dropped, and each row ends with a separator token
        # The network's function returns the number of rows and columns that are kept.
        rows, columns = (n // side * self._grid for n in (height, width))
        kept = unpad_image(torch.empty(1, rows, columns, device="meta"), size)
        length = self._tokens + kept.shape[1] * (kept.shape[2] + 1)
        return torch.cat([preprocess(image[None], device), tiles]), length

    def _project(self, x: torch.Tensor) -> torch.Tensor:
        """Return the language model inputs of (b, 3, side, side): (b, n, d)."""
        import torch

        model, config = self._net.model, self._config
        states = model.vision_tower(x, output_hidden_states=True).hidden_states
        chosen = config.vision_feature_layer
        layers = [chosen] if isinstance(chosen, int) else chosen
        start = 1 if config.vision_feature_select_strategy == "default" else 0
        return model.multi_modal_projector(
            torch.cat([states[layer][:, start:] for layer in layers], dim=-1)
        )

    @property
    def _extra(self) -> int:
        has_class = self._config.vision_config.model_type == _CLIP
        return int(has_class and self._config.vision_feature_select_strategy != "default")

    @property
    def _tokens(self) -> int:
        return self._grid**2 + self._extra


def _tower_side(config: Any) -> int:
    """Return the side of the images of the vision tower in pixels.

    Raises:
        DataError: The grid of its tokens is unknown.
    """
    kind, cut = config.vision_config.model_type, config.vision_feature_select_strategy
    if kind not in _TOWERS:
        raise DataError(
            f"a LLaVA with the vision tower {kind!r}",
            f"Supported: {', '.join(_TOWERS)}.",
            "Wrap your own code with foveate.models.from_callable.",
        )
    if kind != _CLIP and cut == "default":
        raise DataError(
            f"a LLaVA with the vision tower {kind!r} that omits its first token",
            "Only the first token of CLIP is a class token.",
            'Set "vision_feature_select_strategy": "full" in config.json.',
        )
    return int(config.vision_config.image_size)


def _fit(size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of the same shape inside another: ``(height, width)``."""
    height, width = size
    across, down = into[1] / width, into[0] / height
    if across < down:
        return min(math.ceil(height * across), into[0]), into[1]
    return into[0], min(math.ceil(width * down), into[1])
