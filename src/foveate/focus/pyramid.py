"""Successive halving over resolutions: many cells at low resolution, few at native resolution.

A search for one object among many cells does not need all of them at full resolution. Each cell is
encoded at a quarter of the side of the model's input, about a sixteenth of a pass; the best ones
again at half the side, and the best of these at native resolution (successive halving: Jamieson
and Talwalkar, 2016; the levels of an image pyramid replace its rounds). If the budget does not
cover such a first view of all leaves, the search starts with larger cells and refines the best.

Objects are not aligned to a grid. The windows of the best cells are therefore shifted by half a
crop, and a shifted window with a better score represents its cell.

Scores are compared between cells at the same resolution only, since views at different resolutions
differ whatever their content. There are two kinds of scores:

- "match": the loss of the goal at the finest view, for a named target (a query).
- "rarity": without a named target. The distance to the nearest other cell, that is, 1 - cosine to
  the nearest window that does not overlap; and, with classes, the divergence (KL) of the class
  probabilities of the cell from those of all cells. Each is standardised among the cells of a
  view; the views of a cell are averaged. The nearest cell is more informative than the mean of
  all: in a scene of four land covers every cell is far from the mean, but only a unique one is far
  from all other cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from foveate.focus.losses import LossInputs, mixed
from foveate.focus.partition import LEAF, apart, areas, moved_windows, parts, windows_of
from foveate.focus.refine import Refinement, State, region_ties, shown_area
from foveate.focus.score import AdditiveModel, Scorer, neighbours
from foveate.focus.strategies import CellFeatures, OverviewStrategy, valid_cells
from foveate.grid import Tiles, Window
from foveate.models.capabilities import TakesSizes
from foveate.models.heads import unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.focus.config import Goal
    from foveate.focus.encode import CropEncoder, SizedEncoder
    from foveate.focus.refine import SearchResult, Stop
    from foveate.focus.strategies import Strategy

VIEWS = (4, 2)  # divisors of the side of the model's input, for the smaller views

_FIRST = 2 / 5  # share of the remaining passes for the first views of all cells
_AGAIN = 1 / 4  # share of the passes for the shifted windows
_DIGITS = 4  # losses are rounded to these decimals; the seed breaks ties
_PAIRS_AT_ONCE = 2**22  # pairs of windows compared at a time: 32 MB
_TINY = 1e-9


@dataclass
class _View:
    """Windows encoded at one resolution.

    Attributes:
        sized: The model at that input size.
        rows: Cell of each window; a cell may have several.
        windows: The windows.
        x: (m, d) features.
    """

    sized: SizedEncoder
    rows: list[int] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    x: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def add(self, rows: Sequence[int], windows: Sequence[Window], x: NDArray[np.float32]) -> None:
        self.rows += rows
        self.windows += windows
        self.x = np.concatenate([self.x, x]) if len(self.x) else x

    def unmixed(self, cells: Sequence[Window]) -> NDArray[np.float64]:
        """Return the distance of shifted windows from the mixture of the cells that they overlap.

        A window on the border of two land covers resembles neither of them, but is not rare.
        """
        z = unit(self.x)
        whole = {row: i for i, row in enumerate(self.rows) if self.windows[i] == cells[row]}
        boxes = np.array([cells[row] for row in whole], np.int64).reshape(-1, 4)
        base = z[list(whole.values())]
        distance = np.full(len(z), np.inf)
        for i, (row, w) in enumerate(zip(self.rows, self.windows, strict=True)):
            if w == cells[row] or not whole:
                continue
            height = np.minimum(boxes[:, 0] + boxes[:, 2], w.y + w.h) - np.maximum(boxes[:, 0], w.y)
            width = np.minimum(boxes[:, 1] + boxes[:, 3], w.x + w.w) - np.maximum(boxes[:, 1], w.x)
            share = np.maximum(height, 0) * np.maximum(width, 0)
            if share.any():
                distance[i] = 1 - z[i] @ unit(share @ base)
        return distance


class PyramidStrategy(OverviewStrategy):
    """Whole cells at the smallest view; `Pyramid` encodes the best ones at higher resolution.

    Args:
        encoder: Encoder of the image.
        crop: Side of a crop at native resolution, pixels.
        branch: Children of a cell per side.
    """

    name, persists = "zoom", True
    removal = "crops encoded separately; the loss of a set is the mean of their losses"

    def __init__(self, encoder: CropEncoder, crop: int, branch: int) -> None:
        super().__init__(branch)
        self._encoder, self.crop = encoder, crop
        self.sized = views(encoder, crop)

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Return the mask of cells larger than a leaf."""
        return np.maximum(tiles.h, tiles.w) > LEAF * self.crop

    def children(self, cell: Tiles) -> Tiles:
        """Return the children of a cell."""
        return parts(cell, self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return the cost of the first views, in passes."""
        return self._encoder.price(windows_of(tiles), self.sized[0])

    def images(self, tiles: Tiles) -> int:
        """Return the number of images of the first views."""
        return self._encoder.count_new(windows_of(tiles), self.sized[0])

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Encode cells at the smallest view."""
        windows = windows_of(tiles)
        x = self._encoder.embed(windows, self.sized[0])
        return CellFeatures(x, tuple(windows), np.zeros(len(windows), np.int64))


class Pyramid(Refinement):
    """Search by successive halving; see the module docstring, and `Refinement`.

    A share ``1 - explore`` of the passes is reserved for crops at native resolution. If the budget
    covers all crops at native resolution, no smaller views are encoded.
    """

    def _search(self, tiles: Tiles) -> SearchResult:
        assert isinstance(self.strategy, PyramidStrategy)  # noqa: S101  (`look` makes it)
        self._total = float(areas(tiles).sum())
        self._close_cuts = 0
        passes = self._left
        self._begin_with(tiles, self.strategy.sized[-1:], passes)
        if self._large().size or self._price(0, windows_of(self._tiles)) > passes:
            self._begin_with(tiles, self.strategy.sized, _FIRST * passes)
        self._encode(0, list(range(len(self._tiles))), windows_of(self._tiles))
        rounds = [self._round(self._scored())]
        last = len(self._views) - 1
        if last:
            one = self.encoder.standard.passes(Window(0, 0, self.strategy.crop, self.strategy.crop))
            native = max(one, (1 - self.explore) * passes)  # at least one crop
            again = _AGAIN * passes
            self._cut_best((self._left - native - again) / 2)
            for view in range(1, last):
                self._encode_best(view, self._left - native - again)
            rounds.append(self._round(self._scored()))
            self._encode_shifted(last - 1, self._left - native)
            self._encode_best(last, self._left)
        else:
            self._encode_shifted(0, self._left)
        state = self._scored()
        rounds.append(self._round(state))
        stop: Stop = "crops" if self._crops < 1 else "passes"
        if not self._candidates(last).size and not self._large().size:
            stop = "resolution"
        return self._finish(state, stop, rounds)

    def _begin_with(self, tiles: Tiles, sized: Sequence[SizedEncoder], passes: float) -> None:
        """Use the finest partition whose first views the passes cover."""
        self._views = [_View(one) for one in sized]
        self._tiles, self._gone = tiles, np.zeros(len(tiles), bool)
        self._parents = {}
        while self._cut_all(passes):
            pass

    @property
    def _left(self) -> float:
        return self.encoder.ledger.left("passes")

    @property
    def _crops(self) -> float:
        return self.encoder.ledger.left("crops")

    def _price(self, view: int, windows: Sequence[Window]) -> float:
        return float(self.encoder.price(windows, self._views[view].sized).sum())

    def _large(self) -> NDArray[np.int64]:
        """Return the rows of cells of the frontier that are larger than a leaf."""
        return np.flatnonzero(self.strategy.can_refine(self._tiles) & ~self._gone)

    def _cut(self, row: int) -> Tiles:
        return valid_cells(self.strategy.children(self._tiles.take([row])), self.encoder)

    def _cut_all(self, passes: float) -> bool:
        """Refine all large cells if the passes cover their children; return whether they do."""
        large = self._large()
        if not large.size:
            return False
        children = {int(row): self._cut(int(row)) for row in large}
        kept = np.setdiff1d(np.arange(len(self._tiles)), large)
        tiles = Tiles.concat([self._tiles.take(kept), *children.values()])
        if self._price(0, windows_of(tiles)) > passes or len(tiles) > _FIRST * self._crops:
            return False
        self._note_parents(children)
        self._tiles = tiles.take(np.lexsort((tiles.x, tiles.y)))
        self._gone = np.zeros(len(tiles), bool)
        return True

    def _cut_best(self, passes: float) -> None:
        """Refine the best of the large cells, level by level, and encode their children."""
        levels = _levels(self._tiles, self.strategy)
        for level in range(levels):
            budget = passes / (levels - level)
            large = self._large()
            children: dict[int, Tiles] = {}
            price, crops = 0.0, self._crops / (levels - level + 1)
            for row in self._best(large):
                cut = self._cut(row)
                price, crops = price + self._price(0, windows_of(cut)), crops - len(cut)
                if price > budget or crops < 0:
                    break
                children[row] = cut
            if not children:
                return
            self._note_parents(children)
            self._gone[list(children)] = True
            first = len(self._tiles)
            self._tiles = Tiles.concat([self._tiles, *children.values()])
            new = list(range(first, len(self._tiles)))
            self._gone = np.concatenate([self._gone, np.zeros(len(new), bool)])
            before = self._left
            if new:
                self._encode(0, new, [self._tiles.window(row) for row in new])
            passes -= before - self._left

    def _note_parents(self, children: Mapping[int, Tiles]) -> None:
        for row, cut in children.items():
            self._parents |= dict.fromkeys(windows_of(cut), self._tiles.window(row))

    def _candidates(self, view: int) -> NDArray[np.int64]:
        """Return the rows of leaves of the frontier that were not encoded at a view."""
        leaves = np.setdiff1d(np.flatnonzero(~self._gone), self._large())
        return np.setdiff1d(leaves, self._views[view].rows)

    def _encode_best(self, view: int, passes: float) -> None:
        """Encode the best leaves at a view within the passes, without overlapping windows."""
        loss, windows = self._losses()
        rows: list[int] = []
        order = np.array(self._best(self._candidates(view), loss), np.int64)
        new = apart([windows[row] for row in order], windows_of(self._tiles.take(order)))
        for row in order[new].tolist():
            passes -= self._price(view, [windows[row]])
            if passes < -_TINY or len(rows) >= self._crops:
                break
            rows.append(row)
        if rows:
            self._encode(view, rows, [windows[row] for row in rows])

    def _encode_shifted(self, view: int, passes: float) -> None:
        """Encode the windows of the best cells shifted by half a crop, within the passes."""
        loss, windows = self._losses()
        encoded = set(self._views[view].windows)
        rows = np.intersect1d(self._views[view].rows, np.flatnonzero(~self._gone))
        for row in self._best(rows, loss)[: self.search.regions]:
            moved = [w for w in moved_windows(windows[row], self.encoder.source.info.shape)
                     if w not in encoded]  # fmt: skip
            shares = self.encoder.valid_shares(moved)
            moved = [w for w, share in zip(moved, shares, strict=True)
                     if share >= self.encoder.min_valid]  # fmt: skip
            passes -= self._price(view, moved)
            if passes < -_TINY or len(moved) > self._crops:
                return
            if moved:
                encoded.update(moved)
                self._encode(view, [row] * len(moved), moved)

    def _encode(self, view: int, rows: list[int], windows: list[Window]) -> None:
        one = self._views[view]
        one.add(rows, windows, self.encoder.embed(windows, one.sized))

    def _best(
        self, rows: NDArray[np.integer], loss: NDArray[np.float64] | None = None
    ) -> list[int]:
        """Return rows by increasing loss."""
        if not rows.size:
            return []
        loss = self._losses()[0] if loss is None else loss
        keys = region_ties(self._tiles, self.search.seed)
        return rows[np.lexsort((keys[rows], np.round(loss[rows], _DIGITS)))].tolist()

    def _losses(self) -> tuple[NDArray[np.float64], list[Window]]:
        """Return the loss of every cell, and the best of its windows, which represents it.

        The losses of refined cells are not used.
        """
        n = len(self._tiles)
        total, count = np.zeros(n), np.zeros(n)
        windows = windows_of(self._tiles)
        for view in self._views:
            if not view.rows:
                continue
            loss = self._view_losses(view)
            rows = np.array(view.rows)
            # The best window of each cell: the first of its rows in the order of the losses.
            order = np.argsort(loss, kind="stable")
            cells, first = np.unique(rows[order], return_index=True)
            best = order[first]
            if self._has_target:  # match: the last view, of highest resolution, counts
                total[cells], count[cells] = loss[best], 1
            else:
                total[cells] += loss[best]
                count[cells] += 1
            for cell, row in zip(cells.tolist(), best.tolist(), strict=True):
                windows[cell] = view.windows[row]
        mean = total / np.maximum(count, 1)
        return mean if self._has_target else 1 / (1 + np.exp(-mean)), windows

    @property
    def _has_target(self) -> bool:
        return names_its_target(self.goal)

    @property
    def _goal_losses(self) -> Mapping[str, float]:
        return self.goal.losses if self.head is not None else self.goal.bare

    def _view_losses(self, view: _View) -> NDArray[np.float64]:
        if self._has_target:
            x = view.x.astype(np.float64)
            inputs = LossInputs(x, np.ones(len(x)), self.head, self.target, self.text)
            return mixed(self._goal_losses, inputs)(x)
        rarity = isolation(view.x, view.windows)
        rarity = np.minimum(rarity, view.unmixed(windows_of(self._tiles)))
        loss = -_standardised(rarity)
        # Class probabilities of views of less than half the side are unreliable.
        reliable = max(view.sized.shape) * 2 >= max(self.encoder.standard.shape)
        if self.head is not None and reliable:
            probabilities = self.head.probabilities(view.x).astype(np.float64)
            loss -= _standardised(surprise(probabilities))
        return loss

    def _features(self) -> tuple[NDArray[np.int64], CellFeatures, NDArray[np.float64]]:
        """Return the rows of the frontier, their features at the best view, and their losses."""
        loss, windows = self._losses()
        rows = np.flatnonzero(~self._gone)
        rows = rows[np.lexsort((self._tiles.x[rows], self._tiles.y[rows]))]
        position = {int(row): i for i, row in enumerate(rows)}
        x = np.zeros((len(rows), self._views[0].x.shape[1]), np.float32)
        scale = np.zeros(len(rows), np.int64)
        for k, view in enumerate(self._views):
            native = k == len(self._views) - 1
            for i, (row, window) in enumerate(zip(view.rows, view.windows, strict=True)):
                if row in position and window == windows[row]:
                    x[position[row]] = view.x[i]
                    scale[position[row]] = -1 if native else len(self._views) - 1 - k
        return rows, CellFeatures(x, tuple(windows[row] for row in rows), scale), loss[rows]

    def _scored(self) -> State:
        """Return the current frontier with its scores."""
        rows, features, loss = self._features()
        tiles = self._tiles.take(rows)
        given = np.stack([loss, np.ones(len(loss))], axis=1)
        area = areas(tiles)
        model = AdditiveModel(given, area, mixed({"given": 1.0}, LossInputs(given, area)))
        scorer = Scorer(
            model, self.goal, neighbours(tiles, self.search.neighbours), None, None,
            shown_area(tiles, features), self._total,
        )  # fmt: skip
        # Only the best of overlapping windows may become a region.
        order = np.argsort(loss, kind="stable")
        windows, cells = [features.windows[i] for i in order], windows_of(tiles.take(order))
        self._single = np.zeros(len(tiles), bool)
        self._single[order[apart(windows, cells)]] = True
        state = State(tiles, features, scorer, self._choose(tiles, features, scorer))
        if self.watch is not None:
            self.watch(state)
        return state

    def _allowed(self, tiles: Tiles, features: CellFeatures) -> NDArray[np.bool_] | None:
        allowed = super()._allowed(tiles, features)
        return self._single if allowed is None else allowed & self._single


def names_its_target(goal: Goal) -> bool:
    """Return whether a goal has a named target: a query, or a true class."""
    return bool({"query", "label"} & {*goal.losses, *goal.bare})


def _levels(tiles: Tiles, strategy: Strategy) -> int:
    """Return the number of refinements from the largest cell to a leaf."""
    largest = int(np.argmax(tiles.h.astype(np.int64) * tiles.w))
    cell, count = tiles.take([largest]), 0
    while strategy.can_refine(cell)[0]:
        cell, count = strategy.children(cell).take([0]), count + 1
    return count


def views(encoder: CropEncoder, crop: int) -> list[SizedEncoder]:
    """Return the model at increasing input sizes, the standard one last; `crop` in pixels."""
    sides = view_sides(encoder.model, encoder.standard, crop)
    sized = [encoder.at_size(side) for side in sides]
    return list(dict.fromkeys([*sized, encoder.standard]))


def view_sides(model: object, standard: SizedEncoder, crop: int) -> list[int]:
    """Return the sides of the smaller views, pixels; empty if the model takes one size only.

    They are fractions of the side of the model's input or, if it takes any size, of the crop,
    rounded up to a supported size, because smaller views are less informative.
    """
    if standard.fixed and not isinstance(model, TakesSizes):
        return []
    step = model.size_step if isinstance(model, TakesSizes) and standard.fixed else 1
    longest = max(standard.shape) if standard.fixed else min(max(standard.shape), crop)
    sides = [-(-longest // part // step) * step for part in VIEWS]
    return [side for side in sides if side < longest]


def first_glance(model: object, standard: SizedEncoder, crop: int) -> float:
    """Return the cost of the first view of a cell, in passes."""
    side = min([*view_sides(model, standard, crop), max(standard.shape)])
    return side**2 / (standard.shape[0] * standard.shape[1])


def isolation(x: NDArray[np.floating], windows: Sequence[Window]) -> NDArray[np.float64]:
    """Return the feature distance of each window to its nearest other window.

    Args:
        x: (n, d) features.
        windows: Their windows; overlapping windows are not compared.

    Returns:
        (n,) 1 - cosine to the nearest, from 0 to 2; 0 if there is no other.
    """
    z = unit(x)
    boxes = np.array(windows, np.int64).reshape(-1, 4)
    top, left = boxes[:, 0], boxes[:, 1]
    bottom, right = top + boxes[:, 2], left + boxes[:, 3]
    nearest, square = np.zeros(len(z)), np.sum(z**2, axis=1)
    rows = max(1, _PAIRS_AT_ONCE // max(len(z), 1))
    for start in range(0, len(z), rows):
        part = slice(start, start + rows)
        apart = (
            (bottom[part, None] <= top) | (bottom <= top[part, None])
            | (right[part, None] <= left) | (right <= left[part, None])
        )  # fmt: skip
        # Half the squared distance is 1 - cosine, and 0 between two vectors of zeros.
        distance = (square[part, None] + square) / 2 - z[part] @ z.T
        smallest = np.where(apart, distance, np.inf).min(axis=1)
        nearest[part] = np.where(np.isfinite(smallest), np.maximum(smallest, 0), 0.0)
    return nearest


def surprise(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the divergence of the class probabilities of each cell from their mean.

    Args:
        probabilities: (n, C) class probabilities.

    Returns:
        (n,) KL(p_i || mean of p), in nats.
    """
    p = np.maximum(probabilities, _TINY)
    return (p * (np.log(p) - np.log(p.mean(axis=0)))).sum(axis=1)


def _standardised(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return (value - value.mean()) / max(float(value.std()), _TINY)
