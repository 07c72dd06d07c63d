"""What is true of tiles: the share of each that shows a concept, from masks and from objects.

Objects are features of GeoJSON with a property ``kind``. Where they lie is told by the pixels of
a scene (properties ``scene, y, x, h, w``) or by their geometry (longitude and latitude, WGS84).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.documents import read_document
from foveate.errors import DataError, ParameterError
from foveate.models.heads.base import same_name
from foveate.pool.names import Names
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.grid import Tiles
    from foveate.observe.concepts import Concept
    from foveate.pool import Pool

_BOX = ("y", "x", "h", "w")

logger = logging.getLogger("foveate")


@dataclass(frozen=True)
class Objects:
    """Things that were seen, one by one.

    Attributes:
        path: The file they are from.
        kinds: What each of the m objects is.
        scenes: The scene that each names; empty where it names none.
        boxes: (m, 4) float64 ``y, x, h, w`` in pixels of that scene; NaN where not given.
        shapes: (m,) geometries in longitude and latitude, or None.
    """

    path: str
    kinds: tuple[str, ...]
    scenes: tuple[str, ...]
    boxes: NDArray[np.float64]
    shapes: NDArray[np.object_]


def read_objects(path: str | Path) -> Objects:
    """Read objects from GeoJSON, a FeatureCollection.

    Raises:
        DataError: The file cannot be read, is something else, or a feature (named by its number)
            has no kind, or no place.
    """
    content = read_document(path, "objects", "Objects are GeoJSON.", "JSON")
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list):
        raise DataError(
            f"{str(path)!r} is no FeatureCollection",
            "Objects are GeoJSON features with a property 'kind'.",
        )
    found = [
        _feature(item, f"the object number {i} of {str(path)!r}")
        for i, item in enumerate(features, 1)
    ]
    shapes = np.empty(len(found), dtype=object)
    shapes[:] = [shape for _, _, _, shape in found]
    return Objects(
        path=str(path),
        kinds=tuple(kind for kind, _, _, _ in found),
        scenes=tuple(scene for _, scene, _, _ in found),
        boxes=np.array([box for _, _, box, _ in found], np.float64).reshape(-1, 4),
        shapes=shapes,
    )


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


def _feature(item: Any, what: str) -> tuple[str, str, list[float], Any]:
    """Return kind, scene, box and geometry of a feature."""
    properties = item.get("properties") if isinstance(item, dict) else None
    kind = properties.get("kind") if isinstance(properties, dict) else None
    if not isinstance(properties, dict) or not isinstance(kind, str) or not kind.strip():
        raise DataError(f"{what} has no kind", "Its property 'kind' says what it is.")
    values = [properties.get(name) for name in _BOX]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    box = [float(v) for v in values if v is not None] if numbers else [np.nan] * 4
    geometry = item.get("geometry")
    shape = None if geometry is None else _shape(geometry, what)
    scene = properties.get("scene")
    if shape is None and not (numbers and isinstance(scene, str)):
        raise DataError(
            f"{what} lies nowhere",
            "It has a geometry, or the properties scene, y, x, h, w in pixels.",
        )
    return kind, scene if isinstance(scene, str) else "", box, shape


def _shape(geometry: Any, what: str) -> Any:
    import shapely
    from shapely.geometry import shape

    try:
        return shape(geometry)
    except (
        shapely.errors.ShapelyError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:
        raise DataError(f"{what} has a geometry that cannot be read: {error}") from error


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
        logger.warning("none of the %d objects of %r lies in a tile", code.size, objects.path)
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
        scene = objects.scenes[lost[0]]
        raise DataError(
            f"the object number {lost[0] + 1} of {objects.path!r} lies in no scene: it names "
            + (f"{scene!r}" if scene else "none")
            + ("" if pool.georeferenced else ", and the scenes are not georeferenced"),
            "Objects name one of the scenes (scene, y, x, h, w in pixels), or have a geometry "
            "(longitude and latitude) where all scenes are georeferenced.",
            f"Scenes: {', '.join(scene.scene_id for scene in pool.scenes[:5])}.",
        )
    tree = shapely.STRtree(pool.footprints())
    which, tile = tree.query(objects.shapes[rest], predicate="intersects")
    return np.stack([rest[which], tile])
