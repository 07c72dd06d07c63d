"""Published checkpoints whose layout differs from that of their network.

- Masked autoencoders (MAE, SatMAE with three bands, Cross-Scale MAE of Tang et al. 2023): a vision
  transformer of timm, with a decoder and a mask token besides. Cross-Scale MAE calls the blocks
  ``encoder.N``, and has a predictor between its scales.
- GRAFT (Mall et al. 2023): the vision tower of CLIP below ``satellite_image_backbone``, with its
  projection, and a projector of patches, which the embedding of an image does not use. Its texts
  are those of CLIP, which the file does not hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    State = dict[str, torch.Tensor]

_DECODER = ("mask_token", "decoder_", "decoder.", "predictor.")
_CROSS_SCALE = {"encoder_pos_embed": "pos_embed", "encoder_norm.": "norm.", "encoder.": "blocks."}
_BACKBONE = "satellite_image_backbone."
_TEXTS = ("text_model.", "text_projection.")


def without_decoder(state: Mapping[str, torch.Tensor]) -> State:
    """Convert a masked autoencoder's encoder to the names of timm; return others unchanged."""
    if "mask_token" not in state or not any(name.startswith("decoder") for name in state):
        return dict(state)
    encoder: State = {}
    cross = "encoder_pos_embed" in state
    for name, tensor in state.items():
        if name.startswith(_DECODER):
            continue
        new_name = name
        for old, new in _CROSS_SCALE.items() if cross else ():
            if name.startswith(old):
                new_name = new + name.removeprefix(old)
                break
        encoder[new_name] = tensor
    return encoder


def is_graft(state: Mapping[str, torch.Tensor]) -> bool:
    """Return whether weights are from GRAFT."""
    return any(name.startswith(_BACKBONE) for name in state)


def from_graft(
    state: Mapping[str, torch.Tensor], texts: Mapping[str, torch.Tensor], path: str | Path
) -> State:
    """Convert weights to the parameter names of `CLIPModel` of transformers.

    Args:
        state: Those of GRAFT.
        texts: Those of CLIP in the layout of transformers, for its text tower.
        path: Of `texts`, for the message.

    Raises:
        DataError: `texts` has no text tower in that layout.
    """
    image_tower = {
        name.removeprefix(_BACKBONE): tensor
        for name, tensor in state.items()
        if name.startswith(_BACKBONE)
    }
    text_tower = {name: tensor for name, tensor in texts.items() if name.startswith(_TEXTS)}
    if not text_tower:
        raise DataError(
            f"the weights {str(path)!r} contain no text tower in the format of transformers",
            "GRAFT uses the text tower of CLIP: text_model.* and text_projection.weight.",
            "Use the weights of openai/clip-vit-base-patch16: ?text_weights=FILE.",
        )
    # A temperature of GRAFT is kept, where there is one; else that of CLIP.
    scale = {"logit_scale": texts["logit_scale"]} if "logit_scale" in texts else {}
    return {**scale, **text_tower, **image_tower}
