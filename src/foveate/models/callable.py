"""Any function of a batch as a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError
from foveate.models.base import check_bands
from foveate.raster import resize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class CallableModel:
    """A function with its spec; see `from_callable`."""

    function: Callable[[NDArray[Any]], NDArray[Any]]
    spec: EncoderSpec

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Call the function and check what it returns.

        Raises:
            DataError: The result is not (b, d) with the promised d, or the batch has not the
                bands of the spec.
        """
        check_bands(batch, self.spec)
        size = self.spec.input_size
        if size is not None and batch.shape[2:] != size:
            batch = np.stack([_resized(tile, size) for tile in batch])
        # C order: the sums of another layout would differ in the last bit.
        result = np.asarray(self.function(np.ascontiguousarray(batch)), dtype=np.float32)
        if result.shape != (len(batch), self.spec.dim):
            raise DataError(
                f"the model {self.spec.name!r} returned shape {result.shape} for a batch of "
                f"{len(batch)}",
                f"Expected {(len(batch), self.spec.dim)}: one vector of dim={self.spec.dim} each.",
            )
        return result


def _resized(tile: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    bands = np.stack([resize(band, size) for band in tile])
    return (np.rint(bands) if tile.dtype.kind in "iu" else bands).astype(tile.dtype)


def from_callable(
    function: Callable[[NDArray[Any]], NDArray[Any]],
    *,
    name: str,
    dim: int,
    bands: Sequence[int],
    fingerprint: str,
    input_size: tuple[int, int] | None = None,
    licence: str = "",
) -> CallableModel:
    """Wrap a function ``(b, c, h, w) native dtype -> (b, dim)`` as a model.

    The function gets raw pixel values and scales them itself. One vector must depend on one
    image only: put networks into eval mode.

    Args:
        function: The model.
        name: What to call it in specs and reports.
        dim: Length of a vector.
        bands: 1-based bands to pass, in this order.
        fingerprint: Anything that changes when the model changes: embeddings are reused under
            the same fingerprint.
        input_size: ``(height, width)`` that images are resampled to first; None for their own.
        licence: Licence of the model.
    """
    spec = EncoderSpec(
        name=name,
        dim=dim,
        bands=tuple(int(b) for b in bands),
        input_size=input_size,
        licence=licence,
        source="callable",
        fingerprint=fingerprint,
    )
    return CallableModel(function, spec)
