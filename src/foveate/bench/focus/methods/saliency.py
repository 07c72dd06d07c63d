"""A map of what matters in the overview, then native crops of the best places.

The map costs passes over the overview alone: objects that are too small for it stay unseen. What
is left of the budget buys crops of the tiles with the highest values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.bench.focus.methods.answers import (
    Join,
    check_join,
    need_classes,
    probabilities,
    target_score,
)
from foveate.bench.focus.methods.crops import (
    closer_look,
    kept_for_crops,
    native_tiles,
    overview_cells,
    overview_partition,
    pool,
    whole,
)
from foveate.bench.focus.methods.masked import MaskedOverview
from foveate.bench.focus.methods.tiles import shared_area
from foveate.errors import BudgetError
from foveate.focus.partition import windows_of
from foveate.focus.strategies import check_tokens
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.bench.focus.methods.base import Outcome, Task


@dataclass(frozen=True)
class FeatureNorm:
    """Tiles whose tokens in the overview are longest: one pass, and one a crop.

    Attributes:
        join: How the answers of the crops become one.
    """

    join: Join

    def __call__(self, task: Task) -> Outcome:
        """Look at the scene.

        Raises:
            BudgetError: The passes do not buy the overview and a crop.
            MissingCapabilityError: The model has no tokens; see also `check_join`.
        """
        check_join(task.question, self.join)
        check_tokens(task.encoder.model, classes=False)
        tiles = native_tiles(task)
        tokens = task.encoder.tokens(whole(task))
        norms = np.linalg.norm(tokens, axis=2, keepdims=True)
        return closer_look(task, tiles, pool(task, tiles, norms)[:, 0], self.join)


@dataclass(frozen=True)
class OverviewProbability:
    """Tiles whose most likely class, of their tokens in the overview, is the most probable.

    Attributes:
        join: How the answers of the crops become one.
    """

    join: Join

    def __call__(self, task: Task) -> Outcome:
        """Look at the scene.

        Raises:
            BudgetError: The passes do not buy the overview and a crop.
            MissingCapabilityError: There are no classes, or the tokens of the model do not lie
                in their space; see also `check_join`.
        """
        head = need_classes(task.question, "overview-probability")
        check_join(task.question, self.join)
        tiles = native_tiles(task)
        x = overview_cells(task, tiles, classes=True)
        return closer_look(task, tiles, probabilities(head, x).max(axis=1), self.join)


@dataclass(frozen=True)
class Rise:
    """Random masks on the overview: a place is worth the mean score of the masks that show it.

    RISE (Petsiuk et al. 2018, "RISE: randomized input sampling for explanation of black-box
    models"): coarse random grids, shifted and enlarged with linear interpolation. Deviations: a
    place is divided by the sum of its own masks, not by their expectation, which matters for few
    masks; what is hidden takes the mean colour, not black; the grid has the shape of the scene.
    The score is that of `target_score`. Each mask costs a pass: the authors use thousands.

    Attributes:
        join: How the answers of the crops become one.
        masks: Most masks; fewer where the budget, less what crops take, does not hold them.
        cells: Of the grid, along the longer side.
        shown: Share of the cells that a mask shows.
    """

    join: Join
    masks: int = 200
    cells: int = 8
    shown: float = 0.5

    def __call__(self, task: Task) -> Outcome:
        """Look at the scene.

        Raises:
            BudgetError: The passes do not buy the overview, a mask and a crop.
            MissingCapabilityError: See `check_join`.
        """
        check_join(task.question, self.join)
        tiles = native_tiles(task)
        score = target_score(task.question, task.encoder.embed([whole(task)])[0])
        view = MaskedOverview(task)
        count = min(self.masks, view.room(keep=kept_for_crops(task, tiles)))
        if not count:
            raise _too_few(task, "a mask")
        total, seen = np.zeros(view.shape), np.zeros(view.shape)
        values = score(view.embed(self._masks(task, view.shape, count)))
        for value, mask in zip(values, self._masks(task, view.shape, count), strict=True):
            total += value * mask
            seen += mask
        # What no mask showed is worth what all masks are on average.
        found = np.where(seen > 0, total / np.where(seen > 0, seen, 1), values.mean())
        return closer_look(task, tiles, pool(task, tiles, found[:, :, None])[:, 0], self.join)

    def _masks(
        self, task: Task, shape: tuple[int, int], count: int
    ) -> Iterator[NDArray[np.float64]]:
        """Yield masks (h, w): the same ones each time, so that they are not kept."""
        draw = rng(task.seed, "bench/focus/rise")
        grid = [max(1, round(self.cells * side / max(task.shape))) for side in task.shape]
        for _ in range(count):
            coarse = (draw.random([side + 1 for side in grid]) < self.shown).astype(float)
            shift = draw.random(2)
            rows, cols = (
                _interpolation(length, cells, float(by))
                for length, cells, by in zip(shape, grid, shift, strict=True)
            )
            yield rows @ coarse @ cols.T


def _interpolation(length: int, cells: int, shift: float) -> NDArray[np.float64]:
    """Return (length, cells + 1) weights of linear interpolation, shifted by a part of a cell."""
    place = (np.arange(length) + 0.5) / length * cells - shift
    place = np.clip(place, 0, cells)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(cells + 1)), 0)


@dataclass(frozen=True)
class PixelWise:
    """Each of the finest cells of the overview hidden once: what the score falls by is its worth.

    What the HCS paper compares its search with (section 6.4) searches the smallest regions one by
    one, without levels; it does not say how. Here it is occlusion (Zeiler and Fergus 2014,
    "Visualizing and understanding convolutional networks", section 4.2): a pass for each cell.

    Attributes:
        join: How the answers of the crops become one.
        cells: Along the longer side of the overview, at most: 14 are the patches of a ViT/16 at
            224 pixels. Cells are larger where the budget, less what crops take, does not hold
            them.
    """

    join: Join
    cells: int = 14

    def __call__(self, task: Task) -> Outcome:
        """Look at the scene.

        Raises:
            BudgetError: The passes do not buy the overview, two cells and a crop.
            MissingCapabilityError: See `check_join`.
        """
        check_join(task.question, self.join)
        tiles = native_tiles(task)
        z = task.encoder.embed([whole(task)])
        score = target_score(task.question, z[0])
        view = MaskedOverview(task)
        count = min(self._most(task.shape), view.room(keep=kept_for_crops(task, tiles)))
        if not count:
            raise _too_few(task, "a cell")
        cells = overview_partition(task, count)
        left = score(view.embed(1 - share for share in view.shares(cells)))
        shared = shared_area(windows_of(tiles), windows_of(cells))
        total = np.maximum(shared.sum(axis=1), 1)
        return closer_look(task, tiles, shared @ (score(z) - left) / total, self.join)

    def _most(self, shape: tuple[int, int]) -> int:
        """Return the number of cells without a budget; of a tiny scene, two pixels each."""
        wanted = round(self.cells**2 * min(shape) / max(shape))
        return max(1, min(wanted, shape[0] * shape[1] // 2))


def _too_few(task: Task, what: str) -> BudgetError:
    return BudgetError(
        f"a budget of {task.passes:g} passes",
        f"The overview, {what} and a crop take more.",
        "Give more passes.",
    )
