"""Selections as a torchgeo sampler; torchgeo is imported when it is called."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.errors import DataError, MissingExtraError, ParameterError
from foveate.models.chosen import Chosen
from foveate.models.extras import Extra, need_extra
from foveate.raster.place import same_crs
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray
    from torchgeo.datasets import GeoDataset
    from torchgeo.samplers import SpatialSampler

    from foveate.models.chosen import Places
    from foveate.pool.pool import Pool
    from foveate.selection import Selection

_NEAR = 1e-6  # tolerance of edges, pixels


def geo_sampler(
    chosen: Selection | str | Path,
    dataset: GeoDataset,
    *,
    pool: Pool | None = None,
    method: str = "",
    size: int | tuple[int, int] | None = None,
    shuffle: bool = True,
    weights: ArrayLike | None = None,
    length: int | None = None,
    seed: int = 0,
) -> SpatialSampler:
    """Return a torchgeo sampler of the selected tiles.

    It yields x and y slices of one tile after the other, in the CRS of the data set, all of one
    size. If the data set has the CRS and pixel grid of the scenes, these are the exact windows;
    otherwise windows with the same centres.

    Args:
        chosen: A selection, or its run directory.
        dataset: A data set of the same area, such as a `RasterDataset`.
        pool: The pool of a selection; not needed for a run directory.
        method: Method of the selection in the run; optional if there is only one.
        size: Side of a patch in pixels of the data set, or (height, width); None for the size of
            the tiles.
        shuffle: Whether to shuffle in each epoch; otherwise in the order of selection.
        weights: (k,) weights for sampling with replacement, such as `balanced_weights`; None for
            each tile once.
        length: Draws per epoch; None for the number of tiles. More require `weights`.
        seed: Seed of the order and the draws.

    Raises:
        DataError: Tiles have no georeference, are outside of the data set, or have several sizes
            (set `size`).
        ParameterError: `length` or `weights` is invalid.
        MissingExtraError: torchgeo is not installed, or is older than 0.10.
    """
    need_extra(Extra("torchgeo", ("torch", "torchgeo")), "a sampler for torchgeo")
    found = Chosen.of(chosen, method)
    places = found.placed(pool)
    boxes = _boxes(places, dataset, size)
    n = len(boxes)
    chance = None if weights is None else np.asarray(weights, np.float64)
    if chance is not None and (
        chance.shape != (n,) or not (chance >= 0).all() or not 0 < chance.sum() < np.inf
    ):
        raise ParameterError(
            f"invalid weights of shape {chance.shape} for {n} tiles",
            "Expected one finite, non-negative weight per tile, with a positive sum.",
        )
    if length is not None and not 1 <= length <= (n if chance is None else length):
        raise ParameterError(
            f"length={length} for {n} tiles", f"Allowed: 1 to {n}; with weights any number.",
            "Pass weights=np.ones(...) to sample with replacement.",
        )  # fmt: skip
    return _sampler_class()(
        dataset, boxes, shuffle=shuffle, weights=chance, length=length or n, seed=seed
    )


def _boxes(
    places: Places, dataset: GeoDataset, size: int | tuple[int, int] | None
) -> NDArray[np.float64]:
    """Return (k, 4) xmin, ymin, xmax, ymax in the CRS of a data set, all of one size."""
    corners = _corners(places, dataset)
    low, high = corners.min(axis=1), corners.max(axis=1)
    res = np.asarray(dataset.res, np.float64)
    pixels = np.rint(np.median((high - low) / res, axis=0) if len(low) else [1, 1])
    if size is None:
        sides = places.windows[:, 2:]
        if len(sides) and (sides != sides[0]).any():
            h, w = sides.max(axis=0).tolist()
            raise DataError(
                "the tiles have several sizes", "Patches of a batch must have the same size.",
                f"Set it in pixels of the data set, for example size=({h}, {w}).",
            )  # fmt: skip
    else:
        height, width = (size, size) if isinstance(size, int) else size
        pixels = np.array([width, height], np.float64)
    if (pixels < 1).any():
        raise ParameterError(
            f"patches of {pixels[1]:g} x {pixels[0]:g} pixels of the data set",
            "A patch must have at least one pixel.", "Set size=..., in pixels of the data set.",
        )  # fmt: skip
    middle, half = (low + high) / 2, pixels * res / 2
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    _check_inside(boxes, dataset, res)
    return boxes


def _check_inside(boxes: NDArray[np.float64], dataset: GeoDataset, res: NDArray[Any]) -> None:
    """Check that all tiles intersect files of the data set; torchgeo would fail otherwise."""
    import shapely

    whole = dataset.index.geometry.union_all()
    inner = boxes + np.concatenate([res, -res]) * _NEAR
    outside = ~shapely.intersects(whole, shapely.box(*inner.T))
    if outside.any():
        x, y = boxes[outside][0, :2].tolist()
        raise DataError(
            f"{int(outside.sum())} of {len(boxes)} selected tiles are outside of the data set, the "
            f"first at {x:.10g}, {y:.10g}",
            "The data set must cover the area of the scenes.",
            "Use a data set of the ranked images.",
        )


def _corners(places: Places, dataset: GeoDataset) -> NDArray[np.float64]:
    """Return (k, 4, 2) corners of windows in the CRS of a data set."""
    from pyproj import CRS, Transformer

    found = np.empty((len(places.windows), 4, 2))
    for name in dict.fromkeys(places.scene.tolist()):
        affine, crs = places.known.get(name, (None, None))
        if affine is None or crs is None:
            raise DataError(
                f"the scene {name!r} has no georeference",
                "A spatial sampler requires coordinates.",
                "Use torch_subset, which does not.",
            )  # fmt: skip
        rows = np.flatnonzero(places.scene == name)
        y, x, h, w = places.windows[rows].T.astype(np.float64)
        cols, lines = np.stack([x, x + w, x + w, x], axis=1), np.stack([y, y, y + h, y + h], axis=1)
        east = affine.a * cols + affine.b * lines + affine.c
        north = affine.d * cols + affine.e * lines + affine.f
        target = CRS.from_user_input(dataset.crs)
        if not same_crs(crs, target.to_wkt()):
            transformer = Transformer.from_crs(CRS.from_wkt(crs), target, always_xy=True)
            east, north = transformer.transform(east, north)
        found[rows] = np.stack([east, north], axis=2)
    return found


@functools.cache
def _sampler_class() -> type[Any]:
    """Return the sampler class; this imports torchgeo."""
    try:
        from torchgeo.samplers import SpatialSampler
    except ImportError as error:
        raise MissingExtraError(
            "the installed torchgeo has no SpatialSampler", "Version 0.10 or later is required.",
            "Install with: pip install 'torchgeo>=0.10'.",
        ) from error  # fmt: skip
    import shapely

    class SelectionSampler(SpatialSampler):
        """Sampler of the locations of selected tiles."""

        def __init__(
            self, dataset: GeoDataset, boxes: NDArray[np.float64], *, shuffle: bool,
            weights: NDArray[np.float64] | None, length: int, seed: int,
        ) -> None:  # fmt: skip
            super().__init__(dataset)
            self.boxes, self._shuffle, self._weights = boxes, shuffle, weights
            self.geometry = shapely.union_all(shapely.box(*boxes.T))
            self._length = length
            self._generator = rng(seed, "geo_sampler/order")

        @property
        def strategy(self) -> Literal["random", "sequential"]:
            return "sequential" if self._weights is None and not self._shuffle else "random"

        def __iter__(self) -> Iterator[tuple[slice, slice]]:
            n = len(self.boxes)
            if self._weights is not None:
                chance = self._weights / self._weights.sum()
                order = self._generator.choice(n, self._length, p=chance)
            elif self._shuffle:
                order = self._generator.permutation(n)[: self._length]
            else:
                order = np.arange(n)[: self._length]
            for left, bottom, right, top in self.boxes[order].tolist():
                yield slice(left, right), slice(bottom, top)

    return SelectionSampler
