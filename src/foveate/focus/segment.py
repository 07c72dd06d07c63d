"""`segment`: masks of the regions in which a model that takes boxes expects good ones.

L(r) is 1 - the quality that the model predicts for the mask in the box of a region: of the
overview, where all boxes share one encoding (mode "feature"), or of the region as a crop of its
own (mode "zoom"). The chosen regions are encoded as crops at native resolution and segmented by
the best of five boxes, the whole crop and its quarters; the masks are pasted back into the scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.budget import Ledger
from foveate.errors import DataError, MissingCapabilityError
from foveate.focus.config import LEAST_PASSES, Allowance, make_allowance, tile_count
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

    from foveate.focus.config import FocusConfig, Goal
    from foveate.focus.strategies import Strategy
    from foveate.models.capabilities import Model
    from foveate.raster import Source


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
    """Predicts the quality of masks for boxes, and segments regions.

    Args:
        encoder: The image, the model, and the ledger that pays.

    Attributes:
        known: Window -> quality in the box of the whole window.
    """

    def __init__(self, encoder: CropEncoder) -> None:
        self._encoder = encoder
        self._model: Any = encoder.model
        self.known: dict[Window, float] = {}
        self._best: dict[Window, tuple[int, float]] = {}  # number and quality of the best box

    def price(self, windows: Sequence[Window]) -> NDArray[np.float64]:
        """Return what encoding windows for their masks costs, in passes: (n,).

        That they were embedded before saves nothing.
        """
        return np.array([self._encoder.standard.passes(window) for window in windows])

    def on_overview(self, cells: Sequence[Window]) -> float:
        """Judge boxes on one encoding of the whole image; return the quality of its own box."""
        shape = self._encoder.source.info.shape
        whole = Window(0, 0, *shape)
        image = self._encoder.read(whole)
        gain = np.array([image.shape[2] / shape[1], image.shape[1] / shape[0]] * 2)
        boxes = np.array([(w.x, w.y, w.x + w.w, w.y + w.h) for w in (whole, *cells)]) * gain
        self._encoder.pay(float(self.price([whole])[0]), 1)
        found = self._encoder.timed(self._model.mask_quality, image[None], boxes[None])[0].tolist()
        self.known.update(zip(cells, found[1:], strict=True))
        return found[0]

    def on_crops(self, windows: Sequence[Window]) -> NDArray[np.float64]:
        """Encode windows one by one and judge their boxes; return the losses, (n,)."""
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
                found = self._encoder.timed(self._model.mask_quality, batch, boxes)
                for (window, _), quality in zip(alike, found, strict=True):
                    self._best[window] = int(quality.argmax()), float(quality.max())
                    self.known.setdefault(window, float(quality[0]))
        return quality_losses([self.known[window] for window in windows])

    def cut(self, window: Window, scene: NDArray[np.uint16], number: int) -> Mask:
        """Segment a region by the best of its boxes and paste the mask into the scene."""
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


def _box_and_quarters(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the box of a whole image and those of its quarters: (5, 4) x0, y0, x1, y1."""
    height, width = shape
    quarters = Grid.split((height, width), min(2, height), min(2, width)).tiles()
    windows = [Window(0, 0, height, width), *windows_of(quarters)]
    return np.array([(w.x, w.y, w.x + w.w, w.y + w.h) for w in windows], np.float64)


def quality_losses(quality: Sequence[float]) -> NDArray[np.float64]:
    """Return 1 - quality; a model may promise more than a whole mask."""
    return np.maximum(1 - np.asarray(quality, np.float64), 0.0)


SEGMENT_GOALS = ("balanced", "paper")

"""Goals that the qualities of masks can serve."""

_BOXES = 512  # judged at once on the overview: each takes memory in the mask decoder

_SIDE = 16384

_PIXELS = _SIDE**2  # of a scene whose masks are held in memory, 2 bytes each


@dataclass(frozen=True, repr=False)
class SegmentResult(ImageResult):
    """Result of segmenting one image.

    Attributes:
        goal: What regions were chosen for.
        mode: How that was paid.
        removal: What it means that a region is taken away.
        masks: One for each chosen region, in their order.
        scene_mask: (h, w) uint16, at every pixel of the scene the rank of the region whose mask
            it lies in, from 1; 0 for none.
        quality_full: Quality of the mask in the box of the whole overview.
        quality: (n,) quality of each cell of the frontier in its own box.
    """

    goal: Goal
    mode: str
    removal: str
    masks: tuple[Mask, ...]
    scene_mask: NDArray[np.uint16]
    quality_full: float
    quality: NDArray[np.float64]

    @property
    def prediction(self) -> dict[str, float | None]:
        """Number of masks that are not empty, and the mean of their qualities."""
        there = [mask.quality for mask in self.masks if mask.pixels]
        return {"masks": len(there), "quality": float(np.mean(there)) if there else None}

    @property
    def prediction_full(self) -> dict[str, float | None]:
        """The same of the overview with the box of the whole image."""
        return {"masks": 1, "quality": self.quality_full}

    def stored(self) -> StoredResult:
        """Return the result, ready to be stored."""
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
        return StoredResult(
            self.scene, self.info, self.goal, self.mode, self.removal, self.result, self.work,
            facts, columns, self.notes, self.scene_mask,
        )  # fmt: skip


