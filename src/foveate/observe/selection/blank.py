"""Tiles without content (one value in each band), and cautions about the scores of selected tiles.

Missing, saturated or filled areas that no nodata value declares are unlike all tiles of a training,
so that an observer may give them a high score; and no policy should buy them before other tiles.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from foveate.grid import Window
from foveate.observe.familiarity import caution
from foveate.select.constraints import Constraint
from foveate.wording import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.observe.selection.overviews import OverviewTiles
    from foveate.observe.selection.ranking import TileScores
    from foveate.raster import Raster
    from foveate.selection import Ranking, Selection

_PART = 128  # tiles along a row that are read at once


def blank_tiles(target: OverviewTiles, bands: Sequence[int] = ()) -> NDArray[np.bool_]:
    """Return the (n,) mask of tiles whose valid overview pixels have one value in each band.

    Args:
        target: Tiles and overviews.
        bands: 1-based bands; empty: all.
    """
    found = np.zeros(len(target.pool), bool)
    by_place = {tuple(place): row for row, place in enumerate(target.place.tolist())}
    for number, (scene, shape) in enumerate(zip(target.overviews, target.shapes, strict=True)):
        y, x = (
            np.arange(n + 1) * side // n
            for n, side in zip(shape, scene.source.info.shape, strict=True)
        )
        for row, (top, bottom) in enumerate(itertools.pairwise(y.tolist())):
            for first in range(0, shape[1], _PART):
                edges = x[first : first + _PART + 1]
                width, height = int(edges[-1] - edges[0]), max(1, bottom - top)
                window = Window(top, int(edges[0]), height, width)
                raster = scene.source.read(window, bands=list(bands) or None)
                for col in np.flatnonzero(_one_value(raster, edges[:-1] - edges[0])).tolist():
                    if (tile := by_place.get((number, row, first + col))) is not None:
                        found[tile] = True
    return found


def _one_value(raster: Raster, starts: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which column spans of a raster have one value in each band, or no valid pixel."""
    high, low = (
        op.reduceat(
            op.reduce(np.where(raster.valid, raster.data, end).astype(np.float64), axis=1),
            np.minimum(starts, raster.data.shape[2] - 1), axis=1,
        )
        for op, end in ((np.maximum, -np.inf), (np.minimum, np.inf))
    )  # fmt: skip
    return (high <= low).all(axis=0)


def put_last(ranking: Ranking, blank: NDArray[np.bool_]) -> Ranking:
    """Move tiles to the end of a ranking, with a score of 0."""
    if not blank.any():
        return ranking
    score = np.empty(ranking.n)
    score[ranking.rows] = ranking.score
    score[blank] = 0.0
    rows = Constraint(ranking.n, last=np.flatnonzero(blank)).apply(ranking.rows)
    return replace(ranking, rows=rows, score=score[rows])


def doubts(target: OverviewTiles, scores: TileScores, selection: Selection) -> list[str]:
    """Return cautions (sentences) about the scores of a selection.

    Args:
        target: Tiles and overviews.
        scores: Scores and ranking of the tiles.
        selection: The selected tiles.
    """
    notes, chosen = [], plural(len(selection), "selected tile")
    unlike = int(scores.beyond[selection.rows].sum())
    if whole := caution(target.place[:, 0], scores.beyond):
        notes.append(whole)
    elif 2 * unlike > len(selection):  # a few unusual tiles, which the policy prefers
        notes.append(
            f"{unlike:,} of {chosen} {'is' if unlike == 1 else 'are'} unlike all tiles of the "
            "training. Scores may be meaningless."
        )
    if blank := int(scores.blank.sum()):
        one, bought = blank == 1, int(scores.blank[selection.rows].sum())
        text = f"{plural(blank, 'tile')} {'has' if one else 'have'} one value in each band of the "
        text += f"overview (blank, saturated or filled) and {'is' if one else 'are'} ranked last"
        such = "is such a tile" if bought == 1 else "are such tiles"
        notes.append(text + (f"; {bought:,} of {chosen} {such}." if bought else "."))
    return notes
