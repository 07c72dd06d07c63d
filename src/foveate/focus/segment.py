"""`segment`: masks of the regions with the highest predicted mask quality, from box prompts.

L(r) is 1 - the quality that the model predicts for the mask in the box of a region: in the
overview, where all boxes share one encoding (mode "feature"), or in a separate crop of the region
(mode "zoom"). The selected regions are encoded as crops at native resolution and segmented with
the best of five boxes, the whole crop and its quarters; the masks are pasted into the scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.budget import Ledger
from foveate.errors import DataError, MissingCapabilityError
from foveate.focus.allowance import LEAST_PASSES, Allowance, make_allowance, tile_count
from foveate.focus.encode import CropEncoder, standard_encoder
from foveate.focus.judged import (
    CropLossStrategy,
    KnownLossStrategy,
    first_cells,
    hint_fewer,
    loss_goal,
    release_reserve,
    reserve_passes,
)
from foveate.focus.levels import refinement_of
from foveate.focus.partition import cell_count, check_image_size, windows_of
from foveate.focus.results import ImageResult, StoredResult
from foveate.focus.strategies import valid_cells
from foveate.focus.views import plan_views
from foveate.grid import Grid, Tiles, Window
from foveate.models.capabilities import need
from foveate.models.embed import fill_invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.focus.config import FocusConfig
    from foveate.focus.strategies import Strategy
    from foveate.models.capabilities import Model
    from foveate.raster import Source


@dataclass(frozen=True)
class Mask:
    """The mask of one region.

    Attributes:
        box: ``x0, y0, x1, y1`` of its prompt, in pixels of the scene.
        quality: Predicted quality, nominally the intersection over union.
        pixels: Number of pixels of the scene in the mask.
    """

    box: tuple[float, float, float, float]
    quality: float
    pixels: int


class MaskScorer:
    """Predicts the quality of masks for boxes, and segments regions.

    Args:
        encoder: The image, the model, and the ledger.

    Attributes:
        known: Window -> quality in the box of the whole window.
    """

    def __init__(self, encoder: CropEncoder) -> None:
        self._encoder = encoder
        self._model: Any = encoder.model
        self.known: dict[Window, float] = {}
        self._best: dict[Window, tuple[int, float]] = {}  # index and quality of the best box

    def price(self, windows: Sequence[Window]) -> NDArray[np.float64]:
        """Return the cost of encoding windows for their masks, in passes: (n,).

        Embeddings of the same windows do not reduce it.
        """
        return np.array([self._encoder.standard.passes(window) for window in windows])

    def on_overview(self, cells: Sequence[Window]) -> float:
        """Predict the qualities of boxes on the overview; return that of the whole image."""
        shape = self._encoder.source.info.shape
        whole = Window(0, 0, *shape)
        image = self._encoder.read(whole)
        gain = np.array([image.shape[2] / shape[1], image.shape[1] / shape[0]] * 2)
        boxes = np.array([(w.x, w.y, w.x + w.w, w.y + w.h) for w in (whole, *cells)]) * gain
        self._encoder.pay(float(self.price([whole])[0]), 1)
        quality = self._encoder.timed(self._model.mask_quality, image[None], boxes[None])[0]
        whole_quality, *others = quality.tolist()
        self.known.update(zip(cells, others, strict=True))
        return whole_quality

    def on_crops(self, windows: Sequence[Window]) -> NDArray[np.float64]:
        """Encode windows separately, predict the qualities of their boxes; return losses, (n,)."""
        self._encoder.pay(float(self.price(windows).sum()), len(windows))
        ahead = self._encoder.ahead(windows)
        for start in range(0, len(windows), self._encoder.batch_size):
            part = windows[start : start + self._encoder.batch_size]
            shapes: dict[tuple[int, ...], list[tuple[Window, NDArray[Any]]]] = {}
            for window in part:
                ahead(window)
                image = self._encoder.read(window)
                shapes.setdefault(image.shape, []).append((window, image))
            for shape, alike in shapes.items():
                batch = np.stack([image for _, image in alike])
                boxes = np.repeat(_box_and_quarters(shape[1:])[None], len(batch), axis=0)
                qualities = self._encoder.timed(self._model.mask_quality, batch, boxes)
                for (window, _), quality in zip(alike, qualities, strict=True):
                    self._best[window] = int(quality.argmax()), float(quality.max())
                    self.known.setdefault(window, float(quality[0]))
        return quality_losses([self.known[window] for window in windows])

    def cut(self, window: Window, scene: NDArray[np.uint16], number: int) -> Mask:
        """Segment a region with the best of its boxes and paste the mask into the scene."""
        if window not in self._best:
            self.on_crops([window])
        best, quality = self._best[window]
        self._encoder.pay(float(self.price([window])[0]), 1)
        raster = self._encoder.source.read(
            window,
            bands=self._model.spec.bands,
            out_shape=self._encoder.standard.read_shape(window),
        )
        image = fill_invalid(raster)
        box = _box_and_quarters(image.shape[1:])[best]
        mask = self._encoder.timed(self._model.segment, image[None], box[None, None])[0, 0]
        pixels = paste_mask(mask & raster.valid, window, scene, number)
        gain = np.array([window.w / image.shape[2], window.h / image.shape[1]] * 2)
        corner = np.array([window.x, window.y] * 2)
        x0, y0, x1, y1 = (corner + box * gain).tolist()
        return Mask((x0, y0, x1, y1), quality, pixels)


def paste_mask(
    mask: NDArray[np.bool_], window: Window, scene: NDArray[np.uint16], number: int
) -> int:
    """Paste a mask into a window of a scene.

    Args:
        mask: (h, w) of any size; resampled to the window by nearest neighbour.
        window: Pixels of the scene.
        scene: (height, width), changed in place where the mask is True.
        number: Value to write.

    Returns:
        Number of pixels written.
    """
    rows = np.arange(window.h) * mask.shape[0] // window.h
    columns = np.arange(window.w) * mask.shape[1] // window.w
    full = mask[rows[:, None], columns]
    scene[window.y : window.y + window.h, window.x : window.x + window.w][full] = number
    return int(full.sum())


def _box_and_quarters(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the box of a whole image and those of its quarters: (5, 4) x0, y0, x1, y1."""
    height, width = shape
    quarters = Grid.split((height, width), min(2, height), min(2, width)).tiles()
    windows = [Window(0, 0, height, width), *windows_of(quarters)]
    return np.array([(w.x, w.y, w.x + w.w, w.y + w.h) for w in windows], np.float64)


