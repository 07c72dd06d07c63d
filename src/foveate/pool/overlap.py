"""Overlaps of tiles of a pool: the constraint on near-duplicates.

A tile is a near-duplicate of another tile that covers more than a given share of its pixels.
The share is measured in the pixels of the tile: windows of one scene are compared exactly; corners
of tiles of other scenes are transformed to the pixels of the tile by their georeference. Pixels
beyond the edge of a raster do not count. Scenes without a CRS overlap with no other scene; scenes
in an engineering CRS, which has no longitudes and latitudes, only with scenes in the same CRS.

Candidates are found by a k-d tree of the centres of tiles. More than half of a rectangle lies in a
convex shape only if its centre does, so for shares of at least 0.5 only centres inside the
circumcircle of a tile are candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.errors import ParameterError
from foveate.pool.outline_overlap import outline_overlaps
from foveate.select.constraints import Constraint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox
    from pyproj import Transformer

    from foveate.pool.pool import Pool

_ROUNDING = 1e-6  # tolerance of shares, for tiles on different grids
_REACH = 1.1  # factor of the circumcircle, because edges bend between projections
_BLOCK = 4096  # tiles whose neighbours are in memory at a time
_POINTS = 65536  # tiles whose outlines are in memory at a time
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def overlaps(pool: Pool, max_overlap: float) -> Constraint:
    """Find the tiles of which more than a share is covered by another tile.

    Args:
        pool: The pool.
        max_overlap: Maximum share of the pixels of a tile, 0 to 1, that another tile may cover; 1
            for no limit.

    Returns:
        The constraint: a pick excludes the tiles of which it covers a larger share. Memory grows
        with the number of pairs; tiles with the same window on the same grid (dates of a place)
        count once.

    Raises:
        ParameterError: `max_overlap` is not between 0 and 1.
    """
    if not 0 <= max_overlap <= 1:
        raise ParameterError(
            f"max_overlap={max_overlap}",
            "It must be a share of a tile from 0 (no common pixel) to 1 (no limit).",
            "max_overlap=0.5",
        )
    n = len(pool)
    if pool.outlines is not None and max_overlap < 1:
        return outline_overlaps(pool.outlines, max_overlap + _ROUNDING)
    if pool.tiles is None or max_overlap == 1 or n < 2:
        return Constraint.of([], [], n)
    ground = _Ground.of(pool)
    share = max_overlap + _ROUNDING
    pairs: list[NDArray[np.int64]] = []
    for pick, tile in ground.neighbours(whole=max_overlap < 0.5):
        pairs.append(np.stack([pick, tile])[:, ground.covered(tile, pick) > share])
    forbidden = np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), np.int64)
    return Constraint.of(forbidden[0], forbidden[1], n, group=ground.group)


@dataclass(frozen=True)
class _Ground:
    """The m distinct windows of a pool, on g grids.

    Attributes:
        group: (n,) int64 window of each tile.
        box: (m, 4) float64 ``left, top, right, bottom`` in pixels, clipped to the raster.
        grid: (m,) int64 grid of each window; several grids may have the same CRS.
        crs: (g,) int64 CRS of each grid, -1 for a scene without CRS.
        affine: (g, 2, 3) float64 transform from pixels to coordinates.
        systems: The CRSs.
    """

    group: NDArray[np.int64]
    box: NDArray[np.float64]
    grid: NDArray[np.int64]
    crs: NDArray[np.int64]
    affine: NDArray[np.float64]
    systems: tuple[CRS, ...]

    @classmethod
    def of(cls, pool: Pool) -> Self:
        assert pool.tiles is not None  # noqa: S101  (checked by the caller)
        tiles, systems, grids = pool.tiles, dict[Any, int](), dict[Any, int]()
        grid = np.zeros(len(pool), np.int64)
        height, width = np.full((2, len(pool)), np.iinfo(np.int64).max)
        infos = {scene.scene_id: scene.source.info for scene in pool.scenes}
        for name, rows in tiles.per_scene():
            info = infos.get(name)
            key = _grid_key(None if info is None else info.geobox, name, systems)
            grid[rows] = grids.setdefault(key, len(grids))
            if info is not None:
                height[rows], width[rows] = info.shape
        y, x = tiles.y.astype(np.int64), tiles.x.astype(np.int64)
        sides = (
            np.maximum(x, 0), np.maximum(y, 0),
            np.minimum(x + tiles.w, width), np.minimum(y + tiles.h, height),
        )  # fmt: skip
        first, group = _distinct(grid, *sides)
        return cls(
            group, np.stack(sides, axis=1)[first].astype(np.float64), grid[first],
            np.array([key[0] for key in grids], np.int64),
            np.array([key[1] for key in grids], np.float64).reshape(-1, 2, 3), tuple(systems),
        )  # fmt: skip

    def neighbours(self, *, whole: bool) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield pairs of windows, a pick and a tile, that may overlap.

        Args:
            whole: Whether to yield all pairs; otherwise only tiles whose centre the pick may cover.
        """
        m = len(self.box)
        centre, radius = np.zeros((m, 3)), np.zeros(m)
        on_earth = np.zeros(m, bool)
        for begin in range(0, m, _POINTS):
            rows = np.arange(begin, min(m, begin + _POINTS))
            outline = self._world(self._outline(rows), self.grid[rows])
            earth = self._on_earth(outline, self.crs[self.grid[rows]])
            known = on_earth[rows] = np.isfinite(earth).all(axis=(1, 2))
            flat = np.concatenate([outline, np.zeros((*outline.shape[:2], 1))], axis=2)
            points = np.where(known[:, None, None], earth, flat)
            centre[rows] = points[:, 0]
            radius[rows] = np.linalg.norm(points - points[:, :1], axis=2).max(axis=1) * _REACH
        # Separate windows in different CRSs, and in scenes without CRS, along the third axis.
        centre[~on_earth, 2] = 8 * radius.max(initial=0.0) * self._crs[~on_earth]
        for chosen in (on_earth, ~on_earth):
            rows = np.flatnonzero(chosen)
            for pick, tile in _near(centre[rows], radius[rows], whole=whole):
                yield rows[pick], rows[tile]

    def covered(self, tile: NDArray[np.int64], pick: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the share of the pixels of each tile covered by the pick, (e,); 0 if unknown."""
        share = np.zeros(tile.size)
        upright, sides = self._sides
        plain = upright[tile] & upright[pick] & (self._crs[tile] == self._crs[pick])
        rows = np.flatnonzero(plain)
        a, b = sides[tile[rows]], sides[pick[rows]]
        turn = self._turn[tile[rows]]
        if turn.any():
            away = (b[:, 0] + b[:, 2] - a[:, 0] - a[:, 2]) / 2
            b[:, ::2] -= (turn * np.rint(away / np.where(turn, turn, np.inf)))[:, None]
        common = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
        area = np.prod(np.maximum(a[:, 2:] - a[:, :2], 0), axis=1)
        area[area == 0] = np.inf  # the window is outside the raster
        share[rows] = np.prod(np.maximum(common, 0), axis=1) / area
        rows = np.flatnonzero(~plain)
        if rows.size:
            share[rows] = self._covered_askew(tile[rows], pick[rows])
        return share

    def _covered_askew(
        self, tile: NDArray[np.int64], pick: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the same as `covered` for windows that are rotated or in different CRSs."""
        import shapely

        corners = self._pixels_of(tile, pick)
        known = np.flatnonzero(np.isfinite(corners).all(axis=(1, 2)))
        shapes = shapely.convex_hull(shapely.multipoints(corners[known]))
        boxes = shapely.box(*self.box[tile[known]].T)
        share = np.zeros(tile.size)
        area = shapely.area(boxes)
        area[area == 0] = np.inf
        share[known] = shapely.area(shapely.intersection(shapes, boxes)) / area
        return share

    @cached_property
    def _crs(self) -> NDArray[np.int64]:
        """(m,) CRS of each window; a separate number for each scene without CRS."""
        own = self.crs[self.grid]
        return np.where(own >= 0, own, len(self.systems) + self.grid)

    @cached_property
    def _turn(self) -> NDArray[np.float64]:
        """(m,) 360 degrees in the unit of the CRS of each window; 0 if x is not a longitude."""
        turns = np.array([*map(_period, self.systems), 0.0])
        return turns[self.crs[self.grid]]

    @cached_property
    def _sides(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Whether grids are not rotated, (m,), and minimum and maximum x and y, (m, 4)."""
        upright = (self.affine[:, 0, 1] == 0) & (self.affine[:, 1, 0] == 0)
        ends = self._world(self.box.reshape(-1, 2, 2), self.grid)
        return upright[self.grid], np.concatenate([ends.min(axis=1), ends.max(axis=1)], axis=1)

    def _outline(self, windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (e, 9, 2) centre, corners, and midpoints of edges, in pixels."""
        left, top, right, bottom = self.box[windows].T
        middle, centre = (left + right) / 2, (top + bottom) / 2
        x = [middle, left, right, right, left, middle, right, middle, left]
        y = [centre, top, top, bottom, bottom, top, centre, bottom, centre]
        return np.stack([np.stack(x, axis=1), np.stack(y, axis=1)], axis=2)

    def _world(self, points: NDArray[np.float64], grid: NDArray[np.int64]) -> NDArray[np.float64]:
        """Transform (e, k, 2) points from pixels to coordinates of their grids."""
        a = self.affine[grid]
        return np.einsum("eij,ekj->eki", a[:, :, :2], points) + a[:, None, :, 2]

    def _pixels_of(self, tile: NDArray[np.int64], pick: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the corners of picks, (e, 4, 2), in pixels of the tiles."""
        world = self._world(self._outline(pick)[:, :5], self.grid[pick])
        source, target = self.crs[self.grid[pick]], self.crs[self.grid[tile]]
        for a, b in np.unique(np.stack([source, target]), axis=1).T.tolist():
            rows = np.flatnonzero((source == a) & (target == b))
            pixels = world[rows]
            if a != b:
                pixels = _transformed(self.systems[a], self.systems[b], pixels)
            if period := _period(self.systems[b]) if b >= 0 else 0.0:
                middle = self._world(self._outline(tile[rows])[:, :1], self.grid[tile[rows]])
                pixels = _turned(pixels, middle[..., 0], period, split=a != b)
            world[rows] = pixels
        grid = self.grid[tile]
        away = world[:, 1:] - self.affine[grid, None, :, 2]
        with np.errstate(invalid="ignore"):
            return np.einsum("eij,ekj->eki", self._inverse[grid], away)

    @cached_property
    def _inverse(self) -> NDArray[np.float64]:
        return np.linalg.inv(self.affine[:, :, :2])

    def _on_earth(self, points: NDArray[np.float64], crs: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return points, (e, k, 3), on the unit sphere; NaN for points compared in the plane.

        Points are compared in the plane if all are in one projected CRS. Longitudes require the
        sphere, because 190 degrees equals -170 degrees.
        """
        coordinates = np.full((*points.shape[:2], 3), np.nan)
        if len(self.systems) == 1 and not _period(self.systems[0]):
            return coordinates
        for number in np.unique(crs[crs >= 0]).tolist():
            rows, system = np.flatnonzero(crs == number), self.systems[number]
            if len(self.systems) == 1:
                angles = points[rows] * (2 * np.pi / _period(system))
            else:
                angles = np.radians(_transformed(system, "EPSG:4326", points[rows]))
            lon, lat = np.moveaxis(angles, 2, 0)
            with np.errstate(invalid="ignore"):
                coordinates[rows] = np.stack(
                    [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=2
                )
        return coordinates


def _grid_key(geobox: GeoBox | None, scene: str, systems: dict[Any, int]) -> tuple[Any, ...]:
    """Return the key of a grid: number of its CRS, affine and scene; register the CRS."""
    affine = _IDENTITY if geobox is None else tuple(geobox.affine)[:6]
    flat = affine[0] * affine[4] == affine[1] * affine[3]
    if geobox is None or geobox.crs is None or flat or not all(map(math.isfinite, affine)):
        return -1, _IDENTITY, scene
    number = systems.setdefault(geobox.crs, len(systems))
    return number, affine, ""


def _distinct(*columns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first row of each distinct tuple, (m,), and the tuple of each row, (n,)."""
    order = np.lexsort(columns)
    new = np.zeros(order.size, bool)
    new[:1] = True
    for column in columns:
        new[1:] |= np.diff(column[order]) != 0
    which = np.empty(order.size, np.int64)
    which[order] = np.cumsum(new) - 1
    return order[new], which


def _near(
    centre: NDArray[np.float64], radius: NDArray[np.float64], *, whole: bool
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs, a pick and a tile, that may overlap.

    Args:
        centre: (m, 3) centres of tiles.
        radius: (m,) radius of a sphere around the centre that contains the tile.
        whole: Whether to find any overlap; otherwise only tiles whose centre is in the sphere of
            the pick.
    """
    from scipy.spatial import KDTree

    size = np.frexp(radius)[1]  # a large tile must not widen the search around small tiles
    for pick_size in np.unique(size).tolist():
        picks = np.flatnonzero(size == pick_size)
        for other in np.unique(size).tolist() if whole else [None]:
            tiles = np.arange(size.size) if other is None else np.flatnonzero(size == other)
            beyond = 0.0 if other is None else float(radius[tiles].max())
            tree = KDTree(centre[tiles])
            for begin in range(0, picks.size, _BLOCK):
                block = picks[begin : begin + _BLOCK]
                reach = float(radius[block].max()) + beyond
                distances = KDTree(centre[block]).sparse_distance_matrix(
                    tree, reach, output_type="ndarray"
                )
                pick, tile = block[distances["i"]], tiles[distances["j"]]
                limit = radius[pick] + (radius[tile] if whole else 0.0)
                keep = (pick != tile) & (distances["v"] <= limit)
                yield pick[keep], tile[keep]


def _turned(
    points: NDArray[np.float64], centre: NDArray[np.float64], period: float, *, split: bool
) -> NDArray[np.float64]:
    """Shift longitudes of points, (e, k, 2), by full turns to those nearest to `centre`.

    Args:
        points: Longitudes and latitudes; the first point is the centre.
        centre: (e, 1) longitudes.
        period: 360 degrees in the unit of the longitudes.
        split: Whether 180 degrees may lie between a centre and its corners.
    """
    turned = points.copy()
    with np.errstate(invalid="ignore"):
        lon = turned[..., 0]
        if split:
            lon -= period * np.rint((lon - lon[:, :1]) / period)
        lon -= period * np.rint((lon[:, :1] - centre) / period)
    return turned


def _transformed(
    source: CRS, target: CRS | str, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Transform points, (e, k, 2), to another CRS; NaN or infinity if this is impossible."""
    from pyproj.exceptions import ProjError

    try:
        x, y = _transformer(source, target).transform(points[..., 0], points[..., 1])
    except ProjError:  # an engineering CRS, another planet
        return np.full(points.shape, np.nan)
    return np.stack([x, y], axis=2)


@lru_cache(maxsize=256)
def _transformer(source: CRS, target: CRS | str) -> Transformer:
    from pyproj import Transformer

    target_crs = target if isinstance(target, str) else target.proj
    return Transformer.from_crs(source.proj, target_crs, always_xy=True)


@lru_cache(maxsize=256)
def _period(crs: CRS) -> float:
    """Return 360 degrees in the unit of a geographic CRS, 0 for other CRSs."""
    if not crs.proj.is_geographic:
        return 0.0
    return 2 * np.pi / crs.proj.axis_info[0].unit_conversion_factor
