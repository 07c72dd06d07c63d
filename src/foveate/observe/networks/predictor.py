"""The observation-guided latent predictor (Eq. 3 and 7): completes a scene from a few HR tiles.

Observed tokens are arranged on the grid and pooled to queries; unobserved queries are a learned
mask token. Position encodings of tile and query are added, and attention blocks complete the
queries, with the LR tokens as keys and values. (Encodings are added after pooling; pooling is
within a tile, so this is equivalent for the encoding of the tile.) Deviations from the paper, each
a field of `Architecture`: the prediction is the residual of a learned LR fill and its kriging
correction, and HR tokens have self-attention. In the literal architecture, observed tiles do not
influence the prediction of the others.

Regression kriging (Hengl et al. 2007, About regression-kriging, section 2): the mean is a
regression, here the LR fill, and its residuals are a Gaussian process, here with a kernel of
position and learned LR features. The posterior mean corrects the fill; the posterior variance is
the uncertainty of each tile given the observed tiles.

Alignment with texts (Eq. 9): the pooled prediction of a scene is matched to the texts of its
concepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from foveate.observe.networks.heads import ToText
from foveate.observe.networks.lr_fill import Fill, code, places, pooled, repeat, to_tiles

if TYPE_CHECKING:
    from foveate.observe.networks.sizes import Architecture, Shape

_FEATURES = 32  # dimensions of the learned features of the kernel
_MIN_NOISE = 1e-3  # for smaller noise the matrix of equal tiles is singular in float32
_GATE = 4.0  # factor of the gate, to increase its learning rate: it is a single parameter


class Kriging(nn.Module):
    """A Gaussian process over the tiles of a scene.

    The kernel of two tiles is a mixture of a constant (same scene), the similarity of features, and
    the product of similarity and proximity. The correction is multiplied by a gate that is
    initialised to 0.

    Args:
        shape: Network sizes.
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
        self, lr: torch.Tensor, residual: torch.Tensor, observed: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Interpolate the residuals of the fill.

        Args:
            lr: (b, R * r, C * r, lr_dim) LR tokens.
            residual: (b, R, C, d) residuals of the fill at observed tiles; others are ignored.
            observed: (b, R, C) bool mask of observed tiles.

        Returns:
            (b, R, C, d) gated posterior mean, and (b, R, C) posterior variance relative to the
            prior variance, 0 to 1.
        """
        b, rows, cols, d = residual.shape
        kernel = self.kernel(lr).flatten(3, 4).flatten(1, 2)
        mask = observed.flatten(1).to(kernel.dtype)
        noise = self.log_noise.exp().clamp(min=_MIN_NOISE)
        # Rows and columns of unobserved tiles are those of the identity matrix.
        matrix = kernel * mask[:, :, None] * mask[:, None, :]
        matrix = matrix + torch.diag_embed(noise * mask + (1 - mask))
        cross = kernel * mask[:, None, :]
        values = torch.where(
            observed.flatten(1)[..., None], residual.flatten(1, 2).to(kernel.dtype), 0.0
        )
        factor = torch.linalg.cholesky(matrix)
        mean = cross @ torch.cholesky_solve(values, factor)
        half = torch.linalg.solve_triangular(factor, cross.transpose(1, 2), upper=False)
        variance = (kernel.diagonal(dim1=1, dim2=2) - half.square().sum(1)).clamp(0, 1)
        mean = (_GATE * self.gate * mean).to(residual.dtype)
        return mean.reshape(b, rows, cols, d), variance.reshape(b, rows, cols)

    def kernel(self, lr: torch.Tensor) -> torch.Tensor:
        """Return the (b, R, C, R, C) kernel of all pairs of tiles; 1 for identical tiles."""
        with torch.autocast(lr.device.type, enabled=False):
            tiles = to_tiles(lr.float(), self.shape.lr_side)
            features = self.alike(functional.layer_norm(tiles, tiles.shape[-1:]))
            similarity = (-_squares(features.flatten(1, 2)) / 2).exp()
            position = places(tiles.shape[1], tiles.shape[2], 1, lr.device).flatten(0, 1)
            proximity = (-_squares(position[None]) / (2 * (2 * self.log_reach).exp())).exp()
            share = self.mixture.softmax(0)
            kernel = share[0] + share[1] * similarity + share[2] * similarity * proximity
        return kernel.reshape(len(lr), *tiles.shape[1:3], *tiles.shape[1:3])


def _squares(x: torch.Tensor) -> torch.Tensor:
    """Return (b, n, n) squared distances of (b, n, d) points; exactly 0 on the diagonal."""
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()


_MOMENTUM = 0.99  # of the running mean of the targets (Eq. 8)


@dataclass(frozen=True)
class Completed:
    """Completed scenes.

    Attributes:
        tokens: (b, R * k, C * k, hr_dim) HR tokens of every tile.
        coarse: (b, R * q, C * q, hr_dim) LR fill, one token per query.
        doubt: (b, R, C) uncertainty, 0 (similar to observed tiles) to 1.
    """

    tokens: torch.Tensor
    coarse: torch.Tensor
    doubt: torch.Tensor

    @property
    def fill(self) -> torch.Tensor:
        """(b, R * k, C * k, hr_dim) LR fill: HR tokens of every tile from the overview alone."""
        return repeat(self.coarse, self.tokens.shape[1] // self.coarse.shape[1])


class Block(nn.Module):
    """Transformer block: self-attention of HR tokens, cross-attention to LR tokens, and an MLP.

    Args:
        shape: Network sizes.
        form: Architecture, with the attentions to use.
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
        """Update (b, n, d) queries with (b, m, d) LR tokens."""
        if self.own is not None:
            x = x + self.own(x, None)
        if self.lr is not None:
            x = x + self.lr(x, lr)
        return x + self.mlp(self.norm(x))


