"""Polygons that show concepts: areas of an OpenStreetMap extract, or rows of a vector file.

OpenStreetMap draws areas as closed ways and as multipolygon relations; both are assembled (by
libosmium). A vector file is GeoJSON, GeoPackage, FlatGeobuf, Shapefile (read through pyogrio) or
GeoParquet; its columns are the tags. What no rule matches is let go as it is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import printable, read_parquet
from foveate.models.extras import EXTRAS, need_extra
from foveate.pool.outlines import read_shapes
from foveate.raster.place import WGS84, transformer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from foveate.observe.build.rules import Rules

OSM = (".osm.pbf", ".pbf", ".osm", ".osm.bz2", ".osm.gz", ".o5m")
TABLES = (".parquet", ".geoparquet")
_POLYGONS = (3, 6)  # of shapely: polygon, multipolygon


@dataclass(frozen=True)
class Polygons:
    """Polygons that show concepts, in the order of their ids.

    Attributes:
        ids: (n,) "way/12", "relation/7"; of a vector file the number of the row.
        shapes: (n,) valid polygons in longitude and latitude.
        shows: (n, K) bool: which concepts each shows.
        regions: (n,) value of the attribute that names the region, "" where there is none.
        counts: What was read and let go: reason -> number.
    """

    ids: NDArray[np.str_]
    shapes: NDArray[np.object_]
    shows: NDArray[np.bool_]
    regions: NDArray[np.str_]
    counts: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of polygons."""
        return self.ids.size


def is_extract(path: str | Path) -> bool:
    """Say whether a path is that of an OpenStreetMap extract."""
    return str(path).lower().endswith(OSM)


def need_reader(path: str | Path) -> None:
    """Raise a clear error when the package that reads a file of polygons is not installed.

    Raises:
        MissingExtraError: It is not.
        DataError: There is no such file.
    """
    if not Path(path).is_file():
        raise DataError(
            f"there is no file {printable(str(path))!r}",
            "Anchors are an OpenStreetMap extract, or a file of polygons.",
            "Check the path.",
        )
    if Path(path).suffix.lower() not in TABLES:
        need_extra(EXTRAS["osm" if is_extract(path) else "vector"], f"reading {Path(path).name!r}")


def read_anchors(path: str | Path, rules: Rules, region: str = "") -> Polygons:
    """Read the polygons of a file that show a concept.

    Args:
        path: An OpenStreetMap extract or a vector file.
        rules: Which tags make which concept.
        region: Tag or column that names the region of a polygon; none if empty.

    Raises:
        MissingExtraError: The package that reads such files is not installed.
        DataError: The file cannot be read, or no polygon of it shows a concept.
    """
    need_reader(path)
    keys = rules.keys | _further(rules) | ({region} if region else set())
    counts = {"areas": 0, "without a concept": 0, "invalid": 0, "too small": 0}
    ids: list[str] = []
    shapes: list[Any] = []
    shown: list[list[int]] = []
    regions: list[str] = []
    areas = _of_extract(path, rules) if is_extract(path) else _of_vectors(path, keys)
    for name, tags, shape in areas:
        counts["areas"] += 1
        numbers = rules.match(tags)
        if not numbers:
            counts["without a concept"] += 1
            continue
        ids.append(name)
        shapes.append(shape)
        shown.append(numbers)
        regions.append(str(tags.get(region, "")))
    shows = np.zeros((len(ids), len(rules.rules)), bool)
    for row, numbers in enumerate(shown):
        shows[row, numbers] = True
    found = Polygons(
        np.array(ids, np.str_), _column(shapes), shows, np.array(regions, np.str_), counts
    )
    kept = _valid(found, rules)
    if not len(kept):
        raise _nothing(path, rules, counts)
    return kept


def _further(rules: Rules) -> set[str]:
    entries = [entry for rule in rules.rules for entry in (*rule.tags, *rule.unless)]
    return {key for entry in entries for key, _ in entry}


def _column(shapes: list[Any]) -> NDArray[np.object_]:
    found = np.empty(len(shapes), object)
    found[:] = shapes
    return found


def _valid(found: Polygons, rules: Rules) -> Polygons:
    """Let go what is no valid polygon or too small, and sort the rest by id."""
    import shapely

    missing = np.array([shape is None for shape in found.shapes], bool)
    ok = ~missing & np.isin(shapely.get_type_id(found.shapes), _POLYGONS)
    ok &= shapely.is_valid(found.shapes) & ~shapely.is_empty(found.shapes)
    west, south, east, north = shapely.bounds(found.shapes).T
    with np.errstate(invalid="ignore"):
        ok &= (west >= -180) & (east <= 180) & (south >= -90) & (north <= 90)
    found.counts["invalid"] = int((~ok).sum())
    area = np.zeros(len(found))
    area[ok] = square_metres(found.shapes[ok])
    least = np.array([rule.min_area for rule in rules.rules])
    shows = found.shows & (area[:, None] >= least) & ok[:, None]
    kept = shows.any(axis=1)
    found.counts["too small"] = int((ok & ~kept).sum())
    order = np.flatnonzero(kept)
    order = order[np.argsort(found.ids[order], kind="stable")]
    return Polygons(
        found.ids[order], found.shapes[order], shows[order], found.regions[order], found.counts
    )


