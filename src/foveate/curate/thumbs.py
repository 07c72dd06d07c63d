"""Thumbnails for the report of a curate run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.pool.thumbs import write_thumbs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.selection import Ranking, Selection

TILES = 12  # number of best and of worst tiles of each method
SCENES = 24  # scenes with the most picks


def draw_picks(
    path: Path,
    pool: Pool,
    rankings: Mapping[str, Ranking],
    selections: Mapping[str, Selection],
    *,
    bands: Sequence[int] = (),
    progress: ProgressFn | None = None,
) -> list[str]:
    """Write the best and worst tiles of each method and overviews of the most picked scenes.

    Returns:
        Names of the files, relative to `path`; see `foveate.pool.thumbs.write_thumbs`.
    """
    assert pool.tiles is not None  # noqa: S101  (jobs run on pools cut from scenes)
    tiles: list[int] = []
    for ranking in rankings.values():
        tiles += ranking.rows[:TILES].tolist()
        if ranking.full:
            tiles += ranking.rows[-TILES:].tolist()
    picks = np.zeros(len(pool.tiles.scenes), np.int64)
    for selection in selections.values():
        codes = pool.tiles.scene_code[selection.rows]
        picks += np.bincount(codes, minlength=picks.size)
    order = np.lexsort((np.arange(picks.size), -picks))[:SCENES]
    shown = {pool.tiles.scenes[i] for i in order if picks[i]}
    rows = np.array(tiles, dtype=np.int64)
    return write_thumbs(path, pool, rows, scenes=shown, bands=bands, progress=progress)
