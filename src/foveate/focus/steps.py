"""What the runs of all focus jobs have in common: their images, keys, announcements and errors."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from foveate.errors import FoveateError
from foveate.files import digest, write_parquet
from foveate.focus.config import announcement
from foveate.pool.store import NOTES, save_notes, scenes_table

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from foveate.focus.config import Allowance
    from foveate.models.capabilities import Model
    from foveate.pool.pool import Pool
    from foveate.run import Run
    from foveate.run.job import Job

_SCENES = "scenes.parquet"
_NOT_OF_THE_RESULT = {"images", "workers", "batch_size", "device"}

logger = logging.getLogger("foveate")


def image_keys(
    job: Job, state: Any, pool: Pool, model: Model, apart: Collection[str] = ()
) -> dict[str, str]:
    """Return image -> hash of everything that its step depends on.

    Args:
        job: The job.
        state: What results depend on besides job, pixels and model, JSON-ready.
        pool: The images.
        model: A bound model.
        apart: Options on which the step does not depend.
    """
    options = job.model_dump(mode="json", exclude={*_NOT_OF_THE_RESULT, *apart})
    depends = digest([options, state])
    infos = {scene.scene_id: scene.source.info for scene in pool.scenes}
    return {
        name: digest([depends, info.fingerprint, info.nodata, model.spec.to_dict()])
        for name, info in infos.items()
    }


def announce(allowances: dict[str, Allowance], instead: str = "") -> None:
    """Log what looks may cost before they start; nothing where there are none."""
    if allowances:
        logger.info("%s", announcement(allowances, instead))


@contextlib.contextmanager
def name_image_in_errors(scene: str, *, many: bool) -> Generator[None]:
    """Name the image in errors, where there are many."""
    try:
        yield
    except FoveateError as error:
        if not many or scene in error.given:
            raise
        raise type(error)(f"{scene!r}: {error.given}", error.allowed, error.hint) from error


def save_scenes(run: Run, pool: Pool) -> None:
    """Write which images there are, and the notes on them, as a step of the run."""

    def work() -> list[str]:
        write_parquet(run.path / _SCENES, scenes_table(pool))
        save_notes(run.path, pool)
        return [_SCENES, NOTES]

    files = [[s.scene_id, s.source.info.fingerprint, s.source.info.nodata] for s in pool.scenes]
    run.do("scenes", digest([files, [note.to_dict() for note in pool.notes]]), work)
