"""Steps and helpers that all focus jobs share: image keys, announcements, errors, scenes."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from foveate.errors import FoveateError
from foveate.files import digest, write_parquet
from foveate.focus.allowance import announcement
from foveate.pool.store import NOTES, save_notes, scenes_table

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from foveate.focus.allowance import Allowance
    from foveate.models.capabilities import Model
    from foveate.pool.pool import Pool
    from foveate.run import Run
    from foveate.run.job import Job

_SCENES = "scenes.parquet"
_IRRELEVANT = {
    "images",
    "workers",
    "batch_size",
    "device",
    "on_error",
}  # options that change no result

logger = logging.getLogger("foveate")


def image_keys(
    job: Job, state: Any, pool: Pool, model: Model, apart: Collection[str] = ()
) -> dict[str, str]:
    """Return the hash of all dependencies of the step of each image.

    Args:
        job: The job.
        state: Dependencies besides job, pixels and model, JSON-ready.
        pool: The images.
        model: A bound model.
        apart: Further options on which the step does not depend.
    """
    options = job.model_dump(mode="json", exclude={*_IRRELEVANT, *apart})
    depends = digest([options, state])
    infos = {scene.scene_id: scene.source.info for scene in pool.scenes}
    return {
        name: digest([depends, info.fingerprint, info.nodata, model.spec.to_dict()])
        for name, info in infos.items()
    }


def announce(allowances: dict[str, Allowance], instead: str = "") -> None:
    """Log the maximum cost of looks before they start, if there are any."""
    if allowances:
        logger.info("%s", announcement(allowances, instead))


@contextlib.contextmanager
def name_image_in_errors(scene: str, *, many: bool) -> Generator[None]:
    """Prefix errors with the name of the image if the run has several."""
    try:
        yield
    except FoveateError as error:
        if not many or scene in error.given:
            raise
        raise type(error)(f"{scene!r}: {error.given}", error.allowed, error.hint) from error


def save_scenes(run: Run, pool: Pool) -> None:
    """Write the table of images and their notes as a step of the run."""

    def work() -> list[str]:
        write_parquet(run.path / _SCENES, scenes_table(pool))
        save_notes(run.path, pool)
        return [_SCENES, NOTES]

    files = [[s.scene_id, s.source.info.fingerprint, s.source.info.nodata] for s in pool.scenes]
    run.do("scenes", digest([files, [note.to_dict() for note in pool.notes]]), work)
