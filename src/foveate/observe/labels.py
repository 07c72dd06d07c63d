"""What is true of tiles: the share of each that shows a concept, from masks and from objects."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.models.heads import same_name
from foveate.pool.names import Names
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from foveate.grid import Tiles
    from foveate.observe.concepts import Concept
    from foveate.observe.objects import Objects
    from foveate.pool import Pool

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
