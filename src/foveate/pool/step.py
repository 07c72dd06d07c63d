"""The first step of every job: measure the pool once, and store it in the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, ParameterError
from foveate.files import digest, digest_ids
from foveate.pool.folder import open_pool
from foveate.pool.measured import load_measured, save_measured
from foveate.pool.scan import OnError, scan
from foveate.pool.store import load_failed, load_pool, save_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from foveate.pool.pool import Pool
    from foveate.pool.settings import ImageryJob, PoolJob
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 4  # increased when the outputs of the step change for the same inputs
WHOLE = 4096  # maximum side in pixels of an image used as a single tile


@dataclass(frozen=True)
class Refinement:
    """Functions applied to a measured pool before it is stored.

    Attributes:
        key: Inputs of the functions, JSON-ready; empty if there are none.
        steps: Functions from a pool to a pool, applied in order.
    """

    key: tuple[Any, ...] = ()
    steps: tuple[Callable[[Pool], Pool], ...] = ()

    def apply(self, pool: Pool) -> Pool:
        """Apply all functions to a pool."""
        for step in self.steps:
            pool = step(pool)
        return pool


def measured_pool(
    job: PoolJob,
    run: Run,
    progress: ProgressFn | None = None,
    *,
    also: Refinement | None = None,
    on_error: OnError = "stop",
) -> tuple[Pool, str]:
    """Open the files, and measure them unless the run has done so.

    Args:
        job: Imagery and its tiling.
        run: Run open for writing.
        progress: Called with ticks.
        also: Functions applied to the pool before it is stored.
        on_error: See `open_pool`.

    Returns:
        The pool, and a hash of all its inputs.

    Raises:
        DataError: See `open_pool` and `scan`; or an image is too large to be a single tile.
        ParameterError: The grid is invalid.
    """
    if not job.tile and (job.stride is not None or job.coordinates is not None):
        raise ParameterError(
            "a stride or a coordinate list is given with --tile 0, which uses whole images",
            "Both require the side of a tile.",
            "Give the side of a tile: --tile 256.",
        )
    headers = opened_pool(
        job, tile=job.tile or WHOLE, stride=job.stride, edge=job.edge,
        split=None if job.tile else (1, 1), coordinates=job.coordinates, on_error=on_error,
    )  # fmt: skip
    if not job.tile:
        _check_whole(headers)
    return measure(headers, job, run, progress, also=also, on_error=on_error)


def opened_pool(job: ImageryJob, **cut: Any) -> Pool:
    """Open the files, headers only; `cut` has the tiling arguments of `open_pool`.

    Raises:
        DataError: See `open_pool`.
        ParameterError: The grid is invalid.
    """
    return open_pool(
        job.images, masks=job.masks or None, mask_suffix=job.mask_suffix, classes=job.classes,
        extra=[[e] for e in job.extra],
        stack=job.stack, nodata=job.nodata, bands=job.bands or None, search=job.item_search(),
        measure=False, **cut,
    )  # fmt: skip


def measure(
    headers: Pool, job: ImageryJob, run: Run, progress: ProgressFn | None = None, *,
    also: Refinement | None = None, part: str = "", on_error: OnError = "stop",
) -> tuple[Pool, str]:  # fmt: skip
    """Measure a pool (step ``pool``) unless the run has done so.

    Args:
        headers: Result of `opened_pool`.
        job: The job of `opened_pool`.
        run: Run open for writing.
        progress: Called with ticks.
        also: Functions applied to the pool before it is stored.
        part: Name of an additional pool of the run: its step is ``pool PART``, its files are in
            ``work/PART``.
        on_error: See `open_pool`. Scenes that could not be read before are tried again.

    Returns:
        The pool, and a hash of all its inputs.

    Raises:
        DataError: See `scan`.
    """
    prints = [
        [s.scene_id, s.source.info.fingerprint, s.mask.info.fingerprint if s.mask else None]
        for s in headers.scenes
    ]
    quality = [s.item.quality_source for s in headers.scenes if s.item is not None]
    prints += [["quality", source.state, None] for source in quality if source is not None]
    if headers.attributes is not None:
        prints.append(["attributes", headers.attributes.fingerprint, None])
    legend = headers.legend.to_dict() if headers.legend else None
    kept = [job.min_valid, job.min_labelled, job.skip_empty]
    also = also or Refinement()
    facts = [digest_ids(headers.ids), job.nodata, job.bands, *kept]
    key = digest([VERSION, prints, legend, facts, *also.key])
    measured: list[Pool] = []
    home = run.path / "work" / part if part else run.path

    step, cache = f"pool {part}".rstrip(), home / ("" if part else "work") / "measured.parquet"
    if not run.shared and {s.scene_id for s in headers.scenes} & load_failed(home).keys():
        run.record["steps"].pop(step, None)

    def work() -> list[str]:
        known = load_measured(cache)
        pool = scan(
            headers, bands=job.bands or None, min_valid=job.min_valid,
            min_labelled=job.min_labelled, skip_empty=job.skip_empty, on_error=on_error,
            known=known, progress=progress,
        )  # fmt: skip
        save_measured(cache, known)
        measured.append(also.apply(pool))
        files = save_pool(home, measured[0])
        return [str((home / file).relative_to(run.path)) for file in files]

    run.do(step, key, work)
    pool = measured[0] if measured else load_pool(home, headers)
    return pool, _key_without(key, pool.failed)


def leave_out(run: Run, pool: Pool, key: str, failed: Mapping[str, str]) -> tuple[Pool, str]:
    """Leave out scenes that could not be read after the pool was measured.

    The tables of the run are rewritten without them. In the next run, the pool is created again
    from the stored measurements, and these scenes are tried again.

    Args:
        run: Run open for writing.
        pool: Result of `measure`.
        key: Its hash.
        failed: Scene -> reason why it cannot be read.

    Returns:
        The remaining pool, and its hash.
    """
    if not failed:
        return pool, key
    remaining = pool.without_scenes(failed)
    save_pool(run.path, remaining)
    return remaining, _key_without(key, failed)


def _key_without(key: str, failed: Mapping[str, str]) -> str:
    return digest([key, sorted(failed)]) if failed else key


def _check_whole(pool: Pool) -> None:
    """Check that images are small enough to be single tiles."""
    for scene in pool.scenes:
        height, width = scene.source.info.shape
        if max(height, width) > WHOLE:
            raise DataError(
                f"the image {scene.scene_id!r} has {height} x {width} pixels",
                f"Whole images must have at most {WHOLE} pixels per side.",
                "Cut the images into tiles: --tile 256, if the command has this option, or before.",
            )
