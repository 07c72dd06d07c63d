"""Segmentation with and without regions: tables 2 and 7 of the HCS paper.

"Advancing Complex Wide-Area Scene Understanding with Hierarchical Coresets Selection", section
6.3 and appendix E.3: the classes of a data set are split into base and target classes 1 : 1, a
segmenter is fine-tuned on the masks of the base classes, and the Dice score on the unseen target
classes is compared, with complete images and with 30 % of them masked.

Data sets are folders in the layout of `foveate.bench.focus.segmentation_data`.

The paper does not define all details; this implementation makes the following choices. Segmenters
need prompts: the box of the whole image without regions, those of `foveate.focus.segment` with
regions. SAM predicts no classes: all target classes together are compared with the background, and
pixels of base classes are ignored. A data set of one class (TikTok dances) cannot be split by
classes: the class is base and target, and only the images are split. One Dice score is computed
over all pixels of the test images. "30 % of the area" are random squares that are set to 0.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.bench.focus.segmentation_data import IGNORED, hide, read_data, split_data, truth
from foveate.errors import ParameterError
from foveate.focus.segment import segment_image
from foveate.models.fit import FitSettings, fit
from foveate.progress import Meter
from foveate.raster import ArraySource, resize
from foveate.stats.segmentation import confusion, dice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from foveate.bench.focus.segmentation_data import SegmentationData, Split
    from foveate.focus.config import FocusConfig
    from foveate.models.fit import History
    from foveate.progress import ProgressFn

HIDDEN = 0.3  # hidden share of the area, in table 7
TUNING = FitSettings(epochs=10, batch_size=4, learning_rate=1e-4, weight_decay=0.01)
_MAX_IMAGES = 256  # training images of a decoder: their tokens are held in memory


# --- training ----------------------------------------------------------------------------------


class DecoderTask:
    """Training of the mask decoder of a SAM on one foreground; see `foveate.models.fit.Task`.

    Each image is prompted with the box of the whole image and with a random box; the target is the
    foreground in the box. Of the masks of a prompt, the one with the lowest loss is trained
    (Kirillov et al. 2023, appendix A), and its predicted quality on its intersection over union.

    Args:
        model: A SAM; it is not modified.
        images: n arrays (c, h, w).
        truths: n arrays (h, w): 1, 0, or `IGNORED`.
    """

    def __init__(
        self, model: Any, images: Sequence[NDArray[Any]], truths: Sequence[NDArray[np.int64]]
    ) -> None:
        self.model = model.with_network(copy.deepcopy(model.network))
        self.net: torch.nn.Module = self.model.network
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name.startswith("mask_decoder."))
        tokens = [model.tokens(image[None])[0] for image in images]
        self._grids = np.stack(tokens).transpose(0, 3, 1, 2).astype(np.float16)
        self._side = float(max(model.spec.input_size))
        height, width = (4 * side for side in self._grids.shape[2:])  # size of SAM's masks
        self._target = np.stack([resize(t == 1, (height, width)) for t in truths])
        self._counts = np.stack([resize(t != IGNORED, (height, width)) > 0.5 for t in truths])

    @property
    def rows(self) -> int:
        """Number of images."""
        return len(self._grids)

    def loss(self, rows: NDArray[np.int64], draw: np.random.Generator) -> torch.Tensor:
        """Return the mean loss of some images."""
        import torch

        low = draw.uniform(0, 0.75, (len(rows), 2))
        high = low + draw.uniform(0.25, 1 - low)
        boxes = np.stack([self._whole(len(rows)), np.concatenate([low, high], axis=1)], axis=1)
        logits, quality, target, counts = self._prompted(rows, boxes)
        p = logits.sigmoid()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, target.expand_as(logits), reduction="none"
        )
        area = counts.sum((3, 4)).clamp(min=1)
        overlap = (p * target * counts).sum((3, 4))
        sizes = ((p + target) * counts).sum((3, 4))
        each = (entropy * counts).sum((3, 4)) / area + 1 - (2 * overlap + 1) / (sizes + 1)
        best = each.argmin(dim=2, keepdim=True)
        error = (quality - _iou(logits, target, counts)) ** 2
        return (each.gather(2, best) + error.gather(2, best)).mean()

    def validate(self) -> dict[str, float]:
        """Return the Dice score on the training images, which usually rises to the last epochs."""
        total = np.zeros((2, 2), np.int64)
        for row in range(self.rows):
            rows = np.array([row])
            logits, quality, target, counts = self._prompted(rows, self._whole(1)[:, None])
            best = int(quality[0, 0].argmax())
            expected = np.where(counts[0, 0, 0].cpu() > 0, target[0, 0, 0].cpu() > 0.5, IGNORED)
            total += confusion(expected, (logits[0, 0, best] > 0).cpu().numpy(), 2)
        score = float(dice(total)[1])
        return {"score": score if np.isfinite(score) else 0.0}

    def _whole(self, count: int) -> NDArray[np.float64]:
        return np.tile([0.0, 0.0, 1.0, 1.0], (count, 1))

    def _prompted(
        self, rows: NDArray[np.int64], boxes: NDArray[np.float64]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return logits (b, k, m, h, w), qualities (b, k, m), targets and masks of valid pixels.

        Args:
            rows: (b,).
            boxes: (b, k, 4) ``x0, y0, x1, y1`` as shares of the image.
        """
        import torch

        device = next(self.net.parameters()).device

        def to_device(x: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(device)

        logits, quality = self.model.decode(
            to_device(self._grids[rows]), to_device(boxes * self._side)
        )
        height, width = self._target.shape[1:]
        y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
        x0, y0, x1, y1 = np.moveaxis(boxes, 2, 0)[..., None]
        inside = ((y >= y0) & (y < y1))[..., :, None] & ((x >= x0) & (x < x1))[..., None, :]
        target = to_device((self._target[rows][:, None] * inside)[:, :, None])
        counts = to_device(self._counts[rows][:, None, None])
        return logits.float(), quality.float(), target, counts


def _iou(logits: torch.Tensor, target: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return the intersection over union of masks: (b, k, m); 1 if both are empty."""
    predicted, expected = (logits > 0) & (counts > 0), (target > 0.5) & (counts > 0)
    both, either = (predicted & expected).sum((3, 4)), (predicted | expected).sum((3, 4))
    return both / either.clamp(min=1) + (either == 0)


def tune_decoder(
    model: Any,
    data: SegmentationData,
    split: Split,
    settings: FitSettings = TUNING,
    *,
    progress: ProgressFn | None = None,
) -> tuple[Any, History]:
    """Fine-tune the mask decoder of a SAM on the base classes.

    Args:
        model: A bound SAM of transformers, including Med-SA; it is not modified.
        data: Images with masks.
        split: Split with the training images, of which at most 256 are used, evenly spaced.
        settings: Settings of the training.
        progress: Called with ticks.

    Returns:
        The model with the new decoder, and the history of the training.

    Raises:
        ParameterError: The decoder of the model cannot be trained.
    """
    if not getattr(model, "prompted", False):
        raise ParameterError(
            f"fine-tuning the model {model.spec.name!r}",
            "Only SAM models (hf) with box prompts are supported.",
            "Compare the model without fine-tuning: --epochs 0.",
        )
    rows = np.array(split.train)
    if rows.size > _MAX_IMAGES:
        rows = rows[np.linspace(0, rows.size - 1, _MAX_IMAGES).round().astype(int)]
    images = [bands_of(model, data.image(int(row))) for row in rows]
    task = DecoderTask(model, images, [truth(data, int(row), split.base) for row in rows])
    history = fit(task, settings, title="tuning the mask decoder", progress=progress)
    return model.with_network(task.net), history


def bands_of(model: Any, image: NDArray[Any]) -> NDArray[Any]:
    """Return the bands of an image for a model: (c, h, w)."""
    return image[np.array(model.spec.bands) - 1]


# --- the table ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class SegmentationRow:
    """One row of the table.

    Attributes:
        model: Name of the segmenter.
        data: Name of the data set.
        selection: "none", or "focus" for masks of selected regions.
        hidden: Share of the images that is set to 0.
        dice: Dice score of the target classes together, 0 to 1, over all pixels not ignored.
        passes: Mean passes per image.
        seconds: Mean seconds per image, without reading it.
        matrices: (n, 2, 2) int64 confusion matrices of the test images, the truth in rows.
    """

    model: str
    data: str
    selection: str
    hidden: float
    dice: float
    passes: float
    seconds: float
    matrices: NDArray[np.int64]


def compare_segmentation(
    model: Any,
    data: SegmentationData,
    split: Split,
    config: FocusConfig,
    *,
    hidden: Sequence[float] = (0.0, HIDDEN),
    seed: int = 0,
) -> list[SegmentationRow]:
    """Compare a segmenter on whole images with itself on selected regions.

    Args:
        model: A bound model that segments, fine-tuned or not.
        data: Images with masks.
        split: Split with the test images and target classes.
        config: Configuration of the selection.
        hidden: Shares of the images that are set to 0, with a pair of rows each.
        seed: Seed of the hidden squares.

    Returns:
        Two rows for each share: without and with regions.

    Raises:
        FoveateError: See `foveate.focus.segment.segment_image`.
    """
    return [
        segment_test(model, data, split, how, hidden=share, seed=seed)
        for share in hidden
        for how in (None, config)
    ]


def segment_test(
    model: Any,
    data: SegmentationData,
    split: Split,
    config: FocusConfig | None,
    *,
    hidden: float = 0.0,
    seed: int = 0,
    progress: ProgressFn | None = None,
) -> SegmentationRow:
    """Segment the test images of a split, and compute their confusion matrices.

    Args:
        model: A bound model that segments, fine-tuned or not.
        data: Images with masks.
        split: Split with the test images and target classes.
        config: Configuration of the selection; None for whole images.
        hidden: Share of each image that is set to 0.
        seed: Seed of the hidden squares.
        progress: Called with ticks.

    Raises:
        FoveateError: See `foveate.focus.segment.segment_image`.
    """
    matrices, passes, seconds = [], 0.0, 0.0
    with Meter(progress, f"segmenting with {model.spec.name}", len(split.test)) as meter:
        for row in split.test:
            name = str(data.images[row].stem)
            image = hide(data.image(row), hidden, seed, name)
            start = time.perf_counter()
            if config is None:
                mask, spent = _whole_mask(model, image), 1.0
            else:
                result = segment_image(ArraySource(image), model, config, scene=name)
                mask, spent = result.scene_mask > 0, result.passes
            seconds += time.perf_counter() - start
            passes += spent
            matrices.append(confusion(truth(data, row, split.target), mask, 2))
            meter.advance()
    count = len(matrices)
    return SegmentationRow(
        model.spec.name, data.name, "none" if config is None else "focus", hidden,
        float(dice(np.sum(matrices, axis=0))[1]), passes / count, seconds / count,
        np.stack(matrices),
    )  # fmt: skip


def _whole_mask(model: Any, image: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the mask for the box of a whole image: (h, w)."""
    height, width = image.shape[1:]
    box = np.array([[[0, 0, width, height]]], np.float32)
    return model.segment(bands_of(model, image)[None], box)[0, 0]


def segmentation_table(
    model: Any,
    root: str | Path,
    config: FocusConfig,
    *,
    settings: FitSettings = TUNING,
    hidden: Sequence[float] = (0.0, HIDDEN),
    seed: int = 0,
    progress: ProgressFn | None = None,
) -> list[SegmentationRow]:
    """Read a data set, fine-tune a SAM on its base classes, and test it on the others.

    Args:
        model: A bound SAM of transformers.
        root: Folder of the data set.
        config: Configuration of the selection.
        settings: Settings of the training; `seed` replaces its seed.
        hidden: See `compare_segmentation`.
        seed: Seed of the split, the training, and the hidden squares.
        progress: Called with ticks.
    """
    data = read_data(root)
    split = split_data(data, seed)
    tuned, _ = tune_decoder(model, data, split, replace(settings, seed=seed), progress=progress)
    return compare_segmentation(tuned, data, split, config, hidden=hidden, seed=seed)
