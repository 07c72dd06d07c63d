"""Boxes that a model judges, and the masks that it cuts out of regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.focus.modes.base import windows_of
from foveate.grid import Grid, Window
from foveate.models.embedding import fill_invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.focus.eye import Eye


@dataclass(frozen=True)
class Mask:
    """The mask of one region.

    Attributes:
        box: ``x0, y0, x1, y1`` that gave it, in pixels of the scene.
        quality: What the model predicts of it, nominally the intersection over union.
        pixels: Of the scene that it covers.
    """

    box: tuple[float, float, float, float]
    quality: float
    pixels: int


class Judge:
    """Judges boxes, and cuts masks out.

    Args:
        eye: The image, the model, and the ledger that pays.

    Attributes:
        known: Window -> quality in the box of the whole window.
    """

    def __init__(self, eye: Eye) -> None:
        self._eye = eye
        self._model: Any = eye.model
        self.known: dict[Window, float] = {}
        self._best: dict[Window, tuple[int, float]] = {}  # number and quality of the best box

    def on_overview(self, cells: Sequence[Window]) -> float:
        """Judge boxes on one encoding of the whole image; return the quality of its own box."""
        shape = self._eye.source.info.shape
        whole = Window(0, 0, *shape)
        image = self._eye.read(whole)
        gain = np.array([image.shape[2] / shape[1], image.shape[1] / shape[0]] * 2)
        boxes = np.array([(w.x, w.y, w.x + w.w, w.y + w.h) for w in (whole, *cells)]) * gain
        self._eye.pay(float(self._eye.price([whole])[0]), 1)
        found = self._eye.timed(self._model.mask_quality, image[None], boxes[None])[0].tolist()
        self.known.update(zip(cells, found[1:], strict=True))
        return found[0]

    def on_crops(self, windows: Sequence[Window]) -> NDArray[np.float64]:
        """Encode windows one by one and judge their boxes; return the losses, (n,)."""
        self._eye.pay(float(self._eye.price(windows).sum()), len(windows))
        for start in range(0, len(windows), self._eye.batch_size):
            part = windows[start : start + self._eye.batch_size]
            shapes: dict[tuple[int, ...], list[tuple[Window, NDArray[Any]]]] = {}
            for window in part:
                image = self._eye.read(window)
                shapes.setdefault(image.shape, []).append((window, image))
            for shape, alike in shapes.items():
                batch = np.stack([image for _, image in alike])
                boxes = np.repeat(_five(shape[1:])[None], len(batch), axis=0)
                found = self._eye.timed(self._model.mask_quality, batch, boxes)
                for (window, _), quality in zip(alike, found, strict=True):
                    self._best[window] = int(quality.argmax()), float(quality.max())
                    self.known.setdefault(window, float(quality[0]))
        return losses_of([self.known[window] for window in windows])

    def cut(self, window: Window, scene: NDArray[np.uint16], number: int) -> Mask:
        """Segment a region by the best of its boxes and paste the mask into the scene."""
        if window not in self._best:
            self.on_crops([window])
        best, quality = self._best[window]
        self._eye.pay(float(self._eye.price([window])[0]), 1)
        raster = self._eye.source.read(
            window, bands=self._model.spec.bands, out_shape=self._eye.standard.reading(window)
        )
        image = fill_invalid(raster)
        box = _five(image.shape[1:])[best]
        mask = self._eye.timed(self._model.segment, image[None], box[None, None])[0, 0]
        pixels = pasted(mask & raster.valid, window, scene, number)
        gain = np.array([window.w / image.shape[2], window.h / image.shape[1]] * 2)
        corner = np.array([window.x, window.y] * 2)
        x0, y0, x1, y1 = (corner + box * gain).tolist()
        return Mask((x0, y0, x1, y1), quality, pixels)


def pasted(mask: NDArray[np.bool_], window: Window, scene: NDArray[np.uint16], number: int) -> int:
    """Paste a mask into its place in a scene.

    Args:
        mask: (h, w) of any size; brought to that of the window by nearest neighbour.
        window: Pixels of the scene.
        scene: (height, width), changed in place where the mask is True.
        number: What is written there.

    Returns:
        How many pixels were written.
    """
    rows = np.arange(window.h) * mask.shape[0] // window.h
    columns = np.arange(window.w) * mask.shape[1] // window.w
    full = mask[rows[:, None], columns]
    scene[window.y : window.y + window.h, window.x : window.x + window.w][full] = number
    return int(full.sum())


def _five(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the box of a whole image and those of its quarters: (5, 4) x0, y0, x1, y1."""
    height, width = shape
    quarters = Grid.split((height, width), min(2, height), min(2, width)).tiles()
    windows = [Window(0, 0, height, width), *windows_of(quarters)]
    return np.array([(w.x, w.y, w.x + w.w, w.y + w.h) for w in windows], np.float64)


def losses_of(quality: Sequence[float]) -> NDArray[np.float64]:
    """Return 1 - quality; a model may promise more than a whole mask."""
    return np.maximum(1 - np.asarray(quality, np.float64), 0.0)
