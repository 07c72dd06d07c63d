"""Rules of `Segments`: one mask and one quality for each box."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.testing.rules import need, need_refusal
from foveate.testing.trial import read_only
from foveate.testing.vectors import refuse_other_bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.testing.trial import Trial

_IMAGES = 3
_STRAY = 1e-3  # share of mask pixels that rounding may change
# x0, y0, x1, y1 as shares of the image.
_BOXES = np.array([[0.1, 0.1, 0.6, 0.5], [0.4, 0.5, 0.9, 1.0], [0, 0, 1, 1]])


def check_masks(trial: Trial, batch: NDArray[Any]) -> None:
    """Check masks and their qualities.

    One finite quality and one mask of the size of the image for each box, in the order of the
    boxes, the same alone or in a batch; empty boxes are rejected.

    Args:
        trial: The model.
        batch: (b, c, h, w) of its bands, b >= 4; the first image is constant.

    Raises:
        CheckFailed: A rule is violated.
    """
    # A tile that is not square detects swapped x and y.
    images = batch[1 : 1 + _IMAGES, :, : batch.shape[2] * 3 // 4]
    height, width = images.shape[2:]
    boxes = np.repeat((_BOXES * [width, height, width, height])[None], len(images), axis=0)
    boxes[1] = boxes[1, ::-1]
    _check_quality(trial, images, boxes)
    _check_segment(trial, images, boxes)
    _check_refusals(trial, images, boxes)


def _check_quality(trial: Trial, images: NDArray[Any], boxes: NDArray[Any]) -> None:
    def quality(images: NDArray[Any], boxes: NDArray[Any]) -> NDArray[Any]:
        return trial.model.mask_quality(read_only(images), read_only(boxes))

    found = quality(images, boxes)
    trial.need_array(found, boxes.shape[:2], "float32", "mask_quality")
    alone = [quality(images[i : i + 1], boxes[i : i + 1]) for i in range(len(images))]
    rule = "the quality of a mask depends on the other images"
    trial.near(np.concatenate(alone), found, rule, "one by one")
    rule = "qualities must have the order of the boxes"
    trial.near(quality(images, boxes[:, ::-1])[:, ::-1], found, rule, "reversed")
    trial.near(
        quality(images, boxes[:, :1]),
        found[:, :1],
        "the result of a box depends on the other boxes",
    )
    refuse_other_bands(trial, lambda given: quality(given, boxes), images)


def _check_segment(trial: Trial, images: NDArray[Any], boxes: NDArray[Any]) -> None:
    def segment(images: NDArray[Any], boxes: NDArray[Any]) -> NDArray[Any]:
        return trial.model.segment(read_only(images), read_only(boxes))

    found = segment(images, boxes)
    trial.need_array(found, (*boxes.shape[:2], *images.shape[2:]), "bool", "segment")
    alone = [segment(images[i : i + 1], boxes[i : i + 1]) for i in range(len(images))]
    cases = {
        "masks depend on the images beside them": np.concatenate(alone),
        "masks must have the order of the boxes": segment(images, boxes[:, ::-1])[:, ::-1],
    }
    for rule, other in cases.items():
        stray = float((other != found).mean())
        need(
            stray <= (_STRAY if trial.tolerance else 0), f"{trial.name}: {rule}", "",
            f"{stray:.2%} of the pixels differ",
        )  # fmt: skip


def _check_refusals(trial: Trial, images: NDArray[Any], boxes: NDArray[Any]) -> None:
    height, width = images.shape[2:]

    def with_box(x0: float, y0: float, x1: float, y1: float) -> NDArray[Any]:
        changed = boxes.copy()
        changed[-1, -1] = (x0, y0, x1, y1)
        return changed

    wrong = {
        "boxes of three numbers": boxes[:, :, :3],
        "boxes without images": boxes[0],
        "boxes of fewer images": boxes[:-1],
        "no boxes": boxes[:, :0],
        "an empty box": with_box(4, 4, 4, 8),
        "a reversed box": with_box(8, 8, 4, 4),
        "a box outside of the image": with_box(width + 4, 0, width + 9, height / 2),
        "a box of NaN": with_box(0, 0, np.nan, 8),
    }
    for what, given in wrong.items():
        for function in (trial.model.mask_quality, trial.model.segment):
            need_refusal(
                lambda call=function, boxes=given: call(images, boxes), f"{trial.name}: {what}"
            )
