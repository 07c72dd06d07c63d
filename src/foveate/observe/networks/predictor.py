"""The observation-guided latent predictor (Eq. 3 and 7): a complete scene from a few HR tiles.

Observed tokens are put on the grid and pooled to queries, a learned token stands elsewhere;
position codes of tile and query are added, and blocks of attention complete them, which see the LR
tokens as keys and values. (Codes are added after pooling: what is pooled lies inside a tile, so for
the tile's code it is the same.) Deviations from the text, each a field of `Architecture`: the
result starts from a learned LR fill and from its kriged correction, and HR tokens see each other.
In the literal form nothing observed reaches an unobserved tile.

Regression kriging (Hengl et al. 2007, About regression-kriging, section 2): the mean comes from a
regression, here the LR fill, and its residuals are a Gaussian process, here with a kernel over
position and learned LR features. The posterior mean corrects the fill, the posterior variance says
how far each tile is from what was observed.

Alignment with texts (Eq. 9): the pooled prediction of a scene meets the texts of its concepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from foveate.observe.heads import ToText
from foveate.observe.networks.lr_fill import Fill, code, places, pooled, repeat, to_tiles

if TYPE_CHECKING:
    from foveate.observe.networks.sizes import Architecture, Shape

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


_MOMENTUM = 0.99  # of the running mean of the targets (Eq. 8)


@dataclass(frozen=True)
class Completed:
    """A completed scene.

    Attributes:
        tokens: (b, R * k, C * k, hr_dim) HR tokens of every tile.
        coarse: (b, R * q, C * q, hr_dim) what the overview alone tells, a token for each query.
        doubt: (b, R, C) how far each tile is from what was observed, 0 (observed alike) to 1.
    """

    tokens: torch.Tensor
    coarse: torch.Tensor
    doubt: torch.Tensor

    @property
    def fill(self) -> torch.Tensor:
        """(b, R * k, C * k, hr_dim) HR tokens of every tile from the overview alone."""
        return repeat(self.coarse, self.tokens.shape[1] // self.coarse.shape[1])


class Block(nn.Module):
    """Self-attention among HR tokens, cross-attention to LR tokens, and a perceptron.

    Args:
        shape: Sizes.
        form: Which of them there are.
    """

    def __init__(self, shape: Shape, form: Architecture) -> None:
        super().__init__()
        d = shape.width
        self.own = Attention(d, shape.heads) if form.self_attention else None
        self.lr = Attention(d, shape.heads) if form.lr_context else None
        self.norm = nn.LayerNorm(d)
        self.mlp = nn.Sequential(
            nn.Linear(d, 4 * d), nn.GELU(), nn.Dropout(shape.dropout), nn.Linear(4 * d, d)
        )

    def forward(self, x: torch.Tensor, lr: torch.Tensor) -> torch.Tensor:
        """Complete (b, n, d) queries with (b, m, d) LR tokens."""
        if self.own is not None:
            x = x + self.own(x, None)
        if self.lr is not None:
            x = x + self.lr(x, lr)
        return x + self.mlp(self.norm(x))


class Attention(nn.Module):
    """Multi-head attention with its own norms (Vaswani et al. 2017, section 3.2).

    Args:
        width: Of queries, keys and values.
        heads: Their number.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_other = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        """Attend from (b, n, d) to (b, m, d), or among themselves."""
        own = self.norm(x)
        source = own if other is None else self.norm_other(other)
        split = (len(x), -1, self.heads, x.shape[-1] // self.heads)
        query = self.query(own).reshape(split).transpose(1, 2)
        key, value = (
            part.reshape(split).transpose(1, 2) for part in self.key_value(source).chunk(2, dim=-1)
        )
        found = functional.scaled_dot_product_attention(query, key, value)
        return self.out(found.transpose(1, 2).reshape(x.shape))


class Predictor(nn.Module):
    """See the head of this file.

    Args:
        shape: Sizes.
        form: What it is made of.
        conv_fill: Whether the fill has its convolutional part.
    """

    mu: torch.Tensor

    def __init__(self, shape: Shape, form: Architecture, *, conv_fill: bool = True) -> None:
        super().__init__()
        self.shape, self.form = shape, form
        self.fill = Fill(shape, conv=conv_fill)  # what to compare with, in a form without, too
        self.kriging = Kriging(shape) if form.kriging else None
        self.mask = nn.Parameter(torch.randn(shape.hr_dim) * 0.02)
        self.tile_code = nn.Linear(_code_length(shape), shape.hr_dim)
        self.inlet = nn.Linear(shape.hr_dim, shape.width)
        self.given = nn.Linear(2, shape.width)  # observed or not, and the doubt
        self.lr_inlet = nn.Linear(shape.lr_dim, shape.width)
        self.blocks = nn.ModuleList(Block(shape, form) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width)
        self.outlet = nn.Linear(shape.width, shape.hr_dim)
        smooth = form.upsampling == "smooth" and shape.pool > 1
        self.smooth = (
            nn.Conv2d(
                shape.hr_dim,
                shape.hr_dim,
                3,
                padding=1,
                padding_mode="replicate",
                groups=shape.hr_dim,  # between all channels it would cost as much as six tiles
            )
            if smooth
            else None
        )
        if form.fill:  # what is predicted is what the fill lacks, at first nothing
            nn.init.zeros_(self.outlet.weight)
            nn.init.zeros_(self.outlet.bias)
            if self.smooth is not None and self.smooth.bias is not None:
                nn.init.zeros_(self.smooth.bias)
        self.register_buffer("mu", torch.zeros(shape.hr_dim))

    def forward(
        self, lr: torch.Tensor, hr: torch.Tensor, seen: torch.Tensor, *, passthrough: bool = False
    ) -> Completed:
        """Complete scenes.

        Args:
            lr: (b, R * r, C * r, lr_dim) LR tokens.
            hr: (b, R * k, C * k, hr_dim) HR tokens; what they are where nothing was observed, NaN
                included, makes no difference.
            seen: (b, R, C) bool: observed.
            passthrough: Whether observed tokens come back as they are.
        """
        shape = self.shape
        q, pool = shape.queries, shape.pool
        known = repeat(seen, q)[..., None]
        fill = self.fill.coarse(lr)
        base = fill if self.form.fill else torch.zeros_like(fill)
        # Pooling stays inside a tile, so what was not observed is left out after it.
        lack = torch.where(known, pooled(hr, pool) - base, 0.0)
        doubt = (~seen).to(fill.dtype)
        if self.kriging is not None:
            spread, doubt = self.kriging(lr, pooled(lack, q), seen)
            base = base + repeat(spread, q)
        found = repeat(base + self._lack(lr, lack, seen, doubt), pool)
        if passthrough:
            found = torch.where(repeat(seen, shape.hr_side)[..., None], hr, found)
        return Completed(found, fill, doubt)

    def _lack(
        self, lr: torch.Tensor, lack: torch.Tensor, seen: torch.Tensor, doubt: torch.Tensor
    ) -> torch.Tensor:
        """Return what the blocks add to each query: (b, R * q, C * q, hr_dim)."""
        shape = self.shape
        b, rows, cols = seen.shape
        d, q = shape.hr_dim, shape.queries
        raster = torch.where(repeat(seen, q)[..., None], lack, self.mask)
        fine = code(places(rows, cols, q, lr.device), d)
        coarse = self.tile_code(code(places(rows, cols, 1, lr.device), _code_length(shape)))
        x = self.inlet(raster + fine + repeat(coarse[None], q))
        known = torch.stack([seen.to(doubt.dtype), doubt], dim=-1)
        x = (x + self.given(repeat(known, q))).flatten(1, 2)
        context = self.lr_inlet(lr) + code(
            places(rows, cols, shape.lr_side, lr.device), shape.width
        )
        context = context.flatten(1, 2)
        for block in self.blocks:
            x = block(x, context)
        x = self.outlet(self.norm(x)).reshape(b, rows * q, cols * q, d)
        if self.smooth is None:
            return x
        return self.smooth(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    @torch.no_grad()
    def update_mean(self, targets: torch.Tensor) -> None:
        """Move the running mean of the targets (Eq. 8, mu) towards (n, hr_dim) of them."""
        if len(targets):
            self.mu.lerp_(targets.mean(0).to(self.mu), 1 - _MOMENTUM)


def _code_length(shape: Shape) -> int:
    return max(4, 4 * (shape.hr_dim // 4))


_SCALE, _BIAS = 10.0, -10.0  # where SigLIP starts (Zhai et al. 2023, section 3.2)


class Aligned(nn.Module):
    """A predictor with the way from its space to that of the texts.

    Args:
        predictor: The predictor.
        weight: (e, d) where the way starts.
        bias: (e,) where the way starts.
        texts: (K, e) unit vectors of the concepts.
    """

    texts: torch.Tensor

    def __init__(
        self, predictor: Predictor, weight: torch.Tensor, bias: torch.Tensor, texts: torch.Tensor
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.way = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.way.weight.copy_(weight)
            self.way.bias.copy_(bias)
        self.log_scale = nn.Parameter(torch.tensor(_SCALE).log())
        self.bias = nn.Parameter(torch.tensor(_BIAS))
        self.register_buffer("texts", texts)

    def text_map(self) -> ToText:
        """Return the way to the texts as it was learnt."""
        weight, bias = (x.detach().cpu().numpy() for x in (self.way.weight, self.way.bias))
        return ToText(weight, bias)

    def logits(self, tokens: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return (b, K) logits of completed scenes.

        Args:
            tokens: (b, h, w, d) completed tokens.
            weight: (b, h, w) of each in the pooled scene.
        """
        share = weight / weight.sum((1, 2), keepdim=True).clamp(min=1e-6)
        pooled = (tokens * share[..., None]).sum((1, 2))
        scene = functional.normalize(self.way(pooled), dim=-1)
        return self.log_scale.exp() * scene @ self.texts.T + self.bias
