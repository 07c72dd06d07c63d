"""The LR fill: what HR tokens look like, as far as the overview alone tells.

It is the baseline that completion has to beat, and what the predictor starts from. The linear part
has a closed form (ridge regression); a small convolutional part may learn what that lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from foveate.errors import DataError
from foveate.observe.networks.layout import around, pooled, repeat, to_tiles, to_tokens
from foveate.observe.networks.ridge import Ridge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from foveate.observe.networks.sizes import Shape


class Blocks(nn.Module):
    """What sees neighbours: 1 x 1, then residual 3 x 3 depthwise and 1 x 1, then the whole scene.

    Args:
        inputs: Channels of what comes in.
        width: Channels inside and out.
        depth: Residual steps.
        dropout: After each.
    """

    def __init__(self, inputs: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.inlet = nn.Conv2d(inputs, width, 1)
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, width),
                nn.Conv2d(width, width, 3, padding=1, groups=width, padding_mode="replicate"),
                nn.GELU(),
                nn.Conv2d(width, width, 1),
                nn.Dropout(dropout),
            )
            for _ in range(depth)
        )
        self.scene = nn.Linear(width, width)

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Turn (b, R, C, inputs) into (b, R, C, width)."""
        x = self.inlet(self.norm(tiles).permute(0, 3, 1, 2))
        for step in self.steps:
            x = x + step(x)
        x = x.permute(0, 2, 3, 1)
        return x + self.scene(x.mean((1, 2), keepdim=True))


class Fill(nn.Module):
    """From LR tokens to HR tokens of every tile.

    Args:
        shape: Sizes.
        conv: Whether it has the convolutional part; it starts at nothing.
    """

    def __init__(self, shape: Shape, *, conv: bool) -> None:
        super().__init__()
        self.shape = shape
        out = shape.queries**2 * shape.hr_dim
        self.linear = nn.Linear(features(shape), out)
        self.blocks: Blocks | None = None
        if conv:
            inputs = shape.lr_side**2 * shape.lr_dim
            self.blocks = Blocks(inputs, shape.sampler, 2, shape.dropout)
            self.outlet = nn.Linear(shape.sampler, out)
            nn.init.zeros_(self.outlet.weight)
            nn.init.zeros_(self.outlet.bias)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """Fill every HR token.

        Args:
            lr: (b, R * r, C * r, lr_dim) LR tokens.

        Returns:
            (b, R * k, C * k, hr_dim) HR tokens.
        """
        return repeat(self.coarse(lr), self.shape.pool)

    @torch.no_grad()
    def put(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Set the linear part."""
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)

    def coarse(self, lr: torch.Tensor) -> torch.Tensor:
        """Fill at the resolution of the queries: (b, R * q, C * q, hr_dim)."""
        filled = self.linear(context(lr, self.shape))
        if self.blocks is not None:
            filled = filled + self.outlet(self.blocks(to_tiles(lr, self.shape.lr_side)))
        return to_tokens(filled, self.shape.queries)


def features(shape: Shape) -> int:
    """Return the length of `context`."""
    return (shape.lr_side**2 + 2) * shape.lr_dim


def context(lr: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Return what the linear fill sees of a tile: its LR tokens, its neighbours', the scene's.

    Args:
        lr: (b, R * r, C * r, lr_dim).
        shape: Sizes.

    Returns:
        (b, R, C, features).
    """
    mean = pooled(lr, shape.lr_side)
    scene = mean.mean((1, 2), keepdim=True).expand_as(mean)
    return torch.cat([to_tiles(lr, shape.lr_side), around(mean), scene], dim=-1)


@torch.no_grad()
def sums(
    fill: Fill, lr: torch.Tensor, hr: torch.Tensor, here: torch.Tensor | NDArray[np.bool_]
) -> Ridge:
    """Return what the linear part is solved from: sums over all tiles that there are.

    Args:
        fill: Whose sizes count.
        lr: (s, R * r, C * r, lr_dim).
        hr: (s, R * k, C * k, hr_dim).
        here: (s, R, C) bool: tiles to learn from.

    Raises:
        DataError: There are no tiles.
    """
    shape = fill.shape
    ridge = Ridge(features(shape), fill.linear.out_features)
    for scene in range(len(lr)):
        x = context(lr[[scene]].float(), shape)[0][here[scene]]
        means = to_tiles(pooled(hr[[scene]].float(), shape.pool), shape.queries)
        ridge.add(x, means[0][here[scene]])
    if not ridge.weight:
        raise DataError("no tiles to fit the LR fill on", "One tile at least is needed.")
    return ridge


def solve(
    fill: Fill,
    lr: torch.Tensor,
    hr: torch.Tensor,
    here: torch.Tensor | NDArray[np.bool_],
    strength: float,
) -> None:
    """Set the linear part to its closed form: ridge regression over all tiles that there are.

    Args:
        fill: Changed in place.
        lr: (s, R * r, C * r, lr_dim).
        hr: (s, R * k, C * k, hr_dim).
        here: (s, R, C) bool: tiles to learn from.
        strength: Of the penalty, as a share of the mean variance of the inputs.

    Raises:
        DataError: There are no tiles.
    """
    fill.put(*sums(fill, lr, hr, here).solve(strength))
