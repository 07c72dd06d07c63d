"""Where tokens lie: from a list of them to the grid of the image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def on_grid(tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Put row-major tokens on the grid that has the shape of the image.

    Args:
        tokens: (b, n, d) without class tokens.
        size: ``(height, width)`` of the image in pixels.

    Returns:
        (b, gh, gw, d) with gh * gw = n and gh / gw = height / width.

    Raises:
        ValueError: No such grid: there are other tokens among them.
    """
    b, n, d = tokens.shape
    gh, gw = grid_of(n, size)
    return tokens.reshape(b, gh, gw, d)


def grid_of(n: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the grid of n square patches over an image.

    Raises:
        ValueError: No grid of n patches has the shape of the image.
    """
    height, width = size
    gh = round(math.sqrt(n * height / width))
    # A patch is square: both sides must be divided by the same step, but for a cut-off rest.
    if gh < 1 or n % gh or abs(gh * width - n // gh * height) >= max(height, width):
        raise ValueError(f"{n} tokens do not tile an image of {height} x {width}")
    return gh, n // gh


def is_mean(tokens: torch.Tensor, vectors: torch.Tensor) -> bool:
    """Say whether the mean over the grid is the pooled vector, up to rounding.

    Args:
        tokens: (b, gh, gw, d).
        vectors: (b, e).
    """
    if tokens.shape[-1] != vectors.shape[-1]:
        return False
    gap = (tokens.float().mean(dim=(1, 2)) - vectors.float()).abs().max()
    return bool(gap <= 1e-4 * vectors.float().abs().max())
