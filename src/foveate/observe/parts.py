"""The overviews of a target as the networks of an observer see them.

The encoder is shown as many tiles at once as in training, so a large overview comes block by block.
The sampler is convolutional: it sees the tokens of the whole overview, and a tile its neighbours on
both sides of a block's edge. An overview of more than 128 x 128 tiles is taken in parts of at most
so many; the tokens of one part are what is held in memory.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.grid import Tiles
from foveate.observe import dense
from foveate.observe.features import encode_windows
from foveate.pool.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from foveate.models.capabilities import Embeds
    from foveate.observe.observer import Observer
    from foveate.observe.target import Target
    from foveate.progress import ProgressFn
    from foveate.run import Run

_PART = 128  # tiles along the side of what the sampler sees at once


@dataclass(frozen=True, eq=False)
class Parts:
    """The overviews of a target as the networks see them, part by part.

    Attributes:
        target: Tiles and overviews.
        observer: The observer.
        model: Its LR encoder, bound.
        run: Keeps the tokens.
        progress: Called with ticks.
    """

    target: Target
    observer: Observer
    model: Embeds
    run: Run | None = None
    progress: ProgressFn | None = None

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]]:
        """Yield rows of tiles, their (row, column) in the part, and (1, R * r, C * r, d) tokens."""
        record = self.observer.record
        place = self.target.place
        by_scene = np.argsort(place[:, 0], kind="stable")
        first = np.searchsorted(place[by_scene, 0], np.arange(len(self.target.shapes) + 1))
        for shape, members in _by_grid(self.target.shapes).items():
            pool, order = _windows(self.target, shape, members)
            tokens = encode_windows(
                pool, self.model, shape, record.shape.lr_side, most=record.tiles, run=self.run,
                progress=self.progress,
            )  # fmt: skip
            for (scene, row, col), at in zip(members, order.tolist(), strict=True):
                own = by_scene[first[scene] : first[scene + 1]]
                inner = place[own, 1:] - (row, col)
                inside = ((inner >= 0) & (inner < shape)).all(axis=1)
                if inside.any():
                    yield own[inside], inner[inside], self.observer.lr(tokens[[at]])

    def scores(self) -> tuple[NDArray[np.float64], ...]:
        """Return calibrated scores, raw scores and their standard deviations, (n,) each."""
        found = tuple(np.full(len(self.target.pool), np.nan) for _ in range(3))
        for rows, at, tokens in self:
            said = self.observer.scores(tokens)
            for column, grid in zip(found, (said.score, said.raw, said.sd), strict=True):
                column[rows] = grid[0, at[:, 0], at[:, 1]]
        return found

    def probabilities(self, head: Any) -> NDArray[np.float64]:
        """Return (n, K) probabilities of concepts by what the LR fill makes of the tiles."""
        found = np.full((len(self.target.pool), len(head.names)), np.nan)
        for rows, at, tokens in self:
            for own, inner, lr in self._blocks(at, tokens):
                filled = dense.gather(self.observer.filled(lr), self.observer.record.shape.hr_side)
                means = filled[0].mean(axis=2)
                found[rows[own]] = head.probabilities(means[inner[:, 0], inner[:, 1]])
        return found

    def design(self) -> NDArray[np.float64]:
        """Return (n,) what tiles add to those before them, block by block: the highest come first.

        Raises:
            ParameterError: The observer has no kriging.
        """
        found = np.full(len(self.target.pool), np.nan)
        for rows, at, tokens in self:
            raw = self.observer.scores(tokens).raw[0, at[:, 0], at[:, 1]]
            for own, inner, lr in self._blocks(at, tokens):
                side = self.observer.record.shape.lr_side
                worth = np.zeros((1, lr.shape[1] // side, lr.shape[2] // side))
                worth[0, inner[:, 0], inner[:, 1]] = raw[own]
                gains = self.observer.design(lr, worth)
                found[rows[own]] = gains[0, inner[:, 0], inner[:, 1]]
        return found

    def _blocks(
        self, at: NDArray[np.int64], tokens: NDArray[Any]
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[Any]]]:
        """Yield blocks of as many tiles as a scene of the training: nothing is made for more.

        Args:
            at: (n, 2) rows and columns of tiles in a part.
            tokens: (1, R * r, C * r, d) of the part.

        Yields:
            (n,) bool which tiles lie in the block, their (m, 2) rows and columns in it, its tokens.
        """
        record = self.observer.record
        most, r = np.array(record.tiles), record.shape.lr_side
        block = at // most
        for first in np.unique(block, axis=0):
            own = (block == first).all(axis=1)
            (top, left), (bottom, right) = first * most * r, (first + 1) * most * r
            yield own, at[own] % most, tokens[:, top:bottom, left:right]


def _by_grid(
    shapes: Sequence[tuple[int, int]],
) -> dict[tuple[int, int], list[tuple[int, int, int]]]:
    """Return grids -> the parts that have them: number of the scene, first row and column."""
    found: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for scene, shape in enumerate(shapes):
        rows, cols = ([n * i // _parts(n) for i in range(_parts(n) + 1)] for n in shape)
        for top, bottom in itertools.pairwise(rows):
            for left, right in itertools.pairwise(cols):
                grid = (bottom - top, right - left)
                found.setdefault(grid, []).append((scene, top, left))
    return found


def _parts(tiles: int) -> int:
    return -(-tiles // _PART)


def _windows(
    target: Target, shape: tuple[int, int], members: list[tuple[int, int, int]]
) -> tuple[Pool, NDArray[np.int64]]:
    """Return parts as a pool of windows of the overviews, and where in it each of them is."""
    tables = []
    for scene, *first in members:
        source = target.overviews[scene]
        spans = []
        for at, n, whole, pixels in zip(
            first, shape, target.shapes[scene], source.source.info.shape, strict=True
        ):
            low, high = round(at * pixels / whole), round((at + n) * pixels / whole)
            spans.append((low, max(1, high - low)))
        (y, h), (x, w) = spans
        tables.append(Tiles.of(source.scene_id, [(y, x, h, w)]))
    tiles = Tiles.concat(tables)
    ids = tiles.tile_id
    order = np.argsort(ids, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    names = {target.overviews[scene].scene_id for scene, *_ in members}
    scenes = tuple(s for s in target.overviews if s.scene_id in names)
    return Pool(ids=ids[order], scenes=scenes, tiles=tiles.take(order)), place
