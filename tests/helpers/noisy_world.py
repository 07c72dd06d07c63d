"""Patches of the procedural world with wrong labels, and how many each has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foveate.models.cells import CellStatistics
from foveate.pool import Pool
from foveate.pool.cell_counts import cell_counts
from foveate.world import CLASSES, WorldSpec, flip_labels, make_scene

TILE, GRID = 64, (8, 8)
CLOUD = list(CLASSES).index("cloud")


@dataclass(frozen=True)
class Noisy:
    """A pool without imagery, what the probe sees, and the truth."""

    pool: Pool
    tokens: np.ndarray
    cells: np.ndarray
    share: np.ndarray  # of wrong labels


def noisy_world(kind, *, scenes, size, seed=0, most=0.5):
    """Cut scenes into patches, and flip a share of each that is uniform from 0 to `most`."""
    draw = np.random.default_rng([seed, 7])
    spec = WorldSpec(scenes=scenes, size=size, bands=3, seed=seed, cloud=0.0, nodata_border=False)
    ids, tokens, cells, share = [], [], [], []
    model = CellStatistics((1, 2, 3), ((0, 255),) * 3)
    for index in range(scenes):
        scene = make_scene(spec, index)
        corners = [(y, x) for y in range(0, size, TILE) for x in range(0, size, TILE)]
        parts = [np.s_[y : y + TILE, x : x + TILE] for y, x in corners]
        batch = np.stack([scene.image[:, *part] for part in parts])
        tokens.append(model.tokens(batch).reshape(len(parts), GRID[0] * GRID[1], -1))
        for (y, x), part in zip(corners, parts, strict=True):
            labels = scene.labels[part]
            flipped = flip_labels(labels, draw.uniform(0, most), range(CLOUD), draw, kind)
            ids.append(f"{scene.scene_id}/y{y:06d}_x{x:06d}")
            cells.append(cell_counts(flipped.astype(np.int64), GRID, CLOUD))
            share.append((flipped != labels).mean())
    pool = Pool.from_arrays(ids=ids, counts=np.stack(cells).sum(axis=1))
    return Noisy(
        pool, np.concatenate(tokens).astype(np.float16), np.stack(cells).astype(np.uint32),
        np.array(share),
    )  # fmt: skip
