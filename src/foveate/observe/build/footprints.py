"""Footprints: the ground of a pair around an anchor, and the tiles it is cut into.

By default a footprint is a square of metres in the UTM zone of its anchor, on whole multiples of an
LR pixel, so that imagery in that zone is cut and not resampled. The paper (GL-10M, appendix A.2)
takes squares of 0.024 degrees of longitude and latitude (a half-width of 0.0012 degrees, times 10),
which are narrower the farther they lie from the equator: 5.97 km2 at 33 and 3.58 km2 at 60 degrees.
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

EQUAL_AREA = "EPSG:6933"  # cylindrical, of the ellipsoid: square metres of shapes
_DEGREE = 111_320.0  # metres of a degree of the equator
_UTM = (-80.0, 84.0)  # latitudes
_ROOM = 1.01  # of cells, over the distance: columns of neighbouring rows differ by less
_BLOCK = 100_000  # intersections at a time


@dataclass(frozen=True)
class Layout:
    """Size of footprints, tiles and pixels.

    Attributes:
        side: Of a footprint, in `unit`.
        unit: "m" for squares of metres in UTM, "deg" for squares of degrees.
        tiles: Rows and columns of tiles.
        hr_gsd: Metres of an HR pixel.
        lr_gsd: Metres of an LR pixel.

    Raises:
        ParameterError: Sides that are no whole number of pixels.
    """

    side: float
    unit: Literal["m", "deg"]
    tiles: tuple[int, int]
    hr_gsd: float
    lr_gsd: float

    def __post_init__(self) -> None:
        """Check that pixels and tiles fit."""
        if self.hr_gsd >= self.lr_gsd:
            raise ParameterError(
                f"HR pixels of {self.hr_gsd:g} m and LR pixels of {self.lr_gsd:g} m",
                "High resolution has the smaller pixels.",
                "--hr-gsd 1 --lr-gsd 10",
            )
        for what, gsd, parts in (("HR", self.hr_gsd, self._parts), ("LR", self.lr_gsd, 1)):
            whole = self.metres / gsd / parts
            if (self.unit == "m" and abs(whole - round(whole)) > 1e-6) or round(whole) < 1:
                raise ParameterError(
                    f"a footprint of {self.side:g} {self.unit} in {self.tiles[0]} x "
                    f"{self.tiles[1]} tiles, with {what} pixels of {gsd:g} m",
                    f"Footprints and tiles are whole numbers of pixels; this is {whole:g}.",
                    f"--footprint {max(1, round(whole)) * gsd * parts:g}",
                )

    @property
    def metres(self) -> float:
        """Side of a footprint, metres from south to north."""
        return self.side if self.unit == "m" else self.side * _DEGREE

    @property
    def _parts(self) -> int:
        return math.lcm(*self.tiles)

    @property
    def hr_pixels(self) -> int:
        """Side of the HR image, a multiple of the tiles."""
        return self._parts * round(self.metres / self.hr_gsd / self._parts)

    @property
    def lr_pixels(self) -> int:
        """Side of the LR image."""
        return round(self.metres / self.lr_gsd)


def layout_of(footprint: str, tiles: tuple[int, int], hr_gsd: float, lr_gsd: float) -> Layout:
    """Return the layout of a side in metres ("2680") or degrees ("0.024deg").

    Raises:
        ParameterError: Another form, or see `Layout`.
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
            f"footprint {footprint!r}", "A side in metres, or in degrees up to 1.",
            "--footprint 2680, or --footprint 0.024deg as in the paper",
        )  # fmt: skip
    return Layout(side, unit, tiles, hr_gsd, lr_gsd)


