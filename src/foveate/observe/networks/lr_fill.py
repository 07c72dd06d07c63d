"""The LR fill (HR tokens predicted from the overview alone), and its ridge regression.

It is the baseline of completion, and the initial prediction of the predictor. The linear part has a
closed-form solution, from sums over rows that need not be in memory at once; a small CNN learns the
residual of the linear fit.

Token grids are (b, R * s, C * s, d) for s tokens along the side of a tile, row-major and north-up.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import TYPE_CHECKING, Literal, Self

import torch
from torch import nn

from foveate.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from foveate.observe.networks.sizes import Shape


def to_tiles(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """Reshape (b, R * s, C * s, d) to (b, R, C, s * s * d), concatenating the tokens of a tile."""
    b, h, w, d = tokens.shape
    split = tokens.reshape(b, h // side, side, w // side, side, d)
    return split.permute(0, 1, 3, 2, 4, 5).reshape(b, h // side, w // side, side * side * d)


def to_tokens(tiles: torch.Tensor, side: int) -> torch.Tensor:
    """Reshape (b, R, C, s * s * d) to (b, R * s, C * s, d); the inverse of `to_tiles`."""
    b, rows, cols, n = tiles.shape
    d = n // (side * side)
    split = tiles.reshape(b, rows, cols, side, side, d).permute(0, 1, 3, 2, 4, 5)
    return split.reshape(b, rows * side, cols * side, d)


def repeat(tiles: torch.Tensor, side: int) -> torch.Tensor:
    """Repeat values of tiles for their tokens: (b, R, C, ...) to (b, R * s, C * s, ...)."""
    return tiles.repeat_interleave(side, 1).repeat_interleave(side, 2)


def pooled(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """Return the means of s x s tokens: (b, h, w, d) to (b, h / s, w / s, d)."""
    if side == 1:
        return tokens
    b, h, w, d = tokens.shape
    return tokens.reshape(b, h // side, side, w // side, side, d).mean((2, 4))


def around(tiles: torch.Tensor) -> torch.Tensor:
    """Return (b, R, C, d) means over 3 x 3 tiles; at the edges over the existing neighbours."""
    x = tiles.permute(0, 3, 1, 2)
    total = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return total.permute(0, 2, 3, 1)


def places(rows: int, cols: int, side: int, device: torch.device) -> torch.Tensor:
    """Return the (R * s, C * s, 2) y, x positions of tokens, in units of a tile side.

    Token grids of different resolution share these coordinates.
    """
    y = (torch.arange(rows * side, device=device) + 0.5) / side
    x = (torch.arange(cols * side, device=device) + 0.5) / side
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1)


_LONGEST = 64.0  # wavelength in tile sides


def code(place: torch.Tensor, width: int) -> torch.Tensor:
    """Return the 2D sine-cosine position encoding (Vaswani et al. 2017, section 3.5).

    Args:
        place: (..., 2) positions in units of a tile side.
        width: Length of the encoding; dimensions beyond a multiple of 4 are 0. The shortest
            wavelength is a tile side, so that neighbouring tiles, and the parts of a tile, have
            different encodings.

    Returns:
        (..., width).
    """
    n = width // 4
    # A single wavelength must be the longest, since the shortest has the same phase in all tiles.
    step = torch.arange(n, device=place.device) / (n - 1) if n > 1 else place.new_ones(n)
    angle = place[..., None] * (2 * torch.pi) * _LONGEST**-step
    waves = torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(-2)
    return torch.nn.functional.pad(waves, (0, width - waves.shape[-1]))


Penalty = Literal["even", "each"]
_MIN_VARIANCE = 1e-12  # of constant inputs


class Ridge:
    """Ridge regression from sums of products over rows.

    Args:
        inputs: Number of input features.
        outputs: Number of outputs.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        # The last input is the constant 1; its products are the plain sums.
        self._xx = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64)
        self._xy = torch.zeros(inputs + 1, outputs, dtype=torch.float64)
        self._yy = torch.zeros((), dtype=torch.float64)

    @property
    def weight(self) -> float:
        """Total weight of the rows."""
        return float(self._xx[-1, -1])

    def add(self, x: torch.Tensor, y: torch.Tensor, weight: float = 1.0) -> None:
        """Add rows.

        Args:
            x: (n, inputs).
            y: (n, outputs).
            weight: Sample weight of each row.
        """
        x, y = x.double().cpu(), y.double().cpu()
        x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
        self._xx += weight * x.T @ x
        self._xy += weight * x.T @ y
        self._yy += weight * y.square().sum()

    def __add__(self, other: Self) -> Self:
        """Return the combined sums."""
        result = type(self)(len(self._xx) - 1, self._xy.shape[1])
        result._xx += self._xx + other._xx
        result._xy += self._xy + other._xy
        result._yy += self._yy + other._yy
        return result

    def solve(
        self, strength: float, penalty: Penalty = "even"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (outputs, inputs) weights and (outputs,) biases of the ridge regression.

        Args:
            strength: Strength of the penalty.
            penalty: Factor of the penalty of a squared weight: the mean variance of the inputs
                ("even", which preserves their relative scale), or the variance of its input
                ("each", for inputs of different units).
        """
        mean_x, mean_y = self._xx[-1, :-1] / self.weight, self._xy[-1] / self.weight
        xx = self._xx[:-1, :-1] / self.weight - torch.outer(mean_x, mean_x)
        xy = self._xy[:-1] / self.weight - torch.outer(mean_x, mean_y)
        variance = xx.diagonal().clamp(min=_MIN_VARIANCE)
        if penalty == "even":
            variance = variance.mean().expand_as(variance)
        weight = torch.linalg.solve(xx + strength * torch.diag(variance), xy)
        return weight.T, mean_y - mean_x @ weight

    def error(self, weight: torch.Tensor, bias: torch.Tensor) -> float:
        """Return the sum of squared errors of weights and biases on these rows."""
        beta = torch.cat([weight.T, bias[None]])
        return float(self._yy + (beta * (self._xx @ beta - 2 * self._xy)).sum())


def cross_validated_strength(
    parts: Sequence[Ridge], strengths: Sequence[float], penalty: Penalty = "even"
) -> float:
    """Return the strength with the lowest cross-validation error.

    Args:
        parts: Sums of the folds; with one fold the first strength is returned.
        strengths: Candidate strengths.
        penalty: See `Ridge.solve`.
    """
    if len(parts) < 2:
        return strengths[0]
    others = [reduce(operator.add, [*parts[:i], *parts[i + 1 :]]) for i in range(len(parts))]
    errors = {
        s: sum(p.error(*other.solve(s, penalty)) for p, other in zip(parts, others, strict=True))
        for s in strengths
    }
    return min(errors, key=lambda s: errors[s])


class Blocks(nn.Module):
    """Small CNN: 1 x 1, then residual 3 x 3 depthwise and 1 x 1 convolutions, then scene context.

    Args:
        inputs: Input channels.
        width: Hidden and output channels.
        depth: Number of residual steps.
        dropout: Dropout after each step.
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
        """Map (b, R, C, inputs) to (b, R, C, width)."""
        x = self.inlet(self.norm(tiles).permute(0, 3, 1, 2))
        for step in self.steps:
            x = x + step(x)
        x = x.permute(0, 2, 3, 1)
        return x + self.scene(x.mean((1, 2), keepdim=True))


class Fill(nn.Module):
    """Regression from LR tokens to the HR tokens of every tile.

    Args:
        shape: Network sizes.
        conv: Whether it has the convolutional part, which is initialised to zero output.
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
        """Predict all HR tokens.

        Args:
            lr: (b, R * r, C * r, lr_dim) LR tokens.

        Returns:
            (b, R * k, C * k, hr_dim) HR tokens.
        """
        return repeat(self.coarse(lr), self.shape.pool)

    @torch.no_grad()
    def set_linear(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Set the linear part."""
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)

    def coarse(self, lr: torch.Tensor) -> torch.Tensor:
        """Predict one token per query: (b, R * q, C * q, hr_dim)."""
        filled = self.linear(context(lr, self.shape))
        if self.blocks is not None:
            filled = filled + self.outlet(self.blocks(to_tiles(lr, self.shape.lr_side)))
        return to_tokens(filled, self.shape.queries)