class Attention(nn.Module):
    """Multi-head attention with layer norms (Vaswani et al. 2017, section 3.2).

    Args:
        width: Width of queries, keys and values.
        heads: Number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_other = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        """Attend from (b, n, d) to (b, m, d); self-attention if `other` is None."""
        normed = self.norm(x)
        source = normed if other is None else self.norm_other(other)
        split = (len(x), -1, self.heads, x.shape[-1] // self.heads)
        query = self.query(normed).reshape(split).transpose(1, 2)
        key, value = (
            part.reshape(split).transpose(1, 2) for part in self.key_value(source).chunk(2, dim=-1)
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.out(attended.transpose(1, 2).reshape(x.shape))


class Predictor(nn.Module):
    """Predictor network; see the module docstring.

    Args:
        shape: Network sizes.
        form: Architecture.
        conv_fill: Whether the LR fill has the convolutional part.
    """

    mu: torch.Tensor

    def __init__(self, shape: Shape, form: Architecture, *, conv_fill: bool = True) -> None:
        super().__init__()
        self.shape, self.form = shape, form
        self.fill = Fill(shape, conv=conv_fill)  # without `form.fill` it is the baseline only
        self.kriging = Kriging(shape) if form.kriging else None
        self.mask = nn.Parameter(torch.randn(shape.hr_dim) * 0.02)
        self.tile_code = nn.Linear(_code_length(shape), shape.hr_dim)
        self.inlet = nn.Linear(shape.hr_dim, shape.width)
        self.given = nn.Linear(2, shape.width)  # observed (0 or 1), and uncertainty
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
                groups=shape.hr_dim,  # depthwise; a full convolution costs as much as six tiles
            )
            if smooth
            else None
        )
        if form.fill:  # the blocks predict the residual of the fill, initialised to zero
            nn.init.zeros_(self.outlet.weight)
            nn.init.zeros_(self.outlet.bias)
            if self.smooth is not None and self.smooth.bias is not None:
                nn.init.zeros_(self.smooth.bias)
        self.register_buffer("mu", torch.zeros(shape.hr_dim))

    def forward(
        self,
        lr: torch.Tensor,
        hr: torch.Tensor,
        observed: torch.Tensor,
        *,
        passthrough: bool = False,
    ) -> Completed:
        """Complete scenes.

        Args:
            lr: (b, R * r, C * r, lr_dim) LR tokens.
            hr: (b, R * k, C * k, hr_dim) HR tokens; unobserved tokens are ignored, including NaN.
            observed: (b, R, C) bool mask of observed tiles.
            passthrough: Whether observed tokens are returned unchanged.
        """
        shape = self.shape
        q, pool = shape.queries, shape.pool
        fill = self.fill.coarse(lr)
        base = fill if self.form.fill else torch.zeros_like(fill)
        # Pooling is within a tile, so unobserved tiles can be masked after it.
        residual = torch.where(repeat(observed, q)[..., None], pooled(hr, pool) - base, 0.0)
        doubt = (~observed).to(fill.dtype)
        if self.kriging is not None:
            correction, doubt = self.kriging(lr, pooled(residual, q), observed)
            base = base + repeat(correction, q)
        tokens = repeat(base + self._predict_residual(lr, residual, observed, doubt), pool)
        if passthrough:
            tokens = torch.where(repeat(observed, shape.hr_side)[..., None], hr, tokens)
        return Completed(tokens, fill, doubt)

    def _predict_residual(
        self, lr: torch.Tensor, residual: torch.Tensor, observed: torch.Tensor, doubt: torch.Tensor
    ) -> torch.Tensor:
        """Return the output of the blocks for each query, (b, R * q, C * q, hr_dim)."""
        shape = self.shape
        b, rows, cols = observed.shape
        d, q = shape.hr_dim, shape.queries
        queries = torch.where(repeat(observed, q)[..., None], residual, self.mask)
        fine = code(places(rows, cols, q, lr.device), d)
        coarse = self.tile_code(code(places(rows, cols, 1, lr.device), _code_length(shape)))
        x = self.inlet(queries + fine + repeat(coarse[None], q))
        state = torch.stack([observed.to(doubt.dtype), doubt], dim=-1)
        x = (x + self.given(repeat(state, q))).flatten(1, 2)
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
        """Update the running mean of the targets (Eq. 8, mu) with (n, hr_dim) targets."""
        if len(targets):
            self.mu.lerp_(targets.mean(0).to(self.mu), 1 - _MOMENTUM)


def _code_length(shape: Shape) -> int:
    return max(4, 4 * (shape.hr_dim // 4))


_SCALE, _BIAS = 10.0, -10.0  # initial values of SigLIP (Zhai et al. 2023, section 3.2)


class Aligned(nn.Module):
    """A predictor with a linear projection to the text embedding space.

    Args:
        predictor: The predictor.
        weight: (e, d) initial weight of the projection.
        bias: (e,) initial bias of the projection.
        texts: (K, e) text embeddings of the concepts, unit vectors.
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
        """Return the trained text projection."""
        weight, bias = (x.detach().cpu().numpy() for x in (self.way.weight, self.way.bias))
        return ToText(weight, bias)

    def logits(self, tokens: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return (b, K) logits of completed scenes.

        Args:
            tokens: (b, h, w, d) completed tokens.
            weight: (b, h, w) weight of each token in the pooled scene.
        """
        share = weight / weight.sum((1, 2), keepdim=True).clamp(min=1e-6)
        mean = (tokens * share[..., None]).sum((1, 2))
        scene = functional.normalize(self.way(mean), dim=-1)
        return self.log_scale.exp() * scene @ self.texts.T + self.bias
