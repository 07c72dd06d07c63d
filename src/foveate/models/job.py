"""The embed job: from folders to a run directory with a pool and its embeddings.

Other jobs in the same run directory reuse the embeddings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from foveate.models.embed import embed_at
from foveate.models.settings import SpreadJob
from foveate.pool.find import need_paths
from foveate.pool.step import leave_out, measured_pool
from foveate.run.options import Option
from foveate.run.shards import step_name

if TYPE_CHECKING:
    from foveate.models.base import ModelHandle
    from foveate.progress import ProgressFn
    from foveate.run import Run


class EmbedJob(SpreadJob):
    """Embed tiles of imagery."""

    absent = frozenset({"seed"})
    tokens: Annotated[bool, Option("Output")] = False
    """Store the tokens of each tile instead of one vector."""

    def check(self) -> ModelHandle:
        """Return the model."""
        need_paths(self.images, "image")
        need_paths(self.masks, "mask")
        self.placement()
        return self.handle()

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Scan the pool and embed it with the model (`ready`)."""
        pool, key = measured_pool(self, run, progress, on_error=self.on_error)
        found, failed = embed_at(
            pool, ready, self.placement(), run=run, tokens=self.tokens,
            batch_size=self.batch_size, on_error=self.on_error, progress=progress,
        )  # fmt: skip
        pool, _ = leave_out(run, pool, key, failed)
        step = run.record["steps"][step_name(found.spec.name, tokens=self.tokens)]
        return {
            "pool": pool.describe(),
            "model": found.spec.to_dict(),
            **({"failed": dict(pool.failed)} if pool.failed else {}),
            "seed": self.seed,
            "embeddings": {
                "shape": found.x.shape,
                "dtype": found.x.dtype.name,
                "folder": str(step["outputs"][0]).rsplit("/", 1)[0],
            },
        }
