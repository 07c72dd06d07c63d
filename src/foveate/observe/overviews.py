"""Overviews cut into tiles, and the inference of an observer on them.

Tiles keep the ground size that they had in training where that is known, else their size in pixels
of the overview. Nothing here reads a pixel; of pairs, the high resolution is known by its headers.

The encoder is shown as many tiles at once as in training, so a large overview comes block by block.
The sampler is convolutional: it sees the tokens of the whole overview, and a tile its neighbours on
both sides of a block's edge. An overview of more than 128 x 128 tiles is taken in parts of at most
so many; the tokens of one part are what is held in memory.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.grid import Tiles
from foveate.location import is_url
from foveate.observe import dense
from foveate.observe.features import encode_windows
from foveate.observe.observer import RATIO
from foveate.observe.pairs import PAIRS, Pairs, cut_into, places_of, upright
from foveate.pool.pool import Pool, Scene
from foveate.raster import metres_per_pixel, pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.models.capabilities import Embeds
    from foveate.observe.features import Encoder
    from foveate.observe.observer import Observer, ObserverConfig
    from foveate.progress import ProgressFn
    from foveate.raster import SourceInfo
    from foveate.run import Run

_FAR = 2.0  # a GSD or a tile off by such a factor is worth a warning

_PREPARE = (
    "foveate observe prepare IMAGE --tiles ROWSxCOLS --ratio {:.3g} --out PAIRS, and select on "
    "PAIRS/overviews"
)


@dataclass(frozen=True)
class OverviewTiles:
    """Tiles and their overviews.

    Attributes:
        pool: The n tiles; of pairs, their windows are in HR pixels.
        overviews: The LR raster of each of ``pool.scenes``, in their order.
        shapes: ``(R, C)`` of each of them.
        pairs: The pairs that it was made of, or None.
    """

    pool: Pool
    overviews: tuple[Scene, ...]
    shapes: tuple[tuple[int, int], ...]
    pairs: Pairs | None = None

    @cached_property
    def place(self) -> NDArray[np.int64]:
        """(n, 3) int64: number of the scene in ``pool.scenes``, row and column of each tile."""
        return places_of(self.pool)

    @cached_property
    def gsd(self) -> tuple[float, ...] | None:
        """Metres of a pixel of each overview; None where one of them does not say."""
        found = [metres_per_pixel(scene.source.info) for scene in self.overviews]
        known = tuple(metres for metres in found if metres is not None)
        return known if len(known) == len(found) else None

    @cached_property
    def sides(self) -> tuple[float, ...]:
        """Side of a tile of each scene in pixels of its overview, mean of height and width."""
        return tuple(
            (scene.source.info.shape[0] / rows + scene.source.info.shape[1] / cols) / 2
            for scene, (rows, cols) in zip(self.overviews, self.shapes, strict=True)
        )


def is_pairs(path: str | Path) -> bool:
    """Say whether a path is a run of `foveate observe prepare`, finished or not."""
    if is_url(path):
        return False
    root = Path(path)
    return (root / "run.json").is_file() or (root / PAIRS).is_file()


def overview_tiles(source: Pool | Pairs) -> OverviewTiles:
    """Return pairs, or a pool of overviews that are cut into tiles, as a target.

    Raises:
        DataError: A scene of the pool is not cut into rows and columns that cover it.
    """
    if isinstance(source, Pairs):
        return OverviewTiles(source.pool, source.overviews, source.grids, source)
    if source.tiles is None or not source.scenes:
        raise DataError(
            "a pool of plain arrays has no overview to look at",
            "Imagery is needed here.",
            "Open it with open_pool(FOLDER, split=(10, 10)).",
        )
    shapes = {}
    for scene, rows in source.per_scene():
        tiles, shape = source.tiles.take(rows), scene.source.info.shape
        found = [
            _count(tiles.row, tiles.y, tiles.h, shape[0]),
            _count(tiles.col, tiles.x, tiles.w, shape[1]),
        ]
        if None in found:
            raise DataError(
                f"the tiles of the scene {scene.scene_id!r} do not cover it in rows and columns",
                "An overview is cut into R x C tiles without overlap.",
                "Open it with open_pool(FOLDER, split=(10, 10)).",
            )
        shapes[scene.scene_id] = (found[0] or 1, found[1] or 1)
    scenes = tuple(scene for scene in source.scenes if scene.scene_id in shapes)
    pool = replace(source, scenes=scenes)
    return OverviewTiles(pool, scenes, tuple(shapes[scene.scene_id] for scene in scenes))


def cut(headers: Pool, record: ObserverConfig, tile: float | None = None) -> Pool:
    """Cut overviews into tiles of the size that an observer was trained with.

    ``rows = height / side``, rounded, at least 1, with the side of `tile_sides`.

    Args:
        headers: A pool of whole overviews.
        record: The observer's.
        tile: Side of a tile in pixels of the overviews, instead of that of the training.

    Raises:
        DataError: An image may be no overview, and there is no `tile`; see `check_scale`.
    """
    headers, grids = replace(headers, scenes=tuple(map(upright, headers.scenes))), []
    for scene in headers.scenes:
        shape = scene.source.info.shape
        if tile is None:
            check_scale(scene, record)
        sides = (tile, tile) if tile is not None else tile_sides(record, scene.source.info)
        rows, cols = (min(n, max(1, round(n / s))) for n, s in zip(shape, sides, strict=True))
        grids.append((rows, cols))
    return cut_into(headers, grids)


def tile_sides(record: ObserverConfig, info: SourceInfo) -> tuple[float, float]:
    """Return the height and width of a tile in pixels of an overview.

    Args:
        record: The observer's.
        info: Of the overview.

    Returns:
        What covers the ground that a tile of the training covered where both sizes of pixels are
        known, else as many pixels as in training.
    """
    if record.tile_size is not None and (pixel := pixel_size(info)) is not None:
        return (record.tile_size / pixel[0], record.tile_size / pixel[1])
    metres = metres_per_pixel(info)
    side = record.lr_tile
    if record.gsd is not None and metres is not None:
        side *= record.gsd[0] / metres
    return (side, side)


def check_scale(scene: Scene, record: ObserverConfig) -> None:
    """Refuse an image that may be high resolution itself, where no size of a pixel says it.

    Its tiles would have as many pixels as those of overviews: an image of full resolution has the
    square of the ratio of resolutions times as many tiles, and from half of that on it is taken
    for one. Where sizes of pixels are known, `cautions` compares them.

    Raises:
        DataError: It may be; the message says what to type for either. Or tiles of the training
            had a size on the ground, and nothing says how large a pixel is.
    """
    info = scene.source.info
    if record.gsd is not None and metres_per_pixel(info) is not None:
        return
    if record.tile_size is not None:
        raise DataError(
            f"the overview {scene.scene_id!r} does not say how large its pixels are",
            f"The observer was trained on tiles of {record.tile_size:g} m.",
            "Give a georeferenced overview, or say how many pixels that is: --tile PIXELS.",
        )
    rows, cols = (max(1, round(n / record.lr_tile)) for n in info.shape)
    usual = record.tiles[0] * record.tiles[1]
    if rows * cols < usual * record.ratio**2 / 2:
        return
    raise DataError(
        f"the overview {scene.scene_id!r} of {info.shape[0]:,} x {info.shape[1]:,} pixels would be "
        f"cut into {rows * cols:,} tiles of {record.lr_tile:.3g} pixels a side",
        f"Overviews of the training had {usual:,} tiles, and nothing says how large a pixel is: "
        "this may be high resolution itself.",
        f"If so, make its overview, {_PREPARE.format(record.ratio)}. If it is an overview, say how "
        f"large a tile is: --tile {record.lr_tile:.3g}.",
    )


def check_reads(scenes: Sequence[Scene], encoder: Encoder, bands: Sequence[int] = ()) -> None:
    """Check that overviews have the bands and the kind of values that an observer was trained on.

    Args:
        scenes: The overviews.
        encoder: The observer's LR encoder.
        bands: 1-based bands that the user chose, in the place of those of the training.

    Raises:
        DataError: They have not.
        ParameterError: The user chose another number of bands, or the choice is not clear.
    """
    infos = {f"the overview {scene.scene_id!r}": scene.source.info for scene in scenes}
    check_bands(infos, encoder, bands)
    for name, info in infos.items():
        if _kind(info.dtype) != _kind(encoder.dtype):
            raise DataError(
                f"dtype mismatch: {name} holds {info.dtype}",
                f"The observer was trained on {encoder.dtype}: other values mean other things.",
                "Give overviews of the same product level as in training.",
            )


def check_bands(
    infos: Mapping[str, SourceInfo], encoder: Encoder, chosen: Sequence[int], of: str = ""
) -> None:
    """Check that rasters have the bands that an encoder of an observer was trained on.

    Args:
        infos: Name for messages -> what is known of a raster.
        encoder: The encoder.
        chosen: 1-based bands that the user chose, in the place of those of the training.
        of: " of high resolution", for messages.

    Raises:
        DataError: They have not.
        ParameterError: The user chose another number of bands, or the choice is not clear.
    """
    trained = encoder.spec.bands
    listed = ",".join(map(str, trained))
    if chosen and len(chosen) != len(trained):
        raise ParameterError(
            f"band mismatch: --bands {','.join(map(str, chosen))}",
            f"The observer was trained on {len(trained)} bands{of}: {listed}.",
            "State as many, in the same order.",
        )
    for name, info in infos.items():
        has = f"band mismatch: {name} has {_bands(info.bands)}"
        if info.bands < max(chosen or trained):
            raise DataError(
                has, f"The observer was trained on the bands {listed}{of}.",
                "Give imagery with these bands, or an observer that was trained on such.",
            )  # fmt: skip
        if not chosen and info.bands != max(trained):
            raise ParameterError(
                f"{has}, and the observer was trained on the bands {listed}",
                "Which bands it should see is never guessed.",
                f"State them in the order of the training: --bands {listed}",
            )


def cautions(target: OverviewTiles, record: ObserverConfig) -> list[str]:
    """Return what a person should know before trusting an observer here: sentences."""
    found = []
    own = record.gsd
    if own is not None and target.gsd is None:
        found.append(
            f"The overviews do not say how large their pixels are; those of the training had "
            f"{own[0]:g} m."
        )
    if own is not None and target.gsd is not None:
        off = [metres / own[0] for metres in target.gsd]
        worst = max(off, key=lambda factor: abs(np.log(factor)))
        if not 1 / _FAR <= worst <= _FAR:
            found.append(
                f"Pixels of {worst * own[0]:g} m, and {own[0]:g} m in training: more than "
                f"a factor {_FAR:g}. Scores may mean nothing here."
                + (f" Make overviews, {_PREPARE.format(record.ratio)}." if worst < 1 else "")
            )
    if target.gsd is not None and record.tile_metres is not None:
        sides = zip(target.sides, target.gsd, strict=True)
        off = [side * metres / record.tile_metres for side, metres in sides]
    else:
        off = [side / record.lr_tile for side in target.sides]
    worst = max(off, key=lambda factor: abs(np.log(factor)))
    if not 1 / _FAR <= worst <= _FAR:
        found.append(
            f"Tiles of {worst:.2g} times the size that they had in training. "
            "Scores may mean nothing here."
        )
    return found


def resolutions(target: OverviewTiles, record: ObserverConfig) -> tuple[float, float, str]:
    """Return metres of an LR and of an HR pixel, or a ratio and 1, and where they are from."""
    if target.gsd is not None:
        low = float(np.median(target.gsd))
        high = target.pairs.gsd if target.pairs is not None else record.gsd
        if high is not None and high[1] < low:
            return low, high[1], "pairs" if target.pairs is not None else "observer"
    if target.pairs is not None and target.pairs.has_hr:
        return target.pairs.ratio, 1.0, "pairs, in pixels"
    if record.gsd is not None:
        return record.gsd[0] / record.gsd[1], 1.0, "observer, as a ratio"
    return RATIO, 1.0, "assumed"


def _count(
    number: NDArray[np.integer], start: NDArray[np.integer], size: NDArray[np.integer], side: int
) -> int | None:
    """Return into how many parts `Grid.split` has cut an axis, or None if it was not that."""
    about, first = side / float(size.mean()), int(number.max()) + 1
    most = min(side, side // max(1, int(size.min()) - 1) + 1)  # sides differ by a pixel
    likely = sorted(range(first, most + 1), key=lambda n: abs(n - about))
    at = number.astype(np.int64)
    for n in likely:
        if (at * side // n == start).all() and ((at + 1) * side // n == start + size).all():
            return n
    return None


def _kind(dtype: str) -> str:
    """Return what kind of values a dtype holds: pictures, digital numbers, or measurements."""
    if dtype == "uint8":
        return dtype
    return "float" if np.dtype(dtype).kind == "f" else "integer"


def _bands(count: int) -> str:
    return f"{count} band{'' if count == 1 else 's'}"


_PART = 128  # tiles along the side of what the sampler sees at once


@dataclass(frozen=True, eq=False)
class TiledInference:
    """The overviews of a target as the networks see them, part by part.

    Attributes:
        target: Tiles and overviews.
        observer: The observer.
        model: Its LR encoder, bound.
        run: Keeps the tokens.
        progress: Called with ticks.
    """

    target: OverviewTiles
    observer: Observer
    model: Embeds
    run: Run | None = None
    progress: ProgressFn | None = None

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]]:
        """Yield rows of tiles, their (row, column) in the part, and (1, R * r, C * r, d) tokens."""
        record = self.observer.record
        place = self.target.place
        by_scene = np.argsort(place[:, 0], kind="stable")
        first = np.searchsorted(place[by_scene, 0], np.arange(len(self.target.shapes) + 1))
        for shape, members in _by_grid(self.target.shapes).items():
            pool, order = _windows(self.target, shape, members)
            tokens = encode_windows(
                pool, self.model, shape, record.shape.lr_side, most=record.tiles, run=self.run,
                progress=self.progress,
            )  # fmt: skip
            for (scene, row, col), at in zip(members, order.tolist(), strict=True):
                own = by_scene[first[scene] : first[scene + 1]]
                inner = place[own, 1:] - (row, col)
                inside = ((inner >= 0) & (inner < shape)).all(axis=1)
                if inside.any():
                    yield own[inside], inner[inside], self.observer.lr(tokens[[at]])

    def scores(self) -> tuple[NDArray[np.float64], ...]:
        """Return calibrated scores, raw scores and their standard deviations, (n,) each."""
        found = tuple(np.full(len(self.target.pool), np.nan) for _ in range(3))
        for rows, at, tokens in self:
            said = self.observer.scores(tokens)
            for column, grid in zip(found, (said.score, said.raw, said.sd), strict=True):
                column[rows] = grid[0, at[:, 0], at[:, 1]]
        return found

    def probabilities(self, head: Any) -> NDArray[np.float64]:
        """Return (n, K) probabilities of concepts by what the LR fill makes of the tiles."""
        found = np.full((len(self.target.pool), len(head.names)), np.nan)
        for rows, at, tokens in self:
            for own, inner, lr in self._blocks(at, tokens):
                filled = dense.to_tiles(
                    self.observer.filled(lr), self.observer.record.shape.hr_side
                )
                means = filled[0].mean(axis=2)
                found[rows[own]] = head.probabilities(means[inner[:, 0], inner[:, 1]])
        return found

    def design(self) -> NDArray[np.float64]:
        """Return (n,) what tiles add to those before them, block by block: the highest come first.

        Raises:
            ParameterError: The observer has no kriging.
        """
        found = np.full(len(self.target.pool), np.nan)
        for rows, at, tokens in self:
            raw = self.observer.scores(tokens).raw[0, at[:, 0], at[:, 1]]
            for own, inner, lr in self._blocks(at, tokens):
                side = self.observer.record.shape.lr_side
                worth = np.zeros((1, lr.shape[1] // side, lr.shape[2] // side))
                worth[0, inner[:, 0], inner[:, 1]] = raw[own]
                gains = self.observer.design(lr, worth)
                found[rows[own]] = gains[0, inner[:, 0], inner[:, 1]]
        return found

    def _blocks(
        self, at: NDArray[np.int64], tokens: NDArray[Any]
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[Any]]]:
        """Yield blocks of as many tiles as a scene of the training: nothing is made for more.

        Args:
            at: (n, 2) rows and columns of tiles in a part.
            tokens: (1, R * r, C * r, d) of the part.

        Yields:
            (n,) bool which tiles lie in the block, their (m, 2) rows and columns in it, its tokens.
        """
        record = self.observer.record
        most, r = np.array(record.tiles), record.shape.lr_side
        block = at // most
        for first in np.unique(block, axis=0):
            own = (block == first).all(axis=1)
            (top, left), (bottom, right) = first * most * r, (first + 1) * most * r
            yield own, at[own] % most, tokens[:, top:bottom, left:right]


def _by_grid(
    shapes: Sequence[tuple[int, int]],
) -> dict[tuple[int, int], list[tuple[int, int, int]]]:
    """Return grids -> the parts that have them: number of the scene, first row and column."""
    found: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for scene, shape in enumerate(shapes):
        rows, cols = ([n * i // _parts(n) for i in range(_parts(n) + 1)] for n in shape)
        for top, bottom in itertools.pairwise(rows):
            for left, right in itertools.pairwise(cols):
                grid = (bottom - top, right - left)
                found.setdefault(grid, []).append((scene, top, left))
    return found


def _parts(tiles: int) -> int:
    return -(-tiles // _PART)


def _windows(
    target: OverviewTiles, shape: tuple[int, int], members: list[tuple[int, int, int]]
) -> tuple[Pool, NDArray[np.int64]]:
    """Return parts as a pool of windows of the overviews, and where in it each of them is."""
    tables = []
    for scene, *first in members:
        source = target.overviews[scene]
        spans = []
        for at, n, whole, pixels in zip(
            first, shape, target.shapes[scene], source.source.info.shape, strict=True
        ):
            low, high = round(at * pixels / whole), round((at + n) * pixels / whole)
            spans.append((low, max(1, high - low)))
        (y, h), (x, w) = spans
        tables.append(Tiles.of(source.scene_id, [(y, x, h, w)]))
    tiles = Tiles.concat(tables)
    ids = tiles.tile_id
    order = np.argsort(ids, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    names = {target.overviews[scene].scene_id for scene, *_ in members}
    scenes = tuple(s for s in target.overviews if s.scene_id in names)
    return Pool(ids=ids[order], scenes=scenes, tiles=tiles.take(order)), place
