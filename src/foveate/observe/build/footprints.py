"""Footprints: square areas around anchors, and their tiles.

By default, a footprint is a square in the UTM zone of its anchor, aligned to multiples of the LR
pixel size, so that imagery in that zone is cropped without resampling. The paper (GL-10M, appendix
A.2) uses squares of 0.024 degrees (a half-width of 0.0012 degrees, times 10), whose area decreases
with latitude: 5.97 km2 at 33 degrees and 3.58 km2 at 60 degrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from foveate.errors import ParameterError
from foveate.raster.place import WGS84, transformer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from odc.geo.geobox import GeoBox

    from foveate.observe.build.polygons import Polygons

EQUAL_AREA = "EPSG:6933"  # cylindrical projection of the ellipsoid
_DEGREE = 111_320.0  # metres of a degree at the equator
_UTM = (-80.0, 84.0)  # latitudes
_MARGIN = 1.01  # cell size over distance: exceeds the misalignment of columns of adjacent bands
_BLOCK = 100_000  # number of intersections computed at a time


@dataclass(frozen=True)
class Layout:
    """Size of footprints, tiles and pixels.

    Attributes:
        side: Side of a footprint in `unit`.
        unit: "m" for squares in UTM, "deg" for squares in longitude and latitude.
        tiles: Number of rows and columns of tiles.
        hr_gsd: HR pixel size in metres.
        lr_gsd: LR pixel size in metres.

    Raises:
        ParameterError: HR pixels are not smaller than LR pixels, or a footprint or tile is not a
            whole number of pixels.
    """

    side: float
    unit: Literal["m", "deg"]
    tiles: tuple[int, int]
    hr_gsd: float
    lr_gsd: float

    def __post_init__(self) -> None:
        """Check pixel sizes and tiles."""
        if self.hr_gsd >= self.lr_gsd:
            raise ParameterError(
                f"HR pixels of {self.hr_gsd:g} m and LR pixels of {self.lr_gsd:g} m",
                "HR pixels must be smaller than LR pixels.",
                "--hr-gsd 1 --lr-gsd 10",
            )
        for what, gsd, divisor in (("HR", self.hr_gsd, self._divisor), ("LR", self.lr_gsd, 1)):
            pixels = self.metres / gsd / divisor
            if (self.unit == "m" and abs(pixels - round(pixels)) > 1e-6) or round(pixels) < 1:
                raise ParameterError(
                    f"a footprint of {self.side:g} {self.unit} in {self.tiles[0]} x "
                    f"{self.tiles[1]} tiles, with {what} pixels of {gsd:g} m",
                    f"Footprints and tiles must be whole numbers of pixels, not {pixels:g}.",
                    f"--footprint {max(1, round(pixels)) * gsd * divisor:g}",
                )

    @property
    def metres(self) -> float:
        """Height of a footprint in metres."""
        return self.side if self.unit == "m" else self.side * _DEGREE

    @property
    def _divisor(self) -> int:
        return math.lcm(*self.tiles)

    @property
    def hr_pixels(self) -> int:
        """Side of the HR image in pixels, divisible into tiles."""
        return self._divisor * round(self.metres / self.hr_gsd / self._divisor)

    @property
    def lr_pixels(self) -> int:
        """Side of the LR image in pixels."""
        return round(self.metres / self.lr_gsd)


def layout_of(footprint: str, tiles: tuple[int, int], hr_gsd: float, lr_gsd: float) -> Layout:
    """Return the layout for a side in metres ("2680") or degrees ("0.024deg").

    Raises:
        ParameterError: The side is malformed or out of range, or see `Layout`.
    """
    text = str(footprint).strip().lower()
    number = text.removesuffix("deg").removesuffix("m").strip()
    try:
        side = float(number)
    except ValueError:
        side = math.nan
    unit: Literal["m", "deg"] = "deg" if text.endswith("deg") else "m"
    if not (math.isfinite(side) and 0 < side <= (1e5 if unit == "m" else 1)):
        raise ParameterError(
            f"footprint {footprint!r}", "A side is in metres, or in degrees up to 1.",
            "--footprint 2680, or --footprint 0.024deg as in the paper",
        )  # fmt: skip
    return Layout(side, unit, tiles, hr_gsd, lr_gsd)


@dataclass(frozen=True)
class Footprints:
    """The footprints of n pairs.

    Attributes:
        layout: Size of all footprints.
        anchor: (n,) row of the polygon at the centre of each footprint.
        crs: (n,) EPSG codes: a UTM zone, or 4326.
        left: (n,) x of the western edge in the CRS.
        top: (n,) y of the northern edge in the CRS.
    """

    layout: Layout
    anchor: NDArray[np.int64]
    crs: NDArray[np.int64]
    left: NDArray[np.float64]
    top: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of footprints."""
        return self.anchor.size

    def take(self, rows: ArrayLike) -> Footprints:
        """Return the footprints of some rows, in that order."""
        index = np.asarray(rows)
        return Footprints(
            self.layout, self.anchor[index], self.crs[index], self.left[index], self.top[index]
        )

    def geobox(self, row: int, pixels: int) -> GeoBox:
        """Return the north-up geobox of a footprint with `pixels` x `pixels` pixels."""
        from affine import Affine
        from odc.geo.geobox import GeoBox

        step = self.layout.side / pixels
        affine = Affine(step, 0, float(self.left[row]), 0, -step, float(self.top[row]))
        return GeoBox((pixels, pixels), affine, f"EPSG:{self.crs[row]}")

    def corners(self) -> NDArray[np.float64]:
        """Return (n, 4, 2) corners in longitude and latitude, clockwise from the north-west."""
        side = self.layout.side
        x = self.left[:, None] + np.array([0, side, side, 0])
        y = self.top[:, None] - np.array([0, 0, side, side])
        corners = np.stack([x, y], axis=2)
        for code in np.unique(self.crs).tolist():
            if code != 4326:
                rows = self.crs == code
                projection = transformer(f"EPSG:{code}", WGS84)
                assert projection is not None  # noqa: S101  (UTM is terrestrial)
                corners[rows] = np.stack(projection.transform(x[rows], y[rows]), axis=2)
        return corners

    def outlines(self) -> NDArray[np.object_]:
        """Return the footprints as (n,) polygons in longitude and latitude."""
        import shapely

        return np.asarray(shapely.polygons(self.corners()), dtype=object)

    def tile_boxes(self, row: int) -> NDArray[np.object_]:
        """Return the (R * C,) tiles of a footprint as boxes in its CRS, row-major, north first."""
        import shapely

        rows, cols = self.layout.tiles
        r, c = (axis.ravel() for axis in np.mgrid[:rows, :cols])
        height, width = self.layout.side / rows, self.layout.side / cols
        west, north = self.left[row] + c * width, self.top[row] - r * height
        return shapely.box(west, north - height, west + width, north)


