"""The sampler (section 4.2): from the overview alone to what each HR tile is worth.

It sees neighbours and the whole scene, and shares the LR encoder: no pass of its own. Besides the
LR tokens it sees what the LR fill makes of them, which is a function of the same tokens. Several
heads, each trained on its own draw of the scenes, tell how sure it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from foveate.observe.networks.fill import Blocks
from foveate.observe.networks.layout import pooled, to_tiles

if TYPE_CHECKING:
    from foveate.observe.networks.shape import Shape


class Sampler(nn.Module):
    """See the head of this file.

    Args:
        shape: Sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        inputs = shape.lr_side**2 * shape.lr_dim + shape.hr_dim
        self.members = nn.ModuleList(
            Blocks(inputs, shape.sampler, 2, shape.dropout) for _ in range(shape.ensemble)
        )
        self.outlets = nn.ModuleList(nn.Linear(shape.sampler, 1) for _ in range(shape.ensemble))

    def forward(self, lr: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
        """Return logits of what tiles are worth.

        Args:
            lr: (b, R * r, C * r, lr_dim) LR tokens.
            fill: (b, R * q, C * q, hr_dim) what the LR fill makes of them, at any resolution.

        Returns:
            (b, R, C, ensemble).
        """
        tiles = to_tiles(lr, self.shape.lr_side)
        x = torch.cat([tiles, pooled(fill, fill.shape[1] // tiles.shape[1])], dim=-1)
        found = [o(m(x)) for m, o in zip(self.members, self.outlets, strict=True)]
        return torch.cat(found, dim=-1)
