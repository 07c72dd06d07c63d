"""`zoom`: crops at native resolution, coarse to fine; each costs a pass.

A cell that is not larger than a crop is a leaf and is seen whole. A larger one is seen in one of
two ways. "native": one of its leaves stands for it, drawn under the seed, so that the first
cells are a stratified sample of the image at the resolution that the model was trained for. Such
a cell is cut into halves, one of which holds the leaf that is known: each cut costs one pass.
"whole": the cell is squeezed into the model's input, at half the side where the model takes
that, which costs a quarter of a pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.focus.modes.base import (
    LEAF,
    Seen,
    across,
    measured,
    own_points,
    parts,
    seen_through,
    sizes,
)
from foveate.models.capabilities import TakesSizes
from foveate.seeds import tie_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.focus.eye import Eye, Lens
    from foveate.focus.goals import Coarse
    from foveate.grid import Tiles, Window

_GLANCE = 2  # a whole cell is seen at half the side


class ZoomField:
    """See the head of this module.

    Args:
        eye: Looks at the image.
        crop: Side of a crop in pixels of the image.
        coarse: How larger cells are seen.
        branch: Children per side of a cell that is seen whole.
        robust: Whether to measure the robustness, which doubles the passes.
    """

    name, persists = "zoom", True
    removal = "crops seen apart, averaged over what is left"

    def __init__(self, eye: Eye, crop: int, coarse: Coarse, branch: int, *, robust: bool) -> None:
        self._eye, self._crop, self._robust = eye, crop, robust
        self._coarse, self._branch = coarse, branch
        self._glance = _small(eye) if coarse == "whole" else eye.standard
        self._leaves: dict[Window, Window] = {}

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Cells larger than a leaf."""
        return np.maximum(tiles.h, tiles.w) > LEAF * self._crop

    def children(self, cell: Tiles) -> Tiles:
        """Return the halves or the parts of a cell."""
        return across(cell, 2) if self._coarse == "native" else parts(cell, self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return what the cells cost, in passes."""
        found = np.zeros(len(tiles))
        for rows, windows, lens in self._views(tiles):
            price = self._eye.price(windows, lens)
            if self._robust:
                price = price + self._eye.price(windows, lens, disturbed=True)
            found[rows] = price
        return found

    def images(self, tiles: Tiles) -> int:
        """Return how many images the cells are, the disturbed ones included."""
        return sum(
            self._eye.fresh(windows, lens, disturbed=disturbed)
            for _, windows, lens in self._views(tiles)
            for disturbed in (False, True)[: 1 + self._robust]
        )

    def look(self, tiles: Tiles) -> Seen:
        """Show the cells, or what stands for them, to the model."""
        parts, order = [], []
        squeezed = self.can_refine(tiles) & (self._coarse == "whole")
        for rows, windows, lens in self._views(tiles):
            scale = np.where(squeezed, sizes(tiles), -1)[rows]
            parts.append(seen_through(self._eye, windows, lens, scale, robust=self._robust))
            order.append(rows)
        joined = parts[0] if len(parts) == 1 else parts[0].join(parts[1])
        return joined.take(np.argsort(np.concatenate(order), kind="stable"))

    def points(self, tiles: Tiles, seen: Seen) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
        """Return the features of the cells."""
        return own_points(tiles, seen)

    def _views(self, tiles: Tiles) -> list[tuple[NDArray[np.int64], list[Window], Lens]]:
        """Return rows, windows and lens of the cells that are seen alike."""
        large = self.can_refine(tiles)
        if self._coarse == "native":
            windows = [self._leaf(tiles.take([i])) for i in range(len(tiles))]
            return [(np.arange(len(tiles)), windows, self._eye.standard)]
        views = [
            (np.flatnonzero(large), self._glance),
            (np.flatnonzero(~large), self._eye.standard),
        ]
        found = [(rows, [tiles.window(int(i)) for i in rows], lens) for rows, lens in views]
        return [view for view in found if view[1]]

    def _leaf(self, cell: Tiles) -> Window:
        """Return the leaf that stands for a cell: of each quartering, one quarter at random.

        The draw depends on the cell's place and the seed alone, so that a child which holds the
        leaf of its parent has the same one.
        """
        window = cell.window(0)
        if window not in self._leaves:
            self._leaves[window] = self._drawn(cell)
        return self._leaves[window]

    def _drawn(self, cell: Tiles) -> Window:
        while self.can_refine(cell)[0]:
            halves = measured(self.children(cell), self._eye)
            if not len(halves):  # valid as a whole, in no half: what is left is seen whole
                break
            keys = tie_keys(halves.tile_id, self._eye.seed, "focus/leaf")
            cell = halves.take([int(np.argmin(keys))])
        return cell.window(0)


def _small(eye: Eye) -> Lens:
    """Return the lens for whole cells; the standard one where the model takes no other size."""
    able = not eye.standard.fixed or isinstance(eye.model, TakesSizes)
    return eye.lens(max(eye.standard.shape) // _GLANCE) if able else eye.standard
