"""A static STAC catalogue of the chosen tiles: what labelling, ordering and browsing start from.

``collection.json`` leads to an item for each pick, ``items/NAME.json``; ``items.json`` holds the
same items as one list (an ItemCollection). An item has the outline of its tile, its date, its place
on the grid of the source image (projection extension), rank, method, score and cost
(``foveate:...``), what else is known of the tile, the source image as an asset, and a link to the
item that it came from.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from foveate.export.chips import chip_names
from foveate.export.stac_items import (
    DATES,
    PROJECTION,
    STAC,
    attributes_of,
    box_of,
    extent_of,
    link_to,
    projection,
    when,
)
from foveate.export.table import GEOMETRY, Export, Target
from foveate.files import (
    DEGREE_DIGITS,
    as_json,
    atomic_folder,
    geojson_geometry,
    read_parquet,
    write_bytes,
    write_json,
)
from foveate.grid import Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_OWN = ("method", "rank", "score", "weight")
_WINDOW = ("y", "x", "h", "w")


def write(export: Export) -> None:
    """Write the folder.

    Raises:
        ParameterError: Tiles without a date, and none is stated.
        StorageError: The folder is not empty, or cannot be written.
    """
    rows = export.table.to_pylist()
    names = _names(rows)
    scenes = _scenes(export)
    known = attributes_of(export.run)
    with atomic_folder(export.path) as folder:
        final = export.path  # links are relative to where the folder will lie
        items = [
            _item(row, name, scenes.get(row.get("scene", "")), known.get(str(row["tile_id"]), {}),
                  export.datetime)
            for row, name in zip(rows, names, strict=True)
        ]  # fmt: skip
        (folder / "items").mkdir()
        for item, name, row in zip(items, names, rows, strict=True):
            scene = scenes.get(row.get("scene", ""))
            _write(folder / f"items/{name}.json", _placed(item, scene, final / "items", ".."))
        listed = [
            _placed(item, scenes.get(row.get("scene", "")), final, ".")
            for item, row in zip(items, rows, strict=True)
        ]  # fmt: skip
        write_json(folder / "items.json", {"type": "FeatureCollection", "features": listed})
        write_json(folder / "collection.json", _collection(export, items, names))


def _names(rows: list[dict[str, Any]]) -> list[str]:
    """Return an id for each pick that is a file name, too: unique, and safe on all systems."""
    places = [
        (str(row.get("scene") or row["tile_id"]), Window(*(int(row.get(k) or 0) for k in _WINDOW)))
        for row in rows
    ]
    safe = chip_names(list(dict.fromkeys(places)))
    several = len({row.get("method") for row in rows}) > 1
    return [
        f"{row['method']}-{safe[place]}" if several else safe[place]
        for row, place in zip(rows, places, strict=True)
    ]  # fmt: skip


def _scenes(export: Export) -> dict[str, dict[str, Any]]:
    file = export.run.path / "scenes.parquet"
    return {row["scene"]: row for row in read_parquet(file).to_pylist()} if file.is_file() else {}


def _item(
    row: Mapping[str, Any], name: str, scene: Mapping[str, Any] | None, known: Mapping[str, Any],
    stated: str,
) -> dict[str, Any]:  # fmt: skip
    """Return an item without what depends on where it is written."""
    import shapely
    from shapely.geometry.polygon import orient

    shape = shapely.from_wkb(row[GEOMETRY])
    parts = [orient(p) if p.geom_type == "Polygon" else p for p in getattr(shape, "geoms", [shape])]
    shape = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    taken = {"tile_id", *DATES, *_OWN, *_WINDOW}
    properties = {k: v for k, v in known.items() if k not in taken and _stated(v)}
    properties |= when(known, stated)
    own = [k for k in row if k in _OWN or k.startswith(("cost_", "p_", "label"))]
    properties |= {f"foveate:{k}": row[k] for k in own if _stated(row[k])}
    properties |= {"foveate:tile_id": row["tile_id"], "foveate:scene": row.get("scene")}
    if scene is not None and all(k in row for k in _WINDOW):
        y, x, h, w = (int(row[k]) for k in _WINDOW)
        properties |= {"foveate:window": [y, x, h, w], "proj:shape": [h, w]}
        affine = scene.get("affine")
        if affine is not None:
            a, b, c, d, e, f = affine
            affine = [a, b, a * x + b * y + c, d, e, d * x + e * y + f]
        properties |= projection(scene.get("crs"), affine)
    return {
        "type": "Feature", "stac_version": STAC, "stac_extensions": [PROJECTION], "id": name,
        "geometry": geojson_geometry(shape),
        "bbox": [round(value, DEGREE_DIGITS) for value in box_of(shape)], "collection": "selection",
        "properties": as_json({k: v for k, v in properties.items() if v is not None
                               or k in ("datetime", "proj:code")}),
    }  # fmt: skip


def _placed(
    item: dict[str, Any], scene: Mapping[str, Any] | None, folder: Path, up: str
) -> dict[str, Any]:
    """Return an item with links and assets, as it is written into a folder."""
    collection = f"{up}/collection.json"
    links = [
        {"rel": rel, "href": collection, "type": "application/json"}
        for rel in ("root", "parent", "collection")
    ]
    assets: dict[str, Any] = {}
    if scene is not None:
        if scene.get("item"):
            href, _ = link_to(str(scene["item"]), folder)
            links.append({"rel": "derived_from", "href": href, "type": "application/geo+json"})
        shape = [scene["height"], scene["width"]]
        placed = projection(None, scene.get("affine")) | {"proj:shape": shape}
        uris = scene.get("hrefs") or [scene["uri"]]
        keys = scene.get("assets") or ["image"]
        for key, uri in zip(keys, uris, strict=False):
            href, kind = link_to(str(uri), folder)
            about = {"title": "Image that the tile is a window of", "roles": ["source"]}
            assets[key] = {"href": href, **({"type": kind} if kind else {}), **about}
            # Bands of other resolutions lie on grids of their own.
            assets[key] |= placed if key == keys[0] else {}
    return {**item, "links": links, "assets": assets}


def _collection(export: Export, items: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    methods = list(
        dict.fromkeys(filter(None, (i["properties"].get("foveate:method") for i in items)))
    )
    text = f"{len(items):,} tiles" + (f" chosen by {', '.join(methods)}" if methods else "")
    return {
        "type": "Collection", "stac_version": STAC, "stac_extensions": [], "id": "selection",
        "title": export.run.path.resolve().name, "description": f"{text}.",
        "license": "other",
        "extent": extent_of([i["bbox"] for i in items], [i["properties"] for i in items]),
        "links": [
            {"rel": "root", "href": "./collection.json", "type": "application/json"},
            *({"rel": "item", "href": f"./items/{name}.json", "type": "application/geo+json"}
              for name in names),
        ],
        "assets": {
            "items": {"href": "./items.json", "type": "application/geo+json", "roles": ["metadata"],
                      "title": "All items as one list"},
        },
    }  # fmt: skip


def _write(path: Path, content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode(), durable=False)  # one of thousands, made again at once


def _stated(value: Any) -> bool:
    return (
        value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))
    )


TARGET = Target((), "needed", write, folder=True, dated=True)
