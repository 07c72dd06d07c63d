"""Read polygons that show concepts from an OpenStreetMap extract or a vector file.

In OpenStreetMap, areas are closed ways or multipolygon relations; libosmium assembles both. Vector
files are GeoJSON, GeoPackage, FlatGeobuf, Shapefile (read with pyogrio) or GeoParquet; their
columns are the tags. Polygons that match no rule are dropped while reading.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import GIVEN, printable, read_parquet
from foveate.models.extras import EXTRAS, need_extra
from foveate.pool.outlines import read_shapes
from foveate.raster.place import WGS84, transformer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from foveate.observe.build.rules import Rules

OSM = (".osm.pbf", ".pbf", ".osm", ".osm.bz2", ".osm.gz", ".o5m")
TABLES = (".parquet", ".geoparquet")
_POLYGONS = (3, 6)  # type ids of shapely: polygon, multipolygon


@dataclass(frozen=True)
class Polygons:
    """Polygons that show concepts, sorted by id.

    Attributes:
        ids: (n,) "way/12", "relation/7", or "row/3" for vector files.
        shapes: (n,) valid polygons in longitude and latitude.
        shows: (n, K) bool: concepts of each polygon.
        regions: (n,) values of the region attribute, "" if missing.
        counts: Number of areas read, and of excluded areas by reason.
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
    """Return whether a file name is that of an OpenStreetMap extract."""
    return str(path).lower().endswith(OSM)


def need_reader(path: str | Path) -> None:
    """Check that a file of polygons exists and that the package to read it is installed.

    Raises:
        MissingExtraError: The package is not installed.
        DataError: The file does not exist.
    """
    if not Path(path).is_file():
        raise DataError(
            f"there is no file {printable(str(path))!r}",
            "Anchors are an OpenStreetMap extract or a vector file of polygons.",
            "Check the path.",
        )
    if Path(path).suffix.lower() not in TABLES:
        need_extra(EXTRAS["osm" if is_extract(path) else "vector"], f"reading {Path(path).name!r}")


def read_anchors(path: str | Path, rules: Rules, region: str = "") -> Polygons:
    """Read the polygons of a file that show a concept.

    Args:
        path: An OpenStreetMap extract or a vector file.
        rules: Rules that map tags to concepts.
        region: Tag or column with the region of a polygon; "" for none.

    Raises:
        MissingExtraError: The package to read the file is not installed.
        DataError: The file cannot be read, or none of its polygons shows a concept.
    """
    need_reader(path)
    keys = rules.keys | _all_keys(rules) | ({region} if region else set())
    counts = {"areas": 0, "without a concept": 0, "invalid": 0, "too small": 0}
    ids: list[str] = []
    shapes: list[Any] = []
    shown: list[list[int]] = []
    regions: list[str] = []
    areas = _osm_areas(path, rules) if is_extract(path) else _vector_areas(path, keys)
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
    polygons = Polygons(
        np.array(ids, np.str_), _to_array(shapes), shows, np.array(regions, np.str_), counts
    )
    polygons = _filter(polygons, rules)
    if not len(polygons):
        raise _no_polygons(path, rules, counts)
    return polygons


def _all_keys(rules: Rules) -> set[str]:
    entries = [entry for rule in rules.rules for entry in (*rule.tags, *rule.unless)]
    return {key for entry in entries for key, _ in entry}


def _to_array(shapes: list[Any]) -> NDArray[np.object_]:
    array = np.empty(len(shapes), object)
    array[:] = shapes
    return array


def _filter(polygons: Polygons, rules: Rules) -> Polygons:
    """Drop invalid and too small polygons, update the counts, and sort by id."""
    import shapely

    missing = np.array([shape is None for shape in polygons.shapes], bool)
    ok = ~missing & np.isin(shapely.get_type_id(polygons.shapes), _POLYGONS)
    ok &= shapely.is_valid(polygons.shapes) & ~shapely.is_empty(polygons.shapes)
    west, south, east, north = shapely.bounds(polygons.shapes).T
    with np.errstate(invalid="ignore"):
        ok &= (west >= -180) & (east <= 180) & (south >= -90) & (north <= 90)
    polygons.counts["invalid"] = int((~ok).sum())
    area = np.zeros(len(polygons))
    area[ok] = square_metres(polygons.shapes[ok])
    min_area = np.array([rule.min_area for rule in rules.rules])
    shows = polygons.shows & (area[:, None] >= min_area) & ok[:, None]
    kept = shows.any(axis=1)
    polygons.counts["too small"] = int((ok & ~kept).sum())
    order = np.flatnonzero(kept)
    order = order[np.argsort(polygons.ids[order], kind="stable")]
    return Polygons(
        polygons.ids[order], polygons.shapes[order], shows[order], polygons.regions[order],
        polygons.counts,
    )  # fmt: skip


