"""Mosaics: wide scenes with known content, stitched from the patches of a data set.

`stitch` puts patches of several classes side by side, in arrangements whose truth is known by
construction: one class everywhere, a class that has most cells, one cell of another class.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.grid import Window
from foveate.raster import ArraySource, FileSource
from foveate.registry import suggest
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.raster import Raster

    Patch = NDArray[Any] | str | Path
    Patches = Mapping[str, Sequence[Patch]]

MOSAIC_KINDS: dict[str, int] = {
    "one": 1, "majority": 2, "rare": 2, "rare-mixed": 5, "clutter": 3, "blocks": 2
}  # fmt: skip
"""Kinds of mosaics: name -> the smallest number of classes; see `stitch`."""

_MIXED = 4  # background classes of "rare-mixed"
_CLUTTER = 0.25  # share of the cells of "clutter" that are of other classes than the background
_PLANTED = ("rare", "rare-mixed", "clutter")


@dataclass(frozen=True, eq=False)
class Mosaic:
    """One stitched scene with its truth.

    Attributes:
        image: (c, rows * tile, cols * tile) pixels in the dtype of the patches.
        tile: Side of a cell, pixels.
        names: (rows, cols) str, the class of every cell; with an offset (rows + 1, cols + 1), for
            the cells at the edges are then partly visible.
        label: The dominant or planted class of the scene.
        planted: Windows of the cells of `label` for the kinds with planted cells ("rare",
            "rare-mixed" and "clutter"); empty for the other kinds.
        offset: Pixels of the first row and column of cells outside the scene.
    """

    image: NDArray[Any]
    tile: int
    names: NDArray[np.str_]
    label: str
    planted: tuple[Window, ...] = ()
    offset: int = 0


def stitch(
    patches: Patches,
    kind: str,
    *,
    rows: int = 8,
    cols: int = 8,
    seed: int = 0,
    index: int = 0,
    share: float = 0.25,
    label: str | None = None,
    tile: int | None = None,
    offset: float = 0.0,
) -> Mosaic:
    """Stitch a mosaic of patches.

    Kinds: "one", all cells are of one class; "majority", `share` of the cells are of the label
    and the others are spread evenly over all other classes, of which none has as many; "rare",
    one cell of the label in a background of one other class; "rare-mixed", the same in a
    background of four classes in equal parts; "clutter", the same in a background of one class of
    which a quarter of the cells are single cells of all other classes in turn, so that the goal
    can only be identified by its label; "blocks", a "majority" of blocks of 2 x 2 cells.
    Cells, or blocks, lie in random order.

    A patch is cropped to a centre square and resampled to
    `tile` pixels by resampling (average when smaller, bilinear when larger). Missing pixels of a
    file become 0. No patch is repeated before all patches of its class are used. Only the patches
    that are used are read.

    Args:
        patches: Class -> patches: arrays (c, h, w) or image files; of one dtype and number of
            bands, of any size. The order of the classes does not matter.
        kind: One of `MOSAIC_KINDS`.
        rows: Rows of cells, >= 1; even for "blocks".
        cols: Columns of cells, >= 1; even for "blocks".
        seed: Random seed.
        index: Number of the mosaic; each has its own random stream.
        share: Of the cells (blocks) that are of the label, above 0 and below 1, rounded to whole
            cells; only for "majority" and "blocks".
        label: The dominant or planted class; drawn randomly if None.
        tile: Side of a cell, pixels; when None, the most frequent shorter side of the first
            patches of all classes, the longest of equally frequent ones.
        offset: Start of the scene inside the first cell, as a share of a cell below 1.
            The size of the scene is unchanged, its edges cut cells, and those of its windows that
            lie on a grid of cells show parts of four. Planted cells are complete.

    Raises:
        UnknownNameError: `kind` or `label` is unknown.
        ParameterError: Rows, columns, tile, share or offset out of range, too few classes, a share
            so small that another class would have as many cells, or no room for planted cells.
        DataError: A class without patches, a file that cannot be read, or patches that differ in
            bands or dtype.
    """
    names = _classes(patches, kind, label)
    check_counts(rows=rows, cols=cols, tile=1 if tile is None else tile)
    draw = rng(seed, f"mosaic/{index}")
    order = [names[i] for i in draw.permutation(len(names))]
    if label is not None:
        order = [label, *(name for name in order if name != label)]
    side = _usual_side([patches[name][0] for name in names]) if tile is None else tile
    outside = _outside(offset, side)
    # Also drawn with an offset, so that all later draws of a seed are those of earlier versions.
    on_grid = _plan(kind, len(order) - 1, (rows, cols), share, draw)
    numbers = on_grid
    if outside:
        numbers = _plan_off_grid(kind, len(order) - 1, (rows, cols), share, draw)
    image = None
    for number in np.unique(numbers):
        name = order[number]
        places = np.argwhere(numbers == number)
        picks = _each_once(len(places), len(patches[name]), draw)
        for (row, col), pick in zip(places.tolist(), picks.tolist(), strict=True):
            cell = _read_square(patches[name][pick], side)
            if image is None:
                high, wide = numbers.shape
                image = np.empty((len(cell), high * side, wide * side), cell.dtype)
            check_alike(cell, image, f"patch {pick} of the class {name!r}")
            image[:, row * side : (row + 1) * side, col * side : (col + 1) * side] = cell
    assert image is not None  # noqa: S101  (there is at least one cell)
    seen = slice(outside, outside + rows * side), slice(outside, outside + cols * side)
    found = np.argwhere(numbers == 0).tolist() if kind in _PLANTED else []
    planted = tuple(
        Window(row * side - outside, col * side - outside, side, side) for row, col in found
    )
    return Mosaic(
        np.ascontiguousarray(image[:, *seen]), side, np.array(order, dtype=np.str_)[numbers],
        order[0], planted, outside,
    )  # fmt: skip


def _outside(offset: float, side: int) -> int:
    """Return the pixels of the first cell outside the scene."""
    if not 0 <= offset < 1:  # NaN fails the comparison
        raise ParameterError(f"offset={offset!r}", "Allowed: 0 to below 1", "Use offset=0.5.")
    return min(round(offset * side), side - 1)


def _classes(patches: Patches, kind: str, label: str | None) -> list[str]:
    """Return the classes by name, validated for the kind."""
    if kind not in MOSAIC_KINDS:
        known = f"Kinds: {', '.join(MOSAIC_KINDS)}"
        raise UnknownNameError(f"kind={kind!r}", known, suggest(kind, MOSAIC_KINDS))
    empty = [name for name, given in patches.items() if not len(given)]
    if empty:
        raise DataError(
            f"there are no patches of class {empty[0]!r}",
            "Each class needs at least one.",
            "Remove the class.",
        )
    if len(patches) < MOSAIC_KINDS[kind]:
        raise ParameterError(
            f"{len(patches)} class(es) for a mosaic of kind {kind!r}",
            f"At least {MOSAIC_KINDS[kind]} are required.",
            "Use more classes, or another kind.",
        )
    if label is not None and label not in patches:
        known = f"Classes: {', '.join(sorted(patches))}"
        raise UnknownNameError(f"label={label!r}", known, suggest(label, patches))
    return sorted(patches)


def _plan(
    kind: str, others: int, shape: tuple[int, int], share: float, draw: np.random.Generator
) -> NDArray[np.int64]:
    """Return (rows, cols) class numbers: 0 is the label, 1 to `others` are the other classes."""
    rows, cols = shape
    if kind == "one":
        return np.zeros(shape, np.int64)
    if kind == "majority":
        return _majority(others, shape, share, draw)
    if kind == "blocks":
        if rows % 2 or cols % 2:
            raise ParameterError(
                f"rows={rows}, cols={cols} for blocks of 2 x 2 cells",
                "Allowed: even numbers",
                f"Use rows={rows + rows % 2}, cols={cols + cols % 2}",
            )
        return _majority(others, (rows // 2, cols // 2), share, draw).repeat(2, 0).repeat(2, 1)
    mixed = 1 if kind == "rare" else _MIXED
    if kind == "clutter":
        mixed = 2  # the background and one other class, at least
    if rows * cols <= mixed:
        raise ParameterError(
            f"rows={rows}, cols={cols} for a mosaic of kind {kind!r}",
            f"At least {mixed + 1} cells are required.",
        )
    numbers = 1 + np.arange(rows * cols) % mixed
    if kind == "clutter":
        single = max(1, round(_CLUTTER * rows * cols))
        numbers[:] = 1
        numbers[1 : 1 + single] = 2 + np.arange(single) % (others - 1)
    numbers[0] = 0
    return draw.permutation(numbers).reshape(shape)


def _plan_off_grid(
    kind: str, others: int, shape: tuple[int, int], share: float, draw: np.random.Generator
) -> NDArray[np.int64]:
    """Return (rows + 1, cols + 1) class numbers, with planted cells away from the edges."""
    rows, cols = shape
    more = 2 if kind == "blocks" else 1  # blocks take an even number
    numbers = _plan(kind, others, (rows + more, cols + more), share, draw)
    numbers = numbers[: rows + 1, : cols + 1].copy()
    if kind in _PLANTED:
        if min(shape) < 2:
            raise ParameterError(
                f"rows={rows}, cols={cols} with an offset",
                f"A mosaic of kind {kind!r} needs at least 2 x 2 cells, so that planted cells are "
                "complete.",
            )
        inside = numbers[1:rows, 1:cols]
        own = numbers == 0
        place = 1 + draw.integers(rows - 1), 1 + draw.integers(cols - 1)
        if not (inside == 0).any():
            numbers[own], numbers[place] = numbers[place], 0
    return numbers


def _majority(
    others: int, shape: tuple[int, int], share: float, draw: np.random.Generator
) -> NDArray[np.int64]:
    if not 0 < share < 1:  # NaN fails the comparison
        raise ParameterError(f"share={share!r}", "Allowed: above 0 and below 1", "Use share=0.25.")
    cells = shape[0] * shape[1]
    own = round(share * cells)
    most = -(-(cells - own) // others)
    if own <= most:
        raise ParameterError(
            f"share={share:g} is {own} of {cells}; spread over {others} other class(es), "
            f"one of them would have {most}",
            "Every other class must have fewer cells than the label.",
            "Increase share, or use more classes.",
        )
    numbers = np.concatenate([np.zeros(own, np.int64), 1 + np.arange(cells - own) % others])
    return draw.permutation(numbers).reshape(shape)


def _each_once(count: int, available: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Draw `count` of `available` numbers, without repeats until all are drawn."""
    rounds = [draw.permutation(available) for _ in range(-(-count // available))]
    return np.concatenate(rounds)[:count]


def _shape(patch: Patch) -> tuple[int, int]:
    if isinstance(patch, str | Path):
        return FileSource(str(patch)).info.shape
    if patch.ndim != 3 or not patch.size:
        raise DataError(f"a patch of shape {patch.shape}", "Expected (bands, height, width).")
    return patch.shape[1], patch.shape[2]


def _usual_side(patches: Sequence[Patch]) -> int:
    sides = Counter(min(_shape(patch)) for patch in patches)
    return max(sides, key=lambda side: (sides[side], side))


def _read_square(patch: Patch, side: int) -> NDArray[Any]:
    """Return the centre square of a patch as (c, side, side)."""
    h, w = _shape(patch)
    short = min(h, w)
    middle = Window((h - short) // 2, (w - short) // 2, short, short)
    source = FileSource(str(patch)) if isinstance(patch, str | Path) else ArraySource(patch)
    return whole(source.read(middle, out_shape=(side, side)))


def whole(raster: Raster) -> NDArray[Any]:
    """Return the pixels of a raster with 0 for missing pixels."""
    return np.where(raster.valid, raster.data, np.zeros((), raster.data.dtype))


def check_alike(part: NDArray[Any], image: NDArray[Any], name: str) -> None:
    """Check that a part has the bands and the dtype of the output image.

    Raises:
        DataError: They differ.
    """
    if len(part) != len(image) or part.dtype != image.dtype:
        raise DataError(
            f"{name} has {len(part)} band(s) of {part.dtype}, the one before it has {len(image)} "
            f"of {image.dtype}",
            "All parts must have the same number of bands and the same dtype.",
            "Remove or convert it.",
        )


def check_counts(**given: int) -> None:
    """Check that named arguments are whole numbers of at least 1.

    Raises:
        ParameterError: One of them is not.
    """
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ParameterError(f"{name}={value!r}", "Allowed: whole numbers from 1")