@dataclass(frozen=True)
class Footprints:
    """The ground of n pairs.

    Attributes:
        layout: Their size.
        anchor: (n,) row of the polygon that each is around.
        crs: (n,) EPSG code of its CRS: a UTM zone, or 4326.
        left: (n,) x of the western edge in that CRS.
        top: (n,) y of the northern edge.
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
        """Return the footprints of the given rows, in that order."""
        index = np.asarray(rows)
        return Footprints(
            self.layout, self.anchor[index], self.crs[index], self.left[index], self.top[index]
        )

    def geobox(self, row: int, pixels: int) -> GeoBox:
        """Return the grid of a footprint in so many pixels a side, north up."""
        from affine import Affine
        from odc.geo.geobox import GeoBox

        step = self.layout.side / pixels
        affine = Affine(step, 0, float(self.left[row]), 0, -step, float(self.top[row]))
        return GeoBox((pixels, pixels), affine, f"EPSG:{self.crs[row]}")

    def corners(self) -> NDArray[np.float64]:
        """Return the corners of footprints in longitude and latitude, (n, 4, 2), clockwise."""
        side = self.layout.side
        x = self.left[:, None] + np.array([0, side, side, 0])
        y = self.top[:, None] - np.array([0, 0, side, side])
        found = np.stack([x, y], axis=2)
        for code in np.unique(self.crs).tolist():
            if code != 4326:
                own = self.crs == code
                there = transformer(f"EPSG:{code}", WGS84)
                assert there is not None  # noqa: S101  (UTM lies on the Earth)
                found[own] = np.stack(there.transform(x[own], y[own]), axis=2)
        return found

    def outlines(self) -> NDArray[np.object_]:
        """Return the footprints as polygons in longitude and latitude, (n,)."""
        import shapely

        return np.asarray(shapely.polygons(self.corners()), dtype=object)

    def tile_boxes(self, row: int) -> NDArray[np.object_]:
        """Return the tiles of a footprint as boxes in its CRS, (R * C,), row-major, north-up."""
        import shapely

        rows, cols = self.layout.tiles
        r, c = (axis.ravel() for axis in np.mgrid[:rows, :cols])
        high, wide = self.layout.side / rows, self.layout.side / cols
        west, north = self.left[row] + c * wide, self.top[row] - r * high
        return shapely.box(west, north - high, west + wide, north)


def around(lon: NDArray[np.float64], lat: NDArray[np.float64], layout: Layout) -> Footprints:
    """Return the footprints around anchors; (n,) longitudes and latitudes in degrees.

    Those that cannot be (beyond the zones of UTM, across 180 degrees) are left out.
    """
    rows = np.arange(lon.size)
    half = layout.side / 2
    if layout.unit == "deg":
        found = Footprints(layout, rows, np.full(lon.size, 4326), lon - half, lat + half)
        ok = (np.abs(lon) + half <= 180) & (np.abs(lat) + half <= 90)
        return found.take(rows[ok])
    zone = np.minimum(np.floor((lon + 180) / 6).astype(np.int64) + 1, 60)
    crs = np.where(lat >= 0, 32600, 32700) + zone
    left, top = np.full((2, lon.size), np.nan)
    ok = (lat > _UTM[0]) & (lat < _UTM[1])
    for code in np.unique(crs[ok]).tolist():
        own = ok & (crs == code)
        there = transformer(WGS84, f"EPSG:{code}")
        assert there is not None  # noqa: S101  (UTM lies on the Earth)
        x, y = there.transform(lon[own], lat[own])
        step = layout.lr_gsd
        left[own] = np.rint((x - half) / step) * step
        top[own] = np.rint((y + half) / step) * step
    found = Footprints(layout, rows, crs, left, top).take(rows[ok])
    west = found.corners()[:, :, 0]
    return found.take(np.ptp(west, axis=1) < 180)


def thin(
    lon: NDArray[np.float64], lat: NDArray[np.float64], order: NDArray[np.int64], metres: float
) -> NDArray[np.int64]:
    """Take anchors one by one, and none whose square overlaps that of one taken before.

    Args:
        lon: (n,) degrees.
        lat: (n,) degrees.
        order: The rows in the order in which they are asked.
        metres: Two anchors are too near if they are less than this apart from west to east and
            from south to north; 0: all are taken.

    Returns:
        The rows taken, ascending.
    """
    if metres <= 0:
        return np.sort(order)
    taken = _Taken(metres)
    longitudes, latitudes = lon.tolist(), lat.tolist()
    kept = [row for row in order.tolist() if taken.take(longitudes[row], latitudes[row])]
    return np.sort(np.array(kept, np.int64))


class _Taken:
    """Places that were taken, in cells of about the distance: only neighbours are compared."""

    def __init__(self, metres: float) -> None:
        self._metres, self._cell = metres, _ROOM * metres
        self._cells: dict[tuple[int, int], list[tuple[float, float]]] = {}

    def take(self, x: float, y: float) -> bool:
        """Take a place unless it is too near to one that was taken before; say whether it was."""
        band = math.floor(y * _DEGREE / self._cell)
        if self._near(x, y, band):
            return False
        self._cells.setdefault((band, self._column(x, band)), []).append((x, y))
        return True

    def _near(self, x: float, y: float, band: int) -> bool:
        for b in (band - 1, band, band + 1):
            own = self._column(x, b)
            for other in (own - 1, own, own + 1):
                for at, up in self._cells.get((b, other), ()):
                    wide = _DEGREE * math.cos(math.radians((y + up) / 2))
                    if max(abs(up - y) * _DEGREE, abs(at - x) * wide) < self._metres:
                        return True
        return False

    def _column(self, x: float, band: int) -> int:
        """Return the column of a longitude in a band of latitude, whose cells are square there."""
        middle = min(abs((band + 0.5) * self._cell / _DEGREE), 89.0)
        return math.floor(x * _DEGREE * math.cos(math.radians(middle)) / self._cell)


def labelled(
    footprints: Footprints, polygons: Polygons
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]:
    """Return what polygons say of footprints.

    Returns:
        (n, K) bool: which concepts have a polygon in it; (n,) share of its area under polygons of
        any concept; (2, m) pairs of a footprint and a polygon that has area in it, sorted.
    """
    import shapely

    there = transformer(WGS84, EQUAL_AREA)
    assert there is not None  # noqa: S101  (both are of the Earth)
    shapes = [
        shapely.transform(given, lambda xy: np.stack(there.transform(*xy.T), axis=1))
        for given in (footprints.outlines(), polygons.shapes)
    ]
    ground, areas = shapes
    tree = shapely.STRtree(areas)
    which, what = tree.query(ground, predicate="intersects")
    order = np.lexsort((what, which))
    which, what = which[order], what[order]
    parts = np.empty(which.size, object)
    for start in range(0, which.size, _BLOCK):
        rows = slice(start, start + _BLOCK)
        parts[rows] = shapely.intersection(areas[what[rows]], ground[which[rows]])
    held = shapely.area(parts) > 0
    which, what, parts = which[held], what[held], parts[held]
    shows = np.zeros((len(footprints), polygons.shows.shape[1]), bool)
    np.logical_or.at(shows, which, polygons.shows[what])
    covered = np.zeros(len(footprints))
    edges = np.searchsorted(which, np.arange(len(footprints) + 1))
    for row, (start, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        if end > start:
            covered[row] = shapely.area(shapely.union_all(parts[start:end]))
    return shows, covered / shapely.area(ground), np.stack([which, what])


def tile_shares(
    footprints: Footprints, row: int, shapes: NDArray[np.object_], shows: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the share of each tile of a footprint under polygons of each concept.

    Args:
        footprints: All footprints.
        row: Which of them.
        shapes: (m,) polygons in longitude and latitude.
        shows: (m, K) bool: which concepts each shows.

    Returns:
        (R * C, K) float32 from 0 to 1, tiles row-major and north-up.
    """
    import shapely

    code = int(footprints.crs[row])
    there = transformer(WGS84, f"EPSG:{code}")
    assert there is not None  # noqa: S101  (it is a zone of UTM, or degrees)
    moved = shapely.transform(shapes, lambda xy: np.stack(there.transform(*xy.T), axis=1))
    boxes = footprints.tile_boxes(row)
    bounds = shapely.total_bounds(boxes).tolist()
    moved = shapely.make_valid(shapely.clip_by_rect(moved, *bounds))
    shares = np.zeros((boxes.size, shows.shape[1]), np.float32)
    for k in np.flatnonzero(shows.any(axis=0)).tolist():
        ground = shapely.union_all(moved[shows[:, k]])
        common = shapely.area(shapely.intersection(boxes, ground))
        shares[:, k] = np.clip(common / shapely.area(boxes), 0, 1)
    return shares
