"""The layers of a scene before the sensor simulation."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from foveate.world.spec import CLASSES
from foveate.world.spectra import MATERIAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.world.light import Sun
    from foveate.world.terrain import Frame, Plan
    from foveate.world.themes import Theme

CLASS = {name: k for k, name in enumerate(CLASSES)}
TALL_UNIT = 0.2  # metres of height per count of `Canvas.tall`


@dataclass(eq=False)
class Canvas:
    """Per-pixel layers; painting functions change them in place.

    Attributes:
        shape: (h, w).
        label: (h, w) uint8 class index.
        base: (h, w) uint8 material.
        other: (h, w) uint8 second material.
        mix: (h, w) uint8 share of the second material, 255 is all.
        tone: (h, w) float32 factor on the reflectance.
        tall: (h, w) uint8 height above ground in units of 0.2 m; casts shadows.
        trees: (h, w) uint8 density of tree crowns, 255 is closed.
        conifer: (h, w) uint8 share of conifers among the trees.
    """

    shape: tuple[int, int]
    label: NDArray[np.uint8] = field(init=False)
    base: NDArray[np.uint8] = field(init=False)
    other: NDArray[np.uint8] = field(init=False)
    mix: NDArray[np.uint8] = field(init=False)
    tone: NDArray[np.float32] = field(init=False)
    tall: NDArray[np.uint8] = field(init=False)
    trees: NDArray[np.uint8] = field(init=False)
    conifer: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        """Start as a flat meadow."""
        self.label = np.full(self.shape, CLASS["grassland"], np.uint8)
        self.base = np.full(self.shape, MATERIAL["grass_fresh"], np.uint8)
        self.other = np.full(self.shape, MATERIAL["grass_dry"], np.uint8)
        self.mix = np.zeros(self.shape, np.uint8)
        self.tone = np.ones(self.shape, np.float32)
        self.tall = np.zeros(self.shape, np.uint8)
        self.trees = np.zeros(self.shape, np.uint8)
        self.conifer = np.zeros(self.shape, np.uint8)

    def part(self, rows: slice) -> Canvas:
        """Return the canvas of some rows; painting it paints this one."""
        found = copy(self)
        found.shape = (rows.stop - rows.start, self.shape[1])
        for name, layer in vars(self).items():
            if name != "shape":
                setattr(found, name, layer[rows])
        return found

    def paint(
        self,
        where: tuple[NDArray, ...] | NDArray[np.bool_] | tuple[slice, slice],
        cover: str | None,
        base: str,
        other: str | None = None,
        *,
        mix: NDArray | float = 0.0,
        tone: NDArray | float = 1.0,
        trees: int | NDArray = 0,
    ) -> None:
        """Set the layers at `where` (any index of an (h, w) array) to one material."""
        if cover is not None:
            self.label[where] = CLASS[cover]
        self.base[where] = MATERIAL[base]
        self.other[where] = MATERIAL[other or base]
        self.mix[where] = share(mix)
        self.tone[where] = tone
        self.tall[where] = 0
        self.trees[where] = trees


@dataclass(frozen=True, eq=False)
class Site:
    """Shared inputs of all painting functions.

    Attributes:
        frame: The pixel grid and the random streams.
        theme: The character of the scene.
        plan: Relief, rivers, settlements and roads.
        sun: Position of the sun.
        canvas: The layers to paint into.
    """

    frame: Frame
    theme: Theme
    plan: Plan
    sun: Sun
    canvas: Canvas


def share(values: NDArray | float) -> NDArray[np.uint8]:
    """Convert shares from 0 to 1 to uint8, with clipping."""
    return (np.clip(values, 0.0, 1.0) * np.float32(255.0)).astype(np.uint8)