def quality_losses(quality: Sequence[float]) -> NDArray[np.float64]:
    """Return 1 - quality, at least 0: predicted qualities may exceed 1."""
    return np.maximum(1 - np.asarray(quality, np.float64), 0.0)


SEGMENT_GOALS = ("balanced", "paper")

"""Goals that work with mask qualities."""

_BOXES = 512  # maximum boxes per overview: each takes memory in the mask decoder

_SIDE = 16384

_PIXELS = _SIDE**2  # maximum size of a scene: its mask is held in memory, 2 bytes per pixel


@dataclass(frozen=True, repr=False)
class SegmentResult(ImageResult):
    """Result of segmenting one image.

    Attributes:
        masks: One per selected region, in their order.
        scene_mask: (h, w) uint16, at every pixel of the scene the rank of the region whose mask
            contains it, from 1; 0 for none.
        quality_full: Quality of the mask in the box of the whole overview.
        quality: (n,) quality of each cell of the frontier in its own box.
    """

    masks: tuple[Mask, ...]
    scene_mask: NDArray[np.uint16]
    quality_full: float
    quality: NDArray[np.float64]

    @property
    def prediction(self) -> dict[str, float | None]:
        """Number of nonempty masks, and their mean quality."""
        quality = [mask.quality for mask in self.masks if mask.pixels]
        return {"masks": len(quality), "quality": float(np.mean(quality)) if quality else None}

    @property
    def prediction_full(self) -> dict[str, float | None]:
        """Number and quality of masks of the overview with the box of the whole image."""
        return {"masks": 1, "quality": self.quality_full}

    def stored(self) -> StoredResult:
        """Return the result in its stored form."""
        rows = self.result.state.chosen.rows.tolist()
        columns: dict[str, list[Any]] = {"quality": self.quality.tolist()}
        kept = {"mask_quality": "quality", "mask_pixels": "pixels"}
        for name, attribute in kept.items():
            values: list[Any] = [None] * len(self.quality)
            for row, mask in zip(rows, self.masks, strict=True):
                values[row] = getattr(mask, attribute)
            columns[name] = values
        facts = {
            "prediction": self.prediction,
            "prediction_full": self.prediction_full,
            "boxes": [list(mask.box) for mask in self.masks],
            **self.allowance.facts(),
        }
        return self._stored(facts, columns, mask=self.scene_mask)


