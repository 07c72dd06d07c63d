"""Sizes of the networks of `observe`, and architectures of the predictor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from foveate.errors import ParameterError, UnknownNameError
from foveate.registry import suggest

Size = Literal["nano", "tiny", "small", "full"]
OBSERVED_WEIGHT = 0.25  # loss weight of observed tokens, relative to unobserved; 1 is Eq. 8
ArchitectureName = Literal["kriged", "residual", "cross", "plain", "literal"]


@dataclass(frozen=True)
class Shape:
    """Sizes of the networks.

    Attributes:
        lr_dim: Dimension of projected LR tokens.
        hr_dim: Dimension of projected HR tokens.
        lr_side: LR tokens along the side of a tile.
        hr_side: HR tokens along the side of a tile.
        pool: HR tokens along the side of the area of one query (Eq. 7, Pool); it divides `hr_side`,
            so that tokens are not pooled across tiles.
        width: Width d of the predictor's blocks.
        depth: Number N of blocks.
        heads: Number of attention heads.
        sampler: Width of the sampler and of the convolutional fill.
        ensemble: Number of heads of the sampler, for its uncertainty.
        dropout: Dropout of all networks.
        concepts: Number of concepts of the sampler's concept probe; 0 without labels.
        plain: Whether the sampler is a network on LR tokens alone, as in the paper.
    """

    lr_dim: int
    hr_dim: int
    lr_side: int
    hr_side: int
    pool: int
    width: int
    depth: int
    heads: int
    sampler: int = 128
    ensemble: int = 5
    dropout: float = 0.1
    concepts: int = 0
    plain: bool = False

    def __post_init__(self) -> None:
        """Check that `pool` divides `hr_side`, and `heads` divides `width`.

        Raises:
            ParameterError: One of them does not.
        """
        if self.hr_side % self.pool:
            raise ParameterError(
                f"pool = {self.pool} for {self.hr_side} HR tokens along a tile",
                "`pool` must divide the number of tokens.",
            )
        if self.width % self.heads:
            raise ParameterError(
                f"{self.heads} attention heads for a width of {self.width}",
                "The number of heads must divide the width.",
            )

    @property
    def queries(self) -> int:
        """Queries along the side of a tile."""
        return self.hr_side // self.pool


SIZES: dict[Size, Shape] = {
    "nano": Shape(128, 128, 1, 1, 1, 96, 3, 4, sampler=64),
    "tiny": Shape(192, 192, 2, 2, 1, 128, 4, 4),
    "small": Shape(384, 384, 2, 2, 1, 192, 6, 6),
    "full": Shape(768, 768, 2, 14, 7, 384, 12, 6),
}
"""Sizes by name. "full" has the shapes of the paper's ViT-B/16: 14 x 14 tokens per tile, pooled to
2 x 2 queries, with a bottleneck of 384. The others have fewer tokens per tile, so that the features
of an archive fit on a disk. Features are projected to at most `lr_dim` and `hr_dim` dimensions."""


def shape_of(size: str, lr_dim: int, hr_dim: int) -> Shape:
    """Return a size by name, with dimensions limited to those of the features.

    Raises:
        UnknownNameError: The size is unknown.
    """
    if size not in SIZES:
        raise UnknownNameError(
            f"unknown size {size!r}", f"Allowed: {', '.join(SIZES)}.", suggest(size, SIZES)
        )
    shape = SIZES[size]
    return replace(shape, lr_dim=min(lr_dim, shape.lr_dim), hr_dim=min(hr_dim, shape.hr_dim))


@dataclass(frozen=True)
class Architecture:
    """Components of the predictor.

    Attributes:
        fill: Whether it predicts the residual of the learned LR fill.
        kriging: Whether the residuals of observed tiles are interpolated to other tiles by kriging
            with a learned kernel, before the blocks.
        self_attention: Whether the blocks have self-attention between HR tokens.
        lr_context: Whether the blocks have cross-attention to LR tokens.
        upsampling: Upsampling from queries to HR tokens: "smooth" (a convolution over neighbouring
            queries, across tiles, before they are repeated) or "tile" (repeated within the tile).

    Raises:
        ParameterError: Kriging is requested without a fill.
    """

    fill: bool = True
    kriging: bool = True
    self_attention: bool = True
    lr_context: bool = True
    upsampling: Literal["smooth", "tile"] = "smooth"

    def __post_init__(self) -> None:
        """Check that kriging has a fill."""
        if self.kriging and not self.fill:
            raise ParameterError(
                "kriging without a fill",
                "Kriging interpolates the residuals of the LR fill.",
                "Use Architecture(fill=False, kriging=False).",
            )


ARCHITECTURES: dict[ArchitectureName, Architecture] = {
    "kriged": Architecture(),
    "residual": Architecture(kriging=False),
    "cross": Architecture(kriging=False, self_attention=False),
    "plain": Architecture(fill=False, kriging=False),
    "literal": Architecture(fill=False, kriging=False, self_attention=False, upsampling="tile"),
}
"""Architectures by name. "literal" follows the published equations: cross-attention to LR tokens
only, so observed tiles do not influence the prediction of the others. "kriged" is the default,
because it was the best in our measurements; see docs/observe.md."""


def architecture_of(name: str) -> Architecture:
    """Return an architecture by name.

    Raises:
        UnknownNameError: The architecture is unknown.
    """
    if name not in ARCHITECTURES:
        raise UnknownNameError(
            f"unknown architecture {name!r} of the predictor",
            f"Allowed: {', '.join(ARCHITECTURES)}.",
            suggest(name, ARCHITECTURES),
        )
    return ARCHITECTURES[name]
