"""Tiling of rasters into windows.

`Grid` is the tiling of one raster; `Tiles` is the table of the windows of any number of rasters.
The order is always (row, column), (y, x), (height, width); y increases downwards; units are pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, get_args

import numpy as np

from foveate.errors import ParameterError
from foveate.tables import Tabular

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray
    from odc.geo.geobox import GeoBox

Edge = Literal["drop", "shift", "pad", "clip"]
EDGES: tuple[Edge, ...] = get_args(Edge)

_COLUMNS = {
    "scene_code": np.int32,
    "level": np.int16,
    "row": np.int32,
    "col": np.int32,
    "y": np.int32,
    "x": np.int32,
    "h": np.int32,
    "w": np.int32,
    "parent": np.int64,
    "valid_share": np.float32,
}


class Window(NamedTuple):
    """A rectangle of pixels: upper left corner ``(y, x)``, size ``(h, w)``."""

    y: int
    x: int
    h: int
    w: int


def row_numbers(rows: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return row numbers of a table of `n` rows.

    Args:
        rows: Integers (negative values count from the end) or an (n,) mask; may be empty.
        n: Number of rows.

    Raises:
        IndexError: A row is outside the table, or a mask has another length.
    """
    index = np.asarray(rows)
    return np.arange(n)[index if index.size else index.astype(np.int64)]


