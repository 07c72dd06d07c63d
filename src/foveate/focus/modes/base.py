"""How a look pays: a field turns cells of an image into features, and knows what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from foveate.errors import DataError
from foveate.grid import Window
from foveate.models.heads.base import unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.focus.eye import Eye, Lens
    from foveate.grid import Tiles

LEAF = 1.5  # longest side of a leaf in crops: a crop is shrunk by no more than that
SMALLEST = 8  # side of a crop, pixels


@dataclass(frozen=True)
class Seen:
    """What the model made of n cells.

    Attributes:
        x: (n, d) float32 features.
        windows: The n windows that the model was shown: the cells, or a part of each.
        scale: (n,) int, equal for cells that were seen at the same ground resolution; below 0 for
            crops at native resolution, which alone may become regions where there are some.
        shift: (n,) float64 distance between features of norm 1 before and after the
            perturbation, or None where it was not measured.
    """

    x: NDArray[np.floating]
    windows: tuple[Window, ...]
    scale: NDArray[np.int64]
    shift: NDArray[np.float64] | None = None

    def take(self, rows: NDArray[np.integer]) -> Seen:
        """Return the cells of the given rows, in that order."""
        return Seen(
            self.x[rows],
            tuple(self.windows[i] for i in rows),
            self.scale[rows],
            None if self.shift is None else self.shift[rows],
        )

    def join(self, other: Seen) -> Seen:
        """Return these cells, then the other ones."""
        shift = None
        if self.shift is not None and other.shift is not None:
            shift = np.concatenate([self.shift, other.shift])
        return Seen(
            np.concatenate([self.x, other.x]),
            (*self.windows, *other.windows),
            np.concatenate([self.scale, other.scale]),
            shift,
        )


class Field(Protocol):
    """One mode of paying.

    Attributes:
        name: "feature", "window" or "zoom".
        removal: What it means that a region is taken away, for the record.
        persists: Whether a look goes on until the budget is used up, or stops when refining no
            longer raises the importance of what is chosen.
    """

    name: str
    removal: str
    persists: bool

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Say which cells may be cut further: (n,) bool."""
        ...

    def children(self, cell: Tiles) -> Tiles:
        """Cut one cell."""
        ...

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return what looking at cells costs, in passes: (n,)."""
        ...

    def images(self, tiles: Tiles) -> int:
        """Return how many images looking at cells shows to the model."""
        ...

    def look(self, tiles: Tiles) -> Seen:
        """Look at cells.

        Raises:
            BudgetError: The passes are not there; nothing was looked at.
        """
        ...

    def points(self, tiles: Tiles, seen: Seen) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
        """Return (t, d) features whose distribution Eq. 4 compares, and (n, t) areas of them."""
        ...


def windows_of(tiles: Tiles) -> list[Window]:
    """Return the windows of all cells."""
    return [tiles.window(i) for i in range(len(tiles))]


def parts(cell: Tiles, branch: int) -> Tiles:
    """Cut one cell into `branch` x `branch`; a strip is cut across only.

    Quarters of a strip would become thinner than a pixel before they are a crop long.
    """
    height, width = int(cell.h[0]), int(cell.w[0])
    if max(height, width) < 2 * min(height, width):
        return cell.refine([0], branch)
    return across(cell, branch)


def across(cell: Tiles, count: int) -> Tiles:
    """Cut one cell into `count` along its longer side."""
    return cell.refine([0], (count, 1) if cell.h[0] >= cell.w[0] else (1, count))


def areas(tiles: Tiles) -> NDArray[np.float64]:
    """Return the valid pixels of cells: (n,)."""
    return tiles.pixels * tiles.valid_share.astype(np.float64)


def sizes(tiles: Tiles) -> NDArray[np.int64]:
    """Return a number >= 0 that cells of about one size share: halvings of their longer side."""
    return np.rint(np.log2(np.maximum(tiles.h, tiles.w))).astype(np.int64)


def measured(tiles: Tiles, eye: Eye) -> Tiles:
    """Return the cells with enough valid pixels, with their shares."""
    shares = eye.valid(windows_of(tiles))
    kept = shares >= max(eye.min_valid, np.finfo(np.float32).tiny)
    return tiles.with_valid_share(shares).take(kept)


def own_points(tiles: Tiles, seen: Seen) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
    """Return `Field.points` of a mode that has one feature for each cell."""
    return seen.x, np.diag(areas(tiles))


def seen_through(
    eye: Eye,
    windows: Sequence[Window],
    lens: Lens,
    scale: NDArray[np.integer],
    *,
    robust: bool,
) -> Seen:
    """Show windows to the model, and once more disturbed where the robustness is measured.

    Raises:
        BudgetError: The passes are not there; nothing was seen.
    """
    x = eye.see(windows, lens)
    shift = None
    if robust:
        moved = unit(x) - unit(eye.see(windows, lens, disturbed=True))
        shift = np.linalg.norm(moved, axis=1).astype(np.float64)
    return Seen(x, tuple(windows), np.asarray(scale, np.int64), shift)


def nothing_valid(eye: Eye, scene: str = "") -> DataError:
    """Return the error of an image in which no cell has enough valid pixels."""
    name = f" {scene!r}" if scene else ""
    some = eye.valid([Window(0, 0, *eye.source.info.shape)])[0] > 0 < eye.min_valid
    return DataError(
        f"the image{name} has no cell with {eye.min_valid:.0%} valid pixels",
        "There is nothing to look at.",
        "Check --nodata" + (", or lower --min-valid." if some else ": no pixel is valid."),
    )


def need_room(shape: tuple[int, int], crop: int) -> None:
    """Refuse an image in which there is nothing to choose: all of it is one leaf.

    Args:
        shape: ``(height, width)`` in pixels.
        crop: Side of a crop in pixels.

    Raises:
        DataError: It is too small.
    """
    longest = max(shape)
    if longest > LEAF * crop:
        return
    other = "foveate classify takes images of this size whole"
    smaller = max(SMALLEST, longest // 4)
    fits = longest > LEAF * smaller
    raise DataError(
        f"an image of {shape[0]} x {shape[1]} pixels",
        f"A crop of {crop} pixels shows nearly all of it: there is nothing to choose from.",
        f"Type smaller crops: --crop {smaller}; {other}." if fits else
        f"{other[0].upper()}{other[1:]}: the smallest crop has {SMALLEST} pixels.",
    )  # fmt: skip


def fewer_cells(cells: int) -> str:
    """Return the end of a hint: that fewer first cells cost less, where there can be fewer."""
    return f", or fewer cells: --cells {cells // 2}" if cells > 1 else ""
