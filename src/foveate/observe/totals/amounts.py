"""Amounts of a concept in tiles, the terms of a total.

Area comes from masks, counts from objects, presence from either. An object that intersects several
tiles is counted in the tile of its centre, so that tiles add up to the number of objects. Without
labels, a plan of the drawn tiles is written for annotation, and the answers are read.
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
from foveate.observe.data.labels import not_located, present, read_objects
from foveate.observe.data.pairs import prepared_job
from foveate.observe.options import Quantity
from foveate.pool.antimeridian import middles
from foveate.pool.names import Names
from foveate.registry import check_choice, suggest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from foveate.observe.data.concepts import Concept
    from foveate.observe.data.labels import Objects
    from foveate.observe.data.pairs import Pairs
    from foveate.observe.totals.estimation import Drawn
    from foveate.pool import Pool

_TOLERANCE = 1e-6  # of probabilities written to and read from text
_MAX_AREA = 1.01  # relative to the area of a tile, allows for rounding by annotators
SUFFIXES = (".csv", ".geojson")


def unit_of(pool: Pool, of: str) -> str:
    """Return the unit of amounts: "m2" (or "pixels"), "tiles" or "objects"."""
    if of == "area":
        return "m2" if pool.georeferenced else "pixels"
    return "tiles" if of == "tiles" else "objects"


def ground(pool: Pool) -> NDArray[np.float64]:
    """Return the (n,) area of tiles in square metres, or pixels without a georeference."""
    return pool.costs()["area" if pool.georeferenced else "pixels"]


def concept_of(pairs: Pairs, name: str) -> Concept:
    """Return a concept of pairs by name.

    Raises:
        ParameterError: The concept is unknown; the message suggests a similar name.
    """
    for concept in pairs.concepts:
        if same_name(concept.name) == same_name(name):
            return concept
    known = [concept.name for concept in pairs.concepts]
    raise ParameterError(
        f"there is no concept {name!r}",
        f"Concepts of these pairs: {', '.join(known)}."
        if known
        else "These pairs were prepared without concepts.",
        suggest(name, known),
    )


def amounts(
    pairs: Pairs, what: str, of: str, *, objects: Objects | None = None
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """Return a function that looks up the amounts of a concept in tiles.

    Args:
        pairs: Pairs with labels.
        what: Name of a concept.
        of: "area": the share of labelled pixels times the area of the tile, from masks; "tiles": 1
            if the concept is present in the tile; "count": objects with their centre in the tile.
        objects: The objects, for "count".

    Returns:
        Function from (m,) rows of the pool to (m,) float64 amounts; NaN if unknown. Labels of other
        tiles are not used.

    Raises:
        ParameterError: The concept or the quantity is unknown.
        DataError: There are no labels for this quantity of the concept.
    """
    check_choice("of", of, get_args(Quantity))
    concept = concept_of(pairs, what)
    if of == "area":
        return _areas(pairs.pool, concept)
    if of == "count":
        return _counts(pairs.pool, concept, objects)
    shares, number = pairs.shares, pairs.concepts.index(concept)
    if shares is None:
        pairs.present()  # raises the error about missing labels
    assert shares is not None  # noqa: S101  (checked above)

    def look_up(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        column = shares[rows, number : number + 1]
        return np.where(np.isnan(column), np.nan, present(column, [concept]))[:, 0]

    return look_up


def known(pairs: Pairs, what: str, of: str) -> NDArray[np.bool_]:
    """Return an (n,) bool mask of the tiles with labels, whether positive or negative.

    Raises:
        ParameterError: The concept is unknown.
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
    """Read the objects that pairs were prepared with, or return None.

    Raises:
        DataError: There are no pairs, or the file is missing.
    """
    job = prepared_job(path)
    return read_objects(job.objects) if job.objects else None


