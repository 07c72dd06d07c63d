"""The fast judge: a linear probe on frozen dense features, cell by cell.

Features of cells (tokens of a frozen backbone) are reduced by a whitened PCA that is fitted on the
training tiles, and a multinomial logistic regression is fitted to pixels that are drawn from the
selected tiles. The number of pixels is the same for every set, so that sets differ in content, not
in training time. Every pixel of a test tile gets the class of its cell.

Samplers: "none" draws pixels uniformly; "balanced" draws each class of the set equally often.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.bench.curate.measure import Judged
from foveate.errors import DataError
from foveate.progress import Meter
from foveate.seeds import rng
from foveate.select.cell_probe import DRAWS, CellProbe, Components, draw_pixels, totals

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.bench.curate.conditions import Sampler
    from foveate.bench.curate.design import Fold
    from foveate.progress import ProgressFn

_BLOCK = 256  # tiles


@dataclass(frozen=True)
class Cells:
    """Dense features and labels of the tiles of a pool.

    Attributes:
        x: (n, t, d) features of t cells of each tile; may be a memory map.
        counts: (n, t, C) labelled pixels by class, for training.
        once: (n, t, C) the same without pixels of earlier tiles of the scene, for testing.
    """

    x: NDArray[np.floating]
    counts: NDArray[np.integer]
    once: NDArray[np.integer]


def reduced(
    x: NDArray[np.floating], fold: Fold, file: Path, progress: ProgressFn | None = None
) -> None:
    """Write whitened principal components of the features of all tiles, fitted on training tiles.

    Args:
        x: (n, t, d) features.
        fold: The fold; the components are fitted on its training tiles.
        file: Output file, (n, t, q) float16.
        progress: Called with ticks.
    """
    n, t, _ = x.shape
    components = Components.fit(x, fold.train, rng(0, f"bench/pca/{fold.name}"))
    file.parent.mkdir(parents=True, exist_ok=True)
    found = np.lib.format.open_memmap(file, "w+", np.float16, (n, t, len(components.shift)))
    with Meter(progress, "reducing features", n) as meter:
        for start in range(0, n, _BLOCK):
            rows = slice(start, min(start + _BLOCK, n))
            found[rows] = components.of(x[rows])
            meter.advance(rows.stop - rows.start)


class ProbeJudge:
    """Fits probes on sets of one fold; see the module docstring.

    Args:
        cells: Features, reduced for this fold, and labels.
        fold: The fold.
        scene: (n,) scene of each tile.
    """

    def __init__(self, cells: Cells, fold: Fold, scene: NDArray[np.str_]) -> None:
        self._cells = cells
        self._test = np.asarray(cells.x[fold.test], np.float32)
        self._once = np.asarray(cells.once[fold.test], np.float64)
        self._names, self._code = np.unique(scene[fold.test], return_inverse=True)

    def judge(self, rows: NDArray[np.int64], sampler: Sampler, seed: int) -> Judged:
        """Fit a probe to selected tiles, and test it.

        Args:
            rows: Rows of the pool to train on.
            sampler: Sampling of pixels.
            seed: Seed of the sampling.

        Returns:
            Confusion matrices of the test scenes, and seconds.

        Raises:
            DataError: The tiles have no labelled pixel.
        """
        begun = time.perf_counter()
        x, y = self._drawn(rows, sampler, seed)
        classes = self._once.shape[2]
        predicted = CellProbe.fit(x, y).predict(self._test.reshape(-1, self._test.shape[2]))
        predicted = predicted.reshape(self._test.shape[:2])
        found = np.zeros((self._names.size, classes, classes))
        for k in range(classes):
            pixels = np.where((predicted == k)[..., None], self._once, 0).sum(axis=1)  # (n, C)
            np.add.at(found[:, :, k], self._code, pixels)
        matrices = dict(zip(self._names.tolist(), found, strict=True))
        return Judged(matrices, {"fit": time.perf_counter() - begun})

    def _drawn(
        self, rows: NDArray[np.int64], sampler: Sampler, seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the cell features and the classes of drawn pixels."""
        total = totals(self._cells.counts, rows)
        if not total.any():
            raise DataError(
                "the selected tiles have no labelled pixel", "Training needs labels.",
                "Raise the budget, or --min-labelled.",
            )  # fmt: skip
        weight = np.ones(total.size) if sampler == "none" else 1 / np.maximum(total, 1)
        draw = rng(seed, f"bench/probe/{sampler}")
        tile, cell, y = draw_pixels(self._cells.counts, rows, weight, DRAWS, draw)
        return np.asarray(self._cells.x[rows[tile], cell], np.float32), y
