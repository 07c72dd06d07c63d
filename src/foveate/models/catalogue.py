"""Catalogue of recommended models, their capabilities, and how to get their weights.

The catalogue is not a restriction: any name accepted by a family works. Licences are those stated
by the publishers of the weights, as far as they could be confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foveate.models.extras import EXTRAS

if TYPE_CHECKING:
    from foveate.models.extras import Extra

_CARD = "see its model card"
_HUB = "fetched from the Hugging Face hub"


@dataclass(frozen=True)
class Entry:
    """One model.

    Attributes:
        name: Value of ``--model``; parts in capitals are placeholders.
        what: Description.
        can: Capabilities; see `foveate.models.capabilities.CAPABILITIES`.
        size: Side in pixels that images are resampled to, or None for any.
        bands: Number of bands, or None for any.
        licence: Licence of the weights.
        get: How to get the weights.
        local: Whether the weights are a local file, given with ``--weights``.
    """

    name: str
    what: str
    can: tuple[str, ...]
    size: int | None
    bands: int | None
    licence: str
    get: str
    local: bool = False

    @property
    def family(self) -> str:
        """Family of the model."""
        return self.name.partition(":")[0]

    @property
    def extra(self) -> Extra:
        """Extra that must be installed."""
        return EXTRAS[self.family]

    def to_dict(self) -> dict[str, Any]:
        """Return the entry and its missing packages, JSON-ready."""
        return {
            "name": self.name, "what": self.what, "can": list(self.can), "size": self.size,
            "bands": self.bands, "licence": self.licence, "get": self.get, "local": self.local,
            "family": self.family, "extra": self.extra.name, "missing": self.extra.missing(),
        }  # fmt: skip


_VECTORS = ("embed",)
_TOKENS = ("embed", "tokens", "sizes")
_TEXT = ("embed", "tokens", "sizes", "text")
_CLIP = ("embed", "tokens", "parts", "sizes", "text")
_ANSWERS = ("embed", "tokens", "answers", "answer_loss")
_MASKS = ("embed", "tokens", "masks")

CATALOGUE: tuple[Entry, ...] = (
    Entry(
        "builtin", "texture and spectral statistics", _VECTORS, None, None, "Apache-2.0",
        "no weights",
    ),
    Entry("timm:resnet18", "ResNet-18, ImageNet", _TOKENS, 224, 3, "Apache-2.0", _HUB),
    Entry("timm:mobilenetv2_100", "MobileNetV2, ImageNet", _TOKENS, 224, 3, "Apache-2.0", _HUB),
    Entry(
        "timm:vit_small_patch14_dinov2", "DINOv2 ViT-S/14, self-supervised", _TOKENS, 518, 3,
        "Apache-2.0", _HUB,
    ),
    Entry(
        "timm:swin_tiny_patch4_window7_224", "Swin-T, ImageNet", _TOKENS, 224, 3, "MIT", _HUB
    ),
    Entry(
        "timm:swin_large_patch4_window7_224", "Swin-L, ImageNet-22k", _TOKENS, 224, 3, "MIT", _HUB
    ),
    Entry(
        "timm:vit_base_patch32_224", "ViT-B/32, ImageNet-21k", _TOKENS, 224, 3, "Apache-2.0", _HUB
    ),
    Entry(
        "timm:vit_large_patch14_clip_224.openai", "ViT-L/14, image tower of CLIP", _TOKENS, 224, 3,
        "Apache-2.0", _HUB,
    ),
    Entry(
        "open_clip:ViT-B-32@laion2b_s34b_b79k", "CLIP ViT-B/32, LAION-2B", _CLIP, 224, 3, "MIT",
        _HUB,
    ),
    Entry(
        "open_clip:ViT-B-32", "RemoteCLIP ViT-B/32, remote sensing", _CLIP, 224, 3, _CARD,
        "RemoteCLIP-ViT-B-32.pt of chendelong/RemoteCLIP on the Hugging Face hub", local=True,
    ),
    Entry(
        "open_clip:ViT-B-32-quickgelu", "GeoRSCLIP ViT-B/32, remote sensing (RS5M)", _CLIP, 224,
        3, "CC-BY-4.0", "ckpt/RS5M_ViT-B-32.pt of Zilun/GeoRSCLIP on the Hugging Face hub",
        local=True,
    ),
    Entry(
        "open_clip:ViT-B-32", "SkyCLIP ViT-B/32, remote sensing (SkyScript)", _CLIP, 224, 3,
        "MIT", "SkyCLIP_ViT_B32_top50pct.zip, linked from github.com/wangzhecheng/SkyScript",
        local=True,
    ),
    Entry(
        "open_clip:ViT-B-32-quickgelu", "CLIP-RSICD v2 ViT-B/32, remote sensing captions", _CLIP,
        224, 3, _CARD, "pytorch_model.bin of flax-community/clip-rsicd-v2 on the Hugging Face hub",
        local=True,
    ),
    Entry(
        "open_clip:ViT-B-32", "ContextCLIP, in the names of open_clip", _CLIP, 224, 3, _CARD,
        "a checkpoint of your own, and the architecture of its training; no released one was found",
        local=True,
    ),
    Entry("hf:openai/clip-vit-base-patch32", "CLIP ViT-B/32", _CLIP, 224, 3, _CARD, _HUB),
    Entry("hf:openai/clip-vit-large-patch14", "CLIP ViT-L/14", _CLIP, 224, 3, _CARD, _HUB),
    Entry("hf:google/siglip2-base-patch16-224", "SigLIP 2 ViT-B/16", _CLIP, 224, 3, _CARD, _HUB),
    Entry("hf:llava-hf/llava-1.5-7b-hf", "LLaVA 1.5, 7B", _ANSWERS, 336, 3, "Llama 2", _HUB),
    Entry(
        "hf:llava-hf/llava-v1.6-mistral-7b-hf", "LLaVA-NeXT (1.6), Mistral 7B", _ANSWERS, None, 3,
        "Apache-2.0", _HUB,
    ),
    Entry(
        "hf:llava-hf/llama3-llava-next-8b-hf", "LLaVA-NeXT, Llama 3 8B", _ANSWERS, None, 3,
        "Llama 3", _HUB,
    ),
    Entry(
        "hf:Qwen/Qwen2-VL-7B-Instruct", "Qwen2-VL, 7B", _ANSWERS, None, 3, "Apache-2.0", _HUB
    ),
    Entry(
        "hf:Qwen/Qwen2-VL-2B-Instruct", "Qwen2-VL, 2B", _ANSWERS, None, 3, "Apache-2.0", _HUB
    ),
    Entry(
        "hf:Qwen/Qwen2.5-VL-3B-Instruct", "Qwen2.5-VL, 3B", _ANSWERS, None, 3, "Qwen Research",
        _HUB,
    ),
    Entry("hf:Salesforce/blip2-opt-2.7b", "BLIP-2, OPT 2.7B", _ANSWERS, 224, 3, "MIT", _HUB),
    Entry(
        "hf:facebook/sam-vit-base", "Segment Anything ViT-B", _MASKS, 1024, 3, "Apache-2.0", _HUB
    ),
    Entry(
        "hf:facebook/sam-vit-huge", "Segment Anything ViT-H", _MASKS, 1024, 3, "Apache-2.0", _HUB
    ),
    Entry(
        "hf:facebook/sam-vit-base?adapter=FILE", "Med-SA, adapters in SAM", _MASKS, 1024, 3, _CARD,
        "a checkpoint of MedicineToken/Medical-SAM-Adapter; see docs/segmenters.md",
    ),
    Entry(
        "hf:facebook/sam-vit-base?adapter=FILE&class=N", "SAMed, low rank in SAM", _MASKS, 512, 3,
        _CARD, "a file of hitachinsk/SAMed; see docs/segmenters.md",
    ),
    Entry(
        "torchgeo:resnet50@SENTINEL2_ALL_MOCO", "ResNet-50, Sentinel-2, self-supervised", _TOKENS,
        224, 13, "CC-BY-4.0", _HUB,
    ),
    Entry(
        "tuned:MODEL", "text tuned to a frozen encoder by tune-text", _TEXT, None, None, "yours",
        "trained by you",
    ),
    Entry(
        "callable", "BLO-SAM, OVSAM, ClipSAM; in Python only: docs/segmenters.md",
        ("embed", "masks"), None, 3, _CARD, "from their repositories",
    ),
    Entry(
        "callable", "any function; in Python only: from_callable", _VECTORS, None, None, "yours",
        "written by you",
    ),
)  # fmt: skip
