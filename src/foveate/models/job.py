"""The embed job: from folders to a run directory with a pool and its embeddings.

Every other job goes on from such a run: what is embedded here is not embedded again there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from foveate.models.embed import embed
from foveate.models.settings import ModelJob
from foveate.pool.find import need_paths
from foveate.pool.step import measured_pool
from foveate.run.options import Option
from foveate.run.shards import step_name

if TYPE_CHECKING:
    from foveate.models.base import ModelHandle
    from foveate.progress import ProgressFn
    from foveate.run import Run


class EmbedJob(ModelJob):
    """Embed tiles of imagery."""

    absent = frozenset({"seed"})
    tokens: Annotated[bool, Option("Output")] = False
    """Keep a vector for each place of a tile, instead of one."""

    def check(self) -> ModelHandle:
        """Return the model."""
        need_paths(self.images, "image")
        need_paths(self.masks, "mask")
        return self.handle()

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Measure the pool and embed it with the model (`ready`)."""
        pool, _ = measured_pool(self, run, progress)
        found = embed(
            pool, ready, run=run, tokens=self.tokens, batch_size=self.batch_size,
            workers=self.workers, progress=progress,
        )  # fmt: skip
        step = run.record["steps"][step_name(found.spec.name, tokens=self.tokens)]
        return {
            "pool": pool.describe(),
            "model": found.spec.to_dict(),
            "seed": self.seed,
            "embeddings": {
                "shape": found.x.shape,
                "dtype": found.x.dtype.name,
                "folder": str(step["outputs"][0]).rsplit("/", 1)[0],
            },
        }
