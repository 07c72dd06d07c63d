"""Features, pixels and labels of the judges, computed once for all seeds and conditions."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from foveate.bench.curate.labels import FILES, first_seen, write_cell_counts
from foveate.bench.curate.probe import Cells, ProbeJudge, reduced
from foveate.errors import DataError
from foveate.files import digest, digest_ids
from foveate.models.dense import dense_features
from foveate.models.embed import bind, fill_invalid
from foveate.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from foveate.bench.curate.design import Design
    from foveate.bench.curate.measure import Judge
    from foveate.bench.curate.unet import UNetJudge, UNetSettings
    from foveate.models.base import ModelHandle
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 1
_PIXELS = ("pixels.npy", "codes.npy", "once.npy")


def probe_judges(
    design: Design, handle: ModelHandle, run: Run, folder: str, *, batch_size: int, workers: int,
    progress: ProgressFn | None,
) -> Callable[[int], Judge]:  # fmt: skip
    """Prepare features and labels; return a function from the number of a fold to its judge.

    Args:
        design: The pool and its folds.
        handle: The model whose dense features are probed.
        run: Open for writing.
        folder: Folder for intermediate files, relative to the run.
        batch_size: Tiles per call of the model.
        workers: Processes that embed.
        progress: Called with ticks.
    """
    tokens = dense_features(
        design.pool, handle, run=run, batch_size=batch_size, workers=workers, progress=progress
    )
    grid = tokens.spec.grid
    assert grid is not None  # noqa: S101  (tokens have one)
    home = run.path / folder
    # The name of the folder contains a hash of the design and the model.
    key = digest([VERSION, folder, tokens.spec.to_dict()])
    run.do(
        f"labels {folder}", key,
        lambda: _names(run, write_cell_counts(design.pool, grid, home / "labels", progress)),
    )  # fmt: skip
    counts, once = (np.load(home / "labels" / name, mmap_mode="r") for name in FILES)

    @functools.cache
    def judge(number: int) -> ProbeJudge:
        fold, file = design.folds[number], home / f"features/fold-{number}.npy"

        def work() -> list[str]:
            reduced(tokens.x, fold, file, progress)
            return _names(run, [file])

        run.do(f"features {folder} {number}", key, work)
        x = np.load(file, mmap_mode="r")
        return ProbeJudge(Cells(x, counts, once), fold, design.scene)

    return judge


def unet_judges(
    design: Design, handle: ModelHandle, run: Run, settings: UNetSettings,
    progress: ProgressFn | None,
) -> Callable[[int], Judge]:  # fmt: skip
    """Prepare pixels and labels; return a function from the number of a fold to its judge.

    Raises:
        DataError: Tiles have several sizes.
    """
    from foveate.bench.curate.unet import Tiles, UNetJudge

    pool = design.pool
    assert pool.tiles is not None  # noqa: S101  (a pool of imagery)
    assert pool.counts is not None  # noqa: S101  (with masks)
    sizes = {(int(h), int(w)) for h, w in zip(pool.tiles.h, pool.tiles.w, strict=True)}
    if len(sizes) > 1:
        raise DataError(
            f"tiles of {len(sizes)} sizes for a U-Net", "All tiles must have the same size.",
            "Use --edge shift, drop or pad; if scenes are smaller than a tile, reduce --tile.",
        )  # fmt: skip
    spec = bind(handle, pool, run=run).spec
    key = digest([VERSION, digest_ids(pool.ids), spec.bands])
    home = run.path / f"work/pixels-{key[:8]}"

    def work() -> list[str]:
        return _names(run, _write_pixels(pool, spec.bands, sizes.pop(), home, progress))

    run.do(f"pixels {key[:8]}", key, work)
    tiles = Tiles(*(np.load(home / name, mmap_mode="r") for name in _PIXELS), pool.counts)

    @functools.cache
    def judge(number: int) -> UNetJudge:
        fold = design.folds[number]
        return UNetJudge(
            tiles, fold, design.scene, handle=handle, spec=spec, settings=settings,
            progress=progress,
        )  # fmt: skip

    return judge


def _write_pixels(
    pool: Pool, bands: tuple[int, ...], size: tuple[int, int], home: Path,
    progress: ProgressFn | None,
) -> list[Path]:  # fmt: skip
    """Write the pixels and labels of all tiles as arrays for memory mapping."""
    home.mkdir(parents=True, exist_ok=True)
    n, dtype = len(pool), np.dtype(pool.scenes[0].source.info.dtype)
    files = [home / name for name in _PIXELS]
    shapes = ((n, len(bands), *size), (n, *size), (n, *size))
    pixels, codes, once = (
        np.lib.format.open_memmap(file, "w+", kind, shape)
        for file, kind, shape in zip(files, (dtype, np.int16, bool), shapes, strict=True)
    )
    with Meter(progress, "reading tiles", n) as meter:
        for i, raster in enumerate(pool.read(bands=bands)):
            pixels[i] = fill_invalid(raster)
            meter.advance()
    for rows, code, fresh in first_seen(pool):
        codes[rows], once[rows] = np.stack(code), np.stack(fresh)
    return files


def _names(run: Run, files: list[Path]) -> list[str]:
    return [str(file.relative_to(run.path)) for file in files]
