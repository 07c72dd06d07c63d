"""Masked overviews for attribution methods; each takes one pass."""

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
    """Encoder of the overview under masks.

    Masked pixels take the mean of their band, which is neutral for uint8 and for reflectances.

    Args:
        task: A task; the overview must be paid already, each mask costs another pass.

    Attributes:
        price: Cost of a mask, in passes.
        shape: ``(h, w)`` of the overview, pixels.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._image = task.encoder.read(whole(task))
        self._mean = self._image.mean(axis=(1, 2), dtype=np.float64)[:, None, None]
        self.price = task.encoder.standard.passes(whole(task))
        self.shape = self._image.shape[1:]

    def room(self, *, keep: float = 0.0) -> int:
        """Return the number of masks that the budget covers, at most 2^31.

        Args:
            keep: Reserved passes.
        """
        left = (passes_left(self._task) - keep) * (1 + SLACK)
        return int(min(max(left, 0.0) / self.price, 2**31))

    def embed(self, masks: Iterable[NDArray[np.floating]]) -> NDArray[np.float32]:
        """Return the features of the overview under masks.

        Args:
            masks: m masks (h, w) in [0, 1]: 1 keeps a pixel, 0 masks it.

        Returns:
            (m, d) float32, scaled by `CropEncoder.as_inputs`.

        Raises:
            BudgetError: The passes do not cover a batch of masks; earlier batches were paid.
        """
        encoder = self._task.encoder
        model: Any = encoder.model
        features = []
        for batch in _batches(masks, encoder.batch_size):
            encoder.pay(self.price * len(batch), len(batch))
            images = np.stack([self._masked(mask) for mask in batch])
            features.append(np.asarray(encoder.timed(model.embed, images), np.float32))
        return encoder.as_inputs(np.concatenate(features))

    def shares(self, cells: Tiles) -> Iterator[NDArray[np.float64]]:
        """Yield the share (h, w) of each pixel of the overview in each cell."""
        height, width = self.shape
        scene = self._task.shape
        pixel = scene[0] / height * (scene[1] / width)
        for row in range(len(cells)):
            yield membership(cells.take([row]), scene, (height, width))[0] / pixel

    def _masked(self, mask: NDArray[np.floating]) -> NDArray[np.generic]:
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
