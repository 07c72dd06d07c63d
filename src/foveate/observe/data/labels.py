"""Ground truth of tiles: the share of each concept in each tile, from masks and objects.

Objects are GeoJSON features with a property ``kind``. They are located by pixels of a scene
(properties ``scene, y, x, h, w``) or by their geometry: longitude and latitude on WGS84, or in the
CRS of the file's member ``crs``, which GeoJSON had until 2016 and GDAL still writes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.documents import read_document
from foveate.errors import DataError, ParameterError
from foveate.models.heads import same_name
from foveate.pool.antimeridian import cut, joined
from foveate.pool.geojson import VECTORS, to_lonlat
from foveate.pool.names import Names
from foveate.raster.place import WGS84
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from pyproj import Transformer

    from foveate.grid import Tiles
    from foveate.observe.data.concepts import Concept
    from foveate.observe.data.pairs import Pairs
    from foveate.pool import Pool

_BOX = ("y", "x", "h", "w")
_MAX_LONGITUDE = 360.0  # degrees; longitudes beyond 180 are wrapped


@dataclass(frozen=True)
class Objects:
    """A list of located objects.

    Attributes:
        path: File of the objects.
        kinds: Kind of each of the m objects.
        scenes: Scene id of each object; empty if its feature has no scene.
        boxes: (m, 4) float64 ``y, x, h, w`` in pixels of that scene; NaN if not given.
        shapes: (m,) geometries in longitude and latitude, or None; cut at 180 degrees, see `cut`.
    """

    path: str
    kinds: tuple[str, ...]
    scenes: tuple[str, ...]
    boxes: NDArray[np.float64]
    shapes: NDArray[np.object_]


def read_objects(path: str | Path) -> Objects:
    """Read objects from a GeoJSON FeatureCollection.

    Longitudes beyond 180 are wrapped. A shape wider than half the globe is assumed to cross 180
    degrees.

    Raises:
        DataError: The file cannot be read, is not a FeatureCollection, or has a CRS that cannot be
            transformed to WGS84; or a feature (the message contains its number) has no kind, no
            location, or coordinates out of range.
    """
    content = _read(path)
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list):
        raise DataError(
            f"{str(path)!r} is not a FeatureCollection",
            "Objects must be GeoJSON features with a property 'kind'.",
        )
    move = to_lonlat(content.get("crs"), path)
    parsed = [
        _feature(item, f"the object number {i} of {str(path)!r}", move)
        for i, item in enumerate(features, 1)
    ]
    shapes = np.empty(len(parsed), dtype=object)
    shapes[:] = [shape for _, _, _, shape in parsed]
    return Objects(
        path=str(path),
        kinds=tuple(kind for kind, _, _, _ in parsed),
        scenes=tuple(scene for _, scene, _, _ in parsed),
        boxes=np.array([box for _, _, box, _ in parsed], np.float64).reshape(-1, 4),
        shapes=cut(joined(shapes)),
    )


def _read(path: str | Path) -> Any:
    suffix = Path(path).suffix.lower()
    convert = f"Convert it: ogr2ogr -t_srs {WGS84} OBJECTS.geojson {path}"
    if suffix in VECTORS:
        raise DataError(f"objects in {str(path)!r}", "Objects must be GeoJSON.", convert)
    return read_document(path, "objects", "Objects must be GeoJSON.", "JSON")


def _feature(item: Any, what: str, move: Transformer | None) -> tuple[str, str, list[float], Any]:
    """Return kind, scene, box and geometry of a feature."""
    properties = item.get("properties") if isinstance(item, dict) else None
    kind = properties.get("kind") if isinstance(properties, dict) else None
    if not isinstance(properties, dict) or not isinstance(kind, str) or not kind.strip():
        raise DataError(f"{what} has no kind", "The property 'kind' must be a non-empty string.")
    values = [properties.get(name) for name in _BOX]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    box = [float(v) for v in values if v is not None] if numbers else [np.nan] * 4
    geometry = item.get("geometry")
    shape = None if geometry is None else _shape(geometry, what, move)
    scene = properties.get("scene")
    if shape is None and not (numbers and isinstance(scene, str)):
        raise DataError(
            f"{what} has no location",
            "An object needs a geometry, or the properties scene, y, x, h, w in pixels.",
        )
    return kind, scene if isinstance(scene, str) else "", box, shape


def _shape(geometry: Any, what: str, move: Transformer | None) -> Any:
    """Return a geometry in longitude and latitude, None for an empty geometry.

    Raises:
        DataError: The geometry cannot be read, or its coordinates are out of range.
    """
    import shapely
    from shapely.geometry import shape

    try:
        parsed = shapely.force_2d(shape(geometry))
        xy = shapely.get_coordinates(parsed)
        ok = bool(np.isfinite(xy).all())
    except (
        shapely.errors.ShapelyError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:
        raise DataError(
            f"{what} has a geometry that cannot be read: {error}",
            "Allowed GeoJSON geometries: Point, LineString, Polygon, and their Multi types.",
        ) from error
    if ok and not xy.size:
        return None
    if ok and move is not None:
        parsed = shapely.transform(parsed, _transform_function(move))
        xy = shapely.get_coordinates(parsed)
        ok = bool(np.isfinite(xy).all())
    if not ok or np.abs(xy[:, 0]).max() > _MAX_LONGITUDE or np.abs(xy[:, 1]).max() > 90:
        x, y = shapely.get_coordinates(shape(geometry))[0]
        raise DataError(
            f"{what} is at x = {x:.10g}, y = {y:.10g}",
            "Coordinates must be longitude (-180 to 180), then latitude (-90 to 90), in degrees"
            + (", unless the file has a CRS." if move is None else ", in the CRS of the file."),
            "Exchange x and y if latitude comes first. If the coordinates are in another CRS, "
            f"convert the file: ogr2ogr -s_srs EPSG:... -t_srs {WGS84} OBJECTS.geojson FILE",
        )
    return parsed


def _transform_function(
    move: Transformer,
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda xy: np.stack(move.transform(*xy.T), axis=1)


logger = logging.getLogger("foveate")


def check_known(concepts: Sequence[Concept], classes: Iterable[str], kinds: Iterable[str]) -> None:
    """Check that the classes of concepts are among the mask classes and object kinds.

    Raises:
        ParameterError: A class or kind is unknown; the message suggests a similar name.
    """
    known = list(dict.fromkeys([*classes, *kinds]))
    spelled = {same_name(name) for name in known}
    for concept in concepts:
        for name in concept.classes:
            if same_name(name) not in spelled:
                own = "" if name == concept.name else f", of the concept {concept.name!r},"
                raise ParameterError(
                    f"there is no class {name!r}{own} among the masks and objects",
                    f"Known: {', '.join(known)}. Use 'classes: []' for a concept without labels.",
                    suggest(name, known),
                )


def concept_shares(
    pool: Pool, concepts: Sequence[Concept], objects: Objects | None = None
) -> NDArray[np.float32]:
    """Return the share of each concept in each tile.

    With masks, the share of labelled pixels that have one of the concept's classes. With objects, 1
    if an object of one of the concept's kinds intersects the tile, otherwise 0.

    Args:
        pool: n scanned tiles, with class counts if there are masks.
        concepts: K concepts.
        objects: Located objects, or None.

    Returns:
        (n, K) float32; NaN if unknown: a tile without labelled pixels, a concept without classes.

    Raises:
        ParameterError: A class or kind is unknown.
        DataError: An object cannot be located: it has no scene, and the scenes are not
            georeferenced.
    """
    names = pool.legend.names if pool.legend is not None and pool.counts is not None else ()
    check_known(concepts, names, objects.kinds if objects else ())
    intersected = _intersected(pool, objects) if objects else {}
    shares = np.full((len(pool), len(concepts)), np.nan, np.float32)
    total = np.zeros(len(pool)) if pool.counts is None else pool.counts.sum(axis=1)
    for k, concept in enumerate(concepts):
        classes = {same_name(name) for name in concept.classes}
        columns = [i for i, name in enumerate(names) if same_name(name) in classes]
        if pool.counts is not None and columns:
            part = pool.counts[:, columns].sum(axis=1)
            shares[total > 0, k] = part[total > 0] / total[total > 0]
        kinds = [hit for kind, hit in intersected.items() if same_name(kind) in classes]
        if kinds:
            hit = np.logical_or.reduce(kinds)
            otherwise = shares[:, k] if columns else np.float32(0)
            shares[:, k] = np.where(hit, np.float32(1), otherwise)
    return shares


def present(shares: NDArray[np.float32], concepts: Sequence[Concept]) -> NDArray[np.bool_]:
    """Return an (n, K) bool mask of the concepts present in each tile; False if unknown.

    Args:
        shares: (n, K); see `concept_shares`.
        concepts: K concepts, each with its `min_share`.
    """
    min_shares = np.array([concept.min_share for concept in concepts], np.float32)
    return np.nan_to_num(shares, nan=-1.0) >= min_shares


def _intersected(pool: Pool, objects: Objects) -> dict[str, NDArray[np.bool_]]:
    """Return kind -> (n,) bool mask of the tiles that an object of the kind intersects."""
    kinds, code = np.unique(np.array(objects.kinds, np.str_), return_inverse=True)
    hit = np.zeros((kinds.size, len(pool)), bool)
    names = Names((scene.scene_id for scene in pool.scenes), f"the file {objects.path!r}")
    scene_ids = np.array(
        [names.look_up(name) or "" if name else "" for name in objects.scenes], np.str_
    )
    boxed = (scene_ids != "") & np.isfinite(objects.boxes).all(axis=1)
    assert pool.tiles is not None  # noqa: S101  (pairs are cut from scenes)
    rows = dict(pool.tiles.per_scene())
    for i in np.flatnonzero(boxed):
        in_scene = rows.get(str(scene_ids[i]), np.empty(0, np.int64))
        hit[code[i], _tiles_of_box(pool.tiles, in_scene, objects.boxes[i])] = True
    if not boxed.all():
        which, tile = _tiles_of_shapes(pool, objects, np.flatnonzero(~boxed))
        hit[code[which], tile] = True
    if len(objects.kinds) and not hit.any():
        text = "none of the %d objects of %r intersects a tile%s"
        logger.warning(text, code.size, objects.path, _exchanged_axes(pool, objects))
    return dict(zip(kinds.tolist(), hit, strict=True))


def _tiles_of_box(
    tiles: Tiles,
    rows: NDArray[np.int64],
    box: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return the subset of `rows` whose windows intersect a box."""
    y, x, h, w = box
    # A point (h or w of 0) covers the pixel that contains it.
    inside = (tiles.y[rows] < y + max(h, 1)) & (y < tiles.y[rows] + tiles.h[rows])
    inside &= (tiles.x[rows] < x + max(w, 1)) & (x < tiles.x[rows] + tiles.w[rows])
    return rows[inside]