@dataclass(frozen=True, repr=False)
class Tiles(Tabular):
    """A columnar table of windows, one row per tile.

    Attributes:
        scenes: Names of the scenes, indexed by `scene_code`.
        scene_code: (n,) int32.
        level: (n,) int16, 0 for the first tiling, level of the parent + 1 after `refine`.
        row: (n,) int32, row in the grid.
        col: (n,) int32, column in the grid.
        y: (n,) int32, upper edge in pixels of the scene.
        x: (n,) int32, left edge in pixels of the scene.
        h: (n,) int32, height in pixels.
        w: (n,) int32, width in pixels.
        parent: (n,) int64, row of the parent in the refined table, or -1.
        valid_share: (n,) float32, share of valid pixels; 1 before it is measured.
    """

    scenes: tuple[str, ...]
    scene_code: NDArray[np.int32]
    level: NDArray[np.int16]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    y: NDArray[np.int32]
    x: NDArray[np.int32]
    h: NDArray[np.int32]
    w: NDArray[np.int32]
    parent: NDArray[np.int64]
    valid_share: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Convert the columns to their dtypes, and check that their lengths are equal."""
        lengths = set()
        for name, dtype in _COLUMNS.items():
            column = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            object.__setattr__(self, name, column)
            lengths.add(column.shape)
        if len(lengths) > 1 or len(next(iter(lengths))) != 1:
            raise ParameterError(
                f"columns of shapes {sorted(lengths)}", "All columns must have the same length."
            )

    def __repr__(self) -> str:
        """Return one line: the number of tiles and scenes."""
        return f"Tiles({len(self):,} of {len(self.scenes):,} scenes)"

    @classmethod
    def of(
        cls,
        scene: str,
        windows: ArrayLike,
        *,
        row: ArrayLike | None = None,
        col: ArrayLike | None = None,
        level: int = 0,
    ) -> Self:
        """Return the table of the windows of one scene.

        Args:
            scene: Name of the scene.
            windows: (n, 4) integers ``y, x, h, w`` in pixels.
            row: (n,) rows in the grid; by default 0, 1, 2 ...
            col: (n,) columns in the grid; by default 0.
            level: Level of refinement.
        """
        boxes = np.asarray(windows, dtype=np.int32).reshape(-1, 4)
        n = len(boxes)
        y, x, h, w = boxes.T
        return cls(
            (scene,), np.zeros(n, np.int32), np.full(n, level, np.int16),
            np.asarray(range(n) if row is None else row, np.int32),
            np.asarray([0] * n if col is None else col, np.int32),
            y, x, h, w, np.full(n, -1), np.ones(n, np.float32),
        )  # fmt: skip

    @classmethod
    def concat(cls, tables: Sequence[Tiles]) -> Self:
        """Concatenate tables, merging scenes of the same name. `parent` is not changed."""
        names = tuple(dict.fromkeys(name for table in tables for name in table.scenes))
        code = {name: i for i, name in enumerate(names)}
        codes = [
            np.array([code[s] for s in t.scenes], np.int32)[t.scene_code] for t in tables if len(t)
        ]
        columns = {
            name: np.concatenate([getattr(t, name) for t in tables] or [np.empty(0, dtype)])
            for name, dtype in _COLUMNS.items()
            if name != "scene_code"
        }
        return cls(
            scenes=names, scene_code=np.concatenate(codes or [np.empty(0, np.int32)]), **columns
        )

    def __len__(self) -> int:
        """Return the number of tiles."""
        return self.y.size

    @property
    def scene(self) -> NDArray[np.str_]:
        """(n,) str, name of the scene of each tile."""
        names = np.array(self.scenes, dtype=np.str_)
        return names[self.scene_code] if len(self) else np.empty(0, np.str_)

    @property
    def tile_id(self) -> NDArray[np.str_]:
        """(n,) str, unique id of each window, derived from scene and pixels only.

        Numbers are zero-padded, so ids are sorted by scene, y and x.
        """
        parts = ((self.y, "/y{:06d}"), (self.x, "_x{:06d}"), (self.h, "_{}"), (self.w, "x{}"))
        ids = self.scene
        for column, template in parts:  # format each distinct number once, not once per tile
            numbers, index = np.unique(column, return_inverse=True)
            texts = np.array([template.format(number) for number in numbers.tolist()], np.str_)
            ids = np.strings.add(ids, texts[index])
        return ids

    @property
    def pixels(self) -> NDArray[np.int64]:
        """(n,) int64, number of pixels of each window, valid or not."""
        return self.h.astype(np.int64) * self.w

    def window(self, i: int) -> Window:
        """Return the window of row `i`."""
        return Window(int(self.y[i]), int(self.x[i]), int(self.h[i]), int(self.w[i]))

    def take(self, rows: ArrayLike) -> Self:
        """Return the tiles of `rows` (integers or a mask), in that order."""
        index = row_numbers(rows, len(self))
        return replace(self, **{name: getattr(self, name)[index] for name in _COLUMNS})

    def per_scene(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Yield the name of each scene with tiles, and the sorted rows of its tiles."""
        order = np.argsort(self.scene_code, kind="stable")
        bounds = np.searchsorted(self.scene_code[order], np.arange(len(self.scenes) + 1))
        for name, start, stop in zip(self.scenes, bounds[:-1], bounds[1:], strict=True):
            if start < stop:
                yield name, order[start:stop]

    def with_valid_share(self, share: ArrayLike) -> Self:
        """Return the same tiles with measured `valid_share`, (n,) in [0, 1]."""
        return replace(self, valid_share=np.asarray(share, np.float32))

    def refine(self, rows: ArrayLike, k: int | tuple[int, int] = 2) -> Self:
        """Cut tiles into children that cover them exactly.

        Args:
            rows: Rows of this table (integers or a mask).
            k: Children per side, or ``(down, across)``.

        Returns:
            The children in the order of parents, row-major within each; `parent` contains rows of
            this table, `row` and `col` are grid indices at the finer level.

        Raises:
            ParameterError: There would be a single child, or a tile has fewer pixels on a side than
                children.
        """
        down, across = _pair(k)
        if min(down, across) < 1 or down * across < 2:
            raise ParameterError(f"k = {k}", "`k` must be at least 2 (k x k children).")
        index = row_numbers(rows, len(self))
        if index.size and (int(self.h[index].min()) < down or int(self.w[index].min()) < across):
            short = int(np.minimum(self.h[index], self.w[index]).min())
            raise ParameterError(
                f"a tile with a side of {short} px cannot be cut into {down} x {across}",
                f"The sides must have at least {down} and {across} px.",
                "Stop refining earlier.",
            )
        count = down * across
        ys = self.y[index, None] + self.h[index, None] * np.arange(down + 1) // down
        xs = self.x[index, None] + self.w[index, None] * np.arange(across + 1) // across
        i, j = (a.ravel() for a in np.mgrid[:down, :across])
        y, x = ys[:, i], xs[:, j]
        return replace(
            self,
            scene_code=np.repeat(self.scene_code[index], count),
            level=np.repeat(self.level[index] + 1, count),
            row=(self.row[index, None] * down + i).ravel(),
            col=(self.col[index, None] * across + j).ravel(),
            y=y.ravel(),
            x=x.ravel(),
            h=(ys[:, i + 1] - y).ravel(),
            w=(xs[:, j + 1] - x).ravel(),
            parent=np.repeat(index, count),
            valid_share=np.ones(index.size * count, np.float32),
        )

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table, with `tile_id` as first column."""
        import pyarrow as pa

        names = pa.array(self.scenes, pa.string())
        scene = pa.DictionaryArray.from_arrays(self.scene_code, names).cast(pa.string())
        ids = pa.array(self.tile_id.astype(object), pa.string())
        columns = {name: getattr(self, name) for name in _COLUMNS if name != "scene_code"}
        return pa.table({"tile_id": ids, "scene": scene, **columns})

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Self:
        """Restore the table from the output of `to_arrow`; other columns are ignored."""
        scene = table["scene"].combine_chunks().dictionary_encode()
        names, index = np.unique(
            np.asarray(scene.dictionary.to_numpy(zero_copy_only=False), np.str_),
            return_inverse=True,
        )
        codes = index[scene.indices.to_numpy(zero_copy_only=False)] if len(scene) else index
        columns = {name: table[name].to_numpy() for name in _COLUMNS if name != "scene_code"}
        return cls(scenes=tuple(names.tolist()), scene_code=np.asarray(codes, np.int32), **columns)


@dataclass(frozen=True)
class Grid:
    """The tiling of one raster.

    Attributes:
        shape: ``(height, width)`` of the raster in pixels.
        tile: Side of a tile in pixels, or ``(height, width)``.
        stride: Step between tiles in pixels, or ``(down, right)``; None: the tile size, without
            overlap.
        edge: Treatment of a last tile that would extend beyond the raster: "shift" moves it back
            inside (it overlaps its neighbour), "drop" omits it, "pad" keeps it (the outside is
            nodata), "clip" makes it smaller. A raster smaller than one tile has one tile of the
            size of the raster with "shift" and "clip", and no tile with "drop".
        geobox: Georeference of the raster, or None.

    Raises:
        ParameterError: A size is below 1, the stride leaves gaps, or the edge policy is unknown.
    """

    shape: tuple[int, int]
    tile: int | tuple[int, int] = 256
    stride: int | tuple[int, int] | None = None
    edge: Edge = "shift"
    geobox: GeoBox | None = None
    _split: tuple[int, int] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Validate edge policy and sizes."""
        if self.edge not in EDGES:
            raise ParameterError(
                f"edge = {self.edge!r}",
                f"Allowed: {', '.join(EDGES)}.",
                "For example edge='shift'.",
            )
        for name, pair in (
            ("shape", self.shape), ("tile", _pair(self.tile)), ("stride", self._stride)
        ):  # fmt: skip
            if min(pair) < 1:
                raise ParameterError(f"{name} = {pair}", f"The {name} must be at least 1 pixel.")
        for step, side in zip(self._stride, _pair(self.tile), strict=True):
            if step > side:
                raise ParameterError(
                    f"stride {step} is larger than the tile side {side}",
                    "A larger stride leaves gaps between tiles.",
                    f"Use a stride of at most {side}.",
                )

    @classmethod
    def split(
        cls, shape: tuple[int, int], rows: int, cols: int, *, geobox: GeoBox | None = None
    ) -> Self:
        """Cut a raster into `rows` x `cols` tiles that cover it exactly, without overlap.

        Sides differ by at most one pixel.

        Raises:
            ParameterError: There are more rows or columns than pixels, or fewer than one.
        """
        for name, count, side in (("rows", rows, shape[0]), ("cols", cols, shape[1])):
            if not 1 <= count <= side:
                raise ParameterError(
                    f"{name} = {count} for a side of {side} px", f"Allowed: 1 to {side}."
                )
        largest = (-(-shape[0] // rows), -(-shape[1] // cols))
        return cls(shape, largest, None, "clip", geobox, (rows, cols))

    @property
    def _stride(self) -> tuple[int, int]:
        return _pair(self.tile if self.stride is None else self.stride)

    def tiles(self, scene: str = "") -> Tiles:
        """Return the windows, row-major."""
        if self._split is not None:
            y, x = (np.arange(n + 1) * s // n for n, s in zip(self._split, self.shape, strict=True))
            ys, hs, xs, ws = y[:-1], np.diff(y), x[:-1], np.diff(x)
        else:
            tile, stride = _pair(self.tile), self._stride
            ys, hs = _axis(self.shape[0], tile[0], stride[0], self.edge)
            xs, ws = _axis(self.shape[1], tile[1], stride[1], self.edge)
        i, j = (a.ravel() for a in np.mgrid[: ys.size, : xs.size])
        return Tiles.of(scene, np.stack([ys[i], xs[j], hs[i], ws[j]], axis=1), row=i, col=j)


def _axis(
    length: int, tile: int, stride: int, edge: Edge
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the starts and sizes of the windows along one axis."""
    full = max(0, (length - tile) // stride + 1)
    starts = np.arange(full, dtype=np.int64) * stride
    sizes = np.full(full, tile, dtype=np.int64)
    covered = int(starts[-1]) + tile if full else 0
    if covered >= length or edge == "drop":
        return starts, sizes
    last = {"shift": max(0, length - tile), "pad": full * stride, "clip": full * stride}[edge]
    size = tile if edge == "pad" else min(tile, length - last)
    return np.append(starts, last), np.append(sizes, size)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value[0], value[1]) if isinstance(value, tuple | list) else (value, value)
