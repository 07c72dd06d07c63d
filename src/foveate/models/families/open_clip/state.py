"""Published CLIP weights as open_clip names them.

Three forms are about. Files of open_clip and of what was trained with it (RemoteCLIP, GeoRSCLIP,
SkyCLIP) fit as they are, the latter as training checkpoints. Where a network keeps its text tower
apart, older files do not. And `CLIPModel` of transformers (CLIP-RSICD) has other names, separate
query, key and value matrices, and transposed projections.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

_LAYER = re.compile(r"(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_IN_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_ELSEWHERE = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",  # spelled so
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
_PROJECTIONS = {
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text_projection",
}
_TEXT_TOWER = (
    "positional_embedding",
    "text_projection",
    "token_embedding.",
    "transformer.",
    "ln_final.",
)
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # of files by OpenAI


def to_open_clip(state: State, own: State) -> State:
    """Return weights under the names of an open_clip network.

    Args:
        state: Named tensors as published.
        own: Named tensors of the network, which decide on the form.
    """
    if "vision_model.embeddings.class_embedding" in state:
        state = _from_transformers(state)
    if not any(name in own for name in ("positional_embedding", "token_embedding.weight")):
        # The network keeps its text tower apart.
        state = {
            f"text.{name}" if name.startswith(_TEXT_TOWER) else name: tensor
            for name, tensor in state.items()
        }
    # Temperatures are numbers in some files and lists of one in others.
    return {
        name: tensor.reshape(own[name].shape)
        if name in {"logit_scale", "logit_bias"} and name in own
        else tensor
        for name, tensor in state.items()
    }


def is_spare(name: str) -> bool:
    """Say of a name in a file that it is no weight: a counter, a mask, a fact."""
    return name in _NO_WEIGHTS or name.endswith(("position_ids", "attn_mask"))


def _from_transformers(state: State) -> State:
    import torch

    found: State = {}
    for name, tensor in state.items():
        if name in _PROJECTIONS:
            found[_PROJECTIONS[name]] = tensor.T
            continue
        layer = _LAYER.fullmatch(name)
        if layer is None:
            found[_ELSEWHERE.get(name, name)] = tensor
            continue
        tower, number, part, kind = layer.groups()
        block = "visual." if tower == "vision" else ""
        block += f"transformer.resblocks.{number}"
        if part in _IN_LAYER:
            found[f"{block}.{_IN_LAYER[part]}.{kind}"] = tensor
        elif part == _PARTS[0]:
            names = [name.replace(part, other) for other in _PARTS]
            if all(other in state for other in names):
                joined = torch.cat([state[other] for other in names])
                found[f"{block}.attn.in_proj_{kind}"] = joined
        elif part not in _PARTS:
            found[name] = tensor
    return found