def around(lon: NDArray[np.float64], lat: NDArray[np.float64], layout: Layout) -> Footprints:
    """Return the footprints around anchors.

    Anchors outside the latitudes of UTM, or whose footprints cross 180 degrees, are omitted.

    Args:
        lon: (n,) degrees.
        lat: (n,) degrees.
        layout: Size of the footprints.
    """
    rows = np.arange(lon.size)
    half = layout.side / 2
    if layout.unit == "deg":
        squares = Footprints(layout, rows, np.full(lon.size, 4326), lon - half, lat + half)
        ok = (np.abs(lon) + half <= 180) & (np.abs(lat) + half <= 90)
        return squares.take(rows[ok])
    zone = np.minimum(np.floor((lon + 180) / 6).astype(np.int64) + 1, 60)
    crs = np.where(lat >= 0, 32600, 32700) + zone
    left, top = np.full((2, lon.size), np.nan)
    ok = (lat > _UTM[0]) & (lat < _UTM[1])
    for code in np.unique(crs[ok]).tolist():
        members = ok & (crs == code)
        projection = transformer(WGS84, f"EPSG:{code}")
        assert projection is not None  # noqa: S101  (UTM is terrestrial)
        x, y = projection.transform(lon[members], lat[members])
        step = layout.lr_gsd
        left[members] = np.rint((x - half) / step) * step
        top[members] = np.rint((y + half) / step) * step
    squares = Footprints(layout, rows, crs, left, top).take(rows[ok])
    longitudes = squares.corners()[:, :, 0]
    return squares.take(np.ptp(longitudes, axis=1) < 180)


def thin(
    lon: NDArray[np.float64], lat: NDArray[np.float64], order: NDArray[np.int64], metres: float
) -> NDArray[np.int64]:
    """Select anchors greedily, and skip those too close to an anchor selected before.

    Args:
        lon: (n,) degrees.
        lat: (n,) degrees.
        order: Rows in order of preference.
        metres: Two anchors are too close if both their east-west and their north-south distance
            are smaller; 0 selects all.

    Returns:
        The selected rows, ascending.
    """
    if metres <= 0:
        return np.sort(order)
    index = _AnchorIndex(metres)
    longitudes, latitudes = lon.tolist(), lat.tolist()
    kept = [row for row in order.tolist() if index.add(longitudes[row], latitudes[row])]
    return np.sort(np.array(kept, np.int64))


