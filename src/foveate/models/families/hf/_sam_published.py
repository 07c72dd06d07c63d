"""Published fine-tuned SAMs, loaded into transformers' SAM.

Names are those of segment_anything (Kirillov et al. 2023), from which Med-SA and SAMed are built;
they are brought to those of transformers. Layouts, read in the public repositories:

- Med-SA, ``MedicineToken/Medical-SAM-Adapter`` (``models/ImageEncoder/adapter_block.py``,
  ``models/common/adapter.py``, ``models/sam/modeling``): the whole network under ``state_dict``,
  with ``image_encoder.blocks.N.{MLP_Adapter,Space_Adapter,Depth_Adapter}.D_fc{1,2}``.
- SAMed, ``hitachinsk/SAMed`` (``sam_lora_image_encoder.py``, ``segment_anything/build_sam.py``):
  for the n-th adapted matrix ``w_a_NNN`` (r, dim) and ``w_b_NNN`` (dim, r), of each block first
  that of the queries and then that of the values; all of ``prompt_encoder``, ``mask_decoder``.
"""

from __future__ import annotations

import copy
import functools
import re
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from foveate.errors import DataError
from foveate.models.weights import put_state, random_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    State = Mapping[str, torch.Tensor]

_RENAMED = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.blocks\.", ".layers."),
    (r"\.neck\.0\.", ".neck.conv1."),
    (r"\.neck\.1\.", ".neck.layer_norm1."),
    (r"\.neck\.2\.", ".neck.conv2."),
    (r"\.neck\.3\.", ".neck.layer_norm2."),
    (r"\.norm", ".layer_norm"),
    (r"\.pe_layer\.positional_encoding_gaussian_matrix$", ".shared_embedding.positional_embedding"),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"(\.output_hypernetworks_mlps\.\d+|\.iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(\.output_hypernetworks_mlps\.\d+|\.iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(\.output_hypernetworks_mlps\.\d+|\.iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
    (r"\.MLP_Adapter\.D_", ".mlp_adapter."),
    (r"\.Space_Adapter\.D_", ".space_adapter."),
)

_SHARED = "prompt_encoder.shared_embedding.positional_embedding"
_PLACES = "vision_encoder.pos_embed"


def transformers_name(name: str) -> str:
    """Return transformers' name of a parameter of segment_anything."""
    for pattern, there in _RENAMED:
        name = re.sub(pattern, there, name)
    return name


def is_lora(state: State) -> bool:
    """Return whether these are low-rank matrices in the layout of SAMed."""
    return any(re.fullmatch(r"w_[ab]_\d+", name) for name in state)


def is_adapted(state: State) -> bool:
    """Return whether this is a network with adapters in the layout of Med-SA."""
    return any("_Adapter.D_fc" in name for name in state)


# --- SAMed -----------------------------------------------------------------------------------