def square_metres(shapes: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the areas of shapes in longitude and latitude, (n,) square metres.

    Uses the equal-area projection EPSG:6933 of the ellipsoid, in which edges are straight.
    """
    import shapely

    projection = transformer(WGS84, "EPSG:6933")
    assert projection is not None  # noqa: S101  (both CRS are terrestrial)

    def project(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(projection.transform(xy[:, 0], xy[:, 1]), axis=1)

    return shapely.area(shapely.transform(shapes, project))


def _no_polygons(path: str | Path, rules: Rules, counts: Mapping[str, int]) -> DataError:
    keys = sorted(rules.keys)
    return DataError(
        f"no area of {printable(str(path))!r} shows a concept: {counts['areas']} were read, "
        + ", ".join(f"{n} {why}" for why, n in counts.items() if why != "areas"),
        f"The rules use the tags {', '.join(keys[:8])}{' ...' if len(keys) > 8 else ''}.",
        "Give rules that fit the file (--rules FILE.toml), or another extract.",
    )


def _osm_areas(path: str | Path, rules: Rules) -> Iterator[tuple[str, dict[str, str], Any]]:
    """Yield id, tags and shape of the areas of an extract with any key of the rules.

    The shape of an invalid area is None.
    """
    import osmium.filter
    import osmium.geom
    import osmium.osm
    import shapely

    keys = sorted(rules.keys)
    factory = osmium.geom.WKBFactory()
    has_key = osmium.filter.KeyFilter(*keys)
    is_area = osmium.filter.EntityFilter(osmium.osm.AREA)

    def shape(area: Any) -> Any:
        try:
            return shapely.from_wkb(bytes.fromhex(factory.create_multipolygon(area)))
        except RuntimeError:  # libosmium: an invalid area
            return None

    try:
        file = osmium.FileProcessor(str(path)).with_areas(has_key)
        areas: Any = file.with_filter(is_area).with_filter(has_key)
        for area in areas:
            kind = "way" if area.from_way() else "relation"
            yield f"{kind}/{area.orig_id()}", dict(area.tags), shape(area)
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"cannot read {printable(str(path))!r} as an OpenStreetMap extract: {error}",
            "Extracts are .osm.pbf, .osm, .osm.bz2 or .o5m.",
            "Download it again if it is incomplete.",
        ) from error


def _vector_areas(
    path: str | Path, keys: set[str] | frozenset[str]
) -> Iterator[tuple[str, dict[str, str], Any]]:
    """Yield id, tags and shape of each row of a vector file."""
    names, columns, shapes = read_vectors(path, keys)
    width = len(str(max(len(shapes) - 1, 0)))
    for row, shape in enumerate(shapes):
        values = ((name, column[row]) for name, column in zip(names, columns, strict=True))
        tags = {name: _to_text(value) for name, value in values if not _is_null(value)}
        yield f"row/{row:0{width}d}", tags, shape


def _is_null(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124  (NaN)


def _to_text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return str(value)


def read_vectors(
    path: str | Path, wanted: set[str] | frozenset[str]
) -> tuple[list[str], list[list[Any]], NDArray[np.object_]]:
    """Read a vector file.

    Args:
        path: GeoJSON, GeoPackage, FlatGeobuf, Shapefile, GeoParquet or another format of pyogrio.
        wanted: Names of columns to read, if they exist.

    Returns:
        The names of the columns, their values, and (n,) shapes in longitude and latitude.

    Raises:
        DataError: The file cannot be read, or its CRS cannot be converted to longitude and
            latitude.
    """
    if Path(path).suffix.lower() in TABLES:
        return _read_parquet(path, wanted)
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
    projection = None if meta["crs"] is None else transformer(meta["crs"], WGS84)
    if projection is None:
        raise DataError(
            f"the polygons {name} are in the CRS {meta['crs']}",
            "The CRS must be convertible to longitude and latitude.",
            f"Assign it: ogr2ogr -a_srs {WGS84} OUT.gpkg IN",
        )
    shapes = shapely.transform(
        shapely.force_2d(shapes), lambda xy: np.stack(projection.transform(*xy.T), axis=1)
    )
    order = meta["fields"].tolist()
    return order, [list(column) for column in fields], shapes


def _read_parquet(
    path: str | Path, columns: set[str] | frozenset[str]
) -> tuple[list[str], list[list[Any]], NDArray[np.object_]]:
    table = read_parquet(path, hint=GIVEN)
    column, shapes = read_shapes(
        table, path,
        "Anchors are polygons in longitude and latitude, or in a CRS that can be converted.",
    )  # fmt: skip
    names = [name for name in table.column_names if name in columns and name != column]
    return names, [table[name].to_pylist() for name in names], shapes
