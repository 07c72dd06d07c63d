"""Strategies that encode cells: feature, window and zoom.

`feature`: one pass over the whole image; the features of cells are means of its tokens, or pooled
separately (`foveate.focus.repool`). It is the cheapest mode, for previews: objects too small for
the overview are missed. Removal of a cell is exact if the mean of the tokens is the embedding; the
robustness of Eq. 5 takes a second view at a third of the side.

`window`: each cell is a separate image, at its size in the overview. The first cells together cost
one pass; a refined cell costs as much as its parent, at twice the resolution. The features of a
cell do not depend on the others, so removal is exact in the additive model.

`zoom`: crops at native resolution, coarse to fine; each costs a pass. Cells up to the size of a
crop are leaves and are encoded whole. Larger cells are encoded in one of two ways. "native": a
random leaf, drawn with the seed, represents the cell, so that the first cells are a stratified
sample of the image at the training resolution of the model. Such a cell is divided into halves,
one of which contains the encoded leaf, so each refinement costs one pass. "whole": the cell is
downsampled to the model's input, at half the side if the model takes that, which costs a quarter
of a pass.
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
        windows: The n encoded windows: the cells, or a part of each.
        scale: (n,) int, equal for cells encoded at the same ground resolution; negative for crops
            at native resolution. If there are such crops, only they may become regions.
        shift: (n,) float64 distance between unit-norm features before and after the perturbation,
            or None if it was not computed.
        sums: (n, q) float64 inputs of the strategy's `pool`, or None.
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
        """Return these cells followed by the other ones."""
        return CellFeatures(
            np.concatenate([self.x, other.x]),
            (*self.windows, *other.windows),
            np.concatenate([self.scale, other.scale]),
            _joined(self.shift, other.shift),
            _joined(self.sums, other.sums),
        )


def _joined(
    a: NDArray[np.float64] | None, b: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    return None if a is None or b is None else np.concatenate([a, b])


class Strategy(Protocol):
    """Encoding of cells, with its cost.

    Attributes:
        name: "feature", "window" or "zoom".
        removal: Definition of the removal of a region, for the report.
        persists: Whether refinement continues until the budget is spent, or stops when it no
            longer raises the importance of the selection.
        pool: Maps (m, q) sums over cells to (m, d) features of sets of them; None for
            area-weighted means.
    """

    name: str
    removal: str
    persists: bool
    pool: Pool | None = None

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Return the mask of cells that can be refined: (n,) bool."""
        ...

    def children(self, cell: Tiles) -> Tiles:
        """Return the children of one cell."""
        ...

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return the cost of encoding cells, in passes: (n,)."""
        ...

    def images(self, tiles: Tiles) -> int:
        """Return the number of images of encoding cells."""
        ...

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Encode cells.

        Raises:
            BudgetError: The remaining passes are too few; nothing was encoded.
        """
        ...

    def points(
        self, tiles: Tiles, features: CellFeatures
    ) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
        """Return the (t, d) features that Eq. 4 compares, and their (n, t) areas in the cells.

        By default one feature per cell.
        """
        return features.x, np.diag(areas(tiles))