def with_low_rank(base: Any, state: State, path: str, side: int) -> Any:
    """Return a SAM with low-rank matrices merged into queries and values, and its decoder.

    Args:
        base: The SAM that the matrices were trained on; it is not modified.
        state: State dict in the layout of SAMed.
        path: Source for error messages.
        side: Image side in pixels: SAMed was trained at 512, derived models at others. Position
            vectors are resampled to it as in SAMed.

    Raises:
        DataError: Matrices are missing in the file, or it is from another SAM.
    """
    classes = _mask_tokens(state, path) - 1
    net = _network(base, side=side, classes=classes)
    whole = {
        name: tensor
        for name, tensor in base.state_dict().items()
        if name.startswith("vision_encoder.")
    }
    whole[_PLACES] = _resampled(whole[_PLACES], side // _patch(base), mode="bilinear")
    for name, tensor in net.state_dict().items():
        if ".rel_pos_" in name and whole[name].shape != tensor.shape:
            whole[name] = functional.interpolate(
                whole[name][None, None], tuple(tensor.shape), mode="bilinear", align_corners=False
            )[0, 0]
    _add_low_rank(whole, state, path, len(net.vision_encoder.layers))
    whole |= {
        transformers_name(name): tensor
        for name, tensor in state.items()
        if not re.fullmatch(r"w_[ab]_\d+", name)
    }
    whole["shared_image_embedding.positional_embedding"] = whole.get(_SHARED, torch.empty(0))
    put_state(net, whole, path, "SAMed")
    return net


def _mask_tokens(state: State, path: str) -> int:
    name = "mask_decoder.mask_tokens.weight"
    if name not in state:
        raise DataError(
            f"{path!r} has no {name}",
            "SAMed saves low-rank matrices, prompt encoder and mask decoder together.",
            "Use a file written by save_lora_parameters of SAMed.",
        )
    return int(state[name].shape[0])


def _add_low_rank(whole: dict[str, torch.Tensor], state: State, path: str, layers: int) -> None:
    """Add ``B A`` to the rows of queries and values in each block, in place."""
    count = sum(name.startswith("w_a_") for name in state)
    if count != 2 * layers:
        raise DataError(
            f"{path!r} has {count} matrices w_a_NNN for a SAM of {layers} blocks",
            "Queries and values of each block need one each.",
            "Use the SAM that it was trained on: sam-vit-base for vit_b.",
        )
    for layer in range(layers):
        name = f"vision_encoder.layers.{layer}.attn.qkv.weight"
        weight = whole[name].clone()
        dim = weight.shape[1]
        for number, rows in ((2 * layer, slice(0, dim)), (2 * layer + 1, slice(2 * dim, 3 * dim))):
            low, high = (state.get(f"w_{side}_{number:03d}") for side in "ab")
            if low is None or high is None or (high.shape[0], low.shape[1]) != (dim, dim):
                raise DataError(
                    f"{path!r} has no matrices w_a_{number:03d} and w_b_{number:03d} for "
                    f"{dim} dimensions",
                    "Expected shapes: (r, dim) and (dim, r).",
                    "Use the SAM that it was trained on: sam-vit-base for vit_b.",
                )
            weight[rows] += high.float() @ low.float()
        whole[name] = weight


# --- Med-SA ----------------------------------------------------------------------------------


class _Adapter(torch.nn.Module):
    """A bottleneck adapter with a quarter of the dimensions."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = torch.nn.Linear(dim, hidden)
        self.fc2 = torch.nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class _AdaptedLayer(torch.nn.Module):
    """A block of SAM with an adapter after its attention and one beside its MLP.

    Unlike SAM, Med-SA cuts the image into windows before the first norm, so that what fills up
    the last windows is the norm of zeros.
    """

    _BESIDE = 0.5  # weight of the adapter parallel to the MLP

    def __init__(self, layer: Any, dim: int, hidden: int) -> None:
        super().__init__()
        self.layer_norm1, self.layer_norm2 = layer.layer_norm1, layer.layer_norm2
        self.attn, self.mlp, self.window_size = layer.attn, layer.mlp, layer.window_size
        self.space_adapter, self.mlp_adapter = _Adapter(dim, hidden), _Adapter(dim, hidden)
        self._cut, self._join = layer.window_partition, layer.window_unpartition

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, shortcut, padded = (x.shape[1], x.shape[2]), x, (0, 0)
        if self.window_size > 0:
            x, padded = self._cut(x, self.window_size)
        x, _ = self.attn(hidden_states=self.layer_norm1(x))
        x = x + self.space_adapter(x)
        if self.window_size > 0:
            x = self._join(x, self.window_size, padded, size)
        x = shortcut + x
        normed = self.layer_norm2(x)
        return x + self.mlp(normed) + self._BESIDE * self.mlp_adapter(normed)


def with_adapters(base: Any, state: State, path: str) -> Any:
    """Return a SAM with the adapters of Med-SA for images of two dimensions.

    Args:
        base: A SAM of the same architecture; only its config is used.
        state: State dict in the layout of Med-SA: the whole network.
        path: Source for error messages.

    Raises:
        DataError: The file is from another SAM.
    """
    patch = _patch(base)
    # A global block has 2 n - 1 relative positions for n tokens along a side.
    seeing = f"image_encoder.blocks.{base.config.vision_config.global_attn_indexes[0]}"
    first = "image_encoder.blocks.0.MLP_Adapter.D_fc1.weight"
    for name in (f"{seeing}.attn.rel_pos_h", first):
        if name not in state:
            raise DataError(
                f"{path!r} has no {name}",
                "Med-SA saves the whole network.",
                "Use a checkpoint of Med-SA, and the SAM that it was built from.",
            )
    tokens = (state[f"{seeing}.attn.rel_pos_h"].shape[0] + 1) // 2
    net = _network(base, side=tokens * patch)
    dim = int(net.config.vision_config.hidden_size)
    hidden = int(state[first].shape[0])
    layers = net.vision_encoder.layers
    for i, layer in enumerate(layers):
        layers[i] = random_weights(functools.partial(_AdaptedLayer, layer, dim, hidden))
    whole = {transformers_name(name): tensor for name, tensor in state.items()}
    if _PLACES in whole:
        whole[_PLACES] = _resampled(whole[_PLACES], tokens, mode="bicubic")
    whole["shared_image_embedding.positional_embedding"] = whole.get(_SHARED, torch.empty(0))
    put_state(net, whole, path, "Med-SA", spare=lambda name: ".Depth_Adapter." in name)
    return net


def _network(base: Any, *, side: int, classes: int | None = None) -> Any:
    """Return a SAM with the config of another, for another size or number of masks."""
    from transformers import SamModel

    config = copy.deepcopy(base.config)
    patch = _patch(base)
    config.vision_config.image_size = side
    config.prompt_encoder_config.image_size = side
    config.prompt_encoder_config.image_embedding_size = side // patch
    if classes is not None:
        config.mask_decoder_config.num_multimask_outputs = classes
    return random_weights(lambda: SamModel(config)).eval()


def _patch(net: Any) -> int:
    return int(net.config.vision_config.patch_size)


def _resampled(places: torch.Tensor, side: int, *, mode: str) -> torch.Tensor:
    """Resample position vectors (1, g, g, d) to (1, side, side, d)."""
    if places.shape[1] == side:
        return places
    resampled = functional.interpolate(
        places.float().permute(0, 3, 1, 2), (side, side), mode=mode, align_corners=False
    )
    return resampled.permute(0, 2, 3, 1)
