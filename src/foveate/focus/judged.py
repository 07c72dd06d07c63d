"""Cells that a model judges by a loss each: of an answer, or of a mask.

The losses themselves are what is mixed: L of a set is the mean of its cells' losses by area.
Representativeness and robustness compare features, which come from `foveate.focus.views`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import BudgetError
from foveate.focus.partition import LEAF, cell_count, parts, uniform, windows_of
from foveate.focus.strategies import (
    CellFeatures,
    OverviewStrategy,
    Strategy,
    no_valid_cells,
    valid_cells,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.focus.config import Allowance, FocusConfig, Goal
    from foveate.focus.encode import CropEncoder
    from foveate.grid import Tiles, Window

    LossFn = Callable[[Sequence[Window]], NDArray[np.floating]]


class JudgedStrategy(Strategy):
    """Losses in the place of features, beside the features that Eq. 4 and 5 compare.

    Args:
        views: Gives those features; None where they are not measured.
    """

    def __init__(self, views: Strategy | None) -> None:
        self._views = views

    def points(
        self, tiles: Tiles, features: CellFeatures
    ) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
        """Return the features whose distribution Eq. 4 compares; see `Strategy.points`."""
        if self._views is None:
            return super().points(tiles, features)
        return self._views.points(tiles, self._views.encode(tiles))

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return what the features of cells cost, in passes."""
        return np.zeros(len(tiles)) if self._views is None else self._views.price(tiles)

    def images(self, tiles: Tiles) -> int:
        """Return how many images the features of cells take."""
        return 0 if self._views is None else self._views.images(tiles)

    def _features(
        self, losses: NDArray[np.floating], tiles: Tiles, scale: NDArray[np.integer]
    ) -> CellFeatures:
        """Return losses in the form of features: the loss, and 1 (`foveate.focus.losses.given`)."""
        x = np.stack([losses, np.ones(len(losses))], axis=1).astype(np.float32)
        shift = None if self._views is None else self._views.encode(tiles).shift
        return CellFeatures(x, tuple(windows_of(tiles)), np.asarray(scale, np.int64), shift)


class CropLossStrategy(JudgedStrategy):
    """Losses of cells, each shown to the model: crops at native resolution, larger cells shrunk.

    Args:
        crop: Side of a crop in pixels of the image.
        branch: Children of a cell per side.
        price: From n windows to what judging them costs, (n,) passes.
        judge: From n windows to their losses, (n,) >= 0; it pays.
        views: See `JudgedStrategy`.
    """

    name, persists = "zoom", True
    removal = "crops judged apart, their losses averaged over what is left"

    def __init__(
        self, crop: int, branch: int, price: LossFn, judge: LossFn, views: Strategy | None = None
    ) -> None:
        super().__init__(views)
        self._crop, self._branch = crop, branch
        self._price, self._judge = price, judge

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Cells that are larger than a crop."""
        return np.maximum(tiles.h, tiles.w) > LEAF * self._crop

    def children(self, cell: Tiles) -> Tiles:
        """Return the parts of a cell; a strip is cut across only."""
        return parts(cell, self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return what the cells cost, in passes."""
        return np.asarray(self._price(windows_of(tiles)), np.float64) + super().price(tiles)

    def images(self, tiles: Tiles) -> int:
        """Return how many images the cells are, those of their features included."""
        return len(tiles) + super().images(tiles)

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Compute the losses of cells."""
        scale = np.where(self.can_refine(tiles), tiles.level, -1)
        return self._features(self._judge(windows_of(tiles)), tiles, scale)


class KnownLossStrategy(JudgedStrategy, OverviewStrategy):
    """Losses of cells that were all computed on one overview: encoding costs nothing.

    Args:
        losses: Of every window that may become a cell.
        branch: Children of a cell per side.
        parents: Windows whose children are among them.
        views: See `JudgedStrategy`.
    """

    removal = "boxes judged on one overview, their losses averaged over what is left"

    def __init__(
        self,
        losses: Mapping[Window, float],
        branch: int,
        parents: frozenset[Window],
        views: Strategy | None = None,
    ) -> None:
        JudgedStrategy.__init__(self, views)
        OverviewStrategy.__init__(self, branch)
        self._losses, self._parents = losses, parents

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Cells whose parts were judged, too."""
        return np.array([window in self._parents for window in windows_of(tiles)], bool)

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Look the cells up, and their features."""
        found = np.array([self._losses[window] for window in windows_of(tiles)])
        return self._features(found, tiles, np.zeros(len(tiles), np.int64))


def loss_goal(goal: Goal) -> Goal:
    """Return a goal for cells whose losses are given."""
    return replace(goal, losses={"given": 1.0}, bare={"given": 1.0}, coarse="whole")


def first_cells(encoder: CropEncoder, config: FocusConfig, scene: str, crop: int | None) -> Tiles:
    """Return the first partition, without cells of nodata.

    Args:
        encoder: Knows the image and its valid pixels.
        config: Says how many cells.
        scene: Name of the image.
        crop: Side of a crop that no cell has to be smaller than, pixels; None for any size.

    Raises:
        DataError: There is no cell with enough valid pixels.
    """
    shape = encoder.source.info.shape
    tiles = valid_cells(uniform(shape, cell_count(shape, config.cells, crop), scene), encoder)
    if not len(tiles):
        raise no_valid_cells(encoder, scene)
    return tiles


def reserve_passes(
    encoder: CropEncoder,
    allowance: Allowance,
    reserve: float,
    *,
    first: float,
    start: str,
    end: str,
    hint: str,
) -> None:
    """Open the ledger of a search, without the passes that are kept for the end.

    Args:
        encoder: Whose ledger it is.
        allowance: All that there are.
        reserve: Passes that are kept for the end.
        first: Passes without which there is no search.
        start: What takes those, for the message.
        end: What the others are kept for.
        hint: How else they may be fewer, for the message; or "".

    Raises:
        BudgetError: There are fewer.
    """
    if allowance.passes < first + reserve:
        raise BudgetError(
            f"a budget of {allowance.passes:g} passes",
            f"{start} takes {first:.4g}, {end} up to {reserve:.4g}.",
            f"Type --passes {np.ceil(first + reserve):.0f}{hint}.",
        )
    encoder.ledger = allowance.ledger()
    if "passes" in encoder.ledger.limits:
        encoder.ledger.limits["passes"] -= reserve


def release_reserve(encoder: CropEncoder, allowance: Allowance) -> None:
    """Let what `reserve_passes` has kept be spent; the images of the end are few."""
    encoder.ledger.limits.pop("crops", None)
    if "passes" in encoder.ledger.limits:
        encoder.ledger.limits["passes"] = allowance.passes


def hint_fewer(cells: int, regions: int) -> str:
    """Return the end of a hint: fewer cells and regions, as far as there can be fewer."""
    named = {"cells": cells, "regions": regions}
    less = " ".join(f"--{name} {number // 2}" for name, number in named.items() if number > 1)
    words = " or ".join(name for name, number in named.items() if number > 1)
    return f", or fewer {words}: {less}" if less else ""
