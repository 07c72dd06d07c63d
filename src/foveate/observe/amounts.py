"""Amount of a concept in each tile: what is summed to a total.

Area comes from masks, the number of things from objects, presence from either. A thing that lies in
several tiles counts in the one with its centre, so that tiles add up to the number of things. Where
there are no labels a person looks: a plan of the drawn tiles is written, and the answers are read.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import read_text, write_bytes, write_geojson
from foveate.models.heads import same_name
from foveate.observe._check import choose
from foveate.observe.labels import not_located, present, read_objects
from foveate.observe.options import Quantity
from foveate.observe.pairs import prepared_job
from foveate.pool.antimeridian import middles
from foveate.pool.names import Names
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from foveate.observe.concepts import Concept
    from foveate.observe.labels import Objects
    from foveate.observe.pairs import Pairs
    from foveate.observe.totals import Drawn
    from foveate.pool import Pool

_SAME = 1e-6  # of probabilities that were written and read
_WHOLE = 1.01  # of a tile's ground, for a person's rounding
SUFFIXES = (".csv", ".geojson")


def unit_of(pool: Pool, of: str) -> str:
    """Return what amounts are counted in: "m2" (or "pixels"), "tiles" or "objects"."""
    if of == "area":
        return "m2" if pool.georeferenced else "pixels"
    return "tiles" if of == "tiles" else "objects"


def ground(pool: Pool) -> NDArray[np.float64]:
    """Return (n,) ground of each tile: square metres, or pixels without a georeference."""
    return pool.costs()["area" if pool.georeferenced else "pixels"]


def concept_of(pairs: Pairs, name: str) -> Concept:
    """Return a concept of pairs by name.

    Raises:
        ParameterError: There is none of that name, with a suggestion.
    """
    for concept in pairs.concepts:
        if same_name(concept.name) == same_name(name):
            return concept
    known = [concept.name for concept in pairs.concepts]
    raise ParameterError(
        f"there is no concept {name!r}",
        f"These pairs know {', '.join(known)}." if known else "These pairs were made without any.",
        suggest(name, known),
    )


def amounts(
    pairs: Pairs, what: str, of: str, *, objects: Objects | None = None
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """Return what looks up how much of a concept there is in given tiles.

    Args:
        pairs: Pairs with labels.
        what: Name of a concept.
        of: "area": its share of the labelled pixels times the ground of the tile, by masks;
            "tiles": 1 where the tile shows it; "count": objects with their middle in the tile.
        objects: The objects; for "count".

    Returns:
        From (m,) rows of the pool to (m,) float64; NaN where it is not known. Labels of other
        tiles are not looked at.

    Raises:
        ParameterError: No such concept, or amounts of another name.
        DataError: Nothing tells these amounts of this concept.
    """
    choose(of, get_args(Quantity), "of")
    concept = concept_of(pairs, what)
    if of == "area":
        return _areas(pairs.pool, concept)
    if of == "count":
        return _counts(pairs.pool, concept, objects)
    shares, number = pairs.shares, pairs.concepts.index(concept)
    if shares is None:
        pairs.present()  # which says what is missing
    assert shares is not None  # noqa: S101  (as it has not raised)

    def look(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        own = shares[rows, number : number + 1]
        return np.where(np.isnan(own), np.nan, present(own, [concept]))[:, 0]

    return look


def known(pairs: Pairs, what: str, of: str) -> NDArray[np.bool_]:
    """Return (n,) bool: for which tiles there are labels, whatever they say.

    Raises:
        ParameterError: No such concept.
    """
    concept = concept_of(pairs, what)
    if of == "count":
        return np.ones(len(pairs), bool)
    if of == "area" and pairs.pool.counts is not None:
        return pairs.pool.counts.sum(axis=1) > 0
    if pairs.shares is None:
        return np.zeros(len(pairs), bool)
    return np.isfinite(pairs.shares[:, pairs.concepts.index(concept)])


def objects_of(path: str | Path) -> Objects | None:
    """Read the objects that pairs were prepared with, or None.

    Raises:
        DataError: There are no pairs, or the file is gone.
    """
    job = prepared_job(path)
    return read_objects(job.objects) if job.objects else None


def _areas(pool: Pool, concept: Concept) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    names = pool.legend.names if pool.legend is not None else ()
    wanted = {same_name(name) for name in concept.classes}
    columns = [i for i, name in enumerate(names) if same_name(name) in wanted]
    counts = pool.counts
    if counts is None or not columns:
        raise DataError(
            f"no mask has a class of the concept {concept.name!r}",
            "Areas are told by masks. " + (f"Classes: {', '.join(names)}." if names else ""),
            "--quantity count for objects, --quantity tiles for either",
        )

    def look(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        found = counts[rows].astype(np.float64)
        total = found.sum(axis=1)
        share = found[:, columns].sum(axis=1) / np.where(total > 0, total, np.nan)
        return share * ground(pool)[rows]

    return look


def _counts(
    pool: Pool, concept: Concept, objects: Objects | None
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    wanted = {same_name(name) for name in concept.classes}
    own = [
        i for i, kind in enumerate(objects.kinds if objects else ()) if same_name(kind) in wanted
    ]
    if objects is None or not own:
        kinds = ", ".join(sorted(set(objects.kinds))) if objects else "none"
        raise DataError(
            f"no object is of a kind of the concept {concept.name!r}",
            f"Numbers are told by objects. Kinds: {kinds}.",
            "--quantity area for masks, --quantity tiles for either",
        )
    tile = middle_tiles(pool, objects)[own]
    held = np.bincount(tile[tile >= 0], minlength=len(pool)).astype(np.float64)
    return lambda rows: held[rows]


def middle_tiles(pool: Pool, objects: Objects) -> NDArray[np.int64]:
    """Return (m,) the row of the tile that has the middle of each object; -1 where none has.

    Raises:
        DataError: An object lies nowhere: it names no scene, and the scenes are not georeferenced.
    """
    names = Names((scene.scene_id for scene in pool.scenes), f"the file {objects.path!r}")
    tiles = pool.tiles
    assert tiles is not None  # noqa: S101  (pairs are cut from scenes)
    rows = dict(tiles.per_scene())
    found = np.full(len(objects.kinds), -1)
    rest = []
    for i, name in enumerate(objects.scenes):
        scene = names.look_up(name) if name else None
        if scene is None or not np.isfinite(objects.boxes[i]).all():
            rest.append(i)
            continue
        y, x, h, w = objects.boxes[i]
        down, right = y + h / 2, x + w / 2
        here = rows.get(scene, np.empty(0, np.int64))
        hit = (tiles.y[here] <= down) & (down < tiles.y[here] + tiles.h[here])
        hit &= (tiles.x[here] <= right) & (right < tiles.x[here] + tiles.w[here])
        if hit.any():
            found[i] = here[hit][0]
    if rest:
        found[rest] = _by_ground(pool, objects, np.array(rest))
    return found


def _by_ground(pool: Pool, objects: Objects, rest: NDArray[np.int64]) -> NDArray[np.int64]:
    import shapely

    lost = [i for i in rest if objects.shapes[i] is None or not pool.georeferenced]
    if lost:
        raise not_located(pool, objects, lost[0])
    tree = shapely.STRtree(pool.footprints())
    points = shapely.points(*middles(objects.shapes[rest]))
    which, tile = tree.query(points, predicate="intersects")
    found = np.full(len(rest), -1)
    found[which[::-1]] = tile[::-1]  # on an edge: the first of the tiles
    return found


def write_plan(drawn: Drawn, path: str | Path) -> None:
    """Write the drawn tiles, with their probabilities.

    As CSV it has an empty column "value": filled in, it is what `read_answers` reads.

    Args:
        drawn: The draw.
        path: A file .csv, or .geojson where the scenes are georeferenced.

    Raises:
        ParameterError: Another kind of file.
        DataError: GeoJSON of scenes that are not georeferenced.
        StorageError: The file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ParameterError(
            f"a plan in {str(path)!r}", f"It is a file {' or '.join(SUFFIXES)}.", "--plan plan.csv"
        )
    pool, tiles = drawn.pairs.pool, drawn.tiles
    table = pool.tiles
    assert table is not None  # noqa: S101  (pairs are cut from scenes)
    unit = unit_of(pool, drawn.job.quantity)
    columns: dict[str, list[Any]] = {
        "tile_id": pool.ids[tiles].tolist(),
        "scene": table.scene[tiles].tolist(),
        "row": table.row[tiles].tolist(),
        "col": table.col[tiles].tolist(),
        "probability": drawn.probabilities.tolist(),
        "ground": ground(pool)[tiles].tolist(),
    }
    outlines = pool.take(tiles).footprints() if pool.georeferenced else None
    if suffix == ".geojson":
        if outlines is None:
            raise DataError(
                f"GeoJSON of scenes that are not georeferenced: {pool.unplaced}",
                "Its places are longitudes and latitudes on the Earth.",
                "--plan plan.csv",
            )
        import pyarrow as pa
        import shapely

        table_ = pa.table(
            {**columns, "unit": [unit] * len(tiles), "geometry": shapely.to_wkb(outlines)}
        )
        write_geojson(path, table_)
        return
    if outlines is not None:
        lon, lat = middles(outlines)
        columns |= {"longitude": lon.round(7).tolist(), "latitude": lat.round(7).tolist()}
    columns |= {"unit": [unit] * len(tiles), "value": [""] * len(tiles)}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_bytes(path, text.getvalue().encode())