def features(shape: Shape) -> int:
    """Return the number of features of `context`."""
    return (shape.lr_side**2 + 2) * shape.lr_dim


def context(lr: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Return the inputs of the linear fill: LR tokens of the tile, neighbour mean, scene mean.

    Args:
        lr: (b, R * r, C * r, lr_dim).
        shape: Network sizes.

    Returns:
        (b, R, C, features).
    """
    mean = pooled(lr, shape.lr_side)
    scene = mean.mean((1, 2), keepdim=True).expand_as(mean)
    return torch.cat([to_tiles(lr, shape.lr_side), around(mean), scene], dim=-1)


@torch.no_grad()
def sums(
    fill: Fill, lr: torch.Tensor, hr: torch.Tensor, valid: torch.Tensor | NDArray[np.bool_]
) -> Ridge:
    """Return the sums over all valid tiles that the linear part is solved from.

    Args:
        fill: LR fill with the network sizes.
        lr: (s, R * r, C * r, lr_dim).
        hr: (s, R * k, C * k, hr_dim).
        valid: (s, R, C) bool mask of valid tiles.

    Raises:
        DataError: There are no tiles.
    """
    shape = fill.shape
    ridge = Ridge(features(shape), fill.linear.out_features)
    for scene in range(len(lr)):
        x = context(lr[[scene]].float(), shape)[0][valid[scene]]
        means = to_tiles(pooled(hr[[scene]].float(), shape.pool), shape.queries)
        ridge.add(x, means[0][valid[scene]])
    if not ridge.weight:
        raise DataError("no tiles to fit the LR fill on", "At least one tile is required.")
    return ridge


def solve(
    fill: Fill, lr: torch.Tensor, hr: torch.Tensor, valid: NDArray[np.bool_], strength: float
) -> None:
    """Set the linear part to the closed-form ridge regression over the tiles of `sums`.

    Args:
        fill: LR fill, modified in place.
        lr: See `sums`.
        hr: See `sums`.
        valid: See `sums`.
        strength: Strength of the penalty, relative to the mean variance of the inputs.
    """
    fill.set_linear(*sums(fill, lr, hr, valid).solve(strength))
