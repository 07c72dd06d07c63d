"""Three strategies that turn cells into features, each at a price.

`feature`: one pass over the whole image; cells are means of its tokens, or pooled apart
(`foveate.focus.repool`). The cheapest one and a preview: what is too small for the overview stays
invisible. Leaving a cell out is exact where the mean of the tokens is the embedding; the
robustness of Eq. 5 takes a second view at a third of the side.

`window`: each cell is an image of its own, at the size that it has in the overview. The first
cells together cost one pass; a refined cell costs as much as its parent and shows it at twice the
resolution. The features of a cell do not depend on the others, so that leaving one out is exact in
the additive model.

`zoom`: crops at native resolution, coarse to fine; each costs a pass. A cell that is not larger
than a crop is a leaf and is seen whole. A larger one is seen in one of two ways. "native": one of
its leaves stands for it, drawn under the seed, so that the first cells are a stratified sample of
the image at the resolution that the model was trained for. Such a cell is cut into halves, one of
which holds the leaf that is known: each cut costs one pass. "whole": the cell is squeezed into the
model's input, at half the side where the model takes that, which costs a quarter of a pass.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from foveate.errors import DataError, MissingCapabilityError
from foveate.focus.partition import LEAF, across, areas, membership, parts, sizes, windows_of
from foveate.grid import Window
from foveate.models.capabilities import TakesSizes, need
from foveate.models.heads import unit
from foveate.seeds import tie_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.focus.config import Coarse
    from foveate.focus.encode import CropEncoder, SizedEncoder
    from foveate.focus.score import Pool
    from foveate.grid import Tiles


@dataclass(frozen=True)
class CellFeatures:
    """Features of n cells.

    Attributes:
        x: (n, d) float32 features.
        windows: The n windows that the model was shown: the cells, or a part of each.
        scale: (n,) int, equal for cells that were seen at the same ground resolution; below 0 for
            crops at native resolution, which alone may become regions where there are some.
        shift: (n,) float64 distance between features of norm 1 before and after the
            perturbation, or None where it was not measured.
        sums: (n, q) float64 what a strategy's `pool` takes, or None.
    """

    x: NDArray[np.floating]
    windows: tuple[Window, ...]
    scale: NDArray[np.int64]
    shift: NDArray[np.float64] | None = None
    sums: NDArray[np.float64] | None = None

    def take(self, rows: NDArray[np.integer]) -> CellFeatures:
        """Return the cells of the given rows, in that order."""
        return CellFeatures(
            self.x[rows],
            tuple(self.windows[i] for i in rows),
            self.scale[rows],
            None if self.shift is None else self.shift[rows],
            None if self.sums is None else self.sums[rows],
        )

    def join(self, other: CellFeatures) -> CellFeatures:
        """Return these cells, then the other ones."""
        return CellFeatures(
            np.concatenate([self.x, other.x]),
            (*self.windows, *other.windows),
            np.concatenate([self.scale, other.scale]),
            _joined(self.shift, other.shift),
            _joined(self.sums, other.sums),
        )


def _joined(
    these: NDArray[np.float64] | None, those: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    return None if these is None or those is None else np.concatenate([these, those])


class Strategy(Protocol):
    """From cells to features, at a price.

    Attributes:
        name: "feature", "window" or "zoom".
        removal: What it means that a region is taken away, for the record.
        persists: Whether a look goes on until the budget is used up, or stops when refining no
            longer raises the importance of what is chosen.
        pool: From (m, q) sums over cells to (m, d) features of sets of them; None where those are
            means by area.
    """

    name: str
    removal: str
    persists: bool
    pool: Pool | None = None

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

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Look at cells.

        Raises:
            BudgetError: The passes are not there; nothing was looked at.
        """
        ...

    def points(
        self, tiles: Tiles, features: CellFeatures
    ) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
        """Return (t, d) features whose distribution Eq. 4 compares, and (n, t) areas of them.

        One feature for each cell, where a strategy does not say otherwise.
        """
        return features.x, np.diag(areas(tiles))


