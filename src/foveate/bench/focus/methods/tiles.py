"""Baselines: crops selected without or with little information, and tiling.

They have the same budget as looks.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.bench.focus.methods.answers import (
    Join,
    check_join,
    join,
    need_classes,
    normalised,
    probabilities,
    rank,
)
from foveate.bench.focus.methods.base import Outcome
from foveate.bench.focus.methods.crops import (
    joined_outcome,
    native_tiles,
    overview_cells,
    room,
    show,
    ties_of,
    whole,
)
from foveate.focus.partition import uniform, windows_of
from foveate.focus.strategies import valid_cells
from foveate.grid import Grid, Tiles, Window
from foveate.seeds import rng
from foveate.select.kcenter import kcenter_greedy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from foveate.bench.focus.methods.base import Task

    # Maps a task and its n tiles to (n,) rows, the order in which tiles are encoded.
    Order = Callable[[Task, Tiles], NDArray[np.int64]]


def whole_image(task: Task) -> Outcome:
    """Encode the whole scene, downsampled to the input of the model: one pass.

    Raises:
        BudgetError: No pass is left.
        DataError: No part of the scene has enough valid pixels.
    """
    native_tiles(task)
    windows, x = show(task, [whole(task)])
    head = task.question.head
    return Outcome(tuple(windows), None if head is None else normalised(probabilities(head, x)[0]))


def random_order(task: Task, tiles: Tiles) -> NDArray[np.int64]:
    """Return tiles in random order."""
    return rng(task.seed, "bench/focus/random").permutation(len(tiles))


def stratified_order(task: Task, tiles: Tiles) -> NDArray[np.int64]:
    """Return one tile of each segment of a Z-order curve, as many as the budget covers.

    The curve (Morton 1966) passes through the grid of tiles of any shape; segments have equal
    numbers of valid tiles. The other tiles follow in random order, for remaining passes.
    """
    return stratified(task, tiles, room(task, tiles))


def stratified(task: Task, tiles: Tiles, count: int) -> NDArray[np.int64]:
    """Return (n,) rows of tiles: one of each of `count` segments, then the others."""
    draw = rng(task.seed, "bench/focus/stratified")
    curve = np.argsort(z_order(tiles.row, tiles.col), kind="stable")
    n, count = len(tiles), min(max(count, 1), len(tiles))
    edges = np.arange(count + 1) * n // count
    first = curve[draw.integers(edges[:-1], edges[1:])]
    return _with_others(draw.permutation(first), draw.permutation(n))


def z_order(row: NDArray[np.integer], col: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return (n,) positions on a Z-order curve: the interleaved bits of row and column."""
    position = np.zeros(len(row), np.int64)
    for bit in range(int(max(row.max(initial=0), col.max(initial=0))).bit_length()):
        position |= ((row.astype(np.int64) >> bit) & 1) << (2 * bit + 1)
        position |= ((col.astype(np.int64) >> bit) & 1) << (2 * bit)
    return position


def grid_order(task: Task, tiles: Tiles) -> NDArray[np.int64]:
    """Return the tiles nearest to the centres of a regular grid, as fine as the budget covers.

    The other tiles follow in random order, for remaining passes.
    """
    cells = uniform(task.shape, max(1, room(task, tiles)))
    y, x = tiles.y + tiles.h / 2, tiles.x + tiles.w / 2
    centre_y, centre_x = cells.y + cells.h / 2, cells.x + cells.w / 2
    distance = (y[None] - centre_y[:, None]) ** 2 + (x[None] - centre_x[:, None]) ** 2
    nearest = distance.argmin(axis=1)
    others = rng(task.seed, "bench/focus/grid").permutation(len(tiles))
    return _with_others(nearest, others)


def kcenter_order(task: Task, tiles: Tiles) -> NDArray[np.int64]:
    """Return tiles by greedy k-center on the tokens of the overview; takes one pass.

    See `foveate.select.kcenter` for the sources.

    Raises:
        MissingCapabilityError: The model has no tokens.
    """
    x = overview_cells(task, tiles, classes=False)
    start = int(rng(task.seed, "bench/focus/kcenter").integers(len(tiles)))
    return kcenter_greedy(x, len(tiles), ties=ties_of(task, windows_of(tiles)), start=start).rows


