"""SigLIP (Zhai et al. 2023, "Sigmoid loss for language image pre-training", ICCV) and SigLIP 2
(Tschannen et al. 2025, arXiv:2502.14786) from transformers.

The embedding is pooled from the patches by attention; the tokens are the patches themselves, in
another space. SigLIP 2 comes in two forms: checkpoints of one resolution have the architecture
of SigLIP, NaFlex checkpoints support any number of patches.

Deviation: tiles of a NaFlex model are resampled to one square, too; none of its patches is
padding.
"""  # noqa: D205

from __future__ import annotations

import math
import string
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError
from foveate.models.families._repool import Pooling, joint_projections
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

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Siglip(DualEncoder):
    """A frozen SigLIP of one resolution; see `foveate.models.families.hf.dual.DualEncoder`."""

    def _places(self, x: torch.Tensor) -> torch.Tensor:
        output = self._net.vision_model(x, interpolate_pos_encoding=self._resized(x))
        return on_grid(output.last_hidden_state, (int(x.shape[2]), int(x.shape[3])))

    def _pooling(self) -> Pooling:
        head = self._net.vision_model.head
        query, key, value = joint_projections(head.attention)

        def finish(z: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            x = head.attention.out_proj(z)
            return x + head.mlp(head.layernorm(x))

        return Pooling(
            head, head.attention.num_heads, lambda x: query(head.probe[0]).expand(len(x), -1),
            key, value, finish, class_token=False,
        )  # fmt: skip

    def _texts(self, texts: list[str]) -> torch.Tensor:
        # Trained on lower-cased texts of one length with attention to padding: no mask.
        marks = self._read(texts, padding="max_length")
        return pooled(self._net.get_text_features(marks["input_ids"]))


class NaFlex(Siglip):
    """A frozen SigLIP 2 for any number of patches."""

    def _vectors(self, x: torch.Tensor) -> torch.Tensor:
        return pooled(self._net.get_image_features(**self._patches(x)))

    def _places(self, x: torch.Tensor) -> torch.Tensor:
        output = self._net.vision_model(**self._patches(x))
        return on_grid(output.last_hidden_state, (int(x.shape[2]), int(x.shape[3])))

    def _patches(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Convert (b, c, height, width) to the inputs of a NaFlex model.

        Returns:
            pixel_values (b, n, p * p * c) row-major patches, each row by row with the channels
            of a pixel together; pixel_attention_mask (b, n) ones; spatial_shapes (b, 2) rows and
            columns of patches.
        """
        import torch

        p = self._net.config.vision_config.patch_size
        b, c, height, width = x.shape
        gh, gw = height // p, width // p
        patches = x.reshape(b, c, gh, p, gw, p).permute(0, 2, 4, 3, 5, 1)
        return {
            "pixel_values": patches.reshape(b, gh * gw, p * p * c),
            "pixel_attention_mask": torch.ones(b, gh * gw, dtype=torch.int32, device=x.device),
            "spatial_shapes": torch.tensor([[gh, gw]], device=x.device).expand(b, 2),
        }


def build(
    handle: ModelHandle, checkpoint: Checkpoint, bands: Sequence[int], scale: Scale
) -> Siglip:
    """Build a SigLIP or SigLIP 2; see `foveate.models.families.hf.family.Builder`."""
    from transformers import Siglip2Model, SiglipModel

    check_options(handle)
    flexible = checkpoint.model_type == "siglip2"
    net: Any = load_network(checkpoint, Siglip2Model if flexible else SiglipModel)
    vision = net.config.vision_config
    if not vision.vision_use_head:
        raise DataError(
            f"the model in {str(checkpoint.folder)!r} has no pooling head (vision_use_head)",
            "It is required for image embeddings.",
        )
    side = vision.patch_size * math.isqrt(vision.num_patches) if flexible else vision.image_size
    return (NaFlex if flexible else Siglip).freeze(
        handle, checkpoint, net, bands, scale, tokenizer=load_tokenizer(checkpoint), side=side,
        dim=vision.hidden_size, head="sigmoid",
        written=_plain if _without_punctuation(checkpoint) else str.lower,
    )  # fmt: skip


def _without_punctuation(checkpoint: Checkpoint) -> bool:
    """Return whether the training texts had no punctuation: only for the first SigLIP."""
    kind = checkpoint.read_json("tokenizer_config.json").get("tokenizer_class")
    return kind in {"SiglipTokenizer", "SiglipTokenizerFast"}


def _plain(text: str) -> str:
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())
