"""CLIP (Radford et al. 2021, "Learning transferable visual models from natural language
supervision", ICML) from transformers.

The embedding is the projected class token, the tokens are the last layer's patches before any
projection: another space. Parts of an image are pooled by the attention of the last block.
Deviation: tiles are resampled as a whole to the crop size; the published preprocessing takes a
centre crop.
"""  # noqa: D205

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.models.families._repool import Pooling
from foveate.models.families.hf.common import (
    check_options,
    load_network,
    load_tokenizer,
    pooled,
)
from foveate.models.families.hf.dual import DualEncoder
from foveate.models.preprocess import on_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families.hf.family import Checkpoint


class Clip(DualEncoder):
    """A frozen CLIP; see `foveate.models.families.hf.dual.DualEncoder`."""

    def _places(self, x: torch.Tensor) -> torch.Tensor:
        output = self._net.vision_model(x, interpolate_pos_encoding=self._resized(x))
        patches = output.last_hidden_state[:, 1:]  # the first is the class token
        return on_grid(patches, (int(x.shape[2]), int(x.shape[3])))

    def _pooling(self) -> Pooling:
        tower = self._net.vision_model
        block = tower.encoder.layers[-1]
        attention, norm = block.self_attn, block.layer_norm1

        def finish(z: torch.Tensor, stream: torch.Tensor) -> torch.Tensor:
            x = stream + attention.out_proj(z)
            x = tower.post_layernorm(x + block.mlp(block.layer_norm2(x)))
            return self._net.visual_projection(x)

        return Pooling(
            block, attention.num_heads, lambda x: attention.q_proj(norm(x[:, 0])),
            lambda x: attention.k_proj(norm(x)), lambda x: attention.v_proj(norm(x)), finish,
            class_token=True,
        )  # fmt: skip

    def _texts(self, texts: list[str]) -> torch.Tensor:
        # Taken from the end-of-text token of a causal model: padding after it has no effect.
        marks = self._read(texts, padding=True)
        return pooled(
            self._net.get_text_features(marks["input_ids"], attention_mask=marks["attention_mask"])
        )


def build(handle: ModelHandle, checkpoint: Checkpoint, bands: Sequence[int], scale: Scale) -> Clip:
    """Build a CLIP; see `foveate.models.families.hf.family.Builder`."""
    from transformers import CLIPModel

    check_options(handle)
    net: Any = load_network(checkpoint, CLIPModel)
    tokenizer = load_tokenizer(checkpoint)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Clip.freeze(
        handle, checkpoint, net, bands, scale, tokenizer=tokenizer,
        side=net.config.vision_config.image_size, dim=net.config.projection_dim, head="cosine",
    )  # fmt: skip
