"""Inputs of a curate run: the pool, the attributes of its tiles, and their vectors.

The pool is made from imagery, or read from an embedding file. It is made once, with all attribute
columns, and stored in the run.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate.methods.base import check_preset
from foveate.files import digest, digest_ids, fingerprint
from foveate.pool.attribute_file import add_attributes
from foveate.pool.embedding_file import EmbeddingFile
from foveate.pool.embedding_sources import embedding_paths
from foveate.pool.exclusion import Exclusion
from foveate.pool.find import contents, need_paths
from foveate.pool.pool import Pool
from foveate.pool.quality import Quality
from foveate.pool.settings import PoolJob
from foveate.pool.stac.sources import stac_paths
from foveate.pool.step import Refinement, measured_pool
from foveate.pool.store import load_pool, save_pool
from foveate.run.job import SettingError
from foveate.run.shards import slug

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from foveate.curate.job import CurateJob
    from foveate.embeddings import Embeddings
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 1  # raised when the output of a step changes for the same inputs
# Settings of imagery and models, which are not used with embedding files.
_IMAGERY = (*(n for n in PoolJob.model_fields if n != "images"), "model", "weights", "scale",
            "quality")  # fmt: skip
# Setting -> the setting without which it is not used.
_USED_WITH = {
    "classes": "masks", "min_labelled": "masks", "max_bad": "quality", "quality_kind": "quality",
    "max_excluded": "exclude",
}  # fmt: skip


def check_typed(job: CurateJob, given: Collection[str]) -> None:
    """Check that options given on the command line have an effect, also those with the default.

    Args:
        job: The job.
        given: Fields of the options.

    Raises:
        ParameterError: An option is not used with the inputs.
    """
    of_imagery = [name for name in _IMAGERY if name in given]
    if of_imagery and embedding_paths(job.images) is not None:
        raise _of_imagery(job, of_imagery[0])
    used = _used(job)
    for name, other in _USED_WITH.items():
        if name in given and not used[other]:
            raise _without(job, name)


def check_inputs(job: CurateJob, preset: Mapping[str, Any]) -> EmbeddingFile | None:
    """Check that inputs exist, and that the settings fit their kind.

    Args:
        job: The job.
        preset: Settings of its preset, which were not given by the user.

    Returns:
        The opened embedding file; None for imagery.

    Raises:
        DataError: A path does not exist, or an embedding file cannot be read.
        ParameterError: Settings of imagery are given for an embedding file, or vice versa.
    """
    check_preset(job.preset)
    paths = embedding_paths(job.images)
    if paths is None:
        need_paths(job.images, "image")
        need_paths(job.masks, "mask")
        _need_others(job)
        for name in ("column", "id_column"):
            if getattr(job, name) is not None:
                raise SettingError(
                    name, repr(getattr(job, name)),
                    "It is an option of embedding files; images have no columns.",
                    "Give a Parquet file instead of images, or leave the option out.",
                )  # fmt: skip
        return None
    for name in _IMAGERY:
        value = getattr(job, name)
        if value not in (type(job).model_fields[name].get_default(), preset.get(name)):
            raise _of_imagery(job, name)
    _need_others(job)
    return EmbeddingFile.open(paths, job.column, job.id_column)


def _need_others(job: CurateJob) -> None:
    """Check that settings are given together with those without which they are not used.

    Raises:
        ParameterError: A setting has no effect.
    """
    used = _used(job)
    for name, other in _USED_WITH.items():
        value = getattr(job, name)
        if not used[other] and value != type(job).model_fields[name].get_default():
            raise _without(job, name)


def _used(job: CurateJob) -> dict[str, bool]:
    """Return whether each setting that others need is given."""
    used = {name: bool(getattr(job, name)) for name in ("masks", "quality", "exclude")}
    used["quality"] |= stac_paths(job.images) is not None  # found by the names of the assets
    return used


def _without(job: CurateJob, name: str) -> SettingError:
    other = _USED_WITH[name]
    return SettingError(
        name, repr(getattr(job, name)), f"It has no effect without --{other}.",
        f"Give --{other}, or leave the option out.",
    )  # fmt: skip


def _of_imagery(job: CurateJob, name: str) -> SettingError:
    return SettingError(
        name, repr(getattr(job, name)),
        "It is an option of imagery; an embedding file has no pixels.",
        "Leave it out, or give the images.",
    )  # fmt: skip


def refuse_model(job: CurateJob, preset: Mapping[str, Any]) -> None:
    """Refuse settings of a model for methods that need no vectors.

    Args:
        job: The job.
        preset: Settings of its preset, which were not given by the user.

    Raises:
        ParameterError: A setting has no effect.
    """
    for name in ("weights", "scale", "model"):
        value = getattr(job, name)
        if value not in (type(job).model_fields[name].get_default(), preset.get(name)):
            raise SettingError(
                name, repr(value),
                f"It has no effect: {', '.join(job.chosen_methods())} need"
                f"{'' if len(job.chosen_methods()) > 1 else 's'} no embeddings.",
                "Add a method that uses a model, for example --method facility, or leave the "
                "option out.",
            )  # fmt: skip


def gathered_pool(
    job: CurateJob, file: EmbeddingFile | None, run: Run, progress: ProgressFn | None = None
) -> tuple[Pool, str]:
    """Make the pool, unless it is in the run.

    Returns:
        The pool, and a hash of its inputs.

    Raises:
        DataError: See `measured_pool`, or the file cannot be read.
    """
    also = _refinement(job, progress)
    if file is None:
        return measured_pool(job, run, progress, also=also, on_error=job.on_error)
    key = digest([VERSION, file.key, *also.key])
    made: list[Pool] = []

    def work() -> tuple[str, ...]:
        made.append(also.apply(file.pool()))
        return save_pool(run.path, made[0])

    run.do("pool", key, work)
    # Also read after writing, so that new and resumed runs use the same object.
    nothing = Pool(ids=np.empty(0, np.str_), why="the table of embeddings has no outlines")
    return load_pool(run.path, nothing), key


def read_vectors(file: EmbeddingFile, pool: Pool, run: Run) -> tuple[Embeddings, str]:
    """Memory-map the vectors of the rows of a pool; they are copied into the run once.

    Returns:
        The embeddings, and a hash of their inputs.

    Raises:
        DataError: A row has no vector, or the lengths of vectors differ.
    """
    key = digest([VERSION, file.key, digest_ids(pool.ids)])
    name = f"embeddings/{slug(file.spec.name)}-{key[:8]}/matrix.npy"

    def work() -> list[str]:
        file.vectors(pool, run.path / name)
        return [name]

    run.do(f"vectors {file.spec.name}", key, work)
    return file.embeddings(pool, np.load(run.path / name, mmap_mode="r")), key


def _refinement(job: CurateJob, progress: ProgressFn | None = None) -> Refinement:
    """Return the steps that filter the pool and add attributes."""
    steps: list[Callable[[Pool], Pool]] = []
    key: list[Any] = []
    items = stac_paths(job.images) is not None
    if job.quality or items:
        quality = Quality([] if items else list(job.quality), job.quality_kind, job.max_bad)
        steps.append(partial(quality, progress=progress))
        key.append(
            [*asdict(quality).values(), [] if items else contents(job.quality, "quality raster")]
        )
    for path in job.exclude:
        steps.append(Exclusion(path, job.max_excluded))
        key.append([fingerprint(path), job.max_excluded])
    # Last, so that rows of tiles that were filtered out do not count as unknown tiles.
    for path in job.attributes:
        steps.append(partial(add_attributes, path=path))
        key.append(fingerprint(path))
    return Refinement(tuple(key), tuple(steps))
