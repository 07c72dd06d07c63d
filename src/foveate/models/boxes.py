"""Boxes as prompts: one form for all models that segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLACK = 1e-3  # pixels that rounding may carry a box beyond the image


def check_boxes(boxes: Any, batch: NDArray[Any]) -> NDArray[np.float32]:
    """Check boxes against the images that they lie in.

    Args:
        boxes: (b, k, 4) numbers ``x0, y0, x1, y1`` in pixels, k >= 1, with x0 < x1 and y0 < y1.
        batch: (b, c, h, w).

    Returns:
        (b, k, 4) float32 inside the image.

    Raises:
        DataError: The shape is another, or a box is not finite, empty, reversed or reaches out
            of its image.
    """
    form = "Boxes are x0, y0, x1, y1 in pixels, with x0 < x1 and y0 < y1, inside the image."
    try:
        found = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"boxes are no array of numbers: {error}", form) from error
    if found.ndim != 3 or found.shape[0] != len(batch) or found.shape[2] != 4 or not found.size:
        raise DataError(
            f"boxes of shape {found.shape} for a batch of shape {batch.shape}",
            f"Expected ({len(batch)}, k, 4) with k >= 1: as many boxes for each image.",
            form,
        )
    x0, y0, x1, y1 = np.moveaxis(found, 2, 0)
    height, width = batch.shape[2:]
    ordered = (x0 < x1) & (y0 < y1)  # false for NaN, too
    inside = (np.minimum(x0, y0) >= -_SLACK) & (x1 <= width + _SLACK) & (y1 <= height + _SLACK)
    wrong = np.argwhere(~(ordered & inside))
    if len(wrong):
        image, number = wrong[0]
        box = ", ".join(f"{value:g}" for value in found[image, number])
        raise DataError(
            f"box {number} of image {image} is ({box}) in an image of {width} x {height} pixels "
            f"(width x height); {len(wrong)} of {x0.size} boxes are no boxes of their image",
            form,
        )
    return np.clip(found, 0, [width, height, width, height]).astype(np.float32)