class OverviewStrategy(Strategy):
    """Cells of one overview that is already encoded: encoding them costs nothing.

    Args:
        branch: Children of a cell per side.
    """

    name, persists = "feature", False

    def __init__(self, branch: int) -> None:
        self._branch = branch

    def children(self, cell: Tiles) -> Tiles:
        """Return the children of a cell."""
        return cell.refine([0], self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return zeros: the overview is already paid."""
        return np.zeros(len(tiles))

    def images(self, tiles: Tiles) -> int:  # noqa: ARG002
        """Return 0: the overview is already encoded."""
        return 0


def valid_cells(tiles: Tiles, encoder: CropEncoder) -> Tiles:
    """Return the cells with enough valid pixels, with their valid shares."""
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
    """Encode windows, and their perturbed copies for the robustness.

    Raises:
        BudgetError: The remaining passes are too few; nothing was encoded.
    """
    x = encoder.embed(windows, sized)
    shift = None
    if robust:
        moved = unit(x) - unit(encoder.embed(windows, sized, disturbed=True))
        shift = np.linalg.norm(moved, axis=1).astype(np.float64)
    return CellFeatures(x, tuple(windows), np.asarray(scale, np.int64), shift)


def no_valid_cells(encoder: CropEncoder, scene: str = "") -> DataError:
    """Return the error for an image in which no cell has enough valid pixels."""
    name = f" {scene!r}" if scene else ""
    share = encoder.valid_shares([Window(0, 0, *encoder.source.info.shape)])[0]
    some = share > 0 < encoder.min_valid
    return DataError(
        f"the image{name} has no cell with {encoder.min_valid:.0%} valid pixels",
        "At least one cell must have enough valid pixels.",
        "Check --nodata" + (", or lower --min-valid." if some else ": no pixel is valid."),
    )


def hint_fewer_cells(cells: int) -> str:
    """Return the end of a hint: use fewer cells, if there is more than one."""
    return f", or use fewer cells: --cells {cells // 2}" if cells > 1 else ""


SMALL = 3  # the second view has a third of the side: a ninth of a pass


class FeatureStrategy(OverviewStrategy):
    """Features of cells are means of the tokens of one overview.

    Args:
        encoder: Encoder of the image.
        tokens: (gh, gw, d) tokens of the overview.
        branch: Children of a cell per side.
        robust: Whether to compute the robustness.

    Raises:
        BudgetError: The remaining passes do not cover the second view.
    """

    removal = "tokens of one overview, averaged over the remaining cells"

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
        """Return the mask of cells with at least two tokens per side."""
        gh, gw = self._tokens.shape[:2]
        return (tiles.h >= 2 * self._shape[0] / gh) & (tiles.w >= 2 * self._shape[1] / gw)

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Average the tokens of each cell, weighted by the share of the token in the cell."""
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
        """Return the tokens, and their areas in the cells."""
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
    """Check that means of tokens are valid features of the model.

    Raises:
        MissingCapabilityError: The model has no tokens, or they are in another space than its
            classes.
    """
    spec = need(model, "tokens", "mode 'feature' and partition 'significance'").token_spec
    if classes and not (spec.space == "embedding" and spec.pooled):
        name = getattr(getattr(model, "spec", None), "name", "the model")
        raise MissingCapabilityError(
            f"the embedding of {name} is not the mean of its tokens",
            "Mode 'feature' would compare tokens with texts, for which they were not trained.",
            "Use --mode zoom (or window), or omit the labels.",
        )


def second_view(encoder: CropEncoder) -> float:
    """Return the cost of the second view, in passes."""
    whole = Window(0, 0, *encoder.source.info.shape)
    return float(encoder.price([whole], small_view(encoder), disturbed=True)[0])


def small_view(encoder: CropEncoder) -> SizedEncoder:
    """Return the encoder of the smaller view; the standard one if the model takes no other size."""
    return _at_fraction(encoder, SMALL)


def _at_fraction(encoder: CropEncoder, divisor: int) -> SizedEncoder:
    if encoder.standard.fixed and not isinstance(encoder.model, TakesSizes):
        return encoder.standard
    return encoder.at_size(max(encoder.standard.shape) // divisor)


def token_validity(encoder: CropEncoder, grid: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the valid share of the pixels under each token: (gh, gw)."""
    if not encoder.source.info.masked:
        return np.ones(grid)
    # A token of a small image may cover less than a pixel: its window is the enclosing one.
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
    """Cells are separate images, at their size in the overview.

    Args:
        encoder: Encoder of the image.
        cells: N_p, cells along the longer side of the image.
        branch: Children of a cell per side.
        robust: Whether to compute the robustness, which doubles the passes.

    Raises:
        MissingCapabilityError: The model takes inputs of one size only.
    """

    name, persists = "window", False
    removal = "cells encoded separately, averaged over the remaining cells"

    def __init__(self, encoder: CropEncoder, cells: int, branch: int, *, robust: bool) -> None:
        check_sizes(encoder)
        self._encoder, self._branch, self._robust = encoder, branch, robust
        self._sized = encoder.at_size(max(encoder.standard.shape) // cells)

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Return the mask of cells whose quarters have at least half the side of the input."""
        return np.minimum(tiles.h, tiles.w) >= max(self._sized.shape)

    def children(self, cell: Tiles) -> Tiles:
        """Return the children of a cell."""
        return cell.refine([0], self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return the cost of the cells, in passes."""
        windows = windows_of(tiles)
        price = self._encoder.price(windows, self._sized)
        if self._robust:
            price = price + self._encoder.price(windows, self._sized, disturbed=True)
        return price

    def images(self, tiles: Tiles) -> int:
        """Return the number of images of the cells, including the perturbed ones."""
        windows = windows_of(tiles)
        again = self._encoder.count_new(windows, self._sized, disturbed=True) if self._robust else 0
        return self._encoder.count_new(windows, self._sized) + again

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Encode the cells, and their perturbed copies for the robustness."""
        windows = windows_of(tiles)
        return embed_windows(self._encoder, windows, self._sized, sizes(tiles), robust=self._robust)


def check_sizes(encoder: CropEncoder) -> None:
    """Check that a model takes inputs of other sizes.

    Raises:
        MissingCapabilityError: The model takes inputs of one size only.
    """
    if encoder.standard.fixed and not isinstance(encoder.model, TakesSizes):
        height, width = encoder.standard.shape
        raise MissingCapabilityError(
            f"{encoder.model.spec.name} takes images of {height} x {width} pixels only",
            "Mode 'window' needs smaller inputs.",
            "Use --mode zoom.",
        )


_GLANCE = 2  # whole cells are encoded at half the side


class ZoomStrategy(Strategy):
    """Cells are crops at native resolution, coarse to fine.

    Args:
        encoder: Encoder of the image.
        crop: Side of a crop in pixels of the image.
        coarse: View of larger cells.
        branch: Children per side of a cell that is encoded whole.
        robust: Whether to compute the robustness, which doubles the passes.
    """

    name, persists = "zoom", True
    removal = "crops encoded separately, averaged over the remaining cells"

    def __init__(
        self, encoder: CropEncoder, crop: int, coarse: Coarse, branch: int, *, robust: bool
    ) -> None:
        self._encoder, self._crop, self._robust = encoder, crop, robust
        self._coarse, self._branch = coarse, branch
        self._small_view = encoder.standard
        if coarse == "whole":
            self._small_view = _at_fraction(encoder, _GLANCE)
        self._leaves: dict[Window, Window] = {}

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Return the mask of cells larger than a leaf."""
        return np.maximum(tiles.h, tiles.w) > LEAF * self._crop

    def children(self, cell: Tiles) -> Tiles:
        """Return the children of a cell: halves for "native" views."""
        return across(cell, 2) if self._coarse == "native" else parts(cell, self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Return the cost of the cells, in passes."""
        total = np.zeros(len(tiles))
        for rows, windows, sized in self._views(tiles):
            price = self._encoder.price(windows, sized)
            if self._robust:
                price = price + self._encoder.price(windows, sized, disturbed=True)
            total[rows] = price
        return total

    def images(self, tiles: Tiles) -> int:
        """Return the number of images of the cells, including the perturbed ones."""
        return sum(
            self._encoder.count_new(windows, sized, disturbed=disturbed)
            for _, windows, sized in self._views(tiles)
            for disturbed in (False, True)[: 1 + self._robust]
        )

    def encode(self, tiles: Tiles) -> CellFeatures:
        """Encode the cells, or the leaves that represent them."""
        parts, order = [], []
        downsampled = self.can_refine(tiles) & (self._coarse == "whole")
        for rows, windows, sized in self._views(tiles):
            scale = np.where(downsampled, sizes(tiles), -1)[rows]
            parts.append(embed_windows(self._encoder, windows, sized, scale, robust=self._robust))
            order.append(rows)
        joined = parts[0] if len(parts) == 1 else parts[0].join(parts[1])
        return joined.take(np.argsort(np.concatenate(order), kind="stable"))

    def _views(self, tiles: Tiles) -> list[tuple[NDArray[np.int64], list[Window], SizedEncoder]]:
        """Return rows, windows and encoder of each group of cells with the same view."""
        large = self.can_refine(tiles)
        if self._coarse == "native":
            windows = [self._leaf(tiles.take([i])) for i in range(len(tiles))]
            return [(np.arange(len(tiles)), windows, self._encoder.standard)]
        views = [
            (np.flatnonzero(large), self._small_view),
            (np.flatnonzero(~large), self._encoder.standard),
        ]
        groups = [(rows, [tiles.window(int(i)) for i in rows], sized) for rows, sized in views]
        return [group for group in groups if group[1]]

    def _leaf(self, cell: Tiles) -> Window:
        """Return the leaf that represents a cell: a random half, recursively.

        The draw depends on the position of the cell and the seed only, so that a child that
        contains the leaf of its parent has the same leaf.
        """
        window = cell.window(0)
        if window not in self._leaves:
            self._leaves[window] = self._drawn(cell)
        return self._leaves[window]

    def _drawn(self, cell: Tiles) -> Window:
        while self.can_refine(cell)[0]:
            halves = valid_cells(self.children(cell), self._encoder)
            if not len(halves):  # enough valid pixels as a whole, but not in a half
                break
            keys = tie_keys(halves.tile_id, self._encoder.seed, "focus/leaf")
            cell = halves.take([int(np.argmin(keys))])
        return cell.window(0)
