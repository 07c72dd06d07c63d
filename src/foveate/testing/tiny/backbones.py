"""Tiny image backbones of timm and torchgeo: all that describes them is in the name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def vit(folder: Path) -> tuple[str, None]:  # noqa: ARG001
    """Name a transformer of two blocks with a class token, 8 x 8 tokens."""
    options = "size=64&img_size=64&patch_size=8&embed_dim=32&depth=2&num_heads=4"
    return f"timm:vit_tiny_patch16_224@random?{options}", None


def swin(folder: Path) -> tuple[str, None]:  # noqa: ARG001
    """Name a hierarchical transformer that keeps channels last, 4 x 4 tokens."""
    options = "size=128&img_size=128&window_size=4&embed_dim=16&depths=[1,1,1,1]"
    return f"timm:swin_tiny_patch4_window7_224@random?{options}", None


def cnn(folder: Path) -> tuple[str, None]:  # noqa: ARG001
    """Name a convolutional network whose tokens are its features before the pooling, 4 x 4."""
    return "timm:mobilenetv2_050@random?size=128", None


def torchgeo(folder: Path) -> tuple[str, None]:  # noqa: ARG001
    """Name a network of torchgeo for three bands."""
    return "torchgeo:resnet18@random?size=64&in_chans=3", None
