"""Image towers for other sizes of input, over the same weights.

Vision transformers get other position vectors (bicubic, antialiased, as open_clip loads weights for
another size). Towers of timm have a method of their own, or take any size. The attention pool of
CLIP's ResNets has a fixed number of places: they take the size of their training only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.models.families._sizes import find_sizes, reduction

if TYPE_CHECKING:
    from foveate.models.families._sizes import Resize, Sizes
    from foveate.models.frozen import Frozen


def image_sizes(frozen: Frozen, dim: int) -> Sizes | None:
    """Return the sizes that the image tower takes; None where it takes its own only.

    Args:
        frozen: Both towers.
        dim: Length of a vector.
    """
    net: Any = frozen.net
    return find_sizes(
        frozen,
        step=_step(net.visual),
        dim=dim,
        forward=lambda net, x: net.encode_image(x, normalize=False),
        resize=_way(net.visual),
    )


def _step(visual: Any) -> int:
    if hasattr(visual, "trunk"):
        return reduction(visual.trunk)
    return max(getattr(visual, "patch_size", (reduction(visual),)))


def _way(visual: Any) -> Resize | None:
    if hasattr(visual, "positional_embedding"):
        return _resize_own
    by_timm = hasattr(visual, "trunk") and hasattr(visual.trunk, "set_input_size")
    return _resize_trunk if by_timm else None


def _resize_own(net: Any, size: tuple[int, int]) -> None:
    from timm.layers import resample_abs_pos_embed
    from torch import nn

    visual = net.visual
    old = visual.grid_size
    visual.image_size = size
    visual.grid_size = (size[0] // visual.patch_size[0], size[1] // visual.patch_size[1])
    places = resample_abs_pos_embed(
        visual.positional_embedding[None], list(visual.grid_size), list(old), num_prefix_tokens=1
    )
    visual.positional_embedding = nn.Parameter(places[0], requires_grad=False)


def _resize_trunk(net: Any, size: tuple[int, int]) -> None:
    net.visual.image_size = size
    net.visual.trunk.set_input_size(size)
