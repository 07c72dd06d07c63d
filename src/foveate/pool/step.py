"""The first step of every job: the pool, measured once and kept in the run."""

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

VERSION = 4  # raised when the step writes something else for the same inputs
WHOLE = 4096  # longest side in pixels of an image that is taken whole


@dataclass(frozen=True)
class Refinement:
    """What is done with a pool after it was measured, before it is kept.

    Attributes:
        key: What it depends on, JSON-ready; empty for nothing.
        steps: Functions from a pool to a pool, one after the other.
    """

    key: tuple[Any, ...] = ()
    steps: tuple[Callable[[Pool], Pool], ...] = ()

    def apply(self, pool: Pool) -> Pool:
        """Return the pool after all steps."""
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
    """Open the files; measure them unless the run has done so.

    Args:
        job: Which imagery, and how it is cut.
        run: Run open for writing.
        progress: Called with ticks.
        also: What else is done with the pool before it is kept.
        on_error: See `open_pool`.

    Returns:
        The pool, and a hash of everything that it depends on.

    Raises:
        DataError: See `open_pool` and `scan`; or an image is too large to be taken whole.
        ParameterError: A grid that cannot be.
    """
    if not job.tile and (job.stride is not None or job.coordinates is not None):
        raise ParameterError(
            "a stride or a coordinate list for images that are taken whole",
            "They say where tiles of a stated side lie.",
            "Give the tile's side: --tile 256.",
        )
    headers = opened_pool(
        job, tile=job.tile or WHOLE, stride=job.stride, edge=job.edge,
        split=None if job.tile else (1, 1), coordinates=job.coordinates, on_error=on_error,
    )  # fmt: skip
    if not job.tile:
        _check_whole(headers)
    return measure(headers, job, run, progress, also=also, on_error=on_error)


def opened_pool(job: ImageryJob, **cut: Any) -> Pool:
    """Open the files, headers only; `cut` says how, in the words of `open_pool`.

    Raises:
        DataError: See `open_pool`.
        ParameterError: A grid that cannot be.
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
        headers: What `opened_pool` gives.
        job: What it was opened for.
        run: Run open for writing.
        progress: Called with ticks.
        also: What else is done with the pool before it is kept.
        part: Name of a pool beside that of the run: its step is ``pool PART``, its files lie in
            ``work/PART``.
        on_error: See `open_pool`. Scenes that could not be read the last time are tried again.

    Returns:
        The pool, and a hash of everything that it depends on.

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
    """Leave scenes out that turned out to be unreadable after the pool had been measured.

    The tables of the run are written again without them; the next time the pool is made anew, of
    what was measured, and they are tried again.

    Args:
        run: Open for writing.
        pool: What `measure` returned.
        key: Its hash.
        failed: Scene -> why it cannot be read.

    Returns:
        The pool that is left, and its hash.
    """
    if not failed:
        return pool, key
    rest = pool.without_scenes(failed)
    save_pool(run.path, rest)
    return rest, _key_without(key, failed)


def _key_without(key: str, failed: Mapping[str, str]) -> str:
    return digest([key, sorted(failed)]) if failed else key


def _check_whole(pool: Pool) -> None:
    """Refuse images that no model looks at in one piece."""
    for scene in pool.scenes:
        height, width = scene.source.info.shape
        if max(height, width) > WHOLE:
            raise DataError(
                f"the image {scene.scene_id!r} has {height} x {width} pixels",
                f"An image is taken whole up to {WHOLE} pixels a side.",
                "Cut the images into tiles: --tile 256, where the command has it, or beforehand.",
            )
