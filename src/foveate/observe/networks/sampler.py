"""The sampler (section 4.2): predicts the value of each HR tile from the overview alone.

Its inputs include neighbours and the whole scene. It shares the LR encoder, so no further encoding
is needed. Besides the LR tokens, its inputs are the LR fill, and the probabilities of a linear
concept probe on the LR fill: the gain is highest where they are uncertain. Both are functions of
the LR tokens.

As in the predictor, the linear part has a closed-form solution, and blocks learn its residual. An
ensemble of heads, each trained on a bootstrap sample of the scenes, estimates the uncertainty.

With ``shape.plain`` it is the sampler of the paper: a network from LR tokens to a score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from foveate.observe.networks.lr_fill import Blocks, around, pooled, to_tiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from foveate.observe.networks.sizes import Shape

_SLOPE = 4.0  # slope of the logit function at 1/2


class Sampler(nn.Module):
    """Sampler network; see the module docstring.

    Args:
        shape: Network sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        concepts = 0 if shape.plain else shape.concepts
        self.told = nn.Linear(shape.hr_dim, concepts) if concepts else None
        if self.told is not None:
            self.told.requires_grad_(requires_grad=False)
        self.linear = nn.Linear(shape.hr_dim + 4 * concepts, shape.ensemble)
        inputs = shape.lr_side**2 * shape.lr_dim + (0 if shape.plain else shape.hr_dim)
        self.members = nn.ModuleList(
            Blocks(inputs, shape.sampler, 2, shape.dropout) for _ in range(shape.ensemble)
        )
        self.outlets = nn.ModuleList(nn.Linear(shape.sampler, 1) for _ in range(shape.ensemble))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        if shape.plain:
            self.linear.requires_grad_(requires_grad=False)

    @torch.no_grad()
    def set_concept_probe(self, weight: NDArray[np.floating], bias: NDArray[np.floating]) -> None:
        """Load the frozen linear concept probe of mean HR tokens; ignored without concepts.

        Args:
            weight: (concepts, hr_dim).
            bias: (concepts,).
        """
        if self.told is not None:
            self.told.weight.copy_(torch.from_numpy(weight.copy()))
            self.told.bias.copy_(torch.from_numpy(bias.copy()))

    @torch.no_grad()
    def set_linear(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Set the linear part to a regression of values from 0 to 1, and zero the blocks.

        Args:
            weight: (ensemble, ...) weights of `evidence`.
            bias: (ensemble,).
        """
        self.linear.weight.copy_(_SLOPE * weight)
        self.linear.bias.copy_(_SLOPE * (bias - 0.5))
        self.zero_residual()

    @torch.no_grad()
    def zero_residual(self) -> None:
        """Zero-initialise the output layers of the blocks."""
        for outlet in self.outlets:
            for parameter in outlet.parameters():
                parameter.zero_()

    def evidence(self, fill: torch.Tensor, rows: int) -> torch.Tensor:
        """Return the inputs of the linear part.

        Args:
            fill: (b, R * q, C * q, hr_dim), any q >= 1.
            rows: R.

        Returns:
            (b, R, C, ...): the mean fill of a tile; the probability of each concept, its entropy,
            and its means over neighbouring tiles and over the scene.
        """
        mean = pooled(fill, fill.shape[1] // rows)
        if self.told is None:
            return mean
        p = self.told(mean).sigmoid()
        scene = p.mean((1, 2), keepdim=True).expand_as(p)
        entropy = torch.special.entr(p) + torch.special.entr(1 - p)
        return torch.cat([mean, p, entropy, around(p), scene], dim=-1)

    def forward(self, lr: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
        """Return logits of the values of tiles.

        Args:
            lr: (b, R * r, C * r, lr_dim) LR tokens.
            fill: (b, R * q, C * q, hr_dim) LR fill, any q >= 1.

        Returns:
            (b, R, C, ensemble).
        """
        tiles = to_tiles(lr, self.shape.lr_side)
        if self.shape.plain:
            return torch.cat(
                [o(m(tiles)) for m, o in zip(self.members, self.outlets, strict=True)], dim=-1
            )
        evidence = self.evidence(fill, tiles.shape[1])
        x = torch.cat([tiles, evidence[..., : self.shape.hr_dim]], dim=-1)
        residuals = [o(m(x)) for m, o in zip(self.members, self.outlets, strict=True)]
        return self.linear(evidence) + torch.cat(residuals, dim=-1)