def square_metres(shapes: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the areas of shapes in longitude and latitude, (n,) square metres.

    In the cylindrical equal-area projection of the ellipsoid: exact but for the edges, which are
    straight on that map.
    """
    import shapely

    there = transformer(WGS84, "EPSG:6933")
    assert there is not None  # noqa: S101  (both are of the Earth)

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(there.transform(xy[:, 0], xy[:, 1]), axis=1)

    return shapely.area(shapely.transform(shapes, move))


def _nothing(path: str | Path, rules: Rules, counts: Mapping[str, int]) -> DataError:
    asked = sorted(rules.keys)
    return DataError(
        f"no area of {printable(str(path))!r} shows a concept: {counts['areas']} were read, "
        + ", ".join(f"{n} {why}" for why, n in counts.items() if why != "areas"),
        f"The rules ask for the tags {', '.join(asked[:8])}{' ...' if len(asked) > 8 else ''}.",
        "Give rules that fit the file (--rules FILE.toml), or another extract.",
    )


def _of_extract(path: str | Path, rules: Rules) -> Iterator[tuple[str, dict[str, str], Any]]:
    """Yield the areas of an extract that have a tag of the rules: id, tags, and their shape."""
    import osmium.filter
    import osmium.geom
    import osmium.osm
    import shapely

    keys = sorted(rules.keys)
    factory = osmium.geom.WKBFactory()
    wanted = osmium.filter.KeyFilter(*keys)
    only = osmium.filter.EntityFilter(osmium.osm.AREA)

    def shape(area: Any) -> Any:
        try:
            return shapely.from_wkb(bytes.fromhex(factory.create_multipolygon(area)))
        except RuntimeError:  # libosmium: an invalid area
            return None

    try:
        file = osmium.FileProcessor(str(path)).with_areas(wanted)
        areas: Any = file.with_filter(only).with_filter(wanted)
        for area in areas:
            kind = "way" if area.from_way() else "relation"
            yield f"{kind}/{area.orig_id()}", dict(area.tags), shape(area)
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"cannot read {printable(str(path))!r} as an OpenStreetMap extract: {error}",
            "Extracts are .osm.pbf, .osm, .osm.bz2 or .o5m.",
            "Fetch it again if it is incomplete.",
        ) from error


def _of_vectors(
    path: str | Path, keys: set[str] | frozenset[str]
) -> Iterator[tuple[str, dict[str, str], Any]]:
    """Yield the rows of a vector file: number, columns that rules ask for, and the shape."""
    names, columns, shapes = read_vectors(path, keys)
    width = len(str(max(len(shapes) - 1, 0)))
    for row, shape in enumerate(shapes):
        values = ((name, column[row]) for name, column in zip(names, columns, strict=True))
        tags = {name: _text(value) for name, value in values if not _null(value)}
        yield f"row/{row:0{width}d}", tags, shape


def _null(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124  (NaN)


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return str(value)


def read_vectors(
    path: str | Path, wanted: set[str] | frozenset[str]
) -> tuple[list[str], list[list[Any]], NDArray[np.object_]]:
    """Read a vector file.

    Args:
        path: GeoJSON, GeoPackage, FlatGeobuf, Shapefile, GeoParquet and the like.
        wanted: Names of columns to read, of those that there are.

    Returns:
        The names of the columns, their values, and (n,) shapes in longitude and latitude.

    Raises:
        DataError: It cannot be read, or has no geometry on the Earth.
    """
    if Path(path).suffix.lower() in TABLES:
        return _of_parquet(path, wanted)
    import pyogrio.errors
    import shapely

    name = repr(printable(str(path)))
    try:
        known = set(pyogrio.read_info(path)["fields"].tolist())
        columns = sorted(known & wanted)
        meta, _, wkb, fields = pyogrio.raw.read(path, columns=columns)
        shapes = np.asarray(shapely.from_wkb(wkb), dtype=object)
    except (pyogrio.errors.DataSourceError, shapely.errors.ShapelyError, ValueError) as error:
        raise DataError(
            f"cannot read {name} as polygons: {error}",
            "Polygons are GeoJSON, GeoPackage, FlatGeobuf, Shapefile or GeoParquet, or an "
            "OpenStreetMap extract (.osm.pbf).",
        ) from error
    there = None if meta["crs"] is None else transformer(meta["crs"], WGS84)
    if there is None:
        raise DataError(
            f"the polygons {name} are in the CRS {meta['crs']}",
            "They need one that leads to longitude and latitude.",
            f"State it: ogr2ogr -a_srs {WGS84} OUT.gpkg IN",
        )
    shapes = shapely.transform(
        shapely.force_2d(shapes), lambda xy: np.stack(there.transform(*xy.T), axis=1)
    )
    order = meta["fields"].tolist()
    return order, [list(column) for column in fields], shapes


def _of_parquet(
    path: str | Path, wanted: set[str] | frozenset[str]
) -> tuple[list[str], list[list[Any]], NDArray[np.object_]]:
    table = read_parquet(path)
    column, shapes = read_shapes(
        table, path, "Anchors are polygons in longitude and latitude, or in a CRS that leads there."
    )
    names = [name for name in table.column_names if name in wanted and name != column]
    return names, [table[name].to_pylist() for name in names], shapes