def _areas(pool: Pool, concept: Concept) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    names = pool.legend.names if pool.legend is not None else ()
    classes = {same_name(name) for name in concept.classes}
    columns = [i for i, name in enumerate(names) if same_name(name) in classes]
    counts = pool.counts
    if counts is None or not columns:
        raise DataError(
            f"no mask has a class of the concept {concept.name!r}",
            "Areas are computed from masks. " + (f"Classes: {', '.join(names)}." if names else ""),
            "Use --quantity count for objects, or --quantity tiles for either.",
        )

    def look_up(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        pixels = counts[rows].astype(np.float64)
        total = pixels.sum(axis=1)
        share = pixels[:, columns].sum(axis=1) / np.where(total > 0, total, np.nan)
        return share * ground(pool)[rows]

    return look_up


def _counts(
    pool: Pool, concept: Concept, objects: Objects | None
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    classes = {same_name(name) for name in concept.classes}
    matching = [
        i for i, kind in enumerate(objects.kinds if objects else ()) if same_name(kind) in classes
    ]
    if objects is None or not matching:
        kinds = ", ".join(sorted(set(objects.kinds))) if objects else "none"
        raise DataError(
            f"no object is of a kind of the concept {concept.name!r}",
            f"Counts are computed from objects. Kinds: {kinds}.",
            "Use --quantity area for masks, or --quantity tiles for either.",
        )
    tile = middle_tiles(pool, objects)[matching]
    counts = np.bincount(tile[tile >= 0], minlength=len(pool)).astype(np.float64)
    return lambda rows: counts[rows]


def middle_tiles(pool: Pool, objects: Objects) -> NDArray[np.int64]:
    """Return the (m,) row of the tile that contains the centre of each object; -1 outside of tiles.

    Raises:
        DataError: An object cannot be located: it has no scene, and the scenes are not
            georeferenced.
    """
    names = Names((scene.scene_id for scene in pool.scenes), f"the file {objects.path!r}")
    tiles = pool.tiles
    assert tiles is not None  # noqa: S101  (pairs are cut from scenes)
    rows = dict(tiles.per_scene())
    result = np.full(len(objects.kinds), -1)
    by_geometry = []
    for i, name in enumerate(objects.scenes):
        scene = names.look_up(name) if name else None
        if scene is None or not np.isfinite(objects.boxes[i]).all():
            by_geometry.append(i)
            continue
        y, x, h, w = objects.boxes[i]
        centre_y, centre_x = y + h / 2, x + w / 2
        in_scene = rows.get(scene, np.empty(0, np.int64))
        top, left = tiles.y[in_scene], tiles.x[in_scene]
        hit = (top <= centre_y) & (centre_y < top + tiles.h[in_scene])
        hit &= (left <= centre_x) & (centre_x < left + tiles.w[in_scene])
        if hit.any():
            result[i] = in_scene[hit][0]
    if by_geometry:
        result[by_geometry] = _tiles_of_centres(pool, objects, np.array(by_geometry))
    return result


def _tiles_of_centres(
    pool: Pool, objects: Objects, numbers: NDArray[np.int64]
) -> NDArray[np.int64]:
    import shapely

    missing = [i for i in numbers if objects.shapes[i] is None or not pool.georeferenced]
    if missing:
        raise not_located(pool, objects, missing[0])
    tree = shapely.STRtree(pool.footprints())
    points = shapely.points(*middles(objects.shapes[numbers]))
    which, tile = tree.query(points, predicate="intersects")
    result = np.full(len(numbers), -1)
    result[which[::-1]] = tile[::-1]  # the first tile, for a centre on an edge
    return result


def write_plan(drawn: Drawn, path: str | Path) -> None:
    """Write the drawn tiles with their inclusion probabilities.

    A CSV file has an empty column "value"; when it is filled in, `read_answers` reads the file.

    Args:
        drawn: The drawn tiles.
        path: A .csv file, or .geojson for georeferenced scenes.

    Raises:
        ParameterError: The suffix is not allowed.
        DataError: The file is GeoJSON, and the scenes are not georeferenced.
        StorageError: The file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ParameterError(
            f"--plan {str(path)!r}",
            f"Allowed suffixes: {', '.join(SUFFIXES)}.",
            "For example --plan plan.csv.",
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
                "GeoJSON needs longitudes and latitudes.",
                "Use --plan plan.csv.",
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
    """Read the annotations of the drawn tiles.

    Args:
        drawn: The drawn tiles of the plan, from the same job.
        path: CSV with the columns "tile_id" and "value": square metres (pixels without a
            georeference), 1 or 0, or counts of objects. If there is a column "probability", it must
            match the draw.

    Returns:
        (n,) float64 values in the order of ``drawn.rows``.

    Raises:
        DataError: The file cannot be read; an answer is missing, duplicate, not a number or out of
            range; or the file belongs to another draw.
    """
    answers = _rows(path)
    ids = drawn.pairs.pool.ids[drawn.tiles].tolist()
    unknown = [name for name in answers if name not in set(ids)]
    missing = [name for name in ids if name not in answers]
    if unknown or missing:
        raise DataError(
            f"{str(path)!r} does not match this draw: "
            + (f"{unknown[0]!r} was not drawn" if unknown else f"{missing[0]!r} has no value")
            + f" ({len(unknown)} too many, {len(missing)} missing)",
            f"Expected a value for each of the {len(ids)} drawn tiles.",
            "Use the options and the seed of the plan.",
        )
    upper = {"area": ground(drawn.pairs.pool)[drawn.tiles] * _MAX_AREA, "tiles": 1.0}
    limits = np.broadcast_to(upper.get(drawn.job.quantity, np.inf), len(ids))
    values = np.empty(len(ids))
    for i, (name, pi) in enumerate(zip(ids, drawn.probabilities.tolist(), strict=True)):
        values[i], stated = answers[name]
        whole = drawn.job.quantity == "area" or values[i] == np.floor(values[i])
        if not (0 <= values[i] <= limits[i] and whole):
            raise DataError(
                f"the value of {name!r} in {str(path)!r} is {values[i]:g}",
                {
                    "area": f"It must be from 0 to {limits[i] / _MAX_AREA:g} "
                    f"{unit_of(drawn.pairs.pool, 'area')}, the area of the tile.",
                    "tiles": "It must be 1 (present) or 0 (absent).",
                    "count": "It must be a count: 0, 1, 2 and so on.",
                }[drawn.job.quantity],
            )
        if stated is not None and abs(stated - pi) > _TOLERANCE:
            raise DataError(
                f"{name!r} in {str(path)!r} has the probability {stated:g}, in this draw {pi:g}",
                "The answers must belong to the plan of this draw.",
                "Use the options and the seed of the plan.",
            )
    return values


def _rows(path: str | Path) -> dict[str, tuple[float, float | None]]:
    """Return tile id -> (value, probability or None), without rows that have no value."""
    text = read_text(path, "table of answers")
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows, names = list(reader), reader.fieldnames or ()
    except csv.Error as error:
        raise DataError(f"cannot read {str(path)!r}: {error}") from error
    if not {"tile_id", "value"} <= set(names):
        raise DataError(
            f"{str(path)!r} has the columns {', '.join(names) or 'none'}",
            "The columns tile_id and value, separated by commas, are required.",
            "Separate the columns by commas, and write decimals with a point."
            if any(mark in name for name in names for mark in ";\t")
            else "Fill in the column value of the plan.",
        )
    answers: dict[str, tuple[float, float | None]] = {}
    for number, row in enumerate(rows, 2):
        name, value = row["tile_id"] or "", (row["value"] or "").strip()
        if not value:
            continue
        if name in answers:
            raise DataError(f"{name!r} is in {str(path)!r} twice", "Tile ids must be unique.")
        try:
            stated = (row.get("probability") or "").strip()
            answers[name] = (float(value), float(stated) if stated else None)
        except ValueError as error:
            raise DataError(
                f"line {number} of {str(path)!r} has the value {value!r}",
                "Values must be numbers.",
            ) from error
    return answers