def segment_image(
    source: Source, model: Model, config: FocusConfig, *, scene: str = "image"
) -> SegmentResult:
    """Segment the regions of one image with the highest predicted mask quality.

    Args:
        source: The image; its mask is held in memory, 2 bytes per pixel.
        model: A bound model that segments.
        config: Configuration of the selection, of mode "feature" or "zoom". `foveate.focus.views`
            describes the source of representativeness and robustness.
        scene: Name of the image, for ids.

    Returns:
        Masks, regions, scores.

    Raises:
        MissingCapabilityError: The model does not segment, or the goal or mode is not supported;
            the message names alternatives.
        BudgetError: The passes are too few, including those of the masks; or no region fits the
            area.
        DataError: The image is too small or too large.
    """
    need(model, "masks", "foveate focus segment")
    check_segment_config(config)
    _check_size(source.info.shape)
    encoder = CropEncoder(
        source, model, Ledger({}), min_valid=config.min_valid, batch_size=config.batch_size,
        seed=config.search.seed, disturb=config.disturb,
    )  # fmt: skip
    scorer, plan = MaskScorer(encoder), plan_views(model, config)
    allowance, reserve = segment_allowance(source.info.shape, model, config), _reserve(config)
    crop = config.crop_side(encoder.standard.shape) if config.mode == "zoom" else None
    if crop is not None:
        check_image_size(source.info.shape, crop)
    tiles = first_cells(encoder, config, scene, crop)
    first = float(scorer.price([Window(0, 0, *source.info.shape)])[0])
    first += float(scorer.price(windows_of(tiles)).sum()) if crop is not None else 0.0
    views = plan.first(encoder.standard) + plan.each * len(tiles)
    first += views
    start = "The overview" + (f" with {len(tiles)} cells" if crop is not None else "")
    start += " and their features" if views else ""
    end = f"segmenting {config.search.regions} regions"
    hint = hint_fewer(config.cells if crop is not None else 1, config.search.regions)
    reserve_passes(encoder, allowance, reserve, first=first, start=start, end=end, hint=hint)
    branch = config.search.branch
    known = plan.open(encoder, config.crop_side(encoder.standard.shape), branch)
    if crop is not None:
        full = scorer.on_overview([])
        strategy = CropLossStrategy(crop, branch, scorer.price, scorer.on_crops, known)
    else:
        strategy, full = _by_overview(encoder, scorer, config, tiles, known)
    goal = loss_goal(plan.goal)
    result = refinement_of(goal, grow=False)(strategy, encoder, goal, config.search).run(tiles)
    release_reserve(encoder, allowance)
    scene_mask = np.zeros(source.info.shape, np.uint16)
    masks = tuple(
        scorer.cut(window, scene_mask, rank) for rank, window in enumerate(result.windows, start=1)
    )
    return SegmentResult(
        scene, source.info, result, encoder.work, allowance,
        tuple(filter(None, [plan.note])),
        goal, config.mode, strategy.removal, masks, scene_mask, full,
        np.array([scorer.known[window] for window in result.state.features.windows]),
    )  # fmt: skip