class _AnchorIndex:
    """Grid index of selected anchors; only anchors in adjacent cells are compared."""

    def __init__(self, metres: float) -> None:
        self._metres, self._cell = metres, _MARGIN * metres
        self._cells: dict[tuple[int, int], list[tuple[float, float]]] = {}

    def add(self, x: float, y: float) -> bool:
        """Add an anchor unless it is too close to an earlier one; return whether it was added."""
        band = math.floor(y * _DEGREE / self._cell)
        if self._is_close(x, y, band):
            return False
        self._cells.setdefault((band, self._column(x, band)), []).append((x, y))
        return True

    def _is_close(self, x: float, y: float, band: int) -> bool:
        for b in (band - 1, band, band + 1):
            column = self._column(x, b)
            for c in (column - 1, column, column + 1):
                for lon, lat in self._cells.get((b, c), ()):
                    per_degree = _DEGREE * math.cos(math.radians((y + lat) / 2))
                    if max(abs(lat - y) * _DEGREE, abs(lon - x) * per_degree) < self._metres:
                        return True
        return False

    def _column(self, x: float, band: int) -> int:
        """Return the column of a longitude; cells are square at the centre of each band."""
        middle = min(abs((band + 0.5) * self._cell / _DEGREE), 89.0)
        return math.floor(x * _DEGREE * math.cos(math.radians(middle)) / self._cell)


def labelled(
    footprints: Footprints, polygons: Polygons
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]:
    """Intersect footprints and polygons.

    Returns:
        (n, K) bool: concepts with a polygon in each footprint; (n,) share of each footprint covered
        by polygons of any concept; (2, m) rows of footprints and of polygons that overlap in more
        than an edge, sorted.
    """
    import shapely

    projection = transformer(WGS84, EQUAL_AREA)
    assert projection is not None  # noqa: S101  (both CRS are terrestrial)
    squares, areas = (
        shapely.transform(shapes, lambda xy: np.stack(projection.transform(*xy.T), axis=1))
        for shapes in (footprints.outlines(), polygons.shapes)
    )
    tree = shapely.STRtree(areas)
    footprint, polygon = tree.query(squares, predicate="intersects")
    order = np.lexsort((polygon, footprint))
    footprint, polygon = footprint[order], polygon[order]
    overlaps = np.empty(footprint.size, object)
    for start in range(0, footprint.size, _BLOCK):
        rows = slice(start, start + _BLOCK)
        overlaps[rows] = shapely.intersection(areas[polygon[rows]], squares[footprint[rows]])
    has_area = shapely.area(overlaps) > 0
    footprint, polygon, overlaps = footprint[has_area], polygon[has_area], overlaps[has_area]
    shows = np.zeros((len(footprints), polygons.shows.shape[1]), bool)
    np.logical_or.at(shows, footprint, polygons.shows[polygon])
    covered = np.zeros(len(footprints))
    edges = np.searchsorted(footprint, np.arange(len(footprints) + 1))
    for row, (start, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        if end > start:
            covered[row] = shapely.area(shapely.union_all(overlaps[start:end]))
    return shows, covered / shapely.area(squares), np.stack([footprint, polygon])


def tile_shares(
    footprints: Footprints, row: int, shapes: NDArray[np.object_], shows: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the area share of each concept in each tile of a footprint.

    Args:
        footprints: All footprints.
        row: Row of the footprint.
        shapes: (m,) polygons in longitude and latitude.
        shows: (m, K) bool: concepts of each polygon.

    Returns:
        (R * C, K) float32 from 0 to 1, tiles in row-major order from the north.
    """
    import shapely

    code = int(footprints.crs[row])
    projection = transformer(WGS84, f"EPSG:{code}")
    assert projection is not None  # noqa: S101  (the CRS is a UTM zone or WGS84)
    projected = shapely.transform(shapes, lambda xy: np.stack(projection.transform(*xy.T), axis=1))
    boxes = footprints.tile_boxes(row)
    bounds = shapely.total_bounds(boxes).tolist()
    projected = shapely.make_valid(shapely.clip_by_rect(projected, *bounds))
    shares = np.zeros((boxes.size, shows.shape[1]), np.float32)
    for k in np.flatnonzero(shows.any(axis=0)).tolist():
        union = shapely.union_all(projected[shows[:, k]])
        overlap = shapely.area(shapely.intersection(boxes, union))
        shares[:, k] = np.clip(overlap / shapely.area(boxes), 0, 1)
    return shares
