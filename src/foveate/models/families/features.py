"""`features`: rasters whose bands are a feature vector, such as embedding products.

The pixels are the tokens: nothing is run. Values become what they were before they were stored as
integers: ``v * scale + offset`` with the scale and offset that the file states for each band
(GDAL's, as in Clay's and TESSERA's GeoTIFFs), floats as they are. ``features:alphaearth`` is the
exception of AlphaEarth's annual rasters, which state none: ``sign(v) (v / 127.5)^2``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError, ParameterError
from foveate.files import digest
from foveate.models.capabilities import TokenSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle, Scale
    from foveate.pool.pool import Scene

FEATURES, ALPHAEARTH = "features", "alphaearth"
VERSION = "features/1"  # part of the fingerprint: change it whenever a value changes
_WHOLE = 127.5  # stored value of 1


class Features:
    """See the module docstring.

    Args:
        bands: d band numbers, 1-based.
        scale: d pairs ``(low, high)`` of stored values: what stands for 0 and for 1.
        kind: "" or "alphaearth".
    """

    def __init__(self, bands: Sequence[int], scale: Scale, kind: str = "") -> None:
        self._kind = kind
        self._low, self._step = (
            np.array(x, np.float32) for x in zip(*((lo, hi - lo) for lo, hi in scale), strict=True)
        )
        self.spec = EncoderSpec(
            f"{FEATURES}:{kind}" if kind else FEATURES, len(bands), tuple(bands), tuple(scale),
            source="no weights", fingerprint=digest([VERSION, kind]),
        )  # fmt: skip
        self.token_spec = TokenSpec(len(bands), "embedding", pooled=True)

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return (b, h, w, d): the pixels of (b, d, h, w).

        Raises:
            DataError: Another number of bands.
        """
        if batch.ndim != 4 or batch.shape[1] != self.spec.dim:
            raise DataError(
                f"a batch of shape {batch.shape}", f"Expected (b, {self.spec.dim}, h, w)."
            )
        values = np.moveaxis(np.asarray(batch, np.float32), 1, -1)
        if self._kind:
            return np.sign(values) * np.square(values / _WHOLE)
        return (values - self._low) / self._step

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return (b, d): the mean pixel."""
        return self.tokens(batch).mean(axis=(1, 2), dtype=np.float64).astype(np.float32)


class _Family:
    """The family ``features``."""

    def check(self, handle: ModelHandle) -> ModelHandle:
        """Reject unsupported names and options."""
        if handle.name not in ("", ALPHAEARTH) or handle.tag or handle.options or handle.weights:
            raise ParameterError(
                f"the model {handle}",
                f"Rasters of features: {FEATURES}, or {FEATURES}:{ALPHAEARTH}; without weights.",
                f"--lr-model {FEATURES}",
            )
        return handle

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> Features:
        """Build it for the given bands."""
        return Features(bands, scale, handle.name)


FAMILY = _Family()


def stored_scale(handle: ModelHandle, scenes: Sequence[Scene], bands: Sequence[int]) -> Scale:
    """Return the stored values of 0 and 1 for each band of feature rasters.

    Raises:
        DataError: Integers without a stated scale, or rasters that
            state different scales.
    """
    scales = {_scale_of(handle, scene, bands) for scene in scenes}
    if len(scales) > 1:
        raise DataError(
            "feature rasters have different scales or offsets",
            "One training, and all that its observer sees, is stored with one scale and offset.",
            "Convert them: gdal_translate -unscale -ot Float32 IN OUT.tif",
        )
    return scales.pop()


def _scale_of(handle: ModelHandle, scene: Scene, bands: Sequence[int]) -> Scale:
    info = scene.source.info
    if info.scaling and not handle.name:
        pairs = [info.scaling[band - 1] for band in bands]
        return tuple(((-offset) / scale, (1 - offset) / scale) for scale, offset in pairs)
    if handle.name or np.dtype(info.dtype).kind == "f":
        return ((0.0, 1.0),) * len(bands)
    raise DataError(
        f"the features {scene.scene_id!r} are {info.dtype}, and no scale is stated",
        "Features stored as integers need a scale and an offset per band.",
        "Set them: gdal_edit.py -scale S -offset O FILE; or select the product: "
        f"--lr-model {FEATURES}:{ALPHAEARTH}",
    )
