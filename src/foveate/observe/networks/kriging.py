"""Kriging: what the fill lacks at observed tiles, spread to the tiles that were not observed.

Regression kriging (Hengl et al. 2007, About regression-kriging, section 2): the mean comes from a
regression, here the LR fill, and its residuals are a Gaussian process, here with a kernel over
place and learned LR features. The posterior mean corrects the fill, the posterior variance says how
far each tile is from what was observed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from foveate.observe.networks.layout import places, to_tiles

if TYPE_CHECKING:
    from foveate.observe.networks.sizes import Shape

_FEATURES = 32  # learned dimensions that say which tiles are alike
_LEAST = 1e-3  # of the noise: below, a matrix of equal tiles is singular in float32
_GATE = 4.0  # the gate learns faster than a weight: there is one of it


class Kriging(nn.Module):
    """A Gaussian process over the tiles of a scene.

    The kernel of two tiles is a mixture of "the same scene" (1), "they look alike" and "they look
    alike and lie close". The correction passes a gate that starts at 0.

    Args:
        shape: Sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        inputs = shape.lr_side**2 * shape.lr_dim
        self.alike = nn.Linear(inputs, _FEATURES, bias=False)
        nn.init.normal_(self.alike.weight, std=(inputs * _FEATURES) ** -0.5)
        self.mixture = nn.Parameter(torch.zeros(3))
        self.log_reach = nn.Parameter(torch.tensor(2.0).log())  # sides of a tile
        self.log_noise = nn.Parameter(torch.tensor(1.0).log())
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(
        self, lr: torch.Tensor, lack: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Spread what the fill lacks.

        Args:
            lr: (b, R * r, C * r, lr_dim) LR tokens.
            lack: (b, R, C, d) what the fill lacks at observed tiles; anything elsewhere.
            seen: (b, R, C) bool: observed.

        Returns:
            (b, R, C, d) posterior mean behind the gate, and (b, R, C) posterior variance as a
            share of the prior's, 0 to 1.
        """
        b, rows, cols, d = lack.shape
        kernel = self.kernel(lr).flatten(3, 4).flatten(1, 2)
        known = seen.flatten(1).to(kernel.dtype)
        noise = self.log_noise.exp().clamp(min=_LEAST)
        # Rows and columns of what was not observed are those of the identity.
        matrix = kernel * known[:, :, None] * known[:, None, :]
        matrix = matrix + torch.diag_embed(noise * known + (1 - known))
        across = kernel * known[:, None, :]
        values = torch.where(seen.flatten(1)[..., None], lack.flatten(1, 2).to(kernel.dtype), 0.0)
        factor = torch.linalg.cholesky(matrix)
        mean = across @ torch.cholesky_solve(values, factor)
        half = torch.linalg.solve_triangular(factor, across.transpose(1, 2), upper=False)
        variance = (kernel.diagonal(dim1=1, dim2=2) - half.square().sum(1)).clamp(0, 1)
        mean = (_GATE * self.gate * mean).to(lack.dtype)
        return mean.reshape(b, rows, cols, d), variance.reshape(b, rows, cols)

    def kernel(self, lr: torch.Tensor) -> torch.Tensor:
        """Return the kernel of all pairs of tiles, (b, R, C, R, C), 1 of a tile with itself."""
        with torch.autocast(lr.device.type, enabled=False):
            tiles = to_tiles(lr.float(), self.shape.lr_side)
            like = self.alike(functional.layer_norm(tiles, tiles.shape[-1:]))
            alike = (-_squares(like.flatten(1, 2)) / 2).exp()
            place = places(tiles.shape[1], tiles.shape[2], 1, lr.device).flatten(0, 1)
            near = (-_squares(place[None]) / (2 * (2 * self.log_reach).exp())).exp()
            share = self.mixture.softmax(0)
            kernel = share[0] + share[1] * alike + share[2] * alike * near
        return kernel.reshape(len(lr), *tiles.shape[1:3], *tiles.shape[1:3])


def _squares(x: torch.Tensor) -> torch.Tensor:
    """Return (b, n, n) squared distances of (b, n, d) points; exactly 0 on the diagonal."""
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
