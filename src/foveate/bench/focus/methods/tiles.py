"""Crops that are chosen with little or no looking, and whole tiling.

These are the baselines of the same budget: a look that costs as many passes has to beat them.
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

    # From a task and its n tiles to (n,) rows, in the order in which tiles are shown.
    Order = Callable[[Task, Tiles], NDArray[np.int64]]


def whole_image(task: Task) -> Outcome:
    """Show the whole scene, shrunk to the input of the model: one pass, nothing is chosen.

    Raises:
        BudgetError: The pass is not there.
        DataError: No part of the scene has enough valid pixels.
    """
    native_tiles(task)
    windows, x = show(task, [whole(task)])
    head = task.question.head
    found = None if head is None else normalised(probabilities(head, x)[0])
    return Outcome(tuple(windows), found)


def random_order(task: Task, tiles: Tiles) -> NDArray[np.int64]:
    """Return tiles in random order."""
    return rng(task.seed, "bench/focus/random").permutation(len(tiles))


def stratified_order(task: Task, tiles: Tiles) -> NDArray[np.int64]:
    """Return one tile of each stretch of a Z-order curve, as many as the budget buys.

    The curve (Morton 1966) runs through the grid of tiles, whatever its shape; stretches have
    equal numbers of valid tiles. The other tiles follow at random, for what is left over.
    """
    return stratified(task, tiles, room(task, tiles))


def stratified(task: Task, tiles: Tiles, count: int) -> NDArray[np.int64]:
    """Return (n,) rows of tiles: one of each of `count` stretches, then the others."""
    draw = rng(task.seed, "bench/focus/stratified")
    curve = np.argsort(z_order(tiles.row, tiles.col), kind="stable")
    n, count = len(tiles), min(max(count, 1), len(tiles))
    edges = np.arange(count + 1) * n // count
    first = curve[draw.integers(edges[:-1], edges[1:])]
    return _with_others(draw.permutation(first), draw.permutation(n))


def z_order(row: NDArray[np.integer], col: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return (n,) places along a Z-order curve: the bits of row and column, interleaved."""
    found = np.zeros(len(row), np.int64)
    for bit in range(int(max(row.max(initial=0), col.max(initial=0))).bit_length()):
        found |= ((row.astype(np.int64) >> bit) & 1) << (2 * bit + 1)
        found |= ((col.astype(np.int64) >> bit) & 1) << (2 * bit)
    return found


def grid_order(task: Task, tiles: Tiles) -> NDArray[np.int64]:
    """Return the tiles nearest to the centres of a regular grid, as fine as the budget buys.

    The other tiles follow at random, for what is left over.
    """
    cells = uniform(task.shape, max(1, room(task, tiles)))
    y, x = tiles.y + tiles.h / 2, tiles.x + tiles.w / 2
    centre_y, centre_x = cells.y + cells.h / 2, cells.x + cells.w / 2
    far = (y[None] - centre_y[:, None]) ** 2 + (x[None] - centre_x[:, None]) ** 2
    nearest = far.argmin(axis=1)
    others = rng(task.seed, "bench/focus/grid").permutation(len(tiles))
    return _with_others(nearest, others)


def kcenter_order(task: Task, tiles: Tiles) -> NDArray[np.int64]:
    """Return tiles by greedy k-center on the tokens of the overview, which costs a pass.

    See `foveate.select.kcenter` for the sources.

    Raises:
        MissingCapabilityError: The model has no tokens.
    """
    x = overview_cells(task, tiles, classes=False)
    start = int(rng(task.seed, "bench/focus/kcenter").integers(len(tiles)))
    return kcenter_greedy(x, len(tiles), ties=ties_of(task, windows_of(tiles)), start=start).rows


