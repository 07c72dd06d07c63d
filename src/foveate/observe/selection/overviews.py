"""Overviews cut into tiles, and the inference of an observer on them.

Tiles have the ground size of the training if pixel sizes are known, otherwise the size in pixels of
the overview. HR pixels are never read; for pairs, only the headers of HR are used.

The encoder is given as many tiles at once as in training, so large overviews are encoded in blocks.
The sampler is convolutional and is given the tokens of the whole overview, so the context of a tile
extends across block edges. An overview of more than 128 x 128 tiles is divided into parts of at
most that size; memory holds the tokens of one part.
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
from foveate.observe.data.pairs import PAIRS, Pairs, cut_into, places_of, upright
from foveate.observe.features import encode_windows
from foveate.observe.options import RATIO
from foveate.pool.pool import Pool, Scene
from foveate.raster import metres_per_pixel, pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.models.capabilities import Embeds
    from foveate.observe.features import Encoder
    from foveate.observe.observer import Observer
    from foveate.observe.observer_config import ObserverConfig
    from foveate.progress import ProgressFn
    from foveate.raster import SourceInfo
    from foveate.run import Run

MAX_FACTOR = 2.0  # a GSD or tile size that differs by more raises a caution

_PREPARE = (
    "foveate observe prepare IMAGE --tiles ROWSxCOLS --ratio {:.3g} --out PAIRS, and select on "
    "PAIRS/overviews"
)


@dataclass(frozen=True)
class OverviewTiles:
    """Tiles and their overviews.

    Attributes:
        pool: The n tiles; for pairs, windows are in HR pixels.
        overviews: The LR raster of each of ``pool.scenes``, in their order.
        shapes: ``(R, C)`` of each overview.
        pairs: The source pairs, or None.
    """

    pool: Pool
    overviews: tuple[Scene, ...]
    shapes: tuple[tuple[int, int], ...]
    pairs: Pairs | None = None

    @cached_property
    def place(self) -> NDArray[np.int64]:
        """(n, 3) int64 grid index of tiles: scene in ``pool.scenes``, row, column."""
        return places_of(self.pool)

    @cached_property
    def rows(self) -> tuple[NDArray[np.int64], ...]:
        """Rows of the tiles of each overview, ascending."""
        number = self.place[:, 0]
        order = np.argsort(number, kind="stable")
        return tuple(np.split(order, np.searchsorted(number[order], range(1, len(self.shapes)))))

    @cached_property
    def gsd(self) -> tuple[float, ...] | None:
        """GSD of each overview in metres; None if the GSD of any overview is unknown."""
        sizes = [metres_per_pixel(scene.source.info) for scene in self.overviews]
        known = tuple(metres for metres in sizes if metres is not None)
        return known if len(known) == len(sizes) else None

    @cached_property
    def sides(self) -> tuple[float, ...]:
        """Tile side of each scene in pixels of its overview, mean of height and width."""
        return tuple(
            (scene.source.info.shape[0] / rows + scene.source.info.shape[1] / cols) / 2
            for scene, (rows, cols) in zip(self.overviews, self.shapes, strict=True)
        )


def is_pairs(path: str | Path) -> bool:
    """Return whether a path is a run of `foveate observe prepare`, finished or not."""
    if is_url(path):
        return False
    root = Path(path)
    return (root / "run.json").is_file() or (root / PAIRS).is_file()


def overview_tiles(source: Pool | Pairs) -> OverviewTiles:
    """Return the `OverviewTiles` of pairs, or of a pool of overviews cut into tiles.

    Raises:
        DataError: The tiles of a scene are not a grid of rows and columns that covers it.
    """
    if isinstance(source, Pairs):
        return OverviewTiles(source.pool, source.overviews, source.grids, source)
    if source.tiles is None or not source.scenes:
        raise DataError(
            "a pool of arrays without overviews",
            "A pool of imagery is required.",
            "Open it with open_pool(FOLDER, split=(10, 10)).",
        )
    shapes = {}
    for scene, rows in source.per_scene():
        tiles, shape = source.tiles.take(rows), scene.source.info.shape
        counts = [
            _count(tiles.row, tiles.y, tiles.h, shape[0]),
            _count(tiles.col, tiles.x, tiles.w, shape[1]),
        ]
        if None in counts:
            raise DataError(
                f"the tiles of the scene {scene.scene_id!r} do not cover it in rows and columns",
                "An overview must be cut into R x C tiles without overlap.",
                "Open it with open_pool(FOLDER, split=(10, 10)).",
            )
        shapes[scene.scene_id] = (counts[0] or 1, counts[1] or 1)
    scenes = tuple(scene for scene in source.scenes if scene.scene_id in shapes)
    pool = replace(source, scenes=scenes)
    return OverviewTiles(pool, scenes, tuple(shapes[scene.scene_id] for scene in scenes))


def cut(headers: Pool, record: ObserverConfig, tile: float | None = None) -> Pool:
    """Cut overviews into tiles of the size that an observer was trained with.

    ``rows = height / side``, rounded, at least 1, with the side from `tile_sides`.

    Args:
        headers: A pool of whole overviews.
        record: Configuration of the observer.
        tile: Side of a tile in pixels of the overviews; None: as in training.

    Raises:
        DataError: An image may be high resolution and `tile` is None; see `check_scale`.
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
        record: Configuration of the observer.
        info: Metadata of the overview.

    Returns:
        The sides that cover the same ground as in training if both pixel sizes are known, otherwise
        the sides in pixels of the training.
    """
    if record.tile_size is not None and (pixel := pixel_size(info)) is not None:
        return (record.tile_size / pixel[0], record.tile_size / pixel[1])
    metres = metres_per_pixel(info)
    side = record.lr_tile
    if record.gsd is not None and metres is not None:
        side *= record.gsd[0] / metres
    return (side, side)


def check_scale(scene: Scene, record: ObserverConfig) -> None:
    """Raise an error for an image of unknown pixel size that may be high resolution itself.

    A high-resolution image has about ratio^2 times as many tiles as its overview. An image with
    half of that number or more is assumed to be high resolution. If pixel sizes are known,
    `cautions` compares them instead.

    Raises:
        DataError: The image may be high resolution (the message contains commands for both cases),
            or the tile size of the training is in metres and the pixel size is unknown.
    """
    info = scene.source.info
    if record.gsd is not None and metres_per_pixel(info) is not None:
        return
    if record.tile_size is not None:
        raise DataError(
            f"the pixel size of the overview {scene.scene_id!r} is unknown",
            f"The observer was trained on tiles of {record.tile_size:g} m.",
            "Use a georeferenced overview, or the tile size in pixels: --tile PIXELS.",
        )
    rows, cols = (max(1, round(n / record.lr_tile)) for n in info.shape)
    usual = record.tiles[0] * record.tiles[1]
    if rows * cols < usual * record.ratio**2 / 2:
        return
    raise DataError(
        f"the overview {scene.scene_id!r} of {info.shape[0]:,} x {info.shape[1]:,} pixels would be "
        f"cut into {rows * cols:,} tiles of {record.lr_tile:.3g} pixels a side",
        f"Overviews of the training had {usual:,} tiles. The pixel size is unknown, so this may be "
        "high resolution itself.",
        f"If so, create its overview: {_PREPARE.format(record.ratio)}. If it is an overview, use "
        f"the tile size in pixels: --tile {record.lr_tile:.3g}.",
    )


def check_reads(scenes: Sequence[Scene], encoder: Encoder, bands: Sequence[int] = ()) -> None:
    """Check that overviews have the bands and the dtype that an observer was trained on.

    Args:
        scenes: The overviews.
        encoder: LR encoder of the observer.
        bands: 1-based bands of the user that replace the bands of the training.

    Raises:
        DataError: Bands are missing, or the dtype differs.
        ParameterError: The number of bands differs, or the choice of bands is ambiguous.
    """
    infos = {f"the overview {scene.scene_id!r}": scene.source.info for scene in scenes}
    check_bands(infos, encoder, bands)
    for name, info in infos.items():
        if _kind(info.dtype) != _kind(encoder.dtype):
            raise DataError(
                f"dtype mismatch: {name} has the dtype {info.dtype}",
                f"The observer was trained on {encoder.dtype}.",
                "Use overviews of the same product level as in training.",
            )


def check_bands(
    infos: Mapping[str, SourceInfo], encoder: Encoder, chosen: Sequence[int], of: str = ""
) -> None:
    """Check that rasters have the bands that an encoder of an observer was trained on.

    Args:
        infos: Name for messages -> metadata of a raster.
        encoder: The encoder.
        chosen: 1-based bands of the user that replace the bands of the training.
        of: " of high resolution", for messages.

    Raises:
        DataError: Bands are missing.
        ParameterError: The number of bands differs, or the choice of bands is ambiguous.
    """
    trained = encoder.spec.bands
    listed = ",".join(map(str, trained))
    if chosen and len(chosen) != len(trained):
        raise ParameterError(
            f"band mismatch: --bands {','.join(map(str, chosen))}",
            f"The observer was trained on {len(trained)} bands{of}: {listed}.",
            "Give the same number of bands, in the same order.",
        )
    for name, info in infos.items():
        has = f"band mismatch: {name} has {_bands(info.bands)}"
        if info.bands < max(chosen or trained):
            raise DataError(
                has, f"The observer was trained on the bands {listed}{of}.",
                "Use imagery with these bands, or an observer trained on the available bands.",
            )  # fmt: skip
        if not chosen and info.bands != max(trained):
            raise ParameterError(
                f"{has}, and the observer was trained on the bands {listed}",
                "The bands to use must be given.",
                f"Give them in the order of the training, for example --bands {listed}.",
            )


def cautions(target: OverviewTiles, record: ObserverConfig) -> list[str]:
    """Return cautions (sentences) about GSD or tile sizes that differ from the training."""
    notes = []
    trained = record.gsd
    if trained is not None and target.gsd is None:
        notes.append(
            f"The pixel size of the overviews is unknown; it was {trained[0]:g} m in training."
        )
    if trained is not None and target.gsd is not None:
        factors = [metres / trained[0] for metres in target.gsd]
        worst = max(factors, key=lambda factor: abs(np.log(factor)))
        if not 1 / MAX_FACTOR <= worst <= MAX_FACTOR:
            notes.append(
                f"The pixel size of the overviews is {worst * trained[0]:g} m, and was "
                f"{trained[0]:g} m in training: more than a factor {MAX_FACTOR:g}. "
                "Scores may be meaningless."
                + (f" Create overviews: {_PREPARE.format(record.ratio)}." if worst < 1 else "")
            )
    if target.gsd is not None and record.tile_metres is not None:
        sides = zip(target.sides, target.gsd, strict=True)
        factors = [side * metres / record.tile_metres for side, metres in sides]
    else:
        factors = [side / record.lr_tile for side in target.sides]
    worst = max(factors, key=lambda factor: abs(np.log(factor)))
    if not 1 / MAX_FACTOR <= worst <= MAX_FACTOR:
        notes.append(
            f"Tiles are {worst:.2g} times as large as in training. Scores may be meaningless."
        )
    return notes


def resolutions(target: OverviewTiles, record: ObserverConfig) -> tuple[float, float, str]:
    """Return the GSD of LR and HR in metres, or a ratio and 1, and the source of the values."""
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
    """Return the number of parts that `Grid.split` cut an axis into; None for another division."""
    estimate, minimum = side / float(size.mean()), int(number.max()) + 1
    maximum = min(side, side // max(1, int(size.min()) - 1) + 1)  # tile sides differ by one pixel
    candidates = sorted(range(minimum, maximum + 1), key=lambda n: abs(n - estimate))
    index = number.astype(np.int64)
    for n in candidates:
        if (index * side // n == start).all() and ((index + 1) * side // n == start + size).all():
            return n
    return None


def _kind(dtype: str) -> str:
    """Return the kind of values of a dtype: images (uint8), digital numbers, or measurements."""
    if dtype == "uint8":
        return dtype
    return "float" if np.dtype(dtype).kind == "f" else "integer"


def _bands(count: int) -> str:
    return f"{count} band{'' if count == 1 else 's'}"


_PART = 128  # maximum tiles along a side of a part, the input of the sampler


@dataclass(frozen=True, eq=False)
class TiledInference:
    """Inference of an observer on overviews, divided into parts.

    Attributes:
        target: Tiles and overviews.
        observer: The observer.
        model: LR encoder of the observer, bound to the overviews.
        run: Run that caches the tokens, or None.
        progress: Progress callback.
    """

    target: OverviewTiles
    observer: Observer
    model: Embeds
    run: Run | None = None
    progress: ProgressFn | None = None

    @cached_property
    def beyond(self) -> NDArray[np.bool_]:
        """(n,) bool, tiles encoded so far that are unlike the training, see `Observer.project`."""
        return np.zeros(len(self.target.pool), bool)

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]]:
        """Yield rows of tiles, their (row, column) in a part, and (1, R * r, C * r, d) tokens."""
        record = self.observer.record
        place = self.target.place
        for shape, members in _by_grid(self.target.shapes).items():
            pool, order = _windows(self.target, shape, members)
            tokens = encode_windows(
                pool, self.model, shape, record.shape.lr_side, max_tiles=record.tiles, run=self.run,
                progress=self.progress,
            )  # fmt: skip
            for (scene, row, col), at in zip(members, order.tolist(), strict=True):
                in_scene = self.target.rows[scene]
                inner = place[in_scene, 1:] - (row, col)
                inside = ((inner >= 0) & (inner < shape)).all(axis=1)
                if inside.any():
                    rows, index = in_scene[inside], inner[inside]
                    lr, beyond = self.observer.project(tokens[[at]])
                    self.beyond[rows] = beyond[0, index[:, 0], index[:, 1]]
                    yield rows, index, lr

    def scores(self) -> tuple[NDArray[np.float64], ...]:
        """Return calibrated scores, raw scores and their standard deviations, (n,) each."""
        columns = tuple(np.full(len(self.target.pool), np.nan) for _ in range(3))
        for rows, index, tokens in self:
            scores = self.observer.scores(tokens)
            for column, grid in zip(columns, (scores.score, scores.raw, scores.sd), strict=True):
                column[rows] = grid[0, index[:, 0], index[:, 1]]
        return columns

    def probabilities(self, head: Any) -> NDArray[np.float64]:
        """Return (n, K) probabilities of concepts, predicted from the LR fill of the tiles."""
        result = np.full((len(self.target.pool), len(head.names)), np.nan)
        for rows, index, tokens in self:
            for inside, inner, lr in self._blocks(index, tokens):
                filled = dense.to_tiles(
                    self.observer.filled(lr), self.observer.record.shape.hr_side
                )
                means = filled[0].mean(axis=2)
                result[rows[inside]] = head.probabilities(means[inner[:, 0], inner[:, 1]])
        return result

    def design(self) -> NDArray[np.float64]:
        """Return the (n,) gain of each tile given the preceding tiles of its block.

        Raises:
            ParameterError: The observer has no kriging.
        """
        result = np.full(len(self.target.pool), np.nan)
        for rows, index, tokens in self:
            raw = self.observer.scores(tokens).raw[0, index[:, 0], index[:, 1]]
            for inside, inner, lr in self._blocks(index, tokens):
                side = self.observer.record.shape.lr_side
                values = np.zeros((1, lr.shape[1] // side, lr.shape[2] // side))
                values[0, inner[:, 0], inner[:, 1]] = raw[inside]
                gains = self.observer.design(lr, values)
                result[rows[inside]] = gains[0, inner[:, 0], inner[:, 1]]
        return result

    def _blocks(
        self, index: NDArray[np.int64], tokens: NDArray[Any]
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[Any]]]:
        """Yield blocks of at most as many tiles as a training scene, the limit of the networks.

        Args:
            index: (n, 2) rows and columns of tiles in a part.
            tokens: (1, R * r, C * r, d) of the part.

        Yields:
            (n,) bool mask of the tiles in the block, their (m, 2) rows and columns in the block,
            and the tokens of the block.
        """
        record = self.observer.record
        size, r = np.array(record.tiles), record.shape.lr_side
        block = index // size
        for first in np.unique(block, axis=0):
            inside = (block == first).all(axis=1)
            (top, left), (bottom, right) = first * size * r, (first + 1) * size * r
            yield inside, index[inside] % size, tokens[:, top:bottom, left:right]


def _by_grid(
    shapes: Sequence[tuple[int, int]],
) -> dict[tuple[int, int], list[tuple[int, int, int]]]:
    """Group parts (scene number, first row, first column) by grid shape."""
    groups: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for scene, shape in enumerate(shapes):
        rows, cols = ([n * i // _parts(n) for i in range(_parts(n) + 1)] for n in shape)
        for top, bottom in itertools.pairwise(rows):
            for left, right in itertools.pairwise(cols):
                grid = (bottom - top, right - left)
                groups.setdefault(grid, []).append((scene, top, left))
    return groups


def _parts(tiles: int) -> int:
    return -(-tiles // _PART)


def _windows(
    target: OverviewTiles, shape: tuple[int, int], members: list[tuple[int, int, int]]
) -> tuple[Pool, NDArray[np.int64]]:
    """Return parts as a pool of windows of the overviews, and the row of each part in it."""
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
