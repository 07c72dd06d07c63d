"""`feature`: one pass over the whole image; cells are means of its tokens.

The cheapest mode and a preview: what is too small for the overview stays invisible. Leaving a
cell out is exact where the mean of the tokens is the embedding; the robustness of Eq. 5 takes a
second view at a third of the side.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import MissingCapabilityError
from foveate.focus.modes.base import Seen, windows_of
from foveate.focus.partition import membership
from foveate.grid import Window
from foveate.models.capabilities import TakesSizes, need
from foveate.models.heads.base import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.focus.eye import Eye, Lens
    from foveate.grid import Tiles

SMALL = 3  # the second view has a third of the side: a ninth of a pass


class FeatureField:
    """See the head of this module.

    Args:
        eye: Looks at the image.
        tokens: (gh, gw, d) tokens of the overview.
        branch: Children of a cell per side.
        robust: Whether to measure the robustness.

    Raises:
        BudgetError: The second view is not affordable.
    """

    name, persists = "feature", False
    removal = "tokens of one overview, averaged over what is left"

    def __init__(self, eye: Eye, tokens: NDArray[np.float32], branch: int, *, robust: bool) -> None:
        self._branch, self._shape = branch, eye.source.info.shape
        self._tokens = tokens
        self._flat = tokens.reshape(-1, tokens.shape[2])
        self._valid = _valid_shares(eye, tokens.shape[:2])
        self._moved: NDArray[np.float32] | None = None
        if robust:
            self._moved = eye.tokens(Window(0, 0, *self._shape), _glance(eye), disturbed=True)
            self._moved_valid = _valid_shares(eye, self._moved.shape[:2])

    def can_refine(self, tiles: Tiles) -> NDArray[np.bool_]:
        """Cells of two tokens a side, or more."""
        gh, gw = self._tokens.shape[:2]
        return (tiles.h >= 2 * self._shape[0] / gh) & (tiles.w >= 2 * self._shape[1] / gw)

    def children(self, cell: Tiles) -> Tiles:
        """Return the parts of a cell."""
        return cell.refine([0], self._branch)

    def price(self, tiles: Tiles) -> NDArray[np.float64]:
        """Nothing: the overview is paid."""
        return np.zeros(len(tiles))

    def images(self, tiles: Tiles) -> int:  # noqa: ARG002
        """None: the overview was shown."""
        return 0

    def look(self, tiles: Tiles) -> Seen:
        """Average the tokens of each cell; one of which a cell has half counts half."""
        x = self._pool(tiles, self._tokens, self._valid)
        shift = None
        if self._moved is not None:
            moved = self._pool(tiles, self._moved, self._moved_valid)
            shift = np.linalg.norm(unit(x) - unit(moved), axis=1).astype(np.float64)
        return Seen(x, tuple(windows_of(tiles)), np.zeros(len(tiles), np.int64), shift)

    def points(self, tiles: Tiles, seen: Seen) -> tuple[NDArray[np.floating], NDArray[np.float64]]:  # noqa: ARG002
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
    """Check that a model can pay this way.

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


def second_view(eye: Eye) -> float:
    """Return the price of the second view, in passes."""
    whole = Window(0, 0, *eye.source.info.shape)
    return float(eye.price([whole], _glance(eye), disturbed=True)[0])


def _glance(eye: Eye) -> Lens:
    """Return the smaller view; the standard one where the model takes no other."""
    able = not eye.standard.fixed or isinstance(eye.model, TakesSizes)
    return eye.lens(max(eye.standard.shape) // SMALL) if able else eye.standard


def _valid_shares(eye: Eye, grid: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the valid share of the pixels under each token: (gh, gw)."""
    if not eye.source.info.masked:
        return np.ones(grid)
    # A token of a small image may cover less than a pixel: its window is the one around it.
    rows, cols = (_spans(side, n) for side, n in zip(eye.source.info.shape, grid, strict=True))
    windows = [Window(y, x, h, w) for y, h in rows for x, w in cols]
    return eye.valid(windows).reshape(grid)


def _spans(side: int, count: int) -> list[tuple[int, int]]:
    """Return start and length, in whole pixels, of `count` equal parts of an axis."""
    edges = [i * side / count for i in range(count + 1)]
    return [
        (math.floor(a), max(1, math.ceil(b) - math.floor(a))) for a, b in itertools.pairwise(edges)
    ]