def read_answers(drawn: Drawn, path: str | Path) -> NDArray[np.float64]:
    """Read what a person found in the drawn tiles.

    Args:
        drawn: The draw that the plan was written of: by the same job.
        path: CSV with the columns "tile_id" and "value": square metres (pixels without a
            georeference), 1 or 0, or numbers of things. Where it has a "probability", it has to be
            that of the draw.

    Returns:
        (n,) float64 values in the order of ``drawn.rows``.

    Raises:
        DataError: The file cannot be read, an answer is missing, there twice, no number or one
            that cannot be, or it is of another draw.
    """
    found = _rows(path)
    ids = drawn.pairs.pool.ids[drawn.tiles].tolist()
    strange = [name for name in found if name not in set(ids)]
    missing = [name for name in ids if name not in found]
    if strange or missing:
        raise DataError(
            f"{str(path)!r} is no answer to this draw: "
            + (f"{strange[0]!r} was not drawn" if strange else f"{missing[0]!r} has no value")
            + f" ({len(strange)} too many, {len(missing)} missing)",
            f"It has a value for each of the {len(ids)} tiles that were drawn.",
            "Give the options and the seed that the plan was written with.",
        )
    most = {"area": ground(drawn.pairs.pool)[drawn.tiles] * _WHOLE, "tiles": 1.0}
    limits = np.broadcast_to(most.get(drawn.job.quantity, np.inf), len(ids))
    values = np.empty(len(ids))
    for i, (name, pi) in enumerate(zip(ids, drawn.probabilities.tolist(), strict=True)):
        values[i], stated = found[name]
        whole = drawn.job.quantity == "area" or values[i] == np.floor(values[i])
        if not (0 <= values[i] <= limits[i] and whole):
            raise DataError(
                f"the value of {name!r} in {str(path)!r} is {values[i]:g}",
                {
                    "area": f"The tile has {limits[i] / _WHOLE:g} "
                    f"{unit_of(drawn.pairs.pool, 'area')}: 0 to that.",
                    "tiles": "1 where the tile shows it, else 0.",
                    "count": "A number of things: 0, 1, 2 and so on.",
                }[drawn.job.quantity],
            )
        if stated is not None and abs(stated - pi) > _SAME:
            raise DataError(
                f"{name!r} in {str(path)!r} was drawn with the probability {stated:g}, "
                f"here it is {pi:g}",
                "The answers are those to a plan.",
                "Give the options that the plan was written with.",
            )
    return values


def _rows(path: str | Path) -> dict[str, tuple[float, float | None]]:
    """Return tile id -> value and probability, if that is stated; rows without a value are none."""
    text = read_text(path, "table of answers")
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows, names = list(reader), reader.fieldnames or ()
    except csv.Error as error:
        raise DataError(f"cannot read {str(path)!r}: {error}") from error
    if not {"tile_id", "value"} <= set(names):
        raise DataError(
            f"{str(path)!r} has the columns {', '.join(names) or 'none'}",
            "Answers have tile_id and value.",
            "Fill in the column value of the plan.",
        )
    found: dict[str, tuple[float, float | None]] = {}
    for number, row in enumerate(rows, 2):
        name, value = row["tile_id"] or "", (row["value"] or "").strip()
        if not value:
            continue
        if name in found:
            raise DataError(f"{name!r} is in {str(path)!r} twice", "A tile has one value.")
        try:
            stated = (row.get("probability") or "").strip()
            found[name] = (float(value), float(stated) if stated else None)
        except ValueError as error:
            raise DataError(
                f"line {number} of {str(path)!r} has the value {value!r}", "Values are numbers."
            ) from error
    return found
