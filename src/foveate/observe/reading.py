"""Imagery of pairs through the encoders of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.errors import MissingCapabilityError
from foveate.models.capabilities import capabilities
from foveate.models.embed import bind
from foveate.observe.features import encode_overviews, encode_tiles, overview_pool
from foveate.observe.record import Encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle
    from foveate.observe.features import Seen
    from foveate.observe.jobs import Role, TrainJob
    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn
    from foveate.run import Run


class Reader:
    """Reads pairs with the encoders of a job; features are kept in their folder.

    Args:
        job: Which encoders.
        pairs: The pairs.
        store: The run of their folder, open.
        progress: Called with ticks.

    Attributes:
        encoders: Role -> what has read the imagery.
        handles: Role -> the same by name, for those that an observer needs.

    Raises:
        MissingCapabilityError: The model for texts cannot read them.
    """

    def __init__(
        self, job: TrainJob, pairs: Pairs, store: Run, progress: ProgressFn | None
    ) -> None:
        self._job, self._pairs, self._store, self._progress = job, pairs, store, progress
        self.encoders: dict[str, Encoder] = {}
        self.handles: dict[str, ModelHandle] = {}
        self._text: Any = None
        handle = job.handle("text")
        if handle is not None:
            self._text = bind(handle, pairs.pool, run=store)
            if not {"text", "embed"} <= set(capabilities(self._text)):
                raise MissingCapabilityError(
                    f"the model {handle} for texts",
                    "It has to embed images and texts in one space.",
                    "See foveate models for those that can.",
                )
            self._keep("text", handle, self._text, pairs.pool.scenes)

    def overviews(self, side: int) -> NDArray[np.floating]:
        """Return (s, R * r, C * r, D) LR tokens."""
        handle = self._need("lr")
        pool = overview_pool(self._pairs)
        model: Any = bind(handle, pool)
        self._keep("lr", handle, model, pool.scenes)
        return encode_overviews(
            self._pairs,
            model,
            side,
            run=self._store,
            progress=self._progress,
        )

    def tiles(self, side: int) -> Seen:
        """Return HR tokens of the tiles, with their vectors where the model reads texts."""
        handle = self._need("hr")
        model: Any = bind(handle, self._pairs.pool, run=self._store)
        self._keep("hr", handle, model, self._pairs.pool.scenes)
        if self._text is None and "text" in capabilities(model):
            self._text = model
            self._keep("text", handle, model, self._pairs.pool.scenes)
        return self._encode(model, side, vector=self._text is model)

    def target(self, side: int) -> Seen | None:
        """Return tokens of the tiles by the model whose tokens are completed, if it is another.

        Only its tokens are needed, and only for training: an observer does without.
        """
        handle = self._job.handle("target")
        if handle is None:
            return None
        model: Any = bind(handle, self._pairs.pool, run=self._store)
        self._note("target", handle, model, self._pairs.pool.scenes)
        return self._encode(model, side, vector=False)

    def saliency(self, seen: Seen, side: int) -> NDArray[np.floating]:
        """Return (n,) structural saliency, by the model that was named for it."""
        handle = self._job.handle("saliency")
        if handle is None:
            return seen.saliency
        model = bind(handle, self._pairs.pool, run=self._store)
        return self._encode(model, side, vector=False).saliency

    def vectors(self, seen: Seen) -> tuple[NDArray[np.floating] | None, Any]:
        """Return (n, e) embeddings in the space of the texts, and the model; None without one."""
        if self._text is None or seen.vectors is not None:
            return seen.vectors, self._text
        return self._encode(self._text, 1, vector=True).vectors, self._text

    def _encode(self, model: Any, side: int, *, vector: bool) -> Seen:
        return encode_tiles(
            self._pairs, model, side, vector=vector, run=self._store,
            batch_size=self._job.batch_size, progress=self._progress,
        )  # fmt: skip

    def _need(self, role: Role) -> ModelHandle:
        handle = self._job.handle(role)
        assert handle is not None  # noqa: S101  (these roles have defaults)
        return handle

    def _keep(self, role: str, handle: ModelHandle, model: Any, scenes: Sequence[Any]) -> None:
        self._note(role, handle, model, scenes)
        self.handles[role] = handle

    def _note(self, role: str, handle: ModelHandle, model: Any, scenes: Sequence[Any]) -> None:
        dtype = scenes[0].source.info.dtype
        self.encoders[role] = Encoder(str(handle), handle.weights, model.spec, dtype)