def _tiles_of_shapes(pool: Pool, objects: Objects, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (2, m) pairs of an object among `numbers` and a tile that it intersects.

    Raises:
        DataError: An object has no geometry, or the scenes have no georeference.
    """
    import shapely

    missing = [i for i in numbers if objects.shapes[i] is None or not pool.georeferenced]
    if missing:
        raise not_located(pool, objects, missing[0])
    tree = shapely.STRtree(pool.footprints())
    which, tile = tree.query(objects.shapes[numbers], predicate="intersects")
    return np.stack([numbers[which], tile])


def not_located(pool: Pool, objects: Objects, number: int) -> DataError:
    """Return the error for an object (row `number`) that cannot be located."""
    scene = objects.scenes[number]
    return DataError(
        f"the object number {number + 1} of {objects.path!r} cannot be located: its scene is "
        + (f"{scene!r}" if scene else "not given")
        + (f", and the scenes are not georeferenced: {pool.unplaced}" if pool.unplaced else ""),
        "Objects need one of the scenes (scene, y, x, h, w in pixels), or a geometry "
        "(longitude and latitude) if all scenes are georeferenced.",
        f"Scenes: {', '.join(scene.scene_id for scene in pool.scenes[:5])}.",
    )


def _exchanged_axes(pool: Pool, objects: Objects) -> str:
    """Return a hint if objects intersect tiles with longitude and latitude exchanged."""
    import shapely

    shapes = np.array([shape for shape in objects.shapes if shape is not None], dtype=object)
    if not (shapes.size and pool.georeferenced):
        return ""
    exchanged = shapely.transform(shapes, lambda xy: xy[:, ::-1])
    which, _ = shapely.STRtree(pool.footprints()).query(exchanged, predicate="intersects")
    count = np.unique(which).size
    return f"; {count} would with x and y exchanged (longitude comes first)" if count else ""


def labels_of_pairs(
    stated: tuple[Concept, ...], pairs: Pairs
) -> tuple[tuple[Concept, ...], NDArray[np.bool_] | None]:
    """Return the K concepts of a training, and the (n, K) bool labels of tiles, or None.

    Args:
        stated: Concepts of the job; empty: those of the pairs.
        pairs: The pairs.
    """
    if not stated:
        return pairs.concepts, None if pairs.shares is None else pairs.present()
    unknown = np.full(len(pairs), np.nan, np.float32)
    known = [shares_of_pairs(concept, pairs) for concept in stated]
    shares = np.stack([unknown if column is None else column for column in known], axis=1)
    return stated, None if np.isnan(shares).all() else present(shares, stated)


def shares_of_pairs(concept: Concept, pairs: Pairs) -> NDArray[np.float32] | None:
    """Return the (n,) shares of a concept in the tiles of pairs; None without labels of it.

    The labels of the pairs come first, then the masks, if they have all classes of the concept.
    """
    columns, classes = _labelled(pairs)
    if pairs.shares is not None and same_name(concept.name) in columns:
        return pairs.shares[:, columns[same_name(concept.name)]]
    if pairs.pool.counts is not None and set(map(same_name, concept.classes)) <= classes:
        return concept_shares(pairs.pool, [concept])[:, 0]
    return None


def check_texts(stated: Sequence[Concept], pairs: Pairs, templates: str) -> None:
    """Check the options of a training without a text model.

    Args:
        stated: Concepts of the job; empty: those of the pairs.
        pairs: The pairs.
        templates: Prompt templates of the job.

    Raises:
        ParameterError: A stated concept is unknown to the pairs, so that nothing defines it; or
            there are templates, which apply to texts.
    """
    columns, classes = _labelled(pairs)
    for concept in stated:
        if same_name(concept.name) not in columns and not (
            pairs.pool.counts is not None and set(map(same_name, concept.classes)) <= classes
        ):
            names = [known.name for known in pairs.concepts]
            raise ParameterError(
                f"the concept {concept.name!r} without a text model",
                "Concepts are defined by labels of the pairs or by texts. Labelled: "
                f"{', '.join(names) or 'none'}.",
                suggest(concept.name, names)
                or "Add --text-model MODEL, or prepare the pairs with masks or objects.",
            )
    if templates != "rs":
        raise ParameterError(
            f"--templates {templates!r} without a text model",
            "Templates are sentences around the texts of concepts.",
            "Add --text-model MODEL, or omit --templates.",
        )


def _labelled(pairs: Pairs) -> tuple[dict[str, int], set[str]]:
    """Return the column of each concept of pairs, and the mask classes, by `same_name`."""
    columns = {same_name(concept.name): k for k, concept in enumerate(pairs.concepts)}
    legend = pairs.pool.legend
    return columns, set() if legend is None else set(map(same_name, legend.names))
