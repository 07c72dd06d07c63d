"""Ground truth of tiles: the share of each that shows a concept, from masks and from objects.

Objects are GeoJSON features with a property ``kind``. They are located by the pixels of a scene
(properties ``scene, y, x, h, w``) or by their geometry: longitude and latitude on WGS84, or what a
member ``crs`` of the file names, as GeoJSON had it until 2016 and GDAL still writes it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.documents import read_document
from foveate.errors import DataError, ParameterError
from foveate.models.heads import same_name
from foveate.pool.antimeridian import cut, joined
from foveate.pool.names import Names
from foveate.raster.place import WGS84, transformer
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from pyproj import Transformer

    from foveate.grid import Tiles
    from foveate.observe.concepts import Concept
    from foveate.pool import Pool

_BOX = ("y", "x", "h", "w")
_TURN = 360.0  # degrees: longitudes go that far either way
_VECTORS = (".gpkg", ".shp", ".fgb", ".gml", ".kml", ".kmz", ".parquet", ".geoparquet", ".zip")


@dataclass(frozen=True)
class Objects:
    """Things that were seen, one by one.

    Attributes:
        path: The file they are from.
        kinds: What each of the m objects is.
        scenes: The scene that each names; empty where it names none.
        boxes: (m, 4) float64 ``y, x, h, w`` in pixels of that scene; NaN where not given.
        shapes: (m,) geometries in longitude and latitude, or None; cut at 180 degrees, see `cut`.
    """

    path: str
    kinds: tuple[str, ...]
    scenes: tuple[str, ...]
    boxes: NDArray[np.float64]
    shapes: NDArray[np.object_]


def read_objects(path: str | Path) -> Objects:
    """Read objects from GeoJSON, a FeatureCollection.

    Longitudes beyond 180 are taken for the places that they mean, and a shape that is wider than
    half the globe for one across 180 degrees.

    Raises:
        DataError: The file cannot be read, is something else, is in a CRS that does not lead to the
            Earth, or a feature (named by its number) has no kind, no place, or none on the Earth.
    """
    content = _read(path)
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list):
        raise DataError(
            f"{str(path)!r} is no FeatureCollection",
            "Objects are GeoJSON features with a property 'kind'.",
        )
    there = _reader(content.get("crs"), path)
    found = [
        _feature(item, f"the object number {i} of {str(path)!r}", there)
        for i, item in enumerate(features, 1)
    ]
    shapes = np.empty(len(found), dtype=object)
    shapes[:] = [shape for _, _, _, shape in found]
    return Objects(
        path=str(path),
        kinds=tuple(kind for kind, _, _, _ in found),
        scenes=tuple(scene for _, scene, _, _ in found),
        boxes=np.array([box for _, _, box, _ in found], np.float64).reshape(-1, 4),
        shapes=cut(joined(shapes)),
    )


def _read(path: str | Path) -> Any:
    suffix = Path(path).suffix.lower()
    convert = f"Convert it: ogr2ogr -t_srs {WGS84} OBJECTS.geojson {path}"
    if suffix in _VECTORS:
        raise DataError(f"objects in {str(path)!r}", "Objects are read from GeoJSON.", convert)
    return read_document(path, "objects", "Objects are GeoJSON.", "JSON")


def _reader(crs: Any, path: str | Path) -> Transformer | None:
    """Return what takes the coordinates of a file to longitude and latitude; None where they are.

    Raises:
        DataError: It names a CRS that cannot be used.
    """
    from pyproj.exceptions import CRSError

    if crs is None:
        return None
    given = crs.get("properties") if isinstance(crs, dict) else None
    named = (given.get("name") or given.get("code")) if isinstance(given, dict) else None
    named = crs if isinstance(crs, str) else named
    try:
        there = transformer(f"EPSG:{named}" if isinstance(named, int) else str(named))
    except CRSError:
        there = None
    if there is None:
        raise DataError(
            f"{str(path)!r} is in the CRS {json.dumps(named if named is not None else crs)}",
            "Its member 'crs' names one that leads to longitudes and latitudes of the Earth.",
            f"Convert it where the CRS is known: ogr2ogr -t_srs {WGS84} OBJECTS.geojson {path}",
        )
    return there


def _feature(item: Any, what: str, there: Transformer | None) -> tuple[str, str, list[float], Any]:
    """Return kind, scene, box and geometry of a feature."""
    properties = item.get("properties") if isinstance(item, dict) else None
    kind = properties.get("kind") if isinstance(properties, dict) else None
    if not isinstance(properties, dict) or not isinstance(kind, str) or not kind.strip():
        raise DataError(f"{what} has no kind", "Its property 'kind' says what it is.")
    values = [properties.get(name) for name in _BOX]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    box = [float(v) for v in values if v is not None] if numbers else [np.nan] * 4
    geometry = item.get("geometry")
    shape = None if geometry is None else _shape(geometry, what, there)
    scene = properties.get("scene")
    if shape is None and not (numbers and isinstance(scene, str)):
        raise DataError(
            f"{what} lies nowhere",
            "It has a geometry, or the properties scene, y, x, h, w in pixels.",
        )
    return kind, scene if isinstance(scene, str) else "", box, shape


def _shape(geometry: Any, what: str, there: Transformer | None) -> Any:
    """Return a geometry in longitude and latitude, None for an empty one.

    Raises:
        DataError: It cannot be read, or does not lie on the Earth.
    """
    import shapely
    from shapely.geometry import shape

    try:
        found = shapely.force_2d(shape(geometry))
        at = shapely.get_coordinates(found)
        ok = bool(np.isfinite(at).all())
    except (
        shapely.errors.ShapelyError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:
        raise DataError(
            f"{what} has a geometry that cannot be read: {error}",
            "Geometries are those of GeoJSON: Point, LineString, Polygon, and several of them.",
        ) from error
    if ok and not at.size:
        return None
    if ok and there is not None:
        found = shapely.transform(found, _through(there))
        at = shapely.get_coordinates(found)
        ok = bool(np.isfinite(at).all())
    if not ok or np.abs(at[:, 0]).max() > _TURN or np.abs(at[:, 1]).max() > 90:
        x, y = shapely.get_coordinates(shape(geometry))[0]
        raise DataError(
            f"{what} lies at x = {x:.10g}, y = {y:.10g}",
            "Longitude comes first and is from -180 to 180, latitude from -90 to 90 degrees"
            + (", unless the file names another CRS." if there is None else " in that CRS."),
            "Exchange the two where latitude comes first; where they are in another CRS, state and "
            f"convert it: ogr2ogr -s_srs EPSG:... -t_srs {WGS84} OBJECTS.geojson FILE",
        )
    return found


def _through(there: Transformer) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda xy: np.stack(there.transform(*xy.T), axis=1)


logger = logging.getLogger("foveate")


def check_known(concepts: Sequence[Concept], classes: Iterable[str], kinds: Iterable[str]) -> None:
    """Check that there are the classes and kinds that concepts are made of.

    Raises:
        ParameterError: There is no such class or kind; the message suggests the nearest one.
    """
    known = list(dict.fromkeys([*classes, *kinds]))
    spelled = {same_name(name) for name in known}
    for concept in concepts:
        for name in concept.classes:
            if same_name(name) not in spelled:
                own = "" if name == concept.name else f", of the concept {concept.name!r},"
                raise ParameterError(
                    f"there is no class {name!r}{own} among the masks and objects",
                    f"Known: {', '.join(known)}. A concept without a truth has 'classes: []'.",
                    suggest(name, known),
                )


def concept_shares(
    pool: Pool, concepts: Sequence[Concept], objects: Objects | None = None
) -> NDArray[np.float32]:
    """Return the share of each tile that shows each concept.

    From masks it is the share of labelled pixels that have one of the concept's classes. An object
    of one of its kinds that lies in the tile, or partly, makes it 1; without one it is 0.

    Args:
        pool: n measured tiles, with class counts where there are masks.
        concepts: K of them.
        objects: What was seen one by one.

    Returns:
        (n, K) float32; NaN where it is not known: a tile without labelled pixels, a concept
        without classes.

    Raises:
        ParameterError: No such class or kind.
        DataError: An object lies nowhere: it names no scene, and the scenes are not georeferenced.
    """
    names = pool.legend.names if pool.legend is not None and pool.counts is not None else ()
    check_known(concepts, names, objects.kinds if objects else ())
    seen = _touched(pool, objects) if objects else {}
    shares = np.full((len(pool), len(concepts)), np.nan, np.float32)
    total = np.zeros(len(pool)) if pool.counts is None else pool.counts.sum(axis=1)
    for k, concept in enumerate(concepts):
        wanted = {same_name(name) for name in concept.classes}
        columns = [i for i, name in enumerate(names) if same_name(name) in wanted]
        if pool.counts is not None and columns:
            part = pool.counts[:, columns].sum(axis=1)
            shares[total > 0, k] = part[total > 0] / total[total > 0]
        kinds = [hit for kind, hit in seen.items() if same_name(kind) in wanted]
        if kinds:
            hit = np.logical_or.reduce(kinds)
            rest = shares[:, k] if columns else np.float32(0)
            shares[:, k] = np.where(hit, np.float32(1), rest)
    return shares


def present(shares: NDArray[np.float32], concepts: Sequence[Concept]) -> NDArray[np.bool_]:
    """Return (n, K) bool: which tiles show which concepts; False where it is not known.

    Args:
        shares: (n, K); see `concept_shares`.
        concepts: K, each with its own smallest share.
    """
    least = np.array([concept.min_share for concept in concepts], np.float32)
    return np.nan_to_num(shares, nan=-1.0) >= least


def _touched(pool: Pool, objects: Objects) -> dict[str, NDArray[np.bool_]]:
    """Return kind -> (n,) bool: whether an object of that kind lies in a tile, or partly."""
    kinds, code = np.unique(np.array(objects.kinds, np.str_), return_inverse=True)
    hit = np.zeros((kinds.size, len(pool)), bool)
    names = Names((scene.scene_id for scene in pool.scenes), f"the file {objects.path!r}")
    named = np.array(
        [names.look_up(name) or "" if name else "" for name in objects.scenes], np.str_
    )
    boxed = (named != "") & np.isfinite(objects.boxes).all(axis=1)
    assert pool.tiles is not None  # noqa: S101  (pairs are cut from scenes)
    rows = dict(pool.tiles.per_scene())
    for i in np.flatnonzero(boxed):
        here = rows.get(str(named[i]), np.empty(0, np.int64))
        hit[code[i], _by_pixels(pool.tiles, here, objects.boxes[i])] = True
    if not boxed.all():
        which, tile = _by_ground(pool, objects, np.flatnonzero(~boxed))
        hit[code[which], tile] = True
    if len(objects.kinds) and not hit.any():
        text = "none of the %d objects of %r lies in a tile%s"
        logger.warning(text, code.size, objects.path, _exchanged(pool, objects))
    return dict(zip(kinds.tolist(), hit, strict=True))


def _by_pixels(
    tiles: Tiles,
    here: NDArray[np.int64],
    box: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return those of the rows `here` whose windows a box touches."""
    y, x, h, w = box
    # A point is taken for the pixel that it lies in.
    inside = (tiles.y[here] < y + max(h, 1)) & (y < tiles.y[here] + tiles.h[here])
    inside &= (tiles.x[here] < x + max(w, 1)) & (x < tiles.x[here] + tiles.w[here])
    return here[inside]


