"""The overview with parts of it hidden, as methods of attribution show it: a pass each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.bench.focus.methods.crops import SLACK, passes_left, whole
from foveate.focus.partition import membership

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from foveate.bench.focus.methods.base import Task
    from foveate.grid import Tiles


class MaskedOverview:
    """Shows the model the overview under masks.

    What is hidden takes the mean of its band: of uint8 and of reflectances alike, that is no
    evidence of anything but a mean scene.

    Args:
        task: A task; the overview must have been paid, each mask costs another pass.

    Attributes:
        price: Of a mask, in passes.
        shape: ``(h, w)`` of the overview, pixels.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._image = task.encoder.read(whole(task))
        self._mean = self._image.mean(axis=(1, 2), dtype=np.float64)[:, None, None]
        self.price = task.encoder.standard.passes(whole(task))
        self.shape = self._image.shape[1:]

    def room(self, *, keep: float = 0.0) -> int:
        """Return how many masks the budget buys; at most 2^31 of them.

        Args:
            keep: Passes that are not to be spent.
        """
        left = (passes_left(self._task) - keep) * (1 + SLACK)
        return int(min(max(left, 0.0) / self.price, 2**31))

    def embed(self, masks: Iterable[NDArray[np.floating]]) -> NDArray[np.float32]:
        """Return what the model sees of the overview under masks.

        Args:
            masks: m masks (h, w) in [0, 1]: 1 shows a pixel, 0 hides it.

        Returns:
            (m, d) float32, as `CropEncoder.as_inputs` gives them.

        Raises:
            BudgetError: A batch of masks is not affordable; those before it were paid.
        """
        encoder = self._task.encoder
        model: Any = encoder.model
        found = []
        for batch in _batches(masks, encoder.batch_size):
            encoder.pay(self.price * len(batch), len(batch))
            images = np.stack([self._hidden(mask) for mask in batch])
            found.append(np.asarray(encoder.timed(model.embed, images), np.float32))
        return encoder.as_inputs(np.concatenate(found))

    def shares(self, cells: Tiles) -> Iterator[NDArray[np.float64]]:
        """Yield (h, w) how much of each pixel of the overview lies in each cell."""
        height, width = self.shape
        scene = self._task.shape
        pixel = scene[0] / height * (scene[1] / width)
        for row in range(len(cells)):
            yield membership(cells.take([row]), scene, (height, width))[0] / pixel

    def _hidden(self, mask: NDArray[np.floating]) -> NDArray[np.generic]:
        mixed = self._mean + mask * (self._image - self._mean)
        dtype = self._image.dtype
        return (np.rint(mixed) if np.issubdtype(dtype, np.integer) else mixed).astype(dtype)


def _batches(
    masks: Iterable[NDArray[np.floating]], size: int
) -> Iterator[list[NDArray[np.floating]]]:
    batch: list[NDArray[np.floating]] = []
    for mask in masks:
        batch.append(mask)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
