"""What must agree between the rasters of a pool, seen in their headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.errors import DataError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.pool.pool import Scene


def check_alike(scenes: Sequence[Scene], bands: Sequence[int] | None) -> None:
    """Check sizes of masks, dtypes and bands.

    Raises:
        DataError: A mask has another size than its image, or images have other dtypes or bands.
        ParameterError: A band that an image does not have.
    """
    first = scenes[0].source.info
    for scene in scenes:
        info = scene.source.info
        if scene.mask is not None and scene.mask.info.shape != info.shape:
            raise DataError(
                f"the image {scene.scene_id!r} has {info.shape[0]} x {info.shape[1]} pixels, its "
                f"mask {scene.mask.info.shape[0]} x {scene.mask.info.shape[1]}",
                "An image and its mask have the same height and width.",
                "Resample the mask (nearest neighbour), or check the pairing.",
            )
        if info.dtype != first.dtype:
            raise DataError(
                f"{scenes[0].scene_id!r} is {first.dtype}, {scene.scene_id!r} is {info.dtype}",
                "All images of a pool have one dtype.",
                "Convert them, or open them as two pools.",
            )
        if bands is None and info.bands != first.bands:
            raise DataError(
                f"{scenes[0].scene_id!r} has {first.bands} bands, {scene.scene_id!r} has "
                f"{info.bands}",
                "All images of a pool have the same bands.",
                "Choose bands that all of them have (--bands 1,2,3, bands=[1, 2, 3]), or split the "
                "folder.",
            )
        if bands is not None and not 1 <= min(bands) <= max(bands) <= info.bands:
            raise ParameterError(
                f"bands {','.join(map(str, bands))}: {scene.scene_id!r} has {info.bands} bands",
                f"Band numbers go from 1 to {info.bands}.",
            )