def _with_others(first: NDArray[np.integer], others: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return rows without repetition, then all others in their order."""
    rows = np.concatenate([first, others]).astype(np.int64)
    return rows[np.sort(np.unique(rows, return_index=True)[1])]


@dataclass(frozen=True)
class NativeTiles:
    """Tiles at native resolution, each a pass.

    Attributes:
        order: In which order tiles are shown, until the budget is spent.
        join: How their answers become one.
    """

    order: Order
    join: Join

    def __call__(self, task: Task) -> Outcome:
        """Look at the scene.

        Raises:
            BudgetError: The passes do not buy a tile.
            MissingCapabilityError: What order or join need is not there.
        """
        check_join(task.question, self.join)
        tiles = native_tiles(task)
        rows = self.order(task, tiles)
        windows, x = show(task, [tiles.window(int(i)) for i in rows])
        return joined_outcome(task, windows, x, self.join)


def tiles_in(order: Order) -> Callable[[Join], NativeTiles]:
    """Return what makes a method of a way of joining, for tiles in an order."""
    return functools.partial(NativeTiles, order)


def max_probability(task: Task) -> Outcome:
    """Show all tiles, or a stratified sample, and choose those whose class is most probable.

    The answer is the mean probability of the chosen tiles.

    Raises:
        BudgetError: The passes do not buy a tile.
        MissingCapabilityError: There are no classes.
    """
    head = need_classes(task.question, "max-probability")
    tiles = native_tiles(task)
    rows = stratified_order(task, tiles)
    windows, x = show(task, [tiles.window(int(i)) for i in rows])
    chances = probabilities(head, x)
    value = chances.max(axis=1)
    order = rank(value, ties_of(task, windows))[: task.regions]
    found = normalised(chances[order].mean(axis=0))
    return Outcome(tuple(windows[i] for i in order), found, value, tuple(windows))


@dataclass(frozen=True)
class WholeTiling:
    """Every crop of the scene, with overlap, merged: slicing aided inference.

    SAHI (Akyon et al. 2022, "Slicing aided hyper inference and fine-tuning for small object
    detection") shows a detector every slice and merges detections that overlap. Here a crop has
    one answer in the place of detections: crops that overlap a better one by half of their area
    or more are not chosen, and the importance of a tile is the mean of its crops' by shared area.
    Where the budget does not hold all crops, a stratified sample of them is shown.

    Attributes:
        join: How the answers of crops become one.
        overlap: Share of a crop's side that it shares with the next.
        match: Share of the area of a crop, from which it counts as the same as a better one.
    """

    join: Join
    overlap: float = 0.2
    match: float = 0.5

    def __call__(self, task: Task) -> Outcome:
        """Look at the scene.

        Raises:
            BudgetError: The passes do not buy a crop.
            MissingCapabilityError: See `check_join`.
        """
        check_join(task.question, self.join)
        tiles = native_tiles(task)
        crops = self._crops(task) or tiles
        rows = stratified_order(task, crops)
        windows, x = show(task, [crops.window(int(i)) for i in rows])
        ties = ties_of(task, windows)
        found = join(task.question, x, self.join, ties)
        if found.value is None:
            return Outcome(self._merged(windows, task.regions), found.probabilities)
        best_first = [windows[i] for i in rank(found.value, ties)]
        share = shared_area(windows_of(tiles), windows)
        covered = share.sum(axis=1) > 0
        importance = (share @ found.value)[covered] / share.sum(axis=1)[covered]
        cells = tuple(windows_of(tiles.take(covered)))
        chosen = self._merged(best_first, task.regions)
        return Outcome(chosen, found.probabilities, importance, cells)

    def _crops(self, task: Task) -> Tiles:
        stride = max(1, round(task.crop * (1 - self.overlap)))
        grid = Grid(task.shape, task.crop, stride, edge="shift")
        return valid_cells(grid.tiles("scene"), task.encoder)

    def _merged(self, windows: Sequence[Window], most: int) -> tuple[Window, ...]:
        """Return the first windows of those that no earlier one matches."""
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
    """Return the pixels that windows share: (n, m)."""
    a, b = (np.array(given, np.float64).reshape(-1, 4) for given in (first, second))
    sides = [
        np.minimum((a[:, i] + a[:, i + 2])[:, None], b[:, i] + b[:, i + 2])
        - np.maximum(a[:, i, None], b[:, i])
        for i in (0, 1)
    ]
    return np.maximum(sides[0], 0) * np.maximum(sides[1], 0)


def random_regions(task: Task) -> Outcome:
    """Choose as many crops as regions are allowed, anywhere in the scene, without looking.

    What chance finds. Their mean probability is the answer.

    Raises:
        BudgetError: The passes do not buy a crop.
    """
    draw = rng(task.seed, "bench/focus/regions")
    height, width = (min(task.crop, side) for side in task.shape)
    tiles = native_tiles(task)
    tries = 16 * task.regions
    top = draw.integers(task.shape[0] - height + 1, size=tries)
    left = draw.integers(task.shape[1] - width + 1, size=tries)
    anywhere = Tiles.of("scene", [(y, x, height, width) for y, x in zip(top, left, strict=True)])
    anywhere = valid_cells(anywhere, task.encoder)
    # Of a scene that is mostly nodata few places are valid: its tiles take their place.
    rest = draw.permutation(len(tiles))
    windows = list(dict.fromkeys([*windows_of(anywhere), *windows_of(tiles.take(rest))]))
    windows, x = show(task, windows[: task.regions])
    found = join(task.question, x, "mean", ties_of(task, windows))
    return Outcome(tuple(windows), found.probabilities)
