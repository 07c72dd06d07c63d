"""Successive halving over resolutions: many cells are seen small, few of them at native resolution.

To find one thing among many, a model need not see everything sharply. Each cell is shown at a
quarter of the side of the model's input, which costs about a sixteenth of a pass; the best again
at half the side, and the best of these at native resolution (successive halving: Jamieson and
Talwalkar, 2016; the levels of an image pyramid take the place of its rounds). Scenes of more
leaves than such glances are affordable begin with larger cells, the best of which are cut.

Objects do not lie on a grid. Around the best finds a second look is taken: the window is moved by
half a crop, and where a moved window scores higher it stands for its cell.

What a cell scores at a resolution is compared with the other cells at that resolution only, since
a small view differs from a sharp one whatever both show. Two kinds of scores:

- "match": the loss of the goal itself, for what is named (a query). The sharpest view counts.
- "rarity": for what is not named. How far the nearest other cell is, that is, 1 - cosine to the
  nearest window that does not overlap; and, with classes, how far the cell's distribution over
  the classes is from that of all cells (KL). Each is standardised among the cells of a view; the
  views of a cell are averaged. The nearest cell says more than the mean of all: in a scene of
  four kinds of ground each cell is far from the mean, and only the single one is far from all.
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

VIEWS = (4, 2)  # parts of the side of the model's input that the smaller views have

_FIRST = 2 / 5  # of the passes that are left, for the first glances at all cells
_AGAIN = 1 / 4  # of the passes, for second looks around finds
_DIGITS = 4  # of losses: what differs by less is equal, and the seed decides
_PAIRS_AT_ONCE = 2**22  # of windows that are compared: 32 MB
_TINY = 1e-9


@dataclass
class _View:
    """Windows that the model was shown at one resolution.

    Attributes:
        sized: The model at that input size.
        rows: Cell of each window; a cell may have several.
        windows: What was shown.
        x: (m, d) features.
    """

    sized: SizedEncoder
    rows: list[int] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    x: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def add(self, rows: Sequence[int], windows: Sequence[Window], x: NDArray[np.float32]) -> None:
        """Add windows."""
        self.rows += rows
        self.windows += windows
        self.x = np.concatenate([self.x, x]) if len(self.x) else x

    def unmixed(self, cells: Sequence[Window]) -> NDArray[np.float64]:
        """Return how far moved windows are from the mixture of the cells that they overlap.

        A window across the border of two kinds of ground is like neither, and is not rare.
        """
        z = unit(self.x)
        own = {row: i for i, row in enumerate(self.rows) if self.windows[i] == cells[row]}
        boxes = np.array([cells[row] for row in own], np.int64).reshape(-1, 4)
        base = z[list(own.values())]
        found = np.full(len(z), np.inf)
        for i, (row, w) in enumerate(zip(self.rows, self.windows, strict=True)):
            if w == cells[row] or not own:
                continue
            down = np.minimum(boxes[:, 0] + boxes[:, 2], w.y + w.h) - np.maximum(boxes[:, 0], w.y)
            across = np.minimum(boxes[:, 1] + boxes[:, 3], w.x + w.w) - np.maximum(boxes[:, 1], w.x)
            share = np.maximum(down, 0) * np.maximum(across, 0)
            if share.any():
                found[i] = 1 - z[i] @ unit(share @ base)
        return found


class PyramidStrategy(OverviewStrategy):
    """Cells are seen whole, at the smallest view first; `Pyramid` decides what is seen sharper.

    Args:
        encoder: Looks at the image.
        crop: Side of a crop at native resolution, pixels.
        branch: Children of a cell per side.
    """

    name, persists = "zoom", True
    removal = "crops seen apart; the loss of many is the mean of theirs"

    def __init__(self, encoder: CropEncoder, crop: int, branch: int) -> None:
        super().__init__(branch)
        self._encoder, self.crop = encoder, crop
        self.sized = views(encoder, crop)

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Cells larger than a leaf."""
        return np.maximum(tiles.h, tiles.w) > LEAF * self.crop

    def children(self, cell: Tiles) -> Tiles:
        """Return the parts of a cell."""
        return parts(cell, self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return what first glances cost, in passes."""
        return self._encoder.price(windows_of(tiles), self.sized[0])

    def images(self, tiles: Tiles) -> int:
        """Return how many images first glances show to the model."""
        return self._encoder.count_new(windows_of(tiles), self.sized[0])

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Glance at cells."""
        windows = windows_of(tiles)
        x = self._encoder.embed(windows, self.sized[0])
        return CellFeatures(x, tuple(windows), np.zeros(len(windows), np.int64))


class Pyramid(Refinement):
    """Search by successive halving; see the head of this module, and `Refinement`.

    Of the passes ``1 - explore`` are kept for crops at native resolution. Where all crops can be
    seen so, they are, and no pass goes to smaller views.
    """

    def _search(self, tiles: Tiles) -> SearchResult:
        assert isinstance(self.strategy, PyramidStrategy)  # noqa: S101  (`look` makes it)
        self._total = float(areas(tiles).sum())
        self._close_cuts = 0
        passes = self._left
        self._begin_with(tiles, self.strategy.sized[-1:], passes)
        if self._large().size or self._price(0, windows_of(self._tiles)) > passes:
            self._begin_with(tiles, self.strategy.sized, _FIRST * passes)
        self._show(0, list(range(len(self._tiles))), windows_of(self._tiles))
        rounds = [self._round(self._seen())]
        last = len(self._views) - 1
        if last:
            one = self.encoder.standard.passes(Window(0, 0, self.strategy.crop, self.strategy.crop))
            sharp = max(one, (1 - self.explore) * passes)  # one crop at least
            again = _AGAIN * passes
            self._cut_best((self._left - sharp - again) / 2)
            for view in range(1, last):
                self._look_closer(view, self._left - sharp - again)
            rounds.append(self._round(self._seen()))
            self._look_again(last - 1, self._left - sharp)
            self._look_closer(last, self._left)
        else:
            self._look_again(0, self._left)
        state = self._seen()
        rounds.append(self._round(state))
        stop: Stop = "crops" if self._crops < 1 else "passes"
        if not self._candidates(last).size and not self._large().size:
            stop = "resolution"
        return self._finish(state, stop, rounds)

    def _begin_with(self, tiles: Tiles, sized: Sequence[SizedEncoder], passes: float) -> None:
        """Take the finest partition of which first glances are affordable."""
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
        """Return the cells of the frontier that are larger than a leaf."""
        return np.flatnonzero(self.strategy.can_refine(self._tiles) & ~self._gone)

    def _cut(self, row: int) -> Tiles:
        return valid_cells(self.strategy.children(self._tiles.take([row])), self.encoder)

    def _cut_all(self, passes: float) -> bool:
        """Cut all large cells if glances at what comes out are affordable; say whether they are."""
        large = self._large()
        if not large.size:
            return False
        children = {int(row): self._cut(int(row)) for row in large}
        stay = np.setdiff1d(np.arange(len(self._tiles)), large)
        tiles = Tiles.concat([self._tiles.take(stay), *children.values()])
        if self._price(0, windows_of(tiles)) > passes or len(tiles) > _FIRST * self._crops:
            return False
        self._note_parents(children)
        self._tiles = tiles.take(np.lexsort((tiles.x, tiles.y)))
        self._gone = np.zeros(len(tiles), bool)
        return True

    def _cut_best(self, passes: float) -> None:
        """Cut the best of the large cells, level by level, and glance at what comes out."""
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
                self._show(0, new, [self._tiles.window(row) for row in new])
            passes -= before - self._left

    def _note_parents(self, children: Mapping[int, Tiles]) -> None:
        for row, cut in children.items():
            self._parents |= dict.fromkeys(windows_of(cut), self._tiles.window(row))

    def _candidates(self, view: int) -> NDArray[np.int64]:
        """Return the leaves of the frontier that were not shown at a view."""
        leaves = np.setdiff1d(np.flatnonzero(~self._gone), self._large())
        return np.setdiff1d(leaves, self._views[view].rows)

    def _look_closer(self, view: int, passes: float) -> None:
        """Show the best leaves at a view, as long as the passes reach; none that shows another."""
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
            self._show(view, rows, [windows[row] for row in rows])

    def _look_again(self, view: int, passes: float) -> None:
        """Move the windows of the best finds by half a crop, as long as the passes reach."""
        loss, windows = self._losses()
        seen = set(self._views[view].windows)
        rows = np.intersect1d(self._views[view].rows, np.flatnonzero(~self._gone))
        for row in self._best(rows, loss)[: self.search.regions]:
            moved = [w for w in moved_windows(windows[row], self.encoder.source.info.shape)
                     if w not in seen]  # fmt: skip
            shares = self.encoder.valid_shares(moved)
            moved = [w for w, share in zip(moved, shares, strict=True)
                     if share >= self.encoder.min_valid]  # fmt: skip
            passes -= self._price(view, moved)
            if passes < -_TINY or len(moved) > self._crops:
                return
            if moved:
                seen.update(moved)
                self._show(view, [row] * len(moved), moved)

    def _show(self, view: int, rows: list[int], windows: list[Window]) -> None:
        one = self._views[view]
        one.add(rows, windows, self.encoder.embed(windows, one.sized))

    def _best(
        self, rows: NDArray[np.integer], loss: NDArray[np.float64] | None = None
    ) -> list[int]:
        """Return rows by rising loss."""
        if not rows.size:
            return []
        found = self._losses()[0] if loss is None else loss
        keys = region_ties(self._tiles, self.search.seed)
        return rows[np.lexsort((keys[rows], np.round(found[rows], _DIGITS)))].tolist()

    def _losses(self) -> tuple[NDArray[np.float64], list[Window]]:
        """Return the loss of every cell, and the window that stands for it: the best of its own.

        Of cells that were cut the loss is not asked for any more.
        """
        n = len(self._tiles)
        total, count = np.zeros(n), np.zeros(n)
        windows = windows_of(self._tiles)
        for view in self._views:
            if not view.rows:
                continue
            own = self._view_losses(view)
            rows = np.array(view.rows)
            # The best window of each cell: the first of its rows in the order of their losses.
            order = np.argsort(own, kind="stable")
            cells, first = np.unique(rows[order], return_index=True)
            best = order[first]
            if self._sought:  # a match: the sharpest view counts
                total[cells], count[cells] = own[best], 1
            else:
                total[cells] += own[best]
                count[cells] += 1
            for cell, row in zip(cells.tolist(), best.tolist(), strict=True):
                windows[cell] = view.windows[row]
        mean = total / np.maximum(count, 1)
        return mean if self._sought else 1 / (1 + np.exp(-mean)), windows

    @property
    def _sought(self) -> bool:
        """Whether something is named that is looked for."""
        return names_its_target(self.goal)

    @property
    def _goal_losses(self) -> Mapping[str, float]:
        return self.goal.losses if self.head is not None else self.goal.bare

    def _view_losses(self, view: _View) -> NDArray[np.float64]:
        if self._sought:
            x = view.x.astype(np.float64)
            known = LossInputs(x, np.ones(len(x)), self.head, self.target, self.text)
            return mixed(self._goal_losses, known)(x)
        lone = isolation(view.x, view.windows)
        lone = np.minimum(lone, view.unmixed(windows_of(self._tiles)))
        found = -_standardised(lone)
        # A view of less than half the side says little about classes.
        sharp = max(view.sized.shape) * 2 >= max(self.encoder.standard.shape)
        if self.head is not None and sharp:
            chances = self.head.probabilities(view.x).astype(np.float64)
            found -= _standardised(surprise(chances))
        return found

    def _features(self) -> tuple[NDArray[np.int64], CellFeatures, NDArray[np.float64]]:
        """Return the rows of the frontier, what was seen of them, and their losses."""
        loss, windows = self._losses()
        rows = np.flatnonzero(~self._gone)
        rows = rows[np.lexsort((self._tiles.x[rows], self._tiles.y[rows]))]
        place = {int(row): i for i, row in enumerate(rows)}
        x = np.zeros((len(rows), self._views[0].x.shape[1]), np.float32)
        scale = np.zeros(len(rows), np.int64)
        for k, view in enumerate(self._views):
            sharp = k == len(self._views) - 1
            for i, (row, window) in enumerate(zip(view.rows, view.windows, strict=True)):
                if row in place and window == windows[row]:
                    x[place[row]] = view.x[i]
                    scale[place[row]] = -1 if sharp else len(self._views) - 1 - k
        return rows, CellFeatures(x, tuple(windows[row] for row in rows), scale), loss[rows]

    def _seen(self) -> State:
        """Return the frontier as it is now, scored by what was seen of it."""
        rows, features, loss = self._features()
        tiles = self._tiles.take(rows)
        given = np.stack([loss, np.ones(len(loss))], axis=1)
        area = areas(tiles)
        model = AdditiveModel(given, area, mixed({"given": 1.0}, LossInputs(given, area)))
        scorer = Scorer(
            model, self.goal, neighbours(tiles, self.search.neighbours), None, None,
            shown_area(tiles, features), self._total,
        )  # fmt: skip
        # Of windows that show the same, the best may become a region.
        order = np.argsort(loss, kind="stable")
        seen, cells = [features.windows[i] for i in order], windows_of(tiles.take(order))
        self._single = np.zeros(len(tiles), bool)
        self._single[order[apart(seen, cells)]] = True
        state = State(tiles, features, scorer, self._choose(tiles, features, scorer))
        if self.watch is not None:
            self.watch(state)
        return state

    def _allowed(self, tiles: Tiles, features: CellFeatures) -> NDArray[np.bool_] | None:
        free = super()._allowed(tiles, features)
        return self._single if free is None else free & self._single


def names_its_target(goal: Goal) -> bool:
    """Say whether a goal is to find something that is named: a query, or a true class."""
    return bool({"query", "label"} & {*goal.losses, *goal.bare})


def _levels(tiles: Tiles, strategy: Strategy) -> int:
    """Return how often the largest cell is cut until it is a leaf."""
    largest = int(np.argmax(tiles.h.astype(np.int64) * tiles.w))
    cell, count = tiles.take([largest]), 0
    while strategy.can_refine(cell)[0]:
        cell, count = strategy.children(cell).take([0]), count + 1
    return count


def views(encoder: CropEncoder, crop: int) -> list[SizedEncoder]:
    """Return the model at rising input sizes, the standard one last; `crop` in pixels."""
    sides = view_sides(encoder.model, encoder.standard, crop)
    sized = [encoder.at_size(side) for side in sides]
    return list(dict.fromkeys([*sized, encoder.standard]))


def view_sides(model: object, standard: SizedEncoder, crop: int) -> list[int]:
    """Return the sides of the smaller views, pixels; none where the model takes one size only.

    They are parts of what the model sees of a crop: of its input, or, where it takes images as
    they are, of the crop. Rounded up to what the model takes: a smaller view says less.
    """
    if standard.fixed and not isinstance(model, TakesSizes):
        return []
    step = model.size_step if isinstance(model, TakesSizes) and standard.fixed else 1
    longest = max(standard.shape) if standard.fixed else min(max(standard.shape), crop)
    sides = [-(-longest // part // step) * step for part in VIEWS]
    return [side for side in sides if side < longest]


def first_glance(model: object, standard: SizedEncoder, crop: int) -> float:
    """Return what the first glance at a cell costs, in passes."""
    side = min([*view_sides(model, standard, crop), max(standard.shape)])
    return side**2 / (standard.shape[0] * standard.shape[1])


def isolation(x: NDArray[np.floating], windows: Sequence[Window]) -> NDArray[np.float64]:
    """Return how far the nearest other window is in the model's features.

    Args:
        x: (n, d) features.
        windows: Where they were seen; windows that overlap show the same and do not count.

    Returns:
        (n,) 1 - cosine to the nearest, from 0 to 2; 0 where there is no other.
    """
    z = unit(x)
    boxes = np.array(windows, np.int64).reshape(-1, 4)
    top, left = boxes[:, 0], boxes[:, 1]
    bottom, right = top + boxes[:, 2], left + boxes[:, 3]
    found, size = np.zeros(len(z)), np.sum(z**2, axis=1)
    rows = max(1, _PAIRS_AT_ONCE // max(len(z), 1))
    for start in range(0, len(z), rows):
        part = slice(start, start + rows)
        apart = (
            (bottom[part, None] <= top) | (bottom <= top[part, None])
            | (right[part, None] <= left) | (right <= left[part, None])
        )  # fmt: skip
        # Half the squared distance is 1 - cosine, and 0 between two vectors of zeros.
        far = (size[part, None] + size) / 2 - z[part] @ z.T
        near = np.where(apart, far, np.inf).min(axis=1)
        found[part] = np.where(np.isfinite(near), np.maximum(near, 0), 0.0)
    return found


def surprise(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the classes of each cell are from those of all cells.

    Args:
        chances: (n, C) probabilities.

    Returns:
        (n,) KL(p_i || mean of p), in nats.
    """
    p = np.maximum(chances, _TINY)
    return (p * (np.log(p) - np.log(p.mean(axis=0)))).sum(axis=1)


def _standardised(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return (value - value.mean()) / max(float(value.std()), _TINY)
