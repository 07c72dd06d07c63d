"""Strategies for cells with a loss each: the loss of an answer, or of a mask.

L of a set is the area-weighted mean of the losses of its cells. Representativeness and robustness
compare features, which come from `foveate.focus.views`.
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

    from foveate.focus.allowance import Allowance
    from foveate.focus.config import FocusConfig, Goal
    from foveate.focus.encode import CropEncoder
    from foveate.grid import Tiles, Window

    LossFn = Callable[[Sequence[Window]], NDArray[np.floating]]


class JudgedStrategy(Strategy):
    """Strategy with losses instead of features; Eq. 4 and 5 compare separate features.

    Args:
        views: Strategy that encodes those features; None if the two scores are not computed.
    """

    def __init__(self, views: Strategy | None) -> None:
        self._views = views

    def points(
        self, tiles: Tiles, features: CellFeatures
    ) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
        """Return the features that Eq. 4 compares; see `Strategy.points`."""
        if self._views is None:
            return super().points(tiles, features)
        return self._views.points(tiles, self._views.encode(tiles))

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return the cost of the features of cells, in passes."""
        return np.zeros(len(tiles)) if self._views is None else self._views.price(tiles)

    def images(self, tiles: Tiles) -> int:
        """Return the number of images of the features of cells."""
        return 0 if self._views is None else self._views.images(tiles)

    def _features(
        self, losses: NDArray[np.floating], tiles: Tiles, scale: NDArray[np.integer]
    ) -> CellFeatures:
        """Return losses as features: the loss, and 1 (see `foveate.focus.losses.given`)."""
        x = np.stack([losses, np.ones(len(losses))], axis=1).astype(np.float32)
        shift = None if self._views is None else self._views.encode(tiles).shift
        return CellFeatures(x, tuple(windows_of(tiles)), np.asarray(scale, np.int64), shift)


class CropLossStrategy(JudgedStrategy):
    """Losses of separate cells: crops at native resolution, larger cells downsampled.

    Args:
        crop: Side of a crop in pixels of the image.
        branch: Children of a cell per side.
        price: Maps n windows to the cost of their losses, (n,) passes.
        losses: Maps n windows to their losses, (n,) >= 0, and books the cost.
        views: See `JudgedStrategy`.
    """

    name, persists = "zoom", True
    removal = "crops scored separately, their losses averaged over the remaining cells"

    def __init__(
        self, crop: int, branch: int, price: LossFn, losses: LossFn, views: Strategy | None = None
    ) -> None:
        super().__init__(views)
        self._crop, self._branch = crop, branch
        self._price, self._losses = price, losses

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Return the mask of cells larger than a crop."""
        return np.maximum(tiles.h, tiles.w) > LEAF * self._crop

    def children(self, cell: Tiles) -> Tiles:
        """Return the children of a cell; strips are divided along their length only."""
        return parts(cell, self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return the cost of cells, in passes."""
        return np.asarray(self._price(windows_of(tiles)), np.float64) + super().price(tiles)

    def images(self, tiles: Tiles) -> int:
        """Return the number of images of cells, including those of their features."""
        return len(tiles) + super().images(tiles)

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Compute the losses of cells."""
        scale = np.where(self.can_refine(tiles), tiles.level, -1)
        return self._features(self._losses(windows_of(tiles)), tiles, scale)


class KnownLossStrategy(JudgedStrategy, OverviewStrategy):
    """Losses of cells computed on one overview in advance: encoding costs nothing.

    Args:
        losses: Loss of every window that may become a cell.
        branch: Children of a cell per side.
        parents: Windows whose children have losses.
        views: See `JudgedStrategy`.
    """

    removal = "boxes scored on one overview, their losses averaged over the remaining cells"

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
        """Return the mask of cells whose children have losses."""
        return np.array([window in self._parents for window in windows_of(tiles)], bool)

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Return the stored losses of cells, and their features."""
        losses = np.array([self._losses[window] for window in windows_of(tiles)])
        return self._features(losses, tiles, np.zeros(len(tiles), np.int64))


def loss_goal(goal: Goal) -> Goal:
    """Return the goal for cells with given losses."""
    return replace(goal, losses={"given": 1.0}, bare={"given": 1.0}, coarse="whole")


def first_cells(encoder: CropEncoder, config: FocusConfig, scene: str, crop: int | None) -> Tiles:
    """Return the first partition without invalid cells.

    Args:
        encoder: Encoder of the image.
        config: Configuration with the number of cells.
        scene: Name of the image.
        crop: Minimum side of a cell, pixels; None for no minimum.

    Raises:
        DataError: No cell has enough valid pixels.
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
    """Open the ledger of a search, without the passes reserved for the end.

    Args:
        encoder: Encoder whose ledger is opened.
        allowance: Limits of the look.
        reserve: Passes reserved for the end.
        first: Passes of the start of the search.
        start: Description of the start, for the error message.
        end: Description of the end, for the error message.
        hint: Other ways to need fewer passes, for the error message; or "".

    Raises:
        BudgetError: The passes of the allowance are fewer than `first` plus `reserve`.
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
    """Release the passes of `reserve_passes`, and the limit on crops: the last images are few."""
    encoder.ledger.limits.pop("crops", None)
    if "passes" in encoder.ledger.limits:
        encoder.ledger.limits["passes"] = allowance.passes


def hint_fewer(cells: int, regions: int) -> str:
    """Return the end of a hint: use fewer cells or regions, if there is more than one."""
    reducible = {n: v for n, v in {"cells": cells, "regions": regions}.items() if v > 1}
    options = " ".join(f"--{name} {number // 2}" for name, number in reducible.items())
    return f", or use fewer {' or '.join(reducible)}: {options}" if reducible else ""
