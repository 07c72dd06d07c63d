"""The embed job: from folders to a run directory with a pool and its embeddings.

Every other job goes on from such a run: what is embedded here is not embedded again there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.models.embedding import embed
from foveate.models.settings import EncodeSettings
from foveate.pool.find import need_paths
from foveate.pool.step import measured_pool
from foveate.run import Run
from foveate.run.shards import step_name

if TYPE_CHECKING:
    from pathlib import Path

    from foveate.progress import ProgressFn


class EmbedJob(EncodeSettings):
    """Everything that an embed run depends on; stored in ``run.json``.

    Attributes:
        tokens: Whether to keep the tokens of each tile instead of one vector.
    """

    absent = frozenset({"seed"})
    tokens: bool = False


def run(
    job: EmbedJob, out: str | Path, *, command: str = "", progress: ProgressFn | None = None
) -> Run:
    """Do the job.

    Args:
        job: What to do.
        out: Run directory: new, empty, or an earlier run to go on with.
        command: The command that repeats the job, for the record.
        progress: Called with ticks.

    Returns:
        The closed run; ``run.worked`` says whether anything was done.

    Raises:
        FoveateError: Anything that is wrong with the input; what was embedded before a broken
            file is kept.
    """
    need_paths(job.images, "image")
    need_paths(job.masks, "mask")
    handle = job.handle()
    with Run.create(out, job=job.model_dump(mode="json"), command=command) as opened:
        pool, _ = measured_pool(job, opened, progress)
        found = embed(
            pool, handle, run=opened, tokens=job.tokens, batch_size=job.batch_size,
            workers=job.workers, progress=progress,
        )  # fmt: skip
        step = opened.record["steps"][step_name(found.spec.name, tokens=job.tokens)]
        opened.describe(
            summary={
                "pool": pool.describe(),
                "model": found.spec.to_dict(),
                "seed": job.seed,
                "embeddings": {
                    "shape": found.x.shape,
                    "dtype": found.x.dtype.name,
                    "folder": str(step["outputs"][0]).rsplit("/", 1)[0],
                },
            }
        )
    return opened
