"""How large the networks of `observe` are, and which form the predictor has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from foveate.errors import ParameterError, UnknownNameError
from foveate.registry import suggest

Size = Literal["nano", "tiny", "small", "full"]
OBSERVED_WEIGHT = 0.25  # of observed tokens in the loss, unobserved ones having 1; 1 is Eq. 8
ArchitectureName = Literal["kriged", "residual", "cross", "plain", "literal"]


@dataclass(frozen=True)
class Shape:
    """Sizes of the networks.

    Attributes:
        lr_dim: Length of an LR token, as the networks get it.
        hr_dim: Length of an HR token, as the networks get it.
        lr_side: LR tokens along the side of a tile.
        hr_side: HR tokens along the side of a tile.
        pool: HR tokens along the side of what one query stands for (Eq. 7, Pool); it divides
            `hr_side`, so that nothing is pooled across tiles.
        width: Width d of the predictor's blocks.
        depth: Number N of blocks.
        heads: Attention heads.
        sampler: Width of the sampler and of the convolutional fill.
        ensemble: Heads of the sampler, for its uncertainty.
        dropout: In all of them.
        concepts: Concepts whose classifiers the sampler hears; 0 where there are no labels.
        plain: Whether the sampler is a network over LR tokens alone, as the paper's.
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
        """Check that the pooling is aligned with the tiles, and that heads share the width.

        Raises:
            ParameterError: It is not, or they do not.
        """
        if self.hr_side % self.pool:
            raise ParameterError(
                f"pool = {self.pool} for {self.hr_side} HR tokens along a tile",
                "The pooling divides the side of a tile.",
            )
        if self.width % self.heads:
            raise ParameterError(
                f"{self.heads} attention heads for a width of {self.width}",
                "The heads divide the width.",
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
"""Sizes by name. "full" has the shapes of the paper's ViT-B/16: 14 x 14 tokens a tile, pooled to
2 x 2 queries, with a bottleneck of 384. The others keep fewer tokens of a tile, which is what
makes an archive of features fit a disk. Features longer than `lr_dim` and `hr_dim` are reduced to
them."""


def shape_of(size: str, lr_dim: int, hr_dim: int) -> Shape:
    """Return a size for features of given lengths: never longer than they are.

    Raises:
        UnknownNameError: No such size.
    """
    if size not in SIZES:
        raise UnknownNameError(
            f"there is no size {size!r}", f"Allowed: {', '.join(SIZES)}.", suggest(size, SIZES)
        )
    named = SIZES[size]
    return replace(named, lr_dim=min(lr_dim, named.lr_dim), hr_dim=min(hr_dim, named.hr_dim))


@dataclass(frozen=True)
class Architecture:
    """What the predictor is made of.

    Attributes:
        fill: Whether it starts from the learned LR fill and predicts what that lacks.
        kriging: Whether what the fill lacks at observed tiles is spread to the others by a learned
            kernel, before the blocks.
        self_attention: Whether HR tokens see each other.
        lr_context: Whether they see the LR tokens.
        upsampling: How queries become HR tokens where one stands for several: "smooth" (a
            convolution over neighbouring queries, across tiles, before each goes to its own) or
            "tile" (each to its own alone).

    Raises:
        ParameterError: Kriging without a fill.
    """

    fill: bool = True
    kriging: bool = True
    self_attention: bool = True
    lr_context: bool = True
    upsampling: Literal["smooth", "tile"] = "smooth"

    def __post_init__(self) -> None:
        """Check that kriging has something to spread."""
        if self.kriging and not self.fill:
            raise ParameterError(
                "kriging without a fill",
                "It spreads what the LR fill lacks.",
                "Architecture(fill=False, kriging=False)",
            )


ARCHITECTURES: dict[ArchitectureName, Architecture] = {
    "kriged": Architecture(),
    "residual": Architecture(kriging=False),
    "cross": Architecture(kriging=False, self_attention=False),
    "plain": Architecture(fill=False, kriging=False),
    "literal": Architecture(fill=False, kriging=False, self_attention=False, upsampling="tile"),
}
"""Forms by name. "literal" reads the paper's text word by word: cross-attention to LR tokens alone,
so that nothing observed reaches an unobserved tile. "kriged" is the default, as the best one
measured; see docs/observe.md."""


def architecture_of(name: str) -> Architecture:
    """Return a form by name.

    Raises:
        UnknownNameError: No such form.
    """
    if name not in ARCHITECTURES:
        raise UnknownNameError(
            f"there is no form {name!r} of the predictor",
            f"Allowed: {', '.join(ARCHITECTURES)}.",
            suggest(name, ARCHITECTURES),
        )
    return ARCHITECTURES[name]
