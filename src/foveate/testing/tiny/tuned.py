"""A tiny tuned model: towers with random weights over a tiny network with local weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BASE = "timm:mobilenetv2_050?size=64"
_BANDS, _SCALE = (1, 2, 3), ((0.0, 255.0),) * 3


def tuned(folder: Path) -> tuple[str, None]:
    """Write a tuned model over a convolutional network, whose tokens it projects."""
    import timm
    import torch
    from safetensors.torch import save_file

    from foveate.models import load_model
    from foveate.models.load import FAMILIES
    from foveate.models.tune_text.network import Pair, Shape
    from foveate.models.tune_text.store import Record, copy_base, save
    from foveate.models.weights import random_weights

    net = random_weights(lambda: timm.create_model("mobilenetv2_050", num_classes=0))
    save_file(net.state_dict(), folder / "weights.safetensors")
    handle = load_model(_BASE, weights=folder / "weights.safetensors", device="cpu")
    spec = FAMILIES.get("timm").build(handle, _BANDS, _SCALE).spec
    shape = Shape(spec.dim, dim=16, width=32, layers=1)
    middle = torch.full((spec.dim,), 0.1)
    towers = random_weights(lambda: Pair(shape, middle, middle.clone(), bias=-3.0))
    record = Record(
        **copy_base(handle, spec, folder / "model"),
        base_spec=spec,
        dtype="uint8",
        shape=shape,
        training={"captions": "none: random weights"},
    )
    save(folder / "model", towers, record)
    return f"tuned:{folder}", None