class OverviewStrategy(Strategy):
    """Cells of one overview that was shown already: looking at them costs nothing.

    Args:
        branch: Children of a cell per side.
    """

    name, persists = "feature", False

    def __init__(self, branch: int) -> None:
        self._branch = branch

    def children(self, cell: Tiles) -> Tiles:
        """Return the parts of a cell."""
        return cell.refine([0], self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Nothing: the overview is paid."""
        return np.zeros(len(tiles))

    def images(self, tiles: Tiles) -> int:  # noqa: ARG002
        """None: the overview was shown."""
        return 0


def valid_cells(tiles: Tiles, encoder: CropEncoder) -> Tiles:
    """Return the cells with enough valid pixels, with their shares."""
    shares = encoder.valid_shares(windows_of(tiles))
    kept = shares >= max(encoder.min_valid, np.finfo(np.float32).tiny)
    return tiles.with_valid_share(shares).take(kept)


def embed_windows(
    encoder: CropEncoder,
    windows: Sequence[Window],
    sized: SizedEncoder,
    scale: NDArray[np.integer],
    *,
    robust: bool,
) -> CellFeatures:
    """Show windows to the model, and once more disturbed where the robustness is measured.

    Raises:
        BudgetError: The passes are not there; nothing was seen.
    """
    x = encoder.embed(windows, sized)
    shift = None
    if robust:
        moved = unit(x) - unit(encoder.embed(windows, sized, disturbed=True))
        shift = np.linalg.norm(moved, axis=1).astype(np.float64)
    return CellFeatures(x, tuple(windows), np.asarray(scale, np.int64), shift)


def no_valid_cells(encoder: CropEncoder, scene: str = "") -> DataError:
    """Return the error of an image in which no cell has enough valid pixels."""
    name = f" {scene!r}" if scene else ""
    some = (
        encoder.valid_shares([Window(0, 0, *encoder.source.info.shape)])[0] > 0 < encoder.min_valid
    )
    return DataError(
        f"the image{name} has no cell with {encoder.min_valid:.0%} valid pixels",
        "There is nothing to look at.",
        "Check --nodata" + (", or lower --min-valid." if some else ": no pixel is valid."),
    )


def hint_fewer_cells(cells: int) -> str:
    """Return the end of a hint: that fewer first cells cost less, where there can be fewer."""
    return f", or fewer cells: --cells {cells // 2}" if cells > 1 else ""


SMALL = 3  # the second view has a third of the side: a ninth of a pass


class FeatureStrategy(OverviewStrategy):
    """Cells are means of the tokens of one overview.

    Args:
        encoder: Looks at the image.
        tokens: (gh, gw, d) tokens of the overview.
        branch: Children of a cell per side.
        robust: Whether to measure the robustness.

    Raises:
        BudgetError: The second view is not affordable.
    """

    removal = "tokens of one overview, averaged over what is left"

    def __init__(
        self, encoder: CropEncoder, tokens: NDArray[np.float32], branch: int, *, robust: bool
    ) -> None:
        super().__init__(branch)
        self._shape = encoder.source.info.shape
        self._tokens = tokens
        self._flat = tokens.reshape(-1, tokens.shape[2])
        self._valid = token_validity(encoder, tokens.shape[:2])
        self._moved: NDArray[np.float32] | None = None
        if robust:
            self._moved = encoder.tokens(
                Window(0, 0, *self._shape), small_view(encoder), disturbed=True
            )
            self._moved_valid = token_validity(encoder, self._moved.shape[:2])

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Cells of two tokens a side, or more."""
        gh, gw = self._tokens.shape[:2]
        return (tiles.h >= 2 * self._shape[0] / gh) & (tiles.w >= 2 * self._shape[1] / gw)

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Average the tokens of each cell; one of which a cell has half counts half."""
        x = self._pool(tiles, self._tokens, self._valid)
        shift = None
        if self._moved is not None:
            moved = self._pool(tiles, self._moved, self._moved_valid)
            shift = np.linalg.norm(unit(x) - unit(moved), axis=1).astype(np.float64)
        return CellFeatures(x, tuple(windows_of(tiles)), np.zeros(len(tiles), np.int64), shift)

    def points(
        self,
        tiles: Tiles,
        features: CellFeatures,  # noqa: ARG002
    ) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
        """Return the tokens, and how much of each lies in each cell."""
        share = self._share(tiles, self._tokens, self._valid)
        return self._flat, share

    def _share(
        self, tiles: Tiles, tokens: NDArray[np.float32], valid: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        share = membership(tiles, self._shape, tokens.shape[:2]) * valid
        return share.reshape(len(tiles), -1)

    def _pool(
        self, tiles: Tiles, tokens: NDArray[np.float32], valid: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        share = self._share(tiles, tokens, valid)
        total = np.maximum(share.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        return (share / total @ tokens.reshape(-1, tokens.shape[2])).astype(np.float32)


def check_tokens(model: object, *, classes: bool) -> None:
    """Check that means of tokens say what the model says.

    Raises:
        MissingCapabilityError: It has no tokens, or they lie in another space than its classes.
    """
    spec = need(model, "tokens", "mode 'feature'").token_spec
    if classes and not (spec.space == "embedding" and spec.pooled):
        name = getattr(getattr(model, "spec", None), "name", "the model")
        raise MissingCapabilityError(
            f"the tokens of {name} are not what its embedding is the mean of",
            "Mode 'feature' would compare them with texts that they were never trained for.",
            "Use --mode zoom (or window), or leave the labels out.",
        )


def second_view(encoder: CropEncoder) -> float:
    """Return the price of the second view, in passes."""
    whole = Window(0, 0, *encoder.source.info.shape)
    return float(encoder.price([whole], small_view(encoder), disturbed=True)[0])


def small_view(encoder: CropEncoder) -> SizedEncoder:
    """Return the smaller view; the standard one where the model takes no other."""
    able = not encoder.standard.fixed or isinstance(encoder.model, TakesSizes)
    return encoder.at_size(max(encoder.standard.shape) // SMALL) if able else encoder.standard


def token_validity(encoder: CropEncoder, grid: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the valid share of the pixels under each token: (gh, gw)."""
    if not encoder.source.info.masked:
        return np.ones(grid)
    # A token of a small image may cover less than a pixel: its window is the one around it.
    rows, cols = (_spans(side, n) for side, n in zip(encoder.source.info.shape, grid, strict=True))
    windows = [Window(y, x, h, w) for y, h in rows for x, w in cols]
    return encoder.valid_shares(windows).reshape(grid)


def _spans(side: int, count: int) -> list[tuple[int, int]]:
    """Return start and length, in whole pixels, of `count` equal parts of an axis."""
    edges = [i * side / count for i in range(count + 1)]
    return [
        (math.floor(a), max(1, math.ceil(b) - math.floor(a))) for a, b in itertools.pairwise(edges)
    ]


class WindowStrategy(Strategy):
    """Each cell is an image at the size that it has in the overview.

    Args:
        encoder: Looks at the image.
        cells: N_p, cells along the longer side of the image.
        branch: Children of a cell per side.
        robust: Whether to measure the robustness, which doubles the passes.

    Raises:
        MissingCapabilityError: The model takes inputs of one size only.
    """

    name, persists = "window", False
    removal = "cells seen apart, averaged over what is left"

    def __init__(self, encoder: CropEncoder, cells: int, branch: int, *, robust: bool) -> None:
        check_sizes(encoder)
        self._encoder, self._branch, self._robust = encoder, branch, robust
        self._lens = encoder.at_size(max(encoder.standard.shape) // cells)

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Cells whose quarters are at least half as large as the input."""
        return np.minimum(tiles.h, tiles.w) >= max(self._lens.shape)

    def children(self, cell: Tiles) -> Tiles:
        """Return the parts of a cell."""
        return cell.refine([0], self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return what the cells cost, in passes."""
        windows = windows_of(tiles)
        price = self._encoder.price(windows, self._lens)
        if self._robust:
            price = price + self._encoder.price(windows, self._lens, disturbed=True)
        return price

    def images(self, tiles: Tiles) -> int:
        """Return how many images the cells are, the disturbed ones included."""
        windows = windows_of(tiles)
        again = self._encoder.count_new(windows, self._lens, disturbed=True) if self._robust else 0
        return self._encoder.count_new(windows, self._lens) + again

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Show the cells to the model, and once more disturbed where that is asked for."""
        windows = windows_of(tiles)
        return embed_windows(self._encoder, windows, self._lens, sizes(tiles), robust=self._robust)


def check_sizes(encoder: CropEncoder) -> None:
    """Check that a model can pay this way.

    Raises:
        MissingCapabilityError: It takes inputs of one size only.
    """
    if encoder.standard.fixed and not isinstance(encoder.model, TakesSizes):
        height, width = encoder.standard.shape
        raise MissingCapabilityError(
            f"{encoder.model.spec.name} takes images of {height} x {width} pixels only",
            "Mode 'window' shows it many small ones.",
            "Use --mode zoom.",
        )


_GLANCE = 2  # a whole cell is seen at half the side


class ZoomStrategy(Strategy):
    """Cells are crops at native resolution, coarse to fine.

    Args:
        encoder: Looks at the image.
        crop: Side of a crop in pixels of the image.
        coarse: How larger cells are seen.
        branch: Children per side of a cell that is seen whole.
        robust: Whether to measure the robustness, which doubles the passes.
    """

    name, persists = "zoom", True
    removal = "crops seen apart, averaged over what is left"

    def __init__(
        self, encoder: CropEncoder, crop: int, coarse: Coarse, branch: int, *, robust: bool
    ) -> None:
        self._encoder, self._crop, self._robust = encoder, crop, robust
        self._coarse, self._branch = coarse, branch
        self._small_view = _coarse_view(encoder) if coarse == "whole" else encoder.standard
        self._leaves: dict[Window, Window] = {}

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Cells larger than a leaf."""
        return np.maximum(tiles.h, tiles.w) > LEAF * self._crop

    def children(self, cell: Tiles) -> Tiles:
        """Return the halves or the parts of a cell."""
        return across(cell, 2) if self._coarse == "native" else parts(cell, self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return what the cells cost, in passes."""
        found = np.zeros(len(tiles))
        for rows, windows, sized in self._views(tiles):
            price = self._encoder.price(windows, sized)
            if self._robust:
                price = price + self._encoder.price(windows, sized, disturbed=True)
            found[rows] = price
        return found

    def images(self, tiles: Tiles) -> int:
        """Return how many images the cells are, the disturbed ones included."""
        return sum(
            self._encoder.count_new(windows, sized, disturbed=disturbed)
            for _, windows, sized in self._views(tiles)
            for disturbed in (False, True)[: 1 + self._robust]
        )

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Show the cells, or what stands for them, to the model."""
        parts, order = [], []
        squeezed = self.can_refine(tiles) & (self._coarse == "whole")
        for rows, windows, sized in self._views(tiles):
            scale = np.where(squeezed, sizes(tiles), -1)[rows]
            parts.append(embed_windows(self._encoder, windows, sized, scale, robust=self._robust))
            order.append(rows)
        joined = parts[0] if len(parts) == 1 else parts[0].join(parts[1])
        return joined.take(np.argsort(np.concatenate(order), kind="stable"))

    def _views(self, tiles: Tiles) -> list[tuple[NDArray[np.int64], list[Window], SizedEncoder]]:
        """Return rows, windows and encoder of the cells that are seen alike."""
        large = self.can_refine(tiles)
        if self._coarse == "native":
            windows = [self._leaf(tiles.take([i])) for i in range(len(tiles))]
            return [(np.arange(len(tiles)), windows, self._encoder.standard)]
        views = [
            (np.flatnonzero(large), self._small_view),
            (np.flatnonzero(~large), self._encoder.standard),
        ]
        found = [(rows, [tiles.window(int(i)) for i in rows], sized) for rows, sized in views]
        return [view for view in found if view[1]]

    def _leaf(self, cell: Tiles) -> Window:
        """Return the leaf that stands for a cell: of each quartering, one quarter at random.

        The draw depends on the cell's place and the seed alone, so that a child which holds the
        leaf of its parent has the same one.
        """
        window = cell.window(0)
        if window not in self._leaves:
            self._leaves[window] = self._drawn(cell)
        return self._leaves[window]

    def _drawn(self, cell: Tiles) -> Window:
        while self.can_refine(cell)[0]:
            halves = valid_cells(self.children(cell), self._encoder)
            if not len(halves):  # valid as a whole, in no half: what is left is seen whole
                break
            keys = tie_keys(halves.tile_id, self._encoder.seed, "focus/leaf")
            cell = halves.take([int(np.argmin(keys))])
        return cell.window(0)


def _coarse_view(encoder: CropEncoder) -> SizedEncoder:
    """Return the encoder for whole cells; the standard one where the model takes no other size."""
    able = not encoder.standard.fixed or isinstance(encoder.model, TakesSizes)
    return encoder.at_size(max(encoder.standard.shape) // _GLANCE) if able else encoder.standard