def _with_others(first: NDArray[np.integer], others: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return distinct rows, then all others in their order."""
    rows = np.concatenate([first, others]).astype(np.int64)
    return rows[np.sort(np.unique(rows, return_index=True)[1])]


@dataclass(frozen=True)
class NativeTiles:
    """Tiles at native resolution, one pass each.

    Attributes:
        order: Order in which tiles are encoded until the budget is spent.
        join: Aggregation of their predictions.
    """

    order: Order
    join: Join

    def __call__(self, task: Task) -> Outcome:
        """Run the method on a scene.

        Raises:
            BudgetError: The passes do not cover a tile.
            MissingCapabilityError: The model or the question does not support order or join.
        """
        check_join(task.question, self.join)
        tiles = native_tiles(task)
        rows = self.order(task, tiles)
        windows, x = show(task, [tiles.window(int(i)) for i in rows])
        return joined_outcome(task, windows, x, self.join)


def tiles_in(order: Order) -> Callable[[Join], NativeTiles]:
    """Return a function that creates the method of an aggregation, for tiles in an order."""
    return functools.partial(NativeTiles, order)


def max_probability(task: Task) -> Outcome:
    """Encode all tiles, or a stratified sample, and select those of highest class probability.

    The prediction is the mean probability of the selected tiles.

    Raises:
        BudgetError: The passes do not cover a tile.
        MissingCapabilityError: There are no classes.
    """
    head = need_classes(task.question, "max-probability")
    tiles = native_tiles(task)
    rows = stratified_order(task, tiles)
    windows, x = show(task, [tiles.window(int(i)) for i in rows])
    p = probabilities(head, x)
    value = p.max(axis=1)
    order = rank(value, ties_of(task, windows))[: task.regions]
    mean = normalised(p[order].mean(axis=0))
    return Outcome(tuple(windows[i] for i in order), mean, value, tuple(windows))


@dataclass(frozen=True)
class WholeTiling:
    """All crops of the scene, with overlap, merged: slicing aided inference.

    SAHI (Akyon et al. 2022, "Slicing aided hyper inference and fine-tuning for small object
    detection") runs a detector on every slice and merges overlapping detections. Here a crop has
    one prediction instead of detections: crops that overlap a better one by half of their area
    or more are not selected, and the importance of a tile is the area-weighted mean of its crops.
    If the budget does not cover all crops, a stratified sample of them is encoded.

    Attributes:
        join: Aggregation of the predictions of crops.
        overlap: Overlap of neighbouring crops, as a share of their side.
        match: Minimum overlap, as a share of the area, at which a crop is merged into a better
            one.
    """

    join: Join
    overlap: float = 0.2
    match: float = 0.5

    def __call__(self, task: Task) -> Outcome:
        """Run the method on a scene.

        Raises:
            BudgetError: The passes do not cover a crop.
            MissingCapabilityError: See `check_join`.
        """
        check_join(task.question, self.join)
        tiles = native_tiles(task)
        crops = self._crops(task) or tiles
        rows = stratified_order(task, crops)
        windows, x = show(task, [crops.window(int(i)) for i in rows])
        ties = ties_of(task, windows)
        joined = join(task.question, x, self.join, ties)
        if joined.value is None:
            return Outcome(self._merged(windows, task.regions), joined.probabilities)
        best_first = [windows[i] for i in rank(joined.value, ties)]
        share = shared_area(windows_of(tiles), windows)
        covered = share.sum(axis=1) > 0
        importance = (share @ joined.value)[covered] / share.sum(axis=1)[covered]
        cells = tuple(windows_of(tiles.take(covered)))
        selected = self._merged(best_first, task.regions)
        return Outcome(selected, joined.probabilities, importance, cells)

    def _crops(self, task: Task) -> Tiles:
        stride = max(1, round(task.crop * (1 - self.overlap)))
        grid = Grid(task.shape, task.crop, stride, edge="shift")
        return valid_cells(grid.tiles("scene"), task.encoder)

    def _merged(self, windows: Sequence[Window], most: int) -> tuple[Window, ...]:
        """Return the first windows that are not merged into an earlier one."""
        kept: list[Window] = []
        for window in windows:
            smaller = [min(window.h * window.w, other.h * other.w) for other in kept]
            shared = shared_area([window], kept)[0] if kept else np.empty(0)
            if not (shared >= self.match * np.array(smaller)).any():
                kept.append(window)
            if len(kept) == most:
                break
        return tuple(kept)


def shared_area(first: Sequence[Window], second: Sequence[Window]) -> NDArray[np.float64]:
    """Return the areas of the intersections of windows, in pixels: (n, m)."""
    a, b = (np.array(given, np.float64).reshape(-1, 4) for given in (first, second))
    sides = [
        np.minimum((a[:, i] + a[:, i + 2])[:, None], b[:, i] + b[:, i + 2])
        - np.maximum(a[:, i, None], b[:, i])
        for i in (0, 1)
    ]
    return np.maximum(sides[0], 0) * np.maximum(sides[1], 0)


def random_regions(task: Task) -> Outcome:
    """Select the maximum number of regions at random positions: the chance level.

    The prediction is their mean probability.

    Raises:
        BudgetError: The passes do not cover a crop.
    """
    draw = rng(task.seed, "bench/focus/regions")
    height, width = (min(task.crop, side) for side in task.shape)
    tiles = native_tiles(task)
    tries = 16 * task.regions
    top = draw.integers(task.shape[0] - height + 1, size=tries)
    left = draw.integers(task.shape[1] - width + 1, size=tries)
    anywhere = Tiles.of("scene", [(y, x, height, width) for y, x in zip(top, left, strict=True)])
    anywhere = valid_cells(anywhere, task.encoder)
    # If most of the scene is invalid, few positions are valid: valid tiles are added.
    rest = draw.permutation(len(tiles))
    windows = list(dict.fromkeys([*windows_of(anywhere), *windows_of(tiles.take(rest))]))
    windows, x = show(task, windows[: task.regions])
    return Outcome(
        tuple(windows), join(task.question, x, "mean", ties_of(task, windows)).probabilities
    )
