"""`window`: each cell is an image of its own, at the size that it has in the overview.

The first cells together cost one pass; a refined cell costs as much as its parent and shows it
at twice the resolution. The features of a cell know nothing of the others, so that leaving one
out is exact in the additive model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import MissingCapabilityError
from foveate.focus.modes.base import Seen, own_points, seen_through, sizes, windows_of
from foveate.models.capabilities import TakesSizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.focus.eye import Eye
    from foveate.grid import Tiles


class WindowField:
    """See the head of this module.

    Args:
        eye: Looks at the image.
        cells: N_p, cells along the longer side of the image.
        branch: Children of a cell per side.
        robust: Whether to measure the robustness, which doubles the passes.

    Raises:
        MissingCapabilityError: The model takes inputs of one size only.
    """

    name, persists = "window", False
    removal = "cells seen apart, averaged over what is left"

    def __init__(self, eye: Eye, cells: int, branch: int, *, robust: bool) -> None:
        check_sizes(eye)
        self._eye, self._branch, self._robust = eye, branch, robust
        self._lens = eye.lens(max(eye.standard.shape) // cells)

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Cells whose quarters are at least half as large as the input."""
        return np.minimum(tiles.h, tiles.w) >= max(self._lens.shape)

    def children(self, cell: Tiles) -> Tiles:
        """Return the parts of a cell."""
        return cell.refine([0], self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return what the cells cost, in passes."""
        windows = windows_of(tiles)
        price = self._eye.price(windows, self._lens)
        if self._robust:
            price = price + self._eye.price(windows, self._lens, disturbed=True)
        return price

    def images(self, tiles: Tiles) -> int:
        """Return how many images the cells are, the disturbed ones included."""
        windows = windows_of(tiles)
        again = self._eye.fresh(windows, self._lens, disturbed=True) if self._robust else 0
        return self._eye.fresh(windows, self._lens) + again

    def look(self, tiles: Tiles) -> Seen:
        """Show the cells to the model, and once more disturbed where that is asked for."""
        windows = windows_of(tiles)
        return seen_through(self._eye, windows, self._lens, sizes(tiles), robust=self._robust)

    def points(self, tiles: Tiles, seen: Seen) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
        """Return the features of the cells."""
        return own_points(tiles, seen)


def check_sizes(eye: Eye) -> None:
    """Check that a model can pay this way.

    Raises:
        MissingCapabilityError: It takes inputs of one size only.
    """
    if eye.standard.fixed and not isinstance(eye.model, TakesSizes):
        height, width = eye.standard.shape
        raise MissingCapabilityError(
            f"{eye.model.spec.name} takes images of {height} x {width} pixels only",
            "Mode 'window' shows it many small ones.",
            "Use --mode zoom.",
        )
