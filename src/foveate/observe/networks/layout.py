"""Between grids of tokens and grids of tiles, and where a token lies.

Token grids are (b, R * s, C * s, d) for s tokens along the side of a tile, row-major and north-up.
"""

from __future__ import annotations

import torch


def to_tiles(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """Turn (b, R * s, C * s, d) into (b, R, C, s * s * d): a tile's tokens one after another."""
    b, h, w, d = tokens.shape
    split = tokens.reshape(b, h // side, side, w // side, side, d)
    return split.permute(0, 1, 3, 2, 4, 5).reshape(b, h // side, w // side, side * side * d)


def to_tokens(tiles: torch.Tensor, side: int) -> torch.Tensor:
    """Turn (b, R, C, s * s * d) into (b, R * s, C * s, d); the inverse of `to_tiles`."""
    b, rows, cols, n = tiles.shape
    d = n // (side * side)
    split = tiles.reshape(b, rows, cols, side, side, d).permute(0, 1, 3, 2, 4, 5)
    return split.reshape(b, rows * side, cols * side, d)


def repeat(tiles: torch.Tensor, side: int) -> torch.Tensor:
    """Turn (b, R, C, ...) into (b, R * s, C * s, ...): each tile's value for its tokens."""
    return tiles.repeat_interleave(side, 1).repeat_interleave(side, 2)


def pooled(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """Return the means of s x s tokens: (b, h, w, d) to (b, h / s, w / s, d)."""
    if side == 1:
        return tokens
    b, h, w, d = tokens.shape
    return tokens.reshape(b, h // side, side, w // side, side, d).mean((2, 4))


def around(tiles: torch.Tensor) -> torch.Tensor:
    """Return the mean over each tile and its neighbours: (b, R, C, d), 3 x 3, less at the edges."""
    x = tiles.permute(0, 3, 1, 2)
    total = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return total.permute(0, 2, 3, 1)


def places(rows: int, cols: int, side: int, device: torch.device) -> torch.Tensor:
    """Return where tokens lie: (R * s, C * s, 2) y, x in sides of a tile.

    Grids of different resolution over the same ground share these coordinates.
    """
    y = (torch.arange(rows * side, device=device) + 0.5) / side
    x = (torch.arange(cols * side, device=device) + 0.5) / side
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1)


def code(place: torch.Tensor, width: int, longest: float = 64.0) -> torch.Tensor:
    """Return the fixed sine-cosine code of places (Vaswani et al. 2017, section 3.5, in 2D).

    Args:
        place: (..., 2) in sides of a tile.
        width: Length of a code; what is beyond a multiple of 4 is 0.
        longest: Longest wavelength, in sides of a tile; the shortest is 1, so that a tile is told
            from its neighbour and the parts of a tile from each other.

    Returns:
        (..., width).
    """
    n = width // 4
    # One wavelength alone is the longest: the shortest is the same in all tiles.
    step = torch.arange(n, device=place.device) / (n - 1) if n > 1 else place.new_ones(n)
    angle = place[..., None] * (2 * torch.pi) * longest**-step
    waves = torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(-2)
    return torch.nn.functional.pad(waves, (0, width - waves.shape[-1]))
