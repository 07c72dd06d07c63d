"""The focus job: images one after the other, each with its own step, into a run directory.

What was seen of an image is kept in the run, so that another goal, query or budget costs only the
passes that are new; a second run of the same job does nothing.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, FoveateError
from foveate.files import digest, write_parquet
from foveate.focus import results
from foveate.focus.allowance import announced
from foveate.focus.tasks import TASKS
from foveate.models.binding import bind
from foveate.pool.find import need_paths
from foveate.pool.folder import open_pool
from foveate.pool.store import NOTES, save_notes, scenes_table
from foveate.progress import Meter
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from foveate.focus.settings import FocusJob
    from foveate.focus.tasks import Task
    from foveate.models.capabilities import Model
    from foveate.pool.pool import Pool, Scene
    from foveate.progress import ProgressFn

VERSION = 2  # raised when the same job gives another result
_SCENES = "scenes.parquet"

logger = logging.getLogger("foveate")


def run(
    job: FocusJob,
    out: str | Path,
    *,
    command: str = "",
    report: Callable[[Path], Path] | None = None,
    progress: ProgressFn | None = None,
) -> Run:
    """Do the job.

    Args:
        job: What to do: a `LookJob`, an `AskJob` or a `SegmentJob`.
        out: Run directory: new, empty, or an earlier run to go on with.
        command: The command that repeats the job, for the record.
        report: Draws a page of the run directory into it and returns the file: `write_report`.
        progress: Called with ticks.

    Returns:
        The closed run; ``run.worked`` says whether anything was done.

    Raises:
        FoveateError: Anything that is wrong with the input, before anything is written where
            that can be known; what was found of the images before is kept.
    """
    need_paths(job.images, "image")
    job.plan()
    task = TASKS[job.task](job)
    handle = job.handle()
    pool = _open(job)
    with Run.create(out, job=job.model_dump(mode="json"), command=command) as opened:
        model = bind(handle, pool, run=opened)
        task.prepare(model, pool, opened)
        opened.do(
            "scenes", digest([VERSION, _prints(pool), _notes(pool)]),
            lambda: _save_scenes(opened, pool),
        )  # fmt: skip
        asked = [VERSION, job.of_the_result(), task.prints()]
        keys = {scene.scene_id: _key(asked, scene, model) for scene in pool.scenes}
        _announce(
            task,
            [s for s in pool.scenes if not opened.done(f"look {s.scene_id}", keys[s.scene_id])],
        )
        with Meter(progress, f"looking with {model.spec.name}", len(pool.scenes)) as meter:
            for scene in pool.scenes:

                def work(scene: Any = scene) -> list[str]:
                    with _named(scene.scene_id, many=len(pool.scenes) > 1):
                        found = task.look(scene, opened.path)
                    return results.save_look(opened.path, found, scene.source, model.spec.bands)

                opened.do(f"look {scene.scene_id}", keys[scene.scene_id], work)
                meter.advance()
        names = [scene.scene_id for scene in pool.scenes]
        about = {"task": job.task, "goal": job.goal, "mode": job.mode}
        done = [[name, opened.key(f"look {name}")] for name in names]
        results.prune(opened.path, names)
        opened.do(
            "regions", digest([VERSION, done, about]),
            lambda: results.save_regions(opened.path, names, about),
        )  # fmt: skip
        opened.describe(summary=_summary(job, pool, model.spec.to_dict(), opened))
        if report is not None:
            opened.draw("report", lambda: [str(report(opened.path).relative_to(opened.path))])
    return opened


def _key(asked: list[Any], scene: Scene, model: Model) -> str:
    info = scene.source.info
    return digest([digest(asked), info.fingerprint, info.nodata, model.spec.to_dict()])


def _announce(task: Task, scenes: Sequence[Scene]) -> None:
    """Say what the looks that are to come may cost, and what tiling would."""
    if scenes:
        may = {scene.scene_id: task.allowance(scene) for scene in scenes}
        logger.info("%s", announced(may, task.instead()))


@contextlib.contextmanager
def _named(scene: str, *, many: bool) -> Generator[None]:
    """Say of which of many images an error speaks."""
    try:
        yield
    except FoveateError as error:
        if not many or scene in error.given:
            raise
        raise type(error)(f"{scene!r}: {error.given}", error.allowed, error.hint) from error


def _open(job: FocusJob) -> Pool:
    """Open the images, headers only; each is one tile."""
    pool = open_pool(
        job.images, extra=[[e] for e in job.extra], stack=job.stack, split=(1, 1),
        nodata=job.nodata, bands=job.bands or None, measure=False,
    )  # fmt: skip
    seen: dict[str, str] = {}
    for scene in pool.scenes:
        name = results.file_name(scene.scene_id).casefold()  # some file systems ignore case
        if name in seen:
            raise DataError(
                f"the images {seen[name]!r} and {scene.scene_id!r} would share the file {name!r}",
                "Names of images differ by more than case.",
                "Rename one of them.",
            )
        seen[name] = scene.scene_id
    return pool


def _prints(pool: Pool) -> list[Any]:
    return [[s.scene_id, s.source.info.fingerprint, s.source.info.nodata] for s in pool.scenes]


def _notes(pool: Pool) -> list[Any]:
    return [note.to_dict() for note in pool.notes]


def _save_scenes(opened: Run, pool: Pool) -> list[str]:
    write_parquet(opened.path / _SCENES, scenes_table(pool))
    save_notes(opened.path, pool)
    return [_SCENES, NOTES]


def _summary(job: FocusJob, pool: Pool, spec: dict[str, Any], opened: Run) -> dict[str, Any]:
    """Return what the run came to, JSON-ready."""
    kept = ("image", "prediction", "prediction_full", "passes", "epsilon", "stop")
    looks = [results.load_look(opened.path, scene.scene_id) for scene in pool.scenes]
    return {
        "focus": {
            "task": job.task, "goal": job.goal, "mode": job.mode, "query": job.query,
            "images": len(looks), "passes": round(sum(look["passes"] for look in looks), 6),
            "looks": [{name: look[name] for name in kept} for look in looks],
        },
        "pool": pool.describe(),
        "model": spec,
        "seed": job.seed,
    }  # fmt: skip
