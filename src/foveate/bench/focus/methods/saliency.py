"""Saliency maps of the overview, followed by native crops of the most salient tiles.

The map is computed from the overview alone: objects too small for it are missed. The remaining
passes encode crops of the tiles with the highest values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
    from foveate.grid import Tiles

_PROBABILITY = "overview-probability"  # name in messages


@dataclass(frozen=True)
class SalientTiles(ABC):
    """A saliency of tiles from the overview, then crops of the most salient ones.

    Attributes:
        join: Aggregation of the predictions of the crops.
    """

    join: Join

    def __call__(self, task: Task) -> Outcome:
        """Run the method on a scene.

        Raises:
            BudgetError: The passes do not cover the overview, its saliency and a crop.
            MissingCapabilityError: See `check` and `check_join`.
        """
        self.check(task)
        tiles = native_tiles(task)
        return closer_look(task, tiles, self.saliency(task, tiles), self.join)

    def check(self, task: Task) -> None:
        """Check model and question.

        Raises:
            MissingCapabilityError: They do not have what the saliency or the join needs.
        """
        check_join(task.question, self.join)

    @abstractmethod
    def saliency(self, task: Task, tiles: Tiles) -> NDArray[np.floating]:
        """Return the saliency of n tiles, (n,).

        Raises:
            BudgetError: The passes do not cover it and a crop.
        """


class FeatureNorm(SalientTiles):
    """Tiles with the largest token norm in the overview: one pass, and one per crop."""

    def check(self, task: Task) -> None:
        """Check that there are tokens, and see `SalientTiles.check`."""
        super().check(task)
        check_tokens(task.encoder.model, classes=False)

    def saliency(self, task: Task, tiles: Tiles) -> NDArray[np.floating]:
        """Return the mean norm of the tokens in each tile, (n,)."""
        tokens = task.encoder.tokens(whole(task))
        norms = np.linalg.norm(tokens, axis=2, keepdims=True)
        return pool(task, tiles, norms)[:, 0]


class OverviewProbability(SalientTiles):
    """Tiles with the highest class probability of their tokens in the overview."""

    def check(self, task: Task) -> None:
        """Check that there are classes, and see `SalientTiles.check`."""
        need_classes(task.question, _PROBABILITY)
        super().check(task)

    def saliency(self, task: Task, tiles: Tiles) -> NDArray[np.floating]:
        """Return the probability of the most likely class of each tile, (n,).

        Raises:
            MissingCapabilityError: The tokens of the model are not in the space of the classes.
        """
        head = need_classes(task.question, _PROBABILITY)
        return probabilities(head, overview_cells(task, tiles, classes=True)).max(axis=1)


@dataclass(frozen=True)
class Rise(SalientTiles):
    """Random masking of the overview: saliency is the mean score of the masks that keep a pixel.

    RISE (Petsiuk et al. 2018, "RISE: randomized input sampling for explanation of black-box
    models"): coarse random grids, shifted and upsampled with linear interpolation. Deviations: the
    sum of each pixel is divided by the sum of its masks, not by their expectation, which matters
    for few masks; masked pixels take the mean colour, not black; the grid has the shape of the
    scene. The score is that of `target_score`. Each mask costs a pass: the authors use thousands.

    Attributes:
        masks: Maximum number of masks, limited by the budget minus the reserve for crops.
        cells: Cells of the grid along the longer side.
        shown: Share of the cells that a mask keeps.
    """

    masks: int = 200
    cells: int = 8
    shown: float = 0.5

    def saliency(self, task: Task, tiles: Tiles) -> NDArray[np.floating]:
        """Return the mean score of the masks that keep the pixels of each tile, (n,).

        Raises:
            BudgetError: The passes do not cover the overview, a mask and a crop.
        """
        score = target_score(task.question, task.encoder.embed([whole(task)])[0])
        view = MaskedOverview(task)
        count = min(self.masks, view.room(keep=kept_for_crops(task, tiles)))
        if not count:
            raise _too_few(task, "a mask")
        total, weight = np.zeros(view.shape), np.zeros(view.shape)
        values = score(view.embed(self._masks(task, view.shape, count)))
        for value, mask in zip(values, self._masks(task, view.shape, count), strict=True):
            total += value * mask
            weight += mask
        # Pixels that no mask keeps take the mean score of all masks.
        saliency = np.where(weight > 0, total / np.where(weight > 0, weight, 1), values.mean())
        return pool(task, tiles, saliency[:, :, None])[:, 0]

    def _masks(
        self, task: Task, shape: tuple[int, int], count: int
    ) -> Iterator[NDArray[np.float64]]:
        """Yield masks (h, w), the same ones in each call, so that they need no memory."""
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
    """Return (length, cells + 1) weights of linear interpolation, shifted by a share of a cell."""
    position = (np.arange(length) + 0.5) / length * cells - shift
    position = np.clip(position, 0, cells)
    return np.maximum(1 - np.abs(position[:, None] - np.arange(cells + 1)), 0)


@dataclass(frozen=True)
class PixelWise(SalientTiles):
    """Occlusion of each of the finest cells of the overview; its importance is the fall in score.

    The pixel-wise baseline of the HCS paper (section 6.4) searches the smallest regions one by
    one, without levels; the paper gives no details. Here it is occlusion (Zeiler and Fergus 2014,
    "Visualizing and understanding convolutional networks", section 4.2): one pass per cell.

    Attributes:
        cells: Maximum number of cells along the longer side of the overview: 14 as the patches of
            a ViT/16 at 224 pixels. Cells are larger if the budget, minus the reserve for crops,
            does not cover them.
    """

    cells: int = 14

    def saliency(self, task: Task, tiles: Tiles) -> NDArray[np.floating]:
        """Return the mean importance of the cells in each tile, (n,).

        Raises:
            BudgetError: The passes do not cover the overview, two cells and a crop.
        """
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
        return shared @ (score(z) - left) / total

    def _most(self, shape: tuple[int, int]) -> int:
        """Return the number of cells without a budget, with at least two pixels each."""
        count = round(self.cells**2 * min(shape) / max(shape))
        return max(1, min(count, shape[0] * shape[1] // 2))


def _too_few(task: Task, what: str) -> BudgetError:
    return BudgetError(
        f"a budget of {task.passes:g} passes",
        f"The overview, {what} and a crop take more.",
        "Increase --passes.",
    )