def segment_allowance(shape: tuple[int, int], model: Model, config: FocusConfig) -> Allowance:
    """Return the limits of segmenting an image of ``(height, width)`` pixels.

    The default number of passes is, in mode "zoom", a third of the passes of tiling for the
    search, plus those of the masks and of the features of an overview; in mode "feature" that of
    the overview, its features and the masks; at least 24.

    Args:
        shape: Size of the image.
        model: A bound model.
        config: Configuration of the selection.
    """
    sized, reserve, plan = standard_encoder(model), _reserve(config), plan_views(model, config)
    side = config.crop_side(sized.shape)
    thin = sized.passes(Window(0, 0, *(min(side, length) for length in shape)))
    tiling = tile_count(shape, side) * thin
    crop = side if config.mode == "zoom" else None
    count = cell_count(shape, config.cells, crop)
    first = 1 + plan.first(sized) + plan.each * count + reserve
    if crop is None:
        stated = config.passes
        if stated is None:
            stated = float(max(LEAST_PASSES, math.ceil(first)))
        return make_allowance(stated, tiling, most=math.inf if plan.each else first)
    first, extra = first + count, reserve + plan.first(sized)
    whole = sized.passes(Window(0, 0, side, side))
    return make_allowance(config.passes, tiling, crop=whole, extra=extra, first=first)


def _reserve(config: FocusConfig) -> float:
    """Return the maximum number of passes of the masks of the regions."""
    # In mode "feature" a crop is encoded twice: for the qualities of its boxes, and for the mask.
    return config.search.regions * (1.0 if config.mode == "zoom" else 2.0)


def check_segment_config(config: FocusConfig) -> None:
    """Check that goal and mode work with mask qualities instead of features.

    Raises:
        MissingCapabilityError: The goal, mode or partition needs features.
    """
    if config.goal.name not in SEGMENT_GOALS:
        raise MissingCapabilityError(
            f"the goal {config.goal.name!r} with a model that segments",
            f"It needs features or texts; allowed without: {', '.join(SEGMENT_GOALS)}.",
            "Use --goal balanced, or select regions with foveate focus look.",
        )
    if config.mode == "window":
        raise MissingCapabilityError(
            "mode 'window' with a model that segments",
            "It would encode small cells of the overview again, whose boxes the overview covers.",
            "Use --mode feature (one encoding of the overview), or --mode zoom (one of each cell).",
        )
    if config.partition != "uniform":
        raise MissingCapabilityError(
            f"the partition {config.partition!r} with a model that segments",
            "It compares tokens; mask qualities need equal cells.",
            "Use --partition uniform.",
        )


def _by_overview(
    encoder: CropEncoder,
    scorer: MaskScorer,
    config: FocusConfig,
    tiles: Tiles,
    views: Strategy | None,
) -> tuple[KnownLossStrategy, float]:
    """Predict the qualities of all possible cells in one call: each call encodes the image."""
    cells, parents = windows_of(tiles), set()
    level = tiles
    while True:
        children = [
            valid_cells(level.refine([i], config.search.branch), encoder)
            for i in range(len(level))
            if min(level.h[i], level.w[i]) >= config.search.branch
        ]
        count = sum(map(len, children))
        if len(children) < len(level) or not count or len(cells) + count > _BOXES:
            break
        parents.update(windows_of(level))
        level = Tiles.concat(children)
        cells += windows_of(level)
    full = scorer.on_overview(cells)
    losses = dict(
        zip(cells, quality_losses([scorer.known[cell] for cell in cells]).tolist(), strict=True)
    )
    return KnownLossStrategy(losses, config.search.branch, frozenset(parents), views), full


def _check_size(shape: tuple[int, int]) -> None:
    """Check that the mask of a scene fits into memory.

    Raises:
        DataError: The scene is too large.
    """
    if shape[0] * shape[1] > _PIXELS:
        raise DataError(
            f"an image of {shape[0]} x {shape[1]} pixels",
            f"The mask of a scene is held in memory, up to {_SIDE} x {_SIDE} pixels.",
            "Split the image first: gdal_translate -srcwin X Y WIDTH HEIGHT IN OUT.",
        )