def segment_image(
    source: Source, model: Model, config: FocusConfig, *, scene: str = "image"
) -> SegmentResult:
    """Segment the regions of one image in which the model expects good masks.

    Args:
        source: The image; masks of all its pixels are held in memory, 2 bytes each.
        model: A bound model that segments.
        config: How regions are chosen: mode "feature" or "zoom". Representativeness and robustness
            are measured as `foveate.focus.views` says.
        scene: Name of the image, for ids.

    Returns:
        Masks, regions, scores.

    Raises:
        MissingCapabilityError: The model does not segment, or a goal or mode that it cannot
            serve; the message says what works.
        BudgetError: The passes do not reach, those of the masks included; or the area holds no
            region.
        DataError: The image is too small to choose from, or too large.
    """
    need(model, "masks", "foveate focus segment")
    check_segment_config(config)
    _check_size(source.info.shape)
    encoder = CropEncoder(
        source, model, Ledger({}), min_valid=config.min_valid, batch_size=config.batch_size,
        seed=config.search.seed, disturb=config.disturb,
    )  # fmt: skip
    judge, plan = Judge(encoder), plan_views(model, config)
    allowance, reserve = segment_allowance(source.info.shape, model, config), _reserve(config)
    crop = config.crop_side(encoder.standard.shape) if config.mode == "zoom" else None
    if crop is not None:
        check_image_size(source.info.shape, crop)
    tiles = first_cells(encoder, config, scene, crop)
    first = float(judge.price([Window(0, 0, *source.info.shape)])[0])
    first += float(judge.price(windows_of(tiles)).sum()) if crop is not None else 0.0
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
        full = judge.on_overview([])
        strategy = CropLossStrategy(crop, branch, judge.price, judge.on_crops, known)
    else:
        strategy, full = _by_overview(encoder, judge, config, tiles, known)
    goal = loss_goal(plan.goal)
    found = refinement_of(goal, grow=False)(strategy, encoder, goal, config.search).run(tiles)
    release_reserve(encoder, allowance)
    features = found.state.features.windows
    windows = found.windows
    whole = np.zeros(source.info.shape, np.uint16)
    masks = tuple(judge.cut(window, whole, rank) for rank, window in enumerate(windows, start=1))
    return SegmentResult(
        scene, source.info, found, encoder.work, allowance,
        tuple(filter(None, [plan.note])),
        goal, config.mode, strategy.removal, masks, whole, full,
        np.array([judge.known[window] for window in features]),
    )  # fmt: skip


def segment_allowance(shape: tuple[int, int], model: Model, config: FocusConfig) -> Allowance:
    """Return what segmenting an image of ``(height, width)`` pixels may cost.

    Where the user states no passes: in mode "zoom" a third of those that tiling takes for the
    search, and those of the masks and of the features of an overview on top; in mode "feature"
    the overview, its features and the masks; 24 at least.

    Args:
        shape: Of the image.
        model: A bound model.
        config: How regions are chosen.
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
    """Return the passes that the masks of the regions take at most."""
    # With "feature" a crop is encoded twice: to judge its boxes, and to cut out the best mask.
    return config.search.regions * (1.0 if config.mode == "zoom" else 2.0)


def check_segment_config(config: FocusConfig) -> None:
    """Refuse goals and modes that need features where there are only qualities of masks.

    Raises:
        MissingCapabilityError: A goal, mode or partition that needs them.
    """
    if config.goal.name not in SEGMENT_GOALS:
        raise MissingCapabilityError(
            f"the goal {config.goal.name!r} for a model that segments",
            f"It needs features or texts; qualities of masks serve: {', '.join(SEGMENT_GOALS)}.",
            "Use --goal balanced, or find regions with foveate focus look.",
        )
    if config.mode == "window":
        raise MissingCapabilityError(
            "mode 'window' for a model that segments",
            "It shows the model small cells of the overview, whose boxes the overview has already.",
            "Use --mode feature (one encoding of the overview), or --mode zoom (one of each cell).",
        )
    if config.partition != "uniform":
        raise MissingCapabilityError(
            f"the partition {config.partition!r} for a model that segments",
            "It compares tokens with texts or with each other; boxes are judged on equal cells.",
            "Use --partition uniform.",
        )


def _by_overview(
    encoder: CropEncoder,
    judge: Judge,
    config: FocusConfig,
    tiles: Tiles,
    views: Strategy | None,
) -> tuple[KnownLossStrategy, float]:
    """Judge every cell that the search may come to, at once: each call would encode again."""
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
    full = judge.on_overview(cells)
    losses = dict(
        zip(cells, quality_losses([judge.known[cell] for cell in cells]).tolist(), strict=True)
    )
    return KnownLossStrategy(losses, config.search.branch, frozenset(parents), views), full


def _check_size(shape: tuple[int, int]) -> None:
    """Refuse a scene whose masks do not fit into memory.

    Raises:
        DataError: It is too large.
    """
    if shape[0] * shape[1] > _PIXELS:
        raise DataError(
            f"an image of {shape[0]} x {shape[1]} pixels",
            f"Masks of a whole scene are held in memory, up to {_SIDE} x {_SIDE} pixels.",
            "Cut it into parts first: gdal_translate -srcwin X Y WIDTH HEIGHT IN OUT.",
        )