def _by_ground(pool: Pool, objects: Objects, rest: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (2, m): which of the objects `rest` touches which tile.

    Raises:
        DataError: One has no geometry, or the scenes no georeference.
    """
    import shapely

    lost = [i for i in rest if objects.shapes[i] is None or not pool.georeferenced]
    if lost:
        raise nowhere(pool, objects, lost[0])
    tree = shapely.STRtree(pool.footprints())
    which, tile = tree.query(objects.shapes[rest], predicate="intersects")
    return np.stack([rest[which], tile])


def nowhere(pool: Pool, objects: Objects, number: int) -> DataError:
    """Return the error on an object that lies in no scene, by the row of it."""
    scene = objects.scenes[number]
    return DataError(
        f"the object number {number + 1} of {objects.path!r} lies in no scene: it names "
        + (f"{scene!r}" if scene else "none")
        + (f", and the scenes are not georeferenced: {pool.unplaced}" if pool.unplaced else ""),
        "Objects name one of the scenes (scene, y, x, h, w in pixels), or have a geometry "
        "(longitude and latitude) where all scenes lie on the Earth.",
        f"Scenes: {', '.join(scene.scene_id for scene in pool.scenes[:5])}.",
    )


def _exchanged(pool: Pool, objects: Objects) -> str:
    """Say if objects that lie in no tile would with longitude and latitude exchanged."""
    import shapely

    shapes = np.array([shape for shape in objects.shapes if shape is not None], dtype=object)
    if not (shapes.size and pool.georeferenced):
        return ""
    turned = shapely.transform(shapes, lambda xy: xy[:, ::-1])
    which, _ = shapely.STRtree(pool.footprints()).query(turned, predicate="intersects")
    found = np.unique(which).size
    return f"; {found} would with x and y exchanged: longitude comes first" if found else ""
