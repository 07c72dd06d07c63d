"""Tiny models of every family, made on the spot: random weights, no download.

    from foveate.testing.tiny import tiny_model

    name, weights = tiny_model("open_clip", folder)
    model = load_model(name, weights=weights)

Each takes milliseconds per image. What they return means nothing; how they return it is what
the large ones do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Builder = Callable[[Path], tuple[str, Path | None]]

KINDS: Registry[Builder] = Registry(
    "tiny model",
    {
        "open_clip": "foveate.testing.tiny.open_clip:transformer",
        "open_clip_resnet": "foveate.testing.tiny.open_clip:resnet",
        "timm_vit": "foveate.testing.tiny.backbones:vit",
        "timm_swin": "foveate.testing.tiny.backbones:swin",
        "timm_cnn": "foveate.testing.tiny.backbones:cnn",
        "torchgeo": "foveate.testing.tiny.backbones:torchgeo",
        "tuned": "foveate.testing.tiny.tuned:tuned",
        "hf_clip": "foveate.testing.tiny.hf:clip",
        "hf_siglip": "foveate.testing.tiny.hf:siglip",
        "hf_siglip2": "foveate.testing.tiny.hf:siglip2",
        "hf_sam": "foveate.testing.tiny.hf:sam",
        "hf_llava": "foveate.testing.tiny.hf_generative:llava",
        "hf_llava_next": "foveate.testing.tiny.hf_generative:llava_next",
        "hf_llava_next_llama3": "foveate.testing.tiny.hf_generative:llava_next_llama3",
        "hf_qwen2_vl": "foveate.testing.tiny.hf_generative:qwen2_vl",
        "hf_qwen2_5_vl": "foveate.testing.tiny.hf_generative:qwen2_5_vl",
        "hf_blip2": "foveate.testing.tiny.hf_generative:blip2",
    },
)


def tiny_model(kind: str, folder: Path) -> tuple[str, Path | None]:
    """Make a tiny model.

    Args:
        kind: A name in `KINDS`.
        folder: Where its files go, if it needs any; it is made if it is not there.

    Returns:
        The name for `foveate.models.load_model`, and its weights or None.

    Raises:
        UnknownNameError: No such kind.
    """
    build = KINDS.get(kind)
    folder.mkdir(parents=True, exist_ok=True)
    return build(folder)
