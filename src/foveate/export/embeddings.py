"""Embeddings of a run as GeoParquet with STAC metadata.

``embeddings.parquet`` has one row per tile: id, scene, embedding (as stored, half floats) and
geometry, in the order of a Hilbert curve; its metadata key ``emb`` describes the vectors.
``collection.json`` and ``item.json`` have the same description as STAC with the embeddings
extension (``emb:``, version 0.0.1, a proposal), in STAC 1.0.0, which the schema of that version
refers to. ``model.json`` is the spec of the encoder.

`foveate curate embeddings.parquet` reads the file with identical ids and vectors.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.export.stac_items import (
    DATES,
    attributes_of,
    box_of,
    extent_of,
    link_to,
    need_place,
    period_of,
    temporal,
    when,
)
from foveate.export.table import GEOMETRY, Export, Target
from foveate.files import (
    as_json,
    atomic_folder,
    read_parquet,
    text_column,
    write_json,
    write_parquet,
)
from foveate.run import load_embeddings

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.embeddings import Embeddings

EXTENSION = "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"
STAC = "1.0.0"  # version of the core schemas that version 0.0.1 of the extension refers to
FILE, KEY = "embeddings.parquet", b"emb"
_ID = "embeddings"
_PARQUET = "application/vnd.apache.parquet"


def write(export: Export) -> None:
    """Write the folder.

    Raises:
        DataError: The run has no embeddings, or of several models, or no coordinates.
        ParameterError: Tiles have no date, and none is given.
        StorageError: The folder is not empty, or cannot be written.
    """
    run = export.run
    found = load_embeddings(run.path)
    path = run.path / "tiles.parquet"
    tiles = read_parquet(path) if path.is_file() else None
    if tiles is None or not np.array_equal(text_column(tiles, "tile_id"), found.ids):
        raise DataError(
            f"the embeddings of the run {str(run.path)!r} do not match its tiles",
            "Expected one vector per tile.", "Run the job again.",
        )  # fmt: skip
    need_place(run, tiles.column_names)
    dates = _dates(export, found.ids)
    about = _about(found, tiles)
    links = _links(export)
    with atomic_folder(export.path) as folder:
        emb = {**about, **_quantization(found), "links": links}
        table = _table(found, tiles).replace_schema_metadata({KEY: json.dumps(emb).encode()})
        write_parquet(folder / FILE, table, geo={GEOMETRY: None}, spatial=True)
        write_json(folder / "model.json", found.spec.to_dict())
        box = _whole(tiles)
        write_json(folder / "item.json", _item(found, box, dates, links))
        write_json(folder / "collection.json", _collection(export, about, box, dates, links))


def _table(found: Embeddings, tiles: pa.Table) -> pa.Table:
    import pyarrow as pa

    matrix = np.ascontiguousarray(found.x)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    columns: dict[str, Any] = {"id": tiles["tile_id"]}
    if "scene" in tiles.column_names:
        columns["scene"] = tiles["scene"]
    return pa.table({**columns, "embedding": vectors, GEOMETRY: tiles[GEOMETRY]})


def _about(found: Embeddings, tiles: pa.Table) -> dict[str, Any]:
    """Return the properties of the extension that are common to all vectors."""
    layout = _layout(tiles)
    return {
        "emb:type": "chip", "emb:dimensions": int(found.x.shape[1]),
        "data_type": found.x.dtype.name, **({"emb:chip_layout": layout} if layout else {}),
    }  # fmt: skip


def _layout(tiles: pa.Table) -> dict[str, Any]:
    """Return the layout of the tiles; {} without windows."""
    if not {"scene", "y", "x", "h", "w"} <= set(tiles.column_names):
        return {}
    y, x, h, w = (tiles[name].to_numpy() for name in ("y", "x", "h", "w"))
    if (h != h[0]).any() or (w != w[0]).any():
        return {"layout_type": "variable_grid"}
    size = [int(h[0]), int(w[0])]
    steps = [_step(values) for values in (y, x)]
    regular = all(steps) and not (y % (steps[0] or 1)).any() and not (x % (steps[1] or 1)).any()
    if not regular:
        return {"layout_type": "variable_grid", "chip_size": size}
    return {"layout_type": "regular_grid", "chip_size": size, "stride": steps}


def _step(values: NDArray[np.integer]) -> int | None:
    """Return the smallest distance between different positions along an axis, or None."""
    positions = np.unique(values)
    return int(np.diff(positions).min()) if positions.size > 1 else None


def _quantization(found: Embeddings) -> dict[str, Any]:
    stored, made = found.x.dtype.name, found.spec.dtype
    if stored == made:
        return {}
    facts = {
        "method": "rounded to the stored type",
        "original_dtype": made,
        "quantized_dtype": stored,
    }
    return {"emb:quantization": facts}


def _links(export: Export) -> list[dict[str, Any]]:
    """Return links to the encoder, and to the images of the job."""
    job = export.run.record.get("job", {})
    links = [{"rel": "emb:model", "href": "./model.json", "type": "application/json"}]
    for given in job.get("images") or ():
        href, kind = link_to(str(given), export.path)
        kind = kind or ("application/json" if href.lower().endswith("json") else "")
        links.append({"rel": "emb:source-data", "href": href, **({"type": kind} if kind else {})})
    return links


def _dates(export: Export, ids: NDArray[np.str_]) -> dict[str, Any]:
    """Return the acquisition period of the tiles, from the first to the last date."""
    known = attributes_of(export.run)
    stated = {tuple(known.get(i, {}).get(name) for name in DATES) for i in ids.tolist()}
    periods = {dates: period_of(dict(zip(DATES, dates, strict=True))) for dates in stated}
    # One tile without a date: the period of all tiles has to be given.
    undated = sorted(str(at or "") for (at, *_), period in periods.items() if period is None)
    if undated:
        return when({"datetime": undated[-1]}, export.datetime)
    found = [period for period in periods.values() if period is not None]
    first, last = min(first for first, _ in found), max(last for _, last in found)
    return temporal(first, last)


def _whole(tiles: pa.Table) -> list[float]:
    import shapely

    shapes = shapely.from_wkb(tiles[GEOMETRY].to_numpy())
    boxes = np.array([box_of(shape) for shape in shapes])
    if (boxes[:, 0] > boxes[:, 2]).any():
        return [-180.0, float(boxes[:, 1].min()), 180.0, float(boxes[:, 3].max())]
    return [*map(float, boxes[:, :2].min(axis=0)), *map(float, boxes[:, 2:].max(axis=0))]


def _item(
    found: Embeddings, box: list[float], dates: dict[str, Any], links: list[dict[str, Any]]
) -> dict[str, Any]:
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    spec = found.spec
    parameters = {"model": spec.name, "bands": spec.bands, "scale": spec.scale,
                  "input_size": spec.input_size, "precision": spec.precision}  # fmt: skip
    return {
        "type": "Feature", "stac_version": STAC, "stac_extensions": [EXTENSION], "id": _ID,
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": box, "collection": _ID,
        "properties": {**dates, "emb:runtime_parameters": as_json(parameters),
                       **_quantization(found)},
        "links": [*_up("collection", "parent", "root"),
                  *(link for link in links if link["rel"] == "emb:source-data")],
        "assets": {
            "embeddings": {"href": f"./{FILE}", "type": _PARQUET, "roles": ["data"],
                           "title": f"{len(found.ids):,} embeddings by {spec.name}"},
        },
    }  # fmt: skip


def _up(*names: str) -> list[dict[str, Any]]:
    return [{"rel": r, "href": "./collection.json", "type": "application/json"} for r in names]


def _collection(
    export: Export, about: dict[str, Any], box: list[float], dates: dict[str, Any],
    links: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    return {
        "type": "Collection", "stac_version": STAC, "stac_extensions": [EXTENSION], "id": _ID,
        "title": export.run.path.resolve().name,
        "description": "Embeddings of tiles of imagery, one vector each.",
        "license": "proprietary", "extent": extent_of([box], [dates]), **about,
        "links": [*_up("root"), *links,
                  {"rel": "item", "href": "./item.json", "type": "application/geo+json"}],
        "assets": {},
    }  # fmt: skip


TARGET = Target((), "needed", write, folder=True, dated=True, tabular=False)
