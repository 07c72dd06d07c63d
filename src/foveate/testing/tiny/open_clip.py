"""Tiny models of open_clip, as configuration files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

_TEXT = {"context_length": 16, "width": 32, "heads": 4, "layers": 2}


def transformer(folder: Path) -> tuple[str, None]:
    """Describe a model with a vision transformer: 64 x 64 pixels, 8 x 8 tokens, 16-d vectors."""
    vision = {"image_size": 64, "patch_size": 8, "layers": 2, "width": 32, "head_width": 8}
    return _described(folder, "tiny-vit.json", vision), None


def resnet(folder: Path) -> tuple[str, None]:
    """Describe a model with the convolutional tower of CLIP: 96 x 96 pixels, 3 x 3 tokens."""
    vision = {"image_size": 96, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}
    return _described(folder, "tiny-resnet.json", vision), None


def _described(folder: Path, file: str, vision: dict[str, Any]) -> str:
    write_json(folder / file, {"embed_dim": 16, "vision_cfg": vision, "text_cfg": _TEXT})
    return f"open_clip:{folder / file}@random"
